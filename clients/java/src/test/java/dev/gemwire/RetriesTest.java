package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class RetriesTest {
  private static final GemwireException LOST =
      Failure.of(Status.Code.UNAVAILABLE, "", "lost").exception(null);

  private static void assertSeconds(double least, long nanos) {
    double seconds = nanos / 1e9;
    assertTrue(least <= seconds && seconds <= 1.3 * least, seconds + " s, not " + least);
  }

  @Test
  void pausesDoubleUpToFiveSeconds() {
    double[] expected = {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5};
    for (int failures = 1; failures <= expected.length; failures++) {
      assertSeconds(expected[failures - 1], Retries.absence(LOST, failures));
    }
    assertSeconds(5, Retries.absence(LOST, 100_000));
  }

  @Test
  void aLostCallIsMadeFiveTimes() {
    Retries retries = new Retries(Duration.ofSeconds(60));
    for (int failures = 1; failures < 5; failures++) {
      retries.pause(LOST, true);
    }
    assertSame(LOST, assertThrows(GemwireException.class, () -> retries.pause(LOST, true)));
  }

  @Test
  void aPauseThatEndsAfterTheDeadlineIsNotMade() {
    GemwireException full = Failure.of(LocalServer.full(10)).exception(null);
    assertSeconds(10, new Retries(Duration.ofSeconds(20)).pause(full, true));
    assertSeconds(10, new Retries(null).pause(full, true));
    Retries shorter = new Retries(Duration.ofSeconds(9));
    assertThrows(OverloadedException.class, () -> shorter.pause(full, true));
  }

  @Test
  void aDelayThatNoServerMeansIsNoOverflow() {
    Failure failure = Failure.of(LocalServer.full(Long.MAX_VALUE));
    assertEquals(Duration.ofDays(1), failure.retryAfter());
    assertThrows(
        OverloadedException.class, () -> new Retries(null).pause(failure.exception(null), true));
  }
}
