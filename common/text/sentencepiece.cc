#include "common/text/sentencepiece.h"

#include <algorithm>

#include "common/base/utf8.h"
#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

constexpr std::string_view kMark = "\u2581";
using Prepend = SentencePieceSpec::Prepend;

/// The parts of a component: itself, or those of a Sequence.
std::vector<const json::Value*> PartsOf(const json::Value& component, std::string_view list_key) {
  const json::Value* type = component.Find("type");
  const json::Value* list = component.Find(list_key);
  if (type == nullptr || type->AsString() == nullptr || *type->AsString() != "Sequence" || list == nullptr ||
      list->AsArray() == nullptr) {
    return {&component};
  }
  std::vector<const json::Value*> parts;
  for (const json::Value& part : *list->AsArray()) parts.push_back(&part);
  return parts;
}

absl::Status Unsupported(std::string_view path, std::string_view type, std::string_view supported) {
  return Error(kInvalidArgument, "tokenizer.json: {}.type '{}' is not supported; supported: {}", path, type,
               supported);
}

/// A Replace of `from` by `to` and of nothing else.
absl::Status CheckReplace(const json::Value& part, const std::string& path, std::string_view from,
                          std::string_view to) {
  const json::Value* pattern = part.Find("pattern");
  if (pattern == nullptr || pattern->AsObject() == nullptr)
    return WrongKind(path + ".pattern", pattern, "object");
  BATON_ASSIGN_OR_RETURN(const std::string* text, StringField(*pattern, path + ".pattern", "String"));
  BATON_ASSIGN_OR_RETURN(const std::string* content, StringField(part, path, "content"));
  if (*text == from && *content == to) return absl::OkStatus();
  return FieldError(path, "replacing '{}' by '{}' is not supported; '{}' by '{}' is", *text, *content, from,
                    to);
}

/// Null, or Prepend and Replace of what SentencePiece writes for a space. True where spaces are marked.
absl::StatusOr<bool> ReadNormalizer(const json::Value& file, SentencePieceSpec& spec) {
  const json::Value* normalizer = FindField(file, "normalizer");
  if (normalizer == nullptr) return false;
  if (normalizer->AsObject() == nullptr) return WrongKind("normalizer", normalizer, "object");
  bool marks = false;
  std::size_t place = 0;
  for (const json::Value* part : PartsOf(*normalizer, "normalizers")) {
    const std::string path = fmt::format("normalizer[{}]", place++);
    if (part->AsObject() == nullptr) return WrongKind(path, part, "object");
    BATON_ASSIGN_OR_RETURN(const std::string* type, StringField(*part, path, "type"));
    if (*type == "Prepend") {
      BATON_ASSIGN_OR_RETURN(const std::string* text, StringField(*part, path, "prepend"));
      if (*text != kMark) return FieldError(path, "prepending '{}' is not supported; '{}' is", *text, kMark);
      spec.prepend = Prepend::kAlways;
    } else if (*type == "Replace") {
      BATON_RETURN_IF_ERROR(CheckReplace(*part, path, " ", kMark));
      marks = true;
    } else {
      return Unsupported(path, *type, "Prepend and Replace, as Llama 2 has them");
    }
  }
  return marks;
}

absl::Status ReadMetaspace(const json::Value& part, const std::string& path, SentencePieceSpec& spec) {
  BATON_ASSIGN_OR_RETURN(const std::string* mark, StringField(part, path, "replacement"));
  if (*mark != kMark)
    return FieldError(path + ".replacement", "'{}' is not supported; '{}' is", *mark, kMark);
  BATON_ASSIGN_OR_RETURN(spec.split_words, BoolField(part, path, "split", true));
  const json::Value* scheme = FindField(part, "prepend_scheme");
  if (scheme == nullptr) {  // an older file
    BATON_ASSIGN_OR_RETURN(const bool prepend, BoolField(part, path, "add_prefix_space", true));
    spec.prepend = prepend ? Prepend::kUnlessMarked : Prepend::kNever;
    return absl::OkStatus();
  }
  const std::string* name = scheme->AsString();
  if (name != nullptr && *name == "always") {
    spec.prepend = Prepend::kUnlessMarked;
  } else if (name != nullptr && *name == "first") {
    spec.prepend = Prepend::kFirstUnlessMarked;
  } else if (name != nullptr && *name == "never") {
    spec.prepend = Prepend::kNever;
  } else {
    return FieldError(path + ".prepend_scheme", "{} is none of always, first, never",
                      json::Serialize(*scheme));
  }
  return absl::OkStatus();
}

