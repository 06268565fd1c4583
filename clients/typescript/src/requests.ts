import { tooLarge } from "./errors.js";
import type { EmbedInput } from "./gen/gemwire/v1/embedding_pb.js";
import type { Limits, Model } from "./model.js";
import { byteSize } from "./text.js";

// Bytes of a message beside its texts: options, and a few for each text.
const MESSAGE_OVERHEAD = 65_536;
const TEXT_OVERHEAD = 8;
// Bytes of an answer beside its results, of a result beside its vector, and of an error in its place: see
// Limits.max_response_bytes in the .proto.
const ANSWER_OVERHEAD = 1_024;
const RESULT_OVERHEAD = 48;
/** The most bytes that an error, or a score, takes in an answer. */
export const ERROR_BYTES = 512;

/** Neighbours that go in one request: `start` to `end`, without the last. */
export interface Range {
  start: number;
  end: number;
}

/** What the texts of one request may be at most, all together. */
export interface Room {
  texts: number;
  bytes: number;
  /** 0: no limit. */
  tokens: number;
  /** The server's limit of a message, in bytes, for the error of a text that is over `bytes`. */
  messageBytes: number;
}

/** The room for texts of `embed`, for vectors of so many numbers. */
export function roomForVectors(limits: Limits, dimensions: number): Room {
  return room(limits, Math.max(4 * dimensions + RESULT_OVERHEAD, ERROR_BYTES));
}

/** The room for targets of `similarity`: the source counts besides them. */
export function roomForTargets(model: Model): Room {
  const { limits } = model;
  const { texts, bytes, tokens, messageBytes } = room(limits, ERROR_BYTES);
  return {
    texts: Math.max(1, Math.min(texts, limits.maxInputsPerRequest - 1)),
    bytes,
    tokens: tokens && Math.max(1, tokens - model.maxInputTokens),
    messageBytes,
  };
}

function room(limits: Limits, answerBytes: number): Room {
  let texts = limits.maxInputsPerRequest;
  if (limits.maxResponseBytes) {
    const answered = Math.floor((limits.maxResponseBytes - ANSWER_OVERHEAD) / answerBytes);
    texts = Math.max(1, Math.min(texts, answered));
  }
  const bytes = roomForTexts(limits.maxRequestBytes);
  return { texts, bytes, tokens: limits.maxQueueTokens, messageBytes: limits.maxRequestBytes };
}

/** Bytes of texts that fit in one message of at most so many bytes. */
export function roomForTexts(messageBytes: number): number {
  return Math.max(Math.floor(messageBytes / 2), messageBytes - MESSAGE_OVERHEAD);
}

/**
 * The requests that hold the texts, in order. No token stands for less than a byte of a text and its prompt,
 * and no text has more tokens than the model's window: so the tokens of a request fit in the server's queue.
 *
 * @throws {@link InvalidInput} for a text that fits in no request.
 */
export function split(
  inputs: readonly EmbedInput[],
  room: Room,
  window: number,
  promptBytes: number,
): Range[] {
  const ranges: Range[] = [];
  let start = 0;
  let bytes = 0;
  let tokens = 0;
  inputs.forEach((input, i) => {
    const ownBytes = byteSize(input) + TEXT_OVERHEAD;
    if (ownBytes > room.bytes) throw tooLarge(ownBytes, room.messageBytes, i);
    const ownTokens = Math.min(window, ownBytes + promptBytes);
    const tooManyTokens = room.tokens > 0 && tokens + ownTokens > room.tokens;
    if (i > start && (i - start >= room.texts || bytes + ownBytes > room.bytes || tooManyTokens)) {
      ranges.push({ start, end: i });
      start = i;
      bytes = tokens = 0;
    }
    bytes += ownBytes;
    tokens += ownTokens;
  });
  if (inputs.length > start) ranges.push({ start, end: inputs.length });
  return ranges;
}

/** The bytes of the longest prompt that the server may put before a text. */
export function longestPrompt(model: Model, own = ""): number {
  return Math.max(...[own, ...Object.values(model.prompts)].map((p) => Buffer.byteLength(p)));
}
