#include "common/text/character_tokens.h"

#include <fstream>
#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace baton::text {
namespace {

constexpr std::string_view kLlama2 = R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
                                     R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})";
constexpr std::string_view kDecoder =
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";

/// <unk> 0, <s> 1 (special), ▁ 2, a 3, b 4, ▁a 5, ▁▁ 6, ab 7; the bytes of U+00E9: <0xC3> 8, <0xA9> 9.
struct Toy {
  std::string normalizer{kLlama2};
  std::string pre_tokenizer = "null";
  std::string decoder{kDecoder};
  std::string model = R"("byte_fallback":true,"fuse_unk":true,"unk_token":"<unk>")";

  [[nodiscard]] std::string Text() const {
    return R"({"normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer +
           R"(,"post_processor":null,"decoder":)" + decoder +
           R"(,"added_tokens":[{"id":1,"content":"<s>","special":true,"normalized":false}],)"
           R"("model":{"type":"BPE",)" +
           model +
           R"(,"vocab":{"<unk>":0,"<s>":1,"▁":2,"a":3,"b":4,"▁a":5,"▁▁":6,"ab":7,"<0xC3>":8,"<0xA9>":9},)"
           R"("merges":["▁ a","▁ ▁","a b"]}})";
  }
  [[nodiscard]] std::unique_ptr<Tokenizer> Load() const {
    auto tokenizer = Tokenizer::FromJson(Text());
    INFO(Message(tokenizer.status()));
    REQUIRE(tokenizer.ok());
    return *std::move(tokenizer);
  }
  [[nodiscard]] std::string ErrorText() const { return Message(Tokenizer::FromJson(Text()).status()); }
};

using Ids = std::vector<TokenId>;

std::string Metaspace(std::string_view more) {
  return R"({"type":"Metaspace","replacement":"▁")" + std::string(more) + "}";
}

TEST_CASE("Llama 2's normalizer marks spaces and the beginning of every piece") {
  const auto tokenizer = Toy{}.Load();

  CHECK(tokenizer->Encode("a").value() == Ids{5});
  CHECK(tokenizer->Encode(" a").value() == Ids{2, 5});
  CHECK(tokenizer->Encode("a ab").value() == Ids{5, 5, 4});
  CHECK(tokenizer->Encode("a<s>ab").value() == Ids{5, 1, 5, 4});
  CHECK(tokenizer->Encode("").value().empty());
}

TEST_CASE("a character without a token becomes its bytes, or unknown where those have none") {
  const auto tokenizer = Toy{}.Load();
  CHECK(tokenizer->Encode("é").value() == Ids{2, 8, 9});
  CHECK(tokenizer->Encode("xyb").value() == Ids{2, 0, 4});

  const auto apart = Toy{.model = R"("byte_fallback":true,"fuse_unk":false,"unk_token":"<unk>")"}.Load();
  CHECK(apart->Encode("xyb").value() == Ids{2, 0, 0, 4});
  const auto no_bytes = Toy{.model = R"("byte_fallback":false,"fuse_unk":true,"unk_token":"<unk>")"}.Load();
  CHECK(no_bytes->Encode("éb").value() == Ids{2, 0, 4});
  const auto nothing = Toy{.model = R"("byte_fallback":false)"}.Load();
  CHECK(nothing->Encode("xb").value() == Ids{2, 4});
}

TEST_CASE("Metaspace marks the beginning always, first or never, and may split words") {
  const auto with = [](std::string_view more) {
    return Toy{.normalizer = "null", .pre_tokenizer = Metaspace(more)}.Load();
  };
  const auto always = with(R"(,"prepend_scheme":"always","split":false)");
  CHECK(always->Encode("ab<s>ab").value() == Ids{5, 4, 1, 5, 4});
  CHECK(always->Encode(" ab").value() == Ids{5, 4});  // marked already
  const auto first = with(R"(,"prepend_scheme":"first","split":false)");
  CHECK(first->Encode("ab<s>ab").value() == Ids{5, 4, 1, 7});
  CHECK(first->Encode("<s>ab").value() == Ids{1, 7});
  const auto never = with(R"(,"prepend_scheme":"never","split":false)");
  CHECK(never->Encode("ab").value() == Ids{7});
  CHECK(never->Encode("a  b").value() == Ids{3, 6, 4});
  const auto split = with(R"(,"prepend_scheme":"never","split":true)");
  CHECK(split->Encode("a  b").value() == Ids{3, 2, 2, 4});
}

