#include <algorithm>
#include <array>
#include <charconv>

#include "common/base/error.h"
#include "common/text/jinja/builtins.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/python_text.h"
#include "common/text/jinja/text_builtins.h"

namespace baton::text::jinja {
namespace {

/// value.a.0.b for the attribute "a.0.b"; the value itself where none is given.
absl::StatusOr<Value> AttributeOf(Value value, const Value& attribute, Budget& budget) {
  if (attribute.IsUndefined() || attribute.IsNone()) return value;
  if (attribute.AsInt() != nullptr) return Element(value, attribute, budget);
  BATON_ASSIGN_OR_RETURN(const std::string path, TextArgument(attribute, ""));
  for (std::string_view rest = path;;) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, dot));
    std::int64_t index = 0;
    const bool is_index =
        std::from_chars(part.data(), part.data() + part.size(), index).ptr == part.data() + part.size() &&
        !part.empty();
    BATON_ASSIGN_OR_RETURN(value, Element(value, is_index ? Value(index) : Value(part), budget));
    if (dot == rest.size()) return value;
    rest.remove_prefix(dot + 1);
  }
}

/// What is compared where case does not count.
absl::StatusOr<Value> SortKey(const Value& element, const Value& attribute, bool case_sensitive,
                              Budget& budget) {
  BATON_ASSIGN_OR_RETURN(Value key, AttributeOf(element, attribute, budget));
  if (case_sensitive || key.AsString() == nullptr) return key;
  return Made(Lower(*key.AsString()), budget);
}

struct Keyed {
  Value key;
  Value element;
};
absl::StatusOr<std::vector<Keyed>> KeyedOf(const Value& subject, const Value& attribute, bool case_sensitive,
                                           Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  std::vector<Keyed> keyed;
  for (const Value& element : list) {
    BATON_ASSIGN_OR_RETURN(Value key, SortKey(element, attribute, case_sensitive, budget));
    keyed.push_back({.key = std::move(key), .element = element});
  }
  return keyed;
}

/// Stable. By merging: n log n comparisons, and safe whatever their outcome; a pair without an order ends it.
absl::StatusOr<std::vector<Keyed>> Ordered(std::vector<Keyed> keyed, bool reverse, Budget& budget) {
  std::vector<Keyed> merged(keyed.size());
  for (std::size_t run = 1; run < keyed.size(); run *= 2) {
    for (std::size_t begin = 0; begin < keyed.size(); begin += 2 * run) {
      const std::size_t middle = std::min(begin + run, keyed.size());
      const std::size_t end = std::min(begin + 2 * run, keyed.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t out = begin; out < end; ++out) {
        bool from_right = left == middle;
        if (left < middle && right < end) {
          const Keyed& a = keyed[left];
          const Keyed& b = keyed[right];
          BATON_ASSIGN_OR_RETURN(from_right,
                                 reverse ? Less(a.key, b.key, budget) : Less(b.key, a.key, budget));
        }
        merged[out] = std::move(keyed[from_right ? right++ : left++]);
      }
    }
    std::swap(keyed, merged);
  }
  return keyed;
}

absl::StatusOr<Value> Sorted(std::vector<Keyed> keyed, bool reverse, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> ordered, Ordered(std::move(keyed), reverse, budget));
  Value::List list;
  for (Keyed& each : ordered) list.push_back(std::move(each.element));
  return Value(std::move(list));
}

/// groupby(attribute, default, case_sensitive): pairs of a value and the elements that have it, in order.
absl::StatusOr<Value> GroupBy(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (arguments[0].IsUndefined()) return Error(kInvalidArgument, "groupby takes an attribute");
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                         KeyedOf(subject, arguments[0], arguments[2].IsTrue(), budget));
  for (Keyed& each : keyed) {
    if (each.key.IsUndefined()) each.key = arguments[1];
  }
  BATON_ASSIGN_OR_RETURN(const std::vector<Keyed> ordered, Ordered(std::move(keyed), false, budget));
  Value::List groups;
  for (std::size_t i = 0; i < ordered.size();) {
    BATON_ASSIGN_OR_RETURN(Value name, AttributeOf(ordered[i].element, arguments[0], budget));
    if (name.IsUndefined()) name = arguments[1];
    Value::List members;
    bool same = true;
    for (std::size_t first = i; same;) {
      members.push_back(ordered[i].element);
      if (++i == ordered.size()) break;
      BATON_ASSIGN_OR_RETURN(same, Equal(ordered[first].key, ordered[i].key, budget));
    }
    BATON_RETURN_IF_ERROR(budget.Make((members.size() + 2) * sizeof(Value)));
    groups.push_back(Value::Tuple({std::move(name), Value(std::move(members))}));
  }
  return Value(std::move(groups));
}

