#include "common/text/byte_level.h"

#include "common/base/utf8.h"

namespace baton::text {
namespace {

// Bytes that print stand for themselves; the others follow in order from here on.
constexpr char32_t kFirstMoved = 0x100;
constexpr std::size_t kMovedCount = 68;
constexpr std::size_t kCharacterCount = kFirstMoved + kMovedCount;

bool Prints(std::size_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::array<char32_t, 256> MakeCharacters() {
  std::array<char32_t, 256> characters{};
  char32_t moved = kFirstMoved;
  for (std::size_t byte = 0; byte < characters.size(); ++byte) {
    characters[byte] = Prints(byte) ? static_cast<char32_t>(byte) : moved++;
  }
  return characters;
}

/// The byte of each character, -1 where there is none.
std::array<std::int16_t, kCharacterCount> MakeBytes() {
  std::array<std::int16_t, kCharacterCount> bytes{};
  bytes.fill(-1);
  const std::array<char32_t, 256>& characters = ByteCharacters();
  for (std::size_t byte = 0; byte < characters.size(); ++byte) {
    bytes[characters[byte]] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}

}  // namespace

const std::array<char32_t, 256>& ByteCharacters() {
  static const std::array<char32_t, 256> kCharacters = MakeCharacters();
  return kCharacters;
}

std::string ToByteLevel(std::string_view bytes) {
  std::string spelled;
  for (const char byte : bytes) AppendUtf8(spelled, ByteCharacters()[static_cast<std::uint8_t>(byte)]);
  return spelled;
}

std::optional<std::string> FromByteLevel(std::string_view spelled) {
  static const std::array<std::int16_t, kCharacterCount> kBytes = MakeBytes();
  std::string bytes;
  while (!spelled.empty()) {
    const Utf8Step step = NextUtf8(spelled);
    if (step.kind != Utf8Step::Kind::kCharacter || step.code >= kBytes.size()) return std::nullopt;
    const std::int16_t byte = kBytes[step.code];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    spelled.remove_prefix(step.length);
  }
  return bytes;
}

}  // namespace baton::text
