#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/chat_template.h"
#include "tests/support/shared_data.h"

namespace baton::text {
namespace {

ChatInput InputOf(const json::Value& entry) {
  ChatInput input;
  input.messages = *entry.Find("messages")->AsArray();
  for (const auto& [name, value] : *entry.Find("kwargs")->AsObject()) {
    if (name == "add_generation_prompt") {
      input.add_generation_prompt = *value.AsBool();
    } else {
      input.extra.emplace_back(name, value);
    }
  }
  return input;
}

void CheckCase(const ChatTemplate& chat_template, const json::Value& entry) {
  INFO("case " << *entry.Find("label")->AsString());
  const auto text = chat_template.Render(InputOf(entry));
  if (const json::Value* raises = entry.Find("raises")) {
    REQUIRE_FALSE(text.ok());
    CHECK(text.status().code() == kInvalidArgument);
    CHECK(Message(text.status()) == *raises->AsString());
    return;
  }
  INFO(Message(text.status()));
  REQUIRE(text.ok());
  CHECK(*text == *entry.Find("rendered")->AsString());
}

void CheckAll(std::string_view name) {
  const auto source = test::SharedData(fmt::format("golden/templates/{}.jinja", name));
  const auto cases = test::SharedData(fmt::format("golden/templates/{}.cases.json", name));
  if (!source || !cases) {
    WARN("SKIPPED: no ../shared/data/golden/templates/" << name);
    return;
  }
  const auto file = json::Parse(test::ReadFile(*cases));
  REQUIRE(file.ok());
  const auto chat_template = ChatTemplate::Parse(
      test::ReadFile(*source), *file->Find("bos_token")->AsString(), *file->Find("eos_token")->AsString());
  INFO(name << ": " << Message(chat_template.status()));
  REQUIRE(chat_template.ok());
  CHECK(file->Find("cases")->AsArray()->size() > 20);
  for (const json::Value& entry : *file->Find("cases")->AsArray()) CheckCase(**chat_template, entry);
}

TEST_CASE("the ChatML template renders as the reference does") {
  CheckAll("chatml");
}
TEST_CASE("the Llama 2 template renders as the reference does") {
  CheckAll("llama-2-chat");
}
TEST_CASE("the Llama 3 template renders as the reference does") {
  CheckAll("llama-3-instruct");
}
TEST_CASE("the Mistral 7B template renders as the reference does") {
  CheckAll("mistral-7b-instruct-v0.1");
}

TEST_CASE("a template that needs more than the subset is refused by name and place") {
  const auto source = test::SharedData("golden/templates/qwen2.5-instruct.jinja");
  if (!source) {
    WARN("SKIPPED: no ../shared/data/golden/templates");
    return;
  }

  const auto chat_template = ChatTemplate::Parse(test::ReadFile(*source), "", "");

  REQUIRE_FALSE(chat_template.ok());
  CHECK(Message(chat_template.status()) ==
        "chat template: line 11, column 20: filter 'tojson' is not supported");
}

}  // namespace
}  // namespace baton::text
