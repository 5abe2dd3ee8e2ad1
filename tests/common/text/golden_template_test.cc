#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/text/chat_template.h"
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
  for (const json::Value& entry : *file->Find("cases")->AsArray()) CheckCase(**chat_template, entry, kNow);
}

TEST_CASE("every published template renders as the reference does") {
  const auto folder = test::SharedData("golden/templates");
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

}  // namespace
}  // namespace baton::text
