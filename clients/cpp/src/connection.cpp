#include "connection.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "failure.h"

namespace gemwire {
namespace {

constexpr int kReceiveBytes = 64 << 20;

std::string read_file(const std::filesystem::path& path) {
  if (path.empty()) return {};
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string content(std::istreambuf_iterator<char>(file), {});
  if (!file || content.empty()) {
    throw std::system_error(errno ? errno : EINVAL, std::generic_category(),
                            "cannot read " + path.string());
  }
  return content;
}

std::shared_ptr<grpc::ChannelCredentials> credentials_of(const std::optional<Tls>& tls) {
  if (!tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions files;
  files.pem_root_certs = read_file(tls->ca);
  // gRPC takes a file without certificates, and then reaches no server.
  if (!tls->ca.empty() && files.pem_root_certs.find("CERTIFICATE-----") == std::string::npos) {
    throw std::invalid_argument("the CA file holds no certificate");
  }
  files.pem_cert_chain = read_file(tls->certificate);
  files.pem_private_key = read_file(tls->key);
  if (files.pem_cert_chain.empty() != files.pem_private_key.empty()) {
    throw std::invalid_argument("a client certificate and its key belong together");
  }
  return grpc::SslCredentials(files);
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytes);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  // gRPC knows the code of a failure, and not who sent it; see Tries.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetServiceConfigJSON(R"({"loadBalancingConfig": [{"round_robin": {}}]})");
  // A restarted server is found as soon as the pauses between tries allow; gRPC would wait up to 2
  // min.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // Clients share no connection, so that one's end does not touch another's calls.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // gRPC would find a proxy, also for this machine's own addresses, in environment variables.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

std::string authorization_of(const std::string& token) {
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable) {
    throw std::invalid_argument(
        "the token holds a character that no header takes, such as a line's end");
  }
  return token.empty() ? "" : "Bearer " + token;
}

}  // namespace

Connection::Connection(const std::string& address, const ClientOptions& options)
    : authorization_(authorization_of(options.token)), timeout_(options.timeout) {
  const auto channel =
      grpc::CreateCustomChannel(address, credentials_of(options.tls), channel_arguments());
  embedding_ = v1::EmbeddingService::NewStub(channel);
  models_ = v1::ModelService::NewStub(channel);
}

void Connection::prepare(grpc::ClientContext& context) const {
  if (!authorization_.empty()) context.AddMetadata("authorization", authorization_);
}

void Connection::try_until_answered(const CallOptions& options, const Try& once) {
  const Cancellation cancellation(options.stop, closed());
  Tries tries(timeout_of(options));
  while (true) {
    grpc::Status status;
    if (!cancellation.requested()) status = try_once(once, tries.deadline(), cancellation);
    if (cancellation.requested()) cancelled(cancellation.client_closed())->raise();
    if (status.ok()) return answered();
    const Failure failure = failure_of(status);
    if (failure.from_server) answered();
    cancellation.sleep(tries.pause(failure, known_.load(std::memory_order_relaxed)));
  }
}

grpc::Status Connection::try_once(const Try& once, const std::optional<Clock::time_point>& deadline,
                                  const Cancellation& cancellation) {
  grpc::ClientContext context;
  prepare(context);
  if (deadline) {
    const auto left =
        std::chrono::duration_cast<std::chrono::system_clock::duration>(*deadline - Clock::now());
    context.set_deadline(std::chrono::system_clock::now() + left);
  }
  const std::stop_callback cancel(cancellation.token(), [&] { context.TryCancel(); });
  return once(context);
}

}  // namespace gemwire
