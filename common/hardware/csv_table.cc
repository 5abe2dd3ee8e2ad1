#include "common/hardware/csv_table.h"

#include <filesystem>
#include <fstream>

#include "common/base/error.h"

namespace baton::hardware {
namespace {

constexpr std::size_t kFileBytesMax = 256U << 20;
constexpr std::size_t kProblemsMax = 20;  // more of them say nothing new
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

void SplitAtCommas(std::string_view line, std::vector<std::string_view>& cells) {
  cells.clear();
  while (true) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return;
    line.remove_prefix(comma + 1);
  }
}

}  // namespace

CsvTable::CsvTable(std::string_view name, std::span<const std::string_view> columns, std::size_t required)
    : name_(name), columns_(columns), required_(required), at_(columns.size()) {}

absl::Status CsvTable::Read(std::string_view text, const std::function<void()>& row) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  bool any = false;
  while (!text.empty() && problems_ < kProblemsMax) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    SplitAtCommas(line, cells_);
    if (width_ == 0) {
      Header();
      if (problems_ > 0) break;
    } else if (cells_.size() != width_) {
      Problem("row", fmt::format("has {} cells; the header has {}", cells_.size(), width_));
    } else {
      row();
      any = true;
    }
  }
  if (width_ == 0) Problem("header", "is missing; the first line names the columns");
  if (problems_ == 0 && !any) Problem("rows", "there are none");
  if (problems_ > 0) return Error(kInvalidArgument, "{}", message_);
  return absl::OkStatus();
}

std::string CsvTable::Text(std::size_t column) {
  const std::string_view text = Cell(column);
  if (text.empty()) Problem(columns_[column], "is empty");
  return std::string(text);
}

void CsvTable::Problem(std::string_view column, std::string_view what) {
  message_ += fmt::format("{}{}:{}: {}: {}", problems_ == 0 ? "" : "\n", name_, line_, column, what);
  ++problems_;
}

void CsvTable::Header() {
  width_ = cells_.size();
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      if (cells_[i] != columns_[column]) continue;
      if (at_[column]) Problem(columns_[column], "stands in the header twice");
      at_[column] = i;
    }
  }
  for (std::size_t column = 0; column < required_; ++column) {
    if (!at_[column]) Problem(columns_[column], "is missing in the header");
  }
}

absl::StatusOr<std::string> ReadCsvText(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return Error(kNotFound, "{}: {}", path, error.message());
  if (size > kFileBytesMax) {
    return Error(kInvalidArgument, "{}: {} bytes; at most {} are read", path, size, kFileBytesMax);
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size)))
    return Error(kUnavailable, "{}: cannot be read", path);
  return text;
}

}  // namespace baton::hardware
