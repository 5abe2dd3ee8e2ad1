#include "engine/kv/answer_memory.h"

#include <algorithm>
#include <iterator>

#include "common/base/check.h"
#include "common/base/error.h"
#include "engine/kv/kv_arena.h"

namespace baton::engine {
namespace {

/// A sequence so near the end of its blocks takes them from a younger one: one step for the order to be
/// obeyed, one for its blocks to come.
constexpr std::int64_t kUrgentPositions = 2;

/// The newest measurement counts for a quarter: noise fades, a change is there after a few.
void Blend(double& rate, std::int64_t amount, Duration duration) {
  if (amount <= 0 || duration <= Duration{}) return;
  const double measured = static_cast<double>(amount) / Seconds(duration);
  rate = rate > 0 ? 0.75 * rate + 0.25 * measured : measured;
}

}  // namespace

AnswerMemory::AnswerMemory(BlockPool& pool, SequenceMover& mover, const AnswerMemoryOptions& options)
    : pool_(pool), mover_(mover), options_(options), slots_(options.swap_slots), rates_(options.rates) {}

std::int64_t AnswerMemory::BlocksOfOne(const AnswerSize& size) const {
  return Blocks(size.prompt_tokens + size.max_tokens);
}

/// The prompt's full blocks, which several answers share.
std::int64_t AnswerMemory::SharedBlocks(const AnswerSize& size) const {
  return size.samples > 1 ? size.prompt_tokens / options_.block_tokens : 0;
}

std::int64_t AnswerMemory::Urgent(std::int64_t positions, std::int64_t blocks_max) const {
  return std::min(blocks_max, Blocks(positions + kUrgentPositions));
}

/// Of one answer, the prompt's included, with `growth` blocks ahead.
std::int64_t AnswerMemory::BlocksAtBegin(const AnswerSize& size, std::int64_t growth) const {
  return std::min(BlocksOfOne(size), Blocks(size.prompt_tokens + 1) + growth);
}

/// With the configured growth for each answer; where that is more than there is, the prompt and for each
/// further answer a copy of its last block: they get what they need when they need it.
std::int64_t AnswerMemory::ReservationBlocks(const AnswerSize& size) const {
  const std::int64_t one = BlocksAtBegin(size, options_.growth_blocks);
  const std::int64_t all = one + (size.samples - 1) * (one - SharedBlocks(size));
  if (all <= pool_.Counts().total) return all;
  const std::int64_t prompt = Blocks(size.prompt_tokens);
  return prompt + (size.samples - 1) * (prompt - SharedBlocks(size));
}

absl::Status AnswerMemory::CheckFits(const AnswerSize& size) const {
  const std::int64_t total = pool_.Counts().total;
  const std::int64_t needed = std::max(BlocksOfOne(size), ReservationBlocks(size));
  if (needed <= total) return absl::OkStatus();
  return Error(kResourceExhausted,
               "a prompt of {} tokens and answers of {} need {} KV blocks of {} that this worker has",
               size.prompt_tokens, size.max_tokens, needed, total);
}

/// What prompts that are received may take more, so that each of those that are here could run to its end
/// beside all others' prompts.
std::int64_t AnswerMemory::Unclaimed() const {
  std::int64_t longest = 0;
  for (const auto& [place, sequence] : sequences_) longest = std::max(longest, sequence.blocks_max);
  for (const auto& [key, held] : reservations_)
    longest = std::max(longest, BlocksOfOne(held.size) - std::ssize(held.blocks));
  return pool_.Counts().total - received_ - longest;
}

/// One block for each sequence that is still going to grow.
std::int64_t AnswerMemory::GrowthToCome() const {
  return std::ranges::count_if(sequences_, [](const auto& entry) {
    const Sequence& sequence = entry.second;
    return (sequence.stand == Stand::kRuns || sequence.stand == Stand::kComes) &&
           std::ssize(sequence.blocks) < sequence.blocks_max;
  });
}

/// Nobody is out, and nobody lacks a block.
bool AnswerMemory::AllRun() const {
  return std::ranges::all_of(sequences_, [this](const auto& entry) {
    const Sequence& sequence = entry.second;
    return (sequence.stand == Stand::kRuns || sequence.stand == Stand::kComes) &&
           std::ssize(sequence.blocks) >= Urgent(sequence.positions, sequence.blocks_max);
  });
}

std::optional<BlockTable> AnswerMemory::Reserve(RequestKey key, const AnswerSize& size) {
  const std::int64_t wanted = ReservationBlocks(size);
  if (!AllRun() || pool_.Counts().free - GrowthToCome() < wanted) return std::nullopt;
  if (wanted > Unclaimed() || received_ + BlocksOfOne(size) > pool_.Counts().total) return std::nullopt;
  BlockTable blocks = pool_.Allocate(wanted).value();
  received_ += wanted;
  BlockTable prompt(blocks.begin(), blocks.begin() + Blocks(size.prompt_tokens));
  const bool added =
      reservations_.try_emplace(key, Reservation{arrivals_++, size, std::move(blocks), false}).second;
  BATON_CHECK(added, "request {} is reserved already", key);
  return prompt;
}

void AnswerMemory::Quarantine(RequestKey key) {
  Reservation& held = reservations_.at(key);
  pool_.Quarantine(held.blocks);
  held.quarantined = true;
}

void AnswerMemory::Drop(RequestKey key) {
  const auto held = reservations_.extract(key);
  BATON_CHECK(!held.empty(), "request {} is not reserved", key);
  const Reservation& reservation = held.mapped();
  received_ -= std::ssize(reservation.blocks);
  reservation.quarantined ? pool_.EndQuarantine(reservation.blocks) : pool_.Release(reservation.blocks);
  Arrange();
}

/// The first answer that goes on takes the prompt's blocks as they are; each other gets a reference on the
/// full ones and a block of its own for the rest. Then each its growth, as far as the reservation goes.
std::vector<AnswerStart> AnswerMemory::Begin(RequestKey key, std::span<const std::int32_t> samples) {
  auto node = reservations_.extract(key);
  BATON_CHECK(!node.empty() && !node.mapped().quarantined, "request {} is not reserved", key);
  const Reservation& held = node.mapped();
  received_ -= std::ssize(held.blocks);
  const std::int64_t prompt = Blocks(held.size.prompt_tokens);
  const std::int64_t shared = SharedBlocks(held.size);
  const BlockTable full(held.blocks.begin(), held.blocks.begin() + shared);
  auto spare = held.blocks.begin() + prompt;
  std::vector<AnswerStart> starts;
  for (const std::int32_t sample : samples) {
    AnswerStart& start = starts.emplace_back(AnswerStart{.sample = sample, .blocks = {}, .copy = {}});
    if (starts.size() == 1) {
      start.blocks.assign(held.blocks.begin(), held.blocks.begin() + prompt);
      continue;
    }
    pool_.Retain(full);
    start.blocks = full;
    if (prompt == shared) continue;
    start.copy.emplace(held.blocks[static_cast<std::size_t>(shared)], *spare);
    start.blocks.push_back(*spare++);
  }
  if (samples.empty()) spare = held.blocks.begin();
  for (AnswerStart& start : starts) {
    const std::int64_t growth = BlocksAtBegin(held.size, options_.growth_blocks) - std::ssize(start.blocks);
    const std::int64_t left = std::distance(spare, held.blocks.end());
    const auto end = spare + std::clamp<std::int64_t>(growth, 0, left);
    start.blocks.insert(start.blocks.end(), spare, end);
    spare = end;
    const Place place{held.arrival, start.sample};
    sequences_[place] = {.key = {key, start.sample},
                         .positions = held.size.prompt_tokens + 1,
                         .blocks_max = BlocksOfOne(held.size),
                         .blocks = start.blocks,
                         .slots = {}};
    places_[{key, start.sample}] = place;
  }
  pool_.Release({spare, held.blocks.end()});  // of answers that have ended
  return starts;
}

BlockTable AnswerMemory::BeginMoved(RequestKey key, std::int64_t positions) {
  auto node = reservations_.extract(key);
  BATON_CHECK(!node.empty() && !node.mapped().quarantined, "request {} is not reserved", key);
  Reservation& held = node.mapped();
  received_ -= std::ssize(held.blocks);
  const std::int64_t blocks_max = BlocksOfOne(held.size);
  const std::int64_t wanted = std::min(blocks_max, Blocks(positions + 1) + options_.growth_blocks);
  const auto kept = held.blocks.begin() + std::min(wanted, std::ssize(held.blocks));
  pool_.Release({kept, held.blocks.end()});
  held.blocks.erase(kept, held.blocks.end());
  const Place place{held.arrival, 0};
  sequences_[place] = {.key = {key, 0},
                       .positions = positions + 1,
                       .blocks_max = blocks_max,
                       .blocks = held.blocks,
                       .slots = {}};
  places_[{key, 0}] = place;
  return held.blocks;
}

BlockTable AnswerMemory::BlocksOf(SequenceKey key) const {
  const auto place = places_.find(key);
  if (place == places_.end()) return {};
  const Sequence& sequence = sequences_.at(place->second);
  return sequence.stand == Stand::kRuns ? sequence.blocks : BlockTable();
}

AnswerMemory::Sequence* AnswerMemory::Find(SequenceKey key) {
  const auto place = places_.find(key);
  return place == places_.end() ? nullptr : &sequences_.at(place->second);
}

bool AnswerMemory::OnToken(SequenceKey key) {
  Sequence* sequence = Find(key);
  if (sequence == nullptr) return false;
  ++sequence->positions;
  if (sequence->stand != Stand::kRuns || std::ssize(sequence->blocks) >= Wanted(*sequence)) return false;
  Arrange();
  return true;
}

void AnswerMemory::OnEnded(SequenceKey key) {
  Sequence* sequence = Find(key);
  if (sequence == nullptr) return;
  pool_.Release(sequence->blocks);
  slots_.Release(sequence->slots);
  sequences_.erase(places_.extract(key).mapped());
  Arrange();
}

void AnswerMemory::OnPreempted(SequenceKey key, std::int64_t positions, std::int64_t bytes,
                               Duration duration) {
  Sequence* sequence = Find(key);
  if (sequence == nullptr || sequence->stand != Stand::kLeaves) return;
  ++(sequence->slots.empty() ? counts_.recomputations : counts_.swaps);
  counts_.bytes_out += bytes;
  Blend(rates_.swap_out_bytes_per_second, bytes, duration);
  sequence->positions = positions;
  sequence->stand = Stand::kOut;
  pool_.Release(sequence->blocks);
  sequence->blocks.clear();
  Arrange();
}

void AnswerMemory::OnResumed(SequenceKey key, std::int64_t tokens, std::int64_t bytes, Duration duration) {
  Sequence* sequence = Find(key);
  if (sequence == nullptr || sequence->stand != Stand::kComes) return;
  counts_.bytes_in += bytes;
  Blend(rates_.swap_in_bytes_per_second, bytes, duration);
  Blend(rates_.prompt_tokens_per_second, tokens, duration);
  sequence->stand = Stand::kRuns;
  slots_.Release(sequence->slots);
  sequence->slots.clear();
  Arrange();
}

std::int64_t AnswerMemory::Wanted(const Sequence& sequence) const {
  return std::min(sequence.blocks_max, Blocks(sequence.positions) + options_.growth_blocks);
}

std::int64_t AnswerMemory::Frees(const Sequence& sequence) const {
  return std::ranges::count_if(sequence.blocks,
                               [&](BlockIndex block) { return pool_.References(block) == 1; });
}

void AnswerMemory::Arrange() {
  if (!GrowUrgent()) return;  // what comes free is spoken for
  ComeBack();
  GrowAhead();
}

/// Those that are about to stand still, oldest first; false where one still has to wait.
bool AnswerMemory::GrowUrgent() {
  leaving_ = 0;
  for (const auto& [place, sequence] : sequences_)
    leaving_ += sequence.stand == Stand::kLeaves ? Frees(sequence) : 0;
  std::int64_t claimed = 0;  // by older ones that wait
  for (auto& [place, sequence] : sequences_) {
    if (sequence.stand != Stand::kRuns) continue;
    const std::int64_t lacks = Urgent(sequence.positions, sequence.blocks_max) - std::ssize(sequence.blocks);
    if (lacks <= 0) continue;
    while (pool_.Counts().free + leaving_ - claimed < lacks && PreemptYoungerThan(place)) {
    }
    if (sequence.stand == Stand::kRuns && pool_.Counts().free - claimed >= lacks) {
      GrowBy(sequence, lacks);
    } else {
      claimed += lacks;
    }
  }
  return claimed == 0;
}

bool AnswerMemory::PreemptYoungerThan(const Place& place) {
  std::vector<VictimView> views;
  std::vector<Sequence*> candidates;
  for (auto at = sequences_.upper_bound(place); at != sequences_.end(); ++at) {
    Sequence& sequence = at->second;
    if (sequence.stand != Stand::kRuns || sequence.blocks.empty()) continue;
    const std::int64_t tokens = sequence.positions - 1;
    // One that only shares blocks frees them together with those that it shares them with.
    views.push_back({.arrival = std::ssize(views),
                     .tokens = tokens,
                     .swap_bytes = Blocks(tokens) * options_.block_bytes,
                     .swap_has_room = slots_.Counts().free >= std::ssize(sequence.blocks),
                     .frees_blocks = std::max<std::int64_t>(1, Frees(sequence))});
    candidates.push_back(&sequence);
  }
  const std::optional<Victim> victim = ChooseVictim(views, rates_, options_.forced);
  if (!victim) return false;
  Sequence& sequence = *candidates[victim->index];
  if (victim->plan.kind == Preemption::kSwap)
    sequence.slots = slots_.Allocate(std::ssize(sequence.blocks)).value();
  sequence.stand = Stand::kLeaves;
  leaving_ += Frees(sequence);
  mover_.Preempt(sequence.key, sequence.slots);
  return true;
}

/// Those that are out, oldest first, as long as those that run keep the block that each is going to need:
/// else they would be out again at once. Where nobody runs, the oldest fits.
void AnswerMemory::ComeBack() {
  for (auto& [place, sequence] : sequences_) {
    if (sequence.stand == Stand::kLeaves) return;  // an older one, first in the line
    if (sequence.stand != Stand::kOut) continue;
    const std::int64_t needed = Urgent(sequence.positions, sequence.blocks_max);
    const bool alone = std::ranges::none_of(sequences_, [](const auto& entry) {
      return entry.second.stand == Stand::kRuns || entry.second.stand == Stand::kComes;
    });
    const std::int64_t room = pool_.Counts().free - (alone ? 0 : GrowthToCome() + options_.growth_blocks);
    if (room < needed) return;
    sequence.blocks = pool_.Allocate(needed).value();
    sequence.stand = Stand::kComes;
    mover_.Resume(sequence.key, sequence.blocks, sequence.slots);
  }
}

/// While there is more than enough.
void AnswerMemory::GrowAhead() {
  for (auto& [place, sequence] : sequences_) {
    if (sequence.stand == Stand::kOut) return;  // what is left is kept for those that are out
    const std::int64_t lacks = Wanted(sequence) - std::ssize(sequence.blocks);
    if (sequence.stand != Stand::kRuns || lacks <= 0 || pool_.Counts().free < lacks) continue;
    GrowBy(sequence, lacks);
  }
}

void AnswerMemory::GrowBy(Sequence& sequence, std::int64_t blocks) {
  const BlockTable more = pool_.Allocate(blocks).value();
  sequence.blocks.insert(sequence.blocks.end(), more.begin(), more.end());
  mover_.Grow(sequence.key, more);
}

std::int64_t AnswerMemory::Available() const {
  if (!AllRun()) return 0;
  return std::max<std::int64_t>(0, std::min(pool_.Counts().free - GrowthToCome(), Unclaimed()));
}

AnswerMemoryCounts AnswerMemory::Counts() const {
  AnswerMemoryCounts counts = counts_;
  for (const auto& [place, sequence] : sequences_) {
    if (sequence.stand != Stand::kOut) continue;
    ++counts.preempted;
    counts.swapped_out += sequence.slots.empty() ? 0 : 1;
  }
  return counts;
}

}  // namespace baton::engine
