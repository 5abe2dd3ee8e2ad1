#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/spec_fields.h"
#include "common/text/tokenizer_spec.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxAffixBytes = 256;

using VocabularyIndex = absl::flat_hash_map<std::string_view, TokenId>;

/// What this project does not do must be off: absent, null, false, zero or empty.
absl::Status CheckOff(const json::Value& model, std::string_view key) {
  const json::Value* value = FindField(model, key);
  if (value == nullptr) return absl::OkStatus();
  if (value->AsBool() != nullptr && !*value->AsBool()) return absl::OkStatus();
  if (value->IsNumber() && value->Number() == 0.0) return absl::OkStatus();
  if (value->AsString() != nullptr && value->AsString()->empty()) return absl::OkStatus();
  return FieldError(fmt::format("model.{}", key), "is not supported");
}

absl::Status CheckModel(const json::Value& model) {
  if (model.AsObject() == nullptr) return WrongKind("model", &model, "object");
  if (const json::Value* type = FindField(model, "type")) {
    if (type->AsString() == nullptr) return WrongKind("model.type", type, "string");
    if (*type->AsString() != "BPE") {
      return Error(kInvalidArgument, "tokenizer.json: model.type '{}' is not supported; supported: BPE",
                   *type->AsString());
    }
  }
  return CheckOff(model, "dropout");
}

absl::Status ReadVocabulary(const json::Value& model, ModelSpec& spec) {
  const json::Value* value = model.Find("vocab");
  if (value == nullptr || value->AsObject() == nullptr) return WrongKind("model.vocab", value, "object");
  const json::Object& entries = *value->AsObject();
  if (entries.size() > kMaxVocabulary) {
    return FieldError("model.vocab", "{} tokens, at most {} allowed", entries.size(), kMaxVocabulary);
  }
  std::vector<bool> taken;
  for (const auto& [text, id_value] : entries) {
    const std::string field = fmt::format("model.vocab['{}']", text);
    if (text.empty()) return FieldError(field, "a token without text");
    BATON_ASSIGN_OR_RETURN(const TokenId id, ParseTokenId(field, &id_value));
    if (taken.size() <= static_cast<std::size_t>(id)) taken.resize(static_cast<std::size_t>(id) + 1);
    if (taken[static_cast<std::size_t>(id)]) return FieldError(field, "id {} is given twice", id);
    taken[static_cast<std::size_t>(id)] = true;
    spec.vocabulary.emplace_back(text, id);
  }
  return absl::OkStatus();
}

/// The token of each byte as ByteLevel spells it; nothing where some byte has none.
std::optional<std::array<TokenId, 256>> FindByteTokens(const VocabularyIndex& index) {
  std::array<TokenId, 256> tokens{};
  for (std::size_t byte = 0; byte < tokens.size(); ++byte) {
    std::string spelled;
    AppendUtf8(spelled, ByteCharacters()[byte]);
    const auto token = index.find(spelled);
    if (token == index.end()) return std::nullopt;
    tokens[byte] = token->second;
  }
  return tokens;
}

/// A string; empty where it is missing or null.
absl::StatusOr<std::string> TextField(const json::Value& model, std::string_view key) {
  const json::Value* value = FindField(model, key);
  if (value == nullptr) return std::string();
  if (value->AsString() == nullptr) return WrongKind(fmt::format("model.{}", key), value, "string");
  if (value->AsString()->size() > kMaxAffixBytes)
    return FieldError(fmt::format("model.{}", key), "more than {} bytes", kMaxAffixBytes);
  return *value->AsString();
}

absl::Status ReadCharacters(const json::Value& model, const VocabularyIndex& index, ModelSpec& spec) {
  BATON_ASSIGN_OR_RETURN(spec.characters.byte_fallback, BoolField(model, "model", "byte_fallback", false));
  BATON_ASSIGN_OR_RETURN(spec.characters.fuse_unknown, BoolField(model, "model", "fuse_unk", false));
  BATON_ASSIGN_OR_RETURN(spec.characters.continuing_prefix, TextField(model, "continuing_subword_prefix"));
  BATON_ASSIGN_OR_RETURN(spec.characters.end_suffix, TextField(model, "end_of_word_suffix"));
  const json::Value* unknown = FindField(model, "unk_token");
  if (unknown == nullptr) return absl::OkStatus();
  if (unknown->AsString() == nullptr) return WrongKind("model.unk_token", unknown, "string");
  const auto token = index.find(*unknown->AsString());
  if (token == index.end())
    return FieldError("model.unk_token", "'{}' is not in model.vocab", *unknown->AsString());
  spec.characters.unknown = token->second;
  return absl::OkStatus();
}

