#include "router/http/response.h"

#include <limits>

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

const AnswerHead kText{.endpoint = Endpoint::kCompletions,
                       .id = "cmpl-1",
                       .model = "m",
                       .system_fingerprint = "fp_1",
                       .created = 7};
const AnswerHead kChat{.endpoint = Endpoint::kChat,
                       .id = "chatcmpl-1",
                       .model = "m",
                       .system_fingerprint = "fp_1",
                       .created = 7};
const Usage kUsage{.prompt_tokens = 3, .completion_tokens = 2};
const AnswerEnd kStop{.finish_reason = "stop", .stop_reason = {}};

TEST_CASE("a completion's events are these bytes") {
  CHECK(TextEvent(kText, {.text = " a\n\"b\""}, true, UsageStyle::kAbsent, kUsage) ==
        "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
        "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"text\":\" "
        "a\\n\\\"b\\\"\",\"logprobs\":null,"
        "\"finish_reason\":null}]}\n\n");
  CHECK(FinishEvent(kText, 0, {"stop", json::Value("END")}, UsageStyle::kNull, kUsage) ==
        "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
        "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,"
        "\"finish_reason\":\"stop\",\"stop_reason\":\"END\"}],\"usage\":null}\n\n");
  CHECK(
      UsageEvent(kText, kUsage) ==
      "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
      "\"system_fingerprint\":\"fp_1\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,"
      "\"total_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\n");
  CHECK(kDoneEvent == "data: [DONE]\n\n");
}

TEST_CASE("a chat's first event alone carries the role, its finish an empty delta") {
  CHECK(TextEvent(kChat, {.text = "x"}, true, UsageStyle::kAbsent, kUsage) ==
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\","
        "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
        "\"content\":\"x\"},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  CHECK(TextEvent(kChat, {.text = "x"}, false, UsageStyle::kAbsent, kUsage).find("role") ==
        std::string::npos);
  CHECK(FinishEvent(kChat, 0, kStop, UsageStyle::kAbsent, kUsage).find("\"delta\":{},") != std::string::npos);
}

TEST_CASE("continuous usage is in every event") {
  CHECK(TextEvent(kText, {.text = "x"}, false, UsageStyle::kContinuous, kUsage).find("\"total_tokens\":5") !=
        std::string::npos);
  CHECK(FinishEvent(kText, 0, kStop, UsageStyle::kContinuous, kUsage).find("\"total_tokens\":5") !=
        std::string::npos);
}

TEST_CASE("an event is one line between data and an empty line, whatever the text") {
  const std::string event =
      TextEvent(kText, {.text = "a\r\nb\n\ndata: [DONE]\n\n"}, false, UsageStyle::kAbsent, kUsage);
  CHECK(event.starts_with("data: {"));
  CHECK(event.find('\n') == event.size() - 2);
  CHECK(event.find('\r') == std::string::npos);
}

TEST_CASE("whole answers have these members") {
  CHECK(WholeBody(kText, {{.text = "hi", .end = kStop}}, kUsage) ==
        "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"system_"
        "fingerprint\":\"fp_1\","
        "\"choices\":[{\"index\":0,\"text\":\"hi\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_"
        "reason\":null}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0}}}");
  CHECK(WholeBody(kChat, {{.text = "hi", .end = kStop}}, kUsage)
            .find("\"message\":{\"role\":\"assistant\",\"content\":\"hi\",\"refusal\":null}") !=
        std::string::npos);
}

TEST_CASE("an error has a string code and a null param where there is none") {
  CHECK(ErrorEvent(ServerError("worker_lost")) ==
        "data: {\"error\":{\"message\":\"a worker was lost while it served the "
        "request\",\"type\":\"server_error\","
        "\"param\":null,\"code\":\"worker_lost\"}}\n\n");
  CHECK(ErrorBody(MissingParameter("prompt")).find("\"param\":\"prompt\"") != std::string::npos);
}

TEST_CASE("the overflow of the context says the words that clients look for") {
  const ApiError error = ContextLengthExceeded(512, 600, 16);
  CHECK(error.status == 400);
  CHECK(error.code == "context_length_exceeded");
  CHECK(error.message.find("maximum context length is 512 tokens") != std::string::npos);
}

