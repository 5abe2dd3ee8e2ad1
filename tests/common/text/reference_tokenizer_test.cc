#include "tests/support/reference_tokenizer.h"

#include <random>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/tokenizer.h"
#include "tests/common/text/toy_tokenizer.h"
#include "tests/support/shared_data.h"

namespace baton::text {
namespace {

/// Random texts out of what makes tokenizing hard; `marks` are texts of added tokens.
class TextMaker {
 public:
  TextMaker(std::uint32_t seed, std::vector<std::string> marks) : random_(seed), marks_(std::move(marks)) {}

  std::string Make() {
    std::string text;
    for (std::size_t i = random_() % 25; i > 0; --i) text += Part();
    return text;
  }

 private:
  std::string Part() {
    static const std::vector<std::string> kParts = {" ",
                                                    "  ",
                                                    "\n",
                                                    "\r\n",
                                                    "\t",
                                                    "\u00a0",
                                                    "\u3000",
                                                    "the",
                                                    " the",
                                                    "The",
                                                    "'s",
                                                    "'LL",
                                                    "'re",
                                                    "'",
                                                    "ing",
                                                    " of",
                                                    "1",
                                                    "12345",
                                                    "\u0663",
                                                    "\u00bd",
                                                    "\u4f60",
                                                    "\u597d",
                                                    "e\u0301",
                                                    "\u00e9",
                                                    "\u0323\u0301",
                                                    "\u1100\u1161",
                                                    ".",
                                                    "...",
                                                    "!?",
                                                    "<|",
                                                    "|>",
                                                    "\U0001F642",
                                                    "\U0001F469\u200d\U0001F467",
                                                    "\u2581",
                                                    "_",
                                                    "-",
                                                    "tt",
                                                    "a",
                                                    "\u017f",
                                                    std::string(1, '\0')};
    switch (random_() % 12) {
      case 0: {  // any character
        std::string text;
        const auto code = static_cast<char32_t>(random_() % 0x110000);
        AppendUtf8(text, code >= 0xD800 && code < 0xE000 ? U'x' : code);
        return text;
      }
      case 1:
        return marks_.empty() ? "" : marks_[random_() % marks_.size()];
      case 2: {  // the beginning of a mark
        const std::string mark = marks_.empty() ? "" : marks_[random_() % marks_.size()];
        return mark.substr(0, ValidUtf8Prefix(mark.substr(0, random_() % (mark.size() + 1))));
      }
      case 3: {
        std::string text;
        for (std::size_t i = random_() % 30; i > 0; --i) text += kParts[random_() % 3 == 0 ? 0 : 1];
        return text;
      }
      case 4:
        return std::string(1, static_cast<char>('a' + random_() % 26));
      default:
        return kParts[random_() % kParts.size()];
    }
  }

  std::mt19937 random_;
  std::vector<std::string> marks_;
};

void Compare(const std::string& file, std::uint32_t seed, std::string_view name) {
  const auto tokenizer = Tokenizer::FromJson(file);
  INFO(name << ": " << Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());
  const test::ReferenceTokenizer reference(file);
  TextMaker texts(seed, reference.AddedTexts());
  for (int round = 0; round < 400; ++round) {
    const std::string text = texts.Make();
    INFO(name << ", seed " << seed << ", round " << round << ": " << text);
    CHECK((*tokenizer)->Encode(text, {.add_special_tokens = false}).value() == reference.Encode(text));
  }
}

TEST_CASE("random texts encode as the plain reference says, with the reference data's tokenizers") {
  for (const std::string_view name :
       {"tokenizers/bl3", "tokenizers/q2", "tokenizers/spm2", "models/llama3-tiny", "models/mistral-tiny"}) {
    const auto path = test::SharedData(fmt::format("golden/{}/tokenizer.json", name));
    if (!path) {
      WARN("SKIPPED: no ../shared/data/golden/" << name);
      continue;
    }
    Compare(test::ReadFile(*path), 21, name);
  }
}

TEST_CASE("random texts encode as the plain reference says, with small tokenizers of ours") {
  const auto byte_level = [](std::string_view normalizer, std::string_view digits) {
    return ToyFile{
        .normalizer = std::string(normalizer),
        .pre_tokenizer = fmt::format(
            R"({{"type":"Sequence","pretokenizers":[{{"type":"Split","behavior":"Isolated",)"
            R"("pattern":{{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+)"
            R"(|\\p{{N}}{}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}}},)"
            R"({{"type":"ByteLevel","use_regex":false,"add_prefix_space":false}}]}})",
            digits),
        .merges = R"(["t h","Ġ Ġ","th e","ĠĠ ĠĠ","Ġ t","Ġt h","Ġth e","t t","1 2","Ġ ĠĠ"])",
        .extra_vocabulary = R"(,"ĠĠ":264,"ĠĠĠĠ":265,"tt":266,"12":267,"ĠĠĠ":268)"}
        .Text();
  };
  Compare(byte_level("null", "{1,3}"), 22, "byte-level, groups of digits");
  Compare(byte_level(R"({"type":"NFC"})", ""), 23, "byte-level, NFC");
  Compare(
      R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
      R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,)"
      R"("decoder":{"type":"Fuse"},"added_tokens":[{"id":1,"content":"<s>","special":true},)"
      R"({"id":2,"content":"<s>>","normalized":false}],)"
      R"("model":{"byte_fallback":true,"fuse_unk":true,"unk_token":"<unk>","vocab":{"<unk>":0,"<s>":1,)"
      R"("▁":3,"t":4,"h":5,"e":6,"a":7,"▁▁":8,"▁▁▁▁":9,"th":10,"the":11,"▁the":12,"<0xC3>":13,"<0xA9>":14,)"
      R"("<0x0A>":15},"merges":["t h","▁ ▁","▁▁ ▁▁",["th","e"],"▁ the"]}})",
      24, "SentencePiece");
}

}  // namespace
}  // namespace baton::text
