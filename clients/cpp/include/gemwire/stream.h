/// \file
/// Streams: any number of texts over one call.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "gemwire/error.h"
#include "gemwire/options.h"
#include "gemwire/text.h"
#include "gemwire/vector.h"

namespace gemwire {

/// Gives the next text of a stream, or nothing at the end.
using Source = std::function<std::optional<Text>()>;

/// Options of a stream beside those of its texts.
struct StreamOptions {
  /// Hand results out in the order of the texts; otherwise as they come.
  bool ordered = true;
};

/// The result of one text of a stream: its vector, or the error of this text alone.
class StreamResult {
 public:
  /// The result of a text with a vector.
  StreamResult(std::uint64_t index, Vector vector) : index_(index), vector_(std::move(vector)) {}
  /// The result of a text that failed.
  StreamResult(std::uint64_t index, std::shared_ptr<const Error> error)
      : index_(index), error_(std::move(error)) {}

  /// The place of the text among all texts of the stream, from 0.
  std::uint64_t index() const noexcept { return index_; }
  /// Whether the text has a vector.
  bool ok() const noexcept { return error_ == nullptr; }
  /// Why the text has no vector; null if it has one.
  const Error* error() const noexcept { return error_.get(); }
  /// The vector. Throws the text's error if it has none.
  const Vector& vector() const&;
  /// The vector, moved out. Throws the text's error if it has none.
  Vector vector() &&;

 private:
  std::uint64_t index_;
  Vector vector_;
  std::shared_ptr<const Error> error_;
};

/// The results of a stream under way. One thread at a time calls `next`, which also calls the
/// source, sends and waits: between two calls of `next` the source is not read. `cancel` may be
/// called from any thread. The destructor cancels. The stream may outlive its client, whose end
/// cancels it.
class Stream {
 public:
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  /// The next result, or nothing at the end. A text that fails is a result with an error. Throws
  /// Error if the whole stream fails, and what the source throws; either cancels the stream, and
  /// every later call throws the same.
  std::optional<StreamResult> next();

  /// Cancels what is under way at once. A `next` that waits, and every later one, throws Error,
  /// code Code::cancelled.
  void cancel() noexcept;

  /// Reads the stream in a range-for loop, once.
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = StreamResult;

    /// The results that are left.
    explicit Iterator(Stream& stream) : stream_(&stream) { ++*this; }
    /// The current result, of which the vector may be moved.
    StreamResult& operator*() const { return *result_; }
    /// Waits for the next result. Throws as Stream::next.
    Iterator& operator++() {
      result_ = stream_->next();
      return *this;
    }
    /// As the other form.
    void operator++(int) { ++*this; }
    /// Whether no result is left.
    bool operator==(std::default_sentinel_t) const { return !result_; }

   private:
    Stream* stream_;
    mutable std::optional<StreamResult> result_;
  };

  /// The first result that was not yet read.
  Iterator begin() { return Iterator(*this); }
  /// The end of the results.
  std::default_sentinel_t end() const { return std::default_sentinel; }

 private:
  friend class Client;
  class Reader;
  explicit Stream(std::unique_ptr<Reader> reader);
  std::unique_ptr<Reader> reader_;
};

}  // namespace gemwire
