#include "common/text/tokenizer.h"

#include <array>
#include <tuple>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/json/value.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe.h"
#include "common/text/byte_level.h"
#include "common/text/split.h"
#include "common/text/text_file.h"
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
  const auto row_of = [&](TokenId id) -> TokenRow& {
    const auto index = static_cast<std::size_t>(id);
    if (rows.size() <= index) rows.resize(index + 1);
    rows[index].exists = true;
    return rows[index];
  };
  for (const auto& [text, id] : spec.model.vocabulary) {
    TokenRow& row = row_of(id);
    row.text = text;
    if (!spec.sentencepiece) {
      row.bytes =
          FromByteLevel(text).value_or(text);  // characters that stand for no byte stand for themselves
    } else if (const auto byte = ByteOfToken(text)) {
      row.bytes.assign(1, static_cast<char>(*byte));
      row.byte = true;
    } else {
      row.bytes = UnmarkSpaces(text);
    }
  }
  for (const AddedToken& token : spec.added) {
    TokenRow& row = row_of(token.id);
    row.text = token.content;
    row.bytes = spec.sentencepiece ? UnmarkSpaces(token.content) : token.content;
    row.special = token.special;
    row.byte = false;
  }
  return rows;
}

/// The added tokens that are looked for before normalisation, or after it.
std::vector<AddedToken> TokensToFind(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : spec.added) {
    if (token.normalized != normalized) continue;
    tokens.push_back(token);
    if (normalized && spec.nfc) tokens.back().content = Nfc(token.content);
  }
  return tokens;
}

}  // namespace

struct Tokenizer::State {
  State(TokenizerSpec spec, std::uint64_t fingerprint);

  struct Scratch {
    Bpe::Scratch bpe;
    std::vector<TokenId> word;
    absl::Status status;  // of splitting
  };
  void EncodePiece(std::string_view piece, bool first, Scratch& scratch, std::vector<TokenId>& ids) const;
  void EncodeWords(std::string_view text, std::size_t stage, Scratch& scratch,
                   std::vector<TokenId>& ids) const;
  void EncodeWord(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  std::vector<TokenRow> rows;
  absl::flat_hash_map<std::string_view, TokenId> by_text;   // keys in `rows`
  absl::flat_hash_map<std::string_view, TokenId> by_bytes;  // whole words; filled for ignore_merges only
  Bpe bpe;
  std::array<TokenId, 256> byte_tokens;
  std::optional<SentencePieceSpec> sentencepiece;
  CharacterTokens characters;  // of SentencePiece
  AddedTokenFinder raw_tokens;
  AddedTokenFinder normalized_tokens;
  bool nfc;
  bool add_prefix_space;
  std::vector<Splitter> splits;
  std::vector<TokenId> before;
  std::vector<TokenId> after;
  bool has_template;
  std::uint64_t fingerprint;
};

Tokenizer::State::State(TokenizerSpec spec, std::uint64_t fingerprint_in)
    : rows(MakeRows(spec)),
      bpe(spec.model.merges),
      byte_tokens(spec.model.byte_tokens),
      sentencepiece(spec.sentencepiece),
      characters(spec.sentencepiece ? CharacterTokens(spec.model.vocabulary, spec.model.characters)
                                    : CharacterTokens()),
      raw_tokens(TokensToFind(spec, /*normalized=*/false)),
      normalized_tokens(TokensToFind(spec, /*normalized=*/true)),
      nfc(spec.nfc),
      add_prefix_space(spec.add_prefix_space),
      splits(std::move(spec.splits)),
      before(std::move(spec.before)),
      after(std::move(spec.after)),
      has_template(spec.has_template),
      fingerprint(fingerprint_in) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].exists) by_text.emplace(rows[i].text, static_cast<TokenId>(i));
  }
  if (!spec.model.ignore_merges) return;
  for (const auto& [text, id] : spec.model.vocabulary) {
    const TokenRow& row = rows[static_cast<std::size_t>(id)];
    if (sentencepiece) {
      by_bytes.emplace(row.text, id);
    } else if (FromByteLevel(text)) {
      by_bytes.emplace(row.bytes, id);
    }
  }
}

void Tokenizer::State::EncodeWord(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (const auto whole = by_bytes.find(word); whole != by_bytes.end()) {
    ids.push_back(whole->second);
    return;
  }
  scratch.word.clear();
  if (sentencepiece) {
    characters.Append(word, scratch.word);
  } else {
    for (const char byte : word) scratch.word.push_back(byte_tokens[static_cast<std::uint8_t>(byte)]);
  }
  bpe.Append(scratch.word, scratch.bpe, ids);
}

void Tokenizer::State::EncodeWords(std::string_view text, std::size_t stage, Scratch& scratch,
                                   std::vector<TokenId>& ids) const {
  if (stage == splits.size()) {
    EncodeWord(text, scratch, ids);
    return;
  }
  if (const auto* regex = std::get_if<std::shared_ptr<const RegexSplit>>(&splits[stage])) {
    std::vector<std::string_view> words;
    if (const absl::Status split = (*regex)->Split(text, words); !split.ok()) scratch.status = split;
    for (const std::string_view word : words) EncodeWords(word, stage + 1, scratch, ids);
    return;
  }
  while (!text.empty()) {
    const std::size_t length = FirstWord(std::get<SplitPattern>(splits[stage]), text);
    BATON_CHECK(length > 0 && length <= text.size(), "a word of {} of {} bytes", length, text.size());
    EncodeWords(text.substr(0, length), stage + 1, scratch, ids);
    text.remove_prefix(length);
  }
}

