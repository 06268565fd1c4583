#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "failure.h"
#include "gemwire/stream.h"
#include "gemwire/v1/embedding.pb.h"
#include "tries.h"

namespace gemwire {

/// The books of one Stream: ids, credit, order, and what is still unanswered. It does no I/O.
///
/// Texts get ids in the order they were taken. One call follows another: when a server goes away,
/// or has no room for a text, the call is read until all that it was sent is answered, and the next
/// one is sent what is unanswered and no more.
///
/// Its owner calls `begin`, then in turns `add` while `wanted`, `next_batch`, half-closes on
/// `sending_done`, `receive` and `take`; at the call's end `ended`, and begins again or is done.
class Exchange {
 public:
  Exchange(bool ordered, std::chrono::milliseconds timeout);

  /// Begins a call. Nothing may be sent before the server has granted credit.
  void begin();
  /// Whether one more text may be taken now. At most the window is taken ahead of what was handed
  /// out, so that results do not pile up behind a text that takes long.
  bool wanted() const;
  /// Takes the next text.
  void add(Text text);
  /// Says that there are no more texts.
  void end_of_texts() { texts_ended_ = true; }
  /// Puts the next message into `message` and returns true, as far as there is credit.
  bool next_batch(v1::EmbedStreamRequest& message);
  /// Whether the call is to be half-closed.
  bool sending_done() const;
  /// Whether all texts were taken and answered.
  bool finished() const { return texts_ended_ && unanswered_.empty(); }
  /// Takes a message of the server. Throws Error if the stream cannot go on.
  void receive(const v1::EmbedStreamResponse& message);
  /// The next result to hand out, if its turn has come.
  std::optional<StreamResult> take();
  /// The call is over, with a failure unless it ended with OK. Returns the pause before the next
  /// one, and throws the error where another would not help or was tried often enough. Not for use
  /// once `finished`.
  std::chrono::nanoseconds ended(const std::optional<Failure>& failure);
  /// Whether the server has opened the call.
  bool opened() const { return window_ > 0; }

 private:
  struct Pending {
    v1::EmbedInput input;
    int sent = 0;  // times
    bool under_way = false;
  };

  void opened(const v1::StreamOpened& message);
  void answer(const v1::StreamResult& result);
  void answer(StreamResult result);
  void leave(std::chrono::nanoseconds rest);
  std::chrono::nanoseconds absent(const Failure& failure);

  const bool ordered_;
  const std::optional<std::chrono::milliseconds> timeout_;

  bool texts_ended_ = false;
  std::uint64_t taken_ = 0;
  std::uint64_t handed_out_ = 0;
  std::uint64_t answered_ = 0;
  std::map<std::uint64_t, Pending> unanswered_;
  std::map<std::uint64_t, StreamResult> done_;  // by their turn to be handed out
  std::optional<std::string> revision_;
  int failures_ = 0;  // calls in a row that were opened and answered nothing
  int absences_ = 0;  // calls in a row that no server opened
  Clock::time_point absent_since_;

  // Of the call under way.
  std::deque<std::uint64_t> unsent_;
  std::uint64_t window_ = 0;
  std::uint64_t credit_ = 0;
  std::uint64_t under_way_ = 0;  // texts sent and not yet answered
  std::size_t most_texts_ = 0, most_bytes_ = 0, room_ = 0, request_bytes_ = 0;
  bool leaving_ = false;
  bool progress_ = false;
  std::chrono::nanoseconds rest_{0};  // before the next call
};

}  // namespace gemwire
