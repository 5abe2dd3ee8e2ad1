#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/json/value.h"

/// Tokenizers in the manner of SentencePiece (Llama 2, Mistral): spaces are written as U+2581, merging starts
/// from characters, and a character without a token is spelled in byte tokens.
namespace baton::text {

struct SentencePieceSpec {
  /// Where a U+2581 is put before a piece of text.
  enum class Prepend {
    kNever,
    kAlways,             // the normalizer Prepend: before every piece
    kUnlessMarked,       // Metaspace, "always": before every piece that does not begin with one
    kFirstUnlessMarked,  // Metaspace, "first": the same, but only at the very beginning of the text
  };
  Prepend prepend = Prepend::kNever;
  bool split_words = false;        // merging does not cross from one word to the next
  bool strip_first_space = false;  // of decoded text
};

/// Whether `file` describes one: it has no byte-level pre-tokenizer. Errors name the field that is not
/// supported.
[[nodiscard]] absl::StatusOr<std::optional<SentencePieceSpec>> ReadSentencePiece(const json::Value& file);

/// `piece` with its spaces written as U+2581; `first`: it is where the text begins.
[[nodiscard]] std::string MarkSpaces(std::string_view piece, const SentencePieceSpec& spec, bool first);
/// U+2581 turned back into spaces.
[[nodiscard]] std::string UnmarkSpaces(std::string_view text);
/// Calls `visit` with each word of `marked`: a U+2581 begins one.
void VisitWords(std::string_view marked, const std::function<void(std::string_view)>& visit);
/// The byte that the token `<0xNN>` stands for.
[[nodiscard]] std::optional<unsigned char> ByteOfToken(std::string_view token);

/// The tokens that the merging of a word begins with. Immutable; safe to share between threads.
class CharacterTokens {
 public:
  struct Options {
    bool byte_fallback = false;
    std::optional<TokenId> unknown;
    bool fuse_unknown = false;  // neighbours become one
  };
  CharacterTokens() = default;
  CharacterTokens(const std::vector<std::pair<std::string, TokenId>>& vocabulary, const Options& options);
  /// Appends one token for each character of `word`, valid UTF-8, that has one; else its bytes' tokens; else
  /// the unknown token; else nothing.
  void Append(std::string_view word, std::vector<TokenId>& tokens) const;

 private:
  absl::flat_hash_map<char32_t, TokenId> characters_;
  std::array<TokenId, 256> bytes_{};  // -1 = none
  Options options_;
};

}  // namespace baton::text
