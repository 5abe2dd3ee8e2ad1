#include "tests/common/text/toy_tokenizer.h"

#include <algorithm>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/json/value.h"
#include "common/text/byte_level.h"

namespace baton::text {
namespace {

std::string VocabularyText() {
  std::array<char32_t, 256> characters = ByteCharacters();
  std::ranges::sort(characters);
  std::string text;
  int id = 0;
  for (const char32_t character : characters) {
    std::string spelled;
    AppendUtf8(spelled, character);
    json::AppendQuoted(text, spelled);
    text += fmt::format(":{},", id++);
  }
  return text + R"("th":256,"the":257,"Ġt":258,"Ġth":259,"Ġthe":260)";
}

}  // namespace

std::string ToyFile::Text() const {
  return fmt::format(
      R"({{"normalizer":{},"pre_tokenizer":{},"post_processor":{},"decoder":{},"added_tokens":{},)"
      R"("model":{{"type":"BPE","vocab":{{{}{}}},"merges":{}{}}}}})",
      normalizer, pre_tokenizer, post_processor, decoder, added_tokens, VocabularyText(), extra_vocabulary,
      merges, model_fields);
}

std::unique_ptr<Tokenizer> ToyFile::Load() const {
  auto tokenizer = Tokenizer::FromJson(Text());
  INFO(Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

std::string ToyFile::ErrorText() const {
  const auto tokenizer = Tokenizer::FromJson(Text());
  REQUIRE_FALSE(tokenizer.ok());
  CHECK(tokenizer.status().code() == kInvalidArgument);
  return Message(tokenizer.status());
}

}  // namespace baton::text
