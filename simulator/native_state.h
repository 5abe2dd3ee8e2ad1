#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "engine/schedule/batch_planner.h"
#include "router/policy/packing.h"
#include "router/policy/pools.h"

/// What the world of kNative keeps of requests and machines.
namespace baton::simulator::native {

using router::MachineIndex;

/// Of the KV from the prompt's machine to the answer's.
enum class Hop : std::uint8_t { kNone, kWaiting, kGranted, kFlowing, kFlowed, kArrived };

/// A request's present attempt. `prompt` holds the answer so far as well, where an attempt begins again.
struct Request {
  std::int64_t prompt = 0;
  std::int64_t left = 0;  // tokens to make
  std::int64_t made = 0;
  MachineIndex prompt_machine = router::kNoMachine;
  MachineIndex token_machine = router::kNoMachine;
  std::int64_t prompt_bytes = 0;  // reserved with the placer
  std::int64_t answer_bytes = 0;
  std::int64_t placed_tokens = 0;  // of the prompt, as it was placed
  bool queued = false;             // its prompt counts on its machine
  bool coming = false;             // its answer counts on its machine before it is there
  bool active = false;
  bool prompt_done = false;
  Hop hop = Hop::kNone;
  double prompt_end_s = 0;
  std::int64_t granted_blocks = 0;  // on the token machine, before it is there
  std::uint32_t version = 0;        // of events about it
  MachineIndex moves_to = router::kNoMachine;
  bool move_ready = false;
};

/// A sequence that holds blocks of a machine.
struct Sequence {
  std::uint32_t request = 0;
  std::int64_t prompt_left = 0;
  std::int64_t tokens = 0;  // positions whose KV is there
  std::int64_t blocks = 0;  // its own
  std::int64_t shared = 0;  // tokens in blocks of a prefix
  std::uint64_t prefix = 0;
  bool keeps_place = false;
  bool fresh = true;  // has made no decode step here
  bool dead = false;  // leaves when the step ends
};

/// The full blocks of prefixes that a machine has computed; those that nobody uses give way, oldest first.
class PrefixStore {
 public:
  struct Entry {
    std::int64_t blocks = 0;
    std::int64_t users = 0;
    std::list<std::uint64_t>::iterator age;
  };

  [[nodiscard]] std::int64_t Held(std::uint64_t prefix) const {
    const auto at = entries_.find(prefix);
    return at == entries_.end() ? 0 : at->second.blocks;
  }
  /// Counts another user, and makes it the youngest.
  void Use(std::uint64_t prefix) {
    Entry& entry = entries_.at(prefix);
    if (entry.users++ == 0) idle_blocks_ -= entry.blocks;
    ages_.splice(ages_.end(), ages_, entry.age);
  }
  void Leave(std::uint64_t prefix) {
    Entry& entry = entries_.at(prefix);
    if (--entry.users == 0) idle_blocks_ += entry.blocks;
  }
  void Keep(std::uint64_t prefix, std::int64_t blocks) {
    entries_[prefix] = {blocks, 1, ages_.insert(ages_.end(), prefix)};
  }
  [[nodiscard]] std::int64_t IdleBlocks() const { return idle_blocks_; }
  /// Gives up idle prefixes until `blocks` are free; returns how many that made.
  std::int64_t Evict(std::int64_t blocks) {
    std::int64_t freed = 0;
    for (auto at = ages_.begin(); at != ages_.end() && freed < blocks;) {
      const auto entry = entries_.find(*at);
      if (entry->second.users > 0) {
        ++at;
        continue;
      }
      freed += entry->second.blocks;
      idle_blocks_ -= entry->second.blocks;
      entries_.erase(entry);
      at = ages_.erase(at);
    }
    return freed;
  }
  void Clear() {
    entries_.clear();
    ages_.clear();
    idle_blocks_ = 0;
  }

 private:
  absl::flat_hash_map<std::uint64_t, Entry> entries_;
  std::list<std::uint64_t> ages_;
  std::int64_t idle_blocks_ = 0;
};

struct Machine {
  std::vector<Sequence> running;      // in order of arrival
  std::deque<std::uint32_t> waiting;  // for memory, in order of arrival
  std::vector<Sequence> joining;      // here, from the next step on
  std::vector<Sequence> sending;      // whole prompts whose KV is on its way
  std::deque<std::uint32_t> grants;   // requests whose KV wants to come here
  PrefixStore prefixes;
  std::int64_t blocks = 0;
  std::int64_t free_blocks = 0;
  std::int64_t queued_tokens = 0;  // of prompts that are placed here and not whole
  std::int64_t coming = 0;         // answers that are placed here and not here yet
  std::int64_t coming_tokens = 0;
  bool up = true;
  bool draining = false;

  router::PowerState power = router::PowerState::kAwake;
  bool takes_early = false;  // requests are placed here before it is awake
  bool idle = false;         // since idle_since_s
  double idle_since_s = 0;
  double parked_at_s = 0;           // where it is parked
  double parked_s = 0;              // until then
  double awake_at_s = 0;            // where it is waking
  std::uint32_t power_version = 0;  // of events about its power

  bool busy = false;
  bool decode_run = false;  // several equal steps of decodes alone
  bool paused = false;
  engine::BatchPlan plan;  // of the step, where it is no run of decodes
  std::int64_t decodes = 0;
  std::int64_t steps = 0;
  double step_s = 0;
  double start_s = 0;
  double last_step_s = 0;  // of a decode run, for freeness
  double watts = 0;
  std::uint32_t version = 0;

  void Insert(const Sequence& sequence) {
    const auto later = [](std::uint32_t id, const Sequence& other) { return id < other.request; };
    running.insert(std::upper_bound(running.begin(), running.end(), sequence.request, later), sequence);
  }
  [[nodiscard]] bool Awake() const { return power == router::PowerState::kAwake; }
  /// Whether requests may be placed here.
  [[nodiscard]] bool Takes() const { return up && !draining && (Awake() || takes_early); }
  /// Until it is awake, of a machine that takes requests.
  [[nodiscard]] double WakesInS(double now_s) const {
    return Awake() ? 0 : std::max(0.0, awake_at_s - now_s);
  }
  /// Nothing runs, waits, or is on its way here.
  [[nodiscard]] bool HasNothing() const {
    return !busy && running.empty() && waiting.empty() && joining.empty() && sending.empty() &&
           grants.empty() && queued_tokens == 0 && coming == 0 && Available() == blocks;
  }
  [[nodiscard]] std::int64_t Available() const { return free_blocks + prefixes.IdleBlocks(); }
  /// `blocks` are available.
  void Take(std::int64_t count) {
    if (count > free_blocks) free_blocks += prefixes.Evict(count - free_blocks);
    free_blocks -= count;
  }
};

}  // namespace baton::simulator::native
