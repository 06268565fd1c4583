#include "failure.h"

#include <algorithm>
#include <string>
#include <utility>

#include "google/rpc/error_details.pb.h"

namespace gemwire {
namespace {

constexpr char kDomain[] = "gemwire.dev";

/// Reads the details. Without ErrorInfo of the domain they are not the server's.
bool read_details(const google::rpc::Status& status, ErrorDetails& details) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  if (info.domain() != kDomain) return false;
  details.reason = info.reason();
  details.metadata = {info.metadata().begin(), info.metadata().end()};
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&retry)) {
      details.retry_after = time_of(retry.retry_delay());
    } else if (detail.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        details.fields[violation.field()] = violation.description();
      }
    }
  }
  return true;
}

/// Whether gRPC says that it found no server. It has no other word for it than these.
bool unreached(const std::string& message) {
  for (const char* words : {"ailed to connect", "backends failing", "DNS resolution",
                            "ame resolution", "empty address list", "errors resolving"}) {
    if (message.find(words) != std::string::npos) return true;
  }
  return false;
}

/// The code of an error, which OK is not.
Code code_of(int number) {
  return number > 0 && number <= 16 ? static_cast<Code>(number) : Code::unknown;
}

}  // namespace

std::chrono::nanoseconds time_of(const google::protobuf::Duration& message) {
  constexpr std::int64_t kCentury = 100LL * 365 * 24 * 3600;
  const auto seconds = std::clamp<std::int64_t>(message.seconds(), 0, kCentury);
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(message.nanos());
}

std::shared_ptr<const Error> make_error(const std::string& message, ErrorDetails details) {
  switch (details.code) {
    case Code::invalid_argument:
      return std::make_shared<InvalidInput>(message, std::move(details));
    case Code::not_found:
      return std::make_shared<NotFound>(message, std::move(details));
    case Code::resource_exhausted:
      return std::make_shared<Overloaded>(message, std::move(details));
    case Code::deadline_exceeded:
      return std::make_shared<DeadlineExceeded>(message, std::move(details));
    case Code::unavailable:
    case Code::cancelled:
      return std::make_shared<Unavailable>(message, std::move(details));
    case Code::unauthenticated:
    case Code::permission_denied:
      return std::make_shared<AccessDenied>(message, std::move(details));
    case Code::internal:
      return std::make_shared<EngineFailure>(message, std::move(details));
    default:
      return std::make_shared<Error>(message, std::move(details));
  }
}

Failure failure_of(const grpc::Status& status) {
  ErrorDetails details;
  details.code = code_of(status.error_code());
  google::rpc::Status rich;
  const bool from_server =
      rich.ParseFromString(status.error_details()) && read_details(rich, details);
  const std::string message =
      status.error_message().empty() ? std::string(name(details.code)) : status.error_message();
  const bool lost = details.code == Code::unavailable && !from_server;
  return {make_error(message, std::move(details)), from_server,
          lost && unreached(status.error_message())};
}

Failure failure_of(const google::rpc::Status& status, std::uint64_t index) {
  ErrorDetails details;
  details.code = code_of(status.code());
  details.index = index;
  const bool from_server = read_details(status, details);
  return {make_error(status.message(), std::move(details)), from_server};
}

Failure stream_ended() {
  return {make_error("the server ended the stream", {.code = Code::unavailable})};
}

std::shared_ptr<const Error> model_changed() {
  return make_error(
      "another server answered with another revision of the model: its vectors do not compare with "
      "those before",
      {.code = Code::failed_precondition, .reason = "MODEL_CHANGED"});
}

std::shared_ptr<const Error> text_too_long(std::size_t size, std::size_t limit,
                                           std::uint64_t index) {
  return make_error(
      "the text has " + std::to_string(size) + " bytes; a request takes " + std::to_string(limit),
      {.code = Code::invalid_argument, .reason = "TEXT_TOO_LONG", .index = index});
}

std::shared_ptr<const Error> not_utf8(std::optional<std::uint64_t> index) {
  return make_error(
      "a text, title or prompt is not UTF-8",
      {.code = Code::invalid_argument, .reason = "MALFORMED_MESSAGE", .index = index});
}

std::shared_ptr<const Error> cancelled(bool client_closed) {
  // Not Unavailable, as what a server or a proxy cancels.
  return std::make_shared<Error>(client_closed ? "the client was closed" : "the call was cancelled",
                                 ErrorDetails{.code = Code::cancelled});
}

}  // namespace gemwire
