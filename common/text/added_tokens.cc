#include "common/text/added_tokens.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

std::uint64_t EdgeKey(std::uint32_t node, char byte) {
  return (std::uint64_t{node} << 8) | static_cast<std::uint8_t>(byte);
}

bool IsWhite(char32_t code) {
  const CharClass kind = ClassOf(code);
  return kind == CharClass::kSpace || kind == CharClass::kNewline;
}

/// The first byte of the character that ends at `end`.
std::size_t CharacterBefore(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

/// Where the white space begins that ends at `at`; not before `from`.
std::size_t WhiteSpaceBefore(std::string_view text, std::size_t at, std::size_t from) {
  while (at > from) {
    const std::size_t begin = CharacterBefore(text, at);
    if (!IsWhite(NextUtf8(text.substr(begin)).code)) break;
    at = begin;
  }
  return at;
}

std::size_t WhiteSpaceAfter(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Utf8Step step = NextUtf8(text.substr(at));
    if (!IsWhite(step.code)) break;
    at += step.length;
  }
  return at;
}

/// Whether no word character touches [begin, end).
bool StandsAlone(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0 && IsWordCharacter(NextUtf8(text.substr(CharacterBefore(text, begin))).code)) return false;
  return end == text.size() || !IsWordCharacter(NextUtf8(text.substr(end)).code);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  token_at_node_.push_back(-1);
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    BATON_CHECK(!content.empty());
    first_bytes_.set(static_cast<std::uint8_t>(content[0]));
    std::uint32_t node = 0;
    for (const char byte : content) {
      const auto fresh = static_cast<std::uint32_t>(token_at_node_.size());
      const auto [edge, is_new] = edges_.try_emplace(EdgeKey(node, byte), fresh);
      if (is_new) token_at_node_.push_back(-1);
      node = edge->second;
    }
    token_at_node_[node] = static_cast<std::int32_t>(i);
  }
}

const AddedToken* AddedTokenFinder::LongestAt(std::string_view text, std::size_t at) const {
  const AddedToken* longest = nullptr;
  std::uint32_t node = 0;
  for (; at < text.size(); ++at) {
    const auto edge = edges_.find(EdgeKey(node, text[at]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const std::int32_t index = token_at_node_[node]; index >= 0) longest = &tokens_[index];
  }
  return longest;
}

void AddedTokenFinder::Cut(std::string_view text, const std::function<void(const Piece&)>& visit) const {
  std::size_t given = 0;  // what has been handed out
  std::size_t at = 0;
  while (at < text.size()) {
    const AddedToken* token =
        first_bytes_[static_cast<std::uint8_t>(text[at])] ? LongestAt(text, at) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && !StandsAlone(text, begin, end)) continue;
    if (token->lstrip) begin = WhiteSpaceBefore(text, begin, given);
    if (token->rstrip) end = WhiteSpaceAfter(text, end);
    if (begin > given) visit({.text = text.substr(given, begin - given)});
    visit({.text = text.substr(begin, end - begin), .token = token});
    given = end;
    at = end;
  }
  if (given < text.size()) visit({.text = text.substr(given)});
}

}  // namespace baton::text
