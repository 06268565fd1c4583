#include "gemwire/client.h"

#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "server.h"

namespace gemwire {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

grpc::Status unavailable(grpc::ServerContext*) { return {grpc::StatusCode::UNAVAILABLE, "away"}; }

grpc::Status overloaded(grpc::ServerContext*) {
  return refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL", 20'000);
}

/// Waits until the client is gone.
grpc::Status hang(grpc::ServerContext* context) {
  while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
  return grpc::Status::CANCELLED;
}

template <class Call>
void expect_cancelled(Call call) {
  const auto start = Clock::now();
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const Unavailable& error) {
    ADD_FAILURE() << "the caller's own cancellation is no Unavailable: " << error.what();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::cancelled);
  }
  EXPECT_LT(seconds_since(start), 3);
}

TEST(Cancel, while_a_retry_sleeps) {
  Server server;
  server.on_embed = overloaded;
  Client client(server.address());
  std::stop_source stop;
  const std::jthread later([&] {
    std::this_thread::sleep_for(300ms);
    stop.request_stop();
  });
  expect_cancelled([&] { client.embed_query("1", 0, {.stop = stop.get_token()}); });
  EXPECT_EQ(server.calls, 1);
}

TEST(Cancel, while_a_call_is_under_way) {
  Server server;
  server.on_embed = hang;
  Client client(server.address());
  std::stop_source stop;
  const std::jthread later([&] {
    std::this_thread::sleep_for(300ms);
    stop.request_stop();
  });
  expect_cancelled([&] { client.embed_query("1", 0, {.stop = stop.get_token()}); });
}

TEST(Cancel, before_a_call) {
  Server server;
  Client client(server.address());
  std::stop_source stop;
  stop.request_stop();
  expect_cancelled([&] { client.embed_query("1", 0, {.stop = stop.get_token()}); });
  EXPECT_EQ(server.calls, 0);
}

TEST(Close, ends_calls_of_other_threads) {
  Server server;
  server.on_embed = hang;
  Client client(server.address(), {.timeout = no_timeout});
  std::vector<std::future<void>> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(std::async(std::launch::async,
                               [&] { expect_cancelled([&] { client.embed_query("1"); }); }));
  }
  while (server.calls < 4) std::this_thread::sleep_for(1ms);
  client.close();
  calls.clear();
  expect_cancelled([&] { client.embed_query("1"); });
}

TEST(Client, threads_share_it) {
  Server server;
  Client client(server.address());
  std::vector<std::future<void>> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.push_back(std::async(std::launch::async, [&, thread] {
      for (int i = 0; i < 50; ++i) {
        const int number = 1000 * thread + i;
        EXPECT_EQ(client.embed_query(std::to_string(number)), Floats{static_cast<float>(number)});
      }
      const auto documents = client.embed_documents(std::vector<Text>(20, std::to_string(thread)));
      EXPECT_EQ(documents, std::vector<Floats>(20, {static_cast<float>(thread)}));
    }));
  }
}

TEST(Client, moves) {
  Server server;
  Client first(server.address());
  Client second = std::move(first);
  first = std::move(second);
  EXPECT_EQ(first.embed_query("3"), Floats{3});
}

TEST(Client, a_timeout_of_one_call) {
  Server server;
  server.on_embed = hang;
  Client client(server.address());
  const auto start = Clock::now();
  EXPECT_THROW(client.embed_query("1", 0, {.timeout = 200ms}), DeadlineExceeded);
  EXPECT_LT(seconds_since(start), 3);
}

TEST(Client, waits_for_a_known_server_that_restarts) {
  auto server = std::make_unique<Server>();
  const int port = server->port();
  Client client(server->address(), {.timeout = 30s});
  EXPECT_EQ(client.embed_query("1"), Floats{1});
  server.reset();
  const auto start = Clock::now();
  auto answer = std::async(std::launch::async, [&] { return client.embed_query("2"); });
  std::this_thread::sleep_for(4s);  // five tries of an unknown server are over in 2 s
  server = std::make_unique<Server>(port);
  EXPECT_EQ(answer.get(), Floats{2});
  EXPECT_LT(seconds_since(start), 15);
}

TEST(Client, spans_of_tokens) {
  Server server;
  Client client(server.address());
  const TokenSpans tokens = client.token_spans("Mars");
  EXPECT_EQ(tokens.ids, (TokenIds{2, 70}));
  EXPECT_EQ(tokens.spans[1], std::make_pair(0u, 4u));
  EXPECT_THROW(client.token_spans(TokenIds{1}), std::invalid_argument);
}

TEST(Dial, what_cannot_be_sent_or_read) {
  EXPECT_THROW(Client("127.0.0.1:1", {.token = "a\nb"}), std::invalid_argument);
  EXPECT_THROW(Client("127.0.0.1:1", {.token = "\xc3\xa4"}), std::invalid_argument);
  EXPECT_THROW(Client("127.0.0.1:1", {.tls = Tls{.ca = "/nowhere"}}), std::system_error);
  for (const Tls& tls : {Tls{.ca = SERVICE_CONFIG}, Tls{.certificate = SERVICE_CONFIG},
                         Tls{.key = SERVICE_CONFIG}}) {
    EXPECT_THROW(Client("127.0.0.1:1", {.tls = tls}), std::invalid_argument);
  }
}

/// A client without this library, which loads service_config.json, makes a lost call again.
TEST(ServiceConfig, unavailable_then_answer) {
  Server server;
  server.on_embed = [&](grpc::ServerContext* context) {
    return server.calls < 3 ? unavailable(context) : grpc::Status::OK;
  };
  std::ifstream file(SERVICE_CONFIG);
  const std::string config(std::istreambuf_iterator<char>(file), {});
  ASSERT_FALSE(config.empty());
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(config);
  const auto stub = v1::EmbeddingService::NewStub(
      grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 20s);
  v1::EmbedRequest request;
  request.mutable_input()->set_text("5");
  v1::EmbedResponse response;
  const grpc::Status status = stub->Embed(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.embedding().values(0), 5);
  EXPECT_EQ(server.calls, 3);
}

TEST(Error, keeps_its_type_and_its_details_in_copies) {
  Server server;
  server.on_embed = [](grpc::ServerContext*) {
    return refusal(grpc::StatusCode::NOT_FOUND, "MODEL_NOT_FOUND");
  };
  Client client(server.address());
  std::optional<NotFound> kept;
  try {
    client.embed_query("1");
  } catch (const NotFound& error) {
    kept = error;
  }
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->reason(), "MODEL_NOT_FOUND");
  const Error& base = *kept;
  EXPECT_THROW(base.raise(), NotFound);
  EXPECT_STREQ(base.what(), "MODEL_NOT_FOUND");
}

}  // namespace
}  // namespace gemwire
