#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

std::vector<TokenId> Bytes(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.Encode(text, {.add_special_tokens = false}).value();
}

TEST_CASE("a character comes out with its last byte") {
  const auto tokenizer = ToyFile{}.Load();
  StreamDecoder decoder(*tokenizer, false);
  const std::vector<TokenId> ids = Bytes(*tokenizer, "\u4f60!");
  REQUIRE(ids.size() == 4);

  CHECK(decoder.Push(ids[0]).empty());
  CHECK(decoder.Push(ids[1]).empty());
  CHECK(decoder.Push(ids[2]) == "\u4f60");
  CHECK(decoder.Push(ids[3]) == "!");
  CHECK(decoder.Flush().empty());
}

TEST_CASE("an unfinished character is flushed as U+FFFD once") {
  const auto tokenizer = ToyFile{}.Load();
  StreamDecoder decoder(*tokenizer, false);
  const std::vector<TokenId> ids = Bytes(*tokenizer, "\U0001F642");

  for (std::size_t i = 0; i < 3; ++i) CHECK(decoder.Push(ids[i]).empty());

  CHECK(decoder.Flush() == "\uFFFD");
  CHECK(decoder.Flush().empty());
}

TEST_CASE("a broken character comes out as soon as it is known to be broken") {
  const auto tokenizer = ToyFile{}.Load();
  StreamDecoder decoder(*tokenizer, false);
  const std::vector<TokenId> ids = Bytes(*tokenizer, "\u4f60the");

  CHECK(decoder.Push(ids[0]).empty());
  CHECK(decoder.Push(ids[3]) == "\uFFFDthe");
}

TEST_CASE("the chunks of random ids join to what decoding them at once gives") {
  const auto tokenizer = ToyFile{}.Load();
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    const bool skip_special = round % 2 == 0;
    StreamDecoder decoder(*tokenizer, skip_special);
    std::vector<TokenId> ids;
    std::string joined;
    for (std::size_t i = random() % 60; i > 0; --i) {
      // Bytes past ASCII stand in the upper half of the toy's vocabulary: mostly broken text.
      ids.push_back(static_cast<TokenId>(80 + random() % 186));
      joined += decoder.Push(ids.back());
    }
    joined += decoder.Flush();
    CHECK(joined == tokenizer->Decode(ids, skip_special));
  }
}

}  // namespace
}  // namespace baton::text
