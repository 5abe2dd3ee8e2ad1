#include "router/policy/pools.h"

#include <algorithm>
#include <array>

#include "common/base/check.h"
#include "common/base/random.h"

namespace baton::router {
namespace {

std::size_t At(MachineIndex machine) {
  return static_cast<std::size_t>(machine);
}

/// A list under one rule.
class RuledQueue {
 public:
  RuledQueue(QueueRule rule, std::uint64_t seed) : rule_(rule), seed_(seed) {}

  void Join(MachineIndex machine) {
    if (Ordered()) {
      queue_.Join(machine, Load(machine));
    } else {
      list_.push_back(machine);
    }
  }
  void Leave(MachineIndex machine) {
    if (Ordered()) {
      queue_.Leave(machine);
      return;
    }
    const auto at = std::find(list_.begin(), list_.end(), machine);
    if (static_cast<std::size_t>(at - list_.begin()) < turn_) --turn_;
    list_.erase(at);
  }
  MachineIndex Choose(std::uint64_t id) {
    if (Ordered()) return queue_.First();
    if (list_.empty()) return kNoMachine;
    if (rule_ == QueueRule::kRandom) return list_[CounterBits(seed_, id) % list_.size()];
    if (turn_ >= list_.size()) turn_ = 0;
    return list_[turn_++];
  }
  void AddTokens(MachineIndex machine, std::int64_t tokens) {
    if (rule_ == QueueRule::kFewestTokens) Change(machine, tokens);
  }
  void AddRequests(MachineIndex machine, std::int64_t requests) {
    if (rule_ == QueueRule::kFewestRequests) Change(machine, requests);
  }
  /// The last token and the request itself.
  void EndAnswer(MachineIndex machine) {
    AddTokens(machine, -1);
    AddRequests(machine, -1);
  }
  void MoveAnswer(MachineIndex from, MachineIndex to) {
    EndAnswer(from);
    AddTokens(to, 1);
    AddRequests(to, 1);
  }

 private:
  bool Ordered() const { return rule_ == QueueRule::kFewestRequests || rule_ == QueueRule::kFewestTokens; }
  std::int64_t& Load(MachineIndex machine) {
    if (At(machine) >= loads_.size()) loads_.resize(At(machine) + 1, 0);
    return loads_[At(machine)];
  }
  void Change(MachineIndex machine, std::int64_t by) {
    std::int64_t& load = Load(machine);
    load += by;
    if (queue_.Contains(machine)) queue_.Set(machine, load);
  }

  const QueueRule rule_;
  const std::uint64_t seed_;
  ShortestQueue queue_;
  std::vector<MachineIndex> list_;
  std::vector<std::int64_t> loads_;
  std::size_t turn_ = 0;
};

class WholePlacer final : public Placer {
 public:
  WholePlacer(QueueRule rule, std::uint64_t seed) : queue_(rule, seed) {}

  MachineIndex Add(MachineRole, std::int64_t, std::int64_t) override {
    up_.push_back(true);
    const auto machine = static_cast<MachineIndex>(up_.size() - 1);
    queue_.Join(machine);
    return machine;
  }
  MachinePair Place(const PlacedRequest& request, double) override {
    const MachineIndex machine = queue_.Choose(request.id);
    if (machine == kNoMachine) return {};
    queue_.AddTokens(machine, request.prompt_tokens + 1);
    queue_.AddRequests(machine, 1);
    return {machine, machine};
  }
  void PromptDone(MachineIndex machine, std::int64_t prompt_tokens) override {
    queue_.AddTokens(machine, -prompt_tokens);
  }
  void AnswerArrived(MachineIndex) override {}
  void AnswerDone(MachineIndex machine) override { queue_.EndAnswer(machine); }
  void AnswerMoved(MachineIndex from, MachineIndex to, std::int64_t) override { queue_.MoveAnswer(from, to); }
  void Release(MachineIndex, std::int64_t) override {}
  void SetWaiting(MachineIndex, bool) override {}
  void Idle(MachineIndex) override {}
  void SetUp(MachineIndex machine, bool up) override {
    if (up_[At(machine)] == up) return;
    up_[At(machine)] = up;
    up ? queue_.Join(machine) : queue_.Leave(machine);
  }

 private:
  RuledQueue queue_;
  std::vector<bool> up_;
};

class SplitPlacer final : public Placer {
 public:
  SplitPlacer(QueueRule rule, std::uint64_t seed) : prompts_(rule, seed), tokens_(rule, Mix64(seed)) {}

