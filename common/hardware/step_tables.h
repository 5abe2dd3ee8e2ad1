#pragma once

#include <span>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/benchmark_rows.h"
#include "common/hardware/catalogue.h"

namespace baton::hardware {

/// Tables of step times from a benchmark, as the paper's simulator makes them: a knot for each prompt x
/// batch, the medians of its rows; rows that `Calibrate` would leave aside are used as well. `hardware` of a
/// row is a machine, or a device, which gives a table to each machine that has it and no power cap; "-pcap"
/// behind a device is for the machines that have one. Errors name a line whose model or hardware the
/// catalogue lacks.
[[nodiscard]] absl::StatusOr<std::vector<TimeTable>> TablesFrom(std::span<const BenchmarkRow> rows,
                                                                const Catalogue& catalogue);

}  // namespace baton::hardware
