#include "router/record/field_io.h"

#include <charconv>

namespace baton::router::record {

namespace {
constexpr std::size_t kTextBytesMax = 1024;
constexpr std::size_t kShownBytes = 40;
}  // namespace

std::string FieldReader::Shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kShownBytes)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > kShownBytes ? out + "..." : out;
}

void FieldReader::Fail(const char* key, std::string_view what) {
  if (error_.empty()) error_ = fmt::format("{}{}: {}", prefix_, key, what);
}

void FieldReader::FailKind(const char* key, std::string_view wanted, const json::Value& got) {
  Fail(key, fmt::format("want {}, got {}", wanted, got.KindName()));
}

const json::Value* FieldReader::Take(const char* key) {
  if (!error_.empty()) return nullptr;
  for (const auto& [name, value] : object_) {
    if (name != key) continue;
    known_.emplace_back(name);
    return &value;
  }
  Fail(key, "is missing");
  return nullptr;
}

void FieldReader::Finish() {
  if (!error_.empty()) return;
  for (const auto& [name, value] : object_) {
    if (std::find(known_.begin(), known_.end(), name) == known_.end())
      error_ = fmt::format("{}{}: no such field here", prefix_, Shown(name));
  }
}

void FieldReader::Boolean(const char* key, bool& value) {
  const json::Value* got = Take(key);
  if (got == nullptr) return;
  const bool* boolean = got->AsBool();
  if (boolean == nullptr) return FailKind(key, "true or false", *got);
  value = *boolean;
}

void FieldReader::Whole(const char* key, std::int64_t& value, const Range& range) {
  const json::Value* got = Take(key);
  if (got == nullptr) return;
  const std::int64_t* whole = got->AsInt();
  if (whole == nullptr) return FailKind(key, "a whole number", *got);
  if (*whole < range.low || *whole > range.high)
    return Fail(key, fmt::format("{} is no whole number from {} to {}", *whole, range.low, range.high));
  value = *whole;
}

void FieldReader::Number(const char* key, double& value) {
  const json::Value* got = Take(key);
  if (got == nullptr) return;
  if (!got->IsNumber()) return FailKind(key, "a number", *got);
  value = got->Number();
}

void FieldReader::Hex(const char* key, std::uint64_t& value, int bits) {
  std::string text;
  Text(key, text);
  if (!error_.empty()) return;
  std::uint64_t read = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read, 16);
  if (error != std::errc() || end != text.data() + text.size() || (bits < 64 && (read >> bits) != 0))
    return Fail(key, fmt::format("'{}' is no hexadecimal number of {} bits", Shown(text), bits));
  value = read;
}

void FieldReader::Text(const char* key, std::string& value) {
  const json::Value* got = Take(key);
  if (got == nullptr) return;
  const std::string* text = got->AsString();
  if (text == nullptr) return FailKind(key, "a string", *got);
  if (text->size() > kTextBytesMax)
    return Fail(key, fmt::format("{} bytes of text, at most {} allowed", text->size(), kTextBytesMax));
  value = *text;
}

}  // namespace baton::router::record
