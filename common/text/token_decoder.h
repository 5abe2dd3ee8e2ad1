#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/json/value.h"
#include "common/text/pattern.h"
#include "common/text/pre_tokenizer.h"

namespace baton::text {

/// The `decoder` of a tokenizer.json: what becomes of each token by itself, whether tokens stand for bytes,
/// and what becomes of the text as a whole. Immutable; safe to share between threads.
class TokenDecoder {
 public:
  /// Null: the tokens as they are spelled, a space between them. Errors name the component.
  [[nodiscard]] static absl::StatusOr<TokenDecoder> Parse(const json::Value* component);

  struct Piece {
    std::string bytes;        // text, or bytes that are part of one
    bool byte_token = false;  // one of SentencePiece's, which come in runs
  };
  /// What the token spelled `token` decodes to. `first`: no token stands before it.
  [[nodiscard]] Piece Decode(std::string_view token, bool first) const;
  /// Whether the first token decodes to something else than it would elsewhere.
  [[nodiscard]] bool FirstDiffers() const { return first_differs_; }

  /// What each step of the text as a whole may still take away where a text begins.
  using Position = std::vector<std::uint32_t>;
  [[nodiscard]] Position Begin() const;
  /// What becomes of the next chunk of the text, whole characters.
  void Finish(Position& position, std::string& chunk) const;

 private:
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct Strip {
    std::string content;  // one character
    std::uint32_t start = 0;
    std::uint32_t stop = 0;
  };
  struct Metaspace {
    std::string mark;
    bool drops_first = false;  // the first token's marks
  };
  using Step = std::variant<Replace, Strip, Metaspace>;
  absl::Status Read(const json::Value& part, const std::string& type, const std::string& path);
  absl::Status ReadStrip(const json::Value& part, const std::string& path);
  absl::Status ReadReplace(const json::Value& part, const std::string& path);

  std::vector<Step> token_steps_;
  std::vector<Step> text_steps_;  // Strip at the start, and Replace of a character
  bool spaced_ = false;           // there is no decoder: a space between the tokens
  bool byte_level_ = false;
  bool byte_fallback_ = false;
  bool joined_ = false;  // while reading: what follows is of the text as a whole
  bool first_differs_ = false;
};

/// The byte that the token `<0xNN>` stands for.
[[nodiscard]] std::optional<unsigned char> ByteOfToken(std::string_view token);

}  // namespace baton::text
