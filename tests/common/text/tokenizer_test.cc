#include "common/text/tokenizer.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

constexpr TokenId kThe = 257;
constexpr TokenId kSpaceT = 258;
constexpr TokenId kSpaceThe = 260;
constexpr TokenId kBegin = 261;
constexpr TokenId kEnd = 262;
constexpr TokenId kTool = 263;

std::vector<TokenId> Encode(const Tokenizer& tokenizer, std::string_view text, bool special = true) {
  auto ids = tokenizer.Encode(text, {.add_special_tokens = special});
  INFO(Message(ids.status()));
  REQUIRE(ids.ok());
  return *std::move(ids);
}

TEST_CASE("merges apply by rank, not from left to right") {
  const auto tokenizer = ToyFile{}.Load();

  CHECK(Encode(*tokenizer, "the") == std::vector<TokenId>{kThe});
  // (t,h) ranks before (Ġ,t): the space stays alone.
  const auto ids = Encode(*tokenizer, " the");
  REQUIRE(ids.size() == 2);
  CHECK(ids[1] == kThe);
  CHECK(tokenizer->Decode(ids, false) == " the");
}

TEST_CASE("a word that is a token is taken whole only where merges are ignored") {
  const auto tokenizer = ToyFile{.model_fields = R"(,"ignore_merges":true)"}.Load();

  CHECK(Encode(*tokenizer, " the") == std::vector<TokenId>{kSpaceThe});
  CHECK(Encode(*tokenizer, "the the").back() == kSpaceThe);
}

TEST_CASE("merges may be written as pairs") {
  const auto words = ToyFile{}.Load();
  const auto pairs = ToyFile{.merges = R"([["t","h"],["th","e"],["Ġ","t"],["Ġt","h"],["Ġth","e"]])"}.Load();

  for (const std::string_view text : {"the", " the t", "thththe", "tt the"}) {
    CHECK(Encode(*words, text) == Encode(*pairs, text));
  }
}

TEST_CASE("special tokens written in the text are recognised") {
  const auto tokenizer = ToyFile{}.Load();

  CHECK(Encode(*tokenizer, "the<s>the</s><tool>") == std::vector<TokenId>{kThe, kBegin, kThe, kEnd, kTool});
}

TEST_CASE("the template adds its tokens where asked to") {
  const auto tokenizer = ToyFile{.post_processor = R"({"type":"Sequence","processors":[{"type":"ByteLevel"},
      {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}},
       {"SpecialToken":{"id":"</s>"}}],"special_tokens":{"<s>":{"ids":[261]},"</s>":{"ids":[262]}}}]})"}
                             .Load();

  CHECK(Encode(*tokenizer, "the", true) == std::vector<TokenId>{kBegin, kThe, kEnd});
  CHECK(Encode(*tokenizer, "the", false) == std::vector<TokenId>{kThe});
  CHECK(Encode(*tokenizer, "", true) == std::vector<TokenId>{kBegin, kEnd});
}

TEST_CASE("a prefix space is added to text that has none") {
  const auto tokenizer =
      ToyFile{.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":true})", .merges = R"(["Ġ t"])"}
          .Load();

  CHECK(Encode(*tokenizer, "t") == std::vector<TokenId>{kSpaceT});
  CHECK(Encode(*tokenizer, " t") == std::vector<TokenId>{kSpaceT});
  CHECK(Encode(*tokenizer, "<s>t") == std::vector<TokenId>{kBegin, kSpaceT});
  CHECK(Encode(*tokenizer, "").empty());
}

TEST_CASE("text is normalised before it is split, special tokens are not") {
  const auto tokenizer = ToyFile{.normalizer = R"({"type":"NFC"})"}.Load();

  CHECK(Encode(*tokenizer, "e\u0301") == Encode(*tokenizer, "\u00e9"));
  CHECK(Encode(*tokenizer, "e\u0301").size() == 2);
  CHECK(Encode(*ToyFile{}.Load(), "e\u0301").size() == 3);
}

