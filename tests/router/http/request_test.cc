#include "router/http/request.h"

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

const RequestLimits kLimits = [] {
  RequestLimits limits;
  limits.vocabulary = 1000;
  return limits;
}();

struct Case {
  std::string_view body;
  std::string_view code;   // "" = accepted
  std::string_view param;  // "" = null
};

void CheckAll(Endpoint endpoint, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    CAPTURE(c.body);
    GenerationRequest out;
    const auto error = ParseRequest(endpoint, c.body, kLimits, out);
    CHECK((error ? error->code : "") == c.code);
    CHECK((error ? error->param : "") == c.param);
    if (error) {
      CHECK(error->status == 400);
      CHECK(error->type == "invalid_request_error");
      CHECK(error->message.size() < 200);
      CHECK_FALSE(error->message.empty());
    }
  }
}

/// `field` in an otherwise good completion.
std::string With(std::string_view field) {
  return R"({"prompt":"x",)" + std::string(field) + "}";
}

TEST_CASE("a cache salt has 1 to 128 bytes and none of the reserved characters") {
  const std::string longest = With(R"("cache_salt":")" + std::string(128, 's') + "\"");
  const std::string too_long = With(R"("cache_salt":")" + std::string(129, 's') + "\"");
  const std::string null = With(R"("cache_salt":null)");
  CheckAll(Endpoint::kCompletions,
           {
               {longest, "", ""},
               {null, "", ""},
               {too_long, "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":""})", "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":"a@b"})", "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":"a/b"})", "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":"a\\b"})", "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":"a\u0000b"})", "invalid_value", "cache_salt"},
               {R"({"prompt":"x","cache_salt":7})", "invalid_value", "cache_salt"},
           });
  GenerationRequest out;
  REQUIRE_FALSE(ParseRequest(Endpoint::kCompletions, With(R"("cache_salt":"tenant 7")"), kLimits, out));
  CHECK(out.cache_salt == "tenant 7");
}

TEST_CASE("bodies that are no request are refused") {
  CheckAll(Endpoint::kCompletions, {
                                       {"", "invalid_json", ""},
                                       {"{", "invalid_json", ""},
                                       {"[]", "invalid_json", ""},
                                       {"null", "invalid_json", ""},
                                       {"{\"prompt\":\"x\"} trailing", "invalid_json", ""},
                                       {R"({"prompt":"a","prompt":"b"})", "invalid_json", ""},
                                       {R"({"prompt":NaN})", "invalid_json", ""},
                                       {"{\"prompt\":\"\xff\"}", "invalid_utf8", ""},
                                       {R"({"prompt":"\ud800"})", "invalid_json", ""},
                                       {"{}", "missing_required_parameter", "prompt"},
                                       {R"({"prompt":null})", "missing_required_parameter", "prompt"},
                                   });
}

TEST_CASE("a prompt is a text or a list of ids, alone or in a list of one") {
  CheckAll(Endpoint::kCompletions, {
                                       {R"({"prompt":"x"})", "", ""},
                                       {R"({"prompt":["x"]})", "", ""},
                                       {R"({"prompt":[1,2,999]})", "", ""},
                                       {R"({"prompt":[[1,2]]})", "", ""},
                                       {R"({"prompt":""})", "invalid_value", "prompt"},
                                       {R"({"prompt":[]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[[]]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[""]})", "invalid_value", "prompt"},
                                       {R"({"prompt":7})", "invalid_value", "prompt"},
                                       {R"({"prompt":{"a":1}})", "invalid_value", "prompt"},
                                       {R"({"prompt":[null]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[1000]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[-1]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[1,"x"]})", "invalid_value", "prompt"},
                                       {R"({"prompt":[1.5]})", "invalid_value", "prompt"},
                                       {R"({"prompt":["x","y"]})", "", ""},
                                       {R"({"prompt":[[1],[2]]})", "", ""},
                                       {R"({"prompt":[[1],"x"]})", "", ""},
                                       {R"({"prompt":[[1],[]]})", "invalid_value", "prompt"},
                                       {R"({"prompt":["x",1]})", "invalid_value", "prompt"},
                                   });
}

