#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/text/tokenizer.h"

namespace baton::text {

/// A tokenizer.json small enough to reason about: the 256 bytes in order of their spelling's code points,
/// then "th" 256, "the" 257, "Ġt" 258, "Ġth" 259 and "Ġthe" 260, made by the merges (t,h) (th,e) (Ġ,t) (Ġt,h)
/// (Ġth,e) in this order; added tokens <s> 261 and </s> 262, special, and <tool> 263, not special. GPT-2's
/// split.
struct ToyFile {
  std::string normalizer = "null";
  std::string pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  std::string post_processor = "null";
  std::string decoder = R"({"type":"ByteLevel"})";
  std::string added_tokens =
      R"([{"id":261,"content":"<s>","special":true},{"id":262,"content":"</s>","special":true},)"
      R"({"id":263,"content":"<tool>","special":false,"normalized":false}])";
  std::string merges = R"(["t h","th e","Ġ t","Ġt h","Ġth e"])";
  std::string extra_vocabulary = {};  // `,"token":id` ...
  std::string model_fields = {};      // `,"ignore_merges":true` ...

  /// The file's text.
  [[nodiscard]] std::string Text() const;
  /// The tokenizer, which must load.
  [[nodiscard]] std::unique_ptr<Tokenizer> Load() const;
  /// The message with which loading fails.
  [[nodiscard]] std::string ErrorText() const;
};

}  // namespace baton::text
