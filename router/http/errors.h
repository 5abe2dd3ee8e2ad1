#pragma once

#include <string>
#include <string_view>

#include "router/policy/admission.h"

/// The errors that clients see, and their one table of status, type and code.
namespace baton::router {

struct ApiError {
  int status = 500;
  std::string type;
  std::string code;
  std::string param;    // dotted path of the field; "" = none
  std::string message;  // ours: never the client's text beyond a field's name
};

[[nodiscard]] ApiError InvalidValue(std::string_view param, std::string message);
[[nodiscard]] ApiError MissingParameter(std::string_view param);
[[nodiscard]] ApiError UnsupportedParameter(std::string_view param, std::string message);
[[nodiscard]] ApiError InvalidBody(std::string_view code, std::string message);
[[nodiscard]] ApiError ModelNotFound();
[[nodiscard]] ApiError RouteNotFound();
[[nodiscard]] ApiError WorkerNotFound();
[[nodiscard]] ApiError MethodNotAllowed();
/// With the words that clients look for: "maximum context length is N tokens".
[[nodiscard]] ApiError ContextLengthExceeded(long long context_tokens, long long prompt_tokens,
                                             long long max_tokens);
[[nodiscard]] ApiError Refused(Refusal refusal);
/// `code`: worker_lost, kv_transfer, no_memory, internal_error: what broke behind the door.
[[nodiscard]] ApiError ServerError(std::string_view code);
[[nodiscard]] ApiError DeadlineExceeded();

/// {"error":{"message","type","param","code"}}; the message is cut at 1 KiB.
[[nodiscard]] std::string ErrorBody(const ApiError& error);
/// The type that goes with a status the server itself answers (413, 431, ...).
[[nodiscard]] std::string_view TypeOfStatus(int status);

}  // namespace baton::router
