import {
  type Limits as LimitsMessage,
  type Model as ModelMessage,
  TaskType,
  VectorEncoding,
} from "./gen/gemwire/v1/embedding_pb.js";
import { type Encoding, type Task, wordOf, wordsOf } from "./options.js";

/** The server's limits of one request. */
export interface Limits {
  /** Texts of one request, or of one message of a stream. */
  readonly maxInputsPerRequest: number;
  /** Bytes of one message. */
  readonly maxRequestBytes: number;
  /** Tokens computed in one step. */
  readonly maxBatchTokens: number;
  /** Tokens that may wait; 0: no limit. */
  readonly maxQueueTokens: number;
  /** Texts of a stream that may be unanswered at once. */
  readonly maxStreamInflightInputs: number;
  /** Bytes of one answer; 0: no limit. */
  readonly maxResponseBytes: number;
}

/** The model of a server. */
export interface Model {
  /** `models/NAME`. */
  readonly name: string;
  /** The name for people. */
  readonly displayName: string;
  /** Vectors of different revisions do not compare. */
  readonly revision: string;
  /** What weights and matrix products use: `"bfloat16"` or `"float32"`. */
  readonly dtype: string;
  /** Where the engine runs and with which operations, for people. */
  readonly engine: string;
  /** The full size of a vector. */
  readonly dimensions: number;
  /** The sizes that {@link EmbedOptions.dimensions} may ask for, largest first. */
  readonly supportedDimensions: readonly number[];
  /** The size where a request asks for none. */
  readonly defaultDimensions: number;
  /** The window: tokens of one text, prompt and special tokens counted. */
  readonly maxInputTokens: number;
  /** How many ids the vocabulary has. */
  readonly vocabularySize: number;
  /** The tasks that have a prompt. */
  readonly supportedTasks: readonly Task[];
  /** The task of requests that name no prompt; undefined: the text as it is. */
  readonly defaultTask: Task | undefined;
  /** The prompts that {@link EmbedOptions.promptName} may name. */
  readonly prompts: Readonly<Record<string, string>>;
  /** The encodings on offer. */
  readonly supportedEncodings: readonly Encoding[];
  /** What a request may ask for. */
  readonly limits: Limits;
  /** The version of the server software. */
  readonly serverVersion: string;
}

/** The model that a message describes. */
export function modelOf(message: ModelMessage): Model {
  return {
    name: message.name,
    displayName: message.displayName,
    revision: message.revision,
    dtype: message.dtype,
    engine: message.engine,
    dimensions: message.dimensions,
    supportedDimensions: message.supportedDimensions,
    // Servers before this field gave the full size.
    defaultDimensions: message.defaultDimensions || message.dimensions,
    maxInputTokens: message.maxInputTokens,
    vocabularySize: message.vocabularySize,
    supportedTasks: wordsOf(TaskType, message.supportedTasks),
    defaultTask: wordOf(TaskType, message.defaultTask),
    prompts: message.prompts,
    supportedEncodings: wordsOf(VectorEncoding, message.supportedEncodings),
    limits: limitsOf(message.limits),
    serverVersion: message.serverVersion,
  };
}

function limitsOf(message: LimitsMessage | undefined): Limits {
  return {
    maxInputsPerRequest: message?.maxInputsPerRequest ?? 0,
    maxRequestBytes: message?.maxRequestBytes ?? 0,
    maxBatchTokens: message?.maxBatchTokens ?? 0,
    maxQueueTokens: message?.maxQueueTokens ?? 0,
    maxStreamInflightInputs: message?.maxStreamInflightInputs ?? 0,
    maxResponseBytes: message?.maxResponseBytes ?? 0,
  };
}
