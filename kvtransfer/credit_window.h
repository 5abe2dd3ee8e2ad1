#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace baton::kvtransfer {

/// The bytes that one peer may have under way to this worker: pure. A transfer is given credit as a total of
/// bytes that it may send since its beginning, so that a CREDIT that comes twice or late does no harm.
/// Together the transfers of a peer share `window`; each may always have `least` under way, so that none
/// waits for ever.
class CreditWindow {
 public:
  struct Limits {
    std::uint64_t window = 64U << 20;
    std::uint64_t least = 4U << 20;  // at least the longest message
  };
  /// A transfer's new total.
  using Grants = std::vector<std::pair<TransferId, std::uint64_t>>;

  explicit CreditWindow(const Limits& limits) : limits_(limits) {}

  /// A transfer of `total` bytes begins: its first credit.
  [[nodiscard]] std::uint64_t Open(TransferId transfer, std::uint64_t total);
  /// `bytes` of it have come: credit that can be given now, to whichever transfer.
  [[nodiscard]] Grants Placed(TransferId transfer, std::uint64_t bytes);
  /// It has ended; what it had under way is nobody's any more.
  [[nodiscard]] Grants Close(TransferId transfer);
  /// Granted and not come yet.
  [[nodiscard]] std::uint64_t UnderWay() const { return under_way_; }
  [[nodiscard]] bool Empty() const { return transfers_.empty(); }

 private:
  struct Transfer {
    std::uint64_t total = 0;
    std::uint64_t granted = 0;
    std::uint64_t placed = 0;
  };
  [[nodiscard]] std::uint64_t MoreFor(const Transfer& transfer) const;
  [[nodiscard]] Grants Distribute();

  Limits limits_;
  std::map<TransferId, Transfer> transfers_;
  TransferId next_{};  // where the next distribution begins: all have their turn
  std::uint64_t under_way_ = 0;
};

}  // namespace baton::kvtransfer
