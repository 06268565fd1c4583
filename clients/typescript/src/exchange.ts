import { create } from "@bufbuild/protobuf";
import { milliseconds } from "./duration.js";
import {
  fromStatus,
  GemwireError,
  modelChanged,
  Overloaded,
  tooLarge,
  Unavailable,
} from "./errors.js";
import {
  type Embedding,
  type EmbedInput,
  type EmbedStreamRequest,
  EmbedStreamRequestSchema,
  type EmbedStreamResponse,
  type StreamResult as ResultMessage,
  StreamBatchSchema,
  type StreamOpened,
} from "./gen/gemwire/v1/embedding_pb.js";
import { roomForTexts } from "./requests.js";
import { backoff, isAbsence, refusalPause, TRIES } from "./retry.js";
import { byteSize } from "./text.js";
import { decode, type Vector } from "./vector.js";

// Texts of a message: enough that a message's own cost vanishes among them.
const TEXTS_PER_MESSAGE = 64;
const BYTES_PER_MESSAGE = 1 << 20;

// A longer exchange goes on over another stream: connect 2.3 keeps some hundred bytes of each message.
const MESSAGES_PER_STREAM = 4_096;

/** A text's vector, or why it has none. `index` is its place among the texts, from 0. */
export type StreamResult<V = Vector> =
  | { index: number; vector: V; error?: undefined }
  | { index: number; vector?: undefined; error: GemwireError };

interface Entry {
  id: number;
  input: EmbedInput;
  bytes: number;
  /** How often it was sent. */
  sent: number;
  /** Whether it was sent over this stream, and not yet answered. */
  underWay: boolean;
  /** How often a stream ended early while it was under way. */
  cut: number;
  result: StreamResult | undefined;
}

/**
 * The books of an `embedStream`: ids, credit, order, and what is still unanswered, without any I/O. One stream
 * follows another: when a server goes away, or has no room for a text, the stream is read until all that it
 * was sent is answered, and the next one is sent what is unanswered.
 *
 * Call `begin`, then in turns `add` while `wanted`, `nextBatch`, half-close on `sendingDone`, `receive` and
 * `take`; at the stream's end `ended`, and begin again or be done.
 */
export class Exchange {
  sourceEnded = false;
  readonly #ordered: boolean;
  readonly #timeoutMs: number | null;
  #count = 0;
  #revision: string | undefined;
  /** Taken from the source and not yet handed out. */
  #held = 0;
  /** In the order to hand them out: with `ordered` all entries that are held, otherwise the answered ones. */
  readonly #line: Entry[] = [];
  /** Taken and not yet answered, in order. */
  readonly #byId = new Map<number, Entry>();
  /** Of these, what this stream was not sent. */
  #unsent: Entry[] = [];
  #opened: StreamOpened | undefined;
  /** Messages that came over this stream. */
  #messages = 0;
  #credit = 0;
  #leaving = false;
  #underWay = 0;
  #restMs = 0;
  #progress = false;
  /** Streams in a row that were opened and answered nothing. */
  #failures = 0;
  /** Streams in a row that no server opened, and when the first of them ended. */
  #absences = 0;
  #absentSince = 0;

  constructor(ordered: boolean, timeoutMs: number | null) {
    this.#ordered = ordered;
    this.#timeoutMs = timeoutMs;
  }

  /** Begins a new stream. Nothing may be sent before the server has granted credit. */
  begin(): void {
    this.#opened = undefined;
    this.#messages = 0;
    this.#credit = 0;
    this.#leaving = false;
    this.#underWay = 0;
    this.#restMs = 0;
    this.#progress = false;
    this.#unsent = [...this.#byId.values()];
    for (const entry of this.#unsent) entry.underWay = false;
  }

  get #window(): number {
    return this.#opened?.maxInflightInputs ?? 0;
  }

  get #textsPerMessage(): number {
    return Math.min(TEXTS_PER_MESSAGE, this.#opened?.maxInputsPerMessage || TEXTS_PER_MESSAGE);
  }

