#include "reader.h"

#include <utility>

#include "requests.h"

namespace gemwire {
namespace {

// A message waits this long for texts of a slow source.
constexpr std::chrono::milliseconds kGatherTime(10);

}  // namespace

Stream::Reader::Reader(std::shared_ptr<Connection> connection, Source source,
                       const EmbedOptions& embed, const StreamOptions& options,
                       const CallOptions& call)
    : connection_(std::move(connection)),
      source_(std::move(source)),
      timeout_(limited(connection_->timeout_of(call))),
      cancellation_(call.stop, connection_->closed()),
      exchange_(options.ordered, connection_->timeout_of(call)) {
  *opening_.mutable_open()->mutable_options() = options_message(embed);
}

Stream::Reader::~Reader() { stop_calling(); }

std::optional<StreamResult> Stream::Reader::next() {
  if (error_) std::rethrow_exception(error_);
  try {
    return next_or_throw();
  } catch (...) {
    error_ = std::current_exception();
    stop_calling();
    throw;
  }
}

std::optional<StreamResult> Stream::Reader::next_or_throw() {
  while (true) {
    check_cancelled();
    if (auto result = exchange_.take()) return result;
    if (over_) return std::nullopt;
    if (!call_) open();
    // Texts that another call left come first: the source may take its time.
    send();
    gather();
    send();
    if (auto result = exchange_.take()) return result;
    if (exchange_.sending_done() && !std::exchange(half_closed_, true)) call_->half_close();
    receive();
  }
}

void Stream::Reader::open() {
  exchange_.begin();
  half_closed_ = false;
  call_ = std::make_unique<Call>(*connection_);
  on_cancel_.emplace(cancellation_.token(), [call = call_.get()] { call->cancel(); });
  call_->send(opening_);
}

/// Takes as many texts as a message holds, or as come within a moment.
void Stream::Reader::gather() {
  const auto until = Clock::now() + kGatherTime;
  while (exchange_.wanted()) {
    std::optional<Text> text = source_();
    check_cancelled();
    if (!text) return exchange_.end_of_texts();
    exchange_.add(*std::move(text));
    if (Clock::now() > until) return;
  }
}

void Stream::Reader::send() {
  while (true) {
    v1::EmbedStreamRequest message;
    if (!exchange_.next_batch(message)) return;
    call_->send(std::move(message));
  }
}

void Stream::Reader::receive() {
  std::optional<Clock::time_point> until;
  if (exchange_.wanted()) {
    until = Clock::now();  // there is more to take: look for answers, and do not wait for them
  } else if (timeout_) {
    until = Clock::now() + *timeout_;
  }
  switch (call_->receive(message_, until)) {
    case Call::Received::message:
      exchange_.receive(message_);
      if (exchange_.opened()) connection_->answered();
      return;
    case Call::Received::ended:
      return ended();
    case Call::Received::nothing:
      if (exchange_.wanted()) return;
      make_error("no answer for " + std::to_string(timeout_->count()) + " ms",
                 {.code = Code::deadline_exceeded})
          ->raise();
  }
}

void Stream::Reader::ended() {
  check_cancelled();
  std::optional<Failure> failure;
  if (!call_->status().ok()) failure = failure_of(call_->status());
  stop_calling();
  if (failure && failure->from_server) connection_->answered();
  over_ = exchange_.finished();
  if (!over_) cancellation_.sleep(exchange_.ended(failure));
}

void Stream::Reader::stop_calling() noexcept {
  on_cancel_.reset();  // waits for a callback under way
  call_.reset();
}

void Stream::Reader::check_cancelled() const {
  if (cancellation_.requested()) cancelled(cancellation_.client_closed())->raise();
}

}  // namespace gemwire
