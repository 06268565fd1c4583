import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { GemwireError } from "@gemwire/client";
import { EmbeddingSchema, VectorEncoding } from "#client/gen/gemwire/v1/embedding_pb.js";
import { decode } from "#client/vector.js";

/** The bytes, in the middle of a buffer at an odd place, as in a message. */
function within(bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(bytes.length + 10).fill(0xee);
  message.set(bytes, 3);
  return message.subarray(3, 3 + bytes.length);
}

function vector(encoding: VectorEncoding, bytes: Uint8Array, scale = 0) {
  return decode(create(EmbeddingSchema, { encoding, data: within(bytes), scale }));
}

/** All 16-bit numbers, little-endian. */
const all = Uint8Array.from({ length: 2 * 0x10000 }, (_, i) => (i % 2 ? i >> 9 : (i >> 1) & 0xff));

test("float16 is right for all 65,536 numbers", () => {
  const values = vector(VectorEncoding.FLOAT16, all);
  assert.ok(values instanceof Float32Array);
  values.forEach((value, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 0x3ff) / 1024;
    let expected = sign * 2 ** (exponent - 15) * (1 + fraction);
    if (exponent === 0) expected = sign * 2 ** -14 * fraction;
    if (exponent === 31) expected = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    assert.ok(Object.is(value, expected), `${bits}: ${value}, not ${expected}`);
  });
});

test("bfloat16 is right for all 65,536 numbers", () => {
  const values = vector(VectorEncoding.BFLOAT16, all);
  const view = new DataView(new ArrayBuffer(4));
  values.forEach((value, bits) => {
    view.setUint16(0, bits);
    assert.ok(Object.is(value, view.getFloat32(0)), `${bits}: ${value}`);
  });
});

test("int8 is scaled in float32", () => {
  const values = vector(VectorEncoding.INT8, Uint8Array.of(127, 128, 255, 0), Math.fround(0.0037));
  assert.ok(values instanceof Float32Array);
  const expected = [127, -128, -1, 0].map((v) => Math.fround(v * Math.fround(0.0037)));
  assert.deepEqual(Array.from(values), expected);
});

test("an index's bytes are views with their sign", () => {
  const bytes = Uint8Array.of(0, 127, 128, 255);
  for (const encoding of [VectorEncoding.INT8_FIXED, VectorEncoding.BINARY]) {
    assert.deepEqual(vector(encoding, bytes), Int8Array.of(0, 127, -128, -1));
  }
  for (const encoding of [VectorEncoding.UBINARY, VectorEncoding.UBINARY_LSB]) {
    assert.deepEqual(vector(encoding, bytes), bytes);
  }
});

test("an unknown encoding is an error", () => {
  assert.throws(() => vector(99 as VectorEncoding, Uint8Array.of(1)), GemwireError);
  assert.throws(() => vector(VectorEncoding.UNSPECIFIED, Uint8Array.of(1)), GemwireError);
});
