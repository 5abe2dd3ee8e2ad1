#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/json/value.h"
#include "common/text/pattern.h"

namespace baton::text {

/// A space before a text, or its mark.
enum class PrependScheme { kNever, kFirst, kAlways };

/// The `pre_tokenizer` of a tokenizer.json: cuts a text into the words that merging does not cross, and
/// spells them as the vocabulary does. Immutable; safe to share between threads.
class PreTokenizer {
 public:
  /// Null is one word. Errors name the component.
  [[nodiscard]] static absl::StatusOr<PreTokenizer> Parse(const json::Value* component);

  /// Whether words are handed out as plain bytes that the vocabulary spells as ByteLevel does. False where
  /// `spell_bytes` was set: words are spelled then.
  [[nodiscard]] bool GivesBytes() const;
  /// Makes ByteLevel spell its words also where it comes last.
  void SpellBytes() { spell_bytes_ = true; }
  /// Whether there is a ByteLevel.
  [[nodiscard]] bool IsByteLevel() const;

  /// Where words go, and what is counted on the way.
  struct Sink {
    std::function<void(std::string_view)> word;
    Effort& effort;
  };
  /// Hands out the words of `piece`, none empty, in order; `first`: it is where the text begins. Errors as
  /// `Pattern::Find`.
  [[nodiscard]] absl::Status Cut(std::string_view piece, bool first, Sink& sink) const;

 private:
  struct Split {
    Pattern pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  struct ByteLevel {
    bool add_prefix_space = true;
    bool use_regex = true;
  };
  struct Metaspace {
    std::string mark;
    PrependScheme prepend = PrependScheme::kAlways;
    bool split = true;
  };
  using Step = std::variant<Split, ByteLevel, Metaspace>;
  friend struct PreTokenizerReader;

  absl::Status CutFrom(std::size_t step, std::string_view piece, bool first, Sink& sink) const;
  absl::Status CutAt(const Split& split, std::size_t step, std::string_view piece, bool first,
                     Sink& sink) const;
  absl::Status CutAt(const ByteLevel& bytes, std::size_t step, std::string_view piece, bool first,
                     Sink& sink) const;
  absl::Status CutAt(const Metaspace& space, std::size_t step, std::string_view piece, bool first,
                     Sink& sink) const;

  std::vector<Step> steps_;
  bool spell_bytes_ = false;
};

/// The `prepend_scheme` of a Metaspace, or what an older file has instead.
[[nodiscard]] absl::StatusOr<PrependScheme> ReadPrependScheme(const json::Value& part,
                                                              const std::string& path);
/// The `pattern` of a Split or Replace: a String or a Regex.
[[nodiscard]] absl::StatusOr<Pattern> ReadPattern(const json::Value& part, const std::string& path);

}  // namespace baton::text