TEST_CASE("a long message is cut at a whole character") {
  ApiError error = ServerError("internal_error");
  error.message = std::string(1023, 'a') + "\xc3\xa9\xc3\xa9";
  const std::string body = ErrorBody(error);
  CHECK(body.find(std::string(1023, 'a') + "\"") != std::string::npos);
}

TEST_CASE("each refusal has its status") {
  for (const Refusal refusal :
       {Refusal::kDraining, Refusal::kNoPrefillWorkers, Refusal::kNoDecodeWorkers, Refusal::kQueueFull}) {
    CHECK(Refused(refusal).status == 503);
    CHECK(Refused(refusal).code == Name(refusal));
    CHECK_FALSE(Refused(refusal).message.empty());
  }
  CHECK(Refused(Refusal::kModelNotFound).status == 404);
  CHECK(Refused(Refusal::kTooLarge).status == 400);
}

TEST_CASE("a model is listed with its context length") {
  CHECK(ModelListBody({.id = "a/b", .created = 5, .context_tokens = 512}) ==
        "{\"object\":\"list\",\"data\":[{\"id\":\"a/"
        "b\",\"object\":\"model\",\"created\":5,\"owned_by\":\"baton\","
        "\"root\":\"a/b\",\"parent\":null,\"max_model_len\":512}]}");
}

const ShownLogprobs kShown{
    .token = {" a\xe2", -0.5}, .top = {{"b", -0.25}, {" a\xe2", -0.5}}, .text_offset = 4};

TEST_CASE("a completion's log-probabilities are these bytes, and bytes that are no character are named") {
  const std::string event =
      TextEvent(kText, {.choice = 2, .text = "x", .logprobs = {kShown}}, true, UsageStyle::kAbsent, kUsage);
  CHECK(event.find(R"("choices":[{"index":2,"text":"x","logprobs":{"tokens":["bytes:\\x20\\x61\\xe2"],)"
                   R"("token_logprobs":[-0.5],"top_logprobs":[{"b":-0.25,"bytes:\\x20\\x61\\xe2":-0.5}],)"
                   R"("text_offset":[4]},"finish_reason":null}])") != std::string::npos);
}

TEST_CASE("a prompt's first token has no log-probability") {
  ShownLogprobs first = kShown;
  first.known = false;
  const std::string event =
      TextEvent(kText, {.text = "x", .logprobs = {first, kShown}}, true, UsageStyle::kAbsent, kUsage);
  CHECK(event.find(R"("token_logprobs":[null,-0.5],"top_logprobs":[null,{"b":)") != std::string::npos);
}

TEST_CASE("a chat's log-probabilities are these bytes") {
  const std::string body = WholeBody(kChat, {{.text = "x", .logprobs = {kShown}, .end = kStop}}, kUsage);
  CHECK(body.find(
            "\"logprobs\":{\"content\":[{\"token\":\" a\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[32,97,226],"
            "\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-0.25,\"bytes\":[98]},"
            "{\"token\":\" a\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[32,97,226]}]}],\"refusal\":null}") !=
        std::string::npos);
}

TEST_CASE("a token without a chance has a finite log-probability") {
  const ShownLogprobs never{.token = {"a", -std::numeric_limits<double>::infinity()}};
  CHECK(WholeBody(kText, {{.text = "a", .logprobs = {never}, .end = kStop}}, kUsage)
            .find("\"token_logprobs\":[-9999") != std::string::npos);
}

TEST_CASE("choices come in their order, each with its own end") {
  const std::string body =
      WholeBody(kText, {{.text = "a", .end = kStop}, {.text = "b", .end = {"length", {}}}}, kUsage);
  CHECK(body.find(R"("index":0,"text":"a","logprobs":null,"finish_reason":"stop")") != std::string::npos);
  CHECK(body.find(R"("index":1,"text":"b","logprobs":null,"finish_reason":"length")") != std::string::npos);
}

}  // namespace
}  // namespace baton::router