TEST_CASE("text loses the space that encoding put before it") {
  const auto tokenizer = Toy{}.Load();

  CHECK(tokenizer->Decode({5, 4}, false) == "ab");
  CHECK(tokenizer->Decode({6, 3}, false) == " a");
  CHECK(tokenizer->Decode({1, 5}, false) == "<s> a");
  CHECK(tokenizer->Decode({1, 5}, true) == "a");
}

TEST_CASE("a run of byte tokens that is no UTF-8 becomes one U+FFFD for each") {
  const auto tokenizer = Toy{}.Load();

  CHECK(tokenizer->Decode({3, 8, 9, 4}, false) == "aéb");
  CHECK(tokenizer->Decode({3, 8, 8, 9, 4}, false) == "a\uFFFD\uFFFD\uFFFDb");
  CHECK(tokenizer->Decode({9, 9}, false) == "\uFFFD\uFFFD");
}

TEST_CASE("a stream of byte tokens sends whole characters and says U+FFFD once a run is broken") {
  const auto tokenizer = Toy{}.Load();
  StreamDecoder stream(*tokenizer, true);

  CHECK(stream.Push(5) == "a");
  CHECK(stream.Push(8).empty());
  CHECK(stream.Push(9) == "é");
  CHECK(stream.Push(9) == "\uFFFD");
  CHECK(stream.Push(8) == "\uFFFD");  // the run is broken
  CHECK(stream.Push(4) == "b");
  CHECK(stream.Push(8).empty());
  CHECK(stream.Push(5) == "\uFFFD a");
  CHECK(stream.Push(8).empty());
  CHECK(stream.Flush() == "\uFFFD");
}

TEST_CASE("add_bos_token of tokenizer_config.json stands for the template that the file does not have") {
  const test::TemporaryFolder folder;
  const auto load = [&](std::string_view config) {
    std::ofstream(folder.Path() + "/tokenizer.json") << Toy{}.Text();
    std::ofstream(folder.Path() + "/tokenizer_config.json") << config;
    return Tokenizer::Load(folder.Path());
  };

  CHECK((*load("{}"))->Encode("a").value() == Ids{5});
  CHECK((*load(R"({"add_bos_token":true,"bos_token":"<s>"})"))->Encode("a").value() == Ids{1, 5});
  CHECK((*load(R"({"add_eos_token":true,"eos_token":{"content":"<s>"}})"))->Encode("a").value() == Ids{5, 1});
  CHECK((*load(R"({"add_bos_token":true,"bos_token":"<s>"})"))
            ->Encode("a", {.add_special_tokens = false})
            .value() == Ids{5});
  CHECK(Message(load(R"({"add_bos_token":true,"bos_token":"<x>"})").status()).find("bos_token is no token") !=
        std::string::npos);
}

TEST_CASE("the decoder's parts apply to tokens, then to the text") {
  const auto decoded = [](std::string_view decoder, const Ids& ids) {
    const auto tokenizer = Toy{.decoder = std::string(decoder)}.Load();
    StreamDecoder stream(*tokenizer, false);
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.Push(id);
    CHECK(streamed + stream.Flush() == tokenizer->Decode(ids, false));
    return tokenizer->Decode(ids, false);
  };
  const std::string metaspace = R"({"type":"Metaspace","replacement":"▁")";

  CHECK(decoded(metaspace + R"(,"prepend_scheme":"first"})", {6, 5, 5}) ==
        " a a");  // drops all of the first's
  CHECK(decoded(metaspace + R"(,"prepend_scheme":"never"})", {6, 5}) == "   a");
  CHECK(decoded(metaspace + "}", {8, 9}) == "<0xC3><0xA9>");  // without ByteFallback
  CHECK(decoded(R"({"type":"Sequence","decoders":[{"type":"Strip","content":"▁","start":1,"stop":0}]})",
                {6, 5}) == "▁a");
  CHECK(decoded(R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},)"
                R"({"type":"Replace","pattern":{"String":"▁"},"content":"--"},)"
                R"({"type":"Strip","content":"-","start":3,"stop":0}]})",
                {2, 5, 8, 9}) == "-aé");
  CHECK(
      decoded(R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"Regex":"▁+"},"content":" "}]})",
              {6, 5}) == "  a");
}

