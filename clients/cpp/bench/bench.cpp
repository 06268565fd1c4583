// Measures the client against a running server and prints one line of JSON.
//
//     bench ADDRESS TEXTS
//
// After a warm-up come 300 queries in a row, then one stream of TEXTS short texts, in order. The
// CPU time is the whole process's, user and system, during the stream alone.
#include <gemwire/client.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using Seconds = std::chrono::duration<double>;
constexpr int kQueries = 300;
constexpr int kWarmUp = 20;

double now() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double cpu_seconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::vector<double> query_milliseconds(gemwire::Client& client, int count) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const double started = now();
    client.embed_query("Which planet is known as the Red Planet?");
    times.push_back(1e3 * (now() - started));
  }
  std::sort(times.begin(), times.end());
  return times;
}

int stream(gemwire::Client& client, int count) {
  int taken = 0, vectors = 0;
  auto results = client.embed_stream([&]() -> std::optional<gemwire::Text> {
    if (taken == count) return std::nullopt;
    return "short text number " + std::to_string(taken++);
  });
  for (const auto& result : results) vectors += result.ok();
  return vectors;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: %s ADDRESS TEXTS\n", arguments[0]);
    return 2;
  }
  try {
    gemwire::Client client(arguments[1]);
    const int texts = std::stoi(arguments[2]);
    query_milliseconds(client, kWarmUp);
    const auto times = query_milliseconds(client, kQueries);
    const double started = now(), cpu = cpu_seconds();
    if (stream(client, texts) != texts) throw std::runtime_error("texts failed");
    std::printf(
        "{\"client\": \"cpp\", \"runtime\": \"grpc++ %s\", \"unary_p50_ms\": %.3f, "
        "\"unary_p99_ms\": %.3f, \"texts\": %d, \"stream_seconds\": %.3f, "
        "\"stream_cpu_seconds\": %.4f}\n",
        grpc::Version().c_str(), times[kQueries / 2], times[kQueries * 99 / 100], texts,
        now() - started, cpu_seconds() - cpu);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
