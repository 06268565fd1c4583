import { create } from "@bufbuild/protobuf";
import type { CallOptions as ConnectOptions } from "@connectrpc/connect";
import { Connection, type TlsOptions } from "./connection.js";
import { GemwireError } from "./errors.js";
import { Exchange, type StreamResult } from "./exchange.js";
import { Gathered } from "./gather.js";
import {
  type EmbedInput,
  EmbedStreamRequestSchema,
  StreamOpenSchema,
} from "./gen/gemwire/v1/embedding_pb.js";
import { type Model, modelOf } from "./model.js";
import {
  type CallOptions,
  type EmbedOptions,
  type Encoding,
  optionsMessage,
  type Task,
} from "./options.js";
import { longestPrompt, roomForTargets, roomForVectors, split } from "./requests.js";
import { sleep } from "./sleep.js";
import { Source } from "./source.js";
import { runStream, Stream } from "./stream.js";
import {
  type Document,
  idsArray,
  type Text,
  type TokenIds,
  textInput,
  withTitles,
} from "./text.js";
import { decode, type Vector } from "./vector.js";
import { Wake } from "./wake.js";

const TIMEOUT_MS = 60_000;

/** How to connect. */
export interface ClientOptions {
  /** True: TLS with the system's certificates. Absent or false: plain text. */
  tls?: TlsOptions | boolean | undefined;
  /** Sent as a bearer token with every call. */
  token?: string | undefined;
  /** Milliseconds for each call with all its tries. Absent: 60,000; null: no deadline. */
  timeoutMs?: number | null | undefined;
}

/**
 * Calls a gemwire server.
 *
 * All methods may run at the same time. They reject with a {@link GemwireError}, with the `reason` of their
 * `signal` where that is aborted, and with a TypeError for arguments that make no request. Except for
 * `embedStream`, they make a call again within its time where the server had no room or was away.
 */
export class Client {
  readonly #connection: Connection;
  readonly #timeoutMs: number | null;
  #model: Model | undefined;

  /**
   * Connects when the first call is made.
   *
   * @param address - `HOST:PORT`, or `unix:PATH`.
   * @throws TypeError for what is no address, or a token that no header takes.
   */
  constructor(address: string, options: ClientOptions = {}) {
    const tls = options.tls === true ? {} : options.tls || undefined;
    this.#connection = new Connection(address, tls, options.token);
    this.#timeoutMs = timeoutOf(options, TIMEOUT_MS);
  }

