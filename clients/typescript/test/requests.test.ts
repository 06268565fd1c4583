import assert from "node:assert/strict";
import { test } from "node:test";
import { toBinary } from "@bufbuild/protobuf";
import { InvalidInput, type Text } from "@gemwire/client";
import { EmbedInputSchema } from "#client/gen/gemwire/v1/embedding_pb.js";
import { optionsMessage } from "#client/options.js";
import { type Room, split } from "#client/requests.js";
import { byteSize, textInput, withTitles } from "#client/text.js";

const ROOMY: Room = { texts: 1e6, bytes: 1e9, tokens: 0, messageBytes: 1e9 };

function inputs(...lengths: number[]) {
  return lengths.map((length) => textInput("a".repeat(length)));
}

test("the size of a text is that of its message", () => {
  const texts: Text[] = [
    "",
    "a",
    "Größe 日本 🚀",
    "b".repeat(127),
    "c".repeat(128),
    "d".repeat(70_000),
  ];
  texts.push({ text: "e", title: "f" }, { text: "", title: "g".repeat(200) }, { text: "h" });
  texts.push([], [0], [1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1], Uint32Array.of(7, 300));
  for (const text of texts) {
    const input = textInput(text);
    assert.equal(byteSize(input), toBinary(EmbedInputSchema, input).length);
  }
});

test("requests hold neighbours up to each limit", () => {
  assert.deepEqual(split([], ROOMY, 10, 0), []);
  const five = inputs(1, 1, 1, 1, 1);
  assert.deepEqual(split(five, { ...ROOMY, texts: 2 }, 10, 0), [
    { start: 0, end: 2 },
    { start: 2, end: 4 },
    { start: 4, end: 5 },
  ]);
  // A text of 10 letters is 12 bytes of a message, and 8 are counted besides.
  const two = inputs(10, 10);
  assert.equal(split(two, { ...ROOMY, bytes: 40 }, 10, 0).length, 1);
  assert.equal(split(two, { ...ROOMY, bytes: 39 }, 10, 0).length, 2);
  // Its tokens are at most its bytes and the prompt's, and the window.
  assert.equal(split(two, { ...ROOMY, tokens: 46 }, 100, 3).length, 1);
  assert.equal(split(two, { ...ROOMY, tokens: 45 }, 100, 3).length, 2);
  assert.equal(split(two, { ...ROOMY, tokens: 14 }, 7, 3).length, 1);
  assert.equal(split(two, { ...ROOMY, tokens: 1 }, 7, 3).length, 2);
});

test("a text over the bytes of a request is an error by itself", () => {
  const room = { ...ROOMY, bytes: 20, messageBytes: 33 };
  assert.equal(split(inputs(10), room, 10, 0).length, 1);
  assert.throws(
    () => split(inputs(1, 11), room, 10, 0),
    (error) => {
      assert.ok(error instanceof InvalidInput);
      assert.equal(error.reason, "TEXT_TOO_LONG");
      assert.equal(error.index, 1);
      return true;
    },
  );
});

test("what is no text is a TypeError", () => {
  const wrong: unknown[] = [null, undefined, 7, {}, { text: 7 }, { text: "a", title: 7 }];
  wrong.push([-1], [0.5], [2 ** 32], ["a"], Float32Array.of(1), "\ud800", {
    text: "a",
    title: "\udc00",
  });
  for (const text of wrong) assert.throws(() => textInput(text as Text), TypeError);
});

test("titles go with texts", () => {
  assert.deepEqual(withTitles(["a", "b"], ["t", ""]), [
    { text: "a", title: "t" },
    { text: "b", title: "" },
  ]);
  assert.throws(() => withTitles(["a"], []), TypeError);
  assert.throws(() => withTitles([[1]], ["t"]), TypeError);
  assert.throws(() => withTitles("a" as unknown as string[], undefined), TypeError);
});

test("an option that the API lacks is a TypeError that lists the words", () => {
  assert.throws(() => optionsMessage({ task: "query" as "clustering" }), /retrieval_query/);
  assert.throws(() => optionsMessage({ encoding: "unspecified" as "int8" }), TypeError);
  assert.throws(() => optionsMessage({ truncation: "1" as "end" }), TypeError);
  assert.throws(() => optionsMessage({ task: "clustering", prompt: "" }), TypeError);
});

test("an option that no message holds is a TypeError", () => {
  for (const dimensions of [-1, 1.5, 2 ** 32, Number.NaN]) {
    assert.throws(() => optionsMessage({ dimensions }), TypeError);
  }
  for (const priority of [0.5, 2 ** 31]) {
    assert.throws(() => optionsMessage({ priority }), TypeError);
  }
  assert.throws(() => optionsMessage({ prompt: "\ud800" }), TypeError);
  assert.throws(() => optionsMessage({ promptName: "\udc00" }), TypeError);
  const { outputDimensionality, priority } = optionsMessage({ dimensions: 128, priority: -10 });
  assert.deepEqual([outputDimensionality, priority], [128, -10]);
});
