#include "router/policy/pools.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "common/base/random.h"

namespace baton::router {
namespace {

/// The same pools as lists that are scanned from head to tail: the first of the least.
class ScannedPools {
 public:
  struct Machine {
    MachineRole home;
    std::int64_t memory = 0;
    std::int64_t reserved = 0;
    std::int64_t tokens = 0;
    bool waiting = false;
    bool mixed = false;
  };

  void Add(MachineRole home, std::int64_t memory, std::int64_t used) {
    machines.push_back({home, memory, used});
    Home(home).push_back(machines.size() - 1);
  }
  MachinePair Place(const PlacedRequest& request) {
    std::size_t prompt = kNone;
    for (const auto* list : {&prompts, &mixed}) {
      if (list->empty() || prompt != kNone) continue;
      const std::size_t first = Least(*list, &Machine::tokens);
      const Machine& m = machines[first];
      if (!m.waiting || m.tokens + request.prompt_tokens <= 8192) prompt = first;
    }
    std::size_t token = kNone;
    const std::int64_t bytes = request.prompt_bytes + request.answer_bytes;
    for (const auto* list : {&tokens, &mixed}) {
      if (list->empty() || token != kNone) continue;
      const std::size_t first = Least(*list, &Machine::reserved);
      if (machines[first].reserved + bytes < machines[first].memory) token = first;
    }
    if (prompt == kNone && !tokens.empty()) Lend(tokens, prompt = Least(tokens, &Machine::tokens));
    if (token == kNone && !prompts.empty()) Lend(prompts, token = Least(prompts, &Machine::reserved));
    if (prompt == kNone || token == kNone) {
      std::vector<std::size_t> all = prompts;
      all.insert(all.end(), mixed.begin(), mixed.end());
      all.insert(all.end(), tokens.begin(), tokens.end());
      prompt = token = Least(all, &Machine::tokens);
    }
    machines[prompt].reserved += request.prompt_bytes;
    machines[token].reserved += request.answer_bytes + (prompt == token ? 0 : request.prompt_bytes);
    machines[prompt].tokens += request.prompt_tokens;
    machines[token].tokens += 1;
    return {static_cast<MachineIndex>(prompt), static_cast<MachineIndex>(token)};
  }
  void Idle(std::size_t machine) {
    if (!machines[machine].mixed) return;
    machines[machine].mixed = false;
    std::erase(mixed, machine);
    Home(machines[machine].home).push_back(machine);
  }

