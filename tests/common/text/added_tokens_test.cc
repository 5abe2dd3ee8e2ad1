#include "common/text/added_tokens.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::text {
namespace {

/// The pieces of `text`, tokens in brackets.
std::vector<std::string> Cut(std::vector<AddedToken> tokens, std::string_view text) {
  const AddedTokenFinder finder(std::move(tokens));
  Effort effort(text.size());
  std::vector<std::string> pieces;
  finder.Cut(text, effort, [&](const AddedTokenFinder::Piece& piece) {
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

TEST_CASE("of equal contents a special token is found, or the first") {
  const auto found = [](std::vector<AddedToken> tokens) {
    const AddedTokenFinder finder(std::move(tokens));
    Effort effort(1);
    TokenId id = -1;
    finder.Cut("a", effort, [&](const AddedTokenFinder::Piece& piece) { id = piece.token->id; });
    return id;
  };
  CHECK(found({{.id = 1, .content = "a"}, {.id = 2, .content = "a"}}) == 1);
  CHECK(found({{.id = 1, .content = "a"},
               {.id = 2, .content = "a", .special = true},
               {.id = 3, .content = "a", .special = true}}) == 2);
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

/// As the tokenizers library has it, white space that comes twice included.
TEST_CASE("a token is found in the white space that the one before it took along") {
  const std::vector<AddedToken> tokens = {{.content = "<m>", .rstrip = true},
                                          {.content = "\n"},
                                          {.content = " b"},
                                          {.content = "\t", .rstrip = true},
                                          {.content = "\v", .lstrip = true, .rstrip = true}};

  CHECK(Cut(tokens, "<m> \n  x") == Pieces{"[<m> \n  ]", "[\n]", "  x"});
  CHECK(Cut(tokens, "<m>  b a") == Pieces{"[<m>  ]", "[ b]", " a"});
  CHECK(Cut(tokens, "\t\tx") == Pieces{"[\t\t]", "[\t]", "x"});
  CHECK(Cut(tokens, "<m> \v x") == Pieces{"[<m> \v ]", "x"});
}

/// The tokenizers library ends here.
TEST_CASE("a token that would begin behind its end is none") {
  CHECK(Cut({{.content = "<m>", .rstrip = true}, {.content = "\r", .lstrip = true}}, "<m> \r x") ==
        Pieces{"[<m> \r ]", "x"});
}

TEST_CASE("white space around tokens is looked at once, however many tokens are in it") {
  const std::string text(100'000, '\t');
  const AddedTokenFinder after({{.content = "\t", .rstrip = true}});
  const AddedTokenFinder both({{.content = "\t", .lstrip = true, .rstrip = true}});
  const AddedTokenFinder end_alone({{.content = "\t.", .lstrip = true, .rstrip = true}});
  for (const AddedTokenFinder* finder : {&after, &both, &end_alone}) {
    Effort effort(text.size());

    finder->Cut(text + ".", effort, [](const AddedTokenFinder::Piece&) {});

    CHECK(effort.steps < 5 * text.size());
  }
}

}  // namespace
}  // namespace baton::text
