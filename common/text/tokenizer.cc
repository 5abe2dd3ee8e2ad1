#include "common/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/json/value.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe.h"
#include "common/text/byte_level.h"
#include "common/text/character_tokens.h"
#include "common/text/text_file.h"
#include "common/text/tokenizer_config.h"
#include "common/text/tokenizer_spec.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxFileBytes = 64U << 20;
// A vocabulary of a million tokens and as many merges written as pairs come to 4 million values.
constexpr std::size_t kMaxFileNodes = 5'000'000;
// What is encoded at once; positions inside a word are 32 bits wide.
constexpr std::size_t kMaxTextBytes = 256U << 20;

/// A row of the vocabulary, by id.
struct TokenRow {
  std::string text;   // as tokenizer.json spells it
  std::string bytes;  // what it decodes to
  bool exists = false;
  bool special = false;
  bool byte = false;  // one of SentencePiece's byte tokens
};

/// FNV-1a: stable across machines and builds, which the process's own hash is not.
std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char byte : text) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001B3U;
  return hash;
}

std::vector<TokenRow> MakeRows(const TokenizerSpec& spec) {
  std::vector<TokenRow> rows;
  const auto add = [&](const std::string& text, TokenId id, bool special) {
    const auto index = static_cast<std::size_t>(id);
    if (rows.size() <= index) rows.resize(index + 1);
    TokenDecoder::Piece piece = spec.decoder.Decode(text, /*first=*/false);
    rows[index] = {.text = text,
                   .bytes = std::move(piece.bytes),
                   .exists = true,
                   .special = special,
                   .byte = piece.byte_token};
  };
  for (const auto& [text, id] : spec.model.vocabulary) add(text, id, false);
  for (const AddedToken& token : spec.added) add(token.content, token.id, token.special);
  return rows;
}

/// The added tokens that are looked for before normalisation, or after it: in what becomes of them there.
std::vector<AddedToken> TokensToFind(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : spec.added) {
    if (token.normalized != normalized) continue;
    tokens.push_back(token);
    if (!normalized) continue;
    // A text that cannot be normalised never holds it.
    Effort effort(token.content.size());
    tokens.back().content = spec.normalizer.Apply(token.content, effort).value_or("");
    if (tokens.back().content.empty()) tokens.pop_back();
  }
  return tokens;
}

}  // namespace

struct Tokenizer::State {
  State(TokenizerSpec spec, std::uint64_t fingerprint);

  struct Scratch {
    explicit Scratch(std::size_t text_bytes) : effort(text_bytes) {}
    Bpe::Scratch bpe;
    std::vector<TokenId> word;
    Effort effort;
    absl::Status status;  // the first that was not OK
  };
  void EncodePiece(std::string_view piece, bool first, Scratch& scratch, std::vector<TokenId>& ids) const;
  void EncodeNormalized(std::string_view text, bool first, Scratch& scratch, std::vector<TokenId>& ids) const;
  void EncodeWord(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  std::vector<TokenRow> rows;
  absl::flat_hash_map<std::string_view, TokenId> by_text;  // keys in `rows`
  std::deque<std::string> words;                           // of the vocabulary, as they come from the text
  absl::flat_hash_map<std::string_view, TokenId> whole_words;  // keys in `words`; for ignore_merges only
  Bpe bpe;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  std::optional<std::array<TokenId, 256>> byte_tokens;  // where words come as plain bytes
  CharacterTokens characters;                           // else
  AddedTokenFinder raw_tokens;
  AddedTokenFinder normalized_tokens;
  std::vector<TokenId> before;
  std::vector<TokenId> after;
  std::optional<std::int64_t> tokens_max;
  std::uint64_t fingerprint;
};

Tokenizer::State::State(TokenizerSpec spec, std::uint64_t fingerprint_in)
    : rows(MakeRows(spec)),
      bpe(spec.model.merges),
      raw_tokens(TokensToFind(spec, /*normalized=*/false)),
      normalized_tokens(TokensToFind(spec, /*normalized=*/true)),
      before(std::move(spec.before)),
      after(std::move(spec.after)),
      tokens_max(spec.tokens_max),
      fingerprint(fingerprint_in) {
  normalizer = std::move(spec.normalizer);
  pre_tokenizer = std::move(spec.pre_tokenizer);
  decoder = std::move(spec.decoder);
  const bool bytes = pre_tokenizer.GivesBytes();
  if (bytes) byte_tokens = spec.model.byte_tokens;
  if (!bytes) characters = CharacterTokens(spec.model.vocabulary, spec.model.characters);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].exists) by_text.emplace(rows[i].text, static_cast<TokenId>(i));
  }
  if (!spec.model.ignore_merges) return;
  for (const auto& [text, id] : spec.model.vocabulary) {
    auto word = bytes ? FromByteLevel(text) : std::optional(text);
    if (word) whole_words.emplace(words.emplace_back(*std::move(word)), id);
  }
}

