import { GemwireError } from "./errors.js";
import { type Embedding, VectorEncoding } from "./gen/gemwire/v1/embedding_pb.js";
import type { Encoding } from "./options.js";

/**
 * A vector. It is a Float32Array of `dimensions` numbers, but for the encodings that an index takes as they
 * are: `"ubinary"` and `"ubinary_lsb"` are a Uint8Array and `"binary"` an Int8Array of `dimensions / 8` bytes,
 * `"int8_fixed"` is an Int8Array of `dimensions` bytes, 127 times the vector.
 */
export type Vector<E extends Encoding = Encoding> = E extends "ubinary" | "ubinary_lsb"
  ? Uint8Array
  : E extends "binary" | "int8_fixed"
    ? Int8Array
    : Float32Array;

/**
 * Reads a vector. The bytes of an index's encodings are a view of the message.
 *
 * @throws {@link GemwireError} for an encoding that this client does not know.
 */
export function decode(embedding: Embedding): Vector {
  const { data } = embedding;
  switch (embedding.encoding) {
    case VectorEncoding.FLOAT32:
      return new Float32Array(embedding.values);
    case VectorEncoding.BFLOAT16:
      return fromBfloat16(data);
    case VectorEncoding.FLOAT16:
      return fromFloat16(data);
    case VectorEncoding.INT8: {
      const values = new Float32Array(int8(data));
      for (let i = 0; i < values.length; i++) values[i]! *= embedding.scale;
      return values;
    }
    case VectorEncoding.INT8_FIXED:
    case VectorEncoding.BINARY:
      return int8(data);
    case VectorEncoding.UBINARY:
    case VectorEncoding.UBINARY_LSB:
      return data;
    default:
      throw new GemwireError(
        `the server answered in encoding ${embedding.encoding}, which this client does not know`,
        { code: "UNKNOWN" },
      );
  }
}

function int8(data: Uint8Array): Int8Array {
  return new Int8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The upper halves of float32 numbers, little-endian. */
function fromBfloat16(data: Uint8Array): Float32Array {
  const bits = new Uint32Array(data.byteLength >> 1);
  for (let i = 0; i < bits.length; i++) {
    bits[i] = (data[2 * i]! << 16) | (data[2 * i + 1]! << 24);
  }
  return new Float32Array(bits.buffer);
}

/** IEEE half precision, little-endian. Node.js has a Float16Array from version 24 on. */
function fromFloat16(data: Uint8Array): Float32Array {
  const bits = new Uint32Array(data.byteLength >> 1);
  for (let i = 0; i < bits.length; i++) {
    bits[i] = float32OfHalf(data[2 * i]! | (data[2 * i + 1]! << 8));
  }
  return new Float32Array(bits.buffer);
}

/** The bits of the float32 number that is equal to a half of these 16 bits. */
function float32OfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13); // an infinity or NaN
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // A subnormal half is a normal float32: its first bit becomes the implicit one.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}