TEST_CASE("messages are checked one by one") {
  CheckAll(
      Endpoint::kChat,
      {
          {R"({"messages":[{"role":"user","content":"x"}]})", "", ""},
          {R"({"messages":[{"role":"system","content":"x"},{"role":"user","content":"y","name":null}]})", "",
           ""},
          {R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]})", "", ""},
          {R"({"messages":[{"role":"assistant","content":"x","tool_calls":null}]})", "", ""},
          {R"({})", "missing_required_parameter", "messages"},
          {R"({"messages":"x"})", "invalid_value", "messages"},
          {R"({"messages":[]})", "invalid_value", "messages"},
          {R"({"messages":["x"]})", "invalid_value", "messages.0"},
          {R"({"messages":[{"content":"x"}]})", "missing_required_parameter", "messages.0.role"},
          {R"({"messages":[{"role":"boss","content":"x"}]})", "invalid_value", "messages.0.role"},
          {R"({"messages":[{"role":3,"content":"x"}]})", "invalid_value", "messages.0.role"},
          {R"({"messages":[{"role":"user"}]})", "missing_required_parameter", "messages.0.content"},
          {R"({"messages":[{"role":"user","content":null}]})", "missing_required_parameter",
           "messages.0.content"},
          {R"({"messages":[{"role":"user","content":5}]})", "invalid_value", "messages.0.content"},
          {R"({"messages":[{"role":"user","content":[]}]})", "invalid_value", "messages.0.content"},
          {R"({"messages":[{"role":"user","content":["x"]}]})", "invalid_value", "messages.0.content.0"},
          {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "invalid_value",
           "messages.0.content.0.text"},
          {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":"x"}]}]})",
           "unsupported_parameter", "messages.0.content.0"},
          {R"({"messages":[{"role":"user","content":"x","name":1}]})", "invalid_value", "messages.0.name"},
          {R"({"messages":[{"role":"user","content":"x","tool_calls":[{"id":"1"}]}]})", "invalid_value",
           "messages.0.tool_calls"},
          {R"({"messages":[{"role":"assistant","content":"x","function_call":{"name":"f"}}]})",
           "unsupported_parameter", "messages.0.function_call"},
          {R"({"messages":[{"role":"assistant","content":"x","reasoning_content":1}]})", "invalid_value",
           "messages.0.reasoning_content"},
          {R"({"messages":[{"role":"user","content":"x"}],"max_completion_tokens":0})", "invalid_value",
           "max_completion_tokens"},
      });
}