TEST_CASE("a normalised token is looked for as it is normalised, in normalised text") {
  const auto tokenizer = [](std::string_view normalizer) {
    return ToyFile{.normalizer = std::string(normalizer),
                   .added_tokens =
                       R"([{"id":261,"content":"<S>","normalized":true},{"id":262,"content":"<T>"},)"
                       R"({"id":263,"content":"<T >","normalized":false}])"}
        .Load();
  };
  const auto lower = tokenizer(R"({"type":"Lowercase"})");
  CHECK(Encode(*lower, "THE<s><S><T >") == std::vector<TokenId>{kThe, 261, 261, 263});
  // Only where the mark comes out: at the beginning, and after a space.
  const auto marked = tokenizer(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},)"
                                R"({"type":"Replace","pattern":{"String":" "},"content":"_"}]})");
  CHECK(Encode(*marked, "<S>") == std::vector<TokenId>{261});
  CHECK(Encode(*marked, "the <S>").back() == 261);
  CHECK(Encode(*marked, "the<S>").back() != 261);
}

TEST_CASE("the classification processors put a token at either end") {
  for (const std::string_view type : {"BertProcessing", "RobertaProcessing"}) {
    const auto tokenizer = ToyFile{.post_processor = R"({"type":")" + std::string(type) +
                                                     R"(","sep":["</s>",262],"cls":["<s>",261]})"}
                               .Load();
    CHECK(Encode(*tokenizer, "the", true) == std::vector<TokenId>{kBegin, kThe, kEnd});
  }
}

TEST_CASE("a byte-level vocabulary may lack bytes: those are unknown, or nothing") {
  const auto with = [](std::string_view fields) {
    return Tokenizer::FromJson(
               R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
               R"("decoder":{"type":"ByteLevel"},"model":{"vocab":{"u":0,"a":1,"Ġ":2,"Ġa":3})" +
               std::string(fields) + R"(,"merges":["Ġ a"]}})")
        .value();
  };

  CHECK(Encode(*with(""), "a ab") == std::vector<TokenId>{1, 3});
  CHECK(Encode(*with(R"(,"unk_token":"u")"), "a ab") == std::vector<TokenId>{1, 3, 0});
}

TEST_CASE("text that is no UTF-8 is refused with the byte where it ends to be") {
  const auto tokenizer = ToyFile{}.Load();

  const auto ids = tokenizer->Encode("the \xC3(");

  REQUIRE_FALSE(ids.ok());
  CHECK(ids.status().code() == kInvalidArgument);
  CHECK(Message(ids.status()) == "text is not UTF-8 at byte 4");
}

TEST_CASE("special tokens are left out of decoded text on demand, others are not") {
  const auto tokenizer = ToyFile{}.Load();
  const std::vector<TokenId> ids = {kBegin, kThe, kTool, kEnd};

  CHECK(tokenizer->Decode(ids, false) == "<s>the<tool></s>");
  CHECK(tokenizer->Decode(ids, true) == "the<tool>");
  CHECK(tokenizer->TokenBytes(kBegin, false) == "<s>");
  CHECK(tokenizer->TokenBytes(kBegin, true).empty());
  CHECK(tokenizer->IsSpecial(kBegin));
  CHECK_FALSE(tokenizer->IsSpecial(kTool));
}

TEST_CASE("ids outside the vocabulary decode to nothing") {
  const auto tokenizer = ToyFile{}.Load();

  CHECK(tokenizer->VocabularySize() == 264);
  CHECK(tokenizer->Decode({-1, kThe, 264, 1'000'000, INT32_MAX, INT32_MIN}, false) == "the");
  CHECK_FALSE(tokenizer->IsSpecial(-1));
  CHECK_FALSE(tokenizer->IsSpecial(264));
}

TEST_CASE("a token is found by its spelling") {
  const auto tokenizer = ToyFile{}.Load();

  CHECK(tokenizer->FindToken("</s>") == kEnd);
  CHECK(tokenizer->FindToken("Ġthe") == kSpaceThe);
  CHECK(tokenizer->FindToken("none of it") == std::nullopt);
}

TEST_CASE("the fingerprint is that of the contents, not of the layout") {
  const std::string text = ToyFile{}.Text();
  const auto plain = Tokenizer::FromJson(text).value();
  const auto spaced = Tokenizer::FromJson("\n " + text + "\n").value();
  const auto other = ToyFile{.merges = R"(["t h"])"}.Load();

  CHECK(plain->Fingerprint() == spaced->Fingerprint());
  CHECK(plain->Fingerprint() != other->Fingerprint());
}

TEST_CASE("a missing tokenizer.json is NotFound and named") {
  const auto tokenizer = Tokenizer::Load("/nonexistent/model");

  REQUIRE_FALSE(tokenizer.ok());
  CHECK(tokenizer.status().code() == kNotFound);
  CHECK(Message(tokenizer.status()) == "/nonexistent/model/tokenizer.json: no such file");
}

}  // namespace
}  // namespace baton::text
