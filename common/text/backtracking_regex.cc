#include "common/text/backtracking_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <ctime>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"

namespace baton::text {
namespace {

// Steps of one match: a run of a hundred thousand spaces in a pattern that looks ahead stays below.
constexpr std::uint32_t kMaxMatchSteps = 1'000'000;
// Each may scan the whole text: that long can one look at the clock be late.
constexpr std::size_t kMatchesPerCheck = 16;
constexpr std::uint32_t kMaxMatchMemoryKib = 64 * 1024;

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

std::string MessageOf(int code) {
  unsigned char text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// Processor time of this thread.
std::chrono::nanoseconds ThreadTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// Whether a bracket is opened within brackets, which PCRE2 takes for the sign itself. [:alpha:] is none.
bool HasNestedClass(std::string_view regex) {
  bool in_class = false;
  for (std::size_t i = 0; i < regex.size(); ++i) {
    if (regex[i] == '\\') {
      ++i;
    } else if (regex[i] == '[') {
      const bool named = regex.substr(i + 1).starts_with(':');
      if (in_class && !named) return true;
      if (in_class) i = std::min(regex.find(":]", i), regex.size() - 1) + 1;
      in_class = true;
    } else if (regex[i] == ']') {
      in_class = false;
    }
  }
  return false;
}

/// What Oniguruma reads otherwise than PCRE2 does.
absl::Status CheckSyntax(const std::string& regex) {
  for (const std::string_view part : {"\\h", "\\H", "&&", "\\C", "\\K", "\\Q", "(?m", "(?s", "(*"}) {
    if (regex.find(part) != std::string::npos)
      return Error(kInvalidArgument, "'{}' in a regular expression is not supported", part);
  }
  if (HasNestedClass(regex))
    return Error(kInvalidArgument, "a class within a class in a regular expression is not supported");
  // x{1,3}+ is a repetition of a repetition there, a possessive one here.
  for (std::size_t at = regex.find("}+"); at != std::string::npos; at = regex.find("}+", at + 1)) {
    if (at > 0 && (std::isdigit(static_cast<unsigned char>(regex[at - 1])) != 0 || regex[at - 1] == ','))
      return Error(kInvalidArgument, "'}}+' after a count in a regular expression is not supported");
  }
  return absl::OkStatus();
}

}  // namespace

struct BacktrackingRegex::Compiled {
  explicit Compiled(pcre2_code* c) : code(c) {}
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  pcre2_code* code;
};

BacktrackingRegex::BacktrackingRegex(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
BacktrackingRegex::~BacktrackingRegex() = default;

absl::StatusOr<std::shared_ptr<const BacktrackingRegex>> BacktrackingRegex::Compile(
    const std::string& regex) {
  if (regex.size() > kMaxRegexBytes) {
    return Error(kInvalidArgument, "a regular expression of {} bytes, at most {} are supported", regex.size(),
                 kMaxRegexBytes);
  }
  BATON_RETURN_IF_ERROR(CheckSyntax(regex));
  // In Oniguruma's Ruby syntax, $ and ^ are the ends of lines.
  constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE;
  int error = 0;
  std::size_t at = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(), kOptions, &error, &at, nullptr);
  if (code == nullptr) {
    return Error(kInvalidArgument, "the regular expression is wrong at byte {}: {}", at, MessageOf(error));
  }
  return std::make_shared<BacktrackingRegex>(std::make_unique<Compiled>(code));
}

absl::Status BacktrackingRegex::Find(std::string_view text, std::vector<TextPart>& parts,
                                     Effort& effort) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> data(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeMatch> context(pcre2_match_context_create(nullptr));
  BATON_CHECK(data != nullptr && context != nullptr, "no memory for a match");
  pcre2_set_match_limit(context.get(), kMaxMatchSteps);
  pcre2_set_heap_limit(context.get(), kMaxMatchMemoryKib);
  if (!effort.end_of_patience) effort.end_of_patience = ThreadTime() + effort.patience;
  std::size_t covered = 0;
  std::size_t from = 0;
  bool matched = false;  // there was one, and `covered` is its end
  while (from <= text.size()) {
    if (++effort.searches % kMatchesPerCheck == 0 && ThreadTime() > *effort.end_of_patience) {
      return Error(kResourceExhausted, "splitting text into words, at byte {}: it takes too long", from);
    }
    const int found = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                  from, PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return Error(kResourceExhausted, "splitting text into words, at byte {}: {}", from, MessageOf(found));
    }
    const std::size_t* bounds = pcre2_get_ovector_pointer(data.get());
    const std::size_t begin = bounds[0];
    const std::size_t end = bounds[1];
    BATON_CHECK(begin >= covered && end >= begin, "a match of bytes {} to {}", begin, end);
    if (begin == end && matched && begin == covered) {  // no match of nothing right after a match
      from = begin + (begin == text.size() ? 1 : NextUtf8(text.substr(begin)).length);
      continue;
    }
    if (begin > covered) parts.push_back({covered, begin, false});
    parts.push_back({begin, end, true});
    matched = true;
    covered = from = end;
  }
  if (covered < text.size()) parts.push_back({covered, text.size(), false});
  return absl::OkStatus();
}

}  // namespace baton::text