TEST_CASE("numbers have ranges, and whole numbers are whole") {
  struct Field {
    std::string_view text;
    std::string_view param;  // "" = good
  };
  const std::vector<Field> fields = {
      {R"("max_tokens":1)", ""},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":-5)", "max_tokens"},
      {R"("max_tokens":1.5)", "max_tokens"},
      {R"("max_tokens":"9")", "max_tokens"},
      {R"("max_tokens":99999999999)", "max_tokens"},
      {R"("max_tokens":true)", "max_tokens"},
      {R"("temperature":0)", ""},
      {R"("temperature":2)", ""},
      {R"("temperature":2.01)", "temperature"},
      {R"("temperature":-0.1)", "temperature"},
      {R"("temperature":"hot")", "temperature"},
      {R"("top_p":1)", ""},
      {R"("top_p":0)", "top_p"},
      {R"("top_p":1.1)", "top_p"},
      {R"("top_k":-1)", ""},
      {R"("top_k":0)", ""},
      {R"("top_k":-2)", "top_k"},
      {R"("top_k":1.5)", "top_k"},
      {R"("min_p":0)", ""},
      {R"("min_p":1)", ""},
      {R"("min_p":-0.1)", "min_p"},
      {R"("min_p":1.01)", "min_p"},
      {R"("repetition_penalty":1.3)", ""},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("presence_penalty":-2)", ""},
      {R"("presence_penalty":2.1)", "presence_penalty"},
      {R"("frequency_penalty":2)", ""},
      {R"("frequency_penalty":-2.1)", "frequency_penalty"},
      {R"("logit_bias":{"0":-100,"999":100})", ""},
      {R"("logit_bias":{"1000":1})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":{"1x":1})", "logit_bias"},
      {R"("logit_bias":{"5":100.5})", "logit_bias"},
      {R"("logit_bias":{"5":"1"})", "logit_bias"},
      {R"("logit_bias":[1])", "logit_bias"},
      {R"("logprobs":0)", ""},
      {R"("logprobs":5)", ""},
      {R"("logprobs":6)", "logprobs"},
      {R"("logprobs":-1)", "logprobs"},
      {R"("logprobs":true)", "logprobs"},
      {R"("top_logprobs":1)", "top_logprobs"},
      {R"("echo":true)", ""},
      {R"("echo":true,"max_tokens":0)", ""},
      {R"("echo":1)", "echo"},
      {R"("n":64)", ""},
      {R"("n":65)", "n"},
      {R"("n":0)", "n"},
      {R"("n":2,"temperature":0)", "n"},
      {R"("seed":-9223372036854775808)", ""},
      {R"("seed":9223372036854775807)", ""},
      {R"("seed":9223372036854775808)", "seed"},
      {R"("seed":"1")", "seed"},
      {R"("min_tokens":0)", ""},
      {R"("min_tokens":-1)", "min_tokens"},
      {R"("min_tokens":5,"max_tokens":4)", "min_tokens"},
      {R"("n":1)", ""},
      {R"("n":0)", "n"},
      {R"("n":65)", "n"},
      {R"("presence_penalty":3)", "presence_penalty"},
      {R"("frequency_penalty":-3)", "frequency_penalty"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("top_logprobs":21)", "top_logprobs"},
      {R"("stream":1)", "stream"},
      {R"("ignore_eos":"yes")", "ignore_eos"},
      {R"("model":3)", "model"},
  };
  for (const Field& field : fields) {
    CheckAll(Endpoint::kCompletions,
             {{With(field.text), field.param.empty() ? "" : "invalid_value", field.param}});
  }
}

TEST_CASE("what would change the answer and is not there yet is refused, neutral values are not") {
  for (const std::string_view neutral : {R"("n":1)",
                                         R"("best_of":1)",
                                         R"("echo":false)",
                                         R"("suffix":null)",
                                         R"("logprobs":null)",
                                         R"("logprobs":false)",
                                         R"("top_logprobs":0)",
                                         R"("logit_bias":{})",
                                         R"("repetition_penalty":1.0)",
                                         R"("presence_penalty":0)",
                                         R"("frequency_penalty":0.0)",
                                         R"("response_format":{"type":"text"})",
                                         R"("tools":[])",
                                         R"("tool_choice":"none")",
                                         R"("use_beam_search":false)",
                                         R"("modalities":["text"])",
                                         R"("chat_template_kwargs":{})",
                                         R"("documents":[])",
                                         R"("bad_words":[])",
                                         R"("priority":0)"}) {
    CheckAll(Endpoint::kCompletions, {{With(neutral), "", ""}});
  }
  const std::vector<std::pair<std::string_view, std::string_view>> refused = {
      {R"("best_of":2)", "best_of"},
      {R"("suffix":"x")", "suffix"},
      {R"("tools":[{"type":"function"}])", "tools"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("guided_json":{})", "guided_json"},
      {R"("structured_outputs":{})", "structured_outputs"},
      {R"("chat_template":"x")", "chat_template"},
      {R"("chat_template_kwargs":{"a":1})", "chat_template_kwargs"},
      {R"("documents":[{}])", "documents"},
      {R"("use_beam_search":true)", "use_beam_search"},
      {R"("prompt_logprobs":1)", "prompt_logprobs"},
      {R"("truncate_prompt_tokens":5)", "truncate_prompt_tokens"},
      {R"("allowed_token_ids":[1])", "allowed_token_ids"},
      {R"("bad_words":["x"])", "bad_words"},
      {R"("priority":1)", "priority"},
  };
  for (const auto& [field, param] : refused) {
    CheckAll(Endpoint::kCompletions, {{With(field), "unsupported_parameter", param}});
  }
}

TEST_CASE("stop strings are few, short and not empty") {
  const std::string long_stop = R"("stop":")" + std::string(257, 'x') + "\"";
  CheckAll(Endpoint::kCompletions,
           {
               {With(R"("stop":null)"), "", ""},
               {With(R"("stop":"a")"), "", ""},
               {With(R"("stop":["a","b"])"), "", ""},
               {With(R"("stop":[])"), "", ""},
               {With(R"("stop":"")"), "invalid_value", "stop"},
               {With(R"("stop":["a",""])"), "invalid_value", "stop"},
               {With(R"("stop":["a",null])"), "invalid_value", "stop"},
               {With(R"("stop":5)"), "invalid_value", "stop"},
               {With(long_stop), "invalid_value", "stop"},
               {With(R"("stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"])"),
                "invalid_value", "stop"},
               {With(R"("stop_token_ids":[1,2])"), "", ""},
               {With(R"("stop_token_ids":[1000])"), "invalid_value", "stop_token_ids"},
               {With(R"("stop_token_ids":1)"), "invalid_value", "stop_token_ids"},
           });
}

