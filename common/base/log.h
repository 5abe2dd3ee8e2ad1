#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <absl/status/status.h>
#include <fmt/format.h>

/// One line a decision that an operator can act on: an event name and key=value pairs, on stderr.
/// Prompts and answers are never logged. Thread-safe.
///   LogInfo("worker_registered", {{"worker", id}, {"phase", "prefill"}});
namespace baton {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// One key and its value, already text.
struct LogField {
  std::string_view key;
  std::string value;

  template <typename T>
  LogField(std::string_view k, const T& v) : key(k), value(Text(v)) {}

 private:
  template <typename T>
  static std::string Text(const T& v) {
    if constexpr (std::is_same_v<T, absl::Status>) {
      return std::string(v.message());
    } else {
      return fmt::format("{}", v);
    }
  }
};

using LogFields = std::initializer_list<LogField>;

/// Sets the lowest level that is written and the name shown in each line. Called once, at the start of main.
void InitLogging(std::string_view program, LogLevel lowest);

void Log(LogLevel level, std::string_view event, LogFields fields = {});
inline void LogDebug(std::string_view event, LogFields fields = {}) {
  Log(LogLevel::kDebug, event, fields);
}
inline void LogInfo(std::string_view event, LogFields fields = {}) {
  Log(LogLevel::kInfo, event, fields);
}
inline void LogWarning(std::string_view event, LogFields fields = {}) {
  Log(LogLevel::kWarning, event, fields);
}
inline void LogError(std::string_view event, LogFields fields = {}) {
  Log(LogLevel::kError, event, fields);
}

}  // namespace baton
