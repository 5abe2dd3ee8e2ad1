#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

/// Makes and reads `absl::Status`. The only place where Abseil's and the standard's string types meet:
/// Debian's Abseil has a `string_view` of its own.
namespace baton {

/// A status with a formatted message. The message tells an operator what to do with it: thing, action, cause.
/// `Error(absl::StatusCode::kUnavailable, "worker {}: connect to {}: {}", id, address, reason)`
template <typename... Args>
[[nodiscard]] absl::Status Error(absl::StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return absl::Status(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Short names of the codes that the project uses.
inline constexpr auto kInvalidArgument = absl::StatusCode::kInvalidArgument;
inline constexpr auto kNotFound = absl::StatusCode::kNotFound;
inline constexpr auto kResourceExhausted = absl::StatusCode::kResourceExhausted;
inline constexpr auto kFailedPrecondition = absl::StatusCode::kFailedPrecondition;
inline constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
inline constexpr auto kDeadlineExceeded = absl::StatusCode::kDeadlineExceeded;
inline constexpr auto kCancelled = absl::StatusCode::kCancelled;
inline constexpr auto kAborted = absl::StatusCode::kAborted;
inline constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
inline constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
inline constexpr auto kPermissionDenied = absl::StatusCode::kPermissionDenied;
inline constexpr auto kAlreadyExists = absl::StatusCode::kAlreadyExists;
inline constexpr auto kInternal = absl::StatusCode::kInternal;

/// The message of a status, without its code.
[[nodiscard]] inline std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

/// `status` with "context: " before its message; an OK status stays as it is.
[[nodiscard]] inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  return Error(status.code(), "{}: {}", context, Message(status));
}

}  // namespace baton

/// Returns from the function with the status of `expression` unless it is OK.
#define BATON_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                     \
    if (absl::Status baton_status = (expression); !baton_status.ok()) return baton_status; \
  } while (false)

#define BATON_CONCAT_INNER(a, b) a##b
#define BATON_CONCAT(a, b) BATON_CONCAT_INNER(a, b)
#define BATON_ASSIGN_OR_RETURN_INNER(temporary, target, expression) \
  auto temporary = (expression);                                    \
  if (!temporary.ok()) return temporary.status();                   \
  target = *std::move(temporary)

/// `BATON_ASSIGN_OR_RETURN(Lease lease, pool.Borrow(...));` : the value, or a return with the status.
#define BATON_ASSIGN_OR_RETURN(target, expression) \
  BATON_ASSIGN_OR_RETURN_INNER(BATON_CONCAT(baton_status_or_, __LINE__), target, expression)
