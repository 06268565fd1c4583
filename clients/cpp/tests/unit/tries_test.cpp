#include "tries.h"

#include <gtest/gtest.h>

#include "gemwire/options.h"
#include "google/rpc/error_details.pb.h"

namespace gemwire {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

Failure failure(Code code, bool from_server, std::optional<std::chrono::nanoseconds> delay = {}) {
  return {make_error("", {.code = code, .retry_after = delay}), from_server};
}

void expect_between(std::optional<std::chrono::nanoseconds> pause, double least, double most) {
  ASSERT_TRUE(pause);
  EXPECT_GE(duration<double>(*pause).count(), least);
  EXPECT_LE(duration<double>(*pause).count(), most);
}

TEST(Pause, doubles_up_to_five_seconds) {
  const double bases[] = {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5};
  int failures = 0;
  for (const double base : bases) {
    expect_between(pause_after(failure(Code::unavailable, false), ++failures), base, 1.3 * base);
    expect_between(pause_after(failure(Code::cancelled, false), failures), base, 1.3 * base);
  }
  expect_between(pause_after(failure(Code::unavailable, false), 1'000'000), 5, 6.5);
}

TEST(Pause, is_the_delay_of_the_server) {
  expect_between(pause_after(failure(Code::resource_exhausted, true, seconds(2)), 1), 2, 2.6);
  expect_between(pause_after(failure(Code::resource_exhausted, true, seconds(46)), 1), 46, 59.8);
  int waited = 0;  // the factor takes it over a minute in one case of six
  for (int i = 0; i < 1000; ++i) {
    const auto pause = pause_after(failure(Code::resource_exhausted, true, seconds(48)), 1);
    EXPECT_LE(pause.value_or(seconds(0)), kLongestRetryDelay);
    waited += pause.has_value();
  }
  EXPECT_GT(waited, 700);
  EXPECT_LT(waited, 1000);
  EXPECT_FALSE(pause_after(failure(Code::resource_exhausted, true, seconds(61)), 1));
  EXPECT_FALSE(pause_after(failure(Code::resource_exhausted, true), 1));
  // Another server may answer at once.
  expect_between(pause_after(failure(Code::unavailable, true, seconds(3)), 1), 0.1, 0.13);
  expect_between(pause_after(failure(Code::unavailable, true, seconds(3)), 2), 3, 3.9);
  expect_between(pause_after(failure(Code::unavailable, false, seconds(3)), 2), 0.2, 0.26);
}

TEST(Pause, of_a_delay_that_the_clock_cannot_count) {
  google::rpc::ErrorInfo info;
  info.set_domain("gemwire.dev");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(18'446'744'073);
  google::rpc::Status status;
  status.set_code(grpc::StatusCode::RESOURCE_EXHAUSTED);
  status.add_details()->PackFrom(retry);
  EXPECT_FALSE(failure_of(status, 0).error->retry_after());  // not the server's word
  status.add_details()->PackFrom(info);
  const Failure failure = failure_of(status, 0);
  EXPECT_GT(failure.error->retry_after(), std::chrono::hours(1));
  EXPECT_FALSE(pause_after(failure, 1));
}

TEST(Failure, without_a_code_is_unknown) {
  for (const int code : {0, -1, 17}) {
    google::rpc::Status status;
    status.set_code(code);
    EXPECT_EQ(failure_of(status, 0).error->code(), Code::unknown) << code;
  }
}

TEST(Pause, not_after_other_errors) {
  for (int code = 1; code <= 16; ++code) {
    const bool retried = code == 1 || code == 14;
    EXPECT_EQ(pause_after(failure(static_cast<Code>(code), false), 1).has_value(), retried) << code;
  }
  EXPECT_FALSE(pause_after(failure(Code::cancelled, true), 1));
}

TEST(Timeout, is_at_least_0) {
  EXPECT_EQ(limited(milliseconds::min()), milliseconds(0));
  EXPECT_EQ(limited(milliseconds(1)), milliseconds(1));
  EXPECT_EQ(limited(no_timeout), std::nullopt);
}

TEST(Tries, five_of_a_lost_call) {
  Tries tries(no_timeout);
  for (int i = 1; i < kTries; ++i) tries.pause(failure(Code::unavailable, false), true);
  EXPECT_THROW(tries.pause(failure(Code::unavailable, false), true), Unavailable);
}

TEST(Tries, a_known_server_is_waited_for) {
  Tries tries(no_timeout);
  for (int i = 0; i < 100; ++i) tries.pause(failure(Code::unavailable, true), true);
  Failure refused = failure(Code::unavailable, false);
  refused.unreached = true;
  for (int i = 0; i < 100; ++i) tries.pause(refused, true);
  for (int i = 1; i < kTries; ++i) tries.pause(refused, false);
  EXPECT_THROW(tries.pause(refused, false), Unavailable);
}

TEST(Tries, a_pause_ends_before_the_deadline) {
  Tries tries(milliseconds(90));
  EXPECT_THROW(tries.pause(failure(Code::unavailable, true), true), Unavailable);
}

}  // namespace
}  // namespace gemwire
