#include "engine/kv/block_pool.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::engine {
namespace {

constexpr std::int32_t kFree = 0;
constexpr std::int32_t kQuarantined = -1;

}  // namespace

BlockPool::BlockPool(std::int64_t block_count)
    : references_(static_cast<std::size_t>(block_count), kFree),
      cached_(static_cast<std::size_t>(block_count), false) {
  if (block_count > 0) AddFreeRun(0, static_cast<std::uint32_t>(block_count));
}

absl::StatusOr<BlockTable> BlockPool::Allocate(std::int64_t count) {
  BATON_CHECK(count >= 0, "{} blocks wanted", count);
  if (count > free_) return Error(kResourceExhausted, "{} KV blocks wanted, {} free", count, free_);
  BlockTable blocks;
  blocks.reserve(static_cast<std::size_t>(count));
  for (const BlockRun& run : ChooseRuns(static_cast<std::uint32_t>(count)))
    TakeFreeRun(run.first.value, run.count, blocks);
  return blocks;
}

/// Of `count` blocks that are free. Sorts the runs where no single one will do: searching all of them for
/// each piece is quadratic, and a fragmented pool has thousands.
std::vector<BlockRun> BlockPool::ChooseRuns(std::uint32_t count) const {
  if (count == 0) return {};
  auto fitting = free_runs_.end();
  for (auto run = free_runs_.begin(); run != free_runs_.end(); ++run) {
    if (run->second >= count && (fitting == free_runs_.end() || run->second < fitting->second)) fitting = run;
  }
  if (fitting != free_runs_.end()) return {{.first = BlockIndex(fitting->first), .count = count}};

  std::vector<BlockRun> runs;
  runs.reserve(free_runs_.size());
  for (const auto& [first, length] : free_runs_)
    runs.push_back({.first = BlockIndex(first), .count = length});
  std::ranges::stable_sort(runs, std::ranges::greater(), &BlockRun::count);  // of equal ones the lowest first
  std::uint32_t left = count;
  auto next = runs.begin();
  for (; next->count < left; ++next) left -= next->count;
  // The rest is in one piece: the smallest run that holds it.
  const auto enough = [&](const BlockRun& run) { return run.count >= left; };
  const std::uint32_t smallest = std::prev(std::partition_point(next, runs.end(), enough))->count;
  const auto last =
      std::partition_point(next, runs.end(), [&](const BlockRun& run) { return run.count > smallest; });
  const BlockRun rest{.first = last->first, .count = left};
  runs.erase(next, runs.end());
  runs.push_back(rest);
  return runs;
}

void BlockPool::Retain(const BlockTable& blocks) {
  for (const BlockIndex block : blocks) {
    std::int32_t& references = references_.at(block.value);
    BATON_CHECK(references > 0, "block {} is retained, but not in use", block);
    if (references == 1 && cached_[block.value]) --cached_alone_;
    ++references;
  }
}

void BlockPool::Release(const BlockTable& blocks) {
  for (const BlockIndex block : blocks) {
    std::int32_t& references = references_.at(block.value);
    BATON_CHECK(references > 0, "block {} is released, but not in use", block);
    --references;
    if (references == 1 && cached_[block.value]) ++cached_alone_;
    BATON_CHECK(references > 0 || !cached_[block.value], "block {} is free, but in the prefix cache", block);
    if (references == 0) AddFreeRun(block.value, 1);
  }
}

void BlockPool::SetCached(BlockIndex block, bool cached) {
  const std::int32_t references = references_.at(block.value);
  BATON_CHECK(references > 0 && cached_[block.value] != cached, "block {} with {} references, cached {}",
              block, references, !cached);
  cached_[block.value] = cached;
  if (references == 1) cached_alone_ += cached ? 1 : -1;
}

std::int32_t BlockPool::References(BlockIndex block) const {
  return std::max(references_.at(block.value), kFree);
}

void BlockPool::Quarantine(const BlockTable& blocks) {
  for (const BlockIndex block : blocks) {
    std::int32_t& references = references_.at(block.value);
    BATON_CHECK(references == 1 && !cached_[block.value], "block {} has {} references at quarantine", block,
                references);
    references = kQuarantined;
    ++quarantined_;
  }
}

void BlockPool::EndQuarantine(const BlockTable& blocks) {
  for (const BlockIndex block : blocks) {
    std::int32_t& references = references_.at(block.value);
    BATON_CHECK(references == kQuarantined, "block {} is not in quarantine", block);
    references = kFree;
    --quarantined_;
    AddFreeRun(block.value, 1);
  }
}

PoolCounts BlockPool::Counts() const {
  const auto total = static_cast<std::int64_t>(references_.size());
  return {.total = total,
          .free = free_,
          .used = total - free_ - quarantined_ - cached_alone_,
          .quarantined = quarantined_,
          .cached = cached_alone_};
}

void BlockPool::AddFreeRun(std::uint32_t first, std::uint32_t count) {
  free_ += count;
  const auto next = free_runs_.lower_bound(first);
  if (next != free_runs_.end() && next->first == first + count) {
    count += next->second;
    free_runs_.erase(next);
  }
  const auto after = free_runs_.lower_bound(first);
  if (after != free_runs_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      before->second += count;
      return;
    }
  }
  free_runs_.emplace(first, count);
}

void BlockPool::TakeFreeRun(std::uint32_t first, std::uint32_t count, BlockTable& out) {
  const auto run = free_runs_.find(first);
  const std::uint32_t length = run->second;
  free_runs_.erase(run);
  if (length > count) free_runs_.emplace(first + count, length - count);
  for (std::uint32_t block = first; block < first + count; ++block) {
    references_[block] = 1;
    out.emplace_back(block);
  }
  free_ -= count;
}

std::vector<BlockRun> Runs(const BlockTable& blocks) {
  std::vector<BlockRun> runs;
  for (const BlockIndex block : blocks) {
    if (!runs.empty() && runs.back().first.value + runs.back().count == block.value) {
      ++runs.back().count;
    } else {
      runs.push_back({.first = block, .count = 1});
    }
  }
  return runs;
}

}  // namespace baton::engine
