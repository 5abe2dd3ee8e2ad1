#include "tests/support/reference_tokenizer.h"

#include <cstdlib>
#include <optional>

#include <fmt/format.h>
#include <utf8proc.h>

#include "common/base/check.h"
#include "common/json/value.h"

namespace baton::test {
namespace {

struct Character {
  utf8proc_int32_t code = 0;
  std::string bytes;
};
using Characters = std::vector<Character>;

Characters CharactersOf(const std::string& text) {
  Characters characters;
  for (std::size_t at = 0; at < text.size();) {
    Character next;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                         static_cast<utf8proc_ssize_t>(text.size() - at), &next.code);
    BATON_CHECK(length > 0);
    next.bytes = text.substr(at, static_cast<std::size_t>(length));
    characters.push_back(next);
    at += static_cast<std::size_t>(length);
  }
  return characters;
}

char Major(utf8proc_int32_t code) {
  return utf8proc_category_string(code)[0];
}
bool IsLetter(const Character& c) {
  return Major(c.code) == 'L';
}
bool IsNumber(const Character& c) {
  return Major(c.code) == 'N';
}
bool IsLineEnd(const Character& c) {
  return c.code == '\n' || c.code == '\r';
}
bool IsSpace(const Character& c) {
  return Major(c.code) == 'Z' || (c.code >= 9 && c.code <= 13) || c.code == 0x85;
}
bool IsOther(const Character& c) {
  return !IsLetter(c) && !IsNumber(c) && !IsSpace(c);
}

/// How many characters from `at` on are of a kind.
template <typename Kind>
std::size_t Count(const Characters& text, std::size_t at, Kind kind) {
  std::size_t count = 0;
  while (at + count < text.size() && kind(text[at + count])) ++count;
  return count;
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d)
std::size_t Contraction(const Characters& text, std::size_t at) {
  for (const std::string_view letters : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    bool all = text[at].code == '\'' && at + letters.size() < text.size();
    for (std::size_t i = 0; all && i < letters.size(); ++i) {
      const auto code = text[at + 1 + i].code;
      all = utf8proc_tolower(code) == letters[i] || (code == 0x17F && letters[i] == 's');
    }
    if (all) return 1 + letters.size();
  }
  return 0;
}

/// The length of the word at `at`: the alternatives of the expression, one after the other.
std::size_t WordLength(const Characters& text, std::size_t at, std::size_t digits) {
  if (const std::size_t length = Contraction(text, at)) return length;
  // [^\r\n\p{L}\p{N}]?\p{L}+
  const bool lead = !IsLineEnd(text[at]) && !IsLetter(text[at]) && !IsNumber(text[at]);
  for (const std::size_t skipped : {lead ? 1U : 0U, 0U}) {
    if (const std::size_t letters = Count(text, at + skipped, IsLetter)) return skipped + letters;
  }
  // \p{N}{1,digits}
  if (const std::size_t numbers = Count(text, at, IsNumber)) return std::min(numbers, digits);
  //  ?[^\s\p{L}\p{N}]+[\r\n]*
  for (const std::size_t skipped : {text[at].code == ' ' ? 1U : 0U, 0U}) {
    const std::size_t others = Count(text, at + skipped, IsOther);
    if (others > 0) return skipped + others + Count(text, at + skipped + others, IsLineEnd);
  }
  // \s*[\r\n]+
  const std::size_t spaces = Count(text, at, IsSpace);
  for (std::size_t first = spaces + 1; first-- > 0;) {
    if (const std::size_t ends = Count(text, at + first, IsLineEnd)) return first + ends;
  }
  // \s+(?!\S)|\s+
  for (std::size_t length = spaces; length > 0; --length) {
    if (at + length == text.size() || IsSpace(text[at + length])) return length;
  }
  return spaces;
}

std::string Nfc(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &out,
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  BATON_CHECK(size >= 0);
  std::string normal(reinterpret_cast<char*>(out), static_cast<std::size_t>(size));
  std::free(out);  // NOLINT: utf8proc allocates
  return normal;
}

bool Flag(const json::Value& object, std::string_view key) {
  const json::Value* value = object.Find(key);
  return value != nullptr && value->AsBool() != nullptr && *value->AsBool();
}

/// The character that stands for a byte: itself where it prints, else the next from U+0100 on.
std::string SpelledByte(unsigned char byte) {
  const auto prints = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
  };
  utf8proc_int32_t code = byte;
  if (!prints(byte)) {
    code = 0x100;
    for (int b = 0; b < byte; ++b) code += prints(b) ? 0 : 1;
  }
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(code, bytes);
  return {reinterpret_cast<char*>(bytes), static_cast<std::size_t>(length)};
}

}  // namespace

