#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/clock.h"

namespace baton::config {

/// A mapping of the file, or an absent one (every field then keeps its default). Each call reads one field
/// into `out`, which holds the default; a problem is collected
/// ("file:line:column: field: what; what to do"), `out` stays. Copyable; lives no longer than its `Document`.
class Section {
 public:
  enum class Need { kOptional, kRequired };

  void String(std::string_view key, std::string& out, Need need = Need::kOptional) const;
  void Integer(std::string_view key, std::int64_t& out, std::int64_t low, std::int64_t high,
               Need need = Need::kOptional) const;
  void Integer(std::string_view key, int& out, int low, int high, Need need = Need::kOptional) const;
  void Number(std::string_view key, double& out, double low, double high, Need need = Need::kOptional) const;
  void Boolean(std::string_view key, bool& out, Need need = Need::kOptional) const;
  /// "64MiB"; see common/base/units.h.
  void Bytes(std::string_view key, std::uint64_t& out, std::uint64_t low, std::uint64_t high,
             Need need = Need::kOptional) const;
  /// "250ms".
  void Duration(std::string_view key, baton::Duration& out, baton::Duration low, baton::Duration high,
                Need need = Need::kOptional) const;
  /// One of `choices`; the error lists them.
  void Choice(std::string_view key, std::string& out, const std::vector<std::string>& choices,
              Need need = Need::kOptional) const;
  void StringList(std::string_view key, std::vector<std::string>& out, Need need = Need::kOptional) const;
  [[nodiscard]] Section Sub(std::string_view key, Need need = Need::kOptional) const;
  [[nodiscard]] std::vector<Section> SubList(std::string_view key) const;
  [[nodiscard]] bool Has(std::string_view key) const;
  /// Reports a problem with `key` that only the caller can see (two fields that contradict each other).
  void Problem(std::string_view key, std::string_view what) const;

 private:
  friend class Document;
  struct Node;
  explicit Section(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  std::shared_ptr<Node> node_;
};

/// One YAML file. Plain scalars only: no anchors, tags, octal or yes/no surprises; duplicate and unknown keys
/// are errors.
class Document {
 public:
  /// NotFound or InvalidArgument (syntax) with file:line:column.
  [[nodiscard]] static absl::StatusOr<Document> Open(const std::string& path);
  [[nodiscard]] static absl::StatusOr<Document> FromText(std::string_view text, std::string name);

  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();

  [[nodiscard]] Section Root() const;
  /// Call when all has been read: InvalidArgument with *every* collected error, one a line, unknown keys
  /// included (with the nearest known key); OK where there is none.
  [[nodiscard]] absl::Status Finish() const;

 private:
  friend class Section;
  struct State;
  explicit Document(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace baton::config
