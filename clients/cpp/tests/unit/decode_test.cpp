#include "decode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "gemwire/error.h"

namespace gemwire {
namespace {

v1::Embedding embedding(v1::VectorEncoding encoding, const std::string& data, float scale = 0) {
  v1::Embedding message;
  message.set_encoding(encoding);
  message.set_data(data);
  message.set_scale(scale);
  return message;
}

Floats floats(const v1::Embedding& message) { return std::get<Floats>(decode(message)); }

/// The number of a half by its definition in IEEE 754.
double half(int bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(Decode, every_half) {
  std::string data;
  for (int bits = 0; bits < 65536; ++bits) {
    data += static_cast<char>(bits & 255);
    data += static_cast<char>(bits >> 8);
  }
  const Floats decoded = floats(embedding(v1::VECTOR_ENCODING_FLOAT16, data));
  ASSERT_EQ(decoded.size(), 65536u);
  for (int bits = 0; bits < 65536; ++bits) {
    const float number = decoded[static_cast<std::size_t>(bits)];
    const double expected = half(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(number)) << bits;
    } else {
      EXPECT_EQ(number, expected) << bits;
    }
    EXPECT_EQ(std::signbit(number), bits >= 0x8000) << bits;
  }
}

TEST(Decode, bfloat16_at_its_edges) {
  // 1, -0, the least subnormal, the largest number, both infinities, NaN
  const std::string data("\x80\x3f\x00\x80\x01\x00\x7f\x7f\x80\x7f\x80\xff\xc0\x7f", 14);
  const Floats decoded = floats(embedding(v1::VECTOR_ENCODING_BFLOAT16, data));
  ASSERT_EQ(decoded.size(), 7u);
  EXPECT_EQ(decoded[0], 1.0f);
  EXPECT_TRUE(decoded[1] == 0 && std::signbit(decoded[1]));
  EXPECT_EQ(decoded[2], std::ldexp(1.0f, -133));
  EXPECT_EQ(decoded[3], std::ldexp(255.0f, 120));
  EXPECT_EQ(decoded[4], std::numeric_limits<float>::infinity());
  EXPECT_EQ(decoded[5], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(decoded[6]));
}

TEST(Decode, int8_is_signed_and_scaled) {
  const Floats decoded =
      floats(embedding(v1::VECTOR_ENCODING_INT8, std::string("\x7f\x80\xff\x00", 4), 0.5f));
  EXPECT_EQ(decoded, (Floats{63.5f, -64.0f, -0.5f, 0.0f}));
}

TEST(Decode, bytes_keep_their_sign) {
  const std::string data("\x7f\x80\xff\x00", 4);
  for (const auto encoding : {v1::VECTOR_ENCODING_INT8_FIXED, v1::VECTOR_ENCODING_BINARY}) {
    EXPECT_EQ(decode(embedding(encoding, data)), Vector(SignedBytes{127, -128, -1, 0}));
  }
  for (const auto encoding : {v1::VECTOR_ENCODING_UBINARY, v1::VECTOR_ENCODING_UBINARY_LSB}) {
    EXPECT_EQ(decode(embedding(encoding, data)), Vector(UnsignedBytes{127, 128, 255, 0}));
  }
}

TEST(Decode, half_a_number_is_an_error) {
  for (const auto encoding : {v1::VECTOR_ENCODING_BFLOAT16, v1::VECTOR_ENCODING_FLOAT16}) {
    EXPECT_EQ(floats(embedding(encoding, "")), Floats{});
    EXPECT_THROW(decode(embedding(encoding, "abc")), Error);
  }
}

TEST(Decode, an_unknown_encoding_is_an_error) {
  EXPECT_THROW(decode(embedding(static_cast<v1::VectorEncoding>(77), "ab")), Error);
  EXPECT_THROW(decode(v1::Embedding()), Error);
}

}  // namespace
}  // namespace gemwire
