#include "tests/common/text/render.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/text/chat_template.h"

namespace baton::text::test {

absl::StatusOr<std::string> TryRender(std::string_view source, json::Object extra) {
  auto chat_template = ChatTemplate::Parse(source, "<s>", "</s>");
  if (!chat_template.ok()) return chat_template.status();
  const json::Object user = {{"role", "user"}, {"content", " Hi "}};
  const json::Object assistant = {{"role", "assistant"}, {"content", "Yes"}};
  return (*chat_template)
      ->Render({.messages = {user, assistant}, .extra = std::move(extra), .now_unix_s = 1741529106});
}

std::string Render(std::string_view source, json::Object extra) {
  auto text = TryRender(source, std::move(extra));
  INFO(source << ": " << Message(text.status()));
  REQUIRE(text.ok());
  return *std::move(text);
}

std::string ErrorOf(std::string_view source, json::Object extra) {
  const auto text = TryRender(source, std::move(extra));
  INFO(source);
  REQUIRE_FALSE(text.ok());
  return Message(text.status());
}

}  // namespace baton::text::test
