#include <utility>

#include "common/base/utf8.h"
#include "common/text/tokenizer.h"

namespace baton::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

void AppendReplacements(std::string& out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out += kReplacement;
}

}  // namespace

std::string StreamDecoder::Push(TokenId id) {
  std::string_view bytes = tokenizer_->TokenBytes(id, skip_special_);
  if (bytes.empty()) return {};
  const bool byte_token = tokenizer_->IsByteToken(id);
  std::string chunk;
  if (in_run_ && !byte_token) chunk = Flush();
  if (!begun_ && tokenizer_->StripsFirstSpace() && bytes.front() == ' ') bytes.remove_prefix(1);
  begun_ = true;
  in_run_ = byte_token;
  if (run_broken_) {
    AppendReplacements(chunk, bytes.size());
  } else {
    Take(bytes, byte_token, chunk);
  }
  return chunk;
}

/// Adds the characters that `bytes` complete to `chunk`.
void StreamDecoder::Take(std::string_view bytes, bool in_run, std::string& chunk) {
  held_ += bytes;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const std::size_t valid = ValidUtf8Prefix(rest);
    chunk += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (rest.empty()) break;
    const Utf8Step step = NextUtf8(rest);
    if (step.kind == Utf8Step::Kind::kIncomplete) break;
    if (in_run) {
      AppendReplacements(chunk, rest.size());
      rest = {};
      run_broken_ = true;
    } else {
      AppendAsValidUtf8(chunk, rest.substr(0, step.length));
      rest.remove_prefix(step.length);
    }
  }
  held_ = std::string(rest);
}

std::string StreamDecoder::Flush() {
  std::string chunk;
  if (in_run_) {
    AppendReplacements(chunk, held_.size());
    held_.clear();
  } else {
    AppendAsValidUtf8(chunk, std::exchange(held_, {}));
  }
  in_run_ = run_broken_ = false;
  return chunk;
}

}  // namespace baton::text
