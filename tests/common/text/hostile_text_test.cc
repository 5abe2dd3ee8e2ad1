#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/byte_level.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

// What is linear here is linear in a megabyte; the times of that are in the README of common/text.
constexpr std::size_t kSize = 200'000;

std::string Repeated(std::string_view part, std::size_t size) {
  std::string text;
  while (text.size() < size) text += part;
  return text;
}

/// What an attacker would send: long runs, and what makes splitting or merging look far ahead.
const std::vector<std::string_view>& HostileParts() {
  static const std::vector<std::string_view> kParts = {"t",
                                                       "T",
                                                       " ",
                                                       "\n",
                                                       "'",
                                                       "1",
                                                       "<",
                                                       "a ",
                                                       " \n",
                                                       "Tt",
                                                       "</s",
                                                       "\n\t ",
                                                       "tth",
                                                       "\u0301\u0323",
                                                       "\u00ff",
                                                       "\u4f60",
                                                       "\U000E0001",
                                                       "aT\u01c5\u02b0",
                                                       "\U0001F469\u200d\U0001F469\u200d\U0001F467"};
  return kParts;
}

/// The steps of `text`, which must be encoded.
std::uint64_t StepsOf(const Tokenizer& tokenizer, const std::string& text) {
  std::uint64_t steps = 0;
  const auto ids = tokenizer.Encode(text, {.steps = &steps});
  INFO(Message(ids.status()));
  REQUIRE(ids.ok());
  return steps;
}

/// The work must grow as the text does: a quadratic algorithm would take ten times the steps a byte for ten
/// times the text, tens of thousands here.
void CheckLinear(const Tokenizer& tokenizer, std::string_view name) {
  for (const std::string_view part : HostileParts()) {
    const std::string text = Repeated(part, kSize);
    // With an end that a run of spaces or letters would have to be taken back for.
    for (const std::string& hostile : {text, text + "\u00bf"}) {
      INFO(name << ": " << part);
      CHECK(StepsOf(tokenizer, hostile) < 60 * hostile.size());
    }
  }
}

ToyFile WithSplits(const std::vector<std::string_view>& regexes) {
  std::string parts;
  for (const std::string_view regex : regexes) {
    parts += fmt::format(R"({{"type":"Split","behavior":"Isolated","pattern":{{"Regex":"{}"}}}},)", regex);
  }
  return {.normalizer = R"({"type":"NFC"})",
          .pre_tokenizer = R"({"type":"Sequence","pretokenizers":[)" + parts +
                           R"({"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]})",
          .merges = R"(["t h","th e","Ġ t","Ġt h","Ġth e","t t","tt tt","a a","Ġ Ġ","ĠĠ ĠĠ"])",
          .extra_vocabulary = R"(,"tt":264,"tttt":265,"aa":266,"ĠĠ":267,"ĠĠĠĠ":268)"};
}

TEST_CASE("a hostile text takes a linear number of steps with the known split patterns") {
  const std::string_view tail = R"(\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)";
  const auto llama3 = [&](std::string_view digits) {
    return fmt::format(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|\\p{{N}}{}|)"
                       R"( ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|{})",
                       digits, tail);
  };
  const std::string mixed =
      R"([^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+)";
  const std::string upper =
      R"([^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*)";
  const std::string signs = R"( ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|)" + std::string(tail);

  CheckLinear(*ToyFile{.normalizer = R"({"type":"NFKC"})"}.Load(), "GPT-2");
  CheckLinear(*WithSplits({llama3("{1,3}")}).Load(), "Llama 3");
  CheckLinear(*WithSplits({llama3("")}).Load(), "Qwen 2");
  CheckLinear(
      *WithSplits({mixed + "(?i:'s|'t)?|" + upper + "(?i:'s|'t)?|" + R"(\\p{N}{1,3}|)" + signs}).Load(),
      "GPT-4o");
  CheckLinear(*WithSplits({mixed + "|" + upper + R"(|\\p{N}|)" + signs}).Load(), "Mistral Nemo");
  CheckLinear(*WithSplits({R"(\\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                           R"([!-/:-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|)"
                           R"( ?[\\p{P}\\p{S}]+[\\r\\n]*|)" +
                               std::string(tail)})
                   .Load(),
              "DeepSeek 3");
  CheckLinear(
      *WithSplits({"[\\r\\n]", R"(\\s?[A-Za-z]+)", R"(\\s?[!-/:-~]+)", R"(\\s+$)", R"(\\p{N})"}).Load(),
      "DeepSeek 2");
}

TEST_CASE("a hostile text takes a linear number of steps in the manner of SentencePiece") {
  const auto load = [](std::string_view normalizer, std::string_view pre_tokenizer) {
    auto tokenizer = Tokenizer::FromJson(fmt::format(
        R"({{"normalizer":{},"pre_tokenizer":{},"decoder":{{"type":"Fuse"}},"model":{{"byte_fallback":true,)"
        R"("fuse_unk":true,"unk_token":"<unk>","vocab":{{"<unk>":0,"▁":1,"t":2,"h":3,"a":4,"▁▁":5,"▁▁▁▁":6,)"
        R"("tt":7,"tttt":8,"▁a":9}},"merges":[["▁","▁"],["▁▁","▁▁"],["t","t"],["tt","tt"],["▁","a"]]}}}})",
        normalizer, pre_tokenizer));
    INFO(Message(tokenizer.status()));
    REQUIRE(tokenizer.ok());
    return *std::move(tokenizer);
  };

  CheckLinear(*load(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
                    R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
                    "null"),
              "Llama 2");
  CheckLinear(
      *load("null", R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false})"),
      "Metaspace");
}

}  // namespace
}  // namespace baton::text
