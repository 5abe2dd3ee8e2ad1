#include "simulator/network.h"

#include <algorithm>
#include <limits>

namespace baton::simulator {

void FairNetwork::Advance(double now_s) {
  for (Flow& flow : flows_) flow.bytes -= flow.rate * (now_s - now_s_);
  now_s_ = now_s;
}

/// Fills all flows evenly until a card is full, fixes the flows through it, and goes on with the others.
void FairNetwork::Share() {
  const std::size_t machines = bandwidth_.size();
  left_.assign(2 * machines, 0);
  sharing_.assign(2 * machines, 0);
  for (std::size_t i = 0; i < machines; ++i) left_[i] = left_[machines + i] = bandwidth_[i];
  for (Flow& flow : flows_) {
    flow.rate = -1;
    ++sharing_[flow.from];
    ++sharing_[machines + flow.to];
  }
  for (std::size_t fixed = 0; fixed < flows_.size();) {
    double share = std::numeric_limits<double>::infinity();
    for (std::size_t card = 0; card < 2 * machines; ++card) {
      if (sharing_[card] > 0) share = std::min(share, left_[card] / sharing_[card]);
    }
    const std::size_t before = fixed;
    for (Flow& flow : flows_) {
      const std::size_t out = flow.from;
      const std::size_t in = machines + flow.to;
      if (flow.rate >= 0) continue;
      const double own = std::min(left_[out] / sharing_[out], left_[in] / sharing_[in]);
      if (own > share * (1 + 1e-12)) continue;
      flow.rate = share;
      for (const std::size_t card : {out, in}) {
        left_[card] = std::max(0.0, left_[card] - share);
        --sharing_[card];
      }
      ++fixed;
    }
    if (fixed == before) break;
  }
}

void FairNetwork::Start(double now_s, const Flow& flow) {
  Advance(now_s);
  flows_.push_back(flow);
  Share();
}

void FairNetwork::Cancel(double now_s, std::uint32_t id) {
  Advance(now_s);
  if (std::erase_if(flows_, [&](const Flow& flow) { return flow.id == id; }) > 0) Share();
}

double FairNetwork::NextEnd() const {
  double end = std::numeric_limits<double>::infinity();
  for (const Flow& flow : flows_) {
    if (flow.rate > 0) end = std::min(end, now_s_ + std::max(0.0, flow.bytes) / flow.rate);
  }
  return end;
}

std::vector<std::uint32_t> FairNetwork::Finish(double now_s) {
  Advance(now_s);
  std::vector<std::uint32_t> ended;
  // A flow whose end is nearer than a clock of doubles can tell has ended.
  const auto done = [&](const Flow& flow) { return flow.bytes <= flow.rate * 1e-9; };
  for (const Flow& flow : flows_) {
    if (done(flow)) ended.push_back(flow.id);
  }
  if (!ended.empty()) {
    std::erase_if(flows_, done);
    Share();
  }
  return ended;
}

}  // namespace baton::simulator