TEST_CASE("stream options want a stream") {
  CheckAll(
      Endpoint::kCompletions,
      {
          {With(R"("stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})"), "",
           ""},
          {With(R"("stream":false,"stream_options":null)"), "", ""},
          {With(R"("stream_options":{"include_usage":true})"), "invalid_value", "stream_options"},
          {With(R"("stream":true,"stream_options":[])"), "invalid_value", "stream_options"},
          {With(R"("stream":true,"stream_options":{"include_usage":1})"), "invalid_value",
           "stream_options.include_usage"},
      });
}

TEST_CASE("null means silence for every optional field") {
  GenerationRequest out;
  const auto error = ParseRequest(
      Endpoint::kCompletions,
      R"({"model":null,"prompt":"x","max_tokens":null,"temperature":null,)"
      R"("top_p":null,"top_k":null,"min_p":null,)"
      R"("seed":null,"stop":null,"stop_token_ids":null,"ignore_eos":null,)"
      R"("min_tokens":null,"stream":null,"n":null,)"
      R"("logprobs":null,"echo":null,"suffix":null,"logit_bias":null,"user":null,"presence_penalty":null,)"
      R"("repetition_penalty":null,"tools":null,"response_format":null,"skip_special_tokens":null})",
      kLimits, out);
  REQUIRE_FALSE(error);
  CHECK_FALSE(out.max_tokens);
  CHECK_FALSE(out.temperature);
  CHECK_FALSE(out.seed);
  CHECK(out.skip_special_tokens);
  CHECK_FALSE(out.stream);
  CHECK(out.ignored_fields == 0);
}

TEST_CASE("every field arrives") {
  GenerationRequest out;
  const auto error =
      ParseRequest(Endpoint::kCompletions,
                   R"({"model":"m","prompt":[[3,4]],"max_tokens":7,"min_tokens":2,)"
                   R"("temperature":0.5,"top_p":0.9,"top_k":-1,)"
                   R"("min_p":0.1,"seed":-1,"stop":["a"],"include_stop_str_in_output":true,)"
                   R"("stop_token_ids":[9],"ignore_eos":true,)"
                   R"("skip_special_tokens":false,"stream":true,"stream_options":{"include_usage":true,)"
                   R"("later":1},"user":"u",)"
                   R"("made_up":1,"kv_transfer_params":{"tp_size":9}})",
                   kLimits, out);
  REQUIRE_FALSE(error);
  CHECK(out.model == "m");
  CHECK(std::get<std::vector<TokenId>>(out.prompts.at(0)) == std::vector<TokenId>{3, 4});
  CHECK(out.max_tokens == 7);
  CHECK(out.min_tokens == 2);
  CHECK(out.temperature == 0.5);
  CHECK(out.top_p == 0.9);
  CHECK(out.top_k == 0);
  CHECK(out.min_p == 0.1);
  CHECK(out.seed == 0xffffffffffffffffU);
  CHECK(out.stop == std::vector<std::string>{"a"});
  CHECK(out.include_stop_text);
  CHECK(out.stop_token_ids == std::vector<TokenId>{9});
  CHECK(out.ignore_eos);
  CHECK_FALSE(out.skip_special_tokens);
  CHECK(out.stream);
  CHECK(out.include_usage);
  CHECK(out.ignored_fields == 3);
}

