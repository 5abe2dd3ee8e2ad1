#include "common/text/tokenizer_spec.h"

#include <optional>
#include <string_view>

#include <absl/container/flat_hash_map.h>

#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxTemplateTokens = 64;

/// The ids that `special_tokens` of a template gives for `name`.
absl::Status AppendSpecialIds(const json::Value& part, const std::string& path, const std::string& name,
                              std::vector<TokenId>& ids) {
  const json::Value* table = part.Find("special_tokens");
  const json::Value* entry = table == nullptr ? nullptr : table->Find(name);
  const json::Value* list = entry == nullptr ? nullptr : entry->Find("ids");
  const std::string field = fmt::format("{}.special_tokens['{}'].ids", path, name);
  if (list == nullptr || list->AsArray() == nullptr) return WrongKind(field, list, "array");
  for (const json::Value& value : *list->AsArray()) {
    BATON_ASSIGN_OR_RETURN(const TokenId id, ParseTokenId(field, &value));
    ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const json::Value& part, const std::string& path, TokenizerSpec& spec) {
  const std::string single_path = path + ".single";
  const json::Value* single = part.Find("single");
  if (single == nullptr || single->AsArray() == nullptr) return WrongKind(single_path, single, "array");
  bool sequence_seen = false;
  for (std::size_t i = 0; i < single->AsArray()->size(); ++i) {
    const json::Value& item = (*single->AsArray())[i];
    const std::string item_path = fmt::format("{}[{}]", single_path, i);
    if (const json::Value* special = item.Find("SpecialToken")) {
      BATON_ASSIGN_OR_RETURN(const std::string* name,
                             StringField(*special, item_path + ".SpecialToken", "id"));
      BATON_RETURN_IF_ERROR(AppendSpecialIds(part, path, *name, sequence_seen ? spec.after : spec.before));
      continue;
    }
    const json::Value* sequence = item.Find("Sequence");
    if (sequence == nullptr) return FieldError(item_path, "SpecialToken or Sequence expected");
    BATON_ASSIGN_OR_RETURN(const std::string* which, StringField(*sequence, item_path + ".Sequence", "id"));
    if (*which != "A" || sequence_seen) return FieldError(item_path, "exactly one Sequence 'A' expected");
    sequence_seen = true;
  }
  return sequence_seen ? absl::OkStatus() : FieldError(single_path, "has no Sequence 'A'");
}

/// The id in `"cls": ["<s>", 0]`.
absl::StatusOr<TokenId> ReadPairId(const json::Value& part, const std::string& path, std::string_view key) {
  const std::string field = fmt::format("{}.{}", path, key);
  const json::Value* pair = part.Find(key);
  if (pair == nullptr || pair->AsArray() == nullptr || pair->AsArray()->size() != 2)
    return WrongKind(field, pair, "a token and its id");
  return ParseTokenId(field, &(*pair->AsArray())[1]);
}

absl::Status ReadProcessor(const json::Value& part, const std::string& type, const std::string& path,
                           TokenizerSpec& spec) {
  if (type == "ByteLevel") return absl::OkStatus();  // moves offsets only
  if (spec.has_template) return FieldError(path, "a second {} is not supported", type);
  spec.has_template = true;
  if (type == "TemplateProcessing") {
    return ReadTemplate(part, path, spec);
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    BATON_ASSIGN_OR_RETURN(const TokenId before, ReadPairId(part, path, "cls"));
    BATON_ASSIGN_OR_RETURN(const TokenId after, ReadPairId(part, path, "sep"));
    spec.before = {before};
    spec.after = {after};
    return absl::OkStatus();
  }
  return Unsupported(path, type,
                     "TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing, Sequence");
}

absl::Status ReadPostProcessor(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* post_processor = FindField(file, "post_processor");
  if (post_processor == nullptr) return absl::OkStatus();
  BATON_RETURN_IF_ERROR(VisitParts(
      *post_processor, "post_processor", "processors", 0,
      [&](const json::Value& part, const std::string& type, const std::string& path) -> absl::Status {
        return ReadProcessor(part, type, path, spec);
      }));
  if (spec.before.size() + spec.after.size() <= kMaxTemplateTokens) return absl::OkStatus();
  return FieldError("post_processor", "adds more than {} tokens", kMaxTemplateTokens);
}

/// `truncation`: its limit. What it would cut off is refused instead; see `Tokenizer::PromptTokensMax`.
absl::Status ReadTruncation(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* truncation = FindField(file, "truncation");
  if (truncation == nullptr) return absl::OkStatus();
  if (truncation->AsObject() == nullptr) return WrongKind("truncation", truncation, "object");
  const json::Value* most = truncation->Find("max_length");
  if (most == nullptr || most->AsInt() == nullptr || *most->AsInt() < 1)
    return WrongKind("truncation.max_length", most, "a positive whole number");
  spec.tokens_max = *most->AsInt();
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const json::Value& entry, const std::string& path) {
  AddedToken token;
  BATON_ASSIGN_OR_RETURN(token.id, ParseTokenId(path + ".id", entry.Find("id")));
  BATON_ASSIGN_OR_RETURN(const std::string* content, StringField(entry, path, "content"));
  if (content->empty()) return FieldError(path + ".content", "is empty");
  if (content->size() > kMaxAddedTokenBytes) {
    return FieldError(path + ".content", "{} bytes, at most {} allowed", content->size(),
                      kMaxAddedTokenBytes);
  }
  token.content = *content;
  BATON_ASSIGN_OR_RETURN(token.single_word, BoolField(entry, path, "single_word", false));
  BATON_ASSIGN_OR_RETURN(token.lstrip, BoolField(entry, path, "lstrip", false));
  BATON_ASSIGN_OR_RETURN(token.rstrip, BoolField(entry, path, "rstrip", false));
  BATON_ASSIGN_OR_RETURN(token.special, BoolField(entry, path, "special", false));
  BATON_ASSIGN_OR_RETURN(token.normalized, BoolField(entry, path, "normalized", !token.special));
  return token;
}

/// An added token may be in the vocabulary too, but then with the same id; else its id must be free.
absl::Status ReadAddedTokens(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* list = FindField(file, "added_tokens");
  if (list == nullptr) return absl::OkStatus();
  if (list->AsArray() == nullptr) return WrongKind("added_tokens", list, "array");
  if (list->AsArray()->size() > kMaxVocabulary)
    return FieldError("added_tokens", "more than {}", kMaxVocabulary);
  absl::flat_hash_map<TokenId, std::string> text_of;
  absl::flat_hash_map<std::string, TokenId> id_of;
  for (const auto& [text, id] : spec.model.vocabulary) {
    text_of.emplace(id, text);
    id_of.emplace(text, id);
  }
  absl::flat_hash_map<std::string, TokenId> seen;
  for (std::size_t i = 0; i < list->AsArray()->size(); ++i) {
    const std::string path = fmt::format("added_tokens[{}]", i);
    BATON_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*list->AsArray())[i], path));
    if (const auto [other, fresh] = seen.emplace(token.content, token.id); !fresh) {
      if (other->second == token.id) continue;  // the first counts
      return FieldError(path, "'{}' is given twice", token.content);
    }
    if (const auto other = text_of.find(token.id); other != text_of.end() && other->second != token.content) {
      return FieldError(path, "id {} of '{}' belongs to '{}'", token.id, token.content, other->second);
    }
    if (const auto other = id_of.find(token.content); other != id_of.end() && other->second != token.id) {
      return FieldError(path, "'{}' has id {} here and {} in model.vocab", token.content, token.id,
                        other->second);
    }
    text_of.emplace(token.id, token.content);
    spec.added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