  MachineIndex Add(MachineRole role, std::int64_t, std::int64_t) override {
    machines_.push_back({role, true});
    const auto machine = static_cast<MachineIndex>(machines_.size() - 1);
    Lists(machine, true);
    return machine;
  }
  MachinePair Place(const PlacedRequest& request, double) override {
    const MachinePair pair{prompts_.Choose(request.id), tokens_.Choose(request.id)};
    if (pair.prompt == kNoMachine || pair.token == kNoMachine) return {};
    prompts_.AddTokens(pair.prompt, request.prompt_tokens);
    prompts_.AddRequests(pair.prompt, 1);
    tokens_.AddTokens(pair.token, 1);
    return pair;
  }
  void PromptDone(MachineIndex machine, std::int64_t prompt_tokens) override {
    prompts_.AddTokens(machine, -prompt_tokens);
    prompts_.AddRequests(machine, -1);
  }
  void AnswerArrived(MachineIndex machine) override { tokens_.AddRequests(machine, 1); }
  void AnswerDone(MachineIndex machine) override { tokens_.EndAnswer(machine); }
  void AnswerMoved(MachineIndex from, MachineIndex to, std::int64_t) override {
    tokens_.MoveAnswer(from, to);
  }
  void Release(MachineIndex, std::int64_t) override {}
  void SetWaiting(MachineIndex, bool) override {}
  void Idle(MachineIndex) override {}
  void SetUp(MachineIndex machine, bool up) override {
    if (machines_[At(machine)].up == up) return;
    machines_[At(machine)].up = up;
    Lists(machine, up);
  }

 private:
  struct Machine {
    MachineRole role;
    bool up;
  };
  void Lists(MachineIndex machine, bool join) {
    const MachineRole role = machines_[At(machine)].role;
    if (role != MachineRole::kToken) join ? prompts_.Join(machine) : prompts_.Leave(machine);
    if (role != MachineRole::kPrompt) join ? tokens_.Join(machine) : tokens_.Leave(machine);
  }

  RuledQueue prompts_;
  RuledQueue tokens_;
  std::vector<Machine> machines_;
};

class Pools final : public PoolPlacer {
 public:
  explicit Pools(const PoolOptions& options) : options_(options) {}

  MachineIndex Add(MachineRole role, std::int64_t memory_bytes, std::int64_t used_bytes) override {
    Machine machine;
    machine.role = role;
    machine.pool = Home(role);
    machine.memory = memory_bytes;
    machine.reserved = used_bytes;
    machines_.push_back(machine);
    const auto index = static_cast<MachineIndex>(machines_.size() - 1);
    Join(index, machine.pool);
    return index;
  }

  MachinePair Place(const PlacedRequest& request, double now_s) override {
    if (options_.repurpose_after_s > 0) Repurpose(now_s);
    MachinePair pair{FindPrompt(request), FindToken(request)};
    if (pair.prompt == kNoMachine && !Of(PoolName::kToken).tokens.Empty()) {
      pair.prompt = Of(PoolName::kToken).tokens.First();
      Lend(pair.prompt, now_s);
    }
    if (pair.token == kNoMachine && !Of(PoolName::kPrompt).memory.Empty()) {
      pair.token = Of(PoolName::kPrompt).memory.First();
      Lend(pair.token, now_s);
    }
    if (pair.prompt == kNoMachine || pair.token == kNoMachine) {
      pair.prompt = ShortestOfAll();
      pair.token = pair.prompt;
      if (pair.prompt == kNoMachine) return {};
    }
    AddBytes(pair.prompt, request.prompt_bytes);
    AddBytes(pair.token, request.answer_bytes + (pair.prompt == pair.token ? 0 : request.prompt_bytes));
    AddTokens(pair.prompt, request.prompt_tokens);
    AddTokens(pair.token, 1);
    ++machines_[At(pair.prompt)].prompts;
    ++machines_[At(pair.token)].answers;
    return pair;
  }

  void PromptDone(MachineIndex machine, std::int64_t prompt_tokens) override {
    AddTokens(machine, -prompt_tokens);
    --machines_[At(machine)].prompts;
    ReturnIfDone(machine);
  }
  void AnswerArrived(MachineIndex) override {}
  void AnswerDone(MachineIndex machine) override {
    AddTokens(machine, -1);
    --machines_[At(machine)].answers;
    ReturnIfDone(machine);
  }
  void AnswerMoved(MachineIndex from, MachineIndex to, std::int64_t bytes) override {
    AddTokens(to, 1);
    ++machines_[At(to)].answers;
    AddBytes(to, bytes);
    AddBytes(from, -bytes);
    AnswerDone(from);
  }
  void Release(MachineIndex machine, std::int64_t bytes) override { AddBytes(machine, -bytes); }
  void SetWaiting(MachineIndex machine, bool waiting) override { machines_[At(machine)].waiting = waiting; }
  void Idle(MachineIndex machine) override {
    if (options_.back == PoolOptions::Return::kIdle) GoHome(machine);
  }
  void SetUp(MachineIndex machine, bool up) override {
    Machine& m = machines_[At(machine)];
    if (m.up == up) return;
    m.up = up;
    if (up) {
      m.pool = Home(m.role);
      Join(machine, m.pool);
    } else {
      LeaveLists(machine);
    }
  }

