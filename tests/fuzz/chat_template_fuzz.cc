#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/chat_template.h"

/// Any template over a fixed chat: parsing and rendering survive, and the text is UTF-8.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using baton::json::Object;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto chat_template = baton::text::ChatTemplate::Parse(source, "<s>", "</s>");
  if (!chat_template.ok()) return 0;
  const Object system = {{"role", "system"}, {"content", "Be brief."}};
  const Object user = {{"role", "user"}, {"content", " H\u00e9, \U0001F642 "}};
  const Object extra = {{"x", 3}, {"y", 0.5}, {"z", nullptr}, {"l", baton::json::Array{1, "two", true}}};
  const Object function = {{"name", "f"}, {"parameters", Object{{"type", "object"}}}};
  const Object tool = {{"type", "function"}, {"function", function}};
  const auto text = (*chat_template)
                        ->Render({.messages = {system, user},
                                  .tools = baton::json::Array{tool},
                                  .extra = extra,
                                  .now_unix_s = 0});
  if (text.ok()) BATON_CHECK(baton::ValidUtf8Prefix(*text) == text->size());
  return 0;
}