/// The template's ids must be tokens that exist.
absl::Status CheckTemplateIds(const TokenizerSpec& spec) {
  absl::flat_hash_map<TokenId, bool> known;
  for (const auto& entry : spec.model.vocabulary) known.emplace(entry.second, true);
  for (const AddedToken& token : spec.added) known.emplace(token.id, true);
  for (const auto* ids : {&spec.before, &spec.after}) {
    for (const TokenId id : *ids) {
      if (!known.contains(id)) return FieldError("post_processor", "id {} is no token", id);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(const json::Value& file) {
  if (file.AsObject() == nullptr) {
    return Error(kInvalidArgument, "tokenizer.json: object expected, {} found", file.KindName());
  }
  TokenizerSpec spec;
  // `padding` is about batches of equal length, which this project does not make.
  BATON_RETURN_IF_ERROR(ReadTruncation(file, spec));
  BATON_ASSIGN_OR_RETURN(spec.normalizer, Normalizer::Parse(FindField(file, "normalizer")));
  BATON_ASSIGN_OR_RETURN(spec.pre_tokenizer, PreTokenizer::Parse(FindField(file, "pre_tokenizer")));
  BATON_ASSIGN_OR_RETURN(spec.decoder, TokenDecoder::Parse(FindField(file, "decoder")));
  BATON_RETURN_IF_ERROR(ReadPostProcessor(file, spec));
  BATON_ASSIGN_OR_RETURN(spec.model, ParseModelSpec(file));
  if (!spec.model.byte_tokens) spec.pre_tokenizer.SpellBytes();
  BATON_RETURN_IF_ERROR(ReadAddedTokens(file, spec));
  BATON_RETURN_IF_ERROR(CheckTemplateIds(spec));
  return spec;
}

}  // namespace baton::text
