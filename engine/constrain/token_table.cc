#include "engine/constrain/token_table.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"

namespace baton::engine {
namespace {

constexpr std::size_t kTokenBytesMax = 1024;  // longer ones are left out

}  // namespace

absl::StatusOr<std::shared_ptr<const TokenTable>> TokenTable::FromTokenizer(
    const text::Tokenizer& tokenizer) {
  std::vector<std::string_view> tokens(static_cast<std::size_t>(tokenizer.VocabularySize()));
  for (TokenId id = 0; id < tokenizer.VocabularySize(); ++id) {
    if (!tokenizer.IsSpecial(id))
      tokens[static_cast<std::size_t>(id)] = tokenizer.TokenBytes(id, /*skip_special=*/true);
  }
  return FromBytes(tokens);
}

absl::StatusOr<std::shared_ptr<const TokenTable>> TokenTable::FromBytes(
    std::span<const std::string_view> tokens) {
  std::array<bool, 256> single{};
  for (const std::string_view bytes : tokens) {
    if (bytes.size() == 1) single[static_cast<std::uint8_t>(bytes[0])] = true;
  }
  for (std::size_t byte = 0x20; byte < 0x7f; ++byte) {
    if (single[byte]) continue;
    return Error(kInvalidArgument,
                 "the vocabulary has no token for the byte {:#04x}: no answer can be constrained", byte);
  }
  const bool any_tail =
      std::all_of(single.begin() + 0x80, single.begin() + 0xc0, [](bool has) { return has; });
  auto table = std::make_shared<TokenTable>(Key());
  table->begins_.push_back(0);
  for (const std::string_view bytes : tokens) {
    const bool whole = any_tail || ValidUtf8Prefix(bytes) == bytes.size();
    if (whole && bytes.size() <= kTokenBytesMax) table->bytes_ += bytes;
    table->begins_.push_back(static_cast<std::uint32_t>(table->bytes_.size()));
  }
  table->Build();
  return std::shared_ptr<const TokenTable>(std::move(table));
}

std::string_view TokenTable::BytesOf(TokenId token) const {
  if (token < 0 || token >= VocabularySize()) return {};
  const auto at = static_cast<std::size_t>(token);
  return std::string_view(bytes_).substr(begins_[at], begins_[at + 1] - begins_[at]);
}

void TokenTable::Build() {
  std::vector<TokenId> order;
  for (TokenId id = 0; id < VocabularySize(); ++id) {
    if (!BytesOf(id).empty()) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return BytesOf(a) < BytesOf(b); });
  std::vector<std::uint32_t> path;  // the entries of the bytes of the token before
  std::string_view before;
  const auto close = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back())
      entries_[path.back()].after = static_cast<std::uint32_t>(entries_.size());
  };
  for (const TokenId id : order) {
    const std::string_view bytes = BytesOf(id);
    const auto differs = std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end());
    const auto common = static_cast<std::size_t>(differs.second - bytes.begin());
    close(common);
    for (std::size_t depth = common; depth < bytes.size(); ++depth) {
      path.push_back(static_cast<std::uint32_t>(entries_.size()));
      entries_.push_back({.byte = static_cast<std::uint8_t>(bytes[depth]),
                          .depth = static_cast<std::uint16_t>(depth),
                          .after = 0,
                          .tokens = static_cast<std::uint32_t>(tokens_.size())});
    }
    tokens_.push_back(id);
    depth_max_ = std::max(depth_max_, static_cast<int>(bytes.size()));
    before = bytes;
  }
  close(0);
  entries_.push_back({.byte = 0,
                      .depth = 0,
                      .after = static_cast<std::uint32_t>(entries_.size()),
                      .tokens = static_cast<std::uint32_t>(tokens_.size())});
  SetPlainHeights();
  CollectQuotes();
}

/// From the last entry to the first: what is below an entry comes before it.
void TokenTable::SetPlainHeights() {
  std::vector<std::uint8_t> below(static_cast<std::size_t>(depth_max_) + 2);  // the highest so far, by depth
  for (std::size_t i = entries_.size() - 1; i-- > 0;) {
    Entry& entry = entries_[i];
    const std::uint8_t children = std::exchange(below[entry.depth + 1U], std::uint8_t{0});
    const bool plain = IsPlain(entry.byte) && children < kNotPlain - 1;
    entry.plain_height = plain ? static_cast<std::uint8_t>(children + 1) : kNotPlain;
    below[entry.depth] = std::max(below[entry.depth], entry.plain_height);
  }
}

void TokenTable::CollectQuotes() {
  for (std::ptrdiff_t least = 3; least >= 1; --least) {
    for (TokenId id = 0; id < VocabularySize(); ++id) {
      const std::string_view bytes = BytesOf(id);
      const std::ptrdiff_t quotes = std::min<std::ptrdiff_t>(std::count(bytes.begin(), bytes.end(), '"'), 3);
      if (quotes == least) with_quotes_.push_back(id);
    }
    quotes_ends_[static_cast<std::size_t>(least - 1)] = with_quotes_.size();
  }
}

}  // namespace baton::engine
