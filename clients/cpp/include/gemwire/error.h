/// \file
/// Errors: what a call, or one text of many, fails with.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace gemwire {

/// The codes of gRPC, with gRPC's numbers.
enum class Code {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

/// The name of a code as gRPC writes it, such as "INVALID_ARGUMENT".
std::string_view name(Code code) noexcept;

class Error;

/// What an error says beside its message. Maps and strings are empty if the server gave none.
struct ErrorDetails {
  /// The gRPC code.
  Code code = Code::unknown;
  /// The name of a value of ErrorReason in the .proto without ERROR_REASON_, such as "QUEUE_FULL".
  std::string reason = {};
  /// More about the reason, by name.
  std::map<std::string, std::string> metadata = {};
  /// What is wrong in the request: the path of a field → a description.
  std::map<std::string, std::string> fields = {};
  /// When to ask again; absent if that does not help.
  std::optional<std::chrono::nanoseconds> retry_after = {};
  /// The place of the text among the texts of the call; absent if the whole call failed.
  std::optional<std::uint64_t> index = {};
  /// The errors of all texts that failed in the call, by their indices.
  std::map<std::uint64_t, std::shared_ptr<const Error>> errors = {};
};

/// A call, or one text of many, failed. The base of all errors of this library, and the type for
/// the codes that have none of their own. Copies share their details.
class Error : public std::runtime_error {
 public:
  /// An error with this message; `what()` names the index too.
  Error(const std::string& message, ErrorDetails details);
  ~Error() override;
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;

  /// The message without the index.
  const std::string& message() const noexcept { return content_->message; }
  /// All details.
  const ErrorDetails& details() const noexcept { return content_->details; }
  /// \see ErrorDetails::code
  Code code() const noexcept { return details().code; }
  /// \see ErrorDetails::reason
  const std::string& reason() const noexcept { return details().reason; }
  /// \see ErrorDetails::metadata
  const std::map<std::string, std::string>& metadata() const noexcept { return details().metadata; }
  /// \see ErrorDetails::fields
  const std::map<std::string, std::string>& fields() const noexcept { return details().fields; }
  /// \see ErrorDetails::retry_after
  std::optional<std::chrono::nanoseconds> retry_after() const noexcept {
    return details().retry_after;
  }
  /// \see ErrorDetails::index
  std::optional<std::uint64_t> index() const noexcept { return details().index; }
  /// \see ErrorDetails::errors
  const std::map<std::uint64_t, std::shared_ptr<const Error>>& errors() const noexcept {
    return details().errors;
  }
  /// Throws this error with its own type.
  [[noreturn]] virtual void raise() const;

 private:
  struct Content {
    std::string message;
    ErrorDetails details;
  };
  std::shared_ptr<const Content> content_;
};

/// INVALID_ARGUMENT: the request, or this text, cannot be served as it is.
class InvalidInput : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// NOT_FOUND: the server has no such model.
class NotFound : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// RESOURCE_EXHAUSTED: the server has no room now; see `retry_after`.
class Overloaded : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// DEADLINE_EXCEEDED: the time ran out.
class DeadlineExceeded : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// UNAVAILABLE, or CANCELLED that the caller did not ask for: no server answered, or the server is
/// going away.
class Unavailable : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// UNAUTHENTICATED or PERMISSION_DENIED: the credentials are missing, wrong or not enough.
class AccessDenied : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

/// INTERNAL: the server could not compute this; its log says more.
class EngineFailure : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override;
};

}  // namespace gemwire