/// Replace, ByteFallback, Fuse and Strip of one space, or Metaspace, which is Replace and that Strip.
absl::Status ReadDecoder(const json::Value& file, SentencePieceSpec& spec) {
  const json::Value* decoder = FindField(file, "decoder");
  if (decoder == nullptr || decoder->AsObject() == nullptr) return WrongKind("decoder", decoder, "object");
  bool spaces = false;
  std::size_t place = 0;
  for (const json::Value* part : PartsOf(*decoder, "decoders")) {
    const std::string path = fmt::format("decoder[{}]", place++);
    if (part->AsObject() == nullptr) return WrongKind(path, part, "object");
    BATON_ASSIGN_OR_RETURN(const std::string* type, StringField(*part, path, "type"));
    if (*type == "Replace") {
      BATON_RETURN_IF_ERROR(CheckReplace(*part, path, kMark, " "));
      spaces = true;
    } else if (*type == "Metaspace") {
      SentencePieceSpec like;
      BATON_RETURN_IF_ERROR(ReadMetaspace(*part, path, like));
      spec.strip_first_space = like.prepend != Prepend::kNever;
      spaces = true;
    } else if (*type == "Strip") {
      const json::Value* start = FindField(*part, "start");
      const json::Value* stop = FindField(*part, "stop");
      BATON_ASSIGN_OR_RETURN(const std::string* content, StringField(*part, path, "content"));
      if (*content != " " || start == nullptr || start->AsInt() == nullptr || *start->AsInt() != 1 ||
          stop == nullptr || stop->AsInt() == nullptr || *stop->AsInt() != 0) {
        return FieldError(path, "is not supported; a Strip of one space at the start is");
      }
      spec.strip_first_space = true;
    } else if (*type != "ByteFallback" && *type != "Fuse") {
      return Unsupported(path, *type, "Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence");
    }
  }
  return spaces ? absl::OkStatus() : FieldError("decoder", "does not turn '{}' back into spaces", kMark);
}

}  // namespace

absl::StatusOr<std::optional<SentencePieceSpec>> ReadSentencePiece(const json::Value& file) {
  SentencePieceSpec spec;
  const json::Value* words = FindField(file, "pre_tokenizer");
  const json::Value* type = words == nullptr ? nullptr : words->Find("type");
  const bool metaspace = type != nullptr && type->AsString() != nullptr && *type->AsString() == "Metaspace";
  if (words != nullptr && !metaspace) return std::optional<SentencePieceSpec>();
  BATON_ASSIGN_OR_RETURN(const bool marks, ReadNormalizer(file, spec));
  if (metaspace) BATON_RETURN_IF_ERROR(ReadMetaspace(*words, "pre_tokenizer", spec));
  if (!metaspace && !marks) {
    return FieldError(
        "pre_tokenizer",
        "null is not supported without a normalizer that writes '{}' for a space; ByteLevel and "
        "Metaspace are",
        kMark);
  }
  BATON_RETURN_IF_ERROR(ReadDecoder(file, spec));
  return std::optional(spec);
}

std::string MarkSpaces(std::string_view piece, const SentencePieceSpec& spec, bool first) {
  if (piece.empty()) return {};
  std::string marked;
  marked.reserve(piece.size() + kMark.size());
  for (const char c : piece) {
    if (c == ' ') {
      marked += kMark;
    } else {
      marked += c;
    }
  }
  const bool missing = !marked.starts_with(kMark);
  const bool wanted = spec.prepend == Prepend::kAlways ||
                      (spec.prepend == Prepend::kUnlessMarked && missing) ||
                      (spec.prepend == Prepend::kFirstUnlessMarked && missing && first);
  if (wanted) marked.insert(0, kMark);
  return marked;
}

std::string UnmarkSpaces(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const std::size_t mark = std::min(text.find(kMark), text.size());
    plain += text.substr(0, mark);
    text.remove_prefix(mark);
    if (text.empty()) break;
    plain += ' ';
    text.remove_prefix(kMark.size());
  }
  return plain;
}

void VisitWords(std::string_view marked, const std::function<void(std::string_view)>& visit) {
  while (!marked.empty()) {
    const std::size_t next = std::min(marked.find(kMark, 1), marked.size());
    visit(marked.substr(0, next));
    marked.remove_prefix(next);
  }
}

std::optional<unsigned char> ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : token.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<unsigned>(c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + static_cast<unsigned>(c - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return static_cast<unsigned char>(value);
}

CharacterTokens::CharacterTokens(const std::vector<std::pair<std::string, TokenId>>& vocabulary,
                                 const Options& options)
    : options_(options) {
  bytes_.fill(-1);
  for (const auto& [text, id] : vocabulary) {
    const Utf8Step step = NextUtf8(text);
    if (step.kind == Utf8Step::Kind::kCharacter && step.length == text.size())
      characters_.emplace(step.code, id);
    if (const auto byte = ByteOfToken(text)) bytes_[*byte] = id;
  }
}

void CharacterTokens::Append(std::string_view word, std::vector<TokenId>& tokens) const {
  bool unknown_waits = false;  // joined with those that follow where they are fused
  const auto flush = [&] {
    if (unknown_waits) tokens.push_back(*options_.unknown);
    unknown_waits = false;
  };
  while (!word.empty()) {
    const Utf8Step step = NextUtf8(word);
    const std::string_view character = word.substr(0, step.length);
    word.remove_prefix(character.size());
    if (const auto found = characters_.find(step.code); found != characters_.end()) {
      flush();
      tokens.push_back(found->second);
      continue;
    }
    const auto known = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)] >= 0; };
    if (options_.byte_fallback && std::all_of(character.begin(), character.end(), known)) {
      for (const char byte : character) tokens.push_back(bytes_[static_cast<unsigned char>(byte)]);
      continue;
    }
    if (!options_.unknown) continue;
    if (!options_.fuse_unknown) flush();
    unknown_waits = true;
  }
  flush();
}

}  // namespace baton::text
