#include <utility>

#include "common/base/utf8.h"
#include "common/text/token_decoder.h"
#include "common/text/tokenizer.h"

namespace baton::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

void AppendReplacements(std::string& out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out += kReplacement;
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special), position_(tokenizer.Decoder().Begin()) {}

std::string StreamDecoder::Push(TokenId id) {
  if (!tokenizer_->IsShown(id, skip_special_)) return {};
  const bool byte_token = tokenizer_->IsByteToken(id);
  std::string chunk;
  if (in_run_ != byte_token) EndRun(chunk);
  in_run_ = byte_token;
  if (begun_) {
    Take(tokenizer_->TokenBytes(id, skip_special_), byte_token, chunk);
  } else {
    Take(tokenizer_->FirstTokenBytes(id), byte_token, chunk);
  }
  begun_ = true;
  tokenizer_->Decoder().Finish(position_, chunk);
  return chunk;
}

/// Adds the characters that `bytes` complete to `chunk`.
void StreamDecoder::Take(std::string_view bytes, bool in_run, std::string& chunk) {
  if (run_broken_) {
    AppendReplacements(chunk, bytes.size());
    return;
  }
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

/// What is held back will not be completed.
void StreamDecoder::EndRun(std::string& chunk) {
  if (in_run_) {
    AppendReplacements(chunk, held_.size());
    held_.clear();
  } else {
    AppendAsValidUtf8(chunk, std::exchange(held_, {}));
  }
  in_run_ = run_broken_ = false;
}

std::string StreamDecoder::Flush() {
  std::string chunk;
  EndRun(chunk);
  tokenizer_->Decoder().Finish(position_, chunk);
  return chunk;
}

}  // namespace baton::text
