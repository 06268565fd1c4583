#pragma once

#include <string_view>

namespace gemwire {

/// Whether these bytes are UTF-8: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes) noexcept;

}  // namespace gemwire
