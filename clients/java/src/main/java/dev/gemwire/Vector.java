package dev.gemwire;

import com.google.protobuf.ByteString;
import dev.gemwire.v1.Embedding;
import io.grpc.Status;

/**
 * The vector of a text: floats, or for the encodings that an index takes as they are, bytes.
 *
 * <p>{@link Encoding#INT8_FIXED} and {@link Encoding#BINARY} are signed bytes, {@link
 * Encoding#UBINARY} and {@link Encoding#UBINARY_LSB} unsigned ones, which Java reads by {@link
 * Byte#toUnsignedInt}.
 */
public final class Vector {
  private final float[] floats;
  private final byte[] bytes;
  private final Encoding encoding;
  private final int dimensions;
  private final int tokenCount;
  private final boolean truncated;

  private Vector(Embedding embedding, Encoding encoding, float[] floats, byte[] bytes) {
    this.floats = floats;
    this.bytes = bytes;
    this.encoding = encoding;
    this.dimensions = embedding.getDimensions();
    this.tokenCount = embedding.getTokenCount();
    this.truncated = embedding.getTruncated();
  }

  /** Reads a message. Throws GemwireException for an encoding that this client does not know. */
  static Vector of(Embedding embedding) {
    ByteString data = embedding.getData();
    return switch (embedding.getEncoding()) {
      case VECTOR_ENCODING_FLOAT32 ->
          new Vector(embedding, Encoding.FLOAT32, values(embedding), null);
      case VECTOR_ENCODING_BFLOAT16 ->
          new Vector(embedding, Encoding.BFLOAT16, bfloat16(data), null);
      case VECTOR_ENCODING_FLOAT16 -> new Vector(embedding, Encoding.FLOAT16, float16(data), null);
      case VECTOR_ENCODING_INT8 ->
          new Vector(embedding, Encoding.INT8, scaled(data, embedding.getScale()), null);
      case VECTOR_ENCODING_INT8_FIXED ->
          new Vector(embedding, Encoding.INT8_FIXED, null, data.toByteArray());
      case VECTOR_ENCODING_UBINARY ->
          new Vector(embedding, Encoding.UBINARY, null, data.toByteArray());
      case VECTOR_ENCODING_BINARY ->
          new Vector(embedding, Encoding.BINARY, null, data.toByteArray());
      case VECTOR_ENCODING_UBINARY_LSB ->
          new Vector(embedding, Encoding.UBINARY_LSB, null, data.toByteArray());
      default ->
          throw Failure.of(
                  Status.Code.UNKNOWN,
                  "",
                  "the server answered in encoding "
                      + embedding.getEncodingValue()
                      + ", which this client does not know")
              .exception(null);
    };
  }

  /**
   * Returns the numbers. The array is the vector's own, not a copy.
   *
   * @return one number for each dimension
   * @throws IllegalStateException if the encoding is one of bytes
   */
  public float[] floats() {
    if (floats == null) {
      throw new IllegalStateException("a vector of the encoding " + encoding + " is bytes");
    }
    return floats;
  }

  /**
   * Returns the bytes. The array is the vector's own, not a copy.
   *
   * @return one byte for each dimension with {@link Encoding#INT8_FIXED}, otherwise one for eight
   * @throws IllegalStateException if the encoding is one of floats
   */
  public byte[] bytes() {
    if (bytes == null) {
      throw new IllegalStateException("a vector of the encoding " + encoding + " is floats");
    }
    return bytes;
  }

  /**
   * Returns how the numbers travelled.
   *
   * @return the encoding
   */
  public Encoding encoding() {
    return encoding;
  }

  /**
   * Returns how many numbers the vector stands for.
   *
   * @return the dimensions
   */
  public int dimensions() {
    return dimensions;
  }

  /**
   * Returns how many tokens were computed, prompt and special tokens counted.
   *
   * @return the tokens
   */
  public int tokenCount() {
    return tokenCount;
  }

  /**
   * Returns whether the text was longer than the window and was cut.
   *
   * @return true if it was cut
   */
  public boolean truncated() {
    return truncated;
  }

  private static float[] values(Embedding embedding) {
    float[] numbers = new float[embedding.getValuesCount()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = embedding.getValues(i);
    }
    return numbers;
  }

  private static float[] bfloat16(ByteString data) {
    float[] numbers = new float[data.size() / 2];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = Float.intBitsToFloat(pair(data, i) << 16);
    }
    return numbers;
  }

  private static float[] float16(ByteString data) {
    float[] numbers = new float[data.size() / 2];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = half(pair(data, i));
    }
    return numbers;
  }

  private static float[] scaled(ByteString data, float scale) {
    float[] numbers = new float[data.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = data.byteAt(i) * scale;
    }
    return numbers;
  }

  /** Returns the i-th two bytes, little-endian. */
  private static int pair(ByteString data, int i) {
    return data.byteAt(2 * i) & 0xff | (data.byteAt(2 * i + 1) & 0xff) << 8;
  }

  /** Widens IEEE half precision, which Java does itself from version 20 on. */
  private static float half(int bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = bits >> 10 & 0x1f;
    int fraction = bits & 0x3ff;
    if (exponent == 0) {
      return Float.intBitsToFloat(sign | Float.floatToRawIntBits(fraction * 0x1p-24f));
    }
    int wide = exponent == 0x1f ? 0xff : exponent + 112;
    return Float.intBitsToFloat(sign | wide << 23 | fraction << 13);
  }
}
