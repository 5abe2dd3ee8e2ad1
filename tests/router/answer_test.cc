#include "router/answer.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::router {
namespace {

const text::Tokenizer& Toy() {
  static const std::unique_ptr<text::Tokenizer> tokenizer = text::ToyFile{}.Load();
  return *tokenizer;
}

constexpr TokenId kEnd = 262;  // </s>, special

TokenId Letter(char c) {
  const auto ids = Toy().Encode(std::string(1, c));
  REQUIRE(ids.ok());
  return ids->at(0);
}

Answer MakeAnswer(std::vector<std::string> stop = {}, bool include = false, std::int64_t tokens_max = 100) {
  return {Toy(),
          {.tokens_max = tokens_max,
           .skip_special_tokens = true,
           .stop = std::move(stop),
           .include_stop_text = include,
           .client_stop_ids = {Letter('Z')}}};
}

TEST_CASE("tokens in order become text at once") {
  Answer answer = MakeAnswer();
  CHECK(answer.Take(0, Letter('a'), "").text == "a");
  CHECK(answer.Take(1, 257, "").text == "the");
  CHECK(answer.Count() == 2);
  CHECK_FALSE(answer.Ended());
}

TEST_CASE("a token reported twice counts once") {
  Answer answer = MakeAnswer();
  CHECK(answer.Take(0, Letter('a'), "").tokens == 1);
  const auto repeat = answer.Take(0, Letter('a'), "");
  CHECK(repeat.tokens == 0);
  CHECK(repeat.text.empty());
  CHECK(answer.Count() == 1);
}

TEST_CASE("a token that comes early waits for its turn") {
  Answer answer = MakeAnswer();
  CHECK(answer.Take(2, Letter('c'), "length").tokens == 0);
  CHECK(answer.Take(1, Letter('b'), "").tokens == 0);
  const auto step = answer.Take(0, Letter('a'), "");
  CHECK(step.tokens == 3);
  CHECK(step.text == "abc");
  REQUIRE(step.end);
  CHECK(step.end->finish_reason == "length");
}

TEST_CASE("an index outside the answer is ignored") {
  Answer answer = MakeAnswer({}, false, 2);
  CHECK(answer.Take(2, Letter('a'), "").tokens == 0);
  CHECK(answer.Take(0, Letter('b'), "").text == "b");
  CHECK(answer.Take(1, Letter('c'), "length").text == "c");
  CHECK(answer.Take(2, Letter('d'), "").tokens == 0);
}

TEST_CASE("the token that stops the answer is counted but not shown") {
  Answer answer = MakeAnswer();
  static_cast<void>(answer.Take(0, Letter('a'), ""));
  const auto step = answer.Take(1, kEnd, "stop");
  CHECK(step.text.empty());
  CHECK(step.tokens == 1);
  REQUIRE(step.end);
  CHECK(step.end->finish_reason == "stop");
  CHECK(step.end->stop_reason.IsNull());
  CHECK(answer.Count() == 2);
  CHECK(answer.Take(2, Letter('x'), "").tokens == 0);
}

TEST_CASE("a stop token that the client named is the stop reason") {
  Answer answer = MakeAnswer();
  const auto step = answer.Take(0, Letter('Z'), "stop");
  REQUIRE(step.end);
  REQUIRE(step.end->stop_reason.AsInt() != nullptr);
  CHECK(*step.end->stop_reason.AsInt() == Letter('Z'));
  CHECK(step.text.empty());
}

TEST_CASE("a stop string over several tokens never leaks") {
  Answer answer = MakeAnswer({"xthe"});
  CHECK(answer.Take(0, Letter('a'), "").text == "a");
  CHECK(answer.Take(1, Letter('x'), "").text.empty());
  const auto step = answer.Take(2, 257, "");
  CHECK(step.text.empty());
  REQUIRE(step.end);
  CHECK(step.end->finish_reason == "stop");
  CHECK(*step.end->stop_reason.AsString() == "xthe");
}

TEST_CASE("what was held back is shown when the answer ends otherwise") {
  Answer answer = MakeAnswer({"xyz"});
  static_cast<void>(answer.Take(0, Letter('x'), ""));
  const auto step = answer.Take(1, Letter('y'), "length");
  CHECK(step.text == "xy");
  CHECK(step.end->finish_reason == "length");
}

TEST_CASE("half a character at the end is shown as a replacement") {
  const auto bytes = Toy().Encode("\xc3\xa9");
  REQUIRE(bytes.ok());
  REQUIRE(bytes->size() == 2);
  Answer answer = MakeAnswer();
  CHECK(answer.Take(0, bytes->at(0), "").text.empty());
  CHECK(answer.Take(1, bytes->at(1), "").text == "\xc3\xa9");
  CHECK(answer.Take(2, bytes->at(0), "length").text == "\xef\xbf\xbd");
}

TEST_CASE("both workers' reports in any order give the same text") {
  const std::string text = "over the hills and far away";
  const auto tokens = Toy().Encode(text);
  REQUIRE(tokens.ok());
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    RandomStream chance(seed);
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(tokens->size()); ++i) {
      for (std::int64_t copies = chance.Between(1, 2); copies > 0; --copies) order.push_back(i);
    }
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1],
                order[static_cast<std::size_t>(chance.Between(0, static_cast<std::int64_t>(i) - 1))]);
    }
    Answer answer = MakeAnswer();
    std::string shown;
    int ends = 0;
    for (const std::int64_t index : order) {
      const bool last = index + 1 == static_cast<std::int64_t>(tokens->size());
      const auto step = answer.Take(index, (*tokens)[static_cast<std::size_t>(index)], last ? "length" : "");
      shown += step.text;
      ends += step.end ? 1 : 0;
    }
    CHECK(shown == text);
    CHECK(ends == 1);
  }
}

