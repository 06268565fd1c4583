#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "connection.h"
#include "gemwire/v1/embedding.pb.h"
#include "tries.h"

namespace gemwire {

/// One EmbedStream under way, for one thread. gRPC's threads read one message ahead and write what
/// is in the outbox, so that neither side waits for the other.
class Call final
    : private grpc::ClientBidiReactor<v1::EmbedStreamRequest, v1::EmbedStreamResponse> {
 public:
  explicit Call(Connection& connection);
  /// Cancels the call unless it has ended, and waits for its end.
  ~Call() override;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// Puts a message into the outbox.
  void send(v1::EmbedStreamRequest message);
  /// Half-closes once the outbox is empty.
  void half_close();
  /// Ends the call at once. May be called from any thread.
  void cancel() noexcept { context_.TryCancel(); }

  enum class Received { message, ended, nothing };
  /// Waits for the server's next message until a time; absent: without end.
  Received receive(v1::EmbedStreamResponse& message, std::optional<Clock::time_point> until);
  /// How the call ended, once `receive` has said so.
  const grpc::Status& status() const { return status_; }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void write_next();
  void finish();

  grpc::ClientContext context_;
  bool held_ = true;  // for what this object's thread starts

  std::mutex mutex_;
  std::condition_variable changed_;
  // With `mutex_`:
  std::deque<v1::EmbedStreamRequest> outbox_;  // the first is being written if `writing_`
  bool writing_ = false;
  bool closing_ = false;
  enum class Reading { under_way, message, ended } reading_ = Reading::under_way;
  v1::EmbedStreamResponse inbox_;  // gRPC's while a read is under way
  bool done_ = false;
  grpc::Status status_;
};

}  // namespace gemwire