  PoolName PoolOf(MachineIndex machine) const override { return machines_[At(machine)].pool; }
  std::int64_t PendingTokens(MachineIndex machine) const override { return machines_[At(machine)].tokens; }
  std::int64_t ReservedBytes(MachineIndex machine) const override { return machines_[At(machine)].reserved; }

 private:
  struct Machine {
    MachineRole role = MachineRole::kPrompt;
    PoolName pool = PoolName::kPrompt;
    bool up = true;
    bool waiting = false;
    std::int64_t memory = 0;
    std::int64_t reserved = 0;
    std::int64_t tokens = 0;
    std::int64_t prompts = 0;
    std::int64_t answers = 0;
    double lent_at_s = 0;
  };
  /// A pool is one list with two orders.
  struct Pool {
    ShortestQueue tokens;
    ShortestQueue memory;
  };

  static PoolName Home(MachineRole role) {
    if (role == MachineRole::kWhole) return PoolName::kMixed;
    return role == MachineRole::kPrompt ? PoolName::kPrompt : PoolName::kToken;
  }
  Pool& Of(PoolName name) { return pools_[static_cast<std::size_t>(name)]; }
  /// Machines whose home is the prompt or the token pool and that are in the mixed one, in order of lending.
  ShortestQueue& Lent(MachineRole home) { return lent_[static_cast<std::size_t>(home)]; }

  void Join(MachineIndex machine, PoolName pool) {
    Machine& m = machines_[At(machine)];
    m.pool = pool;
    Of(pool).tokens.Join(machine, m.tokens);
    Of(pool).memory.Join(machine, m.reserved);
  }
  void LeaveLists(MachineIndex machine) {
    const Machine& m = machines_[At(machine)];
    Of(m.pool).tokens.Leave(machine);
    Of(m.pool).memory.Leave(machine);
    if (Lent(m.role).Contains(machine)) Lent(m.role).Leave(machine);
  }
  void Lend(MachineIndex machine, double now_s) {
    LeaveLists(machine);
    Join(machine, PoolName::kMixed);
    machines_[At(machine)].lent_at_s = now_s;
    Lent(machines_[At(machine)].role).Join(machine, 0);
  }
  void GoHome(MachineIndex machine) {
    const Machine& m = machines_[At(machine)];
    if (!m.up || m.pool != PoolName::kMixed || m.role == MachineRole::kWhole) return;
    LeaveLists(machine);
    Join(machine, Home(m.role));
  }
  void ReturnIfDone(MachineIndex machine) {
    if (options_.back != PoolOptions::Return::kNoOppositeWork) return;
    const Machine& m = machines_[At(machine)];
    if ((m.role == MachineRole::kPrompt ? m.answers : m.prompts) == 0) GoHome(machine);
  }
  /// The one that has been lent longest. One at a time: a pool that gives a machine away has another look
  /// before it gives the next.
  void Repurpose(double now_s) {
    MachineIndex longest = kNoMachine;
    for (const MachineRole role : {MachineRole::kPrompt, MachineRole::kToken}) {
      const MachineIndex machine = Lent(role).First();
      if (machine == kNoMachine) continue;
      const double lent_at_s = machines_[At(machine)].lent_at_s;
      if (now_s - lent_at_s < options_.repurpose_after_s || HomesLeft(role) <= 1) continue;
      if (longest == kNoMachine || lent_at_s < machines_[At(longest)].lent_at_s) longest = machine;
    }
    if (longest == kNoMachine) return;
    LeaveLists(longest);
    MachineRole& role = machines_[At(longest)].role;
    role = role == MachineRole::kPrompt ? MachineRole::kToken : MachineRole::kPrompt;
    Join(longest, Home(role));
  }
  std::int64_t HomesLeft(MachineRole role) const {
    std::int64_t count = 0;
    for (const Machine& m : machines_) count += m.up && m.role == role ? 1 : 0;
    return count;
  }

  void AddTokens(MachineIndex machine, std::int64_t by) {
    Machine& m = machines_[At(machine)];
    m.tokens += by;
    if (m.up) Of(m.pool).tokens.Set(machine, m.tokens);
  }
  void AddBytes(MachineIndex machine, std::int64_t by) {
    Machine& m = machines_[At(machine)];
    m.reserved += by;
    if (m.up) Of(m.pool).memory.Set(machine, m.reserved);
  }

