#include "common/text/prefix_hash.h"

#include "common/base/random.h"

namespace baton::text {
namespace {

// Any odd constant does: it keeps runs of zeros from standing still.
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;

std::uint64_t Add(std::uint64_t hash, std::uint64_t value) {
  return Mix64((hash + kStep) ^ value);
}

}  // namespace

std::uint64_t PrefixRoot(std::string_view salt) {
  std::uint64_t hash = Add(0, salt.size());
  for (const char c : salt) hash = Add(hash, static_cast<unsigned char>(c));
  return hash;
}

std::uint64_t PrefixChild(std::uint64_t parent, std::span<const TokenId> block) {
  std::uint64_t hash = parent;
  for (const TokenId token : block) hash = Add(hash, static_cast<std::uint32_t>(token));
  return hash;
}

std::vector<std::uint64_t> PrefixNames(std::string_view salt, std::span<const TokenId> tokens,
                                       std::int64_t block_tokens) {
  const auto size = static_cast<std::size_t>(block_tokens);
  std::vector<std::uint64_t> names;
  names.reserve(tokens.size() / size);
  std::uint64_t name = PrefixRoot(salt);
  for (std::size_t at = 0; at + size <= tokens.size(); at += size) {
    name = PrefixChild(name, tokens.subspan(at, size));
    names.push_back(name);
  }
  return names;
}

}  // namespace baton::text
