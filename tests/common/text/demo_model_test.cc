#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"
#include "tests/support/shared_data.h"

namespace baton::text {
namespace {

std::vector<TokenId> Ids(const json::Value* value) {
  std::vector<TokenId> ids;
  for (const json::Value& id : *value->AsArray()) ids.push_back(static_cast<TokenId>(*id.AsInt()));
  return ids;
}

json::Value Reference() {
  auto file = json::Parse(test::ReadFile(test::ProjectFile("deploy/demo-model/reference.json")));
  REQUIRE(file.ok());
  return *std::move(file);
}

std::unique_ptr<Tokenizer> DemoTokenizer() {
  auto tokenizer = Tokenizer::Load(test::ProjectFile("deploy/demo-model"));
  INFO(Message(tokenizer.status()));
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

TEST_CASE("the demo model's prompts encode to the ids of its reference") {
  const auto tokenizer = DemoTokenizer();
  const json::Value reference = Reference();

  const json::Array& cases = *reference.Find("cases")->AsArray();
  CHECK(cases.size() >= 10);
  for (const json::Value& entry : cases) {
    if (*entry.Find("kind")->AsString() != "text") continue;
    CHECK(tokenizer->Encode(*entry.Find("text")->AsString()).value() == Ids(entry.Find("ids")));
  }
}

TEST_CASE("the demo model's chats render and encode to the ids of its reference") {
  const auto tokenizer = DemoTokenizer();
  const auto chat_template = ChatTemplate::Load(test::ProjectFile("deploy/demo-model"));
  INFO(Message(chat_template.status()));
  REQUIRE(chat_template.ok());
  const json::Value reference = Reference();

  int chats = 0;
  for (const json::Value& entry : *reference.Find("cases")->AsArray()) {
    if (*entry.Find("kind")->AsString() != "chat") continue;
    ++chats;
    const json::Object message = {{"role", "user"}, {"content", *entry.Find("text")}};
    const auto prompt = (*chat_template)->Render({.messages = {message}});
    REQUIRE(prompt.ok());
    CHECK(tokenizer->Encode(*prompt, {.add_special_tokens = false}).value() == Ids(entry.Find("ids")));
  }
  CHECK(chats >= 4);
}

TEST_CASE("the demo model's continuations decode to the text of its reference") {
  const auto tokenizer = DemoTokenizer();
  const json::Value reference = Reference();

  for (const json::Value& entry : *reference.Find("cases")->AsArray()) {
    std::vector<TokenId> greedy = Ids(entry.Find("greedy"));
    CHECK(tokenizer->Decode(greedy, /*skip_special=*/true) == *entry.Find("output")->AsString());
  }
}

TEST_CASE("the demo model's passage survives decoding and encoding") {
  const auto tokenizer = DemoTokenizer();
  const json::Value reference = Reference();
  const std::vector<TokenId> ids = Ids(reference.Find("passage")->Find("ids"));

  const std::string text = tokenizer->Decode(ids, /*skip_special=*/false);

  CHECK(tokenizer->Encode(text).value() == ids);
  CHECK(tokenizer->VocabularySize() == 2048);
  CHECK(tokenizer->FindToken("<|im_end|>") == 2047);
}

}  // namespace
}  // namespace baton::text
