#include "kernels/cuda/graph_plan.h"

#include <algorithm>
#include <bit>

namespace baton::kernels::cuda {

std::int64_t BucketRows(std::int64_t rows, std::int64_t rows_max) {
  if (rows <= 0 || rows > kGraphRowsMax) return 0;
  const std::int64_t bucket = rows <= 4
                                  ? static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)))
                                  : (rows + 7) / 8 * 8;
  return bucket <= rows_max ? bucket : 0;
}

std::size_t BucketItems(std::size_t items) {
  return items == 0 ? 0 : std::bit_ceil(items);
}

std::size_t BucketBytes(std::size_t bytes) {
  return bytes == 0 ? 0 : std::max<std::size_t>(256, std::bit_ceil(bytes));
}

StepChoice ChooseStep(std::span<const KeptStep> kept, std::optional<std::size_t> found) {
  if (found) {
    const KeptStep& step = kept[*found];
    if (step.has_graph) return {StepAction::kReplay, *found};
    return {step.refused ? StepAction::kLaunch : StepAction::kCapture, *found};
  }
  if (kept.size() < kGraphsMax) return {StepAction::kLaunch, kept.size()};
  const auto oldest = std::ranges::min_element(kept, {}, &KeptStep::last_used);
  return {StepAction::kLaunch, static_cast<std::size_t>(oldest - kept.begin())};
}

}  // namespace baton::kernels::cuda
