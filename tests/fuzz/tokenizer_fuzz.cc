#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/json/value.h"
#include "common/text/byte_level.h"
#include "common/text/tokenizer.h"

namespace {

using baton::text::StreamDecoder;
using baton::text::Tokenizer;

/// `"token":id` for every byte, so that what the input adds makes a vocabulary that loads.
std::string ByteVocabulary() {
  std::string text;
  int id = 0;
  for (const char32_t character : baton::text::ByteCharacters()) {
    std::string spelled;
    baton::AppendUtf8(spelled, character);
    baton::json::AppendQuoted(text, spelled);
    text += ":" + std::to_string(id++) + ",";
  }
  text.pop_back();
  return text;
}

/// The input's "@@" stands for the vocabulary of the bytes.
std::string WithBytes(std::string_view file) {
  static const std::string kVocabulary = ByteVocabulary();
  const std::size_t mark = file.find("@@");
  if (mark == std::string_view::npos) return std::string(file);
  return std::string(file.substr(0, mark)) + kVocabulary + std::string(file.substr(mark + 2));
}

/// Whatever the tokens, a stream gives what decoding at once gives.
void CheckDecoding(const Tokenizer& tokenizer, const std::vector<baton::TokenId>& ids) {
  for (const bool skip_special : {false, true}) {
    StreamDecoder decoder(tokenizer, skip_special);
    std::string streamed;
    for (const baton::TokenId id : ids) streamed += decoder.Push(id);
    streamed += decoder.Flush();
    // Byte tokens may turn out to be no UTF-8 when a part of their text has been sent.
    const bool bytes = std::ranges::any_of(ids, [&](auto id) { return tokenizer.IsByteToken(id); });
    BATON_CHECK(bytes || streamed == tokenizer.Decode(ids, skip_special));
  }
}

}  // namespace

/// The input is a tokenizer.json, then, after a zero byte, a text to encode, then, after two, a
/// tokenizer_config.json.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::optional<std::string_view> config;
  if (const std::size_t two = input.find(std::string_view("\0\0", 2)); two != std::string_view::npos) {
    config = input.substr(two + 2);
    input = input.substr(0, two);
  }
  const std::size_t zero = input.find('\0');
  const auto tokenizer = Tokenizer::FromJson(WithBytes(input.substr(0, zero)), config);
  if (!tokenizer.ok()) return 0;
  const std::string_view text = zero == std::string_view::npos ? "the end" : input.substr(zero + 1);
  const auto ids = (*tokenizer)->Encode(text);
  if (ids.status().code() == baton::kResourceExhausted) return 0;  // a split pattern of too many steps
  BATON_CHECK(ids.ok() == (baton::ValidUtf8Prefix(text) == text.size()));
  if (!ids.ok()) return 0;
  for (const baton::TokenId id : *ids) BATON_CHECK(id >= 0 && id < (*tokenizer)->VocabularySize());
  CheckDecoding(**tokenizer, *ids);
  return 0;
}
