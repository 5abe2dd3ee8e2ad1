#pragma once

#include <string>

#include <fmt/format.h>

/// Broken invariants end the process, in every build. Never for input, peers or devices: those are statuses.
namespace baton {

/// Prints "file:line: check failed: condition: message" on stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace baton

/// `BATON_CHECK(count <= capacity, "count {} capacity {}", count, capacity);` The message is optional.
#define BATON_CHECK(condition, ...)                                                      \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      ::baton::CheckFailed(__FILE__, __LINE__, #condition, fmt::format("" __VA_ARGS__)); \
    }                                                                                    \
  } while (false)
