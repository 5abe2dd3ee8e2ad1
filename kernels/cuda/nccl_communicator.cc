// NCCL behind communicator.h: one process, one thread a GPU. The library is loaded at run time; a machine
// without it starts, and hears it when it asks for a group.
#include <nccl.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/dynamic_library.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "kernels/communicator.h"
#include "kernels/cuda/device.h"
#include "kernels/rank_group.h"

namespace baton::kernels {
namespace cuda {
namespace {

/// What is used of NCCL.
struct Nccl {
  decltype(&ncclCommInitAll) init_all = nullptr;
  decltype(&ncclCommDestroy) destroy = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;
};

absl::StatusOr<Nccl> Load(const std::string& name) {
  BATON_ASSIGN_OR_RETURN(DynamicLibrary library, DynamicLibrary::Open(name));
  Nccl out;
  library.Find("ncclCommInitAll", out.init_all);
  library.Find("ncclCommDestroy", out.destroy);
  library.Find("ncclGroupStart", out.group_start);
  library.Find("ncclGroupEnd", out.group_end);
  library.Find("ncclAllGather", out.all_gather);
  library.Find("ncclAllReduce", out.all_reduce);
  library.Find("ncclBroadcast", out.broadcast);
  library.Find("ncclGetErrorString", out.error_string);
  BATON_RETURN_IF_ERROR(library.FoundAll());
  return out;
}

RowsArgument Argument(const Rows& rows) {
  return {.data = rows.data, .rows = rows.rows, .columns = rows.columns, .stride = rows.stride};
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const Nccl& nccl, ncclComm_t comm, Device& device, std::shared_ptr<RankGroup> group,
                   int rank, bool keeps_order)
      : nccl_(nccl),
        comm_(comm),
        device_(device),
        group_(std::move(group)),
        rank_(rank),
        keeps_order_(keeps_order) {}
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  ~NcclCommunicator() override { nccl_.destroy(comm_); }

  [[nodiscard]] int Rank() const override { return rank_; }
  [[nodiscard]] int Size() const override { return group_->Size(); }
  [[nodiscard]] bool IsForGpus() const override { return true; }
  [[nodiscard]] bool KeepsOrder() const override { return keeps_order_; }

  void SumInOrder(Rows x) override {
    if (Size() == 1 || x.rows == 0) return;
    const auto floats = static_cast<std::size_t>(x.rows * x.columns);
    if (!keeps_order_) {
      float* packed = Packed(x, 0);
      Check(nccl_.all_reduce(packed, packed, floats, ncclFloat32, ncclSum, comm_, Stream()));
      Unpack(packed, x);
      return;
    }
    float* packed = Packed(x, floats * static_cast<std::size_t>(Size()));
    float* parts = Scratch(floats, floats * static_cast<std::size_t>(Size()));
    Check(nccl_.all_gather(packed, parts, floats, ncclFloat32, comm_, Stream()));
    device_.Kernels().sum_ranks(device_.MainQueue(), {.parts = parts,
                                                      .part_floats = static_cast<std::int64_t>(floats),
                                                      .ranks = Size(),
                                                      .out = Argument(x)});
  }

  void AllGather(Rows mine, Rows all) override {
    if (all.rows == 0) return;
    // The ranks are one process's: what the others' widths are, memory tells.
    group_->Publish(rank_, mine);
    std::int64_t columns = 0;
    for (int rank = 0; rank < Size(); ++rank) columns += group_->Of(rank).columns;
    BATON_CHECK(mine.rows == all.rows && columns == all.columns, "{} columns of {} gathered", columns,
                all.columns);
    float* packed = Packed(mine, static_cast<std::size_t>(all.rows * all.columns));
    float* parts = Scratch(static_cast<std::size_t>(mine.rows * mine.columns),
                           static_cast<std::size_t>(all.rows * all.columns));
    // Widths differ, which ncclAllGather does not know: a broadcast from each rank, all at once.
    Check(nccl_.group_start());
    std::int64_t first = 0;
    for (int rank = 0; rank < Size(); ++rank) {
      const std::int64_t width = group_->Of(rank).columns;
      if (width > 0) {
        float* part = parts + all.rows * first;
        Check(nccl_.broadcast(rank == rank_ ? packed : part, part, static_cast<std::size_t>(all.rows * width),
                              ncclFloat32, rank, comm_, Stream()));
      }
      first += width;
    }
    Check(nccl_.group_end());
    first = 0;
    for (int rank = 0; rank < Size(); ++rank) {
      Rows place = all;
      place.data += first;
      place.columns = group_->Of(rank).columns;
      if (place.columns > 0) Unpack(parts + all.rows * first, place);
      first += place.columns;
    }
    group_->Wait();  // nobody looks at what is published any more
  }