TEST_CASE("with log-probabilities a report without them waits for the one that has them") {
  Answer answer(Toy(), {.tokens_max = 9, .logprobs = true, .prefix = "h\xc3\xa9"});
  CHECK(answer.Take(0, Letter('a'), "").tokens == 0);
  const auto first =
      answer.Take(0, Letter('a'), "", Logprobs{.chosen = -1, .top = {{Letter('b'), -0.5F}, {257, -2.0F}}});
  CHECK(first.text ==
        "h\xc3\xa9"
        "a");
  REQUIRE(first.logprobs.size() == 1);
  CHECK(first.logprobs[0].token.bytes == "a");
  CHECK(first.logprobs[0].token.logprob == -1);
  CHECK(first.logprobs[0].text_offset == 2);
  REQUIRE(first.logprobs[0].top.size() == 2);
  CHECK(first.logprobs[0].top[1].bytes == "the");
  const auto second = answer.Take(1, 257, "", Logprobs{.chosen = -3, .top = {}});
  CHECK(second.logprobs.at(0).text_offset == 3);
  const auto last = answer.Take(2, kEnd, "stop", Logprobs{.chosen = -3, .top = {}});
  CHECK(last.logprobs.empty());
  CHECK(last.end.has_value());
}

TEST_CASE("a prompt's tokens have offsets in the echo, whatever stands before it or is not decoded") {
  const std::vector<TokenId> prompt = {kEnd, Letter('a'), 257, kEnd, Letter('b')};
  const std::vector<Logprobs> rest = {{-1, {{Letter('x'), -0.5F}}}, {-2, {}}, {-3, {}}, {-4, {}}};
  const std::vector<ShownLogprobs> shown = ShownPrompt(Toy(), prompt, rest, "atheb");
  REQUIRE(shown.size() == 5);
  CHECK_FALSE(shown[0].known);
  CHECK(shown[0].token.bytes == "</s>");
  CHECK(shown[1].known);
  CHECK(shown[1].token.logprob == -1);
  CHECK(shown[1].top.at(0).bytes == "x");
  CHECK(shown[2].token.bytes == "the");
  std::vector<std::int64_t> offsets;
  for (const ShownLogprobs& each : shown) offsets.push_back(each.text_offset);
  CHECK(offsets == std::vector<std::int64_t>{0, 0, 1, 4, 4});
  // The echo is the client's text: where it is shorter, offsets end with it.
  CHECK(ShownPrompt(Toy(), prompt, rest, "at")[4].text_offset == 2);
}

TEST_CASE("the echo comes with its log-probabilities before the answer's, or alone") {
  const auto prompt = std::make_shared<const std::vector<ShownLogprobs>>(2);
  for (const bool alone : {false, true}) {
    CAPTURE(alone);
    Answer answer(Toy(),
                  {.tokens_max = 5, .stop = {}, .logprobs = true, .prefix = "pq", .prefix_alone = alone});
    answer.SetPrefixLogprobs(prompt);
    const auto step = answer.Take(0, Letter('a'), "stop", Logprobs{-1, {}});
    CHECK(step.text == "pq");
    CHECK(step.logprobs.size() == 2);
    REQUIRE(step.end);
    CHECK(step.end->finish_reason == (alone ? "length" : "stop"));
  }
  Answer answer(Toy(), {.tokens_max = 5, .stop = {}, .logprobs = true, .prefix = "pq"});
  answer.SetPrefixLogprobs(prompt);
  CHECK(answer.Take(0, Letter('a'), "", Logprobs{-1, {}}).logprobs.size() == 3);
  CHECK(answer.Take(1, Letter('a'), "", Logprobs{-1, {}}).logprobs.at(0).text_offset == 3);
}

}  // namespace
}  // namespace baton::router
