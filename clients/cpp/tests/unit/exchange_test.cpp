#include "exchange.h"

#include <gtest/gtest.h>

#include <vector>

namespace gemwire {
namespace {

v1::EmbedStreamResponse opened(std::uint32_t credit) {
  v1::EmbedStreamResponse message;
  message.mutable_opened()->set_max_inflight_inputs(credit);
  return message;
}

v1::EmbedStreamResponse answers(const std::vector<std::uint64_t>& ids) {
  v1::EmbedStreamResponse message;
  for (const auto id : ids) {
    auto* result = message.mutable_results()->add_results();
    result->set_id(id);
    result->mutable_embedding()->set_encoding(v1::VECTOR_ENCODING_FLOAT32);
    result->mutable_embedding()->add_values(static_cast<float>(id));
  }
  return message;
}

std::vector<std::uint64_t> sent(Exchange& exchange) {
  std::vector<std::uint64_t> ids;
  for (v1::EmbedStreamRequest message; exchange.next_batch(message); message.Clear()) {
    for (int i = 0; i < message.batch().inputs_size(); ++i) {
      ids.push_back(message.batch().first_id() + static_cast<std::uint64_t>(i));
    }
  }
  return ids;
}

using Ids = std::vector<std::uint64_t>;

/// An exchange that has sent the texts 0 to 3 and no other.
Exchange of_four_texts() {
  Exchange exchange(true, no_timeout);
  exchange.begin();
  exchange.receive(opened(4));
  while (exchange.wanted()) exchange.add("a");
  exchange.end_of_texts();
  EXPECT_EQ(sent(exchange), (Ids{0, 1, 2, 3}));
  return exchange;
}

TEST(Exchange, answers_that_are_not_due_are_ignored) {
  Exchange exchange = of_four_texts();
  exchange.receive(answers({1, 1, 1, 99}));
  EXPECT_FALSE(exchange.sending_done());
  EXPECT_FALSE(exchange.take()) << "text 0 is not answered";
  exchange.receive(answers({0, 2, 3}));
  EXPECT_TRUE(exchange.sending_done());
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(exchange.take()->index(), i);
  EXPECT_FALSE(exchange.take());
  EXPECT_TRUE(exchange.finished());
}

TEST(Exchange, answers_to_texts_of_an_earlier_call_are_ignored) {
  Exchange exchange = of_four_texts();
  exchange.receive(answers({0}));
  exchange.ended({});
  exchange.begin();
  exchange.receive(opened(2));
  EXPECT_EQ(sent(exchange), (Ids{1, 2}));
  exchange.receive(answers({3}));  // not sent in this call
  exchange.receive(answers({2}));
  v1::EmbedStreamResponse credit;
  credit.mutable_results()->set_granted_inputs(2);
  exchange.receive(credit);
  EXPECT_EQ(sent(exchange), Ids{3});
  exchange.receive(answers({1, 3}));
  EXPECT_TRUE(exchange.finished());
  EXPECT_TRUE(exchange.sending_done());
}

TEST(Exchange, a_text_that_ends_every_call_is_given_up) {
  Exchange exchange(false, no_timeout);
  const Failure lost{make_error("lost", {.code = Code::unavailable})};
  int calls = 0;
  const auto lose = [&] {  // text 0 ends the call; the other one is answered
    exchange.begin();
    exchange.receive(opened(2));
    while (exchange.wanted()) exchange.add("a");
    const Ids ids = sent(exchange);
    ASSERT_EQ(ids.size(), 2u);
    ASSERT_EQ(ids[0], 0u);
    exchange.receive(answers({ids[1]}));
    EXPECT_EQ(exchange.take()->index(), ids[1]);
    ++calls;
    exchange.ended(lost);
  };
  const auto lose_often = [&] {
    while (calls < 20) lose();
  };
  EXPECT_THROW(lose_often(), Unavailable);
  EXPECT_EQ(calls, kTries);
}

TEST(Exchange, an_answer_of_an_unknown_kind_is_ignored) {
  Exchange exchange = of_four_texts();
  v1::EmbedStreamResponse unknown;
  unknown.mutable_results()->add_results()->set_id(0);
  exchange.receive(unknown);
  EXPECT_FALSE(exchange.take());
  exchange.receive(answers({0, 1, 2, 3}));
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(exchange.take()->ok());
  EXPECT_TRUE(exchange.sending_done());
}

TEST(Exchange, a_vector_that_cannot_be_read_fails_alone) {
  Exchange exchange = of_four_texts();
  v1::EmbedStreamResponse response = answers({0, 1, 2, 3});
  response.mutable_results()->mutable_results(1)->mutable_embedding()->set_encoding(
      static_cast<v1::VectorEncoding>(77));
  exchange.receive(response);
  EXPECT_TRUE(exchange.sending_done());
  EXPECT_TRUE(exchange.take()->ok());
  const auto failed = exchange.take();
  ASSERT_FALSE(failed->ok());
  EXPECT_EQ(failed->error()->code(), Code::unknown);
  EXPECT_EQ(failed->error()->index(), 1u);
  EXPECT_TRUE(exchange.take()->ok());
}

TEST(Exchange, a_rest_may_be_longer_than_the_clock_counts) {
  Exchange exchange = of_four_texts();
  v1::EmbedStreamResponse go_away;
  go_away.mutable_go_away()->mutable_reconnect_after()->set_seconds(18'446'744'073);
  exchange.receive(go_away);
  EXPECT_GT(exchange.ended({}), std::chrono::hours(1));
}

}  // namespace
}  // namespace gemwire
