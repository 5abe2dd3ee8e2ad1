#include "common/text/added_tokens.h"

#include <algorithm>
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
std::size_t WhiteSpaceBefore(std::string_view text, std::size_t at, std::size_t from, Effort& effort) {
  while (at > from) {
    const std::size_t begin = CharacterBefore(text, at);
    ++effort.steps;
    if (!IsWhite(NextUtf8(text.substr(begin)).code)) break;
    at = begin;
  }
  return at;
}

/// Ends of white space in one text, asked for from left to right: each character is looked at once, however
/// many tokens stand in one run.
class WhiteSpaceEnds {
 public:
  explicit WhiteSpaceEnds(std::string_view text) : text_(text) {}

  std::size_t After(std::size_t at, Effort& effort) {
    if (at < known_) return known_;  // within the run that the last call went through
    known_ = at;
    while (known_ < text_.size()) {
      const Utf8Step step = NextUtf8(text_.substr(known_));
      ++effort.steps;
      if (!IsWhite(step.code)) break;
      known_ += step.length;
    }
    return known_;
  }

 private:
  const std::string_view text_;
  std::size_t known_ = 0;
};

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
    std::int32_t& holder = token_at_node_[node];
    if (holder < 0 || (tokens_[i].special && !tokens_[holder].special)) holder = static_cast<std::int32_t>(i);
  }
}

const AddedToken* AddedTokenFinder::LongestAt(std::string_view text, std::size_t at, Effort& effort) const {
  const AddedToken* longest = nullptr;
  std::uint32_t node = 0;
  for (; at < text.size(); ++at) {
    ++effort.steps;
    const auto edge = edges_.find(EdgeKey(node, text[at]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const std::int32_t index = token_at_node_[node]; index >= 0) longest = &tokens_[index];
  }
  return longest;
}

void AddedTokenFinder::Cut(std::string_view text, Effort& effort,
                           const std::function<void(const Piece&)>& visit) const {
  WhiteSpaceEnds ends(text);
  std::size_t given = 0;  // what has been handed out; beyond `at` where a token took white space along
  std::size_t at = 0;
  while (at < text.size()) {
    const AddedToken* token =
        first_bytes_[static_cast<std::uint8_t>(text[at])] ? LongestAt(text, at, effort) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && !StandsAlone(text, begin, end)) continue;
    if (token->lstrip) begin = std::max(given, WhiteSpaceBefore(text, begin, given, effort));
    if (token->rstrip) end = ends.After(end, effort);
    if (begin >= end) continue;  // what it would begin with is the token before it, to its end
    if (begin > given) visit({.text = text.substr(given, begin - given)});
    visit({.text = text.substr(begin, end - begin), .token = token});
    given = end;
  }
  if (given < text.size()) visit({.text = text.substr(given)});
}

}  // namespace baton::text
