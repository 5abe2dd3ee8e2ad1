#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace baton::grammar {

/// Which keys the open objects of a JSON text have had: what an automaton cannot remember, so that no object
/// gets a key twice. A function of the text's bytes, which must be the beginning of a text of some grammar.
/// A key is its bytes as they are written, as a hash of 64 bits: two keys of one hash count as the same, so
/// that what is let through is never wrong. A value; 8 bytes a key of the objects that are open.
class KeyMemory {
 public:
  /// Reads more of the text. False where a key comes a second time: the memory is then of no more use.
  [[nodiscard]] bool Read(std::string_view bytes);
  /// Whether `Read` would be false. Leaves no trace.
  [[nodiscard]] bool WouldRepeat(std::string_view bytes);

  /// How many '"' must come before a key can end: 1 in a key, 2 between strings, 3 in another string.
  [[nodiscard]] std::size_t QuotesToKeyEnd() const {
    if (!place_.in_string) return 2;
    return place_.is_key ? 1 : 3;
  }

  friend bool operator==(const KeyMemory&, const KeyMemory&) = default;

 private:
  struct Place {  // all that is not a list
    bool in_string = false;
    bool escaped = false;  // after a backslash
    bool is_key = false;   // the string is, or the next will be
    std::uint64_t hash = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct Level {
    bool is_object = false;
    std::size_t first_key = 0;  // in keys_
    friend bool operator==(const Level&, const Level&) = default;
  };
  bool ReadByte(std::uint8_t byte);
  bool EndKey();

  Place place_;
  std::vector<Level> levels_;  // the innermost last
  std::vector<std::uint64_t> keys_;
};

}  // namespace baton::grammar
