package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** The server has no room now, see {@link #retryAfter}: {@code RESOURCE_EXHAUSTED}. */
public final class OverloadedException extends GemwireException {
  private static final long serialVersionUID = 1L;

  OverloadedException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
