#include "common/hardware/benchmark_rows.h"

#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include "common/base/error.h"

namespace baton::hardware {
namespace {

constexpr std::size_t kFileBytesMax = 256U << 20;
constexpr std::size_t kProblemsMax = 20;  // more of them say nothing new

enum Column { kModel, kHardware, kDegree, kPrompt, kBatch, kOutput, kPromptTime, kTokenTime, kTotalTime };
constexpr std::array<std::string_view, 9> kNames = {"model",       "hardware",   "tensor_parallel",
                                                    "prompt_size", "batch_size", "token_size",
                                                    "prompt_time", "token_time", "e2e_time"};

/// Cuts at commas. Quotes have no meaning: no name or number here needs them.
std::vector<std::string_view> Cells(std::string_view line) {
  std::vector<std::string_view> cells;
  while (true) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

class Reader {
 public:
  explicit Reader(std::string_view name) : name_(name) {}

  void Line(std::string_view line) {
    ++line_;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) return;
    const std::vector<std::string_view> cells = Cells(line);
    if (width_ == 0) {
      Header(cells);
    } else if (cells.size() != width_) {
      Problem("row", fmt::format("has {} cells; the header has {}", cells.size(), width_));
    } else {
      Row(cells);
    }
  }

  bool Full() const { return problems_ >= kProblemsMax || header_is_wrong_; }

  absl::StatusOr<std::vector<BenchmarkRow>> Finish() && {
    if (width_ == 0) Problem("header", "is missing; the first line names the columns");
    if (problems_ == 0 && rows_.empty()) Problem("rows", "there are none");
    if (problems_ > 0) return Error(kInvalidArgument, "{}", message_);
    return std::move(rows_);
  }

 private:
  void Problem(std::string_view column, std::string_view what) {
    message_ += fmt::format("{}{}:{}: {}: {}", problems_ == 0 ? "" : "\n", name_, line_, column, what);
    ++problems_;
  }

  void Header(const std::vector<std::string_view>& cells) {
    width_ = cells.size();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      for (std::size_t column = 0; column < kNames.size(); ++column) {
        if (cells[i] != kNames[column]) continue;
        if (at_[column]) Problem(kNames[column], "stands in the header twice");
        at_[column] = i;
      }
    }
    for (std::size_t column = 0; column < kTotalTime; ++column) {
      if (!at_[column]) Problem(kNames[column], "is missing in the header");
    }
    header_is_wrong_ = problems_ > 0;
  }

  template <typename T>
  T Number(const std::vector<std::string_view>& cells, Column column, T low, T high) {
    const std::string_view text = cells[*at_[column]];
    T value{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && stop == text.data() + text.size() && value >= low && value <= high)
      return value;
    Problem(kNames[column],
            fmt::format("is \"{}\"; write a number from {} to {}", text.substr(0, 40), low, high));
    return low;
  }

  void Row(const std::vector<std::string_view>& cells) {
    BenchmarkRow row;
    row.line = line_;
    row.model = cells[*at_[kModel]];
    row.device = cells[*at_[kHardware]];
    if (row.model.empty()) Problem("model", "is empty");
    if (row.device.empty()) Problem("hardware", "is empty");
    row.tensor_parallel = Number(cells, kDegree, 1, 1024);
    row.prompt_tokens = Number<std::int64_t>(cells, kPrompt, 1, 1'000'000'000);
    row.batch = Number<std::int64_t>(cells, kBatch, 1, 100'000);
    row.output_tokens = Number<std::int64_t>(cells, kOutput, 1, 1'000'000'000);
    row.prompt_ms = Number(cells, kPromptTime, 1e-6, 1e9);
    row.token_ms = Number(cells, kTokenTime, 1e-6, 1e9);
    if (at_[kTotalTime]) row.total_ms = Number(cells, kTotalTime, 0.0, 1e12);
    rows_.push_back(std::move(row));
  }

  const std::string name_;
  int line_ = 0;
  std::size_t width_ = 0;
  std::array<std::optional<std::size_t>, kNames.size()> at_;
  std::vector<BenchmarkRow> rows_;
  std::string message_;
  std::size_t problems_ = 0;
  bool header_is_wrong_ = false;
};

}  // namespace

absl::StatusOr<std::vector<BenchmarkRow>> ParseBenchmarkCsv(std::string_view text, std::string_view name) {
  Reader reader(name);
  while (!text.empty() && !reader.Full()) {
    const std::size_t end = text.find('\n');
    reader.Line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return std::move(reader).Finish();
}

absl::StatusOr<std::vector<BenchmarkRow>> ReadBenchmarkCsv(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return Error(kNotFound, "{}: {}", path, error.message());
  if (size > kFileBytesMax) {
    return Error(kInvalidArgument, "{}: {} bytes; a benchmark has at most {}", path, size, kFileBytesMax);
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || text.size() != size) return Error(kUnavailable, "{}: cannot be read", path);
  return ParseBenchmarkCsv(text, path);
}

}  // namespace baton::hardware
