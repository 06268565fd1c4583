#include "server.h"

#include <chrono>
#include <stdexcept>

#include "google/rpc/error_details.pb.h"

namespace v1 = gemwire::v1;

namespace {

void fill(const std::string& text, v1::Embedding* embedding) {
  embedding->add_values(std::stof(text));
  embedding->set_dimensions(1);
  embedding->set_encoding(v1::VECTOR_ENCODING_FLOAT32);
}

}  // namespace

Server::Server(int port) : port_(port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(static_cast<v1::EmbeddingService::Service*>(this));
  builder.RegisterService(static_cast<v1::ModelService::Service*>(this));
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("the port is taken");
}

Server::~Server() { server_->Shutdown(std::chrono::system_clock::now()); }

grpc::Status Server::Embed(grpc::ServerContext* context, const v1::EmbedRequest* request,
                           v1::EmbedResponse* response) {
  ++calls;
  if (on_embed) {
    const grpc::Status status = on_embed(context);
    if (!status.ok()) return status;
  }
  fill(request->input().text(), response->mutable_embedding());
  return grpc::Status::OK;
}

grpc::Status Server::BatchEmbed(grpc::ServerContext*, const v1::BatchEmbedRequest* request,
                                v1::BatchEmbedResponse* response) {
  for (const auto& input : request->inputs()) {
    fill(input.text(), response->add_results()->mutable_embedding());
  }
  return grpc::Status::OK;
}

grpc::Status Server::Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                              v1::TokenizeResponse* response) {
  response->add_ids(2);
  response->add_ids(70);
  if (!request->include_spans()) return grpc::Status::OK;
  response->add_spans();
  response->add_spans()->set_end_byte(static_cast<std::uint32_t>(request->input().text().size()));
  return grpc::Status::OK;
}

grpc::Status Server::EmbedStream(grpc::ServerContext* context, StreamOfServer* stream) {
  if (on_stream) return on_stream(context, stream);
  v1::EmbedStreamRequest request;
  while (stream->Read(&request)) {
    v1::EmbedStreamResponse response;
    if (request.has_open()) {
      response.mutable_opened()->set_max_inflight_inputs(kCredit);
    } else {
      auto id = request.batch().first_id();
      response.mutable_results()->set_granted_inputs(
          static_cast<std::uint32_t>(request.batch().inputs_size()));
      for (const auto& input : request.batch().inputs()) {
        auto* result = response.mutable_results()->add_results();
        result->set_id(id++);
        fill(input.text(), result->mutable_embedding());
        ++read;
      }
    }
    stream->Write(response);
  }
  cancelled += context->IsCancelled();
  return grpc::Status::OK;
}

grpc::Status Server::GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                              v1::GetModelResponse* response) {
  auto* model = response->mutable_model();
  model->set_dimensions(1);
  model->set_max_input_tokens(2048);
  auto* limits = model->mutable_limits();
  limits->set_max_inputs_per_request(8);
  limits->set_max_request_bytes(1 << 20);
  return grpc::Status::OK;
}

grpc::Status refusal(grpc::StatusCode code, const std::string& reason, int delay_ms) {
  google::rpc::Status status;
  status.set_code(code);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("gemwire.dev");
  status.add_details()->PackFrom(info);
  if (delay_ms > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(delay_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(delay_ms % 1000 * 1'000'000);
    status.add_details()->PackFrom(retry);
  }
  return {code, reason, status.SerializeAsString()};
}
