#include "common/text/regex_split.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/split.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

using Behavior = RegexSplit::Behavior;
using Words = std::vector<std::string_view>;

Words SplitBy(const std::string& regex, const RegexSplit::Options& options, std::string_view text) {
  const auto split = RegexSplit::Compile(regex, options);
  INFO(Message(split.status()));
  REQUIRE(split.ok());
  Words words;
  REQUIRE((*split)->Split(text, words).ok());
  return words;
}

TEST_CASE("each behavior does with a match what its name says") {
  const std::string_view text = "the-final--countdown-";
  const auto by = [&](Behavior behavior) { return SplitBy("-", {.behavior = behavior}, text); };

  CHECK(by(Behavior::kIsolated) == Words{"the", "-", "final", "-", "-", "countdown", "-"});
  CHECK(by(Behavior::kRemoved) == Words{"the", "final", "countdown"});
  CHECK(by(Behavior::kMergedWithPrevious) == Words{"the-", "final-", "-", "countdown-"});
  CHECK(by(Behavior::kMergedWithNext) == Words{"the", "-final", "-", "-countdown", "-"});
  CHECK(by(Behavior::kContiguous) == Words{"the", "-", "final", "--", "countdown", "-"});
  CHECK(SplitBy("\\w+", {.behavior = Behavior::kRemoved, .invert = true}, "a b") == Words{"a", "b"});
}

TEST_CASE("classes are those of Unicode, and look-around sees the whole text") {
  CHECK(SplitBy("\\p{L}+|\\p{N}", {}, "né12") == Words{"né", "1", "2"});
  CHECK(SplitBy("(?<=b)c", {}, "bcac") == Words{"b", "c", "ac"});
  CHECK(SplitBy("x*", {}, "axb") == Words{"a", "x", "b"});
}

TEST_CASE("PCRE2 splits as the patterns written out by hand do") {
  // The same expression with one group more, so that it is not recognised.
  const std::string regex =
      R"((?:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
      R"(\s*[\r\n]+|\s+(?!\S)|\s+))";
  for (const std::string_view text : {"Hello  world, it's 12345 o'clock!\r\n\r\n  x",
                                      "a\u00a0b\u3000\u4f60\u597d\U0001F642 \t\n", "   ", "'S'LL"}) {
    Words by_hand;
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t length = FirstWord(SplitPattern::kLlama3, rest);
      by_hand.push_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    CHECK(SplitBy(regex, {}, text) == by_hand);
  }
}

TEST_CASE("a pattern that explodes ends with an error, not with a long wait") {
  const auto split = RegexSplit::Compile("(a|aa)+$", {});
  REQUIRE(split.ok());
  Words words;

  const absl::Status status = (*split)->Split(std::string(5000, 'a') + "c", words);

  CHECK(status.code() == kResourceExhausted);
  CHECK(Message(status).find("splitting text into words, at byte 0") != std::string::npos);
}

TEST_CASE("a pattern that is quadratic in the text ends with an error too") {
  const auto split = RegexSplit::Compile("a*b|a", {.patience = std::chrono::milliseconds(0)});
  REQUIRE(split.ok());
  Words words;

  const absl::Status status = (*split)->Split(std::string(1 << 20, 'a'), words);

  CHECK(status.code() == kResourceExhausted);
  CHECK(Message(status).find("takes too long") != std::string::npos);
}

TEST_CASE("a tokenizer passes such an error on, and splits digits and texts") {
  const auto tokenizer = [](std::string_view part) {
    return ToyFile{.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[)" + std::string(part) +
                                    R"(,{"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]})",
                   .merges = R"(["1 2","a b"])",
                   .extra_vocabulary = R"(,"12":264,"ab":265)"}
        .Load();
  };
  const auto explodes = tokenizer(R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a|aa)+$"}})");
  CHECK(explodes->Encode(std::string(5000, 'a') + "c").status().code() == kResourceExhausted);
  CHECK(tokenizer(R"({"type":"Digits","individual_digits":true})")->Encode("12").value().size() == 2);
  CHECK(tokenizer(R"({"type":"Digits","individual_digits":false})")->Encode("12").value().size() == 1);
  const auto by_text = tokenizer(R"({"type":"Split","behavior":"Removed","pattern":{"String":"."}})");
  CHECK(by_text->Encode("ab.12").value() == std::vector<TokenId>{265, 264});
}

}  // namespace
}  // namespace baton::text
