import { create } from "@bufbuild/protobuf";
import {
  type EmbedInput,
  EmbedInputSchema,
  TokenIdsSchema,
} from "./gen/gemwire/v1/embedding_pb.js";

/** A text with a title, for the task `"retrieval_document"`. */
export interface Document {
  /** The text. */
  text: string;
  /** The title; empty or absent: none. */
  title?: string | undefined;
}

/** The ids of a text's tokens, without prompt and special tokens. */
export type TokenIds = readonly number[] | Uint32Array | Int32Array;

/** A text, a text with its title, or the ids of a text's tokens. */
export type Text = string | Document | TokenIds;

/**
 * One text as a message.
 *
 * @throws TypeError for what is no text, and for a string that holds a lone surrogate.
 */
export function textInput(text: Text): EmbedInput {
  if (typeof text === "string") return ofString(text, "");
  if (Array.isArray(text) || text instanceof Uint32Array || text instanceof Int32Array) {
    return create(EmbedInputSchema, {
      content: { case: "tokens", value: create(TokenIdsSchema, { ids: idsArray(text) }) },
    });
  }
  const { text: own, title } = (text ?? {}) as Document;
  if (typeof own !== "string" || (title !== undefined && typeof title !== "string")) {
    throw new TypeError(
      "a text is a string, a { text, title } of strings, or an array of token ids",
    );
  }
  return ofString(own, title ?? "");
}

function ofString(text: string, title: string): EmbedInput {
  if (!text.isWellFormed() || !title.isWellFormed()) {
    throw new TypeError("the text holds a lone surrogate, which no encoding of Unicode has");
  }
  return create(EmbedInputSchema, { content: { case: "text", value: text }, title });
}

/**
 * Token ids as an array of numbers.
 *
 * @throws TypeError for what is no unsigned integer of 32 bits.
 */
export function idsArray(ids: TokenIds): number[] {
  const numbers = Array.from(ids);
  if (!numbers.every((id) => Number.isInteger(id) && id >= 0 && id <= 0xffffffff)) {
    throw new TypeError("token ids are integers from 0 to 2^32 - 1");
  }
  return numbers;
}

/** Texts and their titles as documents. Throws TypeError unless each text is a string with one title. */
export function withTitles(
  texts: readonly Text[],
  titles: readonly string[] | undefined,
): readonly Text[] {
  if (!Array.isArray(texts)) throw new TypeError("give an array of texts");
  if (titles === undefined) return texts;
  if (!Array.isArray(titles) || texts.length !== titles.length) {
    throw new TypeError('each text needs one title, "" where it has none');
  }
  return texts.map((text, i) => {
    if (typeof text !== "string")
      throw new TypeError(`text ${i} is no string; titles go with strings`);
    return { text, title: titles[i]! };
  });
}

/** The bytes of a text's message. */
export function byteSize(input: EmbedInput): number {
  const title = lengthDelimited(Buffer.byteLength(input.title));
  const { content } = input;
  if (content.case === "text") return withTag(Buffer.byteLength(content.value)) + title;
  if (content.case !== "tokens") return title;
  let ids = 0;
  for (const id of content.value.ids) ids += varint(id);
  return withTag(lengthDelimited(ids)) + title;
}

/** The bytes of a field with so many bytes of content; an empty one is left out. */
function lengthDelimited(bytes: number): number {
  return bytes === 0 ? 0 : withTag(bytes);
}

function withTag(bytes: number): number {
  return 1 + varint(bytes) + bytes;
}

function varint(value: number): number {
  return Math.max(1, Math.ceil((32 - Math.clz32(value)) / 7));
}