  MachineIndex FindPrompt(const PlacedRequest& request) {
    for (const PoolName name : {PoolName::kPrompt, PoolName::kMixed}) {
      const MachineIndex machine = Of(name).tokens.First();
      if (machine == kNoMachine) continue;
      const Machine& m = machines_[At(machine)];
      if (!m.waiting || m.tokens + request.prompt_tokens <= options_.queue_tokens_max) return machine;
    }
    return kNoMachine;
  }
  MachineIndex FindToken(const PlacedRequest& request) {
    for (const PoolName name : {PoolName::kToken, PoolName::kMixed}) {
      const MachineIndex machine = Of(name).memory.First();
      if (machine == kNoMachine) continue;
      const Machine& m = machines_[At(machine)];
      if (m.reserved + request.prompt_bytes + request.answer_bytes < m.memory) return machine;
    }
    return kNoMachine;
  }
  /// As in a list of the prompt machines, then the mixed ones, then the token machines.
  MachineIndex ShortestOfAll() {
    MachineIndex best = kNoMachine;
    for (const PoolName name : {PoolName::kPrompt, PoolName::kMixed, PoolName::kToken}) {
      const MachineIndex machine = Of(name).tokens.First();
      if (machine == kNoMachine) continue;
      if (best == kNoMachine || machines_[At(machine)].tokens < machines_[At(best)].tokens) best = machine;
    }
    return best;
  }

  const PoolOptions options_;
  std::vector<Machine> machines_;
  std::array<Pool, 3> pools_;
  std::array<ShortestQueue, 3> lent_;  // all values are 0: the first has been there longest
};

}  // namespace

void ShortestQueue::Join(MachineIndex machine, std::int64_t value) {
  if (At(machine) >= place_.size()) place_.resize(At(machine) + 1, -1);
  BATON_CHECK(place_[At(machine)] < 0, "machine {} is in the list", machine);
  heap_.push_back({value, joined_++, machine});
  place_[At(machine)] = static_cast<std::int32_t>(heap_.size() - 1);
  Up(heap_.size() - 1);
}

void ShortestQueue::Leave(MachineIndex machine) {
  BATON_CHECK(Contains(machine), "machine {} is not in the list", machine);
  const auto at = static_cast<std::size_t>(place_[At(machine)]);
  place_[At(machine)] = -1;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (last.machine == machine) return;
  Put(at, last);
  Up(at);
  Down(static_cast<std::size_t>(place_[At(last.machine)]));
}

void ShortestQueue::Set(MachineIndex machine, std::int64_t value) {
  const auto at = static_cast<std::size_t>(place_[At(machine)]);
  const bool less = value < heap_[at].value;
  heap_[at].value = value;
  less ? Up(at) : Down(at);
}

void ShortestQueue::Put(std::size_t at, const Entry& entry) {
  heap_[at] = entry;
  place_[At(entry.machine)] = static_cast<std::int32_t>(at);
}

void ShortestQueue::Up(std::size_t at) {
  const Entry entry = heap_[at];
  while (at > 0 && Before(entry, heap_[(at - 1) / 2])) {
    Put(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  Put(at, entry);
}

void ShortestQueue::Down(std::size_t at) {
  const Entry entry = heap_[at];
  while (true) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Before(heap_[child + 1], heap_[child])) ++child;
    if (!Before(heap_[child], entry)) break;
    Put(at, heap_[child]);
    at = child;
  }
  Put(at, entry);
}

std::unique_ptr<Placer> MakeWholePlacer(QueueRule rule, std::uint64_t seed) {
  return std::make_unique<WholePlacer>(rule, seed);
}

std::unique_ptr<Placer> MakeSplitPlacer(QueueRule rule, std::uint64_t seed) {
  return std::make_unique<SplitPlacer>(rule, seed);
}

std::unique_ptr<PoolPlacer> MakePoolPlacer(const PoolOptions& options) {
  return std::make_unique<Pools>(options);
}

std::unique_ptr<Placer> MakePlacer(std::string_view policy, std::uint64_t seed, const PoolOptions& options) {
  if (policy == "mixed-pool") return MakePoolPlacer(options);
  const bool split = policy.starts_with("split-");
  if (split) policy.remove_prefix(6);
  QueueRule rule;
  if (policy == "random") {
    rule = QueueRule::kRandom;
  } else if (policy == "round-robin") {
    rule = QueueRule::kRoundRobin;
  } else if (policy == "jsq") {
    rule = QueueRule::kFewestRequests;
  } else if (policy == "token-jsq") {
    rule = QueueRule::kFewestTokens;
  } else {
    return nullptr;
  }
  return split ? MakeSplitPlacer(rule, seed) : MakeWholePlacer(rule, seed);
}

}  // namespace baton::router
