#include <string>
#include <string_view>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "router/http/request.h"

namespace baton::router {
namespace {

/// "code param" of the refusal of a chat with `fields`, "" where it is accepted.
std::string Refusal(std::string_view fields, GenerationRequest& out, const RequestLimits& limits = {}) {
  const std::string body = fmt::format(R"({{"messages":[{{"role":"user","content":"x"}}],{}}})", fields);
  const auto error = ParseRequest(Endpoint::kChat, body, limits, out);
  return error ? fmt::format("{} {}", error->code, error->param) : "";
}
std::string Refusal(std::string_view fields) {
  GenerationRequest out;
  return Refusal(fields, out);
}

/// The same of a chat with one message.
std::string MessageRefusal(std::string_view message, GenerationRequest& out) {
  const auto error =
      ParseRequest(Endpoint::kChat, fmt::format(R"({{"messages":[{}]}})", message), RequestLimits{}, out);
  return error ? fmt::format("{} {}", error->code, error->param) : "";
}

std::string CallRefusal(std::string_view call) {
  GenerationRequest out;
  return MessageRefusal(fmt::format(R"({{"role":"assistant","content":null,"tool_calls":[{}]}})", call), out);
}

TEST_CASE("tools arrive as they were written") {
  constexpr std::string_view kTools =
      R"([{"type":"function","function":{"name":"get-it_2","description":"d",)"
      R"("parameters":{"type":"object"}}}])";
  GenerationRequest out;
  CHECK(Refusal(fmt::format(R"("tools":{},"tool_choice":"auto","parallel_tool_calls":true)", kTools), out)
            .empty());
  REQUIRE(out.tools);
  CHECK(json::Serialize(*out.tools) == kTools);
  CHECK(Refusal(fmt::format(R"("tools":{},"tool_choice":"none")", kTools), out).empty());
  CHECK_FALSE(out.tools);
  CHECK(Refusal(R"("tools":[],"documents":[])", out).empty());
  CHECK_FALSE(out.tools);
  CHECK_FALSE(out.documents);
}

TEST_CASE("a call that would have to be forced is refused") {
  CHECK(Refusal(R"("tool_choice":"required")") == "unsupported_parameter tool_choice");
  CHECK(Refusal(R"("tool_choice":{"type":"function","function":{"name":"f"}})") ==
        "unsupported_parameter tool_choice");
  CHECK(Refusal(R"("tools":[{"type":"function","function":{"name":"f","strict":true}}])") ==
        "unsupported_parameter tools.0.function.strict");
  CHECK(Refusal(R"("functions":[{"name":"f"}])") == "unsupported_parameter functions");
}

TEST_CASE("tools are checked one by one") {
  CHECK(Refusal(R"("tools":{})") == "invalid_value tools");
  CHECK(Refusal(R"("tools":[7])") == "invalid_value tools.0");
  CHECK(Refusal(R"("tools":[{"type":"web"}])") == "unsupported_parameter tools.0.type");
  CHECK(Refusal(R"("tools":[{"type":"function"}])") == "missing_required_parameter tools.0.function");
  CHECK(Refusal(R"("tools":[{"type":"function","function":{}}])") ==
        "missing_required_parameter tools.0.function.name");
  const auto named = [](std::string_view name, std::string_view more = "") {
    return Refusal(fmt::format(R"("tools":[{{"type":"function","function":{{"name":{}{}}}}}])", name, more));
  };
  for (const std::string_view name : {R"("")", R"("a b")", R"("é")", "7"}) {
    INFO(name);
    CHECK(named(name) == "invalid_value tools.0.function.name");
  }
  CHECK(named("\"" + std::string(64, 'f') + "\"").empty());
  CHECK(named("\"" + std::string(65, 'f') + "\"") == "invalid_value tools.0.function.name");
  CHECK(named(R"("f")", R"(,"parameters":[])") == "invalid_value tools.0.function.parameters");
  CHECK(named(R"("f")", R"(,"description":1)") == "invalid_value tools.0.function.description");
  constexpr std::string_view kTwice = R"({"type":"function","function":{"name":"f"}})";
  CHECK(Refusal(fmt::format(R"("tools":[{0},{0}])", kTwice)) == "invalid_value tools.1.function.name");
}

TEST_CASE("what goes to the template is bounded") {
  const auto tool = [](int i, std::string_view description) {
    return fmt::format(R"({{"type":"function","function":{{"name":"f{}","description":"{}"}}}})", i,
                       description);
  };
  GenerationRequest out;
  RequestLimits limits;
  limits.tools_max = 1;
  limits.tools_bytes_max = 1000;
  limits.documents_max = 1;
  limits.template_variables_max = 1;
  limits.template_variables_bytes_max = 20;
  CHECK(Refusal(fmt::format(R"("tools":[{},{}])", tool(1, ""), tool(2, "")), out, limits) ==
        "invalid_value tools");
  CHECK(Refusal(fmt::format(R"("tools":[{}])", tool(1, std::string(1000, 'd'))), out, limits) ==
        "invalid_value tools");
  CHECK(Refusal(R"("documents":[{},{}])", out, limits) == "invalid_value documents");
  CHECK(Refusal(R"("chat_template_kwargs":{"a":1,"b":2})", out, limits) ==
        "invalid_value chat_template_kwargs");
  CHECK(Refusal(R"("chat_template_kwargs":{"a":"12345678901234567890"})", out, limits) ==
        "invalid_value chat_template_kwargs");
}

TEST_CASE("variables of the template are the client's, but not those that the server says") {
  GenerationRequest out;
  CHECK(Refusal(R"("chat_template_kwargs":{"enable_thinking":false,"levels":[1,{"a":null}]})", out).empty());
  CHECK(json::Serialize(out.template_variables) == R"({"enable_thinking":false,"levels":[1,{"a":null}]})");
  for (const std::string_view name :
       {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token", "chat_template",
        "raise_exception", "loop", "continue_final_message"}) {
    INFO(name);
    CHECK(Refusal(fmt::format(R"("chat_template_kwargs":{{"{}":1}})", name)) ==
          "invalid_value chat_template_kwargs");
  }
  for (const std::string_view name : {"", "a-b", "1a", "é"}) {
    INFO(name);
    CHECK(Refusal(fmt::format(R"("chat_template_kwargs":{{"{}":1}})", name)) ==
          "invalid_value chat_template_kwargs");
  }
  CHECK(Refusal(R"("chat_template_kwargs":[])") == "invalid_value chat_template_kwargs");
  CHECK(Refusal(R"("chat_template":"{{ 1 }}")") == "unsupported_parameter chat_template");
}

TEST_CASE("documents are objects") {
  GenerationRequest out;
  CHECK(Refusal(R"("documents":[{"title":"a","text":"b"}])", out).empty());
  REQUIRE(out.documents);
  CHECK(json::Serialize(*out.documents) == R"([{"title":"a","text":"b"}])");
  CHECK(Refusal(R"("documents":["a"])") == "invalid_value documents.0");
  CHECK(Refusal(R"("documents":"a")") == "invalid_value documents");
}

TEST_CASE("a message may call tools instead of saying something") {
  GenerationRequest out;
  CHECK(MessageRefusal(R"({"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":)"
                       R"({"name":"f","arguments":"{\"a\": [1]}"}}],"reasoning_content":"hm"})",
                       out)
            .empty());
  CHECK(json::Serialize(out.messages.at(0)) ==
        R"({"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c1",)"
        R"("type":"function","function":{"name":"f","arguments":{"a":[1]}}}]})");
  CHECK(MessageRefusal(R"({"role":"tool","tool_call_id":"c1","content":"22"})", out).empty());
  CHECK(json::Serialize(out.messages.at(0)) == R"({"role":"tool","content":"22","tool_call_id":"c1"})");
  CHECK(MessageRefusal(R"({"role":"assistant","content":"a","tool_calls":[]})", out).empty());
  CHECK(out.messages.at(0).Find("tool_calls") == nullptr);
  CHECK(MessageRefusal(R"({"role":"tool","tool_call_id":7,"content":"22"})", out) ==
        "invalid_value messages.0.tool_call_id");
  CHECK(MessageRefusal(R"({"role":"assistant","tool_calls":[]})", out) ==
        "missing_required_parameter messages.0.content");
}

