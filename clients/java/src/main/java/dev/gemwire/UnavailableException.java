package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** No server answered, or it is going away: {@code UNAVAILABLE}. */
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
