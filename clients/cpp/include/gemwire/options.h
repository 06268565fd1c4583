/// \file
/// Options of calls. All are plain structs, made for designated initializers:
/// `{.task = gemwire::Task::clustering, .dimensions = 128}`.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

namespace gemwire {

/// What a vector is for; picks the prompt of the model card. The numbers are the API's.
enum class Task {
  retrieval_query = 1,
  retrieval_document = 2,
  question_answering = 3,
  fact_verification = 4,
  classification = 5,
  clustering = 6,
  semantic_similarity = 7,
  code_retrieval_query = 8,
};

/// What the server does with a text over the model's window. The numbers are the API's.
enum class Truncation {
  /// The text fails, reason TEXT_TOO_LONG.
  error = 1,
  /// Tokens are dropped from the end.
  end = 2,
  /// Tokens are dropped from the start.
  start = 3,
};

/// How the numbers of a vector travel, and what they come as. The numbers are the API's.
enum class Encoding {
  /// Single precision. Comes as Floats.
  float32 = 1,
  /// The upper half of a float32. Comes as Floats.
  bfloat16 = 2,
  /// IEEE half precision. Comes as Floats.
  float16 = 3,
  /// Bytes and a scale for each vector. Comes as Floats.
  int8 = 4,
  /// One bit a dimension, the first in the most significant bit. Comes as UnsignedBytes.
  ubinary = 5,
  /// The bytes of ubinary less 128. Comes as SignedBytes.
  binary = 6,
  /// One bit a dimension, the first in the least significant bit. Comes as UnsignedBytes.
  ubinary_lsb = 7,
  /// Bytes with one scale, 1/127, for all vectors. Comes as SignedBytes.
  int8_fixed = 8,
};

/// How texts are embedded. `task`, `prompt_name` and `prompt` exclude each other; without one, the
/// server's default is used.
struct EmbedOptions {
  /// A task of the model card.
  std::optional<Task> task = {};
  /// A name of Model::prompts.
  std::optional<std::string> prompt_name = {};
  /// A text that is put before each text as it is.
  std::optional<std::string> prompt = {};
  /// One of Model::supported_dimensions; 0: Model::default_dimensions.
  std::uint32_t dimensions = 0;
  /// Whether a vector cut to fewer dimensions is normalized again.
  bool normalize = true;
  /// What is done with texts over the model's window.
  Truncation truncation = Truncation::error;
  /// How vectors travel.
  Encoding encoding = Encoding::float32;
  /// From -10 to 10; higher runs first.
  int priority = 0;
};

/// How a source and its targets are embedded.
struct SimilarityOptions {
  /// The task of the source, and of the targets unless `target_task` is set.
  std::optional<Task> task = {};
  /// The task of the targets.
  std::optional<Task> target_task = {};
  /// One of Model::supported_dimensions; 0: Model::default_dimensions.
  std::uint32_t dimensions = 0;
};

/// The timeout of a call that may take for ever.
inline constexpr std::chrono::milliseconds no_timeout = std::chrono::milliseconds::max();

/// What belongs to one call.
struct CallOptions {
  /// For each request of the call with all its tries; for a stream, the longest wait for an answer.
  /// Absent: the client's.
  std::optional<std::chrono::milliseconds> timeout = {};
  /// Cancels the call: it then fails with Error, code Code::cancelled.
  std::stop_token stop = {};
};

}  // namespace gemwire
