#include <condition_variable>
#include <thread>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/mutex.h"
#include "engine/model/model.h"

namespace baton::engine {
namespace {

/// Ranks that compute each step together, and meet inside it through their communicators.
class RankedModel final : public Model {
 public:
  RankedModel(std::vector<std::unique_ptr<kernels::Communicator>> communicators,
              std::vector<std::unique_ptr<Model>> ranks)
      : communicators_(std::move(communicators)),
        ranks_(std::move(ranks)),
        written_(static_cast<std::size_t>(ranks_.front()->Config().layers)) {
    for (std::size_t rank = 1; rank < ranks_.size(); ++rank)
      threads_.emplace_back([this, rank] { Run(rank); });
  }
  ~RankedModel() override {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  [[nodiscard]] const ModelConfig& Config() const override { return ranks_.front()->Config(); }
  [[nodiscard]] std::uint64_t Fingerprint() const override { return ranks_.front()->Fingerprint(); }
  [[nodiscard]] std::string NumericsClass() const override { return ranks_.front()->NumericsClass(); }
  void EnterThread() override { ranks_.front()->EnterThread(); }
  kernels::Rows ReadLogits(const kernels::Rows& rows) override { return ranks_.front()->ReadLogits(rows); }

  kernels::Rows Forward(const StepBatch& batch, const KvArena& arena, const LayerDone& layer_done) override {
    BATON_CHECK(arena.Geometry().ranks == static_cast<int>(ranks_.size()), "an arena of {} ranks for {}",
                arena.Geometry().ranks, ranks_.size());
    {
      const MutexLock lock(mutex_);
      step_ = {.batch = &batch, .arena = &arena, .layer_done = layer_done ? &layer_done : nullptr};
      running_ = threads_.size();
      written_.assign(written_.size(), 0);
      ++number_;
    }
    changed_.notify_all();
    const kernels::Rows logits = Compute(0);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return running_ == 0; });
    return logits;
  }

 private:
  struct Step {
    const StepBatch* batch = nullptr;
    const KvArena* arena = nullptr;
    const LayerDone* layer_done = nullptr;  // null: nobody asks
  };

  kernels::Rows Compute(std::size_t rank) {
    const KvArena own = step_.arena->OfRank(static_cast<int>(rank));
    if (step_.layer_done == nullptr) return ranks_[rank]->Forward(*step_.batch, own, nullptr);
    return ranks_[rank]->Forward(*step_.batch, own, [this](int layer) { Written(layer); });
  }

  /// A layer is done when the last rank has written its part. That one reports: no rank comes to the next
  /// layer before all have written this one, since they add up between the two. So reports keep their order.
  void Written(int layer) {
    {
      const MutexLock lock(mutex_);
      if (++written_[static_cast<std::size_t>(layer)] < ranks_.size()) return;
    }
    (*step_.layer_done)(layer);
  }

  void Run(std::size_t rank) {
    ranks_[rank]->EnterThread();
    for (std::uint64_t seen = 0;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || number_ != seen; });
        if (stopping_) return;
        seen = number_;
      }
      static_cast<void>(Compute(rank));
      {
        const MutexLock lock(mutex_);
        --running_;
      }
      changed_.notify_all();
    }
  }

  const std::vector<std::unique_ptr<kernels::Communicator>> communicators_;
  const std::vector<std::unique_ptr<Model>> ranks_;
  Mutex mutex_;
  std::condition_variable changed_;
  Step step_;                         // written between steps alone
  std::vector<std::size_t> written_;  // per layer, ranks; guarded by mutex_
  std::uint64_t number_ = 0;          // of the step; guarded by mutex_
  std::size_t running_ = 0;           // of the other ranks; guarded by mutex_
  bool stopping_ = false;             // guarded by mutex_
  std::vector<std::thread> threads_;  // last
};

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadRankedModel(
    const std::string& directory, std::span<const std::unique_ptr<kernels::Backend>> backends,
    std::int64_t max_rows, const kernels::GpuGroupOptions& group) {
  if (backends.size() == 1) return LoadModel(directory, *backends.front(), max_rows);
  BATON_ASSIGN_OR_RETURN(auto communicators, kernels::CreateCommunicators(backends, group));
  std::vector<std::unique_ptr<Model>> ranks;
  for (std::size_t rank = 0; rank < backends.size(); ++rank) {
    auto share = LoadModelShare(directory, *backends[rank], *communicators[rank], max_rows);
    if (!share.ok()) return Annotate(share.status(), fmt::format("rank {}", rank));
    ranks.push_back(*std::move(share));
  }
  return std::make_unique<RankedModel>(std::move(communicators), std::move(ranks));
}

}  // namespace baton::engine
