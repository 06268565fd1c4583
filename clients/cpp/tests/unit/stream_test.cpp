#include "gemwire/stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "gemwire/client.h"
#include "server.h"

namespace gemwire {
namespace {

using namespace std::chrono_literals;

static_assert(std::input_iterator<Stream::Iterator>);
static_assert(!std::is_copy_constructible_v<Stream>);
static_assert(std::is_nothrow_move_constructible_v<Stream>);

/// The texts "0" to "count - 1", and how many of them were taken.
struct Numbers {
  std::size_t count;
  std::size_t taken = 0;

  Source source() {
    return [this]() -> std::optional<Text> {
      if (taken == count) return std::nullopt;
      return std::to_string(taken++);
    };
  }
};

void await(const std::atomic<int>& counter, int value) {
  for (int i = 0; i < 5000 && counter != value; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(counter, value);
}

TEST(Stream, a_slow_reader_slows_the_source) {
  Server server;
  Client client(server.address());
  Numbers numbers{200};
  std::size_t got = 0;
  for (const auto& result : client.embed_stream(numbers.source())) {
    ++got;
    EXPECT_EQ(std::get<Floats>(result.vector()), Floats{static_cast<float>(result.index())});
    EXPECT_LE(numbers.taken - got, static_cast<std::size_t>(Server::kCredit));
    if (got % 50 == 0) {
      std::this_thread::sleep_for(200ms);
      EXPECT_LE(server.read - static_cast<int>(got), Server::kCredit);
    }
  }
  EXPECT_EQ(got, 200u);
}

TEST(Stream, takes_nothing_before_the_first_next) {
  Server server;
  Client client(server.address());
  Numbers numbers{3};
  Stream stream = client.embed_stream(numbers.source());
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(numbers.taken, 0u);
}

TEST(Stream, ends_once_and_for_all) {
  Server server;
  Client client(server.address());
  Numbers numbers{2};
  Stream first = client.embed_stream(numbers.source());
  EXPECT_TRUE(first.next());
  Stream stream = std::move(first);
  EXPECT_TRUE(stream.next());
  EXPECT_FALSE(stream.next());
  EXPECT_FALSE(stream.next());
  EXPECT_EQ(server.cancelled, 0);
}

TEST(Stream, a_source_that_throws_ends_it) {
  Server server;
  Client client(server.address());
  int taken = 0;
  Stream stream = client.embed_stream([&]() -> std::optional<Text> {
    if (taken == 20) throw std::out_of_range("the source is broken");
    return std::to_string(taken++);
  });
  const auto read_all = [&] {
    while (stream.next()) {
    }
  };
  EXPECT_THROW(read_all(), std::out_of_range);
  EXPECT_THROW(stream.next(), std::out_of_range) << "no silent end";
  await(server.cancelled, 1);
}

TEST(Stream, its_destructor_cancels) {
  Server server;
  Client client(server.address());
  Numbers numbers{1000};
  std::optional<Stream> stream = client.embed_stream(numbers.source());
  EXPECT_TRUE(stream->next());
  const auto start = std::chrono::steady_clock::now();
  stream.reset();
  await(server.cancelled, 1);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s) << "at once";
  EXPECT_EQ(client.embed_query("1"), Floats{1}) << "the client goes on";
}

void expect_cancelled(Stream& stream) {
  try {
    while (stream.next()) {
    }
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::cancelled);
  }
}

/// Opens the stream and answers nothing.
grpc::Status hang(grpc::ServerContext* context, StreamOfServer* stream) {
  v1::EmbedStreamResponse response;
  response.mutable_opened()->set_max_inflight_inputs(16);
  stream->Write(response);
  while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
  return grpc::Status::CANCELLED;
}

TEST(Stream, another_thread_cancels_it) {
  Server server;
  server.on_stream = hang;
  Client client(server.address());
  Numbers numbers{1000};
  Stream stream = client.embed_stream(numbers.source());
  const std::jthread later([&] {
    std::this_thread::sleep_for(300ms);
    stream.cancel();
  });
  expect_cancelled(stream);
  expect_cancelled(stream);
}

TEST(Stream, a_stop_token_cancels_it) {
  Server server;
  server.on_stream = hang;
  Client client(server.address());
  Numbers numbers{1000};
  std::stop_source stop;
  Stream stream = client.embed_stream(numbers.source(), {}, {}, {.stop = stop.get_token()});
  const std::jthread later([&] {
    std::this_thread::sleep_for(300ms);
    stop.request_stop();
  });
  expect_cancelled(stream);
}

TEST(Stream, is_cancelled_while_no_server_is_there) {
  Client client("127.0.0.1:1", {.timeout = no_timeout});
  Numbers numbers{1};
  Stream stream = client.embed_stream(numbers.source());
  const std::jthread later([&] {
    std::this_thread::sleep_for(500ms);
    stream.cancel();
  });
  expect_cancelled(stream);
}

TEST(Stream, the_end_of_its_client_cancels_it) {
  Server server;
  server.on_stream = hang;
  auto client = std::make_unique<Client>(server.address());
  Numbers numbers{1000};
  Stream stream = client->embed_stream(numbers.source());
  const std::jthread later([&] {
    std::this_thread::sleep_for(300ms);
    client.reset();
  });
  expect_cancelled(stream);
}

TEST(Stream, a_text_that_is_no_utf8_fails_alone) {
  Server server;
  Client client(server.address());
  std::vector<Text> texts = {"0", "\xff", "2"};
  std::size_t taken = 0;
  Stream stream = client.embed_stream([&]() -> std::optional<Text> {
    if (taken == texts.size()) return std::nullopt;
    return texts[taken++];
  });
  std::vector<bool> ok;
  for (auto& result : stream) ok.push_back(result.ok());
  EXPECT_EQ(ok, (std::vector<bool>{true, false, true}));
}

TEST(Stream, many_at_once_over_one_client) {
  Server server;
  Client client(server.address());
  std::vector<std::future<void>> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.push_back(std::async(std::launch::async, [&, thread] {
      Numbers numbers{500};
      std::uint64_t due = 0;
      const StreamOptions options{.ordered = thread % 2 == 0};
      for (auto& result : client.embed_stream(numbers.source(), {}, options)) {
        EXPECT_TRUE(!options.ordered || result.index() == due);
        ++due;
        EXPECT_EQ(std::get<Floats>(std::move(result).vector())[0], result.index());
      }
      EXPECT_EQ(due, 500u);
    }));
  }
}

TEST(Stream, goes_on_at_a_server_that_restarts) {
  auto server = std::make_unique<Server>();
  const int port = server->port();
  Client client(server->address());
  Numbers numbers{100};
  std::uint64_t due = 0;
  for (const auto& result : client.embed_stream(numbers.source())) {
    EXPECT_EQ(result.index(), due++);
    EXPECT_TRUE(result.ok());
    if (due == 30) {
      server.reset();
      server = std::make_unique<Server>(port);
    }
  }
  EXPECT_EQ(due, 100u);
}

}  // namespace
}  // namespace gemwire
