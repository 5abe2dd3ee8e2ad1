#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/text/toy_tokenizer.h"

namespace baton::text {
namespace {

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("an unsupported component is refused by name with what is supported") {
  CHECK(ToyFile{.normalizer = R"({"type":"Nmt"})"}.ErrorText() ==
        "tokenizer.json: normalizer.type 'Nmt' is not supported; supported: NFC, NFD, NFKC, NFKD, Lowercase, "
        "StripAccents, Strip, Replace, Prepend, Sequence");
  CHECK(Contains(
      ToyFile{.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"X"}]})"}.ErrorText(),
      "normalizer.normalizers[1].type 'X' is not supported"));
  CHECK(ToyFile{.pre_tokenizer = R"({"type":"UnicodeScripts"})"}.ErrorText() ==
        "tokenizer.json: pre_tokenizer.type 'UnicodeScripts' is not supported; supported: ByteLevel, "
        "Metaspace, "
        "Split, Punctuation, Digits, Whitespace, WhitespaceSplit, CharDelimiterSplit, BertPreTokenizer, "
        "Sequence");
  CHECK(Contains(ToyFile{.post_processor = R"({"type":"Other"})"}.ErrorText(),
                 "post_processor.type 'Other' is not supported"));
  CHECK(Contains(ToyFile{.decoder = R"({"type":"WordPiece"})"}.ErrorText(),
                 "decoder.type 'WordPiece' is not supported"));
}

TEST_CASE("a split pattern that is no regular expression is refused with its text and the reason") {
  const auto with = [](std::string_view regex) {
    return ToyFile{.pre_tokenizer =
                       R"({"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated",)"
                       R"("pattern":{"Regex":")" +
                       std::string(regex) +
                       R"("}},{"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]})"};
  };

  CHECK(Contains(with("(a").ErrorText(),
                 "pre_tokenizer.pretokenizers[0].pattern.Regex: '(a': the regular "
                 "expression is wrong at byte 2"));
  CHECK(Contains(with("(?>a){1,3}+").ErrorText(), "'}+' after a count in a regular expression"));
  CHECK(Contains(with(std::string(40000, 'a')).ErrorText(), "of 40000 bytes"));
  CHECK_NOTHROW(with("\\\\w+").Load());
}

TEST_CASE("what this project does not do must be off in the model") {
  CHECK_NOTHROW(
      ToyFile{.model_fields = R"(,"dropout":null,"byte_fallback":false,"end_of_word_suffix":"")"}.Load());
  CHECK(
      Contains(ToyFile{.model_fields = R"(,"dropout":0.1)"}.ErrorText(), "model.dropout: is not supported"));
  CHECK(Contains(ToyFile{.model_fields = R"(,"ignore_merges":1)"}.ErrorText(),
                 "model.ignore_merges: boolean expected, integer found"));
}

TEST_CASE("a merge must consist of tokens of the vocabulary") {
  CHECK(Contains(ToyFile{.merges = R"(["t h","q zz"])"}.ErrorText(),
                 "model.merges[1]: token 'zz' is not in model.vocab"));
  CHECK(Contains(ToyFile{.merges = R"(["e h"])"}.ErrorText(),
                 "model.merges[0]: token 'eh' is not in model.vocab"));
  CHECK(Contains(ToyFile{.merges = R"(["t h e"])"}.ErrorText(), "model.merges[0]: two tokens expected"));
  CHECK(Contains(ToyFile{.merges = R"([["t"]])"}.ErrorText(), "model.merges[0]: two tokens expected"));
  CHECK(Contains(ToyFile{.merges = R"([["t",1]])"}.ErrorText(), "model.merges[0]: two tokens expected"));
  CHECK(Contains(ToyFile{.merges = R"({})"}.ErrorText(), "model.merges: array expected, object found"));
}

