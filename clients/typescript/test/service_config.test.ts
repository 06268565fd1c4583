// A plain channel of grpc-js, which has service configs: the one of the repository makes a lost call again.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { conformance, connect, skip } from "./conformance.js";

interface Scores {
  results: { score: number }[];
}

const root = fileURLToPath(new URL("../../../../", import.meta.url));

test("the service config makes a lost call again", { skip }, async () => {
  const definition = loadSync("gemwire/v1/embedding.proto", {
    includeDirs: [`${root}proto`, `${root}third_party`],
  });
  // biome-ignore lint/suspicious/noExplicitAny: proto-loader makes no types here.
  const { gemwire } = grpc.loadPackageDefinition(definition) as any;
  const { address } = conformance!.servers.scripted!;
  const client = new gemwire.v1.EmbeddingService(address, grpc.credentials.createInsecure(), {
    "grpc.service_config": readFileSync(`${root}proto/gemwire/v1/service_config.json`, "utf8"),
  });
  const run = `similarity_is_made_again.config${process.pid}`;
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${run}`);
  try {
    const request = { source: { text: "s" }, targets: [{ text: "a" }] };
    const response = await new Promise<Scores>((resolve, reject) => {
      client.computeSimilarity(
        request,
        metadata,
        { deadline: Date.now() + 20_000 },
        (error: Error | null, answer: Scores) => (error ? reject(error) : resolve(answer)),
      );
    });
    assert.deepEqual(
      response.results.map(({ score }) => score),
      [1],
    );
  } finally {
    client.close();
  }
  const verdict = connect("scripted", `verdict.${run}`);
  try {
    await verdict.model();
  } finally {
    await verdict.close();
  }
});
