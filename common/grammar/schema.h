#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/grammar/grammar.h"

namespace baton::grammar {

/// Bounds on a schema, which a client sends.
struct SchemaLimits {
  std::size_t bytes = 64U << 10;
  std::size_t depth = 32;
  std::size_t enum_values = 1000;
  std::size_t properties = 200;   // of one object
  std::size_t alternatives = 64;  // of one anyOf
  std::int64_t count = 2000;      // minLength, maxLength, minItems, maxItems
  std::size_t nodes = 60'000;     // of the grammar
};

/// The texts that a JSON schema allows, or a part of them; never others. InvalidArgument names what is not
/// supported and where: "keyword 'not' at '/properties/name' is not supported". README.md has the subset.
[[nodiscard]] absl::StatusOr<std::shared_ptr<const Grammar>> FromSchema(std::string_view schema,
                                                                        const SchemaLimits& limits = {});

/// Any JSON object.
[[nodiscard]] std::shared_ptr<const Grammar> AnyJsonObject();

/// What requests and messages carry: the schema's text, or `kAnyObjectText`.
inline constexpr std::string_view kAnyObjectText = "object";
[[nodiscard]] absl::StatusOr<std::shared_ptr<const Grammar>> FromText(std::string_view text);

}  // namespace baton::grammar
