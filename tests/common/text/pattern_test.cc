#include "common/text/pattern.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

using Behavior = SplitBehavior;
using Words = std::vector<std::string>;

Words WordsBy(const auto& finder, Behavior behavior, bool invert, std::string_view text) {
  std::vector<TextPart> parts;
  Effort effort(text.size());
  const absl::Status found = finder.Find(text, parts, effort);
  INFO(Message(found));
  REQUIRE(found.ok());
  Words words;
  for (const TextPart& word : WordsOf(std::move(parts), behavior, invert))
    words.emplace_back(text.substr(word.begin, word.end - word.begin));
  return words;
}

Words SplitBy(const std::string& regex, std::string_view text, Behavior behavior = Behavior::kIsolated,
              bool invert = false) {
  const auto pattern = Pattern::OfRegex(regex);
  INFO(Message(pattern.status()));
  REQUIRE(pattern.ok());
  return WordsBy(*pattern, behavior, invert, text);
}

TEST_CASE("each behavior does with a match what its name says") {
  const std::string_view text = "the-final--countdown-";
  const auto by = [&](Behavior behavior) { return SplitBy("-", text, behavior); };

  CHECK(by(Behavior::kIsolated) == Words{"the", "-", "final", "-", "-", "countdown", "-"});
  CHECK(by(Behavior::kRemoved) == Words{"the", "final", "countdown"});
  CHECK(by(Behavior::kMergedWithPrevious) == Words{"the-", "final-", "-", "countdown-"});
  CHECK(by(Behavior::kMergedWithNext) == Words{"the", "-final", "-", "-countdown", "-"});
  CHECK(by(Behavior::kContiguous) == Words{"the", "-", "final", "--", "countdown", "-"});
  CHECK(SplitBy("\\w+", "a b", Behavior::kRemoved, /*invert=*/true) == Words{"a", "b"});
}

TEST_CASE("classes are those of Unicode, and look-around sees the whole text") {
  CHECK(SplitBy("\\p{L}+|\\p{N}", "né12") == Words{"né", "1", "2"});
  CHECK(SplitBy("(?<=b)c", "bcac") == Words{"b", "c", "ac"});
  CHECK(SplitBy("\\w+", "ae\u0301 \u0915\u093c\u24da\u00b2-") ==
        Words{"ae\u0301", " ", "\u0915\u093c\u24da\u00b2", "-"});
  CHECK(SplitBy("\\s", "a\u180eb\u0085c") == Words{"a\u180eb", "\u0085", "c"});
  CHECK(SplitBy("(?i:s)", "a\u017fsS") == Words{"a", "\u017f", "s", "S"});
}

TEST_CASE("a match of nothing cuts the text, but not right after a match") {
  CHECK(SplitBy("x*", "axb") == Words{"a", "x", "b"});
  CHECK(SplitBy("x*", "axb", Behavior::kMergedWithPrevious) == Words{"ax", "b"});
  CHECK(SplitBy("(?=b)", "abbc") == Words{"a", "b", "bc"});
  CHECK(WordsBy(Pattern::OfText(""), Behavior::kIsolated, false, "abc") == Words{"a", "b", "c"});
}

TEST_CASE("the end of a line is an end, as in Oniguruma") {
  CHECK(SplitBy("\\s+$", "a  \nb  ") == Words{"a", "  ", "\nb", "  "});
  CHECK(SplitBy("(?> +)$", "a  \nb  ") == Words{"a", "  ", "\nb", "  "});  // PCRE2's
  CHECK(SplitBy("^b", "b\nb") == Words{"b", "\n", "b"});
}

// What each of these is given in Oniguruma's syntax was looked up with the reference implementation.
TEST_CASE("the syntax of regular expressions is Oniguruma's") {
  const std::string_view text = "aAbc a\nb 12中aa";
  CHECK(SplitBy("[^\\S\\r\\n]", text) == Words{"aAbc", " ", "a\nb", " ", "12中aa"});
  CHECK(SplitBy("\\p{L}{2}", text) == Words{"aA", "bc", " a\nb 12", "中a", "a"});
  CHECK(SplitBy("\\p{Lu}++b", text) == Words{"a", "Ab", "c a\nb 12中aa"});
  CHECK(SplitBy("[\\x{4e00}-\\x{9fff}]|\\u0041|\\d+", text) == Words{"a", "A", "bc a\nb ", "12", "中", "aa"});
  CHECK(SplitBy("a.|\\Ab|12\\B", text) == Words{"aA", "bc a\nb ", "12", "中", "aa"});
  CHECK(SplitBy("\\p{N}{1,3}+", "1234567a") == Words{"1234567", "a"});  // repeats a repetition
  CHECK(SplitBy("a??A", text) == Words{"aA", "bc a\nb 12中aa"});
  CHECK(SplitBy("[^(\\s|[.,A])]+", "a(b.c Ad|e") ==
        Words{"a", "(", "b", ".", "c", " A", "d", "|", "e"});  // BLOOM's
  CHECK(SplitBy("[a[^b-z\\s]]+", "ab1 c") == Words{"a", "b", "1", " c"});
  CHECK(SplitBy("\\p{Han}+", text) == Words{"aAbc a\nb 12", "中", "aa"});  // PCRE2's
}

