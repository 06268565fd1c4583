package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** The server has no such model: {@code NOT_FOUND}. */
public final class NotFoundException extends GemwireException {
  private static final long serialVersionUID = 1L;

  NotFoundException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
