#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "gemwire/v1/embedding.grpc.pb.h"

using StreamOfServer =
    grpc::ServerReaderWriter<gemwire::v1::EmbedStreamResponse, gemwire::v1::EmbedStreamRequest>;

/// A server of gRPC's own in this process, on a port of this machine. The text "7" has the vector
/// [7].
class Server final : public gemwire::v1::EmbeddingService::Service,
                     public gemwire::v1::ModelService::Service {
 public:
  static constexpr int kCredit = 16;

  /// Listens on a port, 0: any.
  explicit Server(int port = 0);
  ~Server() override;
  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  /// What answers instead, if set; called by several threads.
  std::function<grpc::Status(grpc::ServerContext*)> on_embed;
  std::function<grpc::Status(grpc::ServerContext*, StreamOfServer*)> on_stream;
  std::atomic<int> calls = 0;      // of Embed
  std::atomic<int> cancelled = 0;  // streams that the client cancelled
  std::atomic<int> read = 0;       // texts of streams

  grpc::Status Embed(grpc::ServerContext*, const gemwire::v1::EmbedRequest*,
                     gemwire::v1::EmbedResponse*) override;
  grpc::Status BatchEmbed(grpc::ServerContext*, const gemwire::v1::BatchEmbedRequest*,
                          gemwire::v1::BatchEmbedResponse*) override;
  grpc::Status Tokenize(grpc::ServerContext*, const gemwire::v1::TokenizeRequest*,
                        gemwire::v1::TokenizeResponse*) override;
  grpc::Status EmbedStream(grpc::ServerContext*, StreamOfServer*) override;
  grpc::Status GetModel(grpc::ServerContext*, const gemwire::v1::GetModelRequest*,
                        gemwire::v1::GetModelResponse*) override;

 private:
  int port_;
  std::unique_ptr<grpc::Server> server_;
};

/// A status with ErrorInfo of the domain gemwire.dev, and RetryInfo unless the delay is 0.
grpc::Status refusal(grpc::StatusCode code, const std::string& reason, int delay_ms = 0);
