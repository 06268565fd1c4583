package dev.gemwire;

import java.util.OptionalLong;
import java.util.SortedMap;

/**
 * Credentials are missing, wrong or not enough: {@code UNAUTHENTICATED}, {@code PERMISSION_DENIED}.
 */
public final class AccessDeniedException extends GemwireException {
  private static final long serialVersionUID = 1L;

  AccessDeniedException(
      Failure failure,
      OptionalLong index,
      SortedMap<Long, GemwireException> errors,
      Throwable why) {
    super(failure, index, errors, why);
  }
}
