package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** The time ran out: {@code DEADLINE_EXCEEDED}. */
public final class DeadlineExceededException extends GemwireException {
  private static final long serialVersionUID = 1L;

  DeadlineExceededException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
