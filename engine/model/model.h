#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "engine/kv/kv_arena.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"
#include "kernels/communicator.h"

namespace baton::engine {

/// What is wanted of each row's logits in the place of all of them: the `count` highest, falling, of equals
/// the lower token first, and what is drawn.
struct ChosenLogits {
  std::int64_t count = 0;                // asked for; no more than the vocabulary
  std::vector<kernels::RowDraw> draws;   // asked for, [row]; empty: nothing is drawn
  bool filled = false;                   // what follows is there; false: the rows are
  std::vector<std::int32_t> tokens;      // [row][count]
  std::vector<float> logits;             // theirs
  std::vector<kernels::DrawnRow> drawn;  // [row], where there are draws
};

/// The work of one step: rows of several sequences, each a run of consecutive positions.
struct StepBatch {
  std::vector<TokenId> tokens;          // one per row
  std::vector<std::int32_t> positions;  // one per row
  std::vector<kernels::SequenceSlice> slices;
  std::vector<std::int64_t> logit_rows;  // rows whose logits are wanted, ascending
  /// Not null: these are enough for most rows. A model on a device fills them in (of ranks that share the
  /// batch the first does), and the rows that it returns go through ReadLogits; one whose logits are on the
  /// host anyway leaves them.
  ChosenLogits* chosen = nullptr;
};

/// Called within Forward, one layer after another, when a layer's KV of the whole batch is complete in the
/// arena; on the engine thread, or on that of another rank.
using LayerDone = std::function<void(int layer)>;

/// A loaded model. `Forward` is called from the engine thread only.
class Model {
 public:
  virtual ~Model() = default;
  [[nodiscard]] virtual const ModelConfig& Config() const = 0;
  /// Hash of config and weights as stored.
  [[nodiscard]] virtual std::uint64_t Fingerprint() const = 0;
  /// {compute path, weight type, KV type, reduction plan} as text: inside one class results agree to the bit.
  [[nodiscard]] virtual std::string NumericsClass() const = 0;
  /// Called once, by the engine thread before its first step: takes it to the core that the backend wants it
  /// on.
  virtual void EnterThread() {}
  /// One step over `batch`: writes its KV and returns the logits, [logit_rows][vocabulary], valid until the
  /// next call.
  virtual kernels::Rows Forward(const StepBatch& batch, const KvArena& arena,
                                const LayerDone& layer_done) = 0;
  /// Some of the rows that Forward has returned where the host can read them, until the next call of either.
  [[nodiscard]] virtual kernels::Rows ReadLogits(const kernels::Rows& rows) { return rows; }
};

/// Loads a Hugging Face directory onto `backend`, which must outlive the model. Errors name file, tensor or
/// field. `max_rows` bounds the rows of a step: activations are allocated once.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& directory,
                                                               kernels::Backend& backend,
                                                               std::int64_t max_rows);

/// One rank's share of a tensor-parallel model: 1/Size() of the heads and of every MLP, on this rank's own
/// backend. Its KV arena has kv_heads / Size() heads, or the one that it shares with other ranks. All ranks
/// call Forward with the same batch; each gets the same logits, those of a single rank to the bit.
/// `communicator` must outlive the model.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Model>> LoadModelShare(const std::string& directory,
                                                                    kernels::Backend& backend,
                                                                    kernels::Communicator& communicator,
                                                                    std::int64_t max_rows);

/// A tensor-parallel model of this process, one rank on each of `backends`, the first on the caller's thread,
/// the others on threads of their own. To whoever calls Forward it is one model; its arena has all ranks'
/// parts. The backends must outlive it. `group`: how those on GPUs meet.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Model>> LoadRankedModel(
    const std::string& directory, std::span<const std::unique_ptr<kernels::Backend>> backends,
    std::int64_t max_rows, const kernels::GpuGroupOptions& group = {});

}  // namespace baton::engine
