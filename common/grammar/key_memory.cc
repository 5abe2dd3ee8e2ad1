#include "common/grammar/key_memory.h"

#include <algorithm>

namespace baton::grammar {
namespace {

// FNV-1a.
constexpr std::uint64_t kHashStart = 0xcbf29ce484222325;
constexpr std::uint64_t kHashPrime = 0x100000001b3;

}  // namespace

bool KeyMemory::EndKey() {
  const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(levels_.back().first_key);
  if (std::find(begin, keys_.end(), place_.hash) != keys_.end()) return false;
  keys_.push_back(place_.hash);
  return true;
}

bool KeyMemory::ReadByte(std::uint8_t byte) {
  if (place_.in_string) {
    if (place_.escaped) {
      place_.escaped = false;
    } else if (byte == '"') {
      place_.in_string = false;
      return !place_.is_key || EndKey();
    } else if (byte == '\\') {
      place_.escaped = true;
    }
    place_.hash = (place_.hash ^ byte) * kHashPrime;
    return true;
  }
  if (byte == '"') {
    place_.in_string = true;
    place_.hash = kHashStart;
  } else if (byte == '{' || byte == '[') {
    levels_.push_back({.is_object = byte == '{', .first_key = keys_.size()});
    place_.is_key = byte == '{';
  } else if ((byte == '}' || byte == ']') && !levels_.empty()) {
    keys_.resize(levels_.back().first_key);
    levels_.pop_back();
    place_.is_key = false;
  } else if (byte == ',') {
    place_.is_key = !levels_.empty() && levels_.back().is_object;
  } else if (byte == ':') {
    place_.is_key = false;
  }
  return true;
}

bool KeyMemory::Read(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [this](char byte) { return ReadByte(static_cast<std::uint8_t>(byte)); });
}

bool KeyMemory::WouldRepeat(std::string_view bytes) {
  // What closes a container forgets its keys: only then a copy is needed to come back.
  if (bytes.find_first_of("}]") != std::string_view::npos) {
    KeyMemory copy = *this;
    return !copy.Read(bytes);
  }
  const Place place = place_;
  const std::size_t levels = levels_.size();
  const std::size_t keys = keys_.size();
  const bool repeats = !Read(bytes);
  place_ = place;
  levels_.resize(levels);
  keys_.resize(keys);
  return repeats;
}

}  // namespace baton::grammar
