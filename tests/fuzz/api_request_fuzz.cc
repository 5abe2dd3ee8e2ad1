#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/json/value.h"
#include "router/http/request.h"

/// Any body, on both endpoints: it is refused with a short, well-formed error of status 400, or what comes
/// out is in its ranges.
namespace {

using namespace baton;

void CheckAccepted(const router::GenerationRequest& request, const router::RequestLimits& limits) {
  BATON_CHECK(!request.max_tokens || *request.max_tokens >= (request.echo ? 0 : 1));
  BATON_CHECK(request.min_tokens >= 0);
  BATON_CHECK(!request.temperature || (*request.temperature >= 0 && *request.temperature <= 2));
  BATON_CHECK(!request.top_p || (*request.top_p > 0 && *request.top_p <= 1));
  BATON_CHECK(!request.top_k || *request.top_k >= 0);
  BATON_CHECK(!request.min_p || (*request.min_p >= 0 && *request.min_p <= 1));
  BATON_CHECK(request.stop.size() <= limits.stop_strings_max);
  for (const std::string& stop : request.stop) BATON_CHECK(!stop.empty());
  BATON_CHECK(request.stream || !request.include_usage);
  if (request.endpoint == router::Endpoint::kChat) {
    BATON_CHECK(!request.messages.empty());
    for (const json::Value& message : request.messages) {
      const bool calls = message.Find("tool_calls") != nullptr;
      BATON_CHECK(message.Find("content")->AsString() != nullptr || calls);
    }
    BATON_CHECK(!request.tools || (!request.tools->empty() && request.tools->size() <= limits.tools_max));
    for (const std::string_view name : {"messages", "bos_token", "tools", "add_generation_prompt"})
      BATON_CHECK(json::Value(request.template_variables).Find(name) == nullptr);
    return;
  }
  BATON_CHECK(!request.prompts.empty());
  for (const router::GenerationRequest::Prompt& prompt : request.prompts) {
    if (const auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) {
      BATON_CHECK(!ids->empty());
      for (const TokenId id : *ids) BATON_CHECK(id >= 0 && id < limits.vocabulary);
    } else {
      BATON_CHECK(!std::get<std::string>(prompt).empty());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  router::RequestLimits limits;
  limits.vocabulary = 2048;
  for (const auto endpoint : {router::Endpoint::kCompletions, router::Endpoint::kChat}) {
    router::GenerationRequest request;
    const auto error = router::ParseRequest(endpoint, body, limits, request);
    if (!error) {
      CheckAccepted(request, limits);
      continue;
    }
    BATON_CHECK(error->status == 400);
    const std::string text = router::ErrorBody(*error);
    BATON_CHECK(text.size() < 2048);
    BATON_CHECK(json::Parse(text).ok());
  }
  return 0;
}
