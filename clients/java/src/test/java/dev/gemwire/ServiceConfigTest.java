package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.EmbedRequest;
import dev.gemwire.v1.EmbedResponse;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The stubs alone, with the service config that lies beside the .proto. */
class ServiceConfigTest {
  private static final Path CONFIG = Path.of("../../proto/gemwire/v1/service_config.json");
  private static final String CASE = "unavailable_then_answer";

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
      EmbedResponse response =
          EmbeddingServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(20, TimeUnit.SECONDS)
              .embed(
                  EmbedRequest.newBuilder()
                      .setInput(EmbedInput.newBuilder().setText("a"))
                      .build());
      assertEquals(List.of(1f, 0f), response.getEmbedding().getValuesList());
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
    servers.verdict(run);
  }
}
