#include "tests/simulator/splitwise_setups.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

std::vector<std::vector<std::string>> ReadCsv(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream text(ReadFile(path));
  std::string line;
  while (std::getline(text, line)) {
    std::vector<std::string> row;
    std::istringstream cells(line);
    std::string cell;
    while (std::getline(cells, cell, ',')) row.push_back(cell);
    rows.push_back(std::move(row));
  }
  return rows;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Median milliseconds of prompt and token steps, by prompt size times batch size.
simulator::StepTable Medians(const std::vector<std::vector<std::string>>& rows, std::string_view model,
                             std::string_view hardware) {
  std::map<double, std::pair<std::vector<double>, std::vector<double>>> by_tokens;
  for (const auto& row : rows) {
    if (row[0] != model || row[1] != hardware || row[10] != "8") continue;
    auto& [prompt, token] = by_tokens[std::stod(row[2]) * std::stod(row[3])];
    prompt.push_back(std::stod(row[7]) / 1000);
    token.push_back(std::stod(row[8]) / 1000);
  }
  simulator::StepTable table;
  for (const auto& [tokens, times] : by_tokens) {
    table.tokens.push_back(tokens);
    table.prompt_s.push_back(Median(times.first));
    table.token_s.push_back(Median(times.second));
  }
  return table;
}

}  // namespace

std::optional<simulator::SplitwiseSetup> PaperSetup(std::string_view model,
                                                    const std::vector<SplitwiseGroup>& groups) {
  const auto path = SharedData("splitwise-sim/perf_model.csv");
  if (!path) return std::nullopt;
  const auto rows = ReadCsv(*path);
  const bool bloom = model == "bloom-176b";
  simulator::SplitwiseSetup setup;
  setup.kv_bytes_per_token = bloom ? std::int64_t{4} * 14336 * 70 : std::int64_t{4} * 8192 * 80;
  for (std::size_t pool = 0; pool < groups.size(); ++pool) {
    setup.tables.push_back(Medians(rows, model, groups[pool].hardware));
    for (int i = 0; i < groups[pool].machines; ++i) {
      setup.machines.push_back({.role = groups[pool].role,
                                .pool = static_cast<std::int32_t>(pool),
                                .table = static_cast<std::int32_t>(pool),
                                .memory_bytes = std::int64_t{8} * 80 * 1024 * 1024 * 1024,
                                .weight_bytes = bloom ? 329'000'000'000 : 135'000'000'000});
    }
  }
  return setup;
}

std::optional<simulator::Workload> PaperTrace(std::string_view name) {
  const auto path = SharedData("splitwise-sim/traces/" + std::string(name) + ".csv");
  if (!path) return std::nullopt;
  simulator::Workload workload;
  workload.name = name;
  const auto rows = ReadCsv(*path);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    workload.requests.push_back({.id = std::stoll(rows[i][0]),
                                 .arrival_s = std::stod(rows[i][3]),
                                 .prompt_tokens = std::stoll(rows[i][5]),
                                 .output_tokens = std::stoll(rows[i][6])});
  }
  return workload;
}

}  // namespace baton::test
