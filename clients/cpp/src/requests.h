#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gemwire/model.h"
#include "gemwire/options.h"
#include "gemwire/text.h"
#include "gemwire/v1/embedding.pb.h"

namespace gemwire {

/// The options as a message. Throws std::invalid_argument for more than one prompt, and
/// InvalidInput for a prompt that is no UTF-8.
v1::EmbedOptions options_message(const EmbedOptions& options);

/// Options of a task, as a message.
v1::EmbedOptions options_message(const std::optional<Task>& task, std::uint32_t dimensions);

/// One text as a message. Throws InvalidInput, with the index if given, if it is no UTF-8.
v1::EmbedInput input_message(Text text, std::optional<std::uint64_t> index = {});

/// Texts as messages. Throws as `input_message`, before anything is sent.
std::vector<v1::EmbedInput> input_messages(const std::vector<Text>& texts);

/// The bytes of texts that fit in one message of `max_request_bytes`.
std::size_t room_for_texts(std::size_t max_request_bytes);

/// What one request may hold.
struct Room {
  std::size_t texts = 1;
  std::size_t bytes = 0;
  std::size_t request_bytes = 0;  // the server's limit, for the error of a text over `bytes`
  std::size_t tokens = 0;         // 0: any number
  std::size_t window = 0;         // the most tokens of a text
  std::size_t prompt_bytes = 0;   // of the longest prompt: no token stands for less than a byte
};

/// The room of a BatchEmbed with these options.
Room embed_room(const Model& model, const v1::EmbedOptions& options);

/// The room of a ComputeSimilarity, which counts the source besides its targets.
Room similarity_room(const Model& model);

/// Neighbours that go in one request: [begin, end).
struct Slice {
  std::size_t begin;
  std::size_t end;
};

/// The requests for these texts. Throws InvalidInput for a text that fits in none.
std::vector<Slice> split(const std::vector<v1::EmbedInput>& inputs, const Room& room);

}  // namespace gemwire
