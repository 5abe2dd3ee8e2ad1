#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/chat_template.h"
#include "tests/common/text/render.h"
#include "tests/support/shared_data.h"

namespace baton::text {
namespace {

constexpr std::int64_t kNow = 1741529106;  // the `now` of the files, 2025-03-09T14:05:06

ChatInput InputOf(const json::Value& entry) {
  ChatInput input;
  input.messages = *entry.Find("messages")->AsArray();
  for (const auto& [name, value] : *entry.Find("kwargs")->AsObject()) {
    if (name == "add_generation_prompt") {
      input.add_generation_prompt = *value.AsBool();
    } else if (name == "tools" && value.AsArray() != nullptr) {
      input.tools = *value.AsArray();
    } else {
      input.extra.emplace_back(name, value);
    }
  }
  return input;
}

void CheckCase(const ChatTemplate& chat_template, const json::Value& entry, std::int64_t now_unix_s) {
  INFO("case " << *entry.Find("label")->AsString());
  ChatInput input = InputOf(entry);
  input.now_unix_s = now_unix_s;
  const auto text = chat_template.Render(input);
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
  const auto source = baton::test::SharedData(fmt::format("golden/templates/{}.jinja", name));
  const auto cases = baton::test::SharedData(fmt::format("golden/templates/{}.cases.json", name));
  if (!source || !cases) {
    WARN("SKIPPED: no ../shared/data/golden/templates/" << name);
    return;
  }
  const auto file = json::Parse(baton::test::ReadFile(*cases));
  REQUIRE(file.ok());
  const auto chat_template =
      ChatTemplate::Parse(baton::test::ReadFile(*source), *file->Find("bos_token")->AsString(),
                          *file->Find("eos_token")->AsString());
  INFO(name << ": " << Message(chat_template.status()));
  REQUIRE(chat_template.ok());
  CHECK(file->Find("cases")->AsArray()->size() > 20);
  for (const json::Value& entry : *file->Find("cases")->AsArray()) CheckCase(**chat_template, entry, kNow);
}

TEST_CASE("every published template renders as the reference does") {
  const auto folder = baton::test::SharedData("golden/templates");
  if (!folder) {
    WARN("SKIPPED: no ../shared/data/golden/templates");
    return;
  }
  std::size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator(*folder)) {
    if (file.path().extension() != ".jinja") continue;
    CheckAll(file.path().stem().string());
    ++count;
  }
  CHECK(count >= 7);
}

json::Value OwnFile(std::string_view name) {
  const std::string path = baton::test::ProjectFile(fmt::format("tests/common/text/templates/{}", name));
  auto value = json::Parse(baton::test::ReadFile(path));
  INFO(path << ": " << Message(value.status()));
  REQUIRE(value.ok());
  return *std::move(value);
}

/// What the reference raised or could not do has no text; the words of raise_exception are the template's.
void CheckOutcome(const json::Value& entry, const absl::StatusOr<std::string>& text) {
  INFO(Message(text.status()));
  if (const json::Value* rendered = entry.Find("rendered")) {
    REQUIRE(text.ok());
    CHECK(*text == *rendered->AsString());
    return;
  }
  REQUIRE_FALSE(text.ok());
  if (const json::Value* raises = entry.Find("raises")) CHECK(Message(text.status()) == *raises->AsString());
}

TEST_CASE("templates of our own render as the reference does") {
  const json::Value inputs = OwnFile("inputs.json");
  for (const std::string_view name : {"briefing", "python-tools", "roster", "thoughts"}) {
    const std::string source = baton::test::ReadFile(
        baton::test::ProjectFile(fmt::format("tests/common/text/templates/{}.jinja", name)));
    const auto chat_template = ChatTemplate::Parse(source, "<s>", "</s>");
    INFO(name << ": " << Message(chat_template.status()));
    REQUIRE(chat_template.ok());
    const json::Value cases = OwnFile(fmt::format("{}.cases.json", name));
    CHECK(cases.AsArray()->size() == 24);
    for (const json::Value& entry : *cases.AsArray()) {
      const std::string& chat = *entry.Find("chat")->AsString();
      const std::int64_t setting = *entry.Find("settings")->AsInt();
      INFO(chat << " " << setting);
      const json::Value& kwargs = (*inputs.Find("settings")->AsArray())[static_cast<std::size_t>(setting)];
      ChatInput input =
          InputOf(json::Object{{"messages", *inputs.Find("chats")->Find(chat)}, {"kwargs", kwargs}});
      input.now_unix_s = kNow;
      CheckOutcome(entry, (*chat_template)->Render(input));
    }
  }
}

TEST_CASE("idioms of templates have the reference's text") {
  const json::Value pairs = OwnFile("idioms.json");
  CHECK(pairs.AsArray()->size() > 90);
  for (const json::Value& pair : *pairs.AsArray()) {
    const json::Array& both = *pair.AsArray();
    CHECK(test::Render(*both[0].AsString()) == *both[1].AsString());
  }
}

}  // namespace
}  // namespace baton::text
