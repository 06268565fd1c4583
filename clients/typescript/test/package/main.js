// The package can be imported, and fails as it should where no server is.
import { Client, Unavailable } from "@gemwire/client";
import { EmbeddingService } from "@gemwire/client/gen/gemwire/v1/embedding_pb.js";
import { Health } from "@gemwire/client/gen/grpc/health/v1/health_pb.js";

const client = new Client("127.0.0.1:1", { timeoutMs: 200 });
const error = await client.embedQuery("a").catch((error) => error);
await client.close();
if (!(error instanceof Unavailable)) throw error;
if (`${EmbeddingService.typeName} ${Health.typeName}` !== "gemwire.v1.EmbeddingService grpc.health.v1.Health") {
  throw new Error("the stubs have other names");
}
