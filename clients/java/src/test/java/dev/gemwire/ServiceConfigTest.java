package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import dev.gemwire.v1.ComputeSimilarityRequest;
import dev.gemwire.v1.ComputeSimilarityResponse;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The stubs alone, with the service config that lies beside the .proto. */
class ServiceConfigTest {
  private static final Path CONFIG = Path.of("../../proto/gemwire/v1/service_config.json");
  // Not one that measures the pauses: gRPC's are from 0.8 to 1.2 times what the file says.
  private static final String CASE = "similarity_is_made_again";

  @Test
  void grpcItselfRetriesByTheServiceConfig() throws Exception {
    Servers servers = Servers.orSkip();
    // Numbers must be doubles for grpc-java, as Gson reads them.
    Map<String, ?> config =
        new Gson().fromJson(Files.readString(CONFIG), new TypeToken<Map<String, Object>>() {});
    String run = Servers.run(CASE);
    Metadata headers = new Metadata();
    headers.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + run);
    ManagedChannel channel =
        Grpc.newChannelBuilder(servers.address("scripted"), InsecureChannelCredentials.create())
            .defaultServiceConfig(config)
            .enableRetry()
            .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
            .build();
    try {
      ComputeSimilarityResponse response =
          EmbeddingServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(20, TimeUnit.SECONDS)
              .computeSimilarity(ComputeSimilarityRequest.getDefaultInstance());
      assertEquals(1f, response.getResults(0).getScore());
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
    servers.verdict(run);
  }
}