  /** Whether one more text may be taken from the source now. */
  get wanted(): boolean {
    const unsent = this.#unsent.length;
    if (this.sourceEnded || this.#leaving || unsent >= this.#textsPerMessage) return false;
    return this.#credit > unsent && this.#window > this.#held;
  }

  /** Whether this stream is to be half-closed. */
  get sendingDone(): boolean {
    return (
      this.#underWay === 0 && (this.#leaving || (this.sourceEnded && this.#unsent.length === 0))
    );
  }

  /** Whether the server must act next: it owes the stream's opening, an answer or the stream's end. */
  get waiting(): boolean {
    return this.#window === 0 || this.#byId.size > 0 || this.sendingDone;
  }

  /** Whether every text was taken and answered. */
  get finished(): boolean {
    return this.sourceEnded && this.#byId.size === 0;
  }

  /** Takes the next text. */
  add(input: EmbedInput): void {
    const entry: Entry = {
      id: this.#count++,
      input,
      bytes: byteSize(input),
      sent: 0,
      underWay: false,
      cut: 0,
      result: undefined,
    };
    this.#held++;
    this.#byId.set(entry.id, entry);
    this.#unsent.push(entry);
    if (this.#ordered) this.#line.push(entry);
  }

  /** The next message to send, as far as there is credit. Ids in a message follow each other. */
  nextBatch(): EmbedStreamRequest | undefined {
    if (this.#leaving || this.#opened === undefined) return undefined;
    const limit = this.#opened.maxRequestBytes || Number.POSITIVE_INFINITY;
    const largest = roomForTexts(limit);
    const most = Math.min(this.#credit, this.#textsPerMessage);
    const inputs: EmbedInput[] = [];
    let firstId = 0;
    let bytes = 0;
    let passed = 0;
    for (const entry of this.#unsent) {
      const { id, input } = entry;
      if (entry.bytes > largest) {
        if (inputs.length > 0) break;
        passed++;
        this.#answer(entry, { index: id, error: tooLarge(entry.bytes, limit, id) });
        continue;
      }
      if (inputs.length === 0) firstId = id;
      bytes += entry.bytes;
      const full = inputs.length > 0 && bytes > Math.min(BYTES_PER_MESSAGE, largest);
      if (inputs.length >= most || full || id !== firstId + inputs.length) break;
      inputs.push(input);
      entry.sent++;
      entry.underWay = true;
      passed++;
    }
    this.#unsent.splice(0, passed);
    if (inputs.length === 0) return undefined;
    this.#credit -= inputs.length;
    this.#underWay += inputs.length;
    const value = create(StreamBatchSchema, { firstId: BigInt(firstId), inputs });
    return create(EmbedStreamRequestSchema, { payload: { case: "batch", value } });
  }

  /** Takes a message of the server, and ignores one that it does not know. */
  receive(message: EmbedStreamResponse): void {
    const { payload } = message;
    // connect 2.3 keeps every message of a stream until the stream ends: this one gives its vectors back.
    message.payload = { case: undefined };
    if (++this.#messages === MESSAGES_PER_STREAM) this.#leave(0);
    switch (payload.case) {
      case "opened":
        this.#revision ??= payload.value.modelRevision;
        if (this.#revision !== payload.value.modelRevision) throw modelChanged();
        this.#opened = payload.value;
        this.#credit = payload.value.maxInflightInputs;
        break;
      case "goAway":
        this.#leave(milliseconds(payload.value.reconnectAfter));
        break;
      case "results":
        this.#credit += payload.value.grantedInputs;
        for (const result of payload.value.results) this.#take(result);
    }
  }

  /** The next result whose turn has come, for the caller. */
  take(): StreamResult | undefined {
    const result = this.#line[0]?.result;
    if (result !== undefined) {
      this.#line.shift();
      this.#held--;
    }
    return result;
  }

  /**
   * The stream is over, with this error or OK: the milliseconds to wait before the next one, of use unless
   * `finished`. Throws the error where another stream would not help or was tried often enough.
   */
  ended(error: GemwireError | undefined): number {
    if (this.finished) return 0;
    const left = error === undefined && this.#leaving && this.#underWay === 0;
    error ??= new Unavailable("the server ended the stream", { code: "UNAVAILABLE" });
    if (isAbsence(error) && this.#window === 0) return this.#absence(error);
    this.#absences = 0;
    this.#failures = this.#progress ? 0 : this.#failures + 1;
    const pause =
      error instanceof Overloaded ? refusalPause(error) : isAbsence(error) ? 0 : undefined;
    // A text that ends every stream that it is on must not be sent for ever.
    if (pause === undefined || this.#failures >= TRIES || this.#cuts() >= TRIES) throw error;
    if (left) return this.#restMs;
    return Math.max(this.#restMs, pause || backoff(error, Math.max(1, this.#failures)));
  }

  /** Counts an early end for each text under way; the most that one of them has seen. */
  #cuts(): number {
    let most = 0;
    for (const entry of this.#byId.values()) {
      if (entry.underWay) most = Math.max(most, ++entry.cut);
    }
    return most;
  }

  /** The pause while no server is there: a restart may take longer than a few tries. */
  #absence(error: GemwireError): number {
    const now = performance.now();
    if (this.#absences++ === 0) this.#absentSince = now;
    const left =
      this.#timeoutMs === null
        ? Number.POSITIVE_INFINITY
        : this.#absentSince + this.#timeoutMs - now;
    if (left <= 0) throw error;
    return Math.min(left, Math.max(this.#restMs, backoff(error, this.#absences)));
  }

  #take({ id, outcome }: ResultMessage): void {
    const entry = this.#byId.get(Number(id));
    if (!entry?.underWay || outcome.case === undefined) return;
    entry.underWay = false;
    this.#underWay--;
    if (outcome.case === "embedding") {
      this.#answer(entry, decoded(entry.id, outcome.value));
    } else {
      const error = fromStatus(outcome.value, entry.id);
      const again = error instanceof Overloaded || error instanceof Unavailable;
      const pause = again && entry.sent < TRIES ? refusalPause(error) : undefined;
      if (pause !== undefined) {
        this.#leave(pause); // The next stream's work: this server ends, or has no room.
        return;
      }
      this.#answer(entry, { index: entry.id, error });
    }
    this.#progress = true;
  }

  #answer(entry: Entry, result: StreamResult): void {
    entry.result = result;
    this.#byId.delete(entry.id);
    if (!this.#ordered) this.#line.push(entry);
  }

  #leave(restMs: number): void {
    this.#leaving = true;
    this.#restMs = Math.max(this.#restMs, restMs);
  }
}

/** The vector of a text, or an error of this text alone for an encoding that the client does not know. */
function decoded(index: number, embedding: Embedding): StreamResult {
  try {
    return { index, vector: decode(embedding) };
  } catch (error) {
    if (!(error instanceof GemwireError)) throw error;
    return { index, error: new GemwireError(error.message, { code: error.code, index }) };
  }
}
