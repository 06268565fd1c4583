#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "cancellation.h"
#include "gemwire/client.h"
#include "gemwire/v1/embedding.grpc.pb.h"
#include "tries.h"

namespace gemwire {

/// A client's channel, the metadata of every call, and how a unary call is made.
class Connection {
 public:
  Connection(const std::string& address, const ClientOptions& options);

  /// The response of a unary method of a stub. Throws Error.
  template <class Stub, class Request, class Response>
  void call(Stub& stub,
            grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response* response, const CallOptions& options) {
    try_until_answered(options, [&](grpc::ClientContext& context) {
      response->Clear();
      return (stub.*method)(&context, request, response);
    });
  }

  /// Puts what every call brings into the context of a call.
  void prepare(grpc::ClientContext& context) const;
  std::chrono::milliseconds timeout_of(const CallOptions& options) const {
    return options.timeout.value_or(timeout_);
  }
  v1::EmbeddingService::Stub& embedding() { return *embedding_; }
  v1::ModelService::Stub& models() { return *models_; }
  /// Says that a server has answered.
  void answered() { known_.store(true, std::memory_order_relaxed); }
  std::stop_token closed() const { return closed_.get_token(); }
  void close() noexcept { closed_.request_stop(); }

 private:
  using Try = std::function<grpc::Status(grpc::ClientContext&)>;
  void try_until_answered(const CallOptions& options, const Try& once);
  grpc::Status try_once(const Try& once, const std::optional<Clock::time_point>& deadline,
                        const Cancellation& cancellation);

  std::string authorization_;
  std::chrono::milliseconds timeout_;
  std::unique_ptr<v1::EmbeddingService::Stub> embedding_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::atomic<bool> known_ = false;
  std::stop_source closed_;
};

}  // namespace gemwire