TEST_CASE("ids are whole numbers within bounds and used once") {
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"x1":0)"}.ErrorText(),
                 "model.vocab['x1']: id 0 is given twice"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"x1":-1)"}.ErrorText(), "id -1 is outside"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"x1":2000001)"}.ErrorText(), "id 2000001 is outside"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"x1":99999999999)"}.ErrorText(), "outside 0 to 2000000"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"x1":1.5)"}.ErrorText(), "a whole number expected"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"":300)"}.ErrorText(), "a token without text"));
  CHECK(Contains(ToyFile{.extra_vocabulary = R"(,"the":300)"}.ErrorText(), "duplicate key 'the'"));
}

TEST_CASE("an added token fits the vocabulary or is refused") {
  const auto added = [](std::string fields) {
    return ToyFile{.added_tokens = "[{" + std::move(fields) + "}]"};
  };

  CHECK(added(R"("id":257,"content":"the","special":false)").Load()->FindToken("the") == 257);
  CHECK(Contains(added(R"("id":256,"content":"the")").ErrorText(), "id 256 of 'the' belongs to 'th'"));
  CHECK(Contains(added(R"("id":300,"content":"the")").ErrorText(),
                 "'the' has id 300 here and 257 in model.vocab"));
  CHECK(Contains(added(R"("id":300,"content":"")").ErrorText(), "added_tokens[0].content: is empty"));
  CHECK(
      Contains(added(R"("id":300)").ErrorText(), "added_tokens[0].content: string expected, nothing found"));
  CHECK(Contains(added(R"("content":"x")").ErrorText(), "added_tokens[0].id"));
  CHECK(Contains(added(R"("id":300,"content":"<x>"},{"id":301,"content":"<x>")").ErrorText(),
                 "'<x>' is given twice"));
  CHECK(Contains(added(R"("id":300,"content":"<x>"},{"id":300,"content":"<y>")").ErrorText(),
                 "belongs to '<x>'"));
  CHECK(
      Contains(added(R"("id":300,"content":")" + std::string(2000, 'x') + "\"").ErrorText(), "at most 1024"));
}

TEST_CASE("a template must be whole and its tokens must exist") {
  const auto processed = [](const std::string& single, const std::string& special) {
    return ToyFile{.post_processor = R"({"type":"TemplateProcessing","single":)" + single +
                                     R"(,"special_tokens":)" + special + "}"};
  };

  CHECK(Contains(processed("[]", "{}").ErrorText(), "has no Sequence 'A'"));
  CHECK(Contains(processed(R"([{"Sequence":{"id":"B"}}])", "{}").ErrorText(), "exactly one Sequence 'A'"));
  CHECK(Contains(processed(R"([{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}])", "{}").ErrorText(),
                 "post_processor.special_tokens['<s>'].ids: array expected"));
  CHECK(Contains(
      processed(R"([{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}])", R"({"<s>":{"ids":[999]}})")
          .ErrorText(),
      "post_processor: id 999 is no token"));
}

TEST_CASE("files that are no tokenizer at all are refused") {
  CHECK(Message(Tokenizer::FromJson("").status()).starts_with("tokenizer.json: invalid JSON at byte 0"));
  CHECK(Message(Tokenizer::FromJson("[]").status()) == "tokenizer.json: object expected, array found");
  CHECK(Message(Tokenizer::FromJson("{}").status()).starts_with("tokenizer.json: model: "));
  CHECK(Contains(Message(Tokenizer::FromJson(R"({"truncation":{}})").status()),
                 "truncation.max_length: a positive whole number expected"));
  CHECK(Contains(ToyFile{.pre_tokenizer = "3"}.ErrorText(), "pre_tokenizer: object expected, integer found"));
}

TEST_CASE("sequences do not nest without end") {
  std::string nested = R"({"type":"NFC"})";
  for (int i = 0; i < 10; ++i) nested = R"({"type":"Sequence","normalizers":[)" + nested + "]}";

  CHECK(Contains(ToyFile{.normalizer = nested}.ErrorText(), "nested more than"));
}

}  // namespace
}  // namespace baton::text
