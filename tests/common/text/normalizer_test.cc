#include "common/text/normalizer.h"

#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::text {
namespace {

absl::StatusOr<std::string> Apply(std::string_view component, std::string_view text) {
  const auto file = json::Parse(component);
  REQUIRE(file.ok());
  const auto normalizer = Normalizer::Parse(&*file);
  INFO(Message(normalizer.status()));
  REQUIRE(normalizer.ok());
  Effort effort(text.size());
  return normalizer->Apply(text, effort);
}

TEST_CASE("every normalization form composes and decomposes as Unicode says") {
  const std::string_view text = "e\u0301\ufb01\u2460\u00c5";

  CHECK(*Apply(R"({"type":"NFC"})", text) == "\u00e9\ufb01\u2460\u00c5");
  CHECK(*Apply(R"({"type":"NFD"})", text) == "e\u0301\ufb01\u2460A\u030a");
  CHECK(*Apply(R"({"type":"NFKC"})", text) == "\u00e9fi1\u00c5");
  CHECK(*Apply(R"({"type":"NFKD"})", text) == "e\u0301fi1A\u030a");
  CHECK(*Apply(R"({"type":"NFKD"})", "plain") == "plain");
}

TEST_CASE("lower case and the loss of marks are those of each character") {
  CHECK(*Apply(R"({"type":"Lowercase"})", "A\u0130\u03a3\u00c5") == "ai\u0307\u03c3\u00e5");
  CHECK(*Apply(R"({"type":"StripAccents"})", "e\u0301\u0903\u20ddx\u00e9") == "ex\u00e9");
}

TEST_CASE("white space is stripped from the ends that the file names") {
  CHECK(*Apply(R"({"type":"Strip"})", " \u3000a b\n") == "a b");
  CHECK(*Apply(R"({"type":"Strip","strip_left":false,"strip_right":true})", " a ") == " a");
  CHECK(*Apply(R"({"type":"Strip","strip_left":true,"strip_right":false})", "\u200b a ") == "\u200b a ");
  CHECK(Apply(R"({"type":"Strip"})", " \n ")->empty());
}

TEST_CASE("a text or the matches of an expression are replaced") {
  CHECK(*Apply(R"({"type":"Replace","pattern":{"String":"ab"},"content":"x"})", "aababb") == "axxb");
  CHECK(*Apply(R"({"type":"Replace","pattern":{"Regex":"a+|\\s"},"content":"$0"})", "aab a") == "$0b$0$0");
  CHECK(*Apply(R"({"type":"Replace","pattern":{"Regex":"x*"},"content":"-"})", "axb") == "-a-b-");
  CHECK(*Apply(R"({"type":"Replace","pattern":{"String":""},"content":"-"})", "ab") == "-a-b-");
}

TEST_CASE("a prefix goes before what is not empty") {
  CHECK(*Apply(R"({"type":"Prepend","prepend":"_"})", "a") == "_a");
  CHECK(Apply(R"({"type":"Prepend","prepend":"_"})", "")->empty());
}

TEST_CASE("a sequence applies its parts in order") {
  CHECK(
      *Apply(
          R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"},)"
          R"({"type":"Strip"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},)"
          R"({"type":"Prepend","prepend":"_"}]})",
          "  \u00c9a \t b ") == "_ea b");
}

TEST_CASE("a text that grows beyond all measure is an error of the request") {
  const std::string content(1000, 'a');
  const std::string replace = R"({"type":"Replace","pattern":{"String":"a"},"content":")" + content + R"("})";

  const auto grown =
      Apply(R"({"type":"Sequence","normalizers":[)" + replace + "," + replace + "," + replace + "]}", "aaaa");

  CHECK(grown.status().code() == kResourceExhausted);
  CHECK(Message(grown.status()).find("grows beyond") != std::string::npos);
}

}  // namespace
}  // namespace baton::text
