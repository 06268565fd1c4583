package dev.gemwire;

import dev.gemwire.v1.VectorEncoding;

/** How the numbers of a vector travel. The first four are read as floats, the others stay bytes. */
public enum Encoding {
  /** IEEE single precision. The default. */
  FLOAT32,
  /** The upper half of a float32; two bytes a dimension. */
  BFLOAT16,
  /** IEEE half precision; two bytes a dimension. */
  FLOAT16,
  /** Signed bytes with a scale for each vector, which decoding applies. */
  INT8,
  /** Signed bytes: 127 times the vector, the same scale for every vector. */
  INT8_FIXED,
  /** One bit a dimension, 1 for &gt; 0, the first in the most significant bit; unsigned bytes. */
  UBINARY,
  /** The bytes of {@link #UBINARY} less 128 each; signed bytes. */
  BINARY,
  /** As {@link #UBINARY}, but the first dimension is in the least significant bit. */
  UBINARY_LSB;

  VectorEncoding message() {
    return VectorEncoding.valueOf("VECTOR_ENCODING_" + name());
  }
}
