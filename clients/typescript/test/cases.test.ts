// All cases of clients/conformance/cases, against the servers that CONFORMANCE names.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import * as gemwire from "@gemwire/client";
import {
  type Client,
  type EmbedOptions,
  type Encoding,
  GemwireError,
  type Limits,
  type Model,
  type StreamResult,
  type Text,
  type Vector,
} from "@gemwire/client";
import {
  allCases,
  type Case,
  conformance,
  connect,
  type ErrorCase,
  skip,
  textOf,
  textsOf,
} from "./conformance.js";

let runs = 0;

/** What a case's call gave: its result, and of a stream the results, how it failed, and how far it read. */
interface Outcome {
  value?: unknown;
  results?: StreamResult[];
  error?: unknown;
  readAhead?: number;
}

describe("conformance", { skip, concurrency: 8 }, () => {
  for (const one of allCases()) {
    it(one.name, () => run(one, false));
    if (one.call.method === "embed_stream") {
      it(`${one.name}, from an async source`, () => run(one, true));
    }
  }

  after(async () => {
    if (conformance === undefined) return;
    const client = connect("scripted", "verdict.connections");
    await client.model();
    await client.close();
    // Sockets that were destroyed are gone one turn of the event loop later.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const left = process
      .getActiveResourcesInfo()
      .filter((kind) => /TCPSocket|TLS|Timeout/.test(kind));
    assert.deepEqual(left, [], "the clients left something running");
  });
});

async function run(one: Case, asyncSource: boolean): Promise<void> {
  const server = one.server ?? "scripted";
  const run = `${one.name}.${process.pid}x${++runs}`;
  const client = connect(server, server === "scripted" ? run : one.token, one.timeout);
  try {
    const calls = Array.from({ length: one.call.calls ?? 1 }, () => call(client, one, asyncSource));
    for (const outcome of await Promise.all(calls)) check(one, outcome);
    if (server === "scripted") {
      const verdict = connect("scripted", `verdict.${run}`);
      try {
        await verdict.model();
      } finally {
        await verdict.close();
      }
    }
  } finally {
    await client.close();
  }
}

async function call(client: Client, one: Case, asyncSource: boolean): Promise<Outcome> {
  const { method, dimensions, titles, ordered, task, target_task: targetTask } = one.call;
  const options = optionsOf(one.call.options);
  const texts = () => textsOf(one.call.texts);
  try {
    switch (method) {
      case "embed_query":
        return { value: [await client.embedQuery(textOf(one.call.text), { dimensions })] };
      case "embed_documents":
        return { value: await client.embedDocuments(texts(), { titles, dimensions }) };
      case "embed":
        return { value: await client.embed(texts(), options) };
      case "similarity": {
        const targets = textsOf(one.call.targets);
        const source = textOf(one.call.source);
        return {
          value: await client.similarity(source, targets, { task, targetTask, dimensions }),
        };
      }
      case "tokenize":
        return { value: await client.tokenize(textOf(one.call.text), options) };
      case "detokenize": {
        const keepSpecialTokens = one.call.keep_special_tokens;
        return { value: await client.detokenize(one.call.ids, { keepSpecialTokens }) };
      }
      case "model":
        return { value: await client.model() };
      case "embed_stream":
        return await stream(
          client,
          texts(),
          { ...options, ordered },
          one.call.stop_after,
          asyncSource,
        );
      default:
        throw new TypeError(`the runner knows no method ${method}`);
    }
  } catch (error) {
    return { error };
  }
}

async function stream(
  client: Client,
  texts: Text[],
  options: EmbedOptions & { ordered?: boolean },
  stopAfter: number | undefined,
  asyncSource: boolean,
): Promise<Outcome> {
  const results: StreamResult[] = [];
  let taken = 0;
  let readAhead = 0;
  function take(text: Text): Text {
    readAhead = Math.max(readAhead, ++taken - results.length);
    return text;
  }
  function* sync(): Generator<Text> {
    for (const text of texts) yield take(text);
  }
  async function* later(): AsyncGenerator<Text> {
    for (const [i, text] of texts.entries()) {
      if (i % 7 === 3) await new Promise(setImmediate);
      yield take(text);
    }
  }
  try {
    for await (const result of client.embedStream(asyncSource ? later() : sync(), options)) {
      results.push(result);
      if (results.length === stopAfter) break;
    }
    return { results, readAhead };
  } catch (error) {
    return { results, readAhead, error };
  }
}

