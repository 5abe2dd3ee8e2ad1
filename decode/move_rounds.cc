#include "decode/move_rounds.h"

namespace baton::decode {

void MoveRounds::Sent(std::int64_t positions) {
  sent_blocks_ = positions / block_tokens_;
  ++rounds_;
}

bool MoveRounds::MustPause(std::int64_t positions, double bytes_per_second) const {
  if (rounds_ >= limits_.rounds_max || NearEnd(positions)) return true;
  if (positions / block_tokens_ <= sent_blocks_) return true;  // no block has become full: a round of nothing
  const std::int64_t blocks = (positions + block_tokens_ - 1) / block_tokens_ - sent_blocks_;
  return static_cast<double>(blocks * block_bytes_) < Seconds(limits_.pause_max) * bytes_per_second;
}

}  // namespace baton::decode
