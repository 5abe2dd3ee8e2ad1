#include "kvtransfer/credit_window.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::kvtransfer {

std::uint64_t CreditWindow::MoreFor(const Transfer& transfer) const {
  const std::uint64_t left = transfer.total - transfer.granted;
  const std::uint64_t own = transfer.granted - transfer.placed;
  const std::uint64_t free = limits_.window - std::min(limits_.window, under_way_);
  const std::uint64_t due = limits_.least - std::min(limits_.least, own);
  return std::min(left, std::max(free, due));
}

std::uint64_t CreditWindow::Open(TransferId transfer, std::uint64_t total) {
  Transfer& made = transfers_[transfer];
  made.total = total;
  made.granted = MoreFor(made);
  under_way_ += made.granted;
  return made.granted;
}

CreditWindow::Grants CreditWindow::Placed(TransferId transfer, std::uint64_t bytes) {
  const auto found = transfers_.find(transfer);
  if (found == transfers_.end()) return {};
  // More than was granted: the sender does not keep to it, and gets nothing for it.
  const std::uint64_t counted = std::min(bytes, found->second.granted - found->second.placed);
  found->second.placed += counted;
  under_way_ -= counted;
  return Distribute();
}

CreditWindow::Grants CreditWindow::Close(TransferId transfer) {
  const auto found = transfers_.find(transfer);
  if (found == transfers_.end()) return {};
  under_way_ -= found->second.granted - found->second.placed;
  transfers_.erase(found);
  return Distribute();
}

CreditWindow::Grants CreditWindow::Distribute() {
  Grants grants;
  auto at = transfers_.lower_bound(next_);
  for (std::size_t i = 0; i < transfers_.size(); ++i, ++at) {
    if (at == transfers_.end()) at = transfers_.begin();
    Transfer& transfer = at->second;
    const std::uint64_t more = MoreFor(transfer);
    // A quarter of a message is not worth a CREDIT, unless it is the rest.
    if (more == 0 || (more < limits_.least / 4 && transfer.granted + more < transfer.total)) continue;
    transfer.granted += more;
    under_way_ += more;
    grants.emplace_back(at->first, transfer.granted);
    next_ = at->first;
    ++next_.low;
  }
  return grants;
}

}  // namespace baton::kvtransfer