absl::StatusOr<Value> Length(const Value& subject, const Arguments&, Budget& budget) {
  const auto count = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  if (subject.IsUndefined()) return count(0);
  if (subject.AsString() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Look(subject.AsString()->size()));
    return count(CharacterCount(*subject.AsString()));
  }
  if (subject.AsList() != nullptr) return count(subject.AsList()->size());
  if (subject.AsDict() != nullptr) return count(subject.AsDict()->size());
  return Error(kInvalidArgument, "the length of {}", subject.KindName());
}

absl::StatusOr<Value> Default(const Value& subject, const Arguments& arguments, Budget&) {
  const bool wanted = arguments[1].IsTrue() ? !subject.IsTrue() : subject.IsUndefined();
  if (!wanted) return subject;
  return arguments[0].IsUndefined() ? Value(std::string()) : arguments[0];
}

absl::StatusOr<Value> First(const Value& subject, const Arguments&, Budget& budget) {
  if (subject.AsList() != nullptr) return subject.AsList()->empty() ? Value() : subject.AsList()->front();
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  return list.empty() ? Value() : list.front();
}
absl::StatusOr<Value> Last(const Value& subject, const Arguments&, Budget& budget) {
  if (subject.AsList() != nullptr) return subject.AsList()->empty() ? Value() : subject.AsList()->back();
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  return list.empty() ? Value() : list.back();
}
absl::StatusOr<Value> List(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(Value::List list, ElementsOf(subject, budget));
  return Value(std::move(list));
}
absl::StatusOr<Value> Reverse(const Value& subject, const Arguments&, Budget& budget) {
  return SliceOf(subject, Value(nullptr), Value(nullptr), Value(std::int64_t{-1}), budget);
}

absl::StatusOr<Value> Join(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(Value::List list, ElementsOf(subject, budget));
  BATON_ASSIGN_OR_RETURN(const std::string separator, TextArgument(arguments[0], ""));
  for (Value& each : list) {
    BATON_ASSIGN_OR_RETURN(each, AttributeOf(each, arguments[1], budget));
  }
  return Joined(list, separator, budget);
}

absl::StatusOr<Value> Sort(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                         KeyedOf(subject, arguments[2], arguments[1].IsTrue(), budget));
  return Sorted(std::move(keyed), arguments[0].IsTrue(), budget);
}

absl::StatusOr<Value> Unique(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                         KeyedOf(subject, arguments[1], arguments[0].IsTrue(), budget));
  std::vector<Value> seen;
  Value::List list;
  for (Keyed& each : keyed) {
    bool known = false;
    for (std::size_t i = 0; i < seen.size() && !known; ++i) {
      BATON_ASSIGN_OR_RETURN(known, Equal(seen[i], each.key, budget));
    }
    if (known) continue;
    seen.push_back(std::move(each.key));
    list.push_back(std::move(each.element));
  }
  return Value(std::move(list));
}

template <bool kGreatest>
absl::StatusOr<Value> Extreme(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                         KeyedOf(subject, arguments[1], arguments[0].IsTrue(), budget));
  if (keyed.empty()) return Value();
  std::size_t best = 0;
  for (std::size_t i = 1; i < keyed.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const bool better, kGreatest ? Less(keyed[best].key, keyed[i].key, budget)
                                                        : Less(keyed[i].key, keyed[best].key, budget));
    if (better) best = i;
  }
  return keyed[best].element;
}

absl::StatusOr<Value> Sum(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  Value sum = arguments[1].IsUndefined() ? Value(std::int64_t{0}) : arguments[1];
  for (const Value& each : list) {
    BATON_ASSIGN_OR_RETURN(const Value part, AttributeOf(each, arguments[0], budget));
    BATON_ASSIGN_OR_RETURN(sum, ApplyOperator(BinaryOperator::kAdd, sum, part, budget));
  }
  return sum;
}

absl::StatusOr<Value> Items(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (subject.IsUndefined()) return Value(Value::List{});
  return FindMethod("items")->apply(subject, arguments, budget);
}

absl::StatusOr<Value> DictSort(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value items, Items(subject, {}, budget));
  BATON_ASSIGN_OR_RETURN(const std::string by, TextArgument(arguments[1], "key"));
  const Value place(std::int64_t{by == "value" ? 1 : 0});
  BATON_ASSIGN_OR_RETURN(std::vector<Keyed> keyed, KeyedOf(items, place, arguments[0].IsTrue(), budget));
  return Sorted(std::move(keyed), arguments[2].IsTrue(), budget);
}

