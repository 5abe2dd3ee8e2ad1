#include "common/config/tree.h"

#include <exception>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "common/base/error.h"

namespace baton::config {
namespace {

Place PlaceOf(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {.line = mark.line + 1, .column = mark.column + 1};
}

/// Builds the tree from the parser's events. Events, not yaml-cpp's nodes: those hide anchors and duplicate
/// keys.
class Builder final : public YAML::EventHandler {
 public:
  [[nodiscard]] Tree Take() { return std::move(tree_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add({.kind = Value::Kind::kNull, .place = PlaceOf(mark), .text = "null", .entries = {}}, "?", anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Report(PlaceOf(mark), "an alias (*name) is not supported; repeat the value");
    Add({.kind = Value::Kind::kNull, .place = PlaceOf(mark), .text = {}, .entries = {}}, "?", 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    Add({.kind = Value::Kind::kScalar,
         .place = PlaceOf(mark),
         .quoted = tag == "!",
         .text = text,
         .entries = {}},
        tag, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open({.kind = Value::Kind::kList, .place = PlaceOf(mark), .text = {}, .entries = {}}, tag, anchor);
  }
  void OnSequenceEnd() override { open_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open({.kind = Value::Kind::kMap, .place = PlaceOf(mark), .text = {}, .entries = {}}, tag, anchor);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  /// A container whose elements are being read. Its address holds: the parent takes no element meanwhile.
  struct Level {
    Value* value;
    std::string path;
    bool key_next;
  };

  void Report(Place place, std::string what) {
    tree_.problems.push_back({.place = place, .field = PathOfNext(), .what = std::move(what)});
  }

  [[nodiscard]] std::string PathOfNext() const {
    if (open_.empty()) return "";
    const Level& level = open_.back();
    if (level.value->kind == Value::Kind::kList)
      return fmt::format("{}[{}]", level.path, level.value->entries.size());
    if (level.key_next) return level.path;
    const std::string& key = level.value->entries.back().key;
    return level.path.empty() ? key : level.path + "." + key;
  }

  Value* Add(Value value, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0)
      Report(value.place, "an anchor (&name) is not supported; repeat the value where it is needed");
    if (tag != "?" && tag != "!" && !tag.empty())
      Report(value.place, "a tag (!name) is not supported; leave it out");
    if (open_.empty()) return &(tree_.root = std::move(value));
    Level& level = open_.back();
    std::vector<Entry>& entries = level.value->entries;
    if (level.value->kind == Value::Kind::kList) {
      entries.push_back({.key = {}, .place = value.place, .value = std::move(value)});
      return &entries.back().value;
    }
    if (std::exchange(level.key_next, !level.key_next)) return AddKey(level, std::move(value));
    entries.back().value = std::move(value);
    return &entries.back().value;
  }

  /// The entry's own value takes the elements of a key that is a container; its real value replaces it.
  Value* AddKey(Level& level, Value key) {
    if (key.kind == Value::Kind::kMap || key.kind == Value::Kind::kList) {
      tree_.problems.push_back({.place = key.place, .field = level.path, .what = "a key must be a name"});
    }
    Entry entry{.key = key.text, .place = key.place, .value = std::move(key)};
    if (const Entry* first = level.value->Find(entry.key)) {
      entry.duplicate = true;
      tree_.problems.push_back(
          {.place = entry.place,
           .field = level.path.empty() ? entry.key : level.path + "." + entry.key,
           .what = fmt::format("is given twice, first in line {}; remove one", first->place.line)});
    }
    level.value->entries.push_back(std::move(entry));
    return &level.value->entries.back().value;
  }

  void Open(Value value, const std::string& tag, YAML::anchor_t anchor) {
    std::string path = PathOfNext();
    Value* added = Add(std::move(value), tag, anchor);
    open_.push_back({.value = added, .path = std::move(path), .key_next = true});
  }

  Tree tree_;
  std::vector<Level> open_;
};

absl::Status Syntax(std::string_view name, Place place, std::string_view what) {
  return Error(kInvalidArgument, "{}:{}:{}: {}", name, place.line, place.column, what);
}

}  // namespace

const Entry* Value::Find(std::string_view key) const {
  if (kind != Kind::kMap) return nullptr;
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

absl::StatusOr<Tree> ParseTree(std::string_view text, std::string_view name) {
  Builder builder;
  try {
    std::istringstream input{std::string(text)};
    YAML::Parser parser(input);
    parser.HandleNextDocument(builder);
    Builder ignored;
    if (parser.HandleNextDocument(ignored))
      return Syntax(name, {}, "more than one document; remove the line \"---\"");
  } catch (const YAML::Exception& error) {
    return Syntax(name, PlaceOf(error.mark), error.msg);
  } catch (const std::exception& error) {  // the library lets some of the standard's through
    return Syntax(name, {}, error.what());
  }
  return builder.Take();
}

}  // namespace baton::config
