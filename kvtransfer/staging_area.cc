#include "kvtransfer/staging_area.h"

#include <algorithm>
#include <utility>

#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {

std::size_t StagingSlots(const HandoffOptions& options) {
  return std::max<std::size_t>(1, static_cast<std::size_t>(options.staging_bytes / kMessageBytesMax));
}

StagingArea::~StagingArea() {
  if (stager_ != nullptr) stager_->Finish();  // its jobs read KV memory, and call the host
}

std::optional<SlotIndex> StagingArea::Take() {
  if (stager_ == nullptr) {
    const std::size_t slots = StagingSlots(options_);
    stager_ = host_.MakeStager(slots, kMessageBytesMax);
    free_.emplace(slots);
  }
  return free_->Take();
}

void StagingArea::Make(SlotIndex slot, StageJob job, std::function<void(const absl::Status&)> done) {
  stager_->Gather(slot, std::move(job),
                  [&host = host_, alive = std::weak_ptr<bool>(alive_),
                   done = std::move(done)](const absl::Status& status) {
                    host.Post([alive, done, status] {
                      if (!alive.expired()) done(status);
                    });
                  });
}

}  // namespace baton::kvtransfer