void Tokenizer::State::EncodeWord(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (!whole_words.empty()) {
    if (const auto whole = whole_words.find(word); whole != whole_words.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  scratch.word.clear();
  if (byte_tokens) {
    for (const char byte : word) scratch.word.push_back((*byte_tokens)[static_cast<std::uint8_t>(byte)]);
  } else {
    characters.Append(word, scratch.word);
  }
  bpe.Append(scratch.word, scratch.bpe, ids);
}

/// `piece` is text between the tokens that are looked for before normalisation; `first`: the text begins with
/// it.
void Tokenizer::State::EncodePiece(std::string_view piece, bool first, Scratch& scratch,
                                   std::vector<TokenId>& ids) const {
  if (normalizer.ChangesNothing()) {
    EncodeNormalized(piece, first, scratch, ids);
    return;
  }
  const auto normalized = normalizer.Apply(piece, scratch.effort);
  if (normalized.ok()) {
    EncodeNormalized(*normalized, first, scratch, ids);
  } else {
    scratch.status.Update(normalized.status());
  }
}

void Tokenizer::State::EncodeNormalized(std::string_view text, bool first, Scratch& scratch,
                                        std::vector<TokenId>& ids) const {
  normalized_tokens.Cut(text, scratch.effort, [&](const AddedTokenFinder::Piece& piece) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      return;
    }
    const bool begins = first && piece.text.data() == text.data();
    PreTokenizer::Sink sink{.word = [&](std::string_view word) { EncodeWord(word, scratch, ids); },
                            .effort = scratch.effort};
    scratch.status.Update(pre_tokenizer.Cut(piece.text, begins, sink));
  });
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(directory + "/tokenizer.json", kMaxFileBytes));
  const auto config = ReadTextFile(directory + "/tokenizer_config.json", kMaxFileBytes);
  if (!config.ok() && config.status().code() != kNotFound) return config.status();
  auto tokenizer = FromJson(text, config.ok() ? std::optional<std::string_view>(*config) : std::nullopt);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), directory);
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(
    std::string_view tokenizer_json, std::optional<std::string_view> tokenizer_config) {
  const json::Limits limits{.bytes = kMaxFileBytes, .nodes = kMaxFileNodes};
  auto file = json::Parse(tokenizer_json, limits);
  if (!file.ok()) return Annotate(file.status(), "tokenizer.json");
  BATON_ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerSpec(*file));
  std::uint64_t fingerprint = HashOf(json::Serialize(*file));
  if (tokenizer_config) {
    auto config = json::Parse(*tokenizer_config, limits);
    if (!config.ok()) return Annotate(config.status(), "tokenizer_config.json");
    BATON_ASSIGN_OR_RETURN(const std::string changes, ApplyTokenizerConfig(*config, spec));
    if (!changes.empty()) fingerprint = HashOf(fmt::format("{}{}", fingerprint, changes));
  }
  return std::make_unique<Tokenizer>(std::make_unique<State>(std::move(spec), fingerprint));
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view utf8,
                                                       const EncodeOptions& options) const {
  if (utf8.size() > kMaxTextBytes) {
    return Error(kInvalidArgument, "text of {} bytes, at most {} can be encoded", utf8.size(), kMaxTextBytes);
  }
  if (const std::size_t valid = ValidUtf8Prefix(utf8); valid != utf8.size()) {
    return Error(kInvalidArgument, "text is not UTF-8 at byte {}", valid);
  }
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = state_->before;
  State::Scratch scratch(utf8.size());
  state_->raw_tokens.Cut(utf8, scratch.effort, [&](const AddedTokenFinder::Piece& piece) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
    } else {
      state_->EncodePiece(piece.text, piece.text.data() == utf8.data(), scratch, ids);
    }
  });
  if (options.steps != nullptr) *options.steps += scratch.effort.steps + scratch.bpe.Steps();
  BATON_RETURN_IF_ERROR(scratch.status);
  if (options.add_special_tokens) ids.insert(ids.end(), state_->after.begin(), state_->after.end());
  return ids;
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids, bool skip_special) const {
  std::string text;
  std::string bytes;  // of tokens of one kind
  bool in_run = false;
  const auto end_run = [&] {
    if (!in_run || ValidUtf8Prefix(bytes) == bytes.size()) {
      AppendAsValidUtf8(text, bytes);
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) AppendUtf8(text, 0xFFFD);
    }
    bytes.clear();
  };
  bool first = true;
  for (const TokenId id : ids) {
    if (!IsShown(id, skip_special)) continue;
    if (IsByteToken(id) != in_run) {
      end_run();
      in_run = !in_run;
    }
    bytes += first ? FirstTokenBytes(id) : std::string(TokenBytes(id, skip_special));
    first = false;
  }
  end_run();
  TokenDecoder::Position position = state_->decoder.Begin();
  state_->decoder.Finish(position, text);
  return text;
}