TEST_CASE("where fields are strict an unknown one is an error that names it, also an inner one") {
  RequestLimits strict = kLimits;
  strict.strict_fields = true;
  const auto parse = [&](const char* more) {
    GenerationRequest out;
    return ParseRequest(Endpoint::kCompletions, fmt::format(R"({{"prompt":"a"{}}})", more), strict, out);
  };
  CHECK_FALSE(parse(R"(,"user":"u","temperature":0)"));
  const auto outer = parse(R"(,"temprature":0)");
  REQUIRE(outer);
  CHECK(outer->status == 400);
  CHECK(outer->param == "temprature");
  const auto inner = parse(R"(,"stream":true,"stream_options":{"include_usages":true})");
  REQUIRE(inner);
  CHECK(inner->param == "stream_options.include_usages");
}

TEST_CASE("special tokens are added to prompts and not to chats, unless the client says otherwise") {
  GenerationRequest out;
  REQUIRE_FALSE(ParseRequest(Endpoint::kCompletions, R"({"prompt":"a"})", kLimits, out));
  CHECK(out.add_special_tokens);
  REQUIRE_FALSE(
      ParseRequest(Endpoint::kCompletions, R"({"prompt":"a","add_special_tokens":false})", kLimits, out));
  CHECK_FALSE(out.add_special_tokens);
  REQUIRE_FALSE(
      ParseRequest(Endpoint::kChat, R"({"messages":[{"role":"user","content":"a"}]})", kLimits, out));
  CHECK_FALSE(out.add_special_tokens);
}

TEST_CASE("the newer name of the answer's length wins in chats") {
  GenerationRequest out;
  const auto error = ParseRequest(Endpoint::kChat,
                                  R"({"messages":[{"role":"user","content":[{"type":"text",)"
                                  R"("text":"a"},{"type":"text","text":"b"}],"name":"n"}],)"
                                  R"("max_tokens":5,"max_completion_tokens":9})",
                                  kLimits, out);
  REQUIRE_FALSE(error);
  CHECK(out.max_tokens == 9);
  REQUIRE(out.messages.size() == 1);
  CHECK(json::Serialize(out.messages[0]) == R"({"role":"user","content":"a\nb","name":"n"})");
}

