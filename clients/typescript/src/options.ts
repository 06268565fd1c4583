import { create } from "@bufbuild/protobuf";
import {
  type EmbedOptions as EmbedOptionsMessage,
  EmbedOptionsSchema,
  TaskType,
  Truncation as TruncationEnum,
  VectorEncoding,
} from "./gen/gemwire/v1/embedding_pb.js";

type Words<E> = Lowercase<Exclude<keyof E & string, "UNSPECIFIED">>;

/** A task of the model card: `"retrieval_query"`, `"retrieval_document"`, `"clustering"` and so on. */
export type Task = Words<typeof TaskType>;
/** What becomes of a text over the model's window: `"error"` refuses it, `"end"` and `"start"` cut there. */
export type Truncation = Words<typeof TruncationEnum>;
/** How vectors travel, see {@link Vector}. */
export type Encoding = Words<typeof VectorEncoding>;

/** What each call may set for itself. */
export interface CallOptions {
  /** Milliseconds for the call with all its tries. Absent: the client's; null: no deadline. */
  timeoutMs?: number | null | undefined;
  /** Cancels the call: it then fails with the signal's `reason`. */
  signal?: AbortSignal | undefined;
}

/**
 * How texts are embedded; an option that is left out is the server's default. `task`, `promptName` and
 * `prompt` say what goes before each text, and exclude each other.
 */
export interface EmbedOptions<E extends Encoding = Encoding> {
  /** A task of the model card. */
  task?: Task | undefined;
  /** A name of {@link Model.prompts}. */
  promptName?: string | undefined;
  /** A text as it is. */
  prompt?: string | undefined;
  /** The size of the vectors, one of {@link Model.supportedDimensions}. */
  dimensions?: number | undefined;
  /** False leaves a shortened vector as it is. Absent: true. */
  normalize?: boolean | undefined;
  /** What becomes of a text over the model's window. Absent: `"error"`. */
  truncation?: Truncation | undefined;
  /** How vectors travel. Absent: `"float32"`. */
  encoding?: E | undefined;
  /** From -10 to 10; higher runs first. Absent: 0. */
  priority?: number | undefined;
}

/**
 * The message.
 *
 * @throws TypeError for a word that the API lacks, two prompts, a prompt that is no Unicode, and a number that
 * no message holds.
 */
export function optionsMessage(options: EmbedOptions): EmbedOptionsMessage {
  const { task, promptName, prompt } = options;
  if ([task, promptName, prompt].filter((given) => given !== undefined).length > 1) {
    throw new TypeError("task, promptName and prompt exclude each other");
  }
  if (![promptName, prompt].every((text) => text === undefined || text.isWellFormed())) {
    throw new TypeError("the prompt holds a lone surrogate, which no encoding of Unicode has");
  }
  const dimensions = options.dimensions ?? 0;
  const priority = options.priority ?? 0;
  if (dimensions >>> 0 !== dimensions) throw new TypeError("dimensions is no integer from 0 on");
  if ((priority | 0) !== priority) throw new TypeError("priority is no integer");
  const message = create(EmbedOptionsSchema, {
    outputDimensionality: dimensions,
    normalize: options.normalize ?? true,
    truncation: numberOf("truncation", TruncationEnum, options.truncation ?? "error"),
    encoding: numberOf("encoding", VectorEncoding, options.encoding ?? "float32"),
    priority,
  });
  if (task !== undefined) {
    message.prompt = { case: "task", value: numberOf("task", TaskType, task) };
  } else if (promptName !== undefined) {
    message.prompt = { case: "promptName", value: promptName };
  } else if (prompt !== undefined) {
    message.prompt = { case: "promptText", value: prompt };
  }
  return message;
}

/** The words of an enum's known numbers. */
export function wordsOf<E extends object>(table: E, numbers: readonly number[]): Words<E>[] {
  return numbers.flatMap((number) => wordOf(table, number) ?? []);
}

/** The word of an enum's number; undefined for UNSPECIFIED and for a number that this client does not know. */
export function wordOf<E extends object>(table: E, number: number): Words<E> | undefined {
  const name: unknown = number === 0 ? undefined : Reflect.get(table, number);
  return typeof name === "string" ? (name.toLowerCase() as Words<E>) : undefined;
}

function numberOf<E extends object>(what: string, table: E, word: string): number {
  const words = Object.keys(table).filter(
    (key) => Number.isNaN(Number(key)) && key !== "UNSPECIFIED",
  );
  const name = words.find((key) => key.toLowerCase() === word);
  if (name !== undefined) return Reflect.get(table, name) as unknown as number;
  const known = words.map((key) => key.toLowerCase()).join(", ");
  throw new TypeError(`${what} ${JSON.stringify(word)} is not one of ${known}`);
}