bool Tokenizer::IsShown(TokenId id, bool skip_special) const {
  if (id < 0 || static_cast<std::size_t>(id) >= state_->rows.size()) return false;
  const TokenRow& row = state_->rows[static_cast<std::size_t>(id)];
  return row.exists && !(row.special && skip_special);
}

std::string Tokenizer::FirstTokenBytes(TokenId id) const {
  const TokenRow& row = state_->rows.at(static_cast<std::size_t>(id));
  return state_->decoder.FirstDiffers() ? state_->decoder.Decode(row.text, /*first=*/true).bytes : row.bytes;
}

const TokenDecoder& Tokenizer::Decoder() const {
  return state_->decoder;
}

std::optional<std::int64_t> Tokenizer::PromptTokensMax() const {
  return state_->tokens_max;
}

std::string_view Tokenizer::TokenBytes(TokenId id, bool skip_special) const {
  if (id < 0 || static_cast<std::size_t>(id) >= state_->rows.size()) return {};
  const TokenRow& row = state_->rows[static_cast<std::size_t>(id)];
  return row.special && skip_special ? std::string_view() : row.bytes;
}

bool Tokenizer::IsSpecial(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= state_->rows.size()) return false;
  return state_->rows[static_cast<std::size_t>(id)].special;
}

bool Tokenizer::IsByteToken(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= state_->rows.size()) return false;
  return state_->rows[static_cast<std::size_t>(id)].byte;
}

std::optional<TokenId> Tokenizer::FindToken(std::string_view token) const {
  const auto found = state_->by_text.find(token);
  return found == state_->by_text.end() ? std::nullopt : std::optional(found->second);
}

std::int32_t Tokenizer::VocabularySize() const {
  return static_cast<std::int32_t>(state_->rows.size());
}

std::uint64_t Tokenizer::Fingerprint() const {
  return state_->fingerprint;
}

}  // namespace baton::text
