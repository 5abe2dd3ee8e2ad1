#include "common/text/pre_tokenizer.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::text {
namespace {

using Words = std::vector<std::string>;

Words Cut(std::string_view component, std::string_view text, bool first = true) {
  const auto file = json::Parse(component);
  REQUIRE(file.ok());
  auto pre_tokenizer = PreTokenizer::Parse(&*file);
  INFO(Message(pre_tokenizer.status()));
  REQUIRE(pre_tokenizer.ok());
  pre_tokenizer->SpellBytes();
  Words words;
  Effort effort(100);
  PreTokenizer::Sink sink{.word = [&](std::string_view word) { words.emplace_back(word); }, .effort = effort};
  REQUIRE(pre_tokenizer->Cut(text, first, sink).ok());
  return words;
}

// The words are those of the tokenizers library.
constexpr std::string_view kText = "I'm é-a 1234!!  ok";

TEST_CASE("white space, punctuation and numbers are told apart") {
  CHECK(Cut(R"({"type":"Whitespace"})", kText) == Words{"I", "'", "m", "é", "-", "a", "1234", "!!", "ok"});
  CHECK(Cut(R"({"type":"WhitespaceSplit"})", kText) == Words{"I'm", "é-a", "1234!!", "ok"});
  CHECK(Cut(R"({"type":"Punctuation"})", kText) == Words{"I", "'", "m é", "-", "a 1234", "!", "!", "  ok"});
  CHECK(Cut(R"({"type":"Punctuation","behavior":"Removed"})", kText) == Words{"I", "m é", "a 1234", "  ok"});
  CHECK(Cut(R"({"type":"Digits","individual_digits":true})", kText) ==
        Words{"I'm é-a ", "1", "2", "3", "4", "!!  ok"});
  CHECK(Cut(R"({"type":"Digits"})", kText) == Words{"I'm é-a ", "1234", "!!  ok"});
  CHECK(Cut(R"({"type":"BertPreTokenizer"})", kText) ==
        Words{"I", "'", "m", "é", "-", "a", "1234", "!", "!", "ok"});
  CHECK(Cut(R"({"type":"CharDelimiterSplit","delimiter":"a"})", kText) == Words{"I'm é-", " 1234!!  ok"});
}

TEST_CASE("Metaspace marks spaces, and a word begins at each mark") {
  CHECK(Cut(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"})", kText) ==
        Words{"▁I'm", "▁é-a", "▁1234!!", "▁", "▁ok"});
  CHECK(Cut(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false})", kText) ==
        Words{"I'm▁é-a▁1234!!▁▁ok"});
  const std::string_view first = R"({"type":"Metaspace","replacement":"_","prepend_scheme":"first"})";
  CHECK(Cut(first, "a b") == Words{"_a", "_b"});
  CHECK(Cut(first, "a b", /*first=*/false) == Words{"a", "_b"});
  CHECK(Cut(R"({"type":"Metaspace","replacement":"▁","add_prefix_space":false})", "a") == Words{"a"});
  CHECK(Cut(R"({"type":"Metaspace","replacement":"▁"})", "▁a") == Words{"▁a"});
}

TEST_CASE("ByteLevel puts a space before a text and splits it as GPT-2 does, where asked to") {
  CHECK(Cut(R"({"type":"ByteLevel"})", kText) ==
        Words{"ĠI", "'m", "ĠÃ©", "-", "a", "Ġ1234", "!!", "Ġ", "Ġok"});
  CHECK(Cut(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", kText) ==
        Words{"I'mĠÃ©-aĠ1234!!ĠĠok"});
}

TEST_CASE("parts of a sequence cut what the one before left, also after ByteLevel") {
  CHECK(
      Cut(R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},)"
          R"({"type":"ByteLevel","add_prefix_space":false},{"type":"Digits"},)"
          R"({"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]})",
          kText) == Words{"I", "'", "m", "ĠÃ©", "-", "a", "Ġ", "123", "4", "!!", "Ġ", "Ġok"});
  CHECK(Cut(R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"ByteLevel"}]})",
            "a b") == Words{"Ġa", "Ġb"});
}

TEST_CASE("a Split keeps, drops or inverts, also with a pattern written out by hand") {
  const auto split = [](std::string_view more) {
    return R"({"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?)"
           R"([^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},)" +
           std::string(more) + "}";
  };
  CHECK(Cut(split(R"("behavior":"Removed","invert":true)"), "a b1") == Words{"a", " b", "1"});
  CHECK(Cut(split(R"("behavior":"Isolated")"), "a b1") == Words{"a", " b", "1"});
  CHECK(Cut(split(R"("behavior":"Removed")"), "a b1").empty());
  CHECK(Cut(split(R"("behavior":"Contiguous")"), "a b1") == Words{"a b1"});
}

TEST_CASE("no pre-tokenizer is one word, and no text is none") {
  const auto none = PreTokenizer::Parse(nullptr);
  Words words;
  Effort effort(100);
  PreTokenizer::Sink sink{.word = [&](std::string_view word) { words.emplace_back(word); }, .effort = effort};

  REQUIRE(none->Cut("a b", true, sink).ok());
  REQUIRE(none->Cut("", true, sink).ok());

  CHECK(words == Words{"a b"});
}

}  // namespace
}  // namespace baton::text
