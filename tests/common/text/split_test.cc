#include "common/text/split.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::text {
namespace {

using Words = std::vector<std::string>;

Words Split(SplitPattern pattern, std::string_view text) {
  Words words;
  while (!text.empty()) {
    const std::size_t length = FirstWord(pattern, text);
    REQUIRE(length > 0);
    REQUIRE(length <= text.size());
    words.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return words;
}

TEST_CASE("a space goes with the word after it") {
  for (const auto pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2}) {
    CHECK(Split(pattern, "to be, or") == Words{"to", " be", ",", " or"});
    CHECK(Split(pattern, "a  b") == Words{"a", " ", " b"});
    CHECK(Split(pattern, "a   ") == Words{"a", "   "});
    CHECK(Split(pattern, " ") == Words{" "});
    CHECK(Split(pattern, "x !?") == Words{"x", " !?"});
  }
}

TEST_CASE("numbers are whole for GPT-2, groups of three for Llama 3 and single digits for Qwen 2") {
  CHECK(Split(SplitPattern::kGpt2, "a 12345") == Words{"a", " 12345"});
  CHECK(Split(SplitPattern::kLlama3, "a 12345") == Words{"a", " ", "123", "45"});
  CHECK(Split(SplitPattern::kQwen2, "12a") == Words{"1", "2", "a"});
  CHECK(Split(SplitPattern::kLlama3, "1\u00b2\u0663\u216b") == Words{"1\u00b2\u0663", "\u216b"});
}

TEST_CASE("contractions split off, in any case but for GPT-2") {
  CHECK(Split(SplitPattern::kGpt2, "I'll we're") == Words{"I", "'ll", " we", "'re"});
  CHECK(Split(SplitPattern::kGpt2, "I'LL") == Words{"I", "'", "LL"});
  CHECK(Split(SplitPattern::kLlama3, "I'LL'Ve") == Words{"I", "'LL", "'Ve"});
  CHECK(Split(SplitPattern::kLlama3, "it'\u017f") == Words{"it", "'\u017f"});
  CHECK(Split(SplitPattern::kLlama3, "'sa'l'") == Words{"'s", "a", "'l", "'"});
  CHECK(Split(SplitPattern::kGpt2, "'") == Words{"'"});
}

TEST_CASE("one character that is no letter, number or line end leads a word") {
  CHECK(Split(SplitPattern::kLlama3, "(ab)cd") == Words{"(ab", ")cd"});
  CHECK(Split(SplitPattern::kLlama3, "\tab") == Words{"\tab"});
  CHECK(Split(SplitPattern::kLlama3, "\u3000ab") == Words{"\u3000ab"});
  CHECK(Split(SplitPattern::kGpt2, "\tab") == Words{"\t", "ab"});
}

TEST_CASE("line ends go with the signs or the white space before them") {
  CHECK(Split(SplitPattern::kLlama3, "a;\n\nb") == Words{"a", ";\n\n", "b"});
  CHECK(Split(SplitPattern::kLlama3, "a \n \n  b") == Words{"a", " \n \n", " ", " b"});
  CHECK(Split(SplitPattern::kLlama3, "a\r\n") == Words{"a", "\r\n"});
  CHECK(Split(SplitPattern::kGpt2, "a;\n\nb") == Words{"a", ";", "\n", "\n", "b"});
}

TEST_CASE("marks are no letters and other scripts are") {
  CHECK(Split(SplitPattern::kLlama3, "e\u0301t") == Words{"e", "\u0301t"});
  CHECK(Split(SplitPattern::kLlama3, "\u4f60\u597d") == Words{"\u4f60\u597d"});
  CHECK(Split(SplitPattern::kLlama3, "\U0001F642\U0001F642") == Words{"\U0001F642\U0001F642"});
}

TEST_CASE("a pattern is known by its exact text") {
  CHECK(FindSplitPattern(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)") ==
        SplitPattern::kGpt2);
  CHECK(FindSplitPattern("\\s+") == std::nullopt);
  CHECK(FindSplitPattern("") == std::nullopt);
}

}  // namespace
}  // namespace baton::text
