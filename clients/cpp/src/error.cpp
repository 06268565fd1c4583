#include "gemwire/error.h"

#include <array>
#include <utility>

namespace gemwire {
namespace {

constexpr std::array<std::string_view, 17> kNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string with_index(const std::string& message, const ErrorDetails& details) {
  return details.index ? "text " + std::to_string(*details.index) + ": " + message : message;
}

}  // namespace

std::string_view name(Code code) noexcept {
  const auto number = static_cast<std::size_t>(code);
  return number < kNames.size() ? kNames[number] : kNames[2];
}

Error::Error(const std::string& message, ErrorDetails details)
    : std::runtime_error(with_index(message, details)),
      content_(std::make_shared<const Content>(Content{message, std::move(details)})) {}

Error::~Error() = default;

void Error::raise() const { throw *this; }
void InvalidInput::raise() const { throw *this; }
void NotFound::raise() const { throw *this; }
void Overloaded::raise() const { throw *this; }
void DeadlineExceeded::raise() const { throw *this; }
void Unavailable::raise() const { throw *this; }
void AccessDenied::raise() const { throw *this; }
void EngineFailure::raise() const { throw *this; }

}  // namespace gemwire
