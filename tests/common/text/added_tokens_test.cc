#include "common/text/added_tokens.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::text {
namespace {

/// The pieces of `text`, tokens in brackets.
std::vector<std::string> Cut(std::vector<AddedToken> tokens, std::string_view text) {
  const AddedTokenFinder finder(std::move(tokens));
  std::vector<std::string> pieces;
  finder.Cut(text, [&](const AddedTokenFinder::Piece& piece) {
    const std::string content(piece.text);
    pieces.push_back(piece.token == nullptr ? content : "[" + content + "]");
  });
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST_CASE("text without tokens is one piece and no text is none") {
  CHECK(Cut({}, "abc") == Pieces{"abc"});
  CHECK(Cut({{.content = "<s>"}}, "ab<s") == Pieces{"ab<s"});
  CHECK(Cut({{.content = "<s>"}}, "").empty());
}

TEST_CASE("the leftmost token is found, the longest of those that begin there") {
  CHECK(Cut({{.content = "ab"}, {.content = "abcd"}, {.content = "bcde"}}, "xabcde") ==
        Pieces{"x", "[abcd]", "e"});
  CHECK(Cut({{.content = "ab"}, {.content = "abcd"}}, "abcab") == Pieces{"[ab]", "c", "[ab]"});
}

TEST_CASE("a single word is found only where it stands alone") {
  const std::vector<AddedToken> tokens = {{.content = "cat", .single_word = true}};

  CHECK(Cut(tokens, "cat a cat, cats \u00e9cat _cat") ==
        Pieces{"[cat]", " a ", "[cat]", ", cats \u00e9cat _cat"});
}

TEST_CASE("white space around a token goes with it where the token says so") {
  CHECK(Cut({{.content = "<m>", .lstrip = true}}, "a \u3000<m> b") == Pieces{"a", "[ \u3000<m>]", " b"});
  CHECK(Cut({{.content = "<m>", .rstrip = true}}, "a <m> \n b") == Pieces{"a ", "[<m> \n ]", "b"});
  CHECK(Cut({{.content = "<m>", .lstrip = true, .rstrip = true}}, "<m>  <m>") == Pieces{"[<m>  ]", "[<m>]"});
}

}  // namespace
}  // namespace baton::text
