#pragma once

#include <cstdint>

#include "gemwire/v1/embedding.pb.h"
#include "gemwire/vector.h"

namespace gemwire {

/// The vector; see Encoding for its type. Throws Error for an encoding that this library does not
/// know, and for half a number.
Vector decode(const v1::Embedding& embedding);

/// The number of an IEEE half.
float from_half(std::uint16_t bits) noexcept;

}  // namespace gemwire
