package dev.gemwire;

import io.grpc.Status;
import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A call, or one text of many, failed.
 *
 * <p>The subclasses are what a caller would treat differently. This type itself stands for every
 * other code, and for a call that the caller ended: by closing the client or the stream, or by
 * interrupting the thread, whose interrupt status is set then. Its code is {@code CANCELLED}.
 */
public class GemwireException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient Failure failure;
  private final transient OptionalLong index;
  private final transient SortedMap<Long, GemwireException> errors;

  GemwireException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(
        index.isPresent()
            ? "text " + index.getAsLong() + ": " + failure.message()
            : failure.message(),
        why);
    this.failure = failure;
    this.index = index;
    this.errors = Collections.unmodifiableSortedMap(new TreeMap<>(errors));
  }

  Failure failure() {
    return failure;
  }

  /**
   * Returns the gRPC status code.
   *
   * @return the code, never {@code OK}
   */
  public Status.Code code() {
    return failure.code();
  }

  /**
   * Returns the server's reason: the name of a value of {@code gemwire.v1.ErrorReason} without its
   * prefix, such as {@code TEXT_TOO_LONG}. Treat an unknown one by the code.
   *
   * @return the reason, empty if the server gave none
   */
  public String reason() {
    return failure.reason();
  }

  /**
   * Returns what the server says beside the reason, such as the limit that was met.
   *
   * @return names and values
   */
  public Map<String, String> metadata() {
    return failure.metadata();
  }

  /**
   * Returns what is wrong in the request.
   *
   * @return the paths of fields, and for each what is wrong with it
   */
  public Map<String, String> fields() {
    return failure.fields();
  }

  /**
   * Returns when to send the call again. The client has already done so as often as it may.
   *
   * @return the delay, empty if the same call would fail again
   */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(failure.retryAfter());
  }

  /**
   * Returns the place of the text among the texts of the call.
   *
   * @return the index from 0, empty if the call failed as a whole
   */
  public OptionalLong index() {
    return index;
  }

  /**
   * Returns all texts that failed in a call of many texts. This error is the one of the first.
   *
   * @return the errors by the index of their text, empty if the call failed as a whole
   */
  public SortedMap<Long, GemwireException> errors() {
    return errors;
  }
}
