package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/** The server could not compute this; its log says more: {@code INTERNAL}. */
public final class EngineFailureException extends GemwireException {
  private static final long serialVersionUID = 1L;

  EngineFailureException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
