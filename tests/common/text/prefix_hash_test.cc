#include "common/text/prefix_hash.h"

#include <set>

#include <catch2/catch.hpp>

namespace baton::text {
namespace {

TEST_CASE("a prefix has the same name in every prompt that begins with it") {
  std::vector<TokenId> tokens(50);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 31 % 1000);

  const auto names = PrefixNames("s", tokens, 16);

  REQUIRE(names.size() == 3);
  CHECK(names[0] == PrefixChild(PrefixRoot("s"), std::span(tokens).first(16)));
  CHECK(PrefixNames("s", std::span(tokens).first(32), 16) == std::vector<std::uint64_t>{names[0], names[1]});
  CHECK(PrefixNames("s", std::span(tokens).first(15), 16).empty());
}

TEST_CASE("a token, its place or the salt changed, and the name is another") {
  std::set<std::uint64_t> names;
  std::size_t made = 0;
  for (const char* salt : {"", "a", "b", "ab"}) {
    for (std::size_t place = 0; place < 16; ++place) {
      for (const TokenId token : {0, 1, 2, 31999}) {
        std::vector<TokenId> tokens(16, 5);
        tokens[place] = token;
        names.insert(PrefixNames(salt, tokens, 16).at(0));
        ++made;
      }
    }
  }

  CHECK(names.size() == made);
}

TEST_CASE("names are the same on every machine") {
  // Router and workers may be of different builds: a change of the function is a change of the protocol.
  const std::vector<TokenId> tokens(16, 7);
  CHECK(PrefixNames("", tokens, 16).at(0) == 0x7ac4e6f008ce4100);
}

}  // namespace
}  // namespace baton::text
