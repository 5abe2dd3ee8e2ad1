#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/grammar/builder.h"
#include "common/grammar/schema.h"
#include "common/json/value.h"

/// Reading of a schema object's keywords. Private to this module.
namespace baton::grammar {

/// The kinds of JSON values, as bits.
enum Kind : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kEverything = 127,
};

/// `pointer` with one more part, escaped as RFC 6901 asks.
[[nodiscard]] std::string Below(std::string_view pointer, std::string_view part);
/// InvalidArgument for the first keyword that this module does not know.
[[nodiscard]] absl::Status CheckKeywords(const json::Object& schema, std::string_view pointer);
/// InvalidArgument unless the schema has nothing but `keyword`, `also` and annotations.
[[nodiscard]] absl::Status CheckAlone(const json::Object& schema, std::string_view pointer,
                                      std::string_view keyword, std::string_view also = "");
/// What `type` says; without it, what the other keywords speak of; without those, everything.
[[nodiscard]] absl::StatusOr<unsigned> KindsOf(const json::Value& schema, std::string_view pointer);
[[nodiscard]] unsigned KindOf(const json::Value& value);
/// The counts of `minItems` and `maxItems`, or their like.
[[nodiscard]] absl::StatusOr<Builder::Counts> CountsOf(const json::Value& schema, std::string_view pointer,
                                                       std::string_view least, std::string_view most,
                                                       const SchemaLimits& limits);
/// The bounds without a look at whether they themselves belong to it. Of a schema for which `RangeOf` is
/// good.
[[nodiscard]] IntegerRange FractionsOf(const json::Value& schema);
/// The whole numbers that the four bounds allow; nothing where there is no bound.
[[nodiscard]] absl::StatusOr<std::optional<IntegerRange>> RangeOf(const json::Value& schema,
                                                                  std::string_view pointer);

}  // namespace baton::grammar
