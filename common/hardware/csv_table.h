#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

/// Private to this module.
namespace baton::hardware {

/// Rows of a CSV file by the names of its columns, which stand in its first line in any order; columns with
/// other names are not read. Quotes have no meaning. Problems are collected as "name:line: column: what", the
/// first 20 of them, one a line.
class CsvTable {
 public:
  /// `columns`: their names; the first `required` must be there. All must outlive this.
  CsvTable(std::string_view name, std::span<const std::string_view> columns, std::size_t required);

  /// Calls `row` for each line after the header that has as many cells, which then asks for them by the index
  /// of the column. An error: there were problems, or no rows.
  [[nodiscard]] absl::Status Read(std::string_view text, const std::function<void()>& row);

  [[nodiscard]] int Line() const { return line_; }
  [[nodiscard]] bool Has(std::size_t column) const { return at_[column].has_value(); }
  /// Not empty, or there is a problem.
  [[nodiscard]] std::string Text(std::size_t column);
  template <typename T>
  [[nodiscard]] T Number(std::size_t column, T low, T high) {
    const std::string_view text = Cell(column);
    T value{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && stop == text.data() + text.size() && value >= low && value <= high)
      return value;
    Problem(columns_[column],
            fmt::format("is \"{}\"; write a number from {} to {}", text.substr(0, 40), low, high));
    return low;
  }
  void Problem(std::string_view column, std::string_view what);

 private:
  [[nodiscard]] std::string_view Cell(std::size_t column) const { return cells_[*at_[column]]; }
  void Header();

  const std::string_view name_;
  const std::span<const std::string_view> columns_;
  const std::size_t required_;
  int line_ = 0;
  std::size_t width_ = 0;                       // of the header; 0: it was not read yet
  std::vector<std::optional<std::size_t>> at_;  // where each of `columns_` stands
  std::vector<std::string_view> cells_;         // of the line
  std::string message_;
  std::size_t problems_ = 0;
};

/// A row with what all kinds have: its line, and from columns 0 to 2 whose it is.
template <typename Row>
[[nodiscard]] Row StartRow(CsvTable& table) {
  Row row;
  row.line = table.Line();
  row.model = table.Text(0);
  row.device = table.Text(1);
  row.tensor_parallel = table.Number(2, 1, 1024);
  return row;
}

/// The text of a file; "path: why" where it cannot be read.
[[nodiscard]] absl::StatusOr<std::string> ReadCsvText(const std::string& path);

}  // namespace baton::hardware
