package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import dev.gemwire.v1.Embedding;
import dev.gemwire.v1.VectorEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

class VectorTest {
  private static final int ALL = 1 << 16;

  @Test
  void everyHalfIsWhatItsBitsSay() {
    check(VectorEncoding.VECTOR_ENCODING_FLOAT16, 10, 15);
  }

  @Test
  void everyBfloatIsWhatItsBitsSay() {
    check(VectorEncoding.VECTOR_ENCODING_BFLOAT16, 7, 127);
  }

  /** Compares all numbers of two bytes with their definition: sign, exponent and fraction. */
  private static void check(VectorEncoding encoding, int fractionBits, int bias) {
    ByteBuffer data = ByteBuffer.allocate(2 * ALL).order(ByteOrder.LITTLE_ENDIAN);
    for (int bits = 0; bits < ALL; bits++) {
      data.putShort((short) bits);
    }
    float[] found =
        Vector.of(message(encoding).setData(ByteString.copyFrom(data.array())).build()).floats();
    assertEquals(ALL, found.length);
    int special = (1 << 15 - fractionBits) - 1;
    for (int bits = 0; bits < ALL; bits++) {
      int exponent = bits >> fractionBits & special;
      double fraction = (bits & (1 << fractionBits) - 1) / (double) (1 << fractionBits);
      double magnitude =
          exponent == 0
              ? fraction * Math.pow(2, 1 - bias)
              : (1 + fraction) * Math.pow(2, exponent - bias);
      if (exponent == special) {
        magnitude = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
      }
      float expected = (float) (bits < 0x8000 ? magnitude : -magnitude);
      assertEquals(expected, found[bits], "0x" + Integer.toHexString(bits));
    }
  }

  @Test
  void bytesOfInt8AreScaledInFloat32() {
    Vector vector =
        Vector.of(
            message(VectorEncoding.VECTOR_ENCODING_INT8)
                .setData(ByteString.copyFrom(new byte[] {127, -128, 0, -1}))
                .setScale(0.0037f)
                .build());
    assertArrayEquals(
        new float[] {127 * 0.0037f, -128 * 0.0037f, 0, -1 * 0.0037f}, vector.floats());
    assertThrows(IllegalStateException.class, vector::bytes);
  }

  @Test
  void bytesForAnIndexStayBytes() {
    byte[] bytes = {127, -128, 0, -1};
    Vector vector =
        Vector.of(
            message(VectorEncoding.VECTOR_ENCODING_UBINARY)
                .setData(ByteString.copyFrom(bytes))
                .setDimensions(32)
                .setTokenCount(7)
                .setTruncated(true)
                .build());
    assertArrayEquals(bytes, vector.bytes());
    assertEquals(Encoding.UBINARY, vector.encoding());
    assertEquals(32, vector.dimensions());
    assertEquals(7, vector.tokenCount());
    assertEquals(true, vector.truncated());
    assertThrows(IllegalStateException.class, vector::floats);
  }

  @Test
  void anUnknownEncodingIsAnError() {
    Embedding newer = Embedding.newBuilder().setEncodingValue(77).build();
    assertThrows(GemwireException.class, () -> Vector.of(newer));
    assertThrows(GemwireException.class, () -> Vector.of(Embedding.getDefaultInstance()));
  }

  private static Embedding.Builder message(VectorEncoding encoding) {
    return Embedding.newBuilder().setEncoding(encoding);
  }
}
