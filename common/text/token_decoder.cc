#include "common/text/token_decoder.h"

#include <algorithm>
#include <utility>

#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/normalizer.h"
#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxContentBytes = 1024;
constexpr std::int64_t kMaxStrip = 1'000'000;

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

bool IsOneCharacter(std::string_view text) {
  return !text.empty() && NextUtf8(text).length == text.size();
}

absl::StatusOr<std::uint32_t> ReadCount(const json::Value& part, const std::string& path,
                                        std::string_view key) {
  const json::Value* value = FindField(part, key);
  if (value == nullptr || value->AsInt() == nullptr || *value->AsInt() < 0 || *value->AsInt() > kMaxStrip)
    return WrongKind(fmt::format("{}.{}", path, key), value, "a small whole number");
  return static_cast<std::uint32_t>(*value->AsInt());
}

/// `text` with each `from`, a character, written as `to`.
std::string WithEach(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const std::size_t at = std::min(text.find(from), text.size());
    out += text.substr(0, at);
    text.remove_prefix(at);
    if (text.empty()) return out;
    out += to;
    text.remove_prefix(from.size());
  }
}

std::string_view WithoutEnds(std::string_view text, std::string_view content, std::uint32_t start,
                             std::uint32_t stop) {
  for (; start > 0 && text.starts_with(content); --start) text.remove_prefix(content.size());
  for (; stop > 0 && text.ends_with(content); --stop) text.remove_suffix(content.size());
  return text;
}

}  // namespace

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

absl::StatusOr<TokenDecoder> TokenDecoder::Parse(const json::Value* component) {
  TokenDecoder decoder;
  if (component == nullptr) {
    decoder.spaced_ = decoder.first_differs_ = true;
    return decoder;
  }
  BATON_RETURN_IF_ERROR(
      VisitParts(*component, "decoder", "decoders", 0,
                 [&](const json::Value& part, const std::string& type,
                     const std::string& path) -> absl::Status { return decoder.Read(part, type, path); }));
  return decoder;
}

absl::Status TokenDecoder::Read(const json::Value& part, const std::string& type, const std::string& path) {
  if (token_steps_.size() + text_steps_.size() == kMaxSteps)
    return FieldError(path, "more than {} parts", kMaxSteps);
  if (type == "Strip") return ReadStrip(part, path);
  if (type == "Replace") return ReadReplace(part, path);
  if (type == "Fuse") {
    joined_ = true;
    return absl::OkStatus();
  }
  if (type == "Metaspace") {
    if (joined_) return FieldError(path, "after the tokens are joined is not supported");
    BATON_ASSIGN_OR_RETURN(const std::string* mark, StringField(part, path, "replacement"));
    if (!IsOneCharacter(*mark)) return FieldError(path + ".replacement", "'{}' is not one character", *mark);
    BATON_ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(part, path));
    token_steps_.emplace_back(Metaspace{*mark, scheme != PrependScheme::kNever});
    first_differs_ = first_differs_ || scheme != PrependScheme::kNever;
    return absl::OkStatus();
  }
  if (type == "ByteFallback" || type == "ByteLevel") {
    if (joined_ || byte_fallback_) return FieldError(path, "comes too late to be supported");
    (type == "ByteLevel" ? byte_level_ : byte_fallback_) = true;
    joined_ = byte_level_;
    return absl::OkStatus();
  }
  return Unsupported(path, type, "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence");
}

absl::Status TokenDecoder::ReadStrip(const json::Value& part, const std::string& path) {
  Strip strip;
  BATON_ASSIGN_OR_RETURN(const std::string* content, StringField(part, path, "content"));
  if (!IsOneCharacter(*content)) return FieldError(path + ".content", "'{}' is not one character", *content);
  strip.content = *content;
  BATON_ASSIGN_OR_RETURN(strip.start, ReadCount(part, path, "start"));
  BATON_ASSIGN_OR_RETURN(strip.stop, ReadCount(part, path, "stop"));
  if (!joined_ && byte_fallback_) return FieldError(path, "between ByteFallback and Fuse is not supported");
  if (joined_ && strip.stop > 0) return FieldError(path + ".stop", "at the end of a text is not supported");
  (joined_ ? text_steps_ : token_steps_).emplace_back(std::move(strip));
  return absl::OkStatus();
}

absl::Status TokenDecoder::ReadReplace(const json::Value& part, const std::string& path) {
  BATON_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(part, path));
  BATON_ASSIGN_OR_RETURN(const std::string* content, StringField(part, path, "content"));
  if (content->size() > kMaxContentBytes)
    return FieldError(path + ".content", "{} bytes, at most {} allowed", content->size(), kMaxContentBytes);
  const bool of_text = joined_ || byte_fallback_;
  if (of_text && !IsOneCharacter(pattern.Text().value_or("")))
    return FieldError(path, "of other than one character is not supported after tokens are joined");
  (of_text ? text_steps_ : token_steps_).emplace_back(Replace{std::move(pattern), *content});
  return absl::OkStatus();
}

TokenDecoder::Piece TokenDecoder::Decode(std::string_view token, bool first) const {
  if (spaced_) return {first ? std::string(token) : " " + std::string(token)};
  Effort effort(token.size());
  std::string text(token);
  for (const Step& step : token_steps_) {
    text = std::visit(
        Overloaded{[&](const Replace& replace) {
                     // An expression that does not come to an end leaves the token as it is.
                     return Replaced(text, replace.pattern, replace.content, effort).value_or(text);
                   },
                   [&](const Strip& strip) {
                     return std::string(WithoutEnds(text, strip.content, strip.start, strip.stop));
                   },
                   [&](const Metaspace& space) {
                     return WithEach(text, space.mark, first && space.drops_first ? "" : " ");
                   }},
        step);
  }
  if (byte_level_) return {FromByteLevel(text).value_or(text)};  // some characters stand for no byte
  const auto byte = byte_fallback_ ? ByteOfToken(text) : std::nullopt;
  if (byte) return {std::string(1, static_cast<char>(*byte)), true};
  return {std::move(text)};
}

TokenDecoder::Position TokenDecoder::Begin() const {
  Position position;
  for (const Step& step : text_steps_) {
    const auto* strip = std::get_if<Strip>(&step);
    position.push_back(strip == nullptr ? 0 : strip->start);
  }
  return position;
}

void TokenDecoder::Finish(Position& position, std::string& chunk) const {
  for (std::size_t i = 0; i < text_steps_.size() && !chunk.empty(); ++i) {
    if (const auto* replace = std::get_if<Replace>(&text_steps_[i])) {
      chunk = WithEach(chunk, *replace->pattern.Text(), replace->content);
      continue;
    }
    const std::string& content = std::get<Strip>(text_steps_[i]).content;
    std::uint32_t& left = position[i];
    std::size_t stripped = 0;
    for (; left > 0 && std::string_view(chunk).substr(stripped).starts_with(content); --left)
      stripped += content.size();
    chunk.erase(0, stripped);
    if (!chunk.empty()) left = 0;
  }
}

}  // namespace baton::text
