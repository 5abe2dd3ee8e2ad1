#include "common/text/character_tokens.h"

#include <algorithm>

#include "common/base/utf8.h"
#include "common/text/token_decoder.h"

namespace baton::text {

CharacterTokens::CharacterTokens(const std::vector<std::pair<std::string, TokenId>>& vocabulary,
                                 const Options& options)
    : options_(options) {
  bytes_.fill(-1);
  for (const auto& [text, id] : vocabulary) {
    if (const auto byte = ByteOfToken(text)) bytes_[*byte] = id;
    for (const Place place :
         {Place{false, false}, Place{true, false}, Place{false, true}, Place{true, true}}) {
      std::string_view character = text;
      const std::string_view prefix = place.continuing ? options.continuing_prefix : std::string_view();
      const std::string_view suffix = place.last ? options.end_suffix : std::string_view();
      if (!character.starts_with(prefix)) continue;
      character.remove_prefix(prefix.size());
      if (!character.ends_with(suffix)) continue;
      character.remove_suffix(suffix.size());
      if (character.empty()) continue;
      const Utf8Step step = NextUtf8(character);
      if (step.kind == Utf8Step::Kind::kCharacter && step.length == character.size())
        characters_[place.Index()].emplace(step.code, id);
    }
  }
}

std::optional<TokenId> CharacterTokens::Find(char32_t code, Place place) const {
  const auto& characters = characters_[place.Index()];
  const auto found = characters.find(code);
  return found == characters.end() ? std::nullopt : std::optional(found->second);
}

bool CharacterTokens::AppendBytes(std::string_view character, Place place,
                                  std::vector<TokenId>& tokens) const {
  if (!options_.byte_fallback) return false;
  const std::string_view prefix = place.continuing ? options_.continuing_prefix : std::string_view();
  const std::string_view suffix = place.last ? options_.end_suffix : std::string_view();
  const auto known = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)] >= 0; };
  for (const std::string_view part : {prefix, character, suffix}) {
    if (!std::ranges::all_of(part, known)) return false;
  }
  for (const std::string_view part : {prefix, character, suffix}) {
    for (const char byte : part) tokens.push_back(bytes_[static_cast<unsigned char>(byte)]);
  }
  return true;
}

void CharacterTokens::Append(std::string_view word, std::vector<TokenId>& tokens) const {
  bool unknown_waits = false;  // joined with those that follow where they are fused
  const auto flush = [&] {
    if (unknown_waits) tokens.push_back(*options_.unknown);
    unknown_waits = false;
  };
  for (bool continuing = false; !word.empty(); continuing = true) {
    const Utf8Step step = NextUtf8(word);
    const std::string_view character = word.substr(0, step.length);
    word.remove_prefix(character.size());
    const Place place{continuing, word.empty()};
    if (const auto token = Find(step.code, place)) {
      flush();
      tokens.push_back(*token);
      continue;
    }
    if (AppendBytes(character, place, tokens)) continue;
    if (!options_.unknown) continue;
    if (!options_.fuse_unknown) flush();
    unknown_waits = true;
  }
  flush();
}

}  // namespace baton::text
