#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "common/base/crc32c.h"
#include "common/base/ids.h"
#include "common/json/value.h"

/// Three visitors of a struct's fields, so that what is written, read and digested is one list
/// (`Describe` in fields.h). Private to this module.
namespace baton::router::record {

/// The range of a whole number.
struct Range {
  std::int64_t low = 0;
  std::int64_t high = std::int64_t{1} << 48;  // beyond any count that the router takes from a worker
};

template <typename Names>
std::size_t IndexOf(const Names& names, std::string_view name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

/// Makes a JSON object.
class FieldWriter {
 public:
  json::Object object;

  void Boolean(const char* key, bool value) { object.emplace_back(key, value); }
  void Whole(const char* key, std::int64_t value, const Range& = {}) { object.emplace_back(key, value); }
  void Number(const char* key, double value) { object.emplace_back(key, value); }
  /// As in log lines; JSON's whole numbers end at 2^63.
  void Hex(const char* key, std::uint64_t value, int /*bits*/ = 64) {
    object.emplace_back(key, fmt::format("{:x}", value));
  }
  void Text(const char* key, std::string_view value) { object.emplace_back(key, value); }
  template <typename E, typename Names>
  void Choice(const char* key, E value, const Names& names) {
    object.emplace_back(key, std::string_view(names[static_cast<std::size_t>(value)]));
  }
  template <typename T>
  void List(const char* key, const std::vector<T>& values) {
    json::Array array;
    for (const T& value : values) {
      FieldWriter element;
      Describe(element, value);
      array.emplace_back(std::move(element.object));
    }
    object.emplace_back(key, std::move(array));
  }
  /// `visit` where `present`; the reader asks for the key instead.
  template <typename Visit>
  void Maybe(const char* /*key*/, bool present, Visit visit) {
    if (present) visit();
  }
};

/// Adds up a checksum of values in their order; keys do not count.
class FieldDigest {
 public:
  void Boolean(const char*, bool value) { Add(value ? 1 : 0); }
  void Whole(const char*, std::int64_t value, const Range& = {}) { Add(static_cast<std::uint64_t>(value)); }
  void Number(const char*, double value) { Add(std::bit_cast<std::uint64_t>(value)); }
  void Hex(const char*, std::uint64_t value, int /*bits*/ = 64) { Add(value); }
  void Text(const char*, std::string_view value) {
    Add(value.size());
    crc_ = Crc32c(std::as_bytes(std::span(value)), crc_);
  }
  template <typename E, typename Names>
  void Choice(const char*, E value, const Names&) {
    Add(static_cast<std::uint64_t>(value));
  }
  template <typename T>
  void List(const char*, const std::vector<T>& values) {
    Add(values.size());
    for (const T& value : values) Describe(*this, value);
  }
  template <typename Visit>
  void Maybe(const char*, bool present, Visit visit) {
    Add(present ? 1 : 0);
    if (present) visit();
  }
  [[nodiscard]] std::uint32_t Value() const { return crc_; }

 private:
  void Add(std::uint64_t value) { crc_ = Crc32c(std::as_bytes(std::span(&value, 1)), crc_); }
  std::uint32_t crc_ = 0;
};

/// Reads a JSON object; keeps the first error.
class FieldReader {
 public:
  explicit FieldReader(const json::Object& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  void Boolean(const char* key, bool& value);
  void Whole(const char* key, std::int64_t& value, const Range& range = {});
  void Number(const char* key, double& value);
  void Hex(const char* key, std::uint64_t& value, int bits = 64);
  void Text(const char* key, std::string& value);
  template <typename E, typename Names>
  void Choice(const char* key, E& value, const Names& names) {
    std::string name;
    Text(key, name);
    if (!error_.empty()) return;
    const std::size_t index = IndexOf(names, name);
    if (index == names.size()) return Fail(key, fmt::format("'{}' is unknown", Shown(name)));
    value = static_cast<E>(index);
  }
  template <typename T>
  void List(const char* key, std::vector<T>& values) {
    const json::Value* list = Take(key);
    if (list == nullptr) return;
    const json::Array* array = list->AsArray();
    if (array == nullptr) return FailKind(key, "an array", *list);
    for (const json::Value& each : *array) {
      const std::string prefix = fmt::format("{}{}[{}].", prefix_, key, values.size());
      const json::Object* object = each.AsObject();
      if (object == nullptr) return FailKind(key, "an array of objects", each);
      FieldReader element(*object, prefix);
      Describe(element, values.emplace_back());
      element.Finish();
      if (error_.empty()) error_ = element.error_;
      if (!error_.empty()) return;
    }
  }
  template <typename Visit>
  void Maybe(const char* key, bool /*present*/, Visit visit) {
    for (const auto& [name, value] : object_) {
      if (name == key) return visit();
    }
  }
  /// Fails where the object has members that nobody asked for.
  void Finish();
  void Fail(const char* key, std::string_view what);
  [[nodiscard]] const std::string& Error() const { return error_; }
  /// Printable, and not long.
  [[nodiscard]] static std::string Shown(std::string_view text);

 private:
  [[nodiscard]] const json::Value* Take(const char* key);
  void FailKind(const char* key, std::string_view wanted, const json::Value& got);

  const json::Object& object_;
  const std::string prefix_;
  std::vector<std::string_view> known_;
  std::string error_;
};

/// An id of 32 bits as a whole number, one of 64 bits in hexadecimal digits.
template <typename Io, typename Id>
void IdField(Io& io, const char* key, Id& id) {
  using Rep = decltype(id.value);
  if constexpr (sizeof(Rep) == sizeof(std::uint64_t)) {
    io.Hex(key, id.value);
  } else {
    auto value = static_cast<std::int64_t>(id.value);
    io.Whole(key, value, {0, (std::int64_t{1} << 32) - 1});
    if constexpr (!std::is_const_v<Id>) id.value = static_cast<Rep>(value);
  }
}

}  // namespace baton::router::record
