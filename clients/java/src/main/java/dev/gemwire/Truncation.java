package dev.gemwire;

/** What to do with a text that is longer than the model's window. */
public enum Truncation {
  /** Refuse it: {@link InvalidInputException}, reason {@code TEXT_TOO_LONG}. The default. */
  ERROR,
  /** Drop tokens from its end. */
  END,
  /** Drop tokens from its start. */
  START;

  dev.gemwire.v1.Truncation message() {
    return dev.gemwire.v1.Truncation.valueOf("TRUNCATION_" + name());
  }
}
