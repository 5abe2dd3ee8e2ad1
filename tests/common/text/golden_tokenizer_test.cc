#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/tokenizer.h"
#include "tests/support/shared_data.h"

namespace baton::text {
namespace {

/// A folder of reference data; nothing, and a warning, where this checkout has none.
std::optional<std::string> Golden(std::string_view folder) {
  auto path = test::SharedData(fmt::format("golden/{}", folder));
  if (!path) WARN("SKIPPED: no ../shared/data/golden/" << folder);
  return path;
}

std::unique_ptr<Tokenizer> MustLoad(const std::string& directory) {
  auto tokenizer = Tokenizer::Load(directory);
  INFO(Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

json::Array Cases(const std::string& path) {
  auto file = json::Parse(test::ReadFile(path));
  INFO(path << ": " << Message(file.status()));
  REQUIRE(file.ok());
  return *file->Find("cases")->AsArray();
}

std::vector<TokenId> Ids(const json::Value* value) {
  std::vector<TokenId> ids;
  for (const json::Value& id : *value->AsArray()) ids.push_back(static_cast<TokenId>(*id.AsInt()));
  return ids;
}

std::string Text(const json::Value& object, std::string_view key) {
  return *object.Find(key)->AsString();
}

std::string TextOr(const json::Value& object, std::string_view key, const std::string& fallback) {
  return object.Find(key) == nullptr ? fallback : Text(object, key);
}

void CheckEncoding(const Tokenizer& tokenizer, const json::Value& entry) {
  const std::string text = Text(entry, "text");
  INFO("text " << text);
  const std::vector<TokenId> ids = Ids(entry.Find("ids"));
  const json::Value* special = entry.Find("ids_with_special");
  CHECK(tokenizer.Encode(text, {.add_special_tokens = false}).value() == ids);
  CHECK(tokenizer.Encode(text).value() == (special == nullptr ? ids : Ids(special)));
  const std::string decoded = TextOr(entry, "decoded", text);
  CHECK(tokenizer.Decode(ids, /*skip_special=*/false) == decoded);
  CHECK(tokenizer.Decode(ids, /*skip_special=*/true) == TextOr(entry, "decoded_skip_special", decoded));
}

void CheckStream(const Tokenizer& tokenizer, const json::Value& entry) {
  const std::vector<TokenId> ids = Ids(entry.Find("ids"));
  const json::Array& chunks = *entry.Find("chunks")->AsArray();
  REQUIRE(chunks.size() == ids.size());
  StreamDecoder decoder(tokenizer, /*skip_special=*/false);
  std::string all;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string chunk = decoder.Push(ids[i]);
    CHECK(chunk == *chunks[i].AsString());
    all += chunk;
  }
  const std::string flushed = decoder.Flush();
  CHECK(flushed == Text(entry, "flush"));
  CHECK(all + flushed == Text(entry, "text"));
}

TEST_CASE("reference texts encode to the reference's ids and back") {
  for (const std::string_view name : {"bl3", "q2", "spm2"}) {
    const auto folder = Golden(fmt::format("tokenizers/{}", name));
    if (!folder) return;
    const auto tokenizer = MustLoad(*folder);
    const json::Array cases = Cases(*folder + "/encode.json");
    CHECK(cases.size() > 300);
    for (const json::Value& entry : cases) CheckEncoding(*tokenizer, entry);
  }
}

TEST_CASE("arbitrary ids decode to the reference's text") {
  for (const std::string_view name : {"bl3", "q2", "spm2"}) {
    const auto folder = Golden(fmt::format("tokenizers/{}", name));
    if (!folder) return;
    const auto tokenizer = MustLoad(*folder);
    for (const json::Value& entry : Cases(*folder + "/decode.json")) {
      const std::vector<TokenId> ids = Ids(entry.Find("ids"));
      CHECK(tokenizer->Decode(ids, false) == Text(entry, "decoded"));
      CHECK(tokenizer->Decode(ids, true) == Text(entry, "decoded_skip_special"));
    }
  }
}

TEST_CASE("streams of ids come out in the reference's chunks") {
  for (const std::string_view name : {"bl3", "q2", "spm2"}) {
    const auto folder = Golden(fmt::format("tokenizers/{}", name));
    if (!folder) return;
    const auto tokenizer = MustLoad(*folder);
    for (const json::Value& entry : Cases(*folder + "/stream.json")) CheckStream(*tokenizer, entry);
  }
}

TEST_CASE("byte strings that are no UTF-8 are refused") {
  const auto folder = Golden("tokenizers/bl3");
  if (!folder) return;
  const auto tokenizer = MustLoad(*folder);
  for (const json::Value& entry : Cases(*folder + "/invalid_utf8.json")) {
    const std::string hex = Text(entry, "hex");
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    const auto ids = tokenizer->Encode(bytes);
    INFO(hex);
    REQUIRE_FALSE(ids.ok());
    CHECK(Message(ids.status()).find("not UTF-8 at byte") != std::string::npos);
  }
}

TEST_CASE("prompts and continuations of the small reference models agree in text and ids") {
  for (const std::string_view name : {"llama3-tiny", "mistral-tiny", "qwen3-tiny"}) {
    const auto folder = Golden(fmt::format("models/{}", name));
    if (!folder) return;
    const auto tokenizer = MustLoad(*folder);
    for (const json::Value& entry : Cases(*folder + "/e2e.json")) {
      const bool special = *entry.Find("add_special_tokens")->AsBool();
      CHECK(tokenizer->Encode(Text(entry, "text"), {.add_special_tokens = special}).value() ==
            Ids(entry.Find("ids")));
      const std::vector<TokenId> greedy = Ids(entry.Find("greedy"));
      CHECK(tokenizer->Decode(greedy, false) == Text(entry, "greedy_text"));
      CHECK(tokenizer->Decode(greedy, true) == Text(entry, "greedy_text_skip_special"));
    }
  }
}

}  // namespace
}  // namespace baton::text
