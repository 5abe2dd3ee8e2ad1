#include "common/text/jinja/builtins.h"

#include <algorithm>
#include <array>

namespace baton::text::jinja {
namespace {

const Builtin* Find(std::span<const Builtin> table, std::string_view name) {
  const auto row = std::ranges::find(table, name, &Builtin::name);
  return row == table.end() ? nullptr : &*row;
}

}  // namespace

std::vector<std::string_view> Builtin::ParameterNames() const {
  std::vector<std::string_view> names;
  for (std::string_view rest = parameters; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    names.push_back(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return names;
}

bool IsFunction(std::string_view name) {
  constexpr std::array<std::string_view, 5> kFunctions = {"raise_exception", "namespace", "range", "dict",
                                                          "strftime_now"};
  return std::ranges::find(kFunctions, name) != kFunctions.end();
}

const Builtin* FindFilter(std::string_view name) {
  const Builtin* filter = Find(TextFilters(), name);
  return filter == nullptr ? Find(ListFilters(), name) : filter;
}
const Builtin* FindTest(std::string_view name) {
  return Find(Tests(), name);
}
const Builtin* FindMethod(std::string_view name) {
  return Find(Methods(), name);
}

}  // namespace baton::text::jinja
