#include <utility>

#include "common/base/utf8.h"
#include "common/text/tokenizer.h"

namespace baton::text {

std::string StreamDecoder::Push(TokenId id) {
  held_ += tokenizer_->TokenBytes(id, skip_special_);
  std::string chunk;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const std::size_t valid = ValidUtf8Prefix(rest);
    chunk += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (rest.empty()) break;
    const Utf8Step step = NextUtf8(rest);
    if (step.kind == Utf8Step::Kind::kIncomplete) break;
    AppendAsValidUtf8(chunk, rest.substr(0, step.length));
    rest.remove_prefix(step.length);
  }
  held_ = std::string(rest);
  return chunk;
}

std::string StreamDecoder::Flush() {
  std::string chunk;
  AppendAsValidUtf8(chunk, std::exchange(held_, {}));
  return chunk;
}

}  // namespace baton::text
