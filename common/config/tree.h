#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

/// A configuration file as a tree that remembers where everything stood. Private to this module.
namespace baton::config {

/// Both from 1.
struct Place {
  int line = 1;
  int column = 1;
};

struct Entry;

struct Value {
  enum class Kind { kNull, kScalar, kMap, kList };
  Kind kind = Kind::kNull;
  Place place;
  bool quoted = false;         // of a scalar
  std::string text;            // of a scalar
  std::vector<Entry> entries;  // of a map or a list, in the order of the file

  [[nodiscard]] const Entry* Find(std::string_view key) const;
};

struct Entry {
  std::string key;  // empty in a list
  Place place;      // of the key
  bool duplicate = false;
  Value value;
};

/// Something wrong at a place: "server.port" and what.
struct Problem {
  Place place;
  std::string field;
  std::string what;
};

struct Tree {
  Value root;
  std::vector<Problem> problems;  // anchors, aliases, tags, duplicate keys
};

/// InvalidArgument with "name:line:column: what" where the text is no YAML.
[[nodiscard]] absl::StatusOr<Tree> ParseTree(std::string_view text, std::string_view name);

}  // namespace baton::config
