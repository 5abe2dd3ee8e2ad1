#include "router/http/response.h"

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
  CHECK(TextEvent(kText, " a\n\"b\"", true, UsageStyle::kAbsent, kUsage) ==
        "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
        "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"text\":\" "
        "a\\n\\\"b\\\"\",\"logprobs\":null,"
        "\"finish_reason\":null}]}\n\n");
  CHECK(FinishEvent(kText, {"stop", json::Value("END")}, UsageStyle::kNull, kUsage) ==
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
  CHECK(TextEvent(kChat, "x", true, UsageStyle::kAbsent, kUsage) ==
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\","
        "\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
        "\"content\":\"x\"},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  CHECK(TextEvent(kChat, "x", false, UsageStyle::kAbsent, kUsage).find("role") == std::string::npos);
  CHECK(FinishEvent(kChat, kStop, UsageStyle::kAbsent, kUsage).find("\"delta\":{},") != std::string::npos);
}

TEST_CASE("continuous usage is in every event") {
  CHECK(TextEvent(kText, "x", false, UsageStyle::kContinuous, kUsage).find("\"total_tokens\":5") !=
        std::string::npos);
  CHECK(FinishEvent(kText, kStop, UsageStyle::kContinuous, kUsage).find("\"total_tokens\":5") !=
        std::string::npos);
}

TEST_CASE("an event is one line between data and an empty line, whatever the text") {
  const std::string event =
      TextEvent(kText, "a\r\nb\n\ndata: [DONE]\n\n", false, UsageStyle::kAbsent, kUsage);
  CHECK(event.starts_with("data: {"));
  CHECK(event.find('\n') == event.size() - 2);
  CHECK(event.find('\r') == std::string::npos);
}

TEST_CASE("whole answers have these members") {
  CHECK(WholeBody(kText, "hi", kStop, kUsage) ==
        "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"system_"
        "fingerprint\":\"fp_1\","
        "\"choices\":[{\"index\":0,\"text\":\"hi\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_"
        "reason\":null}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0}}}");
  CHECK(WholeBody(kChat, "hi", kStop, kUsage)
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

}  // namespace
}  // namespace baton::router
