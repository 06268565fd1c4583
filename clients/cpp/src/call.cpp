#include "call.h"

#include <utility>

namespace gemwire {
namespace {

// The status comes with the end of the messages.
constexpr std::chrono::seconds kStatusTime(5);

}  // namespace

Call::Call(Connection& connection) {
  connection.prepare(context_);
  connection.embedding().async()->EmbedStream(&context_, this);
  AddHold();
  StartRead(&inbox_);
  StartCall();
}

Call::~Call() {
  cancel();
  finish();
}

void Call::send(v1::EmbedStreamRequest message) {
  const std::lock_guard lock(mutex_);
  outbox_.push_back(std::move(message));
  write_next();
}

void Call::half_close() {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  write_next();
}

/// Starts the next write, with `mutex_`. gRPC calls no reaction from within StartWrite.
void Call::write_next() {
  if (writing_) return;
  if (!outbox_.empty()) {
    writing_ = true;
    StartWrite(&outbox_.front());
  } else if (closing_) {
    writing_ = true;  // for good: nothing may follow
    StartWritesDone();
  }
}

Call::Received Call::receive(v1::EmbedStreamResponse& message,
                             std::optional<Clock::time_point> until) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return reading_ != Reading::under_way; };
  if (!until) {
    changed_.wait(lock, ready);
  } else if (!changed_.wait_until(lock, *until, ready)) {
    return Received::nothing;
  }
  if (reading_ == Reading::ended) {
    lock.unlock();
    finish();
    return Received::ended;
  }
  std::swap(message, inbox_);
  reading_ = Reading::under_way;
  StartRead(&inbox_);
  return Received::message;
}

/// Waits until gRPC is done with this object. A message that cannot be read ends the reads and not
/// the call, which is cancelled then.
void Call::finish() {
  if (std::exchange(held_, false)) RemoveHold();
  std::unique_lock lock(mutex_);
  const auto done = [&] { return done_; };
  if (changed_.wait_for(lock, kStatusTime, done)) return;
  cancel();
  changed_.wait(lock, done);
  status_ = {grpc::StatusCode::INTERNAL, "a message of the server cannot be read"};
}

void Call::OnReadDone(bool ok) {
  const std::lock_guard lock(mutex_);
  reading_ = ok ? Reading::message : Reading::ended;
  changed_.notify_one();
}

void Call::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  outbox_.pop_front();
  if (!ok) return;  // the call is over: OnDone says why
  writing_ = false;
  write_next();
}

void Call::OnDone(const grpc::Status& status) {
  const std::lock_guard lock(mutex_);
  status_ = status;
  done_ = true;
  changed_.notify_one();
}

}  // namespace gemwire
