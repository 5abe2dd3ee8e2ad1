#include "common/text/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

// Sequences longer than this serve nothing: the longest in use has seven parts.
constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxPatternBytes = 1024;

constexpr std::string_view kSupported =
    "ByteLevel, Metaspace, Split, Punctuation, Digits, Whitespace, WhitespaceSplit, CharDelimiterSplit, "
    "BertPreTokenizer, Sequence";

/// The name of a behavior; `fallback` where there is none.
absl::StatusOr<SplitBehavior> ReadBehavior(const json::Value& part, const std::string& path,
                                           std::optional<SplitBehavior> fallback) {
  static constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  if (fallback && FindField(part, "behavior") == nullptr) return *fallback;
  BATON_ASSIGN_OR_RETURN(const std::string* name, StringField(part, path, "behavior"));
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == *name) return behavior;
  }
  return FieldError(path + ".behavior", "'{}' is not supported", *name);
}

}  // namespace

absl::StatusOr<PrependScheme> ReadPrependScheme(const json::Value& part, const std::string& path) {
  const json::Value* scheme = FindField(part, "prepend_scheme");
  if (scheme == nullptr) {  // an older file
    BATON_ASSIGN_OR_RETURN(const bool prepend, BoolField(part, path, "add_prefix_space", true));
    return prepend ? PrependScheme::kAlways : PrependScheme::kNever;
  }
  const std::string* name = scheme->AsString();
  if (name != nullptr && *name == "always") return PrependScheme::kAlways;
  if (name != nullptr && *name == "first") return PrependScheme::kFirst;
  if (name != nullptr && *name == "never") return PrependScheme::kNever;
  return FieldError(path + ".prepend_scheme", "{} is none of always, first, never", json::Serialize(*scheme));
}

absl::StatusOr<Pattern> ReadPattern(const json::Value& part, const std::string& path) {
  const json::Value* pattern = part.Find("pattern");
  if (pattern == nullptr || pattern->AsObject() == nullptr)
    return WrongKind(path + ".pattern", pattern, "object");
  if (pattern->Find("String") != nullptr) {
    BATON_ASSIGN_OR_RETURN(const std::string* text, StringField(*pattern, path + ".pattern", "String"));
    if (text->size() <= kMaxPatternBytes) return Pattern::OfText(*text);
    return FieldError(path + ".pattern.String", "{} bytes, at most {} allowed", text->size(),
                      kMaxPatternBytes);
  }
  BATON_ASSIGN_OR_RETURN(const std::string* regex, StringField(*pattern, path + ".pattern", "Regex"));
  auto compiled = Pattern::OfRegex(*regex);
  if (!compiled.ok())
    return FieldError(path + ".pattern.Regex", "'{}': {}", *regex, Message(compiled.status()));
  return compiled;
}

/// Reads one part of the component after the other.
struct PreTokenizerReader {
  PreTokenizer out;

  template <typename Part>
  absl::Status Add(Part part, const std::string& path) {
    if (out.steps_.size() == kMaxSteps) return FieldError(path, "more than {} parts", kMaxSteps);
    out.steps_.emplace_back(std::move(part));
    return absl::OkStatus();
  }

  absl::Status AddClass(Pattern::Class characters, SplitBehavior behavior, bool invert,
                        const std::string& path) {
    return Add(PreTokenizer::Split{Pattern(characters), behavior, invert}, path);
  }

  absl::Status Read(const json::Value& part, const std::string& type, const std::string& path) {
    using Class = Pattern::Class;
    if (type == "Split") return ReadSplit(part, path);
    if (type == "ByteLevel") return ReadByteLevel(part, path);
    if (type == "Metaspace") return ReadMetaspace(part, path);
    if (type == "Digits") {
      BATON_ASSIGN_OR_RETURN(const bool each, BoolField(part, path, "individual_digits", false));
      return AddClass(each ? Class::kNumber : Class::kNumbers, SplitBehavior::kIsolated, false, path);
    }
    if (type == "Punctuation") {
      BATON_ASSIGN_OR_RETURN(const SplitBehavior behavior,
                             ReadBehavior(part, path, SplitBehavior::kIsolated));
      return AddClass(Class::kPunctuation, behavior, false, path);
    }
    if (type == "Whitespace") return AddClass(Class::kWordsAndSigns, SplitBehavior::kRemoved, true, path);
    if (type == "WhitespaceSplit") return AddClass(Class::kWhiteSpace, SplitBehavior::kRemoved, false, path);
    if (type == "CharDelimiterSplit") {
      BATON_ASSIGN_OR_RETURN(const std::string* delimiter, StringField(part, path, "delimiter"));
      if (delimiter->empty()) return FieldError(path + ".delimiter", "is empty");
      return Add(PreTokenizer::Split{Pattern::OfText(*delimiter), SplitBehavior::kRemoved}, path);
    }
    if (type == "BertPreTokenizer") {
      BATON_RETURN_IF_ERROR(AddClass(Class::kWhiteSpace, SplitBehavior::kRemoved, false, path));
      return AddClass(Class::kPunctuation, SplitBehavior::kIsolated, false, path);
    }
    return Unsupported(path, type, kSupported);
  }

