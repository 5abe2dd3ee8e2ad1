#pragma once

#include <string_view>

#include "common/json/value.h"

/// Whether a value may be of two schemas: what `oneOf` forbids. Private to this module.
namespace baton::grammar {

/// What a reference points to; null where it is not of the supported ones, or points to nothing.
[[nodiscard]] const json::Value* Referred(const json::Value& root, std::string_view reference);

/// Finds out whether schemas exclude each other, by their types, constants, ranges and by what objects
/// require. What it cannot see counts as no exclusion; so does what takes too long. One use a schema.
class Exclusion {
 public:
  explicit Exclusion(const json::Value& root) : root_(root) {}
  /// No text that this module writes for one of them is a value of the other.
  [[nodiscard]] bool Exclude(const json::Value& a, const json::Value& b) {
    return Excludes(a, b, 0) && Excludes(b, a, 0);
  }

 private:
  // Deeper than any discriminator lies; a recursive schema would have no end.
  static constexpr int kDepthMax = 16;

  /// No text written for `written` is a value of `schema`.
  bool Excludes(const json::Value& written, const json::Value& schema, int depth);
  bool ObjectExcludes(const json::Value& written, const json::Value& schema, int depth);
  /// The value is none of the schema's.
  bool ValueExcluded(const json::Value& value, const json::Value& schema, int depth);
  const json::Value& Resolve(const json::Value& schema) const;
  /// The kinds of value that a schema lets through, whatever this module writes for it.
  unsigned KindsAllowed(const json::Value& schema) const;

  const json::Value& root_;
  int steps_left_ = 100'000;
};

}  // namespace baton::grammar