ReferenceTokenizer::ReferenceTokenizer(std::string_view tokenizer_json) {
  const auto parsed = json::Parse(tokenizer_json, {.bytes = 64U << 20, .nodes = 5'000'000});
  BATON_CHECK(parsed.ok());
  const json::Value& file = *parsed;
  const json::Value& model = *file.Find("model");
  for (const auto& [text, id] : *model.Find("vocab")->AsObject())
    vocabulary_[text] = static_cast<TokenId>(*id.AsInt());
  for (const json::Value& merge : *model.Find("merges")->AsArray()) {
    std::pair<std::string, std::string> sides;
    if (const std::string* both = merge.AsString()) {
      sides = {both->substr(0, both->find(' ')), both->substr(both->find(' ') + 1)};
    } else {
      sides = {*(*merge.AsArray())[0].AsString(), *(*merge.AsArray())[1].AsString()};
    }
    ranks_.emplace(sides, ranks_.size());
  }
  for (const json::Value& token : *file.Find("added_tokens")->AsArray())
    added_[*token.Find("content")->AsString()] = static_cast<TokenId>(*token.Find("id")->AsInt());
  ignore_merges_ = Flag(model, "ignore_merges");
  byte_level_ = !file.Find("pre_tokenizer")->IsNull();
  const json::Value* normalizer = file.Find("normalizer");
  nfc_ = byte_level_ && !normalizer->IsNull();
  if (json::Serialize(file).find("{1,3}") != std::string::npos) digits_ = 3;
}

std::vector<std::string> ReferenceTokenizer::AddedTexts() const {
  std::vector<std::string> texts;
  for (const auto& [text, id] : added_) texts.push_back(text);
  return texts;
}

std::vector<TokenId> ReferenceTokenizer::Encode(std::string_view text) const {
  std::vector<TokenId> ids;
  std::string piece;  // since the last added token
  while (!text.empty()) {
    const std::pair<const std::string, TokenId>* longest = nullptr;
    for (const auto& token : added_) {
      if (text.starts_with(token.first) && (longest == nullptr || token.first.size() > longest->first.size()))
        longest = &token;
    }
    if (longest == nullptr) {
      piece += text[0];
      text.remove_prefix(1);
      continue;
    }
    EncodePiece(std::exchange(piece, {}), ids);
    ids.push_back(longest->second);
    text.remove_prefix(longest->first.size());
  }
  EncodePiece(piece, ids);
  return ids;
}

void ReferenceTokenizer::EncodePiece(const std::string& piece, std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  const auto add = [&](const std::vector<TokenId>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
  if (!byte_level_) {
    std::string marked = "▁";
    for (const char c : piece) marked += c == ' ' ? std::string("▁") : std::string(1, c);
    const auto whole = vocabulary_.find(marked);
    add(ignore_merges_ && whole != vocabulary_.end() ? std::vector{whole->second}
                                                     : Merged(CharacterSymbols(marked)));
    return;
  }
  const Characters characters = CharactersOf(nfc_ ? Nfc(piece) : piece);
  for (std::size_t at = 0; at < characters.size();) {
    const std::size_t length = WordLength(characters, at, digits_);
    std::string word;
    for (std::size_t i = 0; i < length; ++i) word += characters[at + i].bytes;
    at += length;
    std::string spelled;
    for (const std::string& symbol : ByteSymbols(word)) spelled += symbol;
    const auto whole = vocabulary_.find(spelled);
    add(ignore_merges_ && whole != vocabulary_.end() ? std::vector{whole->second}
                                                     : Merged(ByteSymbols(word)));
  }
}

std::vector<std::string> ReferenceTokenizer::ByteSymbols(const std::string& word) const {
  std::vector<std::string> symbols;
  for (const char byte : word) symbols.push_back(SpelledByte(static_cast<unsigned char>(byte)));
  return symbols;
}

/// Each character that is a token, or its bytes, or one <unk> for a run of what has neither. The <unk> is
/// written when the next token that is no byte's comes: that is what the tokenizers library does.
std::vector<std::string> ReferenceTokenizer::CharacterSymbols(const std::string& word) const {
  std::vector<std::string> symbols;
  bool unknown_waits = false;
  const auto write_unknown = [&] {
    if (std::exchange(unknown_waits, false)) symbols.emplace_back("<unk>");
  };
  for (const Character& character : CharactersOf(word)) {
    if (vocabulary_.contains(character.bytes)) {
      write_unknown();
      symbols.push_back(character.bytes);
      continue;
    }
    std::vector<std::string> bytes;
    for (const char byte : character.bytes)
      bytes.push_back(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
    bool all = true;
    for (const std::string& byte : bytes) all = all && vocabulary_.contains(byte);
    if (all) {
      symbols.insert(symbols.end(), bytes.begin(), bytes.end());
    } else {
      unknown_waits = true;
    }
  }
  write_unknown();
  return symbols;
}

/// Again and again, the pair of the lowest rank, the leftmost of equals, becomes one.
std::vector<TokenId> ReferenceTokenizer::Merged(std::vector<std::string> symbols) const {
  for (;;) {
    std::optional<std::size_t> best_rank;
    std::size_t best_at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto rank = ranks_.find({symbols[i], symbols[i + 1]});
      if (rank == ranks_.end() || (best_rank && rank->second >= *best_rank)) continue;
      best_rank = rank->second;
      best_at = i;
    }
    if (!best_rank) break;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
  std::vector<TokenId> ids;
  for (const std::string& symbol : symbols) ids.push_back(vocabulary_.at(symbol));
  return ids;
}

}  // namespace baton::test