TEST_CASE("PCRE2 and the linear matcher split as the patterns written out by hand do") {
  // The same expression with one group more, so that it is not recognised.
  const std::string regex =
      R"((?:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
      R"(\s*[\r\n]+|\s+(?!\S)|\s+))";
  const auto linear = LinearRegex::Compile(regex);
  const auto backtracking = BacktrackingRegex::Compile(regex);
  REQUIRE(linear != nullptr);
  REQUIRE(backtracking.ok());
  for (const std::string_view text : {"Hello  world, it's 12345 o'clock!\r\n\r\n  x",
                                      "a\u00a0b\u3000\u4f60\u597d\U0001F642 \t\n", "   ", "'S'LL"}) {
    Words by_hand;
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t length = FirstWord(SplitPattern::kLlama3, rest);
      by_hand.emplace_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    CHECK(WordsBy(*linear, Behavior::kIsolated, false, text) == by_hand);
    CHECK(WordsBy(**backtracking, Behavior::kIsolated, false, text) == by_hand);
  }
}

TEST_CASE("the linear matcher takes what is linear and leaves the rest to PCRE2") {
  for (const std::string_view regex : {"a(b|c)*d", "(?i:abc)", "[a-z]{2,}?x|y", "(?!\\S)a", "(?<!x)y+"}) {
    INFO(regex);
    CHECK((LinearRegex::Compile(regex) != nullptr) == (regex != "[a-z]{2,}?x|y"));
  }
  for (const std::string_view regex : {"(a)\\1", "(?>a+)b", "(?=ab)", "(a*)*", "\\X", "(?m:.)", "[[:alpha:]]",
                                       "(a", "a)", "*a", "[]", "a{2,1}"}) {
    INFO(regex);
    CHECK(LinearRegex::Compile(regex) == nullptr);
  }
}

TEST_CASE("the linear matcher takes a number of steps that grows as the text does") {
  const std::string letters(1 << 20, 'a');
  const std::string spaces(1 << 20, ' ');
  for (const std::string_view regex :
       {"a*b|a", "(a|aa)+$|x", "\\s+$", "a+b|a+c|a", "(?:a+)+b", "a++b|\\s++b", "a*?b"}) {
    const auto linear = LinearRegex::Compile(regex);
    INFO(regex);
    REQUIRE(linear != nullptr);
    for (const std::string& text : {letters + "c", spaces + "c", letters + "b"}) {
      std::vector<TextPart> parts;
      Effort effort(text.size());
      REQUIRE(linear->Find(text, parts, effort).ok());
      CHECK(effort.steps < 30 * text.size());
    }
  }
}

TEST_CASE("what PCRE2 would read otherwise than Oniguruma is refused") {
  for (const std::string_view regex : {"[a-c[x]-z]", "[a&&b](?>x)", "\\h", "(?m:a.(?>b))", "(?>a){2}+"}) {
    INFO(regex);
    CHECK_FALSE(Pattern::OfRegex(std::string(regex)).ok());
  }
  CHECK(Pattern::OfRegex("[[:alpha:]_]+\\[").ok());
}

TEST_CASE("a pattern that explodes ends with an error, not with a long wait") {
  const auto split = BacktrackingRegex::Compile("(a|aa)+$");
  REQUIRE(split.ok());
  std::vector<TextPart> parts;
  Effort effort(5001);

  const absl::Status status = (*split)->Find(std::string(5000, 'a') + "c", parts, effort);

  CHECK(status.code() == kResourceExhausted);
  CHECK(Message(status).find("splitting text into words, at byte 0") != std::string::npos);
}

TEST_CASE("a pattern that is quadratic in the text ends with an error too") {
  const auto split = BacktrackingRegex::Compile("a*b|a");
  REQUIRE(split.ok());
  std::vector<TextPart> parts;
  Effort effort(1 << 20);
  effort.patience = {};

  const absl::Status status = (*split)->Find(std::string(1 << 20, 'a'), parts, effort);

  CHECK(status.code() == kResourceExhausted);
  CHECK(Message(status).find("takes too long") != std::string::npos);
}

TEST_CASE("patience is shared by all the pieces of a text") {
  const auto split = BacktrackingRegex::Compile("a*b|a");
  REQUIRE(split.ok());
  Effort effort(100);
  effort.patience = {};

  // Each by itself takes too few searches for a look at the clock.
  absl::Status status;
  for (int piece = 0; piece < 100 && status.ok(); ++piece) {
    std::vector<TextPart> parts;
    status = (*split)->Find("a", parts, effort);
  }

  CHECK(status.code() == kResourceExhausted);
}

TEST_CASE("a tokenizer passes such an error on, and splits digits and texts") {
  const auto tokenizer = [](std::string_view part) {
    return ToyFile{.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[)" + std::string(part) +
                                    R"(,{"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]})",
                   .merges = R"(["1 2","a b"])",
                   .extra_vocabulary = R"(,"12":264,"ab":265)"}
        .Load();
  };
  const auto explodes =
      tokenizer(R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":"(?=(a|aa)+$)a"}})");
  CHECK(explodes->Encode(std::string(5000, 'a') + "c").status().code() == kResourceExhausted);
  CHECK(tokenizer(R"({"type":"Digits","individual_digits":true})")->Encode("12").value().size() == 2);
  CHECK(tokenizer(R"({"type":"Digits","individual_digits":false})")->Encode("12").value().size() == 1);
  const auto by_text = tokenizer(R"({"type":"Split","behavior":"Removed","pattern":{"String":"."}})");
  CHECK(by_text->Encode("ab.12").value() == std::vector<TokenId>{265, 264});
}

}  // namespace
}  // namespace baton::text
