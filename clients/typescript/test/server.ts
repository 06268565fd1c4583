// A server of the API in this process, for what the cases cannot show.
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Client, type ClientOptions } from "@gemwire/client";
import {
  EmbeddingService,
  ModelService,
  VectorEncoding,
} from "#client/gen/gemwire/v1/embedding_pb.js";

export type Methods = Partial<ServiceImpl<typeof EmbeddingService>>;
export type StreamMethod = NonNullable<Methods["embedStream"]>;

/** Runs a test with a client of a server that has these methods, at a port or a socket's path; stops both. */
export async function serving(
  methods: Methods,
  test: (client: Client, address: string) => Promise<void>,
  options: ClientOptions = {},
  path?: string,
): Promise<void> {
  const handler = connectNodeAdapter({
    routes(router) {
      router.service(EmbeddingService, methods);
      router.service(ModelService, {
        getModel: () => ({
          model: {
            revision: "r1",
            dimensions: 2,
            maxInputTokens: 2048,
            limits: { maxInputsPerRequest: 8, maxRequestBytes: 16 << 20 },
          },
        }),
      });
    },
  });
  const server = createServer({ maxSessionMemory: 1_000 }, handler);
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => {
    server.listen(path === undefined ? { port: 0, host: "127.0.0.1" } : { path }, resolve);
  });
  const address =
    path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`;
  const client = new Client(address, options);
  try {
    await test(client, address);
  } finally {
    await client.close();
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** The vector of the text with this number: [number, 1], and zeros. */
export function embedding(number: number, dimensions = 2) {
  const values = Array<number>(dimensions).fill(0);
  values[0] = number;
  values[1] = 1;
  return { values, dimensions, encoding: VectorEncoding.FLOAT32 };
}

/** An EmbedStream that answers each message at once, in messages of at most so many results. */
export function answering(
  credit: number,
  resultsPerMessage = credit,
  dimensions = 2,
): StreamMethod {
  return async function* answer(requests) {
    for await (const { payload } of requests) {
      if (payload.case === "open") {
        const value = {
          modelRevision: "r1",
          maxInflightInputs: credit,
          maxInputsPerMessage: credit,
        };
        yield { payload: { case: "opened", value } };
      } else if (payload.case === "batch") {
        const { firstId, inputs } = payload.value;
        const results = inputs.map((_, i) => {
          const id = firstId + BigInt(i);
          const value = embedding(Number(id), dimensions);
          return { id, outcome: { case: "embedding" as const, value } };
        });
        for (let i = 0; i < results.length; i += resultsPerMessage) {
          const some = results.slice(i, i + resultsPerMessage);
          yield {
            payload: { case: "results", value: { results: some, grantedInputs: some.length } },
          };
        }
      }
    }
  };
}
