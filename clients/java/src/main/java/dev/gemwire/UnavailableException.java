package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/**
 * No server answered, it is going away, or the connection was lost: {@code UNAVAILABLE}, and {@code
 * CANCELLED} that the caller did not ask for.
 */
public final class UnavailableException extends GemwireException {
  private static final long serialVersionUID = 1L;

  UnavailableException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