function optionsOf(options: Record<string, unknown> = {}): EmbedOptions<Encoding> {
  const { prompt_name: promptName, ...others } = options;
  return { ...others, promptName } as EmbedOptions;
}

function check({ expect, call }: Case, outcome: Outcome): void {
  const { value, results = [], error, readAhead } = outcome;
  if (expect.error !== undefined) checkError(error, expect.error);
  else if (error !== undefined) throw error;
  if (expect.read_ahead !== undefined)
    assert.ok((readAhead ?? 0) <= expect.read_ahead, `${readAhead}`);
  if (expect.vectors !== undefined) assert.deepEqual(rows(value as Vector[]), expect.vectors);
  if (expect.lengths !== undefined) {
    assert.deepEqual(
      (value as Vector[]).map((v) => v.length),
      expect.lengths,
    );
  }
  if (expect.scores !== undefined)
    assert.deepEqual(Array.from(value as Float32Array), expect.scores);
  if (expect.ids !== undefined) assert.deepEqual(value, expect.ids);
  if (expect.text !== undefined) assert.equal(value, expect.text);
  if (expect.model !== undefined) checkModel(value as Model, expect.model);
  if (expect.reference !== undefined) checkReference(outcome, expect.reference);
  if (expect.results !== undefined) {
    assert.equal(results.length, expect.results.length);
    expect.results.forEach((expected, i) => {
      const result = results[i]!;
      assert.equal(result.index, expected.index);
      if ("error" in expected) checkError(result.error, expected.error);
      else assert.deepEqual(rows([vectorOf(result)]), [expected.vector]);
    });
  }
  if (expect.count !== undefined) {
    const inOrder = results.toSorted((a, b) => a.index - b.index);
    if (call.ordered !== false) assert.deepEqual(results, inOrder);
    assert.deepEqual(
      rows(inOrder.map(vectorOf)),
      Array.from({ length: expect.count }, (_, i) => [i, 1]),
    );
    assert.deepEqual(
      inOrder.map((r) => r.index),
      Array.from({ length: expect.count }, (_, i) => i),
    );
  }
}

function vectorOf(result: StreamResult): Vector {
  if (result.error !== undefined) throw result.error;
  return result.vector;
}

function rows(vectors: Vector[]): number[][] {
  return vectors.map((vector) => Array.from(vector));
}

function checkReference({ value, results }: Outcome, name: string): void {
  const expected = conformance?.reference[name];
  assert.notEqual(expected, undefined, `there is no reference ${name}`);
  if (results !== undefined) assert.deepEqual(rows(results.map(vectorOf)), expected);
  else if (Array.isArray(value) && typeof value[0] === "object")
    assert.deepEqual(rows(value), expected);
  else
    assert.deepEqual(typeof value === "string" ? value : Array.from(value as number[]), expected);
}

function checkModel(model: Model, expected: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(expected)) {
    const key = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    const found = key in model ? model[key as keyof Model] : model.limits[key as keyof Limits];
    assert.deepEqual(found, value, name);
  }
}

function checkError(error: unknown, expected: ErrorCase): void {
  if (!(error instanceof GemwireError)) throw error ?? new Error("the call did not fail");
  if (expected.type !== undefined) {
    assert.equal(error.name, expected.type);
    assert.equal(error.constructor, Reflect.get(gemwire, expected.type));
  }
  if (expected.code !== undefined) assert.equal(error.code, expected.code);
  if (expected.message !== undefined) {
    const prefix = error.index === undefined ? "" : `text ${error.index}: `;
    assert.equal(error.message, prefix + expected.message);
  }
  if (expected.reason !== undefined) assert.equal(error.reason, expected.reason);
  if (expected.metadata !== undefined) assert.deepEqual(error.metadata, expected.metadata);
  if (expected.fields !== undefined) assert.deepEqual(error.fields, expected.fields);
  if (expected.retry_after !== undefined) {
    const ms = expected.retry_after === null ? undefined : 1e3 * expected.retry_after;
    assert.equal(error.retryAfterMs, ms);
  }
  if (expected.index !== undefined) assert.equal(error.index ?? null, expected.index);
  if (expected.errors !== undefined) assert.deepEqual([...error.errors.keys()], expected.errors);
}
