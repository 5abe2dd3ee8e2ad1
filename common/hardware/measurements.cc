#include "common/hardware/measurements.h"

#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "common/hardware/csv_table.h"

namespace baton::hardware {
namespace {

template <typename Row>
void Append(std::vector<Row> rows, const std::string& path, std::vector<Row>& out) {
  const auto file = std::make_shared<const std::string>(path);
  for (Row& row : rows) row.file = file;
  out.insert(out.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
}

}  // namespace

absl::StatusOr<Measurements> ReadMeasurements(std::span<const std::string> paths) {
  Measurements measured;
  for (const std::string& path : paths) {
    BATON_ASSIGN_OR_RETURN(std::string text, ReadCsvText(path));
    if (IsStepCsv(text)) {
      text.resize(text.rfind('\n') + 1);  // a line without its end is not whole yet, or was never
      BATON_ASSIGN_OR_RETURN(std::vector<StepRow> steps, ParseStepCsv(text, path));
      Append(std::move(steps), path, measured.steps);
    } else {
      BATON_ASSIGN_OR_RETURN(std::vector<BenchmarkRow> rows, ParseBenchmarkCsv(text, path));
      Append(std::move(rows), path, measured.rows);
    }
  }
  return measured;
}

}  // namespace baton::hardware
