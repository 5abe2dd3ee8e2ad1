#include "common/text/tokenizer_spec.h"

#include <optional>
#include <string_view>

#include <absl/container/flat_hash_map.h>

#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

// Longer contents serve nothing and would make the search for them slow.
constexpr std::size_t kMaxAddedTokenBytes = 1024;
// Sequences may nest; nobody nests them deeper than once.
constexpr int kMaxNesting = 4;

absl::Status Unsupported(std::string_view path, std::string_view type, std::string_view supported) {
  return Error(kInvalidArgument, "tokenizer.json: {}.type '{}' is not supported; supported: {}", path, type,
               supported);
}

/// Calls `visit(part, path)` for `component`, or for each part of a Sequence whose list is `list_key`.
template <typename Visit>
absl::Status VisitParts(const json::Value& component, const std::string& path, std::string_view list_key,
                        int nesting, const Visit& visit) {
  if (component.AsObject() == nullptr) return WrongKind(path, &component, "object");
  BATON_ASSIGN_OR_RETURN(const std::string* type, StringField(component, path, "type"));
  if (*type != "Sequence") return visit(component, *type, path);
  const std::string list_path = fmt::format("{}.{}", path, list_key);
  if (nesting == kMaxNesting) return FieldError(list_path, "sequences nested more than {} deep", kMaxNesting);
  const json::Value* parts = component.Find(list_key);
  if (parts == nullptr || parts->AsArray() == nullptr) return WrongKind(list_path, parts, "array");
  for (std::size_t i = 0; i < parts->AsArray()->size(); ++i) {
    BATON_RETURN_IF_ERROR(VisitParts((*parts->AsArray())[i], fmt::format("{}[{}]", list_path, i), list_key,
                                     nesting + 1, visit));
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* normalizer = FindField(file, "normalizer");
  if (normalizer == nullptr) return absl::OkStatus();
  return VisitParts(*normalizer, "normalizer", "normalizers", 0,
                    [&](const json::Value&, const std::string& type, const std::string& path) {
                      if (type != "NFC") return Unsupported(path, type, "NFC, Sequence");
                      spec.nfc = true;
                      return absl::OkStatus();
                    });
}

absl::StatusOr<RegexSplit::Options> ReadSplitOptions(const json::Value& part, const std::string& path) {
  using Behavior = RegexSplit::Behavior;
  static constexpr std::pair<std::string_view, Behavior> kBehaviors[] = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  RegexSplit::Options options;
  BATON_ASSIGN_OR_RETURN(options.invert, BoolField(part, path, "invert", false));
  BATON_ASSIGN_OR_RETURN(const std::string* name, StringField(part, path, "behavior"));
  for (const auto& [known, behavior] : kBehaviors) {
    if (known != *name) continue;
    options.behavior = behavior;
    return options;
  }
  return FieldError(path + ".behavior", "'{}' is not supported", *name);
}

absl::Status AddRegex(const std::string& regex, const std::string& path, const RegexSplit::Options& options,
                      TokenizerSpec& spec) {
  auto compiled = RegexSplit::Compile(regex, options);
  if (!compiled.ok()) return FieldError(path, "'{}': {}", regex, Message(compiled.status()));
  spec.splits.emplace_back(*std::move(compiled));
  return absl::OkStatus();
}

/// A text that stands for itself in a regular expression.
std::string Quoted(std::string_view text) {
  std::string regex;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#&").find(c) != std::string_view::npos) regex += '\\';
    regex += c;
  }
  return regex;
}

absl::Status ReadSplit(const json::Value& part, const std::string& path, TokenizerSpec& spec) {
  BATON_ASSIGN_OR_RETURN(const RegexSplit::Options options, ReadSplitOptions(part, path));
  const json::Value* pattern = part.Find("pattern");
  if (pattern == nullptr || pattern->AsObject() == nullptr)
    return WrongKind(path + ".pattern", pattern, "object");
  if (pattern->Find("String") != nullptr) {
    BATON_ASSIGN_OR_RETURN(const std::string* text, StringField(*pattern, path + ".pattern", "String"));
    return AddRegex(Quoted(*text), path + ".pattern.String", options, spec);
  }
  BATON_ASSIGN_OR_RETURN(const std::string* regex, StringField(*pattern, path + ".pattern", "Regex"));
  const std::optional<SplitPattern> known = FindSplitPattern(*regex);
  // The patterns written out by hand match all of a text: nothing lies between their words.
  if (known && options.behavior == RegexSplit::Behavior::kIsolated) {
    spec.splits.emplace_back(*known);
    return absl::OkStatus();
  }
  return AddRegex(*regex, path + ".pattern.Regex", options, spec);
}

