#include "gemwire/stream.h"

#include <utility>

#include "reader.h"

namespace gemwire {

const Vector& StreamResult::vector() const& {
  if (error_) error_->raise();
  return vector_;
}

Vector StreamResult::vector() && {
  if (error_) error_->raise();
  return std::move(vector_);
}

Stream::Stream(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

std::optional<StreamResult> Stream::next() { return reader_->next(); }

void Stream::cancel() noexcept { reader_->cancel(); }

}  // namespace gemwire