  std::vector<Machine> machines;
  std::vector<std::size_t> prompts, tokens, mixed;

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t>& Home(MachineRole home) { return home == MachineRole::kPrompt ? prompts : tokens; }
  std::size_t Least(const std::vector<std::size_t>& list, std::int64_t Machine::*value) const {
    return *std::min_element(list.begin(), list.end(), [&](std::size_t a, std::size_t b) {
      return machines[a].*value < machines[b].*value;
    });
  }
  void Lend(std::vector<std::size_t>& from, std::size_t machine) {
    std::erase(from, machine);
    mixed.push_back(machine);
    machines[machine].mixed = true;
  }
};

struct Placed {
  MachinePair pair;
  PlacedRequest request;
  bool prompt_done = false;
};

PlacedRequest Request(RandomStream& chance, std::uint64_t id) {
  PlacedRequest request;
  request.id = id;
  request.prompt_tokens = chance.Between(1, 8) * 512;  // few values: many ties
  request.prompt_bytes = request.prompt_tokens;
  request.answer_bytes = chance.Between(1, 4) * 100;
  return request;
}

const PoolOptions kReference{.back = PoolOptions::Return::kIdle};

}  // namespace

TEST_CASE("pools with indices decide as a scan through their lists does, ties included") {
  const auto seed = GENERATE(range<std::uint64_t>(1, 21));
  CAPTURE(seed);
  RandomStream chance(seed);
  const auto pools = MakePoolPlacer(kReference);
  ScannedPools scanned;
  const std::int64_t machines = chance.Between(2, 12);
  for (std::int64_t i = 0; i < machines; ++i) {
    const auto home =
        i == 0 || (i > 1 && chance.Between(0, 1) == 0) ? MachineRole::kPrompt : MachineRole::kToken;
    pools->Add(home, 20'000, 1000);
    scanned.Add(home, 20'000, 1000);
  }
  std::vector<Placed> running;
  std::size_t lent = 0;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    const std::int64_t what = chance.Between(0, 9);
    if (what < 5) {
      Placed placed{.pair = {}, .request = Request(chance, step)};
      placed.pair = pools->Place(placed.request, 0);
      REQUIRE(placed.pair == scanned.Place(placed.request));
      running.push_back(placed);
    } else if (what < 9 && !running.empty()) {
      const auto which = static_cast<std::size_t>(chance.Between(0, std::ssize(running) - 1));
      Placed& placed = running[which];
      const auto prompt = static_cast<std::size_t>(placed.pair.prompt);
      const auto token = static_cast<std::size_t>(placed.pair.token);
      if (!placed.prompt_done) {
        placed.prompt_done = true;
        pools->PromptDone(placed.pair.prompt, placed.request.prompt_tokens);
        scanned.machines[prompt].tokens -= placed.request.prompt_tokens;
        if (prompt != token) {
          pools->Release(placed.pair.prompt, placed.request.prompt_bytes);
          scanned.machines[prompt].reserved -= placed.request.prompt_bytes;
        }
      } else {
        pools->AnswerDone(placed.pair.token);
        scanned.machines[token].tokens -= 1;
        pools->Release(placed.pair.token, placed.request.prompt_bytes + placed.request.answer_bytes);
        scanned.machines[token].reserved -= placed.request.prompt_bytes + placed.request.answer_bytes;
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
      }
    } else {
      const auto machine = static_cast<std::size_t>(chance.Between(0, machines - 1));
      const bool waiting = chance.Between(0, 1) == 0;
      pools->SetWaiting(static_cast<MachineIndex>(machine), waiting);
      scanned.machines[machine].waiting = waiting;
      pools->Idle(static_cast<MachineIndex>(machine));
      scanned.Idle(machine);
    }
    lent += scanned.mixed.size();
  }
  CHECK(lent > 0);
  for (std::size_t i = 0; i < scanned.machines.size(); ++i) {
    const auto machine = static_cast<MachineIndex>(i);
    CHECK(pools->PendingTokens(machine) == scanned.machines[i].tokens);
    CHECK(pools->ReservedBytes(machine) == scanned.machines[i].reserved);
    CHECK((pools->PoolOf(machine) == PoolName::kMixed) == scanned.machines[i].mixed);
  }
}

TEST_CASE("the shortest queue is the first of the least, whatever joins, leaves or changes") {
  RandomStream chance(7);
  ShortestQueue queue;
  std::vector<std::pair<MachineIndex, std::int64_t>> list;
  for (int step = 0; step < 5000; ++step) {
    const auto machine = static_cast<MachineIndex>(chance.Between(0, 30));
    const auto at = std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.first == machine; });
    REQUIRE(queue.Contains(machine) == (at != list.end()));
    if (at == list.end()) {
      list.emplace_back(machine, chance.Between(0, 5));
      queue.Join(machine, list.back().second);
    } else if (chance.Between(0, 2) == 0) {
      queue.Leave(machine);
      list.erase(at);
    } else {
      at->second = chance.Between(0, 5);
      queue.Set(machine, at->second);
    }
    const auto least = std::min_element(list.begin(), list.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
    REQUIRE(queue.Size() == list.size());
    REQUIRE(queue.First() == (list.empty() ? kNoMachine : least->first));
  }
}

TEST_CASE("a long prompt queue borrows a token machine, which takes both phases until it is idle") {
  const auto pools = MakePoolPlacer(kReference);
  pools->Add(MachineRole::kPrompt, 100'000, 0);
  pools->Add(MachineRole::kToken, 100'000, 0);
  const PlacedRequest request{.id = 0, .prompt_tokens = 5000, .prompt_bytes = 10, .answer_bytes = 5};
  REQUIRE(pools->Place(request, 0) == MachinePair{0, 1});
  pools->SetWaiting(0, true);

  CHECK(pools->Place(request, 0) == MachinePair{1, 1});

  CHECK(pools->PoolOf(1) == PoolName::kMixed);
  pools->PromptDone(1, 5000);
  CHECK(pools->PoolOf(1) == PoolName::kMixed);
  pools->Idle(1);
  CHECK(pools->PoolOf(1) == PoolName::kToken);
}

TEST_CASE("by the paper's rule a lent machine goes home once no task of the other kind is left") {
  const auto pools = MakePoolPlacer({});
  pools->Add(MachineRole::kPrompt, 100'000, 0);
  pools->Add(MachineRole::kToken, 100'000, 0);
  const PlacedRequest request{.id = 0, .prompt_tokens = 5000, .prompt_bytes = 10, .answer_bytes = 5};
  REQUIRE(pools->Place(request, 0) == MachinePair{0, 1});
  pools->SetWaiting(0, true);
  REQUIRE(pools->Place(request, 0) == MachinePair{1, 1});

  pools->PromptDone(1, 5000);

  CHECK(pools->PoolOf(1) == PoolName::kToken);  // its answers still run
}

TEST_CASE("full memory of the token machines borrows the prompt machine with most room") {
  const auto pools = MakePoolPlacer(kReference);
  pools->Add(MachineRole::kPrompt, 1000, 500);
  pools->Add(MachineRole::kPrompt, 1000, 100);
  pools->Add(MachineRole::kToken, 100, 50);

  const MachinePair pair =
      pools->Place({.id = 0, .prompt_tokens = 9, .prompt_bytes = 60, .answer_bytes = 40}, 0);

  CHECK(pair == MachinePair{0, 1});
  CHECK(pools->PoolOf(1) == PoolName::kMixed);
}

TEST_CASE("with nothing left to lend one machine takes both phases") {
  const auto pools = MakePoolPlacer(kReference);
  pools->Add(MachineRole::kPrompt, 100, 99);

  CHECK(pools->Place({.id = 0, .prompt_tokens = 9, .prompt_bytes = 60, .answer_bytes = 40}, 0) ==
        MachinePair{0, 0});
}

TEST_CASE("a machine that stays lent changes its home, unless its pool would be empty") {
  const auto pools = MakePoolPlacer({.back = PoolOptions::Return::kIdle, .repurpose_after_s = 60});
  pools->Add(MachineRole::kPrompt, 1000, 0);
  pools->Add(MachineRole::kToken, 1000, 0);
  pools->Add(MachineRole::kToken, 1000, 0);
  const PlacedRequest request{.id = 0, .prompt_tokens = 9000, .prompt_bytes = 1, .answer_bytes = 1};
  pools->SetWaiting(0, true);
  REQUIRE(pools->Place(request, 10).prompt == 1);
  REQUIRE(pools->PoolOf(1) == PoolName::kMixed);

  (void)pools->Place(request, 30);
  CHECK(pools->PoolOf(1) == PoolName::kMixed);
  pools->PromptDone(1, 9000);
  (void)pools->Place(request, 100);
  CHECK(pools->PoolOf(1) == PoolName::kPrompt);
}

TEST_CASE("the machine that has been lent longest changes its home, however busy it is") {
  const auto pools = MakePoolPlacer({.back = PoolOptions::Return::kIdle, .repurpose_after_s = 60});
  pools->Add(MachineRole::kPrompt, 1000, 0);
  for (int i = 0; i < 3; ++i) pools->Add(MachineRole::kToken, 1000, 0);
  const MachineIndex whole = pools->Add(MachineRole::kWhole, 1000, 0);
  const PlacedRequest request{.id = 0, .prompt_tokens = 9000, .prompt_bytes = 1, .answer_bytes = 1};
  for (const MachineIndex waits : {0, 1, 2, whole}) pools->SetWaiting(waits, true);
  REQUIRE(pools->Place(request, 10).prompt == 1);
  REQUIRE(pools->Place(request, 30).prompt == 2);
  pools->PromptDone(2, 9000);
  REQUIRE(pools->PoolOf(1) == PoolName::kMixed);
  REQUIRE(pools->PoolOf(2) == PoolName::kMixed);

  // The shortest queues of the mixed pool are the whole machine's and that of 2.
  (void)pools->Place(request, 75);
  CHECK(pools->PoolOf(1) == PoolName::kPrompt);
  CHECK(pools->PoolOf(2) == PoolName::kMixed);

  // One that was down is at home again, and no more lent.
  pools->SetUp(2, false);
  pools->SetUp(2, true);
  (void)pools->Place(request, 95);
  CHECK(pools->PoolOf(2) != PoolName::kPrompt);
}

TEST_CASE("chance places a request by its id alone") {
  const auto one = MakeWholePlacer(QueueRule::kRandom, 5);
  const auto other = MakeWholePlacer(QueueRule::kRandom, 5);
  for (int i = 0; i < 8; ++i) {
    one->Add(MachineRole::kWhole, 0, 0);
    other->Add(MachineRole::kWhole, 0, 0);
  }
  std::vector<MachinePair> pairs;
  for (std::uint64_t id = 0; id < 100; ++id) pairs.push_back(one->Place({.id = id}, 0));
  std::vector<int> used(8, 0);
  for (std::uint64_t id = 100; id-- > 0;) {
    CHECK(other->Place({.id = id}, 0) == pairs[id]);
    ++used[static_cast<std::size_t>(pairs[id].prompt)];
  }
  CHECK(*std::min_element(used.begin(), used.end()) > 0);
}

TEST_CASE("round robin skips a machine that is down and keeps its turn") {
  const auto placer = MakeWholePlacer(QueueRule::kRoundRobin, 0);
  for (int i = 0; i < 3; ++i) placer->Add(MachineRole::kWhole, 0, 0);
  CHECK(placer->Place({}, 0).prompt == 0);
  CHECK(placer->Place({}, 0).prompt == 1);
  placer->SetUp(0, false);
  CHECK(placer->Place({}, 0).prompt == 2);
  CHECK(placer->Place({}, 0).prompt == 1);
  placer->SetUp(1, false);
  placer->SetUp(2, false);
  CHECK(placer->Place({}, 0) == MachinePair{});
}

TEST_CASE("two lists are chosen from independently") {
  const auto placer = MakeSplitPlacer(QueueRule::kFewestTokens, 0);
  placer->Add(MachineRole::kPrompt, 0, 0);
  placer->Add(MachineRole::kPrompt, 0, 0);
  placer->Add(MachineRole::kToken, 0, 0);
  CHECK(placer->Place({.id = 0, .prompt_tokens = 10}, 0) == MachinePair{0, 2});
  CHECK(placer->Place({.id = 1, .prompt_tokens = 5}, 0) == MachinePair{1, 2});
  CHECK(placer->Place({.id = 2, .prompt_tokens = 5}, 0) == MachinePair{1, 2});
  placer->PromptDone(0, 10);
  CHECK(placer->Place({.id = 3, .prompt_tokens = 5}, 0) == MachinePair{0, 2});
}

TEST_CASE("an answer that moves takes its load and its memory along") {
  const auto pools = MakePoolPlacer({});
  pools->Add(MachineRole::kPrompt, 1000, 0);
  pools->Add(MachineRole::kToken, 1000, 0);
  pools->Add(MachineRole::kToken, 1000, 500);
  REQUIRE(pools->Place({.id = 0, .prompt_tokens = 9, .prompt_bytes = 60, .answer_bytes = 40}, 0) ==
          MachinePair{0, 1});

  pools->AnswerMoved(1, 2, 100);

  CHECK(pools->PendingTokens(1) == 0);
  CHECK(pools->ReservedBytes(1) == 0);
  CHECK(pools->PendingTokens(2) == 1);
  CHECK(pools->ReservedBytes(2) == 600);
}

TEST_CASE("a policy has a name") {
  for (const char* name : {"random", "round-robin", "jsq", "token-jsq", "split-jsq", "mixed-pool"}) {
    CHECK(MakePlacer(name, 0, {}) != nullptr);
  }
  CHECK(MakePlacer("fastest", 0, {}) == nullptr);
}

}  // namespace baton::router