/// Numbers apart from the rest: each digit, or each run of them.
absl::Status ReadDigits(const json::Value& part, const std::string& path, TokenizerSpec& spec) {
  BATON_ASSIGN_OR_RETURN(const bool each, BoolField(part, path, "individual_digits", false));
  return AddRegex(each ? "\\p{N}" : "\\p{N}+", path, {}, spec);
}

absl::Status ReadByteLevel(const json::Value& part, const std::string& path, TokenizerSpec& spec) {
  BATON_ASSIGN_OR_RETURN(const bool use_regex, BoolField(part, path, "use_regex", true));
  BATON_ASSIGN_OR_RETURN(spec.add_prefix_space, BoolField(part, path, "add_prefix_space", true));
  if (spec.add_prefix_space && !spec.splits.empty()) {
    return FieldError(path + ".add_prefix_space", "true after a Split is not supported");
  }
  if (use_regex) spec.splits.emplace_back(SplitPattern::kGpt2);
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* pre_tokenizer = FindField(file, "pre_tokenizer");  // null is SentencePiece's
  bool byte_level = false;
  BATON_RETURN_IF_ERROR(VisitParts(
      *pre_tokenizer, "pre_tokenizer", "pretokenizers", 0,
      [&](const json::Value& part, const std::string& type, const std::string& path) -> absl::Status {
        if (byte_level) return FieldError(path, "'{}' after ByteLevel is not supported", type);
        if (type == "Split") return ReadSplit(part, path, spec);
        if (type == "Digits") return ReadDigits(part, path, spec);
        if (type != "ByteLevel") return Unsupported(path, type, "Split, Digits, ByteLevel, Sequence");
        byte_level = true;
        return ReadByteLevel(part, path, spec);
      }));
  if (!byte_level) return FieldError("pre_tokenizer", "has no ByteLevel, which is needed");
  if (spec.splits.size() > kMaxNesting)
    return FieldError("pre_tokenizer", "more than {} splits", kMaxNesting);
  return absl::OkStatus();
}

absl::Status CheckDecoder(const json::Value& file) {
  const json::Value* decoder = FindField(file, "decoder");
  if (decoder == nullptr) return FieldError("decoder", "null is not supported; ByteLevel is needed");
  bool byte_level = false;
  BATON_RETURN_IF_ERROR(VisitParts(*decoder, "decoder", "decoders", 0,
                                   [&](const json::Value&, const std::string& type, const std::string& path) {
                                     if (type != "ByteLevel")
                                       return Unsupported(path, type, "ByteLevel, Sequence");
                                     byte_level = true;
                                     return absl::OkStatus();
                                   }));
  return byte_level ? absl::OkStatus() : FieldError("decoder", "has no ByteLevel, which is needed");
}

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

absl::Status ReadPostProcessor(const json::Value& file, TokenizerSpec& spec) {
  const json::Value* post_processor = FindField(file, "post_processor");
  if (post_processor == nullptr) return absl::OkStatus();
  return VisitParts(
      *post_processor, "post_processor", "processors", 0,
      [&](const json::Value& part, const std::string& type, const std::string& path) -> absl::Status {
        if (type == "ByteLevel") return absl::OkStatus();  // moves offsets only
        if (type != "TemplateProcessing") {
          return Unsupported(path, type, "TemplateProcessing, ByteLevel, Sequence");
        }
        if (spec.has_template) return FieldError(path, "a second TemplateProcessing is not supported");
        spec.has_template = true;
        return ReadTemplate(part, path, spec);
      });
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
  absl::flat_hash_map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < list->AsArray()->size(); ++i) {
    const std::string path = fmt::format("added_tokens[{}]", i);
    BATON_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*list->AsArray())[i], path));
    if (!seen.emplace(token.content, i).second) return FieldError(path, "'{}' is given twice", token.content);
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
  for (const std::string_view key : {"truncation", "padding"}) {
    if (FindField(file, key) != nullptr) return FieldError(key, "is not supported; must be null");
  }
  TokenizerSpec spec;
  BATON_ASSIGN_OR_RETURN(spec.sentencepiece, ReadSentencePiece(file));
  if (!spec.sentencepiece) {
    BATON_RETURN_IF_ERROR(ReadNormalizer(file, spec));
    BATON_RETURN_IF_ERROR(ReadPreTokenizer(file, spec));
    BATON_RETURN_IF_ERROR(CheckDecoder(file));
  }
  BATON_RETURN_IF_ERROR(ReadPostProcessor(file, spec));
  BATON_ASSIGN_OR_RETURN(spec.model, ParseModelSpec(file, spec.sentencepiece.has_value()));
  BATON_RETURN_IF_ERROR(ReadAddedTokens(file, spec));
  BATON_RETURN_IF_ERROR(CheckTemplateIds(spec));
  return spec;
}

}  // namespace baton::text
