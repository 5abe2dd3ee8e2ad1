#include "common/hardware/benchmark_rows.h"

#include <array>

#include "common/base/error.h"
#include "common/hardware/csv_table.h"

namespace baton::hardware {
namespace {

enum Column : std::size_t {
  kModel,  // StartRow reads the first three
  kHardware,
  kDegree,
  kPrompt,
  kBatch,
  kOutput,
  kPromptTime,
  kTokenTime,
  kTotalTime
};
constexpr std::array<std::string_view, 9> kNames = {"model",       "hardware",   "tensor_parallel",
                                                    "prompt_size", "batch_size", "token_size",
                                                    "prompt_time", "token_time", "e2e_time"};

BenchmarkRow RowOf(CsvTable& table) {
  auto row = StartRow<BenchmarkRow>(table);
  row.prompt_tokens = table.Number<std::int64_t>(kPrompt, 1, 1'000'000'000);
  row.batch = table.Number<std::int64_t>(kBatch, 1, 100'000);
  row.output_tokens = table.Number<std::int64_t>(kOutput, 1, 1'000'000'000);
  row.prompt_ms = table.Number(kPromptTime, 1e-6, 1e9);
  row.token_ms = table.Number(kTokenTime, 1e-6, 1e9);
  if (table.Has(kTotalTime)) row.total_ms = table.Number(kTotalTime, 0.0, 1e12);
  return row;
}

}  // namespace

absl::StatusOr<std::vector<BenchmarkRow>> ParseBenchmarkCsv(std::string_view text, std::string_view name) {
  CsvTable table(name, kNames, kTotalTime);
  std::vector<BenchmarkRow> rows;
  BATON_RETURN_IF_ERROR(table.Read(text, [&] { rows.push_back(RowOf(table)); }));
  return rows;
}

absl::StatusOr<std::vector<BenchmarkRow>> ReadBenchmarkCsv(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadCsvText(path));
  return ParseBenchmarkCsv(text, path);
}

}  // namespace baton::hardware
