/// \file
/// Vectors, as a call returns them.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace gemwire {

/// Numbers of FLOAT32, BFLOAT16, FLOAT16 and INT8: one for each dimension.
using Floats = std::vector<float>;
/// Bytes of INT8_FIXED, one for each dimension, and of BINARY, one for eight dimensions.
using SignedBytes = std::vector<std::int8_t>;
/// Bytes of UBINARY and UBINARY_LSB, one for eight dimensions.
using UnsignedBytes = std::vector<std::uint8_t>;
/// A vector. The encoding that a call asks for decides the alternative: see Encoding.
using Vector = std::variant<Floats, SignedBytes, UnsignedBytes>;

}  // namespace gemwire