TEST_CASE("characters inside words and at their ends have tokens of their own where the model says so") {
  const auto tokenizer = Tokenizer::FromJson(
      R"({"pre_tokenizer":{"type":"WhitespaceSplit"},"decoder":{"type":"Fuse"},"model":{"type":"BPE",)"
      R"("continuing_subword_prefix":"##","end_of_word_suffix":"</w>","unk_token":"u",)"
      R"("vocab":{"u":0,"a":1,"a</w>":2,"##b":3,"##b</w>":4,"ab":5,"abb</w>":6},)"
      R"("merges":["#version: 0.2","a ##b",["ab","##b</w>"]]}})");
  INFO(Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());

  CHECK((*tokenizer)->Encode("a").value() == Ids{2});
  CHECK((*tokenizer)->Encode("abb ab").value() == Ids{6, 1, 4});
  CHECK((*tokenizer)->Encode("b").value() == Ids{0});
}

TEST_CASE("the prompt's limit is the smaller of the file's truncation and model_max_length") {
  const test::TemporaryFolder folder;
  const auto limit = [&](std::string_view truncation, std::string_view config) {
    std::string text = Toy{}.Text();
    text.insert(1, fmt::format(R"("truncation":{},)", truncation));
    std::ofstream(folder.Path() + "/tokenizer.json") << text;
    std::ofstream(folder.Path() + "/tokenizer_config.json") << config;
    return Tokenizer::Load(folder.Path()).value()->PromptTokensMax();
  };

  CHECK(limit("null", "{}") == std::nullopt);
  CHECK(limit("null", R"({"model_max_length":2048})") == 2048);
  CHECK(limit("null", R"({"model_max_length":1000000000000000019884624838656})") == std::nullopt);
  CHECK(limit(R"({"max_length":512,"strategy":"LongestFirst"})", R"({"model_max_length":2048})") == 512);
  CHECK(limit(R"({"max_length":4096})", R"({"model_max_length":2048})") == 2048);
}

TEST_CASE("encoding cuts nothing off") {
  std::string text = Toy{}.Text();
  text.insert(1, R"("truncation":{"max_length":1},)");

  CHECK(Tokenizer::FromJson(text).value()->Encode("a a a").value().size() == 3);
}

TEST_CASE("classes that make their own template go by add_bos_token, others by the file's") {
  const test::TemporaryFolder folder;
  std::string text = Toy{}.Text();
  const std::string_view none = R"("post_processor":null)";
  text.replace(text.find(none), none.size(),
               R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},)"
               R"({"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}})");
  std::ofstream(folder.Path() + "/tokenizer.json") << text;
  const auto encoded = [&](std::string_view config) {
    std::ofstream(folder.Path() + "/tokenizer_config.json") << config;
    return Tokenizer::Load(folder.Path()).value()->Encode("a").value();
  };

  CHECK(encoded(R"({"add_bos_token":false,"bos_token":"<s>"})") == Ids{1, 5});
  CHECK(encoded(R"({"tokenizer_class":"LlamaTokenizer","add_bos_token":false,"bos_token":"<s>"})") == Ids{5});
  CHECK(encoded(R"({"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"bos_token":"<s>"})") ==
        Ids{1, 5});
  CHECK(encoded(R"({"tokenizer_class":"LlamaTokenizer"})") == Ids{1, 5});
}

TEST_CASE("what such a file has beyond that is refused by its name") {
  const auto refused = [](const Toy& toy, std::string_view why) {
    INFO(toy.ErrorText());
    CHECK(toy.ErrorText().find(why) != std::string::npos);
  };
  refused({.normalizer = R"({"type":"Precompiled"})"}, "normalizer.type 'Precompiled' is not supported");
  refused({.normalizer = R"({"type":"Prepend"})"}, "normalizer.prepend: string expected");
  refused({.decoder = R"({"type":"WordPiece"})"}, "decoder.type 'WordPiece'");
  refused({.decoder = R"({"type":"Strip","content":"  ","start":1,"stop":0})"}, "is not one character");
  refused({.decoder = R"({"type":"Strip","content":" ","start":-1,"stop":0})"},
          "decoder.start: a small whole");
  refused({.decoder = R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]})"},
          "decoder.decoders[1]: comes too late");
  refused({.model = R"("unk_token":"none")"}, "model.unk_token: 'none' is not in");
  refused({.normalizer = "null", .pre_tokenizer = Metaspace(R"(,"prepend_scheme":"often")")},
          "prepend_scheme: \"often\" is none of");
}

}  // namespace
}  // namespace baton::text
