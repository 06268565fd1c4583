#include "exchange.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "decode.h"
#include "requests.h"

namespace gemwire {
namespace {

using std::chrono::nanoseconds;

// Texts of a message: enough that a message's own cost vanishes among them.
constexpr std::size_t kTextsPerMessage = 64;
constexpr std::size_t kBytesPerMessage = 1 << 20;

/// A limit of the server, where 0 is none.
std::size_t limit(std::uint32_t said) {
  return said > 0 ? said : std::numeric_limits<std::size_t>::max();
}

/// The vector of a text, or the error of one that cannot be read.
StreamResult decoded(const v1::StreamResult& result) {
  try {
    return {result.id(), decode(result.embedding())};
  } catch (const Error& error) {
    ErrorDetails details = error.details();
    details.index = result.id();
    return {result.id(), make_error(error.message(), std::move(details))};
  }
}

}  // namespace

Exchange::Exchange(bool ordered, std::chrono::milliseconds timeout)
    : ordered_(ordered), timeout_(limited(timeout)) {}

void Exchange::begin() {
  unsent_.clear();
  for (auto& [id, pending] : unanswered_) {
    pending.under_way = false;
    unsent_.push_back(id);
  }
  window_ = credit_ = under_way_ = 0;
  leaving_ = progress_ = false;
  rest_ = nanoseconds(0);
}

bool Exchange::wanted() const {
  if (texts_ended_ || leaving_ || unsent_.size() >= most_texts_) return false;
  return credit_ > unsent_.size() && window_ > taken_ - handed_out_;
}

void Exchange::add(Text text) {
  const std::uint64_t id = taken_++;
  v1::EmbedInput input;
  try {
    input = input_message(std::move(text), id);
    const std::size_t size = input.ByteSizeLong();
    if (size > room_) text_too_long(size, request_bytes_, id)->raise();
  } catch (const InvalidInput& error) {
    return answer(StreamResult(id, std::make_shared<InvalidInput>(error)));
  }
  unanswered_.emplace_hint(unanswered_.end(), id, Pending{std::move(input)});
  unsent_.push_back(id);
}

bool Exchange::next_batch(v1::EmbedStreamRequest& message) {
  std::size_t size = 0;
  v1::StreamBatch* batch = nullptr;
  while (!unsent_.empty() && credit_ > 0 && !leaving_) {
    const std::uint64_t id = unsent_.front();
    Pending& pending = unanswered_.at(id);
    size += pending.input.ByteSizeLong();
    if (batch == nullptr) {
      batch = message.mutable_batch();
      batch->set_first_id(id);
    } else if (const auto count = static_cast<std::size_t>(batch->inputs_size());
               count == most_texts_ || size > most_bytes_ || id != batch->first_id() + count) {
      break;
    }
    *batch->add_inputs() = pending.input;
    unsent_.pop_front();
    ++pending.sent;
    pending.under_way = true;
    --credit_;
    ++under_way_;
  }
  return batch != nullptr;
}

bool Exchange::sending_done() const {
  return under_way_ == 0 && (leaving_ || (opened() && texts_ended_ && unsent_.empty()));
}

void Exchange::receive(const v1::EmbedStreamResponse& message) {
  switch (message.payload_case()) {
    case v1::EmbedStreamResponse::kOpened:
      return opened(message.opened());
    case v1::EmbedStreamResponse::kGoAway:
      return leave(time_of(message.go_away().reconnect_after()));
    case v1::EmbedStreamResponse::kResults:
      credit_ += message.results().granted_inputs();
      for (const auto& result : message.results().results()) answer(result);
      return;
    case v1::EmbedStreamResponse::PAYLOAD_NOT_SET:  // what a newer server may say
      return;
  }
}

void Exchange::opened(const v1::StreamOpened& message) {
  if (revision_ && *revision_ != message.model_revision()) model_changed()->raise();
  revision_ = message.model_revision();
  window_ = credit_ = message.max_inflight_inputs();
  most_texts_ = std::min(kTextsPerMessage, limit(message.max_inputs_per_message()));
  request_bytes_ = limit(message.max_request_bytes());
  room_ = room_for_texts(request_bytes_);
  most_bytes_ = std::min(kBytesPerMessage, room_);
}

void Exchange::answer(const v1::StreamResult& result) {
  if (result.outcome_case() == v1::StreamResult::OUTCOME_NOT_SET) return;  // a newer server's
  const auto found = unanswered_.find(result.id());
  if (found == unanswered_.end() || !std::exchange(found->second.under_way, false)) return;
  --under_way_;
  if (result.has_embedding()) {
    answer(decoded(result));
  } else {
    const Failure failure = failure_of(result.error(), result.id());
    const Code code = failure.error->code();
    const auto delay = failure.error->retry_after();
    const bool again = delay && *delay <= kLongestRetryDelay && found->second.sent < kTries &&
                       (code == Code::resource_exhausted || code == Code::unavailable);
    if (again) {  // another call's work: this server goes away, or has no room
      return leave(std::chrono::duration_cast<nanoseconds>(*delay * spread()));
    }
    answer(StreamResult(result.id(), failure.error));
  }
  progress_ = true;
  unanswered_.erase(found);
}

void Exchange::answer(StreamResult result) {
  const std::uint64_t turn = ordered_ ? result.index() : answered_;
  ++answered_;
  done_.emplace(turn, std::move(result));
}

std::optional<StreamResult> Exchange::take() {
  if (done_.empty() || done_.begin()->first != handed_out_) return std::nullopt;
  ++handed_out_;
  return std::move(done_.extract(done_.begin()).mapped());
}

void Exchange::leave(nanoseconds rest) {
  leaving_ = true;
  rest_ = std::max(rest_, rest);
}

nanoseconds Exchange::ended(const std::optional<Failure>& ended_with) {
  const Failure failure = ended_with.value_or(stream_ended());
  if (failure.error->code() == Code::unavailable && !opened()) return absent(failure);
  absences_ = 0;
  failures_ = progress_ ? 0 : failures_ + 1;
  if (failures_ >= kTries) failure.error->raise();
  if (!ended_with && leaving_) return rest_;
  int sent = 0;  // a text that ends every call it is in must not be sent for ever
  for (const auto& [id, pending] : unanswered_) sent = std::max(sent, pending.sent);
  const auto pause = pause_after(failure, std::max(failures_, 1));
  if (!pause || sent >= kTries) failure.error->raise();
  return std::max(*pause, rest_);
}

nanoseconds Exchange::absent(const Failure& failure) {
  const auto now = Clock::now();
  if (absences_++ == 0) absent_since_ = now;
  auto pause = std::max(rest_, pause_after(failure, absences_).value());
  if (timeout_) {
    const nanoseconds left = absent_since_ + *timeout_ - now;
    if (left <= nanoseconds(0)) failure.error->raise();
    pause = std::min(pause, left);
  }
  return pause;
}

}  // namespace gemwire
