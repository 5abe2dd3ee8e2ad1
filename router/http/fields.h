#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json/value.h"
#include "router/http/errors.h"

namespace baton::router {

/// Reads typed members of a JSON object and keeps the first error. A member that is null counts as absent.
/// Private to this module's sources; lives no longer than the object.
class Fields {
 public:
  explicit Fields(const json::Object& object, std::string prefix = "")
      : object_(&object), prefix_(std::move(prefix)) {}

  /// The member, unless it is absent or null; it counts as known.
  [[nodiscard]] const json::Value* Take(std::string_view key);
  /// The same, but null where the member is already known.
  [[nodiscard]] const json::Value* TakeUnread(std::string_view key);
  void Boolean(std::string_view key, bool& out);
  void Integer(std::string_view key, std::int64_t low, std::int64_t high, std::optional<std::int64_t>& out);
  struct Range {
    double low = 0;
    double high = 0;
    bool open_low = false;  // the lower end does not belong to it
  };
  void Number(std::string_view key, const Range& range, std::optional<double>& out);
  void String(std::string_view key, std::optional<std::string>& out);

  void Fail(ApiError error);
  void FailKind(std::string_view key, std::string_view wanted, const json::Value& got);
  [[nodiscard]] bool Failed() const { return error_.has_value(); }
  [[nodiscard]] const std::optional<ApiError>& Error() const { return error_; }
  /// "stream_options.include_usage".
  [[nodiscard]] std::string Path(std::string_view key) const;
  /// How many members nothing has asked for; with `strict` the first one is an error.
  [[nodiscard]] int CountUnknown(bool strict);

 private:
  const json::Object* object_;
  std::string prefix_;
  std::vector<std::string_view> known_;
  std::optional<ApiError> error_;
};

/// Refuses every field that would change the answer and is not implemented, unless its value is neutral;
/// marks the fields that are accepted without effect as known.
void CheckUnsupported(Fields& fields);

}  // namespace baton::router
