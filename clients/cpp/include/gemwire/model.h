/// \file
/// What a server serves.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gemwire/options.h"

namespace gemwire {

/// The server's limits of one request.
struct Limits {
  /// Texts of one request, or of one message of a stream.
  std::uint32_t max_inputs_per_request = 0;
  /// Bytes of one message.
  std::uint32_t max_request_bytes = 0;
  /// Tokens computed in one step.
  std::uint32_t max_batch_tokens = 0;
  /// Tokens that may wait; 0: no such limit.
  std::uint32_t max_queue_tokens = 0;
  /// Texts of a stream that may be unanswered at once.
  std::uint32_t max_stream_inflight_inputs = 0;
  /// Bytes of one answer; 0: the server is older than this limit.
  std::uint32_t max_response_bytes = 0;
};

/// The model of a server.
struct Model {
  /// "models/{model}".
  std::string name;
  /// For people.
  std::string display_name;
  /// Vectors of different revisions do not compare.
  std::string revision;
  /// What weights and matrix products use: "bfloat16" or "float32".
  std::string dtype;
  /// Where the engine runs and with which operations, for people.
  std::string engine;
  /// Version of the server's software.
  std::string server_version;
  /// The full size of a vector.
  std::uint32_t dimensions = 0;
  /// All sizes of a vector, largest first.
  std::vector<std::uint32_t> supported_dimensions;
  /// The size of a vector where a request asks for none.
  std::uint32_t default_dimensions = 0;
  /// The window: tokens of one text, prompt and special tokens counted.
  std::uint32_t max_input_tokens = 0;
  /// How many token ids there are.
  std::uint32_t vocabulary_size = 0;
  /// The tasks that have a prompt.
  std::vector<Task> supported_tasks;
  /// The task of a request without a prompt; absent: the text as it is.
  std::optional<Task> default_task;
  /// Prompts by name.
  std::map<std::string, std::string> prompts;
  /// The encodings on offer.
  std::vector<Encoding> supported_encodings;
  /// What one request may ask for.
  Limits limits;
};

}  // namespace gemwire
