package dev.gemwire;

import io.grpc.Status;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The tries of one unary call until its deadline, and the pauses between tries. gRPC's own retries
 * are off: gRPC knows the code of an error, not whether a gemwire server sent it.
 */
final class Retries {
  static final int TRIES = 5;
  static final Duration LONGEST_PAUSE = Duration.ofSeconds(60);
  private static final double NANOS = 1e9;
  private static final double FIRST_PAUSE = 0.1;
  private static final double LONGEST_BACKOFF = 5;

  private final Duration timeout;
  private final long start = System.nanoTime();
  private int failures;
  private int lost;

  /** Counts from now on; a timeout of null is none. */
  Retries(Duration timeout) {
    this.timeout = timeout;
  }

  /** Returns the nanoseconds left until the deadline, or Long.MAX_VALUE without one. */
  long left() {
    return timeout == null ? Long.MAX_VALUE : timeout.toNanos() - (System.nanoTime() - start);
  }

  /**
   * Returns the nanoseconds to wait before the next try. Throws the error if there must be none.
   * {@code known} says whether a server has ever answered this client.
   */
  long pause(GemwireException error, boolean known) {
    failures++;
    long pause;
    if (isAbsence(error)) {
      lost += isUnreached(error) ? 0 : 1;
      if ((known ? lost : failures) >= TRIES) {
        throw error;
      }
      pause = absence(error, failures);
    } else if (isRefusal(error) && failures < TRIES) {
      pause = refusal(error);
    } else {
      throw error;
    }
    if (pause >= left()) {
      throw error;
    }
    return pause;
  }

  /** Returns whether the server has no room now, and says when to ask again. */
  static boolean isRefusal(GemwireException error) {
    return error.code() == Status.Code.RESOURCE_EXHAUSTED && error.retryAfter().isPresent();
  }

  /** Returns whether a server went away, was not reached, or was lost. */
  static boolean isAbsence(GemwireException error) {
    return error.code() == Status.Code.UNAVAILABLE
        || error.code() == Status.Code.CANCELLED && !error.failure().answered();
  }

  /** Returns whether no server can have begun to work on the call. */
  private static boolean isUnreached(GemwireException error) {
    boolean unreached = error.failure().answered();
    for (Throwable why = error; why != null; why = why.getCause()) {
      unreached |= why instanceof ConnectException || why instanceof UnknownHostException;
    }
    return unreached;
  }

  /** Returns the pause after a refusal in nanoseconds; throws the error if that is too long. */
  static long refusal(GemwireException error) {
    Duration delay = error.retryAfter().orElseThrow();
    double seconds = (delay.getSeconds() + delay.getNano() / NANOS) * jitter();
    if (seconds > LONGEST_PAUSE.getSeconds()) {
      throw error;
    }
    return (long) (seconds * NANOS);
  }

  /** Returns the pause in nanoseconds after so many failures in a row, the first of which is 1. */
  static long absence(GemwireException error, int failures) {
    double seconds = Math.min(FIRST_PAUSE * Math.pow(2, failures - 1), LONGEST_BACKOFF) * jitter();
    // Another server may answer at once: so the first pause is short in any case.
    if (failures > 1 && error.failure().answered() && error.retryAfter().isPresent()) {
      Duration delay = error.retryAfter().get();
      seconds = Math.max(seconds, delay.getSeconds() + delay.getNano() / NANOS);
    }
    return (long) (seconds * NANOS);
  }

  /** Returns a random factor: callers that were refused together must not come back together. */
  private static double jitter() {
    return ThreadLocalRandom.current().nextDouble(1, 1.3);
  }
}
