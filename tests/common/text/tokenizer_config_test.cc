#include "common/text/tokenizer_config.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/tokenizer.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

using Ids = std::vector<TokenId>;

/// The toy tokenizer with a configuration whose `added_tokens_decoder` has these entries.
std::unique_ptr<Tokenizer> With(const std::string& entries, const std::string& more = "") {
  auto tokenizer =
      Tokenizer::FromJson(ToyFile{}.Text(), R"({"added_tokens_decoder":{)" + entries + "}" + more + "}");
  INFO(Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

std::string ErrorOf(const std::string& config) {
  const auto tokenizer = Tokenizer::FromJson(ToyFile{}.Text(), config);
  REQUIRE_FALSE(tokenizer.ok());
  CHECK(tokenizer.status().code() == kInvalidArgument);
  return Message(tokenizer.status());
}

// The expected ids and texts below are those of the Hugging Face library, version 5.

TEST_CASE("tokens that only tokenizer_config.json has are found, and decode") {
  const auto tokenizer = With(R"("264":{"content":"<|call|>","special":true},)"
                              R"("265":{"content":"[note]","lstrip":true,"special":false},)"
                              R"("266":{"content":"<w>","single_word":true,"normalized":false})");

  CHECK(tokenizer->VocabularySize() == 267);
  CHECK(tokenizer->Encode("the<|call|>the").value() == Ids{257, 264, 257});
  CHECK(tokenizer->Encode("the [note]the").value() == Ids{257, 265, 257});
  CHECK(tokenizer->Encode("the <w>").value().back() == 266);
  CHECK(tokenizer->Encode("a<w>").value().back() != 266);
  CHECK(tokenizer->Decode({257, 264, 265, 257}, /*skip_special=*/false) == "the<|call|>[note]the");
  CHECK(tokenizer->Decode({257, 264, 265, 257}, /*skip_special=*/true) == "the[note]the");
  CHECK(tokenizer->FindToken("<|call|>") == 264);
}

TEST_CASE("what tokenizer_config.json says of a token counts, but for its id") {
  const auto tokenizer = With(R"("263":{"content":"<tool>","rstrip":true,"special":true},)"
                              R"("300":{"content":"<s>","special":true},"256":{"content":"th"})");

  CHECK(tokenizer->Encode("<tool>  the").value() == Ids{263, 256, 68});
  CHECK(tokenizer->Decode({263, 257}, /*skip_special=*/true) == "the");
  CHECK(tokenizer->Encode("<s>").value() == Ids{261});
  CHECK(tokenizer->VocabularySize() == 264);
}

TEST_CASE("a token with a part to play is special") {
  const std::string entries = R"("264":{"content":"<end>","special":false},"265":{"content":"<sep>"})";

  CHECK_FALSE(With(entries)->IsSpecial(264));
  CHECK(With(entries, R"(,"eos_token":"<end>")")->IsSpecial(264));
  CHECK(With(entries, R"(,"sep_token":{"content":"<sep>"})")->IsSpecial(265));
}

TEST_CASE("a token of tokenizer_config.json may begin a text") {
  const auto tokenizer =
      With(R"("264":{"content":"<go>","special":true})", R"(,"add_bos_token":true,"bos_token":"<go>")");

  CHECK(tokenizer->Encode("the").value() == Ids{264, 257});
}

TEST_CASE("the fingerprint changes with what tokenizer_config.json changes, and only then") {
  const std::uint64_t plain = ToyFile{}.Load()->Fingerprint();

  CHECK(With(R"("261":{"content":"<s>","special":true},"263":{"content":"<tool>","normalized":false})")
            ->Fingerprint() == plain);
  CHECK(With("", R"(,"chat_template":"x","model_max_length":5)")->Fingerprint() == plain);
  const std::uint64_t added = With(R"("264":{"content":"<a>"})")->Fingerprint();
  CHECK(added != plain);
  CHECK(With(R"("264":{"content":"<b>"})")->Fingerprint() != added);
  CHECK(With(R"("264":{"content":"<a>","lstrip":true})")->Fingerprint() != added);
}

TEST_CASE("entries that are wrong are named") {
  CHECK(ErrorOf(R"({"added_tokens_decoder":[]})") ==
        "tokenizer_config.json: added_tokens_decoder: object expected, array found");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"x":{"content":"a"}}})") ==
        "tokenizer_config.json: added_tokens_decoder['x']: an id of 0 to 2000000 expected");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"264":"a"}})") ==
        "tokenizer_config.json: added_tokens_decoder['264']: object expected, string found");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"264":{"content":""}}})") ==
        "tokenizer_config.json: added_tokens_decoder['264']: 'content' of 1 to 1024 bytes expected");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"264":{"content":"a","rstrip":1}}})") ==
        "tokenizer_config.json: added_tokens_decoder['264'].rstrip: boolean expected, integer found");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"257":{"content":"<x>"}}})") ==
        "tokenizer_config.json: added_tokens_decoder['257']: the id of '<x>' is another token's in "
        "tokenizer.json");
  CHECK(ErrorOf(R"({"added_tokens_decoder":{"264":{"content":"a"},"0264":{"content":"b"}}})") ==
        "tokenizer_config.json: added_tokens_decoder['0264']: the id comes twice");
}

TEST_CASE("without a decoder tokens are shown as they are spelled, with spaces between them") {
  const auto tokenizer = ToyFile{.decoder = "null"}.Load();
  const Ids ids = {261, 257, 260, 263, 68};

  CHECK(tokenizer->Decode(ids, /*skip_special=*/false) == "<s> the Ġthe <tool> e");
  CHECK(tokenizer->Decode(ids, /*skip_special=*/true) == "the Ġthe <tool> e");
  StreamDecoder stream(*tokenizer, /*skip_special=*/true);
  CHECK(stream.Push(261).empty());
  CHECK(stream.Push(257) == "the");
  CHECK(stream.Push(260) == " Ġthe");
  CHECK(stream.Flush().empty());
}

}  // namespace
}  // namespace baton::text
