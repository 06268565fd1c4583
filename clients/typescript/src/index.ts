/**
 * The client of gemwire, an embedding server for EmbeddingGemma over gRPC.
 *
 * @packageDocumentation
 */

export { Client, type ClientOptions } from "./client.js";
export type { TlsOptions } from "./connection.js";
export {
  AccessDenied,
  DeadlineExceeded,
  EngineFailure,
  GemwireError,
  InvalidInput,
  NotFound,
  Overloaded,
  type StatusCode,
  Unavailable,
} from "./errors.js";
export type { StreamResult } from "./exchange.js";
export type { Limits, Model } from "./model.js";
export type { CallOptions, EmbedOptions, Encoding, Task, Truncation } from "./options.js";
export type { Document, Text, TokenIds } from "./text.js";
export type { Vector } from "./vector.js";
