package dev.gemwire;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.gemwire.v1.EmbedRequest;
import dev.gemwire.v1.EmbedResponse;
import dev.gemwire.v1.EmbedStreamRequest;
import dev.gemwire.v1.EmbedStreamResponse;
import dev.gemwire.v1.Embedding;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import dev.gemwire.v1.StreamOpened;
import dev.gemwire.v1.StreamResult;
import dev.gemwire.v1.StreamResults;
import dev.gemwire.v1.VectorEncoding;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A gRPC server on this machine. It answers a text with its length, or on a stream its id, and 1.
 * It does not answer the text "hang", and has no room for the text "refuse" for 30 s.
 */
final class LocalServer extends EmbeddingServiceGrpc.EmbeddingServiceImplBase {
  static final int CREDIT = 16;

  /** Credit of a server that reads nothing but the opening. */
  static final int WIDE_CREDIT = 100_000;

  final AtomicInteger calls = new AtomicInteger();
  final AtomicInteger texts = new AtomicInteger();
  final CountDownLatch met = new CountDownLatch(1);
  final CountDownLatch cancelled = new CountDownLatch(1);
  volatile boolean reads = true;
  private final Server server;

  LocalServer() throws IOException {
    this(0);
  }

  LocalServer(int port) throws IOException {
    server =
        Grpc.newServerBuilderForPort(port, InsecureServerCredentials.create())
            .addService(this)
            .build()
            .start();
  }

  int port() {
    return server.getPort();
  }

  GemwireClientBuilder client() {
    return GemwireClient.builder("localhost:" + port());
  }

  void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  @Override
  public void embed(EmbedRequest request, StreamObserver<EmbedResponse> answer) {
    calls.incrementAndGet();
    ((ServerCallStreamObserver<EmbedResponse>) answer).setOnCancelHandler(cancelled::countDown);
    String text = request.getInput().getText();
    switch (text) {
      case "hang" -> met.countDown();
      case "refuse" -> {
        answer.onError(StatusProto.toStatusRuntimeException(full(30)));
        met.countDown();
      }
      default -> {
        answer.onNext(EmbedResponse.newBuilder().setEmbedding(vector(text.length())).build());
        answer.onCompleted();
      }
    }
  }

  @Override
  public StreamObserver<EmbedStreamRequest> embedStream(
      StreamObserver<EmbedStreamResponse> answer) {
    calls.incrementAndGet();
    var call = (ServerCallStreamObserver<EmbedStreamResponse>) answer;
    call.setOnCancelHandler(cancelled::countDown);
    if (!reads) {
      call.disableAutoRequest();
      call.request(1);
    }
    return new StreamObserver<>() {
      private boolean ended;

      @Override
      public void onNext(EmbedStreamRequest message) {
        if (ended) {
          return;
        }
        if (message.hasOpen()) {
          int credit = reads ? CREDIT : WIDE_CREDIT;
          answer.onNext(
              EmbedStreamResponse.newBuilder()
                  .setOpened(StreamOpened.newBuilder().setMaxInflightInputs(credit))
                  .build());
          return;
        }
        StreamResults.Builder results = StreamResults.newBuilder();
        long id = message.getBatch().getFirstId();
        for (var input : message.getBatch().getInputsList()) {
          texts.incrementAndGet();
          if (input.getText().equals("hang")) {
            met.countDown();
          } else if (input.getText().equals("poison")) {
            ended = true;
          } else {
            results.addResults(StreamResult.newBuilder().setId(id).setEmbedding(vector(id)));
          }
          id++;
        }
        results.setGrantedInputs(results.getResultsCount());
        answer.onNext(EmbedStreamResponse.newBuilder().setResults(results).build());
        if (ended) {
          answer.onError(Status.UNAVAILABLE.asRuntimeException());
        }
      }

      @Override
      public void onError(Throwable why) {
        cancelled.countDown();
      }

      @Override
      public void onCompleted() {
        answer.onCompleted();
      }
    };
  }

  private static Embedding vector(long number) {
    return Embedding.newBuilder()
        .addValues(number)
        .addValues(1)
        .setDimensions(2)
        .setEncoding(VectorEncoding.VECTOR_ENCODING_FLOAT32)
        .build();
  }

  /** Returns the status of a server that has no room for so many seconds. */
  static com.google.rpc.Status full(long seconds) {
    return com.google.rpc.Status.newBuilder()
        .setCode(8)
        .setMessage("full")
        .addDetails(
            Any.pack(
                ErrorInfo.newBuilder().setDomain("gemwire.dev").setReason("QUEUE_FULL").build()))
        .addDetails(
            Any.pack(
                RetryInfo.newBuilder()
                    .setRetryDelay(Duration.newBuilder().setSeconds(seconds))
                    .build()))
        .build();
  }
}
