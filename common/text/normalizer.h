#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/json/value.h"
#include "common/text/pattern.h"
#include "common/text/unicode.h"

namespace baton::text {

/// The `normalizer` of a tokenizer.json. Immutable; safe to share between threads.
class Normalizer {
 public:
  /// Null changes nothing. Errors name the component.
  [[nodiscard]] static absl::StatusOr<Normalizer> Parse(const json::Value* component);

  [[nodiscard]] bool ChangesNothing() const { return steps_.empty(); }
  /// `text`, valid UTF-8, normalised. ResourceExhausted where an expression takes too long or the text grows
  /// beyond all measure.
  [[nodiscard]] absl::StatusOr<std::string> Apply(std::string_view text, Effort& effort) const;

 private:
  struct Lower {};
  struct DropMarks {};
  struct Strip {
    bool left = true;
    bool right = true;
  };
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct Prepend {
    std::string prefix;
  };
  using Step = std::variant<NormalForm, Lower, DropMarks, Strip, Replace, Prepend>;
  absl::Status Read(const json::Value& part, const std::string& type, const std::string& path);

  std::vector<Step> steps_;
};

/// `text` with every match of `pattern` replaced. Errors as `Normalizer::Apply`.
[[nodiscard]] absl::StatusOr<std::string> Replaced(std::string_view text, const Pattern& pattern,
                                                   std::string_view content, Effort& effort);

}  // namespace baton::text
