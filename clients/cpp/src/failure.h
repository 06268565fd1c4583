#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "gemwire/error.h"
#include "google/protobuf/duration.pb.h"
#include "google/rpc/status.pb.h"

namespace gemwire {

/// A time that a server names, as far as a clock can count it: at most a century.
std::chrono::nanoseconds time_of(const google::protobuf::Duration& message);

/// The error of the type that belongs to `details.code`.
std::shared_ptr<const Error> make_error(const std::string& message, ErrorDetails details);

/// How a call or a text failed, and what decides whether it is tried again.
struct Failure {
  std::shared_ptr<const Error> error;
  /// Whether a gemwire server said so; otherwise gRPC or a proxy did.
  bool from_server = false;
  /// Whether gRPC found no server to send the call to.
  bool unreached = false;
};

/// The failure that a call ended with.
Failure failure_of(const grpc::Status& status);

/// The failure of the text at `index`.
Failure failure_of(const google::rpc::Status& status, std::uint64_t index);

/// The failure where a server ended a stream without a reason.
Failure stream_ended();

/// The error of one answer that holds vectors of two revisions.
std::shared_ptr<const Error> model_changed();

/// The error of a text of `size` bytes that no message of `limit` bytes can hold.
std::shared_ptr<const Error> text_too_long(std::size_t size, std::size_t limit,
                                           std::uint64_t index);

/// The error of a text, title or prompt that is no UTF-8.
std::shared_ptr<const Error> not_utf8(std::optional<std::uint64_t> index);

/// The error of a call that its caller cancelled.
std::shared_ptr<const Error> cancelled(bool client_closed);

}  // namespace gemwire
