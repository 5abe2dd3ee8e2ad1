#include "kernels/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"

namespace baton::kernels::cuda {

void StepGraphs::Run(StepRecord record) {
  if (record.Empty()) return;
  const auto same = std::ranges::find(records_, record);
  std::optional<std::size_t> found;
  if (same != records_.end()) found = static_cast<std::size_t>(same - records_.begin());
  const StepChoice choice = ChooseStep(kept_, found);
  if (choice.place == kept_.size()) {
    kept_.emplace_back();
    records_.emplace_back();
    graphs_.emplace_back();
  }
  if (!found) {
    kept_[choice.place] = {};
    graphs_[choice.place].reset();
    records_[choice.place] = std::move(record);
  }
  KeptStep& step = kept_[choice.place];
  step.last_used = ++uses_;
  if (choice.action == StepAction::kCapture) {
    device_.BeginCapture();
    records_[choice.place].Enqueue(device_);
    auto graph = device_.EndCapture();
    if (graph.ok()) {
      graphs_[choice.place] = *std::move(graph);
      step.has_graph = true;
      ++counts_.captured;
    } else {
      LogWarning("cuda_graph_refused", {{"error", graph.status()}});
      step.refused = true;
    }
  }
  if (step.has_graph) {
    device_.Enqueue(*graphs_[choice.place]);
    ++counts_.replayed;
  } else {
    records_[choice.place].Enqueue(device_);
  }
}

void StepGraphs::Clear() {
  kept_.clear();
  records_.clear();
  graphs_.clear();
}

StepGraphs::Counts StepGraphs::GetCounts() const {
  Counts counts = counts_;
  counts.kept = kept_.size();
  return counts;
}

}  // namespace baton::kernels::cuda
