#include "tries.h"

#include <algorithm>
#include <random>

namespace gemwire {
namespace {

using std::chrono::nanoseconds;
using Seconds = std::chrono::duration<double>;

constexpr Seconds kFirstPause(0.1), kLongestPause(5);
constexpr std::chrono::hours kForever(24 * 365 * 30);

}  // namespace

std::optional<std::chrono::milliseconds> limited(std::chrono::milliseconds timeout) {
  if (timeout >= kForever) return std::nullopt;
  return std::max(timeout, std::chrono::milliseconds(0));
}

double spread() {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_real_distribution<>(1.0, 1.3)(generator);
}

std::optional<nanoseconds> pause_after(const Failure& failure, int failures) {
  const auto retry_after = failure.error->retry_after();
  Seconds pause;
  switch (failure.error->code()) {
    case Code::resource_exhausted:
      if (!retry_after) return std::nullopt;
      pause = Seconds(*retry_after) * spread();
      if (pause > kLongestRetryDelay) return std::nullopt;
      break;
    case Code::cancelled:
      if (failure.from_server) return std::nullopt;
      [[fallthrough]];
    case Code::unavailable:
      pause = std::min<Seconds>(kFirstPause * (1 << std::min(failures - 1, 6)), kLongestPause);
      // Another server may answer at once, so the first pause is short whatever the server says.
      if (failures > 1 && failure.from_server && retry_after) {
        pause = std::max<Seconds>(pause, *retry_after);
      }
      pause *= spread();
      break;
    default:
      return std::nullopt;
  }
  return std::chrono::duration_cast<nanoseconds>(pause);
}

Tries::Tries(std::chrono::milliseconds timeout) {
  if (const auto limit = limited(timeout)) deadline_ = Clock::now() + *limit;
}

nanoseconds Tries::pause(const Failure& failure, bool known) {
  ++failures_;
  // A known server that is away is waited for. Whatever else failed may fail again for ever: the
  // call itself may be what ends the servers.
  const bool away = failure.error->code() == Code::unavailable && known &&
                    (failure.from_server || failure.unreached);
  lost_ += !away;
  const auto pause = pause_after(failure, failures_);
  const bool late = pause && deadline_ && Clock::now() + *pause >= *deadline_;
  if (!pause || late || (!away && lost_ >= kTries)) failure.error->raise();
  return *pause;
}

}  // namespace gemwire
