#include "kernels/cuda/cuda_copier.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "kernels/cuda/device_pieces.h"

namespace baton::kernels::cuda {
namespace {

/// Of one launch, which reads them from pinned memory: a message of 2 MiB has 128 pieces where its blocks lie
/// together, some thousand where it is put together of heads.
constexpr std::size_t kPiecesMax = 4096;

/// One direction: a queue, and where its pieces are told.
struct Lane {
  Mutex mutex;
  std::unique_ptr<SideQueue> queue;
  Buffer told;  // [kPiecesMax]
  std::vector<PieceArgument> pieces;
};

class CudaCopier final : public DeviceCopier {
 public:
  explicit CudaCopier(Device& device) : device_(device), kernels_(device.Kernels()) {}

  absl::Status Open() {
    for (Lane* lane : {&out_, &in_, &within_}) {
      BATON_ASSIGN_OR_RETURN(lane->queue, device_.CreateSideQueue());
      if (lane == &within_) continue;
      BATON_ASSIGN_OR_RETURN(lane->told, device_.AllocatePinned(kPiecesMax * sizeof(PieceArgument)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<std::byte>> AllocateHost(std::size_t bytes) override {
    BATON_ASSIGN_OR_RETURN(Buffer buffer, device_.AllocatePinned(bytes));
    auto owner = std::make_shared<Buffer>(std::move(buffer));
    return std::shared_ptr<std::byte>(owner, owner->As<std::byte>());
  }
  absl::Status Gather(std::span<const Piece> pieces, std::byte* host) override {
    return Stage(out_, pieces, host, /*gather=*/true);
  }
  absl::Status Scatter(const std::byte* host, std::span<const Piece> pieces) override {
    return Stage(in_, pieces, const_cast<std::byte*>(host), /*gather=*/false);
  }
  void EnterThread() override {
    const MutexLock lock(within_.mutex);
    static_cast<void>(within_.queue->Handle());  // which enters it
  }
  absl::Status CopyWithin(std::span<const Move> moves) override {
    const MutexLock lock(within_.mutex);
    for (const Move& move : moves) within_.queue->Copy(move.to, move.from, move.bytes);
    return within_.queue->Synchronize();
  }

 private:
  absl::Status Stage(Lane& lane, std::span<const Piece> pieces, std::byte* host, bool gather) {
    const MutexLock lock(lane.mutex);
    CutPieces(pieces, lane.pieces);
    auto* told = lane.told.As<PieceArgument>();
    for (std::size_t first = 0; first < lane.pieces.size(); first += kPiecesMax) {
      const std::size_t count = std::min(kPiecesMax, lane.pieces.size() - first);
      std::memcpy(told, lane.pieces.data() + first, count * sizeof(PieceArgument));
      kernels_.stage(lane.queue->Handle(),
                     {.pieces = told, .count = static_cast<int>(count), .slot = host, .gather = gather});
      BATON_RETURN_IF_ERROR(lane.queue->Synchronize());  // also before `told` says something else
    }
    return absl::OkStatus();
  }

  Device& device_;
  const Launches& kernels_;
  Lane out_;
  Lane in_;
  Lane within_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<DeviceCopier>> CreateCopier(Device& device) {
  auto copier = std::make_shared<CudaCopier>(device);
  BATON_RETURN_IF_ERROR(copier->Open());
  return copier;
}

}  // namespace baton::kernels::cuda
