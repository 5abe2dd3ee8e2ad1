#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/ids.h"

/// Names of a prompt's prefixes, block by block: router and workers must make the same ones. A name is a hint
/// of where to look, never a proof: whoever gives KV out by it compares the tokens.
namespace baton::text {

/// The name of the empty prefix under `salt`. Two salts share nothing.
[[nodiscard]] std::uint64_t PrefixRoot(std::string_view salt);
/// The name of the prefix `parent` with one more block of tokens.
[[nodiscard]] std::uint64_t PrefixChild(std::uint64_t parent, std::span<const TokenId> block);

/// The name of every prefix of `tokens` that is whole blocks long, shortest first.
[[nodiscard]] std::vector<std::uint64_t> PrefixNames(std::string_view salt, std::span<const TokenId> tokens,
                                                     std::int64_t block_tokens);

}  // namespace baton::text