  absl::Status ReadSplit(const json::Value& part, const std::string& path) {
    BATON_ASSIGN_OR_RETURN(const bool invert, BoolField(part, path, "invert", false));
    BATON_ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadBehavior(part, path, std::nullopt));
    BATON_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(part, path));
    return Add(PreTokenizer::Split{std::move(pattern), behavior, invert}, path);
  }

  absl::Status ReadByteLevel(const json::Value& part, const std::string& path) {
    if (out.IsByteLevel()) return FieldError(path, "a second ByteLevel is not supported");
    PreTokenizer::ByteLevel bytes;
    BATON_ASSIGN_OR_RETURN(bytes.use_regex, BoolField(part, path, "use_regex", true));
    BATON_ASSIGN_OR_RETURN(bytes.add_prefix_space, BoolField(part, path, "add_prefix_space", true));
    return Add(bytes, path);
  }

  absl::Status ReadMetaspace(const json::Value& part, const std::string& path) {
    PreTokenizer::Metaspace space;
    BATON_ASSIGN_OR_RETURN(const std::string* mark, StringField(part, path, "replacement"));
    if (mark->empty() || NextUtf8(*mark).length != mark->size())
      return FieldError(path + ".replacement", "'{}' is not one character", *mark);
    space.mark = *mark;
    BATON_ASSIGN_OR_RETURN(space.split, BoolField(part, path, "split", true));
    BATON_ASSIGN_OR_RETURN(space.prepend, ReadPrependScheme(part, path));
    return Add(std::move(space), path);
  }
};

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const json::Value* component) {
  PreTokenizerReader reader;
  if (component == nullptr) return std::move(reader.out);
  BATON_RETURN_IF_ERROR(
      VisitParts(*component, "pre_tokenizer", "pretokenizers", 0,
                 [&](const json::Value& part, const std::string& type,
                     const std::string& path) -> absl::Status { return reader.Read(part, type, path); }));
  return std::move(reader.out);
}

bool PreTokenizer::IsByteLevel() const {
  return std::ranges::any_of(steps_,
                             [](const Step& step) { return std::holds_alternative<ByteLevel>(step); });
}

bool PreTokenizer::GivesBytes() const {
  return !spell_bytes_ && !steps_.empty() && std::holds_alternative<ByteLevel>(steps_.back());
}

absl::Status PreTokenizer::Cut(std::string_view piece, bool first, Sink& sink) const {
  return CutFrom(0, piece, first, sink);
}

absl::Status PreTokenizer::CutFrom(std::size_t step, std::string_view piece, bool first, Sink& sink) const {
  if (piece.empty()) return absl::OkStatus();
  if (step == steps_.size()) {
    sink.word(piece);
    return absl::OkStatus();
  }
  return std::visit([&](const auto& part) { return CutAt(part, step, piece, first, sink); }, steps_[step]);
}

absl::Status PreTokenizer::CutAt(const Split& split, std::size_t step, std::string_view piece, bool first,
                                 Sink& sink) const {
  const std::optional<SplitPattern> known = split.pattern.ByHand();
  if (known && split.behavior == SplitBehavior::kIsolated) {  // its matches cover the text
    for (std::string_view rest = piece; !rest.empty(); first = false) {
      const std::size_t length = FirstWord(*known, rest, &sink.effort.steps);
      BATON_RETURN_IF_ERROR(CutFrom(step + 1, rest.substr(0, length), first, sink));
      rest.remove_prefix(length);
    }
    return absl::OkStatus();
  }
  std::vector<TextPart> parts;
  BATON_RETURN_IF_ERROR(split.pattern.Find(piece, parts, sink.effort));
  for (const TextPart& word : WordsOf(std::move(parts), split.behavior, split.invert)) {
    BATON_RETURN_IF_ERROR(
        CutFrom(step + 1, piece.substr(word.begin, word.end - word.begin), first && word.begin == 0, sink));
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::CutAt(const ByteLevel& bytes, std::size_t step, std::string_view piece, bool first,
                                 Sink& sink) const {
  std::string prefixed;
  if (bytes.add_prefix_space && piece.front() != ' ') {
    prefixed = ' ' + std::string(piece);
    piece = prefixed;
  }
  const bool spells = spell_bytes_ || step + 1 < steps_.size();
  const auto go_on = [&](std::string_view word) {
    return spells ? CutFrom(step + 1, ToByteLevel(word), first, sink) : CutFrom(step + 1, word, first, sink);
  };
  if (!bytes.use_regex) return go_on(piece);
  while (!piece.empty()) {
    const std::size_t length = FirstWord(SplitPattern::kGpt2, piece, &sink.effort.steps);
    BATON_RETURN_IF_ERROR(go_on(piece.substr(0, length)));
    piece.remove_prefix(length);
    first = false;
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::CutAt(const Metaspace& space, std::size_t step, std::string_view piece, bool first,
                                 Sink& sink) const {
  std::string marked;
  marked.reserve(piece.size() + space.mark.size());
  const bool wanted =
      space.prepend == PrependScheme::kAlways || (space.prepend == PrependScheme::kFirst && first);
  if (wanted && piece.front() != ' ' && !piece.starts_with(space.mark)) marked += space.mark;
  for (const char c : piece) {
    if (c == ' ') {
      marked += space.mark;
    } else {
      marked += c;
    }
  }
  if (!space.split) return CutFrom(step + 1, marked, first, sink);
  for (std::string_view rest = marked; !rest.empty(); first = false) {  // a mark begins a word
    const std::size_t length = std::min(rest.find(space.mark, 1), rest.size());
    BATON_RETURN_IF_ERROR(CutFrom(step + 1, rest.substr(0, length), first, sink));
    rest.remove_prefix(length);
  }
  return absl::OkStatus();
}

}  // namespace baton::text