/// The two sides of a merge, written "a b" or ["a", "b"].
absl::StatusOr<std::pair<std::string_view, std::string_view>> SidesOf(std::size_t place,
                                                                      const json::Value& merge) {
  if (const std::string* text = merge.AsString()) {
    const std::string_view both = *text;
    const std::size_t space = both.find(' ');
    if (space != std::string_view::npos && both.find(' ', space + 1) == std::string_view::npos) {
      return std::pair(both.substr(0, space), both.substr(space + 1));
    }
  } else if (const json::Array* sides = merge.AsArray()) {
    if (sides->size() == 2 && (*sides)[0].AsString() != nullptr && (*sides)[1].AsString() != nullptr) {
      return std::pair<std::string_view, std::string_view>(*(*sides)[0].AsString(), *(*sides)[1].AsString());
    }
  }
  return FieldError(fmt::format("model.merges[{}]", place),
                    "two tokens expected, as \"a b\" or [\"a\", \"b\"]");
}

absl::StatusOr<TokenId> MergeToken(const VocabularyIndex& index, std::size_t place, std::string_view text) {
  const auto token = index.find(text);
  if (token != index.end()) return token->second;
  return FieldError(fmt::format("model.merges[{}]", place), "token '{}' is not in model.vocab", text);
}

absl::Status ReadMerges(const json::Value& model, const VocabularyIndex& index, ModelSpec& spec) {
  const json::Value* value = model.Find("merges");
  if (value == nullptr || value->AsArray() == nullptr) return WrongKind("model.merges", value, "array");
  const json::Array& merges = *value->AsArray();
  if (merges.size() > kMaxVocabulary) {
    return FieldError("model.merges", "{} merges, at most {} allowed", merges.size(), kMaxVocabulary);
  }
  spec.merges.reserve(merges.size());
  const std::string& prefix = spec.characters.continuing_prefix;
  std::string joined;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    if (merges[i].AsString() != nullptr && merges[i].AsString()->starts_with("#version")) continue;
    BATON_ASSIGN_OR_RETURN(const auto sides, SidesOf(i, merges[i]));
    if (sides.second.size() < prefix.size())
      return FieldError(fmt::format("model.merges[{}]", i), "'{}' lacks the prefix '{}'", sides.second,
                        prefix);
    joined.assign(sides.first).append(sides.second.substr(prefix.size()));
    Merge merge;
    BATON_ASSIGN_OR_RETURN(merge.left, MergeToken(index, i, sides.first));
    BATON_ASSIGN_OR_RETURN(merge.right, MergeToken(index, i, sides.second));
    BATON_ASSIGN_OR_RETURN(merge.result, MergeToken(index, i, joined));
    spec.merges.push_back(merge);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenId> ParseTokenId(std::string_view field, const json::Value* value) {
  if (value == nullptr || value->AsInt() == nullptr) return WrongKind(field, value, "a whole number");
  const std::int64_t id = *value->AsInt();
  if (id < 0 || id > kMaxTokenId) return FieldError(field, "id {} is outside 0 to {}", id, kMaxTokenId);
  return static_cast<TokenId>(id);
}

absl::StatusOr<ModelSpec> ParseModelSpec(const json::Value& file) {
  const json::Value* model = file.Find("model");
  if (model == nullptr) return WrongKind("model", nullptr, "object");
  BATON_RETURN_IF_ERROR(CheckModel(*model));
  ModelSpec spec;
  BATON_ASSIGN_OR_RETURN(spec.ignore_merges, BoolField(*model, "model", "ignore_merges", false));
  BATON_RETURN_IF_ERROR(ReadVocabulary(*model, spec));
  VocabularyIndex index;
  index.reserve(spec.vocabulary.size());
  for (const auto& [text, id] : spec.vocabulary) index.emplace(text, id);
  BATON_RETURN_IF_ERROR(ReadCharacters(*model, index, spec));
  if (spec.characters.continuing_prefix.empty() && spec.characters.end_suffix.empty())
    spec.byte_tokens = FindByteTokens(index);
  BATON_RETURN_IF_ERROR(ReadMerges(*model, index, spec));
  return spec;
}

}  // namespace baton::text
