#include "engine/kv/join_copiers.h"

#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

class JoinedCopier final : public DeviceCopier {
 public:
  explicit JoinedCopier(std::vector<CopierPart> parts) : parts_(std::move(parts)) {}

  absl::StatusOr<std::shared_ptr<std::byte>> AllocateHost(std::size_t bytes) override {
    return parts_.front().copier->AllocateHost(bytes);
  }
  absl::Status Gather(std::span<const Piece> pieces, std::byte* host) override {
    return ForEachPart(pieces, &Piece::address, [&](DeviceCopier& copier, std::span<const Piece> mine) {
      return copier.Gather(mine, host);
    });
  }
  absl::Status Scatter(const std::byte* host, std::span<const Piece> pieces) override {
    return ForEachPart(pieces, &Piece::address, [&](DeviceCopier& copier, std::span<const Piece> mine) {
      return copier.Scatter(host, mine);
    });
  }
  void EnterThread() override { parts_.front().copier->EnterThread(); }
  absl::Status CopyWithin(std::span<const Move> moves) override {
    return ForEachPart(moves, &Move::to, [](DeviceCopier& copier, std::span<const Move> mine) {
      return copier.CopyWithin(mine);
    });
  }

 private:
  template <typename Item, typename Copy>
  absl::Status ForEachPart(std::span<const Item> items, std::byte* Item::*address, const Copy& copy) const {
    std::size_t found = 0;
    std::vector<Item> mine;
    for (const CopierPart& part : parts_) {
      mine.clear();
      for (const Item& item : items) {
        if (Holds(part.region, item.*address)) mine.push_back(item);
      }
      found += mine.size();
      if (mine.empty()) continue;
      if (const absl::Status status = copy(*part.copier, mine); !status.ok()) return status;
    }
    BATON_CHECK(found == items.size(), "{} of {} pieces lie in no device's memory", items.size() - found,
                items.size());
    return absl::OkStatus();
  }

  const std::vector<CopierPart> parts_;
};

}  // namespace

std::shared_ptr<DeviceCopier> JoinCopiers(std::vector<CopierPart> parts) {
  return std::make_shared<JoinedCopier>(std::move(parts));
}

}  // namespace baton::engine
