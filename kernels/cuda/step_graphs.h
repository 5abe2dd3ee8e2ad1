#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/graph_plan.h"
#include "kernels/cuda/step_record.h"

namespace baton::kernels::cuda {

/// Runs recorded steps: the first of its kind kernel by kernel, later ones as a graph of the device. What a
/// graph replays is, argument by argument, what the record says; only the content of memory differs. One
/// thread.
class StepGraphs {
 public:
  explicit StepGraphs(Device& device) : device_(device) {}
  void Run(StepRecord record);
  /// Memory that the steps used is gone: no record of them will come again.
  void Clear();
  /// Steps that ran as a graph, graphs that were made, and steps remembered.
  struct Counts {
    std::int64_t replayed = 0;
    std::int64_t captured = 0;
    std::size_t kept = 0;
  };
  [[nodiscard]] Counts GetCounts() const;

 private:
  Device& device_;
  std::vector<KeptStep> kept_;
  std::vector<StepRecord> records_;             // of each of `kept_`
  std::vector<std::unique_ptr<Graph>> graphs_;  // null: none
  std::uint64_t uses_ = 0;
  Counts counts_;
};

}  // namespace baton::kernels::cuda