TEST_CASE("what the client wrote is not echoed, and messages stay short") {
  GenerationRequest out;
  const std::string secret(100'000, 's');
  const auto error = ParseRequest(
      Endpoint::kChat, R"({"messages":[{"role":")" + secret + R"(","content":"x"}]})", kLimits, out);
  REQUIRE(error);
  CHECK(ErrorBody(*error).find("ssss") == std::string::npos);
  CHECK(ErrorBody(*error).size() < 400);
}

TEST_CASE("too many messages are refused") {
  RequestLimits limits = kLimits;
  limits.messages_max = 2;
  const std::string_view one = R"({"role":"user","content":"x"})";
  GenerationRequest out;
  const auto error =
      ParseRequest(Endpoint::kChat, fmt::format(R"({{"messages":[{},{},{}]}})", one, one, one), limits, out);
  REQUIRE(error);
  CHECK(error->param == "messages");
}

TEST_CASE("what says how to sample arrives") {
  GenerationRequest out;
  REQUIRE_FALSE(ParseRequest(Endpoint::kCompletions,
                             R"({"prompt":["a",[7]],"repetition_penalty":1.5,"presence_penalty":0.5,)"
                             R"("frequency_penalty":-0.5,"logit_bias":{"5":1.5},"n":3,"best_of":3,)"
                             R"("logprobs":2})",
                             kLimits, out));
  REQUIRE(out.prompts.size() == 2);
  CHECK(std::get<std::string>(out.prompts[0]) == "a");
  CHECK(std::get<std::vector<TokenId>>(out.prompts[1]) == std::vector<TokenId>{7});
  CHECK(out.repetition_penalty == 1.5);
  CHECK(out.presence_penalty == 0.5);
  CHECK(out.frequency_penalty == -0.5);
  REQUIRE(out.bias.size() == 1);
  CHECK(out.bias[0].token == 5);
  CHECK(out.bias[0].bias == 1.5F);
  CHECK(out.choices == 3);
  CHECK(out.logprobs == 2);
}

TEST_CASE("chats ask for log-probabilities with a switch and a number") {
  const std::string chat = R"({"messages":[{"role":"user","content":"x"}],)";
  CheckAll(Endpoint::kChat,
           {
               {chat + R"("logprobs":true})", "", ""},
               {chat + R"("logprobs":true,"top_logprobs":20})", "", ""},
               {chat + R"("logprobs":true,"top_logprobs":21})", "invalid_value", "top_logprobs"},
               {chat + R"("logprobs":false,"top_logprobs":1})", "invalid_value", "top_logprobs"},
               {chat + R"("top_logprobs":1})", "invalid_value", "top_logprobs"},
               {chat + R"("logprobs":2})", "invalid_value", "logprobs"},
               {chat + R"("echo":true})", "unsupported_parameter", "echo"},
           });
  GenerationRequest out;
  REQUIRE_FALSE(ParseRequest(Endpoint::kChat, chat + R"("logprobs":true,"top_logprobs":3})", kLimits, out));
  CHECK(out.logprobs == 3);
  REQUIRE_FALSE(ParseRequest(Endpoint::kChat, chat + R"("logprobs":true})", kLimits, out));
  CHECK(out.logprobs == 0);
  REQUIRE_FALSE(ParseRequest(Endpoint::kChat, chat + R"("logprobs":false})", kLimits, out));
  CHECK(out.logprobs == -1);
}

TEST_CASE("an echo may have log-probabilities, also one without an answer") {
  CheckAll(Endpoint::kCompletions, {{With(R"("echo":true,"logprobs":1)"), "", ""},
                                    {With(R"("echo":true,"logprobs":5,"max_tokens":0)"), "", ""},
                                    {With(R"("echo":true,"logprobs":6)"), "invalid_value", "logprobs"},
                                    {With(R"("echo":true,"logprobs":null)"), "", ""}});
}

TEST_CASE("prompts and choices together are bounded") {
  std::string prompts = R"({"n":64,"prompt":["x")";
  for (int i = 1; i < 4; ++i) prompts += R"(,"x")";
  CheckAll(Endpoint::kCompletions, {{prompts + "]}", "", ""}, {prompts + R"(,"x"]})", "invalid_value", "n"}});
}

TEST_CASE("a response_format is read, and a schema that is refused says why") {
  const RequestLimits limits{.vocabulary = 100};
  const auto parse = [&](std::string_view format, GenerationRequest& out) {
    const std::string body = R"({"prompt":"x","response_format":)" + std::string(format) + "}";
    return ParseRequest(Endpoint::kCompletions, body, limits, out);
  };
  GenerationRequest out;
  CHECK_FALSE(parse(R"({"type":"json_object"})", out).has_value());
  CHECK(out.grammar == "object");
  CHECK_FALSE(parse(R"({"type":"json_schema","json_schema":{"name":"a","schema":{"type":"null"}}})", out)
                  .has_value());
  CHECK(out.grammar == R"({"type":"null"})");
  const auto error = parse(R"({"type":"json_schema","json_schema":{"schema":{"pattern":"a\\1"}}})", out);
  REQUIRE(error.has_value());
  CHECK(error->status == 400);
  CHECK(error->param == "response_format.json_schema.schema");
  CHECK_THAT(error->message, Catch::StartsWith("'pattern' at '': at byte 3: this escape is not supported"));
  for (const std::string_view format :
       {R"("text")", "{}", R"({"type":"xml"})", R"({"type":"json_schema"})"}) {
    CHECK(parse(format, out).has_value());
  }
}

}  // namespace
}  // namespace baton::router
