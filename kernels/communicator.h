#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "kernels/backend.h"

namespace baton::kernels {

/// One rank's end of a tensor-parallel group: the ranks compute the same step, each with its share of the
/// weights, and meet in these calls. All ranks make the same calls in the same order with the same shapes,
/// each from its own engine thread, on rows in its own backend's memory. A call is an operation as the
/// backend's are: complete when it returns or, on a device with queues, in the queue's order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int Rank() const = 0;
  [[nodiscard]] virtual int Size() const = 0;
  /// x = the sum of all ranks' x by the tree ((x0+x1)+(x2+x3))+..., which goes on where the tree of a MatMul
  /// over a share of the segments ends. Every number of ranks then gives the bits of one.
  virtual void SumInOrder(Rows x) = 0;
  /// all[t] = mine of rank 0, of rank 1, ... side by side; widths may differ, `all` has their sum.
  virtual void AllGather(Rows mine, Rows all) = 0;
  /// Whether its rows lie in the memory of GPUs.
  [[nodiscard]] virtual bool IsForGpus() const { return false; }
  /// False: SumInOrder takes an order of its own, faster; its numerics class is another one then.
  [[nodiscard]] virtual bool KeepsOrder() const { return true; }
};

/// The ends of a group of `ranks` (1, 2, 4 or 8) within this process, one thread each, in order of rank; for
/// rows in the host's memory.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> CreateInProcessCommunicators(int ranks);

struct GpuGroupOptions {
  bool keeps_order = true;
  std::string library = "libnccl.so.2";  // loaded when a group is made
};
/// The same over GPUs by NCCL: `ranks` are 1, 2, 4 or 8 CUDA backends of different GPUs, which outlive the
/// group. FailedPrecondition where this build has no NCCL, or the library is missing or fails; the message
/// says which.
[[nodiscard]] absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> CreateGpuCommunicators(
    std::span<Backend* const> ranks, const GpuGroupOptions& options = {});
/// That there can be such a group here. FailedPrecondition as above.
[[nodiscard]] absl::Status FindGpuGroups(const GpuGroupOptions& options = {});

/// The ends of a group of these ranks: within the process where their memory is the host's, else over GPUs.
[[nodiscard]] absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> CreateCommunicators(
    std::span<const std::unique_ptr<Backend>> ranks, const GpuGroupOptions& options = {});

}  // namespace baton::kernels
