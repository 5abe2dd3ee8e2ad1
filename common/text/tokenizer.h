#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/json/value.h"

namespace baton::text {

class TokenDecoder;

struct EncodeOptions {
  /// Whether the post-processor's template (a BOS token, say) is applied: plain prompts yes, rendered chats
  /// no.
  bool add_special_tokens = true;
  /// Where given, the work done is added: characters looked at to split the text, pairs looked at to merge.
  std::uint64_t* steps = nullptr;
};

/// A Hugging Face `tokenizer.json`. Immutable after `Load`; safe to share between threads.
class Tokenizer {
  struct State;

 public:
  /// For the factories below: nobody else can name a state.
  explicit Tokenizer(std::unique_ptr<State> state);
  /// Reads `directory`/tokenizer.json (required) and tokenizer_config.json (optional). An unsupported
  /// component is an error that names it: "tokenizer.json: normalizer.type 'Precompiled' is not supported;
  /// supported: ...".
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  /// The same from the files' texts, nothing where there is no second; for tests and fuzzers.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(
      std::string_view tokenizer_json, std::optional<std::string_view> tokenizer_config = std::nullopt);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  /// Token ids of `utf8`. Special tokens written in the text are recognised. Time is linear in the length but
  /// for a factor log(length of a word). Errors: invalid UTF-8;
  /// ResourceExhausted where a split pattern of PCRE2 takes too long, or the text grows beyond all measure
  /// when it is normalised.
  [[nodiscard]] absl::StatusOr<std::vector<TokenId>> Encode(std::string_view utf8,
                                                            const EncodeOptions& options = {}) const;
  /// The text of `ids`; invalid byte sequences become U+FFFD by the maximal-subpart rule; ids past the
  /// vocabulary decode to nothing.
  [[nodiscard]] std::string Decode(const std::vector<TokenId>& ids, bool skip_special) const;
  /// The raw bytes of one token: a special token's text (empty with `skip_special`), else its bytes. Of a
  /// SentencePiece-style token: its text with spaces, or the byte that it stands for.
  [[nodiscard]] std::string_view TokenBytes(TokenId id, bool skip_special) const;
  [[nodiscard]] bool IsSpecial(TokenId id) const;
  /// Whether it is one of SentencePiece's byte tokens. A run of them that is no UTF-8 as a whole decodes to
  /// one U+FFFD for each.
  [[nodiscard]] bool IsByteToken(TokenId id) const;
  /// The id of a token by its text, special or not.
  [[nodiscard]] std::optional<TokenId> FindToken(std::string_view token) const;
  /// One more than the largest id.
  [[nodiscard]] std::int32_t VocabularySize() const;
  /// How many tokens a prompt may have by `truncation` of tokenizer.json and `model_max_length` of
  /// tokenizer_config.json, the smaller; nothing where neither says so. `Encode` keeps to no limit and cuts
  /// nothing off: who asks for more is told, see LoadModelInfo of the router.
  [[nodiscard]] std::optional<std::int64_t> PromptTokensMax() const;
  /// A hash of everything that determines Encode and Decode; workers and router must agree on it.
  [[nodiscard]] std::uint64_t Fingerprint() const;

 private:
  friend class StreamDecoder;
  /// Whether the token is part of decoded text.
  [[nodiscard]] bool IsShown(TokenId id, bool skip_special) const;
  /// `TokenBytes` where no token stands before it.
  [[nodiscard]] std::string FirstTokenBytes(TokenId id) const;
  [[nodiscard]] const TokenDecoder& Decoder() const;

  std::unique_ptr<State> state_;
};

/// Turns a stream of tokens into text: whole characters at once, an incomplete UTF-8 tail is held back and
/// flushed as U+FFFD. The concatenation of all chunks equals `Decode` of all ids, with one exception:
/// characters that byte tokens completed before their run turned out to be no UTF-8 have been sent and stay.
/// One per stream; not thread-safe.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  /// The text that `id` completes; may be empty.
  [[nodiscard]] std::string Push(TokenId id);
  /// What was held back, as U+FFFD. The decoder is empty afterwards.
  [[nodiscard]] std::string Flush();

 private:
  void Take(std::string_view bytes, bool in_run, std::string& chunk);
  void EndRun(std::string& chunk);

  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;                     // at most 3 bytes: the beginning of a character
  bool in_run_ = false;                  // of byte tokens
  bool run_broken_ = false;              // it is no UTF-8
  bool begun_ = false;                   // a token has been pushed that is part of the text
  std::vector<std::uint32_t> position_;  // of the decoder
};

}  // namespace baton::text
