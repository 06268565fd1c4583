import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Exchange } from "#client/exchange.js";
import {
  type EmbedStreamRequest,
  type EmbedStreamResponse,
  EmbedStreamResponseSchema,
} from "#client/gen/gemwire/v1/embedding_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#client/gen/google/rpc/error_details_pb.js";
import { textInput } from "#client/text.js";
import { embedding } from "./server.js";

function opened(credit: number): EmbedStreamResponse {
  const value = { maxInflightInputs: credit };
  return create(EmbedStreamResponseSchema, { payload: { case: "opened", value } });
}

function answers(...ids: number[]): EmbedStreamResponse {
  const results = ids.map((id) => {
    const outcome = { case: "embedding" as const, value: embedding(id) };
    return { id: BigInt(id), outcome };
  });
  return create(EmbedStreamResponseSchema, { payload: { case: "results", value: { results } } });
}

function refused(id: number): EmbedStreamResponse {
  const details = [
    anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { domain: "gemwire.dev", reason: "DRAINING" }),
    ),
    anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(1) })),
  ];
  const outcome = { case: "error" as const, value: { code: 14, details } };
  const results = [{ id: BigInt(id), outcome }];
  return create(EmbedStreamResponseSchema, { payload: { case: "results", value: { results } } });
}

function sent(exchange: Exchange): number[] {
  const ids: number[] = [];
  const take = ({ payload }: EmbedStreamRequest) => {
    assert.equal(payload.case, "batch");
    payload.value.inputs.forEach((_, i) => {
      ids.push(Number(payload.value.firstId) + i);
    });
  };
  for (let next = exchange.nextBatch(); next; next = exchange.nextBatch()) take(next);
  return ids;
}

/** An exchange that has sent the texts 0 to 3 and no other. */
function ofFourTexts(): Exchange {
  const exchange = new Exchange(true, null);
  exchange.begin();
  exchange.receive(opened(4));
  while (exchange.wanted) exchange.add(textInput("a"));
  exchange.sourceEnded = true;
  assert.deepEqual(sent(exchange), [0, 1, 2, 3]);
  return exchange;
}

test("answers that are not due are ignored", () => {
  const exchange = ofFourTexts();
  exchange.receive(refused(1));
  exchange.receive(refused(1));
  exchange.receive(answers(0, 2, 2, 99));
  assert.equal(exchange.sendingDone, false, "text 3 is not answered");
  exchange.receive(answers(3));
  assert.equal(exchange.sendingDone, true);
});

test("answers to texts of an earlier stream are ignored", () => {
  const exchange = ofFourTexts();
  exchange.receive(answers(0));
  exchange.ended(undefined);
  exchange.begin();
  exchange.receive(opened(2));
  assert.deepEqual(sent(exchange), [1, 2]);
  exchange.receive(answers(3)); // not sent over this stream
  exchange.receive(answers(1, 2));
  assert.equal(exchange.finished, false);
});
