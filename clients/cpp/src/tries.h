#pragma once

#include <chrono>
#include <optional>

#include "failure.h"

namespace gemwire {

using Clock = std::chrono::steady_clock;

/// How often a call that fails is made, unless the server is known and only away.
inline constexpr int kTries = 5;

/// A server that asks for a longer pause is not waited for.
inline constexpr std::chrono::seconds kLongestRetryDelay(60);

/// A caller's timeout, at least 0; absent where it is too long for gRPC's clock, as `no_timeout`
/// is.
std::optional<std::chrono::milliseconds> limited(std::chrono::milliseconds timeout);

/// A random factor from 1 to 1.3: callers that were refused together must not come back together.
double spread();

/// The pause after that many failures in a row, the last of which is `failure`; absent if trying
/// again does not help.
std::optional<std::chrono::nanoseconds> pause_after(const Failure& failure, int failures);

/// The tries of one unary call, until its deadline.
class Tries {
 public:
  explicit Tries(std::chrono::milliseconds timeout);

  /// When the call must be over; absent: never.
  std::optional<Clock::time_point> deadline() const { return deadline_; }

  /// The pause before the call is made again; throws the failure's error if it must not be.
  /// `known`: a server has answered this client before.
  std::chrono::nanoseconds pause(const Failure& failure, bool known);

 private:
  std::optional<Clock::time_point> deadline_;
  int failures_ = 0;
  int lost_ = 0;  // failures that do not say that the server is away for a while
};

}  // namespace gemwire
