// The servers and cases that the variable CONFORMANCE names: see clients/conformance/README.md.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, type ClientOptions, type Text } from "@gemwire/client";

export interface Server {
  address: string;
  ca?: string;
  cert?: string;
  key?: string;
}

export interface ErrorCase {
  type?: string;
  code?: string;
  message?: string;
  reason?: string;
  metadata?: Record<string, string>;
  fields?: Record<string, string>;
  retry_after?: number | null;
  index?: number | null;
  errors?: number[];
}

export type TextsCase = TextCase[] | { count: number };
export type TextCase = string | { text?: string; title?: string; ids?: number[]; bytes?: number };

export interface Case {
  name: string;
  server?: string;
  token?: string;
  timeout?: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: JSON, whose keys depend on the method.
  call: { method: string; calls?: number; [key: string]: any };
  expect: {
    vectors?: number[][];
    lengths?: number[];
    scores?: number[];
    ids?: number[];
    text?: string;
    model?: Record<string, unknown>;
    results?: ({ index: number; vector: number[] } | { index: number; error: ErrorCase })[];
    count?: number;
    reference?: string;
    error?: ErrorCase;
    read_ahead?: number;
  };
}

interface Conformance {
  servers: Record<string, Server>;
  reference: Record<string, unknown>;
  cases: string;
}

const path = process.env.CONFORMANCE;

/** The content of the file; undefined without the variable. */
export const conformance: Conformance | undefined =
  path === undefined ? undefined : JSON.parse(readFileSync(path, "utf8"));

/** What node:test takes to skip a test without the variable. */
export const skip = conformance === undefined && "no servers: run make clients LANGS=typescript";

/** All cases, in the order of the files. */
export function allCases(): Case[] {
  if (conformance === undefined) return [];
  const { cases } = conformance;
  const files = readdirSync(cases).filter((name) => name.endsWith(".json"));
  return files.sort().flatMap((name) => JSON.parse(readFileSync(join(cases, name), "utf8")).cases);
}

/** A client of a server; the timeout is in seconds. */
export function connect(name: string, token?: string, timeout: number | null = 20): Client {
  const server = conformance?.servers[name];
  if (server === undefined) throw new Error(`CONFORMANCE names no server ${name}`);
  const pem = (file: string | undefined) => file && readFileSync(file);
  const tls = server.ca && { ca: pem(server.ca), cert: pem(server.cert), key: pem(server.key) };
  const options: ClientOptions = { token, timeoutMs: timeout === null ? null : 1e3 * timeout };
  return new Client(server.address, { ...options, ...(tls && { tls }) } as ClientOptions);
}

/** The texts of a case. */
export function textsOf(texts: TextsCase): Text[] {
  if (Array.isArray(texts)) return texts.map(textOf);
  return Array.from({ length: texts.count }, (_, i) => `text ${i}`);
}

/** A text of a case. */
export function textOf(text: TextCase): Text {
  if (typeof text === "string") return text;
  if (text.ids !== undefined) return text.ids;
  if (text.bytes !== undefined) return "a".repeat(text.bytes);
  return { text: text.text ?? "", title: text.title };
}
