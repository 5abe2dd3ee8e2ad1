#include <fstream>
#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/chat_template.h"
#include "tests/support/temporary_folder.h"

namespace baton::text {
namespace {

void Write(const test::TemporaryFolder& folder, std::string_view name, std::string_view text) {
  std::ofstream(folder.Path() + "/" + std::string(name), std::ios::binary) << text;
}

constexpr std::string_view kNamed =
    R"({"bos_token": "<s>", "chat_template": [{"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "{{ bos_token }}{{ tools|length }} tools"}]})";

TEST_CASE("of named templates, the default is taken, and tool_use with tools") {
  test::TemporaryFolder folder;
  Write(folder, "tokenizer_config.json", kNamed);

  const auto chat_template = ChatTemplate::Load(folder.Path());

  REQUIRE(chat_template.ok());
  CHECK((*chat_template)->Render({}).value() == "plain");
  CHECK((*chat_template)->Render({.tools = json::Array{}}).value() == "plain");
  CHECK((*chat_template)->Render({.tools = json::Array{"a", "b"}}).value() == "<s>2 tools");
}

TEST_CASE("a template in a file of its own counts") {
  test::TemporaryFolder folder;
  Write(folder, "tokenizer_config.json", kNamed);
  Write(folder, "chat_template.jinja", "{{ bos_token }}own");

  const auto chat_template = ChatTemplate::Load(folder.Path());

  REQUIRE(chat_template.ok());
  CHECK((*chat_template)->Render({.tools = json::Array{"a"}}).value() == "<s>own");
}

TEST_CASE("a list without a default or with a broken entry is refused") {
  test::TemporaryFolder folder;

  Write(folder, "tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  CHECK(Message(ChatTemplate::Load(folder.Path()).status()).find("no template named 'default'") !=
        std::string::npos);

  Write(folder, "tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  CHECK(Message(ChatTemplate::Load(folder.Path()).status()).find("without the strings name and template") !=
        std::string::npos);

  Write(folder, "tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "x"},
                                     {"name": "tool_use", "template": "{% if %}"}]})");
  CHECK(Message(ChatTemplate::Load(folder.Path()).status()).find("expression expected") != std::string::npos);
}

TEST_CASE("tools, documents and further variables are undefined where they are not given") {
  const auto chat_template = ChatTemplate::Parse(
      "{{ tools is defined }}{{ documents is defined }}{{ enable_thinking is defined }}{{ enable_thinking }}",
      "", "");
  REQUIRE(chat_template.ok());

  CHECK((*chat_template)->Render({}).value() == "FalseFalseFalse");
  CHECK((*chat_template)
            ->Render(
                {.tools = json::Array{}, .documents = json::Array{}, .extra = {{"enable_thinking", false}}})
            .value() == "TrueTrueTrueFalse");
}

TEST_CASE("every token that the configuration names is a variable of the template") {
  const test::TemporaryFolder folder;
  Write(
      folder, "tokenizer_config.json",
      R"({"chat_template": "{{ bos_token }}{{ unk_token }}{{ pad_token }}{{ cls_token is defined }}",)"
      R"( "bos_token": "<s>", "unk_token": {"content": "<unk>"}, "pad_token": "<pad>", "cls_token": null})");

  CHECK(ChatTemplate::Load(folder.Path()).value()->Render({}).value() == "<s><unk><pad>False");
}

}  // namespace
}  // namespace baton::text
