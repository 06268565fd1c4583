package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** The request, or this text, cannot be served as it is: {@code INVALID_ARGUMENT}. */
public final class InvalidInputException extends GemwireException {
  private static final long serialVersionUID = 1L;

  InvalidInputException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
