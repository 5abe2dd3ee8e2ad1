// The whole way of the golden models: text or chat, ids, greedy tokens, text.
#include <catch2/catch.hpp>

#include <filesystem>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

namespace baton::engine {
namespace {

std::vector<TokenId> Ids(const json::Value& list) {
  std::vector<TokenId> ids;
  for (const json::Value& id : *list.AsArray()) ids.push_back(static_cast<TokenId>(*id.AsInt()));
  return ids;
}

std::string PromptText(const std::string& directory, const json::Value& entry) {
  if (*entry.Find("kind")->AsString() != "chat") return *entry.Find("text")->AsString();
  const auto chat = text::ChatTemplate::Load(directory);
  REQUIRE(chat.ok());
  const auto rendered = (*chat)->Render(
      {.messages = *entry.Find("messages")->AsArray(), .extra = {{"date_string", "09 Mar 2025"}}});
  REQUIRE(rendered.ok());
  CHECK(*rendered == *entry.Find("text")->AsString());
  return *rendered;
}

TEST_CASE("text and chats become the golden ids, the golden answer and its text, in class f32") {
  const auto models = test::SharedData("golden/models");
  if (!models.has_value()) {
    WARN("skipped: this checkout has no ../shared/data/golden");
    return;
  }
  for (const auto& folder : std::filesystem::directory_iterator(*models)) {
    const std::string directory = folder.path();
    CAPTURE(directory);
    const auto tokenizer = text::Tokenizer::Load(directory);
    REQUIRE(Message(tokenizer.status()).empty());
    test::SequenceRunner runner(directory, {.compute = kernels::ComputeClass::kF32});
    const json::Value root = json::Parse(test::ReadFile(directory + "/e2e.json")).value();
    for (const json::Value& entry : *root.Find("cases")->AsArray()) {
      const std::string prompt = PromptText(directory, entry);
      CAPTURE(prompt);

      const auto ids =
          (*tokenizer)->Encode(prompt, {.add_special_tokens = *entry.Find("add_special_tokens")->AsBool()});
      REQUIRE(ids.ok());
      const std::vector<TokenId> answer = runner.Greedy(*ids, 32);

      CHECK(*ids == Ids(*entry.Find("ids")));
      CHECK(answer == Ids(*entry.Find("greedy")));
      CHECK((*tokenizer)->Decode(answer, false) == *entry.Find("greedy_text")->AsString());
      CHECK((*tokenizer)->Decode(answer, true) == *entry.Find("greedy_text_skip_special")->AsString());
    }
  }
}

}  // namespace
}  // namespace baton::engine
