#include "router/http/errors.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "common/json/value.h"

namespace baton::router {
namespace {

// Long enough for every message of ours; a short request must not buy a long answer.
constexpr std::size_t kMessageBytesMax = 1024;

ApiError BadRequest(std::string_view code, std::string_view param, std::string message) {
  return {.status = 400,
          .type = "invalid_request_error",
          .code = std::string(code),
          .param = std::string(param),
          .message = std::move(message)};
}

}  // namespace

ApiError InvalidValue(std::string_view param, std::string message) {
  return BadRequest("invalid_value", param, std::move(message));
}

ApiError MissingParameter(std::string_view param) {
  return BadRequest("missing_required_parameter", param, fmt::format("'{}' is required", param));
}

ApiError UnsupportedParameter(std::string_view param, std::string message) {
  return BadRequest("unsupported_parameter", param, std::move(message));
}

ApiError InvalidBody(std::string_view code, std::string message) {
  return BadRequest(code, "", std::move(message));
}

ApiError ModelNotFound() {
  return {.status = 404,
          .type = "not_found_error",
          .code = "model_not_found",
          .param = "model",
          .message = "this model does not exist here; GET /v1/models lists those that do"};
}

ApiError RouteNotFound() {
  return {.status = 404,
          .type = "not_found_error",
          .code = "route_not_found",
          .param = "",
          .message = "no such path"};
}

ApiError WorkerNotFound() {
  return {.status = 404,
          .type = "not_found_error",
          .code = "worker_not_found",
          .param = "",
          .message = "no worker of this name is registered"};
}

ApiError MethodNotAllowed() {
  return {.status = 405,
          .type = "invalid_request_error",
          .code = "method_not_allowed",
          .param = "",
          .message = "this path does not take this method; see the Allow header"};
}

ApiError ContextLengthExceeded(long long context_tokens, long long prompt_tokens, long long max_tokens) {
  return BadRequest(
      "context_length_exceeded", "",
      fmt::format("This model's maximum context length is {} tokens. However, the prompt has {} tokens "
                  "and {} are requested for the answer; shorten the prompt or ask for fewer.",
                  context_tokens, prompt_tokens, max_tokens));
}

ApiError Refused(Refusal refusal) {
  ApiError error{.status = 503,
                 .type = "overloaded_error",
                 .code = std::string(Name(refusal)),
                 .param = "",
                 .message = ""};
  switch (refusal) {
    case Refusal::kDraining:
      error.message = "this router is shutting down; send the request elsewhere";
      return error;
    case Refusal::kModelNotFound:
      return ModelNotFound();
    case Refusal::kNoPrefillWorkers:
      error.message = "no prefill worker is ready";
      return error;
    case Refusal::kNoDecodeWorkers:
      error.message = "no decode worker is ready";
      return error;
    case Refusal::kTooLarge:
      return InvalidValue("max_tokens", "prompt and answer together are larger than any worker's KV memory");
    case Refusal::kQueueFull:
      error.message = "too many requests wait already; retry later";
      return error;
  }
  return error;
}

ApiError ServerError(std::string_view code) {
  std::string_view message = "the request failed inside the server";
  if (code == "worker_lost") message = "a worker was lost while it served the request";
  if (code == "kv_transfer") message = "the hand-off between two workers failed";
  if (code == "no_memory") message = "a worker had no memory for the request";
  const bool elsewhere = code == "worker_lost" || code == "no_memory" || code == "kv_transfer";
  return {.status = elsewhere ? 503 : 500,
          .type = "server_error",
          .code = std::string(code),
          .param = "",
          .message = std::string(message)};
}

ApiError DeadlineExceeded() {
  return {.status = 504,
          .type = "timeout_error",
          .code = "deadline_exceeded",
          .param = "",
          .message = "the request took longer than the server allows"};
}

std::string ErrorBody(const ApiError& error) {
  std::string_view message = error.message;
  if (message.size() > kMessageBytesMax) {
    message = message.substr(0, kMessageBytesMax);
    message = message.substr(0, ValidUtf8Prefix(message));
  }
  json::Object inner;
  inner.emplace_back("message", message);
  inner.emplace_back("type", error.type);
  inner.emplace_back("param", error.param.empty() ? json::Value() : json::Value(error.param));
  inner.emplace_back("code", error.code);
  return json::Serialize(json::Object{{"error", json::Value(std::move(inner))}});
}

std::string_view TypeOfStatus(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 404) return "not_found_error";
  if (status == 408 || status == 504) return "timeout_error";
  if (status == 429) return "rate_limit_error";
  if (status == 503) return "overloaded_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace baton::router