absl::StatusOr<Value> Batch(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  BATON_ASSIGN_OR_RETURN(const std::int64_t width, WholeArgument(arguments[0], 0));
  if (width < 1) return Error(kInvalidArgument, "batch takes a count above 0");
  Value::List batches;
  Value::List batch;
  for (const Value& each : list) {
    batch.push_back(each);
    if (static_cast<std::int64_t>(batch.size()) == width) batches.push_back(Value(std::exchange(batch, {})));
  }
  if (!batch.empty()) {
    const auto missing = static_cast<std::size_t>(width) - batch.size();
    if (!arguments[1].IsUndefined() && !arguments[1].IsNone()) {
      if (missing > SIZE_MAX / 64) return Error(kResourceExhausted, "the template makes too much text");
      BATON_RETURN_IF_ERROR(budget.Make(missing * sizeof(Value)));
      batch.insert(batch.end(), missing, arguments[1]);
    }
    batches.push_back(Value(std::move(batch)));
  }
  return Value(std::move(batches));
}

/// `builtin` with `given` as its arguments.
absl::StatusOr<Value> ApplyNamed(const Builtin& builtin, const Value& subject, std::span<const Value> given,
                                 Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Step());
  Arguments arguments(builtin.ParameterNames().size());
  for (std::size_t i = 0; i < std::min(given.size(), arguments.size()); ++i) arguments[i] = given[i];
  return builtin.apply(subject, arguments, budget);
}

/// map(attribute=..., default=...) or map('filter', arguments...).
absl::StatusOr<Value> Map(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (!subject.IsTrue()) return Value(Value::List{});  // none, say
  BATON_ASSIGN_OR_RETURN(Value::List list, ElementsOf(subject, budget));
  const Builtin* filter = nullptr;
  if (!arguments[0].IsUndefined()) {
    BATON_ASSIGN_OR_RETURN(const std::string name, TextArgument(arguments[0], ""));
    filter = name == "map" || name.starts_with("select") || name.starts_with("reject") ? nullptr
                                                                                       : FindFilter(name);
    if (filter == nullptr) return Error(kInvalidArgument, "filter '{}' is not supported in map", name);
  }
  for (Value& each : list) {
    if (filter != nullptr) {
      BATON_ASSIGN_OR_RETURN(each, ApplyNamed(*filter, each, std::span(arguments).subspan(1, 3), budget));
      continue;
    }
    BATON_ASSIGN_OR_RETURN(each, AttributeOf(each, arguments[4], budget));
    if (each.IsUndefined()) each = arguments[5];
  }
  return Value(std::move(list));
}

/// select, reject: arguments are the test's name and what it takes; with an attribute, that comes first.
template <bool kAttribute, bool kWanted>
absl::StatusOr<Value> Select(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (!subject.IsTrue()) return Value(Value::List{});
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(subject, budget));
  const std::span<const Value> given = std::span(arguments).subspan(kAttribute ? 1 : 0);
  const Builtin* test = nullptr;
  if (!given[0].IsUndefined()) {
    BATON_ASSIGN_OR_RETURN(const std::string name, TextArgument(given[0], ""));
    test = FindTest(name);
    if (test == nullptr) return Error(kInvalidArgument, "test '{}' is not supported", name);
  }
  Value::List chosen;
  for (const Value& each : list) {
    BATON_ASSIGN_OR_RETURN(Value result,
                           AttributeOf(each, kAttribute ? arguments[0] : Value(nullptr), budget));
    if (test != nullptr) {
      BATON_ASSIGN_OR_RETURN(result, ApplyNamed(*test, result, given.subspan(1), budget));
    }
    if (result.IsTrue() == kWanted) chosen.push_back(each);
  }
  return Value(std::move(chosen));
}

constexpr std::array kTable = std::to_array<Builtin>({
    {"length", "", &Length},
    {"count", "", &Length},
    {"default", "default_value,boolean", &Default},
    {"d", "default_value,boolean", &Default},
    {"first", "", &First},
    {"last", "", &Last},
    {"list", "", &List},
    {"reverse", "", &Reverse},
    {"join", "d,attribute", &Join},
    {"sort", "reverse,case_sensitive,attribute", &Sort},
    {"unique", "case_sensitive,attribute", &Unique},
    {"min", "case_sensitive,attribute", &Extreme<false>},
    {"max", "case_sensitive,attribute", &Extreme<true>},
    {"sum", "attribute,start", &Sum},
    {"groupby", "attribute,default,case_sensitive", &GroupBy},
    {"items", "", &Items},
    {"dictsort", "case_sensitive,by,reverse", &DictSort},
    {"batch", "linecount,fill_with", &Batch},
    {"map", "name,a,b,c,attribute,default", &Map},
    {"select", "name,a", &Select<false, true>},
    {"reject", "name,a", &Select<false, false>},
    {"selectattr", "attribute,name,a", &Select<true, true>},
    {"rejectattr", "attribute,name,a", &Select<true, false>},
});

}  // namespace

std::span<const Builtin> ListFilters() {
  return kTable;
}

}  // namespace baton::text::jinja
