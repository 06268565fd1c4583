#include "requests.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "gemwire/error.h"
#include "utf8.h"

namespace gemwire {
namespace {

/// A code point in UTF-8 by the table of RFC 3629, of the given length or the shortest.
std::string encoded(std::uint32_t point, int length = 0) {
  if (length == 0) length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  if (length == 1) return {static_cast<char>(point)};
  static constexpr unsigned kFirst[] = {0, 0, 0xC0, 0xE0, 0xF0};
  std::string bytes(1, static_cast<char>(kFirst[length] | point >> 6 * (length - 1)));
  for (int i = length - 2; i >= 0; --i) bytes += static_cast<char>(0x80 | (point >> 6 * i & 0x3F));
  return bytes;
}

TEST(Utf8, every_code_point) {
  for (std::uint32_t point = 0; point < 0x120000; ++point) {
    const bool valid = point < 0x110000 && (point < 0xD800 || point > 0xDFFF);
    ASSERT_EQ(is_utf8(encoded(point)), valid) << std::hex << point;
    ASSERT_EQ(is_utf8("ten letter" + encoded(point) + "."), valid) << std::hex << point;
  }
}

TEST(Utf8, overlong_cut_and_stray_bytes) {
  for (const std::uint32_t point : {0x0u, 0x2Fu, 0x7Fu}) EXPECT_FALSE(is_utf8(encoded(point, 2)));
  for (const std::uint32_t point : {0x7Fu, 0x7FFu}) EXPECT_FALSE(is_utf8(encoded(point, 3)));
  for (const std::uint32_t point : {0x7FFu, 0xFFFFu}) EXPECT_FALSE(is_utf8(encoded(point, 4)));
  const std::string rocket = encoded(0x1F680);
  for (std::size_t size = 1; size < 4; ++size) {
    EXPECT_FALSE(is_utf8(rocket.substr(0, size)));
    EXPECT_FALSE(is_utf8(rocket.substr(0, size) + "a"));
    EXPECT_FALSE(is_utf8(rocket.substr(size)));
  }
  EXPECT_FALSE(is_utf8("\xff"));
  EXPECT_TRUE(is_utf8(""));
}

TEST(Requests, a_text_that_is_no_utf8_is_named) {
  try {
    input_messages({"good",
                    "b\xe9"
                    "d"});
    FAIL();
  } catch (const InvalidInput& error) {
    EXPECT_EQ(error.index(), 1u);
    EXPECT_EQ(std::string(error.what()).find("b\xe9"), std::string::npos) << "no text in an error";
  }
  EXPECT_THROW(input_message(Text::document("a", "\xff")), InvalidInput);
  EXPECT_THROW(options_message(EmbedOptions{.prompt = "\xff"}), InvalidInput);
}

TEST(Requests, prompts_exclude_each_other) {
  EXPECT_THROW(options_message(EmbedOptions{.task = Task::clustering, .prompt = "a"}),
               std::invalid_argument);
  EXPECT_THROW(options_message(EmbedOptions{.prompt_name = "a", .prompt = "b"}),
               std::invalid_argument);
}

TEST(Requests, an_empty_list_of_ids_is_still_ids) {
  EXPECT_TRUE(input_message(TokenIds{}).has_tokens());
}

/// Slices of random texts hold all of them in order, and each is as large as it may be.
TEST(Split, random_texts) {
  std::mt19937 random(7);
  const auto upto = [&](std::size_t most) { return random() % (most + 1); };
  for (int round = 0; round < 500; ++round) {
    Room room{.texts = 1 + upto(9), .bytes = 200 + upto(400), .request_bytes = 1000};
    room.tokens = upto(1) ? 0 : 1 + upto(300);
    room.window = 1 + upto(100);
    room.prompt_bytes = upto(30);
    std::vector<v1::EmbedInput> inputs(upto(40));
    for (auto& input : inputs) input.set_text(std::string(upto(150), 'a'));
    const auto bytes = [&](std::size_t begin, std::size_t end) {
      std::size_t sum = 0;
      for (auto i = begin; i < end; ++i) sum += inputs[i].ByteSizeLong() + 8;
      return sum;
    };
    const auto tokens = [&](std::size_t begin, std::size_t end) {
      std::size_t sum = 0;
      for (auto i = begin; i < end; ++i) {
        sum += std::min(room.window, inputs[i].ByteSizeLong() + 8 + room.prompt_bytes);
      }
      return sum;
    };
    const auto fits = [&](std::size_t begin, std::size_t end) {
      return end - begin == 1 || (end - begin <= room.texts && bytes(begin, end) <= room.bytes &&
                                  (room.tokens == 0 || tokens(begin, end) <= room.tokens));
    };
    std::size_t begin = 0;
    for (const Slice& slice : split(inputs, room)) {
      ASSERT_EQ(slice.begin, begin);
      ASSERT_GT(slice.end, slice.begin);
      ASSERT_TRUE(fits(slice.begin, slice.end));
      ASSERT_TRUE(slice.end == inputs.size() || !fits(slice.begin, slice.end + 1));
      begin = slice.end;
    }
    ASSERT_EQ(begin, inputs.size());
  }
}

TEST(Split, rooms_by_the_limits_of_the_server) {
  Model model;
  model.default_dimensions = 768;
  model.max_input_tokens = 2048;
  model.prompts = {{"query", "12345"}};
  model.limits = {.max_inputs_per_request = 1024,
                  .max_request_bytes = 1 << 20,
                  .max_batch_tokens = 0,
                  .max_queue_tokens = 4096,
                  .max_stream_inflight_inputs = 0,
                  .max_response_bytes = 0};
  Room room = embed_room(model, options_message(EmbedOptions{}));
  EXPECT_EQ(room.texts, 1024u);
  EXPECT_EQ(room.bytes, (1u << 20) - 65'536);
  EXPECT_EQ(room.prompt_bytes, 5u);
  EXPECT_EQ(embed_room(model, options_message(EmbedOptions{.prompt = "123456"})).prompt_bytes, 6u);
  model.limits.max_response_bytes = 1'024 + 10 * (4 * 768 + 48);
  EXPECT_EQ(embed_room(model, options_message(EmbedOptions{})).texts, 10u);
  // An error of 512 bytes may stand in a vector's place: 31,200 / 512.
  EXPECT_EQ(embed_room(model, options_message(EmbedOptions{.dimensions = 16})).texts, 60u);
  room = similarity_room(model);
  EXPECT_EQ(room.texts, 60u);
  EXPECT_EQ(room.tokens, 2048u);
  model.limits.max_request_bytes = 100'000;
  EXPECT_EQ(similarity_room(model).bytes, 50'000u);
}

}  // namespace
}  // namespace gemwire
