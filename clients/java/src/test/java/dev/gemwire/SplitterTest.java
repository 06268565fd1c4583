package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.EmbedOptions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

class SplitterTest {
  private static final int WINDOW = 300;
  private static final int PROMPT = 5;

  private static Model model(Limits limits) {
    return new Model(
        "models/m",
        "",
        "r",
        "float32",
        "",
        768,
        List.of(768),
        768,
        WINDOW,
        1000,
        Optional.empty(),
        Map.of("query", "p".repeat(PROMPT)),
        limits,
        "0");
  }

  /** Random texts and limits: every slice keeps the limits, and would not with one more text. */
  @RepeatedTest(50)
  void slicesAreAsLargeAsTheLimitsAllow(RepetitionInfo repetition) {
    Random random = new Random(repetition.getCurrentRepetition());
    int most = 1 + random.nextInt(20);
    int bytes = 100_000 + random.nextInt(10_000);
    int tokens = random.nextBoolean() ? 0 : WINDOW + random.nextInt(2_000);
    int answer = random.nextBoolean() ? 0 : 1_024 + 3_120 * (1 + random.nextInt(10));
    Limits limits = new Limits(most, bytes, 8_192, tokens, 16, answer);
    List<EmbedInput> inputs =
        IntStream.range(0, random.nextInt(100))
            .mapToObj(i -> Text.of("a".repeat(1 + random.nextInt(20_000))).message())
            .toList();
    List<Splitter.Slice> slices =
        Splitter.ofTexts(model(limits), EmbedOptions.getDefaultInstance()).split(inputs);
    int next = 0;
    for (Splitter.Slice slice : slices) {
      assertEquals(next, slice.from());
      next = slice.to();
      assertTrue(fits(inputs, slice, limits));
      boolean last = slice.to() == inputs.size();
      assertTrue(last || !fits(inputs, new Splitter.Slice(slice.from(), slice.to() + 1), limits));
    }
    assertEquals(inputs.size(), next);
  }

  private static boolean fits(List<EmbedInput> inputs, Splitter.Slice slice, Limits limits) {
    int bytes = 0;
    int tokens = 0;
    for (EmbedInput input : slice.of(inputs)) {
      int own = input.toByteArray().length + 8;
      bytes += own;
      tokens += Math.min(WINDOW, own + PROMPT);
    }
    int answer = 1_024 + slice.size() * (4 * 768 + 48);
    return slice.size() <= limits.maxInputsPerRequest()
        && bytes <= Math.max(limits.maxRequestBytes() - 65_536, limits.maxRequestBytes() / 2)
        && (limits.maxQueueTokens() == 0 || tokens <= limits.maxQueueTokens())
        && (limits.maxResponseBytes() == 0 || answer <= limits.maxResponseBytes());
  }

  @Test
  void aTextThatNoRequestHoldsIsNamed() {
    Limits limits = new Limits(8, 100_000, 8_192, 0, 16, 0);
    List<EmbedInput> inputs =
        List.of(Text.of("a").message(), Text.of("a".repeat(50_000)).message());
    InvalidInputException error =
        assertThrows(
            InvalidInputException.class,
            () -> Splitter.ofTexts(model(limits), EmbedOptions.getDefaultInstance()).split(inputs));
    assertEquals(1, error.index().orElseThrow());
    assertEquals("TEXT_TOO_LONG", error.reason());
  }
}
