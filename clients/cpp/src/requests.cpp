#include "requests.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "failure.h"
#include "utf8.h"

namespace gemwire {
namespace {

// Bytes of a message beside its texts: options, and a few for each text.
constexpr std::size_t kMessageOverhead = 65'536;
constexpr std::size_t kTextOverhead = 8;
// Bytes of an answer beside its results, of a result beside its vector, and of an error in its
// place: see Limits.max_response_bytes in the .proto.
constexpr std::size_t kAnswerOverhead = 1'024, kResultOverhead = 48, kErrorBytes = 512;

std::string checked(const std::string& text) {
  if (!is_utf8(text)) not_utf8({})->raise();
  return text;
}

Room room_of(const Model& model, std::size_t answer_bytes, std::size_t prompt_bytes) {
  const Limits& limits = model.limits;
  Room room;
  room.texts = limits.max_inputs_per_request;
  if (limits.max_response_bytes > 0) {
    const std::size_t most = limits.max_response_bytes;
    room.texts = std::min(room.texts, (most - std::min(most, kAnswerOverhead)) / answer_bytes);
  }
  room.bytes = room_for_texts(limits.max_request_bytes);
  room.request_bytes = limits.max_request_bytes;
  room.tokens = limits.max_queue_tokens;
  room.window = model.max_input_tokens;
  room.prompt_bytes = prompt_bytes;
  for (const auto& [name, prompt] : model.prompts) {
    room.prompt_bytes = std::max(room.prompt_bytes, prompt.size());
  }
  return room;
}

}  // namespace

v1::EmbedOptions options_message(const EmbedOptions& options) {
  if (options.task.has_value() + options.prompt_name.has_value() + options.prompt.has_value() > 1) {
    throw std::invalid_argument("task, prompt_name and prompt exclude each other");
  }
  v1::EmbedOptions message = options_message(options.task, options.dimensions);
  if (options.prompt_name) message.set_prompt_name(checked(*options.prompt_name));
  if (options.prompt) message.set_prompt_text(checked(*options.prompt));
  message.set_normalize(options.normalize);
  message.set_truncation(static_cast<v1::Truncation>(options.truncation));
  message.set_encoding(static_cast<v1::VectorEncoding>(options.encoding));
  message.set_priority(options.priority);
  return message;
}

v1::EmbedOptions options_message(const std::optional<Task>& task, std::uint32_t dimensions) {
  v1::EmbedOptions message;
  if (task) message.set_task(static_cast<v1::TaskType>(*task));
  message.set_output_dimensionality(dimensions);
  return message;
}

v1::EmbedInput input_message(Text text, std::optional<std::uint64_t> index) {
  v1::EmbedInput message;
  if (auto* ids = std::get_if<TokenIds>(&text.content)) {
    message.mutable_tokens()->mutable_ids()->Add(ids->begin(), ids->end());
  } else {
    auto& content = std::get<std::string>(text.content);
    if (!is_utf8(content) || !is_utf8(text.title)) not_utf8(index)->raise();
    message.set_text(std::move(content));
  }
  if (!text.title.empty()) message.set_title(std::move(text.title));
  return message;
}

std::vector<v1::EmbedInput> input_messages(const std::vector<Text>& texts) {
  std::vector<v1::EmbedInput> messages;
  messages.reserve(texts.size());
  for (const Text& text : texts) messages.push_back(input_message(text, messages.size()));
  return messages;
}

std::size_t room_for_texts(std::size_t max_request_bytes) {
  return max_request_bytes - std::min(max_request_bytes / 2, kMessageOverhead);
}

Room embed_room(const Model& model, const v1::EmbedOptions& options) {
  const std::size_t dimensions = options.output_dimensionality() > 0
                                     ? options.output_dimensionality()
                                     : model.default_dimensions;
  return room_of(model, std::max(4 * dimensions + kResultOverhead, kErrorBytes),
                 options.prompt_text().size());
}

Room similarity_room(const Model& model) {
  Room room = room_of(model, kErrorBytes, 0);
  room.texts = std::min(room.texts, std::size_t{model.limits.max_inputs_per_request} - 1);
  if (room.tokens > 0) {
    room.tokens = room.tokens > room.window ? room.tokens - room.window : 1;
  }
  return room;
}

std::vector<Slice> split(const std::vector<v1::EmbedInput>& inputs, const Room& room) {
  std::vector<Slice> slices;
  std::size_t begin = 0, bytes = 0, tokens = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::size_t own = inputs[i].ByteSizeLong() + kTextOverhead;
    if (own > room.bytes) text_too_long(own, room.request_bytes, i)->raise();
    const std::size_t own_tokens = std::min(room.window, own + room.prompt_bytes);
    const bool full = i - begin >= std::max<std::size_t>(room.texts, 1) ||
                      bytes + own > room.bytes ||
                      (room.tokens > 0 && tokens + own_tokens > room.tokens);
    if (i > begin && full) {
      slices.push_back({begin, i});
      begin = i;
      bytes = tokens = 0;
    }
    bytes += own;
    tokens += own_tokens;
  }
  if (begin < inputs.size()) slices.push_back({begin, inputs.size()});
  return slices;
}

}  // namespace gemwire