TEST_CASE("calls of tools are checked one by one") {
  CHECK(CallRefusal(R"({"function":{"name":"f","arguments":""}})").empty());
  CHECK(CallRefusal(R"({"function":{"name":"f","arguments":{"a":1}}})").empty());
  CHECK(CallRefusal("7") == "invalid_value messages.0.tool_calls.0");
  CHECK(CallRefusal("{}") == "missing_required_parameter messages.0.tool_calls.0.function");
  CHECK(CallRefusal(R"({"type":"web"})") == "unsupported_parameter messages.0.tool_calls.0.type");
  CHECK(CallRefusal(R"({"function":{"arguments":"{}"}})") ==
        "missing_required_parameter messages.0.tool_calls.0.function.name");
  CHECK(CallRefusal(R"({"function":{"name":"a b","arguments":"{}"}})") ==
        "invalid_value messages.0.tool_calls.0.function.name");
  CHECK(CallRefusal(R"({"function":{"name":"f"}})") ==
        "missing_required_parameter messages.0.tool_calls.0.function.arguments");
  for (const std::string_view arguments : {R"("{")", R"("[]")", "[]", "7", R"("1")"}) {
    INFO(arguments);
    CHECK(CallRefusal(fmt::format(R"({{"function":{{"name":"f","arguments":{}}}}})", arguments)) ==
          "invalid_value messages.0.tool_calls.0.function.arguments");
  }
}

}  // namespace
}  // namespace baton::router
