#include "decode.h"

#include <bit>
#include <string>

#include "gemwire/error.h"

namespace gemwire {
namespace {

/// The i-th little-endian pair of bytes.
std::uint16_t pair_at(const std::string& data, std::size_t i) {
  const auto low = static_cast<std::uint8_t>(data[2 * i]);
  const auto high = static_cast<std::uint8_t>(data[2 * i + 1]);
  return static_cast<std::uint16_t>(low | high << 8);
}

float from_bfloat(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// The numbers of two bytes each.
Floats decode_pairs(const std::string& data, float (*number)(std::uint16_t)) {
  if (data.size() % 2 != 0) {
    throw Error("the server answered with half a number", {.code = Code::unknown});
  }
  Floats floats(data.size() / 2);
  for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = number(pair_at(data, i));
  return floats;
}

}  // namespace

float from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0) {  // a subnormal half is a multiple of 2^-24, and a normal float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  // Infinities and NaNs keep an exponent of all ones; others move from bias 15 to bias 127.
  const std::uint32_t biased = exponent == 0x1F ? 0xFF : exponent + 112;
  return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

Vector decode(const v1::Embedding& embedding) {
  const std::string& data = embedding.data();
  switch (embedding.encoding()) {
    case v1::VECTOR_ENCODING_FLOAT32:
      return Floats(embedding.values().begin(), embedding.values().end());
    case v1::VECTOR_ENCODING_BFLOAT16:
      return decode_pairs(data, from_bfloat);
    case v1::VECTOR_ENCODING_FLOAT16:
      return decode_pairs(data, from_half);
    case v1::VECTOR_ENCODING_INT8: {
      Floats floats(data.size());
      for (std::size_t i = 0; i < floats.size(); ++i) {
        floats[i] = static_cast<float>(static_cast<std::int8_t>(data[i])) * embedding.scale();
      }
      return floats;
    }
    case v1::VECTOR_ENCODING_INT8_FIXED:
    case v1::VECTOR_ENCODING_BINARY:
      return SignedBytes(data.begin(), data.end());
    case v1::VECTOR_ENCODING_UBINARY:
    case v1::VECTOR_ENCODING_UBINARY_LSB:
      return UnsignedBytes(data.begin(), data.end());
    default:
      throw Error("the server answered in encoding " + std::to_string(embedding.encoding()) +
                      ", which this client does not know",
                  {.code = Code::unknown});
  }
}

}  // namespace gemwire
