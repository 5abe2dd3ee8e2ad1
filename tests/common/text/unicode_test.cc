#include "common/text/unicode.h"

#include <array>

#include <catch2/catch.hpp>

#include "common/text/byte_level.h"

namespace baton::text {
namespace {

TEST_CASE("characters have the classes of the split patterns") {
  CHECK(ClassOf('a') == CharClass::kLetter);
  CHECK(ClassOf(0x4F60) == CharClass::kLetter);
  CHECK(ClassOf('7') == CharClass::kNumber);
  CHECK(ClassOf(0xBD) == CharClass::kNumber);  // one half
  CHECK(ClassOf('\t') == CharClass::kSpace);
  CHECK(ClassOf(0x3000) == CharClass::kSpace);
  CHECK(ClassOf('\r') == CharClass::kNewline);
  CHECK(ClassOf('_') == CharClass::kOther);
  CHECK(ClassOf(0x301) == CharClass::kOther);   // a mark
  CHECK(ClassOf(0x180E) == CharClass::kOther);  // no white space since Unicode 6.3
  CHECK(ClassOf(0x1C) == CharClass::kOther);
  CHECK(ClassOf(0x10FFFF) == CharClass::kOther);
}

TEST_CASE("word characters are letters, marks, digits and connectors") {
  for (const char32_t code : {U'a', U'0', U'_', U'\u0301', U'\u4f60', U'\u200d', U'\u24da'})
    CHECK(IsWordCharacter(code));
  for (const char32_t code : {U' ', U'-', U'<', U'\u00b2', U'\U0001F642'}) CHECK_FALSE(IsWordCharacter(code));
}

TEST_CASE("normalisation composes, reorders and leaves the rest alone") {
  CHECK(Nfc("") == "");
  CHECK(Nfc("plain") == "plain");
  CHECK(Nfc("e\u0301") == "\u00e9");
  CHECK(Nfc("\u212b") == "\u00c5");                  // the unit becomes the letter
  CHECK(Nfc("\u1100\u1161\u11a8") == "\uac01");      // Hangul
  CHECK(Nfc("a\u0301\u0323") == "\u1ea1\u0301");     // the dot below goes first
  CHECK(Nfc("q\u0307\u0323x") == "q\u0323\u0307x");  // nothing to compose, yet out of order
  CHECK(Nfc("\u0958") == "\u0915\u093c");            // excluded from composition
  CHECK(Nfc("\u0344") == "\u0308\u0301");            // decomposes for good
  CHECK(Nfc(std::string_view("a\0b", 3)) == std::string_view("a\0b", 3));
  CHECK(Nfc("\uFB01\u00b2") == "\uFB01\u00b2");  // compatibility forms stay
}

TEST_CASE("the spelling of bytes is one to one") {
  std::array<int, 400> uses{};
  for (const char32_t character : ByteCharacters()) ++uses.at(character);

  for (const int count : uses) CHECK(count <= 1);
  CHECK(ByteCharacters()['A'] == U'A');
  CHECK(ByteCharacters()[' '] == U'\u0120');
  CHECK(ByteCharacters()['\n'] == U'\u010a');
  CHECK(ByteCharacters()[0xAD] == U'\u0143');
  CHECK(FromByteLevel("Ġa") == " a");
  CHECK(FromByteLevel("") == "");
  CHECK(FromByteLevel("a b") == std::nullopt);
  CHECK(FromByteLevel("\u4f60") == std::nullopt);
}

}  // namespace
}  // namespace baton::text