  /** Ends all calls, which then fail, and waits until the connection is closed. */
  close(): Promise<void> {
    return this.#connection.close();
  }

  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #unary<T>(
    { timeoutMs, signal }: CallOptions,
    method: (stubs: Connection, call: ConnectOptions) => Promise<T>,
  ): Promise<T> {
    const limit = timeoutOf({ timeoutMs }, this.#timeoutMs);
    return this.#connection.unary((call) => method(this.#connection, call), limit, signal);
  }

  /** The model of the server. The client asks for it once. */
  async model(options: CallOptions = {}): Promise<Model> {
    if (this.#model === undefined) {
      const { model } = await this.#unary(options, ({ models }, call) => models.getModel({}, call));
      if (model === undefined) {
        throw new GemwireError("the server described no model", { code: "UNKNOWN" });
      }
      this.#model = modelOf(model);
    }
    return this.#model;
  }

  /** The vector of a search query, of `dimensions` numbers. */
  async embedQuery(
    text: Text,
    options: { dimensions?: number | undefined } & CallOptions = {},
  ): Promise<Float32Array> {
    const request = {
      input: textInput(text),
      options: optionsMessage({ task: "retrieval_query", dimensions: options.dimensions }),
    };
    const { embedding } = await this.#unary(options, ({ embedding }, call) =>
      embedding.embed(request, call),
    );
    if (embedding === undefined) {
      throw new GemwireError("the server gave no vector", { code: "UNKNOWN" });
    }
    return decode(embedding) as Float32Array;
  }

  /**
   * The vectors of documents to search in, in their order.
   *
   * @param options - `titles` has one title for each text, `""` for none.
   */
  async embedDocuments(
    texts: readonly Text[],
    options: {
      titles?: readonly string[] | undefined;
      dimensions?: number | undefined;
    } & CallOptions = {},
  ): Promise<Float32Array[]> {
    const { titles, ...others } = options;
    return this.embed(withTitles(texts, titles), { ...others, task: "retrieval_document" });
  }

  /**
   * The vectors of any number of texts, in their order. What is over the server's limits is sent in several
   * requests, one after the other, and the time limit is for each.
   *
   * If texts fail, rejects with the error of the first of them: its `index` says which, its `errors` has all.
   * For partial results, and for bulk work, see `embedStream`.
   */
  async embed<E extends Encoding = "float32">(
    texts: readonly Text[],
    options: EmbedOptions<E> & CallOptions = {},
  ): Promise<Vector<E>[]> {
    const settings = optionsMessage(options);
    const inputs = withTitles(texts, undefined).map(textInput);
    const model = await this.model(options);
    const room = roomForVectors(model.limits, options.dimensions || model.defaultDimensions);
    const prompt = longestPrompt(model, options.prompt);
    const gathered = new Gathered(decode);
    for (const range of split(inputs, room, model.maxInputTokens, prompt)) {
      const request = { inputs: inputs.slice(range.start, range.end), options: settings };
      const answer = await this.#unary(options, ({ embedding }, call) =>
        embedding.batchEmbed(request, call),
      );
      gathered.add(range, answer);
    }
    return gathered.all() as Vector<E>[];
  }

  /**
   * The cosine of each target with the source, from -1 to 1, in the order of the targets.
   *
   * @param options - `task` is the source's, and the targets' unless `targetTask` is given: for search, use
   * `"retrieval_query"` and `"retrieval_document"`.
   */
  async similarity(
    source: Text,
    targets: readonly Text[],
    options: {
      task?: Task | undefined;
      targetTask?: Task | undefined;
      dimensions?: number | undefined;
    } & CallOptions = {},
  ): Promise<Float32Array> {
    const { task, targetTask, dimensions } = options;
    const common = {
      source: textInput(source),
      options: optionsMessage({ task, dimensions }),
      ...(targetTask && { targetOptions: optionsMessage({ task: targetTask, dimensions }) }),
    };
    const inputs = withTitles(targets, undefined).map(textInput);
    const model = await this.model(options);
    const gathered = new Gathered((score: number) => score);
    const ranges = split(inputs, roomForTargets(model), model.maxInputTokens, longestPrompt(model));
    for (const range of ranges) {
      const request = { ...common, targets: inputs.slice(range.start, range.end) };
      const answer = await this.#unary(options, ({ embedding }, call) =>
        embedding.computeSimilarity(request, call),
      );
      gathered.add(range, answer);
    }
    return Float32Array.from(gathered.all());
  }

  /**
   * The token ids that the model gets, with prompt and special tokens. With truncation `"error"` a text over
   * the window comes whole.
   */
  async tokenize(text: Text, options: EmbedOptions & CallOptions = {}): Promise<number[]> {
    return (await this.#tokenize(textInput(text), options, false)).ids;
  }

  /**
   * The token ids as of `tokenize`, and the begin and end of the bytes that each stands for in the text's
   * UTF-8; 0 and 0 for a special token, and for one of the prompt or the title.
   */
  async tokenSpans(
    text: string | Document,
    options: EmbedOptions & CallOptions = {},
  ): Promise<{ ids: number[]; spans: [start: number, end: number][] }> {
    const input = textInput(text);
    if (input.content.case !== "text") {
      throw new TypeError("spans are places in a text, not in token ids");
    }
    const { ids, spans } = await this.#tokenize(input, options, true);
    return { ids, spans: spans.map(({ startByte, endByte }) => [startByte, endByte]) };
  }

  #tokenize(input: EmbedInput, options: EmbedOptions & CallOptions, includeSpans: boolean) {
    const request = { input, options: optionsMessage(options), includeSpans };
    return this.#unary(options, ({ embedding }, call) => embedding.tokenize(request, call));
  }

  /**
   * The text of token ids. Bytes that are no UTF-8 read as U+FFFD; U+2581 of a text reads as a space.
   *
   * @param options - `keepSpecialTokens`: absent, special tokens are left out.
   */
  async detokenize(
    ids: TokenIds,
    options: { keepSpecialTokens?: boolean | undefined } & CallOptions = {},
  ): Promise<string> {
    const request = { ids: idsArray(ids), keepSpecialTokens: options.keepSpecialTokens ?? false };
    const { text } = await this.#unary(options, ({ embedding }, call) =>
      embedding.detokenize(request, call),
    );
    return text;
  }

  /**
   * Embeds any number of texts over one stream, for bulk work. Each text gives one result: its vector, or its
   * error, which does not end the stream.
   *
   * `texts` is read only as far as the server gave credit and the caller took the results, so it may be
   * endless. If the server goes away, what is unanswered is sent to the next one. Leaving the loop cancels the
   * stream. The time limit is for the longest wait for an answer.
   *
   * @param options - `ordered`: false hands out results as they come. Absent: in the order of the texts.
   * @returns results, to be read with `for await`; what fails the whole call is thrown there.
   * @throws TypeError for options that the API lacks, and for a single text.
   */
  embedStream<E extends Encoding = "float32">(
    texts: Iterable<Text> | AsyncIterable<Text>,
    options: { ordered?: boolean | undefined } & EmbedOptions<E> & CallOptions = {},
  ): AsyncGenerator<StreamResult<Vector<E>>, void, undefined> {
    if (!isIterable(texts)) throw new TypeError("give an iterable of texts, and no single text");
    const opening = create(EmbedStreamRequestSchema, {
      payload: {
        case: "open",
        value: create(StreamOpenSchema, { options: optionsMessage(options) }),
      },
    });
    const timeoutMs = timeoutOf(options, this.#timeoutMs);
    const exchange = new Exchange(options.ordered ?? true, timeoutMs);
    const wake = new Wake();
    const connection = this.#connection;
    async function* results(): AsyncGenerator<StreamResult, void, undefined> {
      const call = connection.begin(options.signal);
      const source = new Source(texts, exchange, wake);
      try {
        for (;;) {
          const stream = new Stream(connection, call, wake, opening);
          yield* runStream(exchange, source, stream, wake, call.signal, timeoutMs);
          const pause = exchange.ended(stream.error);
          if (exchange.finished) return;
          await sleep(pause, call.signal);
          exchange.begin();
        }
      } finally {
        call.end();
        await source.close();
      }
    }
    return results() as AsyncGenerator<StreamResult<Vector<E>>, void, undefined>;
  }
}

function isIterable(texts: unknown): boolean {
  if (typeof texts !== "object" || texts === null) return false;
  return Symbol.iterator in texts || Symbol.asyncIterator in texts;
}

/** The time limit of a call. Throws TypeError for what is no number of milliseconds. */
function timeoutOf({ timeoutMs }: CallOptions, usual: number | null): number | null {
  if (timeoutMs === undefined || timeoutMs === null) return timeoutMs === null ? null : usual;
  if (!(timeoutMs > 0))
    throw new TypeError("timeoutMs is a number of milliseconds above 0, or null");
  return timeoutMs === Number.POSITIVE_INFINITY ? null : timeoutMs;
}
