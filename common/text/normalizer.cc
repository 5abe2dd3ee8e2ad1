#include "common/text/normalizer.h"

#include <utility>

#include "common/text/pre_tokenizer.h"
#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxContentBytes = 1024;
constexpr std::string_view kSupported =
    "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, Sequence";

constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kC},
                                                              {"NFD", NormalForm::kD},
                                                              {"NFKC", NormalForm::kCompatibleC},
                                                              {"NFKD", NormalForm::kCompatibleD}};

/// What a text may grow to. NFKD makes 11 of a byte at most, a mark for a space 3.
std::size_t MostBytes(std::size_t text_bytes) {
  return 65536 + 64 * text_bytes;
}

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

absl::StatusOr<std::string> ShortText(const json::Value& part, const std::string& path,
                                      std::string_view key) {
  BATON_ASSIGN_OR_RETURN(const std::string* text, StringField(part, path, key));
  if (text->size() <= kMaxContentBytes) return *text;
  return FieldError(fmt::format("{}.{}", path, key), "{} bytes, at most {} allowed", text->size(),
                    kMaxContentBytes);
}

}  // namespace

absl::StatusOr<std::string> Replaced(std::string_view text, const Pattern& pattern, std::string_view content,
                                     Effort& effort) {
  std::vector<TextPart> parts;
  BATON_RETURN_IF_ERROR(pattern.Find(text, parts, effort));
  const std::size_t most = MostBytes(text.size());
  std::string out;
  out.reserve(text.size());
  for (const TextPart& part : parts) {
    if (out.size() > most) {
      return Error(kResourceExhausted, "a text of {} bytes grows beyond {} when it is normalised",
                   text.size(), most);
    }
    out += part.match ? content : text.substr(part.begin, part.end - part.begin);
  }
  return out;
}

absl::Status Normalizer::Read(const json::Value& part, const std::string& type, const std::string& path) {
  if (steps_.size() == kMaxSteps) return FieldError(path, "more than {} parts", kMaxSteps);
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    steps_.emplace_back(form);
    return absl::OkStatus();
  }
  if (type == "Lowercase") {
    steps_.emplace_back(Lower{});
  } else if (type == "StripAccents") {
    steps_.emplace_back(DropMarks{});
  } else if (type == "Strip") {
    Strip strip;
    BATON_ASSIGN_OR_RETURN(strip.left, BoolField(part, path, "strip_left", true));
    BATON_ASSIGN_OR_RETURN(strip.right, BoolField(part, path, "strip_right", true));
    steps_.emplace_back(strip);
  } else if (type == "Replace") {
    BATON_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(part, path));
    BATON_ASSIGN_OR_RETURN(std::string content, ShortText(part, path, "content"));
    steps_.emplace_back(Replace{std::move(pattern), std::move(content)});
  } else if (type == "Prepend") {
    BATON_ASSIGN_OR_RETURN(std::string prefix, ShortText(part, path, "prepend"));
    steps_.emplace_back(Prepend{std::move(prefix)});
  } else {
    return Unsupported(path, type, kSupported);
  }
  return absl::OkStatus();
}

absl::StatusOr<Normalizer> Normalizer::Parse(const json::Value* component) {
  Normalizer normalizer;
  if (component == nullptr) return normalizer;
  BATON_RETURN_IF_ERROR(
      VisitParts(*component, "normalizer", "normalizers", 0,
                 [&](const json::Value& part, const std::string& type,
                     const std::string& path) -> absl::Status { return normalizer.Read(part, type, path); }));
  return normalizer;
}

absl::StatusOr<std::string> Normalizer::Apply(std::string_view text, Effort& effort) const {
  const std::size_t most = MostBytes(text.size());
  std::string out(text);
  for (const Step& step : steps_) {
    absl::Status status;
    out = std::visit(
        Overloaded{[&](NormalForm form) { return Normalized(out, form); },
                   [&](const Lower&) { return Lowercase(out); },
                   [&](const DropMarks&) { return WithoutMarks(out); },
                   [&](const Strip& strip) { return std::string(Stripped(out, strip.left, strip.right)); },
                   [&](const Prepend& prepend) { return out.empty() ? out : prepend.prefix + out; },
                   [&](const Replace& replace) {
                     auto replaced = Replaced(out, replace.pattern, replace.content, effort);
                     if (!replaced.ok()) status = replaced.status();
                     return replaced.ok() ? *std::move(replaced) : std::string();
                   }},
        step);
    BATON_RETURN_IF_ERROR(status);
    if (out.size() > most) {
      return Error(kResourceExhausted, "a text of {} bytes grows beyond {} when it is normalised",
                   text.size(), most);
    }
  }
  return out;
}

}  // namespace baton::text
