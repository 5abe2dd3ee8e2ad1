#include "common/config/reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "common/base/error.h"
#include "common/base/units.h"
#include "common/config/nearest_name.h"
#include "common/config/tree.h"

namespace baton::config {
namespace {

constexpr std::size_t kFileBytesMax = 1U << 20;  // a thousand workers take a tenth of it

/// What a value looked like, short enough for a message.
std::string Shown(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      return "has no value";
    case Value::Kind::kMap:
      return "is a mapping";
    case Value::Kind::kList:
      return "is a list";
    case Value::Kind::kScalar:
      break;
  }
  std::string text = value.text.substr(0, 40);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return fmt::format("is \"{}\"{}", text, value.text.size() > 40 ? "..." : "");
}

bool HasLeadingZero(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

/// The whole of an unquoted scalar as a number, as the standard reads it: no octal, no hexadecimal, no plus.
template <typename T>
std::optional<T> ParseNumber(const Value& value) {
  if (value.kind != Value::Kind::kScalar || value.quoted || HasLeadingZero(value.text)) return std::nullopt;
  T number{};
  const char* end = value.text.data() + value.text.size();
  const auto [stop, error] = std::from_chars(value.text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

template <typename T>
std::string Range(const T& low, const T& high) {
  const bool no_low = low == std::numeric_limits<T>::lowest();
  const bool no_high = high == std::numeric_limits<T>::max();
  if (no_low && no_high) return "";
  if (no_high) return fmt::format(" of at least {}", low);
  if (no_low) return fmt::format(" of at most {}", high);
  return fmt::format(" from {} to {}", low, high);
}

}  // namespace

struct Document::State {
  std::string name;
  Tree tree;
  std::vector<Problem> problems;
  std::unordered_map<const Value*, std::set<std::string>>
      read;  // the mappings that were read, and which keys
};

/// `value` is null where the mapping is absent from the file.
struct Section::Node {
  Document::State* document;
  const Value* value;
  Place place;  // of the mapping's key
  std::string path;

  [[nodiscard]] std::string PathOf(std::string_view key) const {
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
  }
  void Report(Place where, std::string_view key, std::string what) const {
    document->problems.push_back({.place = where, .field = PathOf(key), .what = std::move(what)});
  }
  void ReportValue(const Entry& entry, std::string_view expected) const {
    Report(entry.value.place, entry.key, fmt::format("{}; write {}", Shown(entry.value), expected));
  }

  /// Notes that `key` is known; reports it where it is missing but needed.
  [[nodiscard]] const Entry* Take(std::string_view key, Need need) const {
    if (value == nullptr) return nullptr;
    document->read[value].insert(std::string(key));
    const Entry* entry = value->Find(key);
    if (entry == nullptr && need == Need::kRequired) Report(place, key, "is missing; it has no default");
    return entry;
  }

  /// Reads one value by `parse`, which gives nothing for a wrong one.
  template <typename T, typename Parse>
  void Read(std::string_view key, T& out, Need need, std::string_view expected, Parse parse) const {
    const Entry* entry = Take(key, need);
    if (entry == nullptr) return;
    std::optional<T> parsed = parse(entry->value);
    if (!parsed) return ReportValue(*entry, expected);
    out = *std::move(parsed);
  }

  [[nodiscard]] std::shared_ptr<Node> Child(const Entry& entry, std::string child_path) const {
    const bool mapping = entry.value.kind == Value::Kind::kMap;
    if (mapping) {
      document->read[&entry.value];
    } else if (entry.value.kind !=
               Value::Kind::kNull) {  // a mapping whose lines are all comments is an empty one
      document->problems.push_back({.place = entry.value.place,
                                    .field = child_path,
                                    .what = Shown(entry.value) + "; write a mapping (key: value)"});
    }
    return std::make_shared<Node>(Node{.document = document,
                                       .value = mapping ? &entry.value : nullptr,
                                       .place = entry.place,
                                       .path = child_path});
  }
};

void Section::String(std::string_view key, std::string& out, Need need) const {
  node_->Read(key, out, need, "text, in quotes where it could be taken for something else",
              [](const Value& value) -> std::optional<std::string> {
                if (value.kind != Value::Kind::kScalar) return std::nullopt;
                return value.text;
              });
}

void Section::Integer(std::string_view key, std::int64_t& out, std::int64_t low, std::int64_t high,
                      Need need) const {
  node_->Read(key, out, need, fmt::format("a whole number{}, in plain digits", Range(low, high)),
              [&](const Value& value) {
                std::optional<std::int64_t> number = ParseNumber<std::int64_t>(value);
                if (number && (*number < low || *number > high)) number.reset();
                return number;
              });
}

void Section::Integer(std::string_view key, int& out, int low, int high, Need need) const {
  std::int64_t wide = out;
  Integer(key, wide, std::int64_t{low}, std::int64_t{high}, need);
  out = static_cast<int>(wide);
}

void Section::Number(std::string_view key, double& out, double low, double high, Need need) const {
  node_->Read(key, out, need, fmt::format("a number{}", Range(low, high)), [&](const Value& value) {
    std::optional<double> number = ParseNumber<double>(value);
    const bool in_range = number && std::isfinite(*number) && *number >= low && *number <= high;
    return in_range ? number : std::nullopt;
  });
}

void Section::Boolean(std::string_view key, bool& out, Need need) const {
  node_->Read(key, out, need, "true or false", [](const Value& value) -> std::optional<bool> {
    if (value.kind != Value::Kind::kScalar || value.quoted) return std::nullopt;
    if (value.text == "true") return true;
    if (value.text == "false") return false;
    return std::nullopt;
  });
}

void Section::Bytes(std::string_view key, std::uint64_t& out, std::uint64_t low, std::uint64_t high,
                    Need need) const {
  const bool bounded = high != std::numeric_limits<std::uint64_t>::max();
  const std::string expected =
      bounded ? fmt::format("a size from {} to {}, as 64MiB", FormatBytes(low), FormatBytes(high))
              : fmt::format("a size of at least {}, as 64MiB", FormatBytes(low));
  node_->Read(key, out, need, expected, [&](const Value& value) -> std::optional<std::uint64_t> {
    if (value.kind != Value::Kind::kScalar) return std::nullopt;
    const absl::StatusOr<std::uint64_t> bytes = ParseBytes(value.text);
    if (!bytes.ok() || *bytes < low || *bytes > high) return std::nullopt;
    return *bytes;
  });
}

void Section::Duration(std::string_view key, baton::Duration& out, baton::Duration low, baton::Duration high,
                       Need need) const {
  const std::string expected =
      high != baton::Duration::max()
          ? fmt::format("a duration from {} to {}, as 250ms", FormatDuration(low), FormatDuration(high))
          : fmt::format("a duration of at least {}, as 250ms", FormatDuration(low));
  node_->Read(key, out, need, expected, [&](const Value& value) -> std::optional<baton::Duration> {
    if (value.kind != Value::Kind::kScalar) return std::nullopt;
    const absl::StatusOr<baton::Duration> duration = ParseDuration(value.text);
    if (!duration.ok() || *duration < low || *duration > high) return std::nullopt;
    return *duration;
  });
}

void Section::Choice(std::string_view key, std::string& out, const std::vector<std::string>& choices,
                     Need need) const {
  const std::string expected = fmt::format("one of {}", fmt::join(choices, ", "));
  node_->Read(key, out, need, expected, [&](const Value& value) -> std::optional<std::string> {
    if (value.kind != Value::Kind::kScalar) return std::nullopt;
    if (std::find(choices.begin(), choices.end(), value.text) == choices.end()) return std::nullopt;
    return value.text;
  });
}

void Section::StringList(std::string_view key, std::vector<std::string>& out, Need need) const {
  node_->Read(key, out, need, "a list of texts, as [a, b]",
              [](const Value& value) -> std::optional<std::vector<std::string>> {
                if (value.kind != Value::Kind::kList) return std::nullopt;
                std::vector<std::string> texts;
                for (const Entry& entry : value.entries) {
                  if (entry.value.kind != Value::Kind::kScalar) return std::nullopt;
                  texts.push_back(entry.value.text);
                }
                return texts;
              });
}

Section Section::Sub(std::string_view key, Need need) const {
  const Entry* entry = node_->Take(key, need);
  if (entry != nullptr) return Section(node_->Child(*entry, node_->PathOf(key)));
  return Section(std::make_shared<Node>(Node{
      .document = node_->document, .value = nullptr, .place = node_->place, .path = node_->PathOf(key)}));
}

std::vector<Section> Section::SubList(std::string_view key) const {
  const Entry* entry = node_->Take(key, Need::kOptional);
  if (entry == nullptr) return {};
  if (entry->value.kind != Value::Kind::kList) {
    node_->ReportValue(*entry, "a list of mappings, each begun with \"- \"");
    return {};
  }
  std::vector<Section> sections;
  for (const Entry& element : entry->value.entries) {
    sections.push_back(
        Section(node_->Child(element, fmt::format("{}[{}]", node_->PathOf(key), sections.size()))));
  }
  return sections;
}

bool Section::Has(std::string_view key) const {
  return node_->value != nullptr && node_->value->Find(key) != nullptr;
}

void Section::Problem(std::string_view key, std::string_view what) const {
  const Entry* entry = node_->value == nullptr ? nullptr : node_->value->Find(key);
  node_->Report(entry == nullptr ? node_->place : entry->value.place, key, std::string(what));
}

namespace {

/// Keys that nobody asked for, in every mapping that was read.
void FindUnknown(const std::unordered_map<const Value*, std::set<std::string>>& read, const Value& value,
                 const std::string& path, std::vector<Problem>& problems) {
  const auto known = read.find(&value);
  for (std::size_t i = 0; i < value.entries.size(); ++i) {
    const Entry& entry = value.entries[i];
    if (entry.duplicate) continue;
    const bool in_list = value.kind == Value::Kind::kList;
    const std::string dot = path.empty() ? "" : ".";
    const std::string entry_path = in_list ? fmt::format("{}[{}]", path, i) : path + dot + entry.key;
    const bool unknown = !in_list && known != read.end() && !known->second.contains(entry.key);
    if (!unknown) {
      FindUnknown(read, entry.value, entry_path, problems);
      continue;
    }
    const std::vector<std::string> names(known->second.begin(), known->second.end());
    const std::optional<std::string> nearest = NearestName(entry.key, names);
    problems.push_back({.place = entry.place,
                        .field = entry_path,
                        .what = nearest
                                    ? fmt::format("unknown key; did you mean \"{}\"?", *nearest)
                                    : fmt::format("unknown key; known here: {}", fmt::join(names, ", "))});
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return Error(kNotFound, "{}: no such file", path);
  if (std::filesystem::is_directory(status))
    return Error(kInvalidArgument, "{}: is a folder, not a file", path);
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return Error(kNotFound, "{}: cannot be read; check its permissions", path);
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

}  // namespace

absl::StatusOr<Document> Document::Open(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return FromText(text, path);
}

absl::StatusOr<Document> Document::FromText(std::string_view text, std::string name) {
  if (text.size() > kFileBytesMax) return Error(kInvalidArgument, "{}: is larger than 1 MiB", name);
  auto state = std::make_unique<State>();
  BATON_ASSIGN_OR_RETURN(state->tree, ParseTree(text, name));
  state->name = std::move(name);
  const Value& root = state->tree.root;
  if (root.kind == Value::Kind::kScalar || root.kind == Value::Kind::kList) {
    return Error(kInvalidArgument, "{}:{}:{}: the file must be a mapping (key: value)", state->name,
                 root.place.line, root.place.column);
  }
  state->tree.root.kind = Value::Kind::kMap;  // an empty file is an empty mapping
  state->read[&root];
  return Document(std::move(state));
}

Document::Document(std::unique_ptr<State> state) : state_(std::move(state)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Section Document::Root() const {
  return Section(std::make_shared<Section::Node>(Section::Node{
      .document = state_.get(), .value = &state_->tree.root, .place = state_->tree.root.place, .path = ""}));
}

absl::Status Document::Finish() const {
  std::vector<Problem> problems = state_->tree.problems;
  problems.insert(problems.end(), state_->problems.begin(), state_->problems.end());
  FindUnknown(state_->read, state_->tree.root, "", problems);
  if (problems.empty()) return absl::OkStatus();
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  std::string lines;
  for (const Problem& problem : problems) {
    lines +=
        fmt::format("{}{}:{}:{}: {}{}{}", lines.empty() ? "" : "\n", state_->name, problem.place.line,
                    problem.place.column, problem.field, problem.field.empty() ? "" : ": ", problem.what);
  }
  return Error(kInvalidArgument, "{}", lines);
}

}  // namespace baton::config