 private:
  [[nodiscard]] cudaStream_t Stream() const { return static_cast<cudaStream_t>(device_.MainQueue()); }

  /// The rows without gaps: themselves, or a copy in the scratch's beginning, which then has room for `more`
  /// floats behind it. What is there still is of an operation before, in the queue's order.
  float* Packed(const Rows& rows, std::size_t more) {
    const auto floats = static_cast<std::size_t>(rows.rows * rows.columns);
    float* scratch = Scratch(0, floats + more);
    if (rows.stride == rows.columns) return rows.data;
    Rows packed = rows;
    packed.data = scratch;
    packed.stride = rows.columns;
    device_.Kernels().copy_rows(device_.MainQueue(),
                                {.x = Argument(packed), .y = rows.data, .y_stride = rows.stride});
    return scratch;
  }
  void Unpack(const float* packed, const Rows& rows) {
    if (packed == rows.data) return;
    device_.Kernels().copy_rows(device_.MainQueue(),
                                {.x = Argument(rows), .y = packed, .y_stride = rows.columns});
  }
  /// From `first` on, with room for `floats`.
  float* Scratch(std::size_t first, std::size_t floats) {
    const std::size_t bytes = (first + floats) * sizeof(float);
    if (scratch_.Bytes() < bytes) {
      if (const absl::Status status = device_.Synchronize(); !status.ok()) End(Message(status));
      auto larger = device_.Allocate(std::max(bytes, 2 * scratch_.Bytes()));
      if (!larger.ok()) End(Message(larger.status()));
      retired_.push_back(std::exchange(scratch_, *std::move(larger)));
    }
    return scratch_.As<float>() + first;
  }

  void Check(ncclResult_t result) const {
    if (result != ncclSuccess) End(nccl_.error_string(result));
  }
  /// The other ranks wait for this one: the process is of no more use.
  [[noreturn]] void End(const std::string& why) const {
    LogError("nccl_failed", {{"rank", rank_}, {"error", why}, {"consequence", "the process ends"}});
    std::_Exit(1);
  }

  const Nccl nccl_;
  const ncclComm_t comm_;
  Device& device_;
  const std::shared_ptr<RankGroup> group_;
  const int rank_;
  const bool keeps_order_;
  Buffer scratch_;  // kept between calls
  /// Those before it, in all no larger than it: to free memory is to wait for the devices, while another
  /// rank's may wait for this one.
  std::vector<Buffer> retired_;
};

}  // namespace
}  // namespace cuda

absl::Status FindGpuGroups(const GpuGroupOptions& options) {
  return cuda::Load(options.library).status();
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> CreateGpuCommunicators(
    std::span<Backend* const> ranks, const GpuGroupOptions& options) {
  BATON_CHECK(!ranks.empty() && ranks.size() <= kReductionSegments && std::has_single_bit(ranks.size()),
              "{} ranks", ranks.size());
  std::vector<cuda::Device*> devices;
  std::vector<int> indices;
  for (Backend* backend : ranks) {
    cuda::Device* device = cuda::DeviceOf(*backend);
    if (device == nullptr)
      return Error(kInvalidArgument, "a group of GPUs cannot have a rank on {}", backend->Name());
    devices.push_back(device);
    indices.push_back(device->Facts().index);
    // The group computes as one numerics class, and a kernel's bits are those of its machine code.
    if (backend->Name() != ranks.front()->Name()) {
      const auto said = [&](std::size_t rank) {
        const cuda::DeviceFacts& facts = devices[rank]->Facts();
        return fmt::format("GPU {} ({}) computes {}", facts.index, facts.name, ranks[rank]->Name());
      };
      return Error(kFailedPrecondition,
                   "ranks are of one numerics class, but {} and {}: give them GPUs of one kind "
                   "(compute.device and those after it)",
                   said(0), said(devices.size() - 1));
    }
  }
  BATON_ASSIGN_OR_RETURN(const cuda::Nccl nccl, cuda::Load(options.library));
  std::vector<ncclComm_t> comms(ranks.size());
  const ncclResult_t result = nccl.init_all(comms.data(), static_cast<int>(ranks.size()), indices.data());
  if (result != ncclSuccess) {
    return Error(kFailedPrecondition, "NCCL cannot join {} GPUs: {}", ranks.size(),
                 nccl.error_string(result));
  }
  auto group = std::make_shared<RankGroup>(static_cast<int>(ranks.size()));
  std::vector<std::unique_ptr<Communicator>> all;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    all.push_back(std::make_unique<cuda::NcclCommunicator>(nccl, comms[rank], *devices[rank], group,
                                                           static_cast<int>(rank), options.keeps_order));
  }
  return all;
}

}  // namespace baton::kernels
