package dev.gemwire;

import java.util.Optional;

/** What came of one text of a stream: a vector, or the error in its place. */
public final class StreamResult {
  private final long index;
  private final Vector vector;
  private final GemwireException error;

  private StreamResult(long index, Vector vector, GemwireException error) {
    this.index = index;
    this.vector = vector;
    this.error = error;
  }

  static StreamResult of(long index, Vector vector) {
    return new StreamResult(index, vector, null);
  }

  static StreamResult of(long index, GemwireException error) {
    return new StreamResult(index, null, error);
  }

  /**
   * Returns the place of the text among all texts of the stream.
   *
   * @return the index from 0
   */
  public long index() {
    return index;
  }

  /**
   * Returns the vector.
   *
   * @return the vector
   * @throws GemwireException if this text failed
   */
  public Vector vector() {
    if (error != null) {
      throw error;
    }
    return vector;
  }

  /**
   * Returns why this text has no vector; the others are not affected.
   *
   * @return the error, empty if there is a vector
   */
  public Optional<GemwireException> error() {
    return Optional.ofNullable(error);
  }
}
