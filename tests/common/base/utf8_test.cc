#include "common/base/utf8.h"

#include <string>

#include <catch2/catch.hpp>

namespace baton {
namespace {

std::string AsValid(std::string_view text) {
  std::string out;
  AppendAsValidUtf8(out, text);
  return out;
}

const std::string kBad = "\xEF\xBF\xBD";

TEST_CASE("every scalar value survives encoding and decoding") {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(text, code);
    const Utf8Step step = NextUtf8(text);
    if (step.kind != Utf8Step::Kind::kCharacter || step.code != code || step.length != text.size()) {
      FAIL("U+" << std::hex << static_cast<std::uint32_t>(code));
    }
  }
}

TEST_CASE("overlong forms, surrogates and values past U+10FFFF are invalid byte by byte") {
  CHECK(AsValid("\xC0\xAF") == kBad + kBad);
  CHECK(AsValid("\xE0\x80\xAF") == kBad + kBad + kBad);
  CHECK(AsValid("\xED\xA0\x80") == kBad + kBad + kBad);
  CHECK(AsValid("\xF4\x90\x80\x80") == kBad + kBad + kBad + kBad);
  CHECK(AsValid("\xF8\x88\x80") == kBad + kBad + kBad);
}

TEST_CASE("a broken character becomes one U+FFFD and what follows is kept") {
  CHECK(AsValid("\xC3(") == kBad + "(");
  CHECK(AsValid("a\xF0\x9F\x98z") == "a" + kBad + "z");
  CHECK(AsValid("\xE2(\xA1") == kBad + "(" + kBad);
}

TEST_CASE("a text that ends inside a character is incomplete, not invalid") {
  CHECK(NextUtf8("\xF0\x9F\x99").kind == Utf8Step::Kind::kIncomplete);
  CHECK(NextUtf8("\xF0\x9F\x99").length == 3);
  CHECK(NextUtf8("\xED\xA0").kind == Utf8Step::Kind::kInvalid);
  CHECK(AsValid("ok\xE4\xBD") == "ok" + kBad);
}

TEST_CASE("the valid prefix ends where the first bad sequence begins") {
  CHECK(ValidUtf8Prefix("") == 0);
  CHECK(ValidUtf8Prefix("abc") == 3);
  CHECK(ValidUtf8Prefix("a\xC3\xA9\xFFz") == 3);
  CHECK(ValidUtf8Prefix("a\xE4\xBD") == 1);
}

}  // namespace
}  // namespace baton
