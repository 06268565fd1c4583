package dev.gemwire;

import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.EmbedOptions;
import io.grpc.Status;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Splits the texts of a call into neighbours that a server takes in one request. */
final class Splitter {
  // Bytes of a message beside its texts: options, and a few for each text.
  private static final int MESSAGE_OVERHEAD = 65_536;
  private static final int INPUT_OVERHEAD = 8;
  // Bytes of an answer beside its results, of a result beside its vector, and of an error.
  private static final int ANSWER_OVERHEAD = 1_024;
  private static final int RESULT_OVERHEAD = 48;
  private static final int ERROR_BYTES = 512;

  private final int mostTexts;
  private final int requestBytes;
  private final long mostTokens;
  private final int window;
  private final int promptBytes;

  /** Texts from one index to another, without the last. */
  record Slice(int from, int to) {
    int size() {
      return to - from;
    }

    List<EmbedInput> of(List<EmbedInput> inputs) {
      return inputs.subList(from, to);
    }
  }

  private Splitter(Model model, int texts, long queueTokens, int answerBytes, String prompt) {
    Limits limits = model.limits();
    int answers = (limits.maxResponseBytes() - ANSWER_OVERHEAD) / answerBytes;
    mostTexts = limits.maxResponseBytes() == 0 ? texts : Math.max(1, Math.min(texts, answers));
    requestBytes = limits.maxRequestBytes();
    mostTokens = queueTokens;
    window = model.maxInputTokens();
    promptBytes =
        Stream.concat(Stream.of(prompt), model.prompts().values().stream())
            .mapToInt(p -> p.getBytes(StandardCharsets.UTF_8).length)
            .max()
            .orElse(0);
  }

  /** Splits for BatchEmbed. */
  static Splitter ofTexts(Model model, EmbedOptions options) {
    int asked = options.getOutputDimensionality();
    int dimensions = asked == 0 ? model.defaultDimensions() : asked;
    Limits limits = model.limits();
    return new Splitter(
        model,
        limits.maxInputsPerRequest(),
        limits.maxQueueTokens(),
        Math.max(4 * dimensions + RESULT_OVERHEAD, ERROR_BYTES),
        options.getPromptText());
  }

  /** Splits for ComputeSimilarity, whose source counts besides the targets. */
  static Splitter ofTargets(Model model, EmbedOptions options) {
    int tokens = model.limits().maxQueueTokens();
    return new Splitter(
        model,
        Math.max(1, model.limits().maxInputsPerRequest() - 1),
        tokens == 0 ? 0 : Math.max(1, tokens - model.maxInputTokens()),
        ERROR_BYTES,
        options.getPromptText());
  }

  /**
   * Returns the slices in order. No token stands for less than a byte of a text and its prompt, and
   * no text has more tokens than the window: so a slice fits in the server's queue. Throws
   * InvalidInputException for a text that no request can hold.
   */
  List<Slice> split(List<EmbedInput> inputs) {
    List<Slice> slices = new ArrayList<>();
    int room = room(requestBytes);
    int start = 0;
    long size = 0;
    long tokens = 0;
    for (int i = 0; i < inputs.size(); i++) {
      int own = inputs.get(i).getSerializedSize() + INPUT_OVERHEAD;
      if (own > room) {
        throw tooLong(own, requestBytes).exception(i);
      }
      int ownTokens = Math.min(window, own + promptBytes);
      boolean full =
          i - start >= mostTexts
              || size + own > room
              || mostTokens != 0 && tokens + ownTokens > mostTokens;
      if (i > start && full) {
        slices.add(new Slice(start, i));
        start = i;
        size = 0;
        tokens = 0;
      }
      size += own;
      tokens += ownTokens;
    }
    if (inputs.size() > start) {
      slices.add(new Slice(start, inputs.size()));
    }
    return slices;
  }

  /** Returns the bytes of texts that a message of at most so many bytes holds. */
  static int room(int messageBytes) {
    return Math.max(messageBytes - MESSAGE_OVERHEAD, messageBytes / 2);
  }

  /** Returns the failure of a text that no message can hold. */
  static Failure tooLong(int bytes, int limit) {
    return Failure.of(
        Status.Code.INVALID_ARGUMENT,
        "TEXT_TOO_LONG",
        "the text has " + bytes + " bytes; a request takes " + limit);
  }
}
