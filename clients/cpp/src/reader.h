#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "call.h"
#include "cancellation.h"
#include "connection.h"
#include "exchange.h"
#include "gemwire/stream.h"

namespace gemwire {

/// What runs a Stream: takes texts, sends them, and waits for results, all in `next`.
class Stream::Reader {
 public:
  Reader(std::shared_ptr<Connection> connection, Source source, const EmbedOptions& embed,
         const StreamOptions& options, const CallOptions& call);
  ~Reader();

  std::optional<StreamResult> next();
  void cancel() noexcept { cancellation_.request_stop(); }

 private:
  std::optional<StreamResult> next_or_throw();
  void open();
  void gather();
  void send();
  void receive();
  void ended();
  void stop_calling() noexcept;
  void check_cancelled() const;

  std::shared_ptr<Connection> connection_;
  Source source_;
  v1::EmbedStreamRequest opening_;
  const std::optional<std::chrono::milliseconds> timeout_;
  Cancellation cancellation_;
  Exchange exchange_;
  bool half_closed_ = false;
  bool over_ = false;
  std::exception_ptr error_;  // of an earlier `next`
  v1::EmbedStreamResponse message_;

  std::unique_ptr<Call> call_;
  std::optional<std::stop_callback<std::function<void()>>> on_cancel_;
};

}  // namespace gemwire
