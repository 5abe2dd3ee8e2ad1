#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace baton::kernels {

/// One rank's end of a tensor-parallel group: the ranks compute the same step, each with its share of the
/// weights, and meet in these calls. All ranks make the same calls in the same order with the same shapes; a
/// call returns when this rank's data is complete, and is called from the rank's own engine thread. Sums have
/// a fixed order, so that every number of ranks gives the same bits as one.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int Rank() const = 0;
  [[nodiscard]] virtual int Size() const = 0;
  /// x = the sum of all ranks' x by the tree ((x0+x1)+(x2+x3))+..., which goes on where the tree of a MatMul
  /// over a share of the segments ends.
  virtual void SumInOrder(Rows x) = 0;
  /// all[t] = mine of rank 0, of rank 1, ... side by side; widths may differ, `all` has their sum.
  virtual void AllGather(Rows mine, Rows all) = 0;
};

/// The ends of a group of `ranks` (1, 2, 4 or 8) within this process, one thread each, in order of rank.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> CreateInProcessCommunicators(int ranks);

}  // namespace baton::kernels
