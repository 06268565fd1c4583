// What a user of the package writes: only its types are checked.
import { Client, type GemwireError, type StreamResult, Unavailable } from "@gemwire/client";
import { EmbeddingService } from "@gemwire/client/gen/gemwire/v1/embedding_pb.js";
import { Health } from "@gemwire/client/gen/grpc/health/v1/health_pb.js";

const client = new Client("127.0.0.1:1", { tls: { ca: "PEM" }, token: "secret", timeoutMs: null });
const bits: Uint8Array[] = await client.embed(["a"], { encoding: "ubinary", task: "clustering" });
const floats: Float32Array[] = await client.embed([{ text: "a", title: "b" }, [1, 2], "c"]);
for await (const result of client.embedStream(["a"], { encoding: "binary", ordered: false })) {
  const { vector, error }: StreamResult<Int8Array> = result;
  const either: Int8Array | GemwireError = error ?? vector;
  console.log(either instanceof Unavailable, bits, floats);
}
// @ts-expect-error: there is no such task.
await client.embed(["a"], { task: "query" });
console.log(EmbeddingService.typeName, Health.typeName);
