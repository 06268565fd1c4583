#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>

namespace gemwire {

/// Whether a call was cancelled: by its own token, by the end of its client, or by `request_stop`.
class Cancellation {
 public:
  Cancellation(std::stop_token call, std::stop_token client)
      : client_(client), of_call_(call, Stop{stop_}), of_client_(client, Stop{stop_}) {}

  std::stop_token token() const { return stop_.get_token(); }
  bool requested() const { return stop_.stop_requested(); }
  bool client_closed() const { return client_.stop_requested(); }
  void request_stop() noexcept { stop_.request_stop(); }

  /// Sleeps that long, less if the call is cancelled.
  void sleep(std::chrono::nanoseconds pause) const {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, token(), pause, [] { return false; });
  }

 private:
  struct Stop {
    std::stop_source source;
    void operator()() noexcept { source.request_stop(); }
  };
  std::stop_source stop_;
  std::stop_token client_;
  std::stop_callback<Stop> of_call_;
  std::stop_callback<Stop> of_client_;
};

}  // namespace gemwire