/// `piece` is text between added tokens, normalised.
void Tokenizer::State::EncodePiece(std::string_view piece, bool first, Scratch& scratch,
                                   std::vector<TokenId>& ids) const {
  if (sentencepiece) {
    const std::string marked = MarkSpaces(piece, *sentencepiece, first);
    const auto encode = [&](std::string_view word) { EncodeWord(word, scratch, ids); };
    sentencepiece->split_words ? VisitWords(marked, encode) : encode(marked);
    return;
  }
  if (add_prefix_space && piece.front() != ' ') {
    EncodeWords(" " + std::string(piece), 0, scratch, ids);
  } else {
    EncodeWords(piece, 0, scratch, ids);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(directory + "/tokenizer.json", kMaxFileBytes));
  auto tokenizer = FromJson(text);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), directory);
  auto config = ReadTextFile(directory + "/tokenizer_config.json", kMaxFileBytes);
  if (!config.ok() && config.status().code() != kNotFound) return config.status();
  if (config.ok()) {
    if (const absl::Status added = (*tokenizer)->AddConfigured(*config); !added.ok())
      return Annotate(added, directory);
  }
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view tokenizer_json) {
  const json::Limits limits{.bytes = kMaxFileBytes, .nodes = kMaxFileNodes};
  auto file = json::Parse(tokenizer_json, limits);
  if (!file.ok()) return Annotate(file.status(), "tokenizer.json");
  BATON_ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerSpec(*file));
  const std::uint64_t fingerprint = HashOf(json::Serialize(*file));
  return std::make_unique<Tokenizer>(std::make_unique<State>(std::move(spec), fingerprint));
}

/// `add_bos_token` and `add_eos_token`, for a file whose post-processor has no template of its own.
absl::Status Tokenizer::AddConfigured(std::string_view config_text) {
  auto config = json::Parse(config_text, {.bytes = kMaxFileBytes, .nodes = kMaxFileNodes});
  if (!config.ok()) return Annotate(config.status(), "tokenizer_config.json");
  if (state_->has_template) return absl::OkStatus();
  for (const auto& [flag, key, ids] : {std::tuple("add_bos_token", "bos_token", &state_->before),
                                       std::tuple("add_eos_token", "eos_token", &state_->after)}) {
    const json::Value* add = config->Find(flag);
    if (add == nullptr || add->AsBool() == nullptr || !*add->AsBool()) continue;
    const json::Value* token = config->Find(key);
    if (token != nullptr && token->AsObject() != nullptr) token = token->Find("content");
    const std::optional<TokenId> id =
        token != nullptr && token->AsString() != nullptr ? FindToken(*token->AsString()) : std::nullopt;
    if (!id) {
      return Error(kInvalidArgument,
                   "tokenizer_config.json: {} is true, but {} is no token of tokenizer.json", flag, key);
    }
    ids->push_back(*id);
    state_->fingerprint = HashOf(fmt::format("{} {} {}", state_->fingerprint, flag, *id));
  }
  return absl::OkStatus();
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
  State::Scratch scratch;
  const auto encode_or_add = [&](const AddedTokenFinder::Piece& piece) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
    } else {
      state_->EncodePiece(piece.text, piece.text.data() == utf8.data(), scratch, ids);
    }
  };
  state_->raw_tokens.Cut(utf8, [&](const AddedTokenFinder::Piece& piece) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
    } else if (state_->nfc) {
      state_->normalized_tokens.Cut(Nfc(piece.text), encode_or_add);
    } else {
      state_->normalized_tokens.Cut(piece.text, encode_or_add);
    }
  });
  BATON_RETURN_IF_ERROR(scratch.status);
  if (options.add_special_tokens) ids.insert(ids.end(), state_->after.begin(), state_->after.end());
  return ids;
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids, bool skip_special) const {
  if (!state_->sentencepiece) {
    std::string bytes;
    for (const TokenId id : ids) bytes += TokenBytes(id, skip_special);
    std::string text;
    AppendAsValidUtf8(text, bytes);
    return text;
  }
  std::string text;
  std::string run;  // of byte tokens
  const auto end_run = [&] {
    if (ValidUtf8Prefix(run) == run.size()) {
      text += run;
    } else {
      for (std::size_t i = 0; i < run.size(); ++i) AppendUtf8(text, 0xFFFD);
    }
    run.clear();
  };
  for (const TokenId id : ids) {
    const std::string_view token = TokenBytes(id, skip_special);
    if (IsByteToken(id)) {
      run += token;
    } else if (!token.empty()) {
      end_run();
      AppendAsValidUtf8(text, token);
    }
  }
  end_run();
  if (StripsFirstSpace() && text.starts_with(' ')) text.erase(0, 1);
  return text;
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

bool Tokenizer::StripsFirstSpace() const {
  return state_->sentencepiece && state_->sentencepiece->strip_first_space;
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
