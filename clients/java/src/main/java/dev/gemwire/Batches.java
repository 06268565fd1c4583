package dev.gemwire;

import dev.gemwire.v1.BatchEmbedRequest;
import dev.gemwire.v1.ComputeSimilarityRequest;
import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.EmbedResult;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import dev.gemwire.v1.SimilarityResult;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Function;

/** The calls with many texts: several requests where one would be over the server's limits. */
final class Batches {
  private static final int CALLS_IN_FLIGHT = 4;

  private final Connection connection;
  private final Model model;
  private final Duration timeout;

  Batches(Connection connection, Model model, Duration timeout) {
    this.connection = connection;
    this.model = model;
    this.timeout = timeout;
  }

  List<Vector> embed(List<Text> texts, Options options) {
    List<EmbedInput> inputs = Text.messages(texts);
    Answers<Vector> answers = new Answers<>(inputs.size());
    send(
        Splitter.ofTexts(model, options.message()).split(inputs),
        EmbeddingServiceGrpc.getBatchEmbedMethod(),
        slice ->
            BatchEmbedRequest.newBuilder()
                .addAllInputs(slice.of(inputs))
                .setOptions(options.message())
                .build(),
        (slice, response) -> {
          answers.check(slice, response.getResultsCount(), response.getModelRevision());
          for (int i = 0; i < slice.size(); i++) {
            EmbedResult result = response.getResults(i);
            if (result.hasEmbedding()) {
              answers.put(slice.from() + i, Vector.of(result.getEmbedding()));
            } else {
              answers.fail(slice.from() + i, result.getError());
            }
          }
        });
    return answers.get();
  }

  float[] similarity(Text source, List<Text> targets, Options options, Options targetOptions) {
    List<EmbedInput> inputs = Text.messages(targets);
    ComputeSimilarityRequest.Builder shared =
        ComputeSimilarityRequest.newBuilder()
            .setSource(source.message())
            .setOptions(options.message());
    if (targetOptions != null) {
      shared.setTargetOptions(targetOptions.message());
    }
    ComputeSimilarityRequest request = shared.build();
    Options ofTargets = targetOptions == null ? options : targetOptions;
    Answers<Float> answers = new Answers<>(inputs.size());
    send(
        Splitter.ofTargets(model, ofTargets.message()).split(inputs),
        EmbeddingServiceGrpc.getComputeSimilarityMethod(),
        slice -> request.toBuilder().addAllTargets(slice.of(inputs)).build(),
        (slice, response) -> {
          answers.check(slice, response.getResultsCount(), response.getModelRevision());
          for (int i = 0; i < slice.size(); i++) {
            SimilarityResult result = response.getResults(i);
            if (result.getOutcomeCase() == SimilarityResult.OutcomeCase.SCORE) {
              answers.put(slice.from() + i, result.getScore());
            } else {
              answers.fail(slice.from() + i, result.getError());
            }
          }
        });
    List<Float> scores = answers.get();
    float[] numbers = new float[scores.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = scores.get(i);
    }
    return numbers;
  }

  /** Sends a request for each slice, some at once, and takes the responses in order. */
  private <Q, R> void send(
      List<Splitter.Slice> slices,
      MethodDescriptor<Q, R> method,
      Function<Splitter.Slice, Q> request,
      BiConsumer<Splitter.Slice, R> take) {
    Deque<UnaryCall<Q, R>> calls = new ArrayDeque<>();
    try {
      int begun = 0;
      for (Splitter.Slice slice : slices) {
        while (begun < slices.size() && calls.size() < CALLS_IN_FLIGHT) {
          Q next = request.apply(slices.get(begun++));
          calls.add(new UnaryCall<>(connection, method, next, timeout));
        }
        take.accept(slice, calls.element().await());
        calls.remove();
      }
    } finally {
      calls.forEach(UnaryCall::cancel);
    }
  }
}
