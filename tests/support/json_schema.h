#pragma once

#include <string>
#include <string_view>

#include "common/base/random.h"
#include "common/json/value.h"

namespace baton::test {

/// A plain validator of the JSON schemas of the tests: reads the schema at every value, knows nothing of
/// grammars. `root` is where references begin.
[[nodiscard]] bool Validates(const json::Value& value, const json::Value& schema, const json::Value& root);

/// A random value that `schema` allows, its members in the schema's order.
[[nodiscard]] json::Value RandomValue(const json::Value& schema, const json::Value& root,
                                      RandomStream& random, int depth = 0);

}  // namespace baton::test
