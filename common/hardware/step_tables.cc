#include "common/hardware/step_tables.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "common/base/error.h"
#include "common/hardware/measured_points.h"

namespace baton::hardware {
namespace {

constexpr std::string_view kCapped = "-pcap";

struct Times {
  std::vector<double> prompt_ms;
  std::vector<double> token_ms;
};
using Knots = std::map<std::int64_t, Times>;                  // by prompt x batch
using Key = std::tuple<std::string, std::string, int>;        // model, hardware, degree
using Configurations = std::map<Key, std::pair<Knots, int>>;  // and the first line

std::vector<std::string> MachinesOf(std::string_view hardware, int degree, const Catalogue& catalogue) {
  if (catalogue.FindMachine(hardware).ok()) return {std::string(hardware)};
  const bool capped = hardware.ends_with(kCapped);
  if (capped) hardware.remove_suffix(kCapped.size());
  std::vector<std::string> machines;
  for (const auto& [name, machine] : catalogue.Machines()) {
    if (machine.device == hardware && machine.devices >= degree && (machine.gpu_cap_w > 0) == capped) {
      machines.push_back(name);
    }
  }
  return machines;
}

}  // namespace

absl::StatusOr<std::vector<TimeTable>> TablesFrom(std::span<const BenchmarkRow> rows,
                                                  const Catalogue& catalogue) {
  Configurations all;
  for (const BenchmarkRow& row : rows) {
    auto& [knots, line] = all[{row.model, row.device, row.tensor_parallel}];
    if (line == 0) line = row.line;
    Times& times = knots[row.prompt_tokens * row.batch];
    times.prompt_ms.push_back(row.prompt_ms);
    times.token_ms.push_back(row.token_ms);
  }
  std::vector<TimeTable> tables;
  for (const auto& [key, found] : all) {
    const auto& [model, hardware, degree] = key;
    const auto& [knots, line] = found;
    const auto known = catalogue.FindModel(model);
    if (!known.ok()) return Annotate(known.status(), fmt::format("line {}", line));
    const std::vector<std::string> machines = MachinesOf(hardware, degree, catalogue);
    if (machines.empty()) {
      return Error(kNotFound, "line {}: hardware: the catalogue has no machine or device \"{}\" for {} GPUs",
                   line, hardware, degree);
    }
    if (knots.size() < 2) {
      return Error(kInvalidArgument, "line {}: {} on {} with tensor_parallel {}: one knot; a table needs two",
                   line, model, hardware, degree);
    }
    TimeTable table{.model = model,
                    .machine = "",
                    .tensor_parallel = degree,
                    .tokens = {},
                    .prompt_ms = {},
                    .token_ms = {}};
    for (const auto& [tokens, times] : knots) {
      table.tokens.push_back(static_cast<double>(tokens));
      table.prompt_ms.push_back(Median(times.prompt_ms));
      table.token_ms.push_back(Median(times.token_ms));
    }
    for (const std::string& machine : machines) {
      table.machine = machine;
      tables.push_back(table);
    }
  }
  return tables;
}

}  // namespace baton::hardware
