/// \file
/// Texts, as a call takes them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace gemwire {

/// Ids of tokens of the model's vocabulary.
using TokenIds = std::vector<std::uint32_t>;

/// A text in UTF-8, or the ids of a text's tokens without prompt and special tokens.
struct Text {
  /// A text in UTF-8.
  Text(std::string text) : content(std::move(text)) {}  // NOLINT: a text is what callers have
  /// A text in UTF-8.
  Text(const char* text) : content(std::string(text)) {}  // NOLINT
  /// The ids of a text's tokens.
  Text(TokenIds ids) : content(std::move(ids)) {}  // NOLINT

  /// A document: a text with its title, for Task::retrieval_document. An empty title is none.
  static Text document(std::string text, std::string title) {
    Text document(std::move(text));
    document.title = std::move(title);
    return document;
  }

  /// The text or the ids.
  std::variant<std::string, TokenIds> content;
  /// The title; empty: none.
  std::string title;
};

}  // namespace gemwire
