#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace baton::kernels::cuda {

/// What makes steps alike enough to be replayed as a graph, and which of them have one. Pure.

/// Steps of more rows are launched kernel by kernel: they take long enough to hide it.
inline constexpr std::int64_t kGraphRowsMax = 256;
/// Steps that are remembered, with a graph or as a candidate; the one used longest ago makes room. 38 buckets
/// of rows, of which a worker sees a few, times the few shapes that attention's items take.
inline constexpr std::size_t kGraphsMax = 64;

/// Rows of the bucket that `rows` single tokens fall into: 1, 2, 4, then multiples of 8. 0: none, there are
/// too many, or no room for so many as `rows_max`.
[[nodiscard]] std::int64_t BucketRows(std::int64_t rows, std::int64_t rows_max);
/// Items of attention, and merges of spans: the next power of two. 0 stays.
[[nodiscard]] std::size_t BucketItems(std::size_t items);
/// Bytes of an array that goes to the device: the next power of two from 256 on. 0 stays.
[[nodiscard]] std::size_t BucketBytes(std::size_t bytes);

/// A step that is remembered.
struct KeptStep {
  bool has_graph = false;
  bool refused = false;         // the device could not make a graph of it
  std::uint64_t last_used = 0;  // greater: later
};
enum class StepAction {
  kLaunch,   // kernel by kernel; it is remembered
  kCapture,  // it comes again: make a graph, and run that
  kReplay,
};
struct StepChoice {
  StepAction action = StepAction::kLaunch;
  std::size_t place = 0;  // of `kept`; its size: a new one
};
/// `found`: the place of the step that is about to run, where it is remembered.
[[nodiscard]] StepChoice ChooseStep(std::span<const KeptStep> kept, std::optional<std::size_t> found);

}  // namespace baton::kernels::cuda
