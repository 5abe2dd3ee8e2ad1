#include "engine/kv/answer_memory.h"

#include <deque>
#include <functional>
#include <variant>

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "engine/kv/kv_arena.h"

namespace baton::engine {
namespace {

RequestKey Key(std::uint64_t id) {
  return {RequestId(id), Attempt(1)};
}

/// Keeps what the memory asks for.
struct Recorder : SequenceMover {
  void Grow(SequenceKey key, BlockTable more) override { grown.emplace_back(key, std::move(more)); }
  void Preempt(SequenceKey key, BlockTable slots) override { preempted.emplace_back(key, std::move(slots)); }
  void Resume(SequenceKey key, BlockTable blocks, BlockTable) override {
    resumed.emplace_back(key, std::move(blocks));
  }
  std::vector<std::pair<SequenceKey, BlockTable>> grown, preempted, resumed;
};

struct Bench {
  explicit Bench(std::int64_t blocks, const AnswerMemoryOptions& options = {})
      : pool(blocks), memory(pool, mover, options) {}

  /// A request of one answer whose prompt has come.
  void Run(std::uint64_t id, std::int64_t prompt, std::int64_t max_tokens) {
    REQUIRE(memory.Reserve(Key(id), {.prompt_tokens = prompt, .max_tokens = max_tokens}).has_value());
    REQUIRE(memory.Begin(Key(id), std::vector<std::int32_t>{0}).size() == 1);
    memory.Arrange();
  }
  void Tokens(std::uint64_t id, int count) {
    for (int i = 0; i < count; ++i) memory.OnToken({Key(id)});
  }

  BlockPool pool;
  Recorder mover;
  AnswerMemory memory;
};

TEST_CASE("a reservation takes the prompt and its first growth, and an answer grows block by block") {
  Bench bench(20);

  const auto prompt = bench.memory.Reserve(Key(1), {.prompt_tokens = 40, .max_tokens = 200});
  REQUIRE(prompt.has_value());
  CHECK(prompt->size() == 3);
  CHECK(bench.pool.Counts().used == 4);
  const auto starts = bench.memory.Begin(Key(1), std::vector<std::int32_t>{0});
  bench.memory.Arrange();
  CHECK(starts.at(0).blocks.size() == 4);
  CHECK_FALSE(starts.at(0).copy.has_value());

  bench.Tokens(1, 7);  // 48 positions
  CHECK(bench.mover.grown.empty());
  bench.Tokens(1, 1);
  REQUIRE(bench.mover.grown.size() == 1);
  CHECK(bench.mover.grown[0].second.size() == 1);
  bench.Tokens(1, 300);
  CHECK(bench.pool.Counts().used == 15);  // of 240 positions at most
  bench.memory.OnEnded({Key(1)});
  CHECK(bench.pool.Counts().free == 20);
}

TEST_CASE("an answer that has moved here keeps blocks for what has come and its growth, of whatever size") {
  const std::int64_t block_tokens = GENERATE(16, 64);
  Bench bench(40, {.block_tokens = block_tokens});
  // 640 positions are reserved, of which 300 come.
  REQUIRE(bench.memory.Reserve(Key(1), {.prompt_tokens = 640, .max_tokens = 0}).has_value());

  const BlockTable blocks = bench.memory.BeginMoved(Key(1), 300);
  CHECK(std::ssize(blocks) == BlocksFor(301, block_tokens) + 1);
  CHECK(bench.pool.Counts().used == std::ssize(blocks));
}

TEST_CASE("several answers share the prompt's full blocks, and all but one have a copy of the last") {
  Bench bench(30);

  REQUIRE(bench.memory.Reserve(Key(1), {.prompt_tokens = 40, .max_tokens = 50, .samples = 4}).has_value());
  // 3 of the prompt and a growth; each further answer a copy and a growth.
  CHECK(bench.pool.Counts().used == 4 + 3 * 2);
  const auto starts = bench.memory.Begin(Key(1), std::vector<std::int32_t>{1, 3});
  bench.memory.Arrange();

  REQUIRE(starts.size() == 2);
  CHECK(bench.pool.Counts().used == 4 + 2);  // those that ended gave theirs back
  const BlockTable& first = starts[0].blocks;
  const BlockTable& second = starts[1].blocks;
  CHECK(starts[0].sample == 1);
  CHECK(starts[1].sample == 3);
  CHECK(BlockTable(first.begin(), first.begin() + 2) == BlockTable(second.begin(), second.begin() + 2));
  CHECK(first[2] != second[2]);
  CHECK(starts[1].copy == std::pair(first[2], second[2]));
  CHECK(bench.pool.References(first[0]) == 2);
  bench.memory.OnEnded({Key(1), 1});
  CHECK(bench.pool.References(second[0]) == 1);
  bench.memory.OnEnded({Key(1), 3});
  CHECK(bench.pool.Counts().free == 30);
}

TEST_CASE("when memory ends the older takes from the younger, which comes back before anything new begins") {
  for (const Preemption kind : {Preemption::kSwap, Preemption::kRecompute}) {
    Bench bench(11, {.swap_slots = 10, .block_bytes = 100, .forced = kind});
    bench.Run(1, 30, 90);  // 3 blocks at first, 8 at last
    bench.Run(2, 30, 60);
    bench.Tokens(2, 48);  // 6 blocks

    CHECK(bench.memory.Available() > 0);
    bench.Tokens(1, 47);  // 78 positions of its 80
    CHECK(bench.mover.preempted.empty());
    bench.Tokens(1, 1);
    REQUIRE(bench.mover.preempted.size() == 1);
    CHECK(bench.mover.preempted[0].first == SequenceKey{Key(2)});
    CHECK((kind == Preemption::kSwap) == !bench.mover.preempted[0].second.empty());
    CHECK_FALSE(bench.memory.Reserve(Key(3), {.prompt_tokens = 1, .max_tokens = 1}).has_value());
    CHECK(bench.memory.Available() == 0);

    const auto grown = bench.mover.grown.size();
    bench.memory.OnPreempted({Key(2)}, 79, kind == Preemption::kSwap ? 200 : 0, Duration(1000));
    CHECK(bench.mover.grown.size() > grown);
    CHECK(bench.mover.resumed.empty());
    CHECK(bench.memory.Counts().preempted == 1);
    CHECK(bench.memory.Counts().swapped_out == (kind == Preemption::kSwap ? 1 : 0));
    CHECK((kind == Preemption::kSwap ? bench.memory.Counts().swaps : bench.memory.Counts().recomputations) ==
          1);
    bench.memory.OnEnded({Key(1)});
    REQUIRE(bench.mover.resumed.size() == 1);
    CHECK(bench.mover.resumed[0].second.size() == 6);
    bench.memory.OnResumed({Key(2)}, 79, kind == Preemption::kSwap ? 200 : 0, Duration(2000));

    CHECK(bench.memory.Counts().preempted == 0);
    CHECK(bench.memory.Available() > 0);
    CHECK(bench.memory.Counts().bytes_in == (kind == Preemption::kSwap ? 200 : 0));
    CHECK((kind == Preemption::kSwap ? bench.memory.Rates().swap_in_bytes_per_second
                                     : bench.memory.Rates().prompt_tokens_per_second) > 0);
    bench.memory.OnEnded({Key(2)});
    CHECK(bench.pool.Counts().free == 11);
  }
}

TEST_CASE("prompts that are received leave room for the longest sequence to run to its end") {
  Bench bench(10);
  bench.Run(1, 16, 96);  // 7 blocks at last
  const AnswerSize small{.prompt_tokens = 10, .max_tokens = 4};

  REQUIRE(bench.memory.Reserve(Key(2), small).has_value());
  REQUIRE(bench.memory.Reserve(Key(3), small).has_value());
  REQUIRE(bench.memory.Reserve(Key(4), small).has_value());
  CHECK(bench.memory.Available() == 0);
  CHECK_FALSE(bench.memory.Reserve(Key(5), small).has_value());

  bench.memory.Drop(Key(3));
  CHECK(bench.memory.Available() == 1);
  CHECK(bench.memory.Reserve(Key(5), small).has_value());
}

TEST_CASE("a request that would not fit alone is refused with its numbers; one that fits exactly is not") {
  const Bench bench(8);

  CHECK(bench.memory.CheckFits({.prompt_tokens = 100, .max_tokens = 28}).ok());
  const absl::Status refused = bench.memory.CheckFits({.prompt_tokens = 100, .max_tokens = 29});
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(refused.message() ==
        "a prompt of 100 tokens and answers of 29 need 9 KV blocks of 8 that this worker has");
  CHECK(bench.memory.CheckFits({.prompt_tokens = 100, .max_tokens = 28, .samples = 2}).ok());
  CHECK_FALSE(bench.memory.CheckFits({.prompt_tokens = 100, .max_tokens = 20, .samples = 3}).ok());
}

TEST_CASE("blocks of a failed reception stay out of use until they are dropped") {
  Bench bench(8);
  REQUIRE(bench.memory.Reserve(Key(1), {.prompt_tokens = 40, .max_tokens = 20}).has_value());

  bench.memory.Quarantine(Key(1));
  CHECK(bench.pool.Counts().quarantined == 4);
  bench.memory.Drop(Key(1));
  CHECK(bench.pool.Counts().free == 8);
}

/// A worker in virtual time: orders are obeyed some steps late, prompts come some steps after their
/// reservation, requests are cancelled and transfers fail by chance.
class World : public SequenceMover {
 public:
  World(std::uint64_t seed)
      : random_(seed),
        total_(random_.Between(2, 40)),
        batch_(random_.Between(1, 12)),
        pool_(total_),
        memory_(pool_, *this,
                {.growth_blocks = random_.Between(0, 3),
                 .swap_slots = random_.Between(0, 1) * random_.Between(0, 60),
                 .block_bytes = 1000,
                 .forced = Forced(random_),
                 .rates = {.swap_out_bytes_per_second = 1e6,
                           .swap_in_bytes_per_second = 1e6,
                           .prompt_tokens_per_second = static_cast<double>(random_.Between(1, 100000))}}),
        contents_(static_cast<std::size_t>(total_)) {}

  void Grow(SequenceKey key, BlockTable more) override {
    commands_.push_back([this, key, more = std::move(more)] {
      const auto at = running_.find(key);
      if (at != running_.end()) at->second.blocks.insert(at->second.blocks.end(), more.begin(), more.end());
    });
  }
  void Preempt(SequenceKey key, BlockTable slots) override {
    commands_.push_back([this, key, swaps = !slots.empty()] {
      const auto at = running_.find(key);
      if (at == running_.end()) return;
      Running left = std::move(at->second);
      running_.erase(at);
      for (std::int64_t i = 0; swaps && i < left.positions - 1; ++i)
        left.swapped.push_back(At(left.blocks, i));
      left.blocks.clear();
      out_[key] = left;
      ++preemptions;
      events_.push_back([this, key, left, swaps] {
        memory_.OnPreempted(key, left.positions, swaps ? 1 : 0, Duration(1000));
      });
    });
  }
  void Resume(SequenceKey key, BlockTable blocks, BlockTable slots) override {
    commands_.push_back([this, key, blocks = std::move(blocks), swaps = !slots.empty()] {
      const auto at = out_.find(key);
      if (at == out_.end()) return;
      Running back = std::move(at->second);
      out_.erase(at);
      back.blocks = blocks;
      for (std::int64_t i = 0; i < back.positions - 1; ++i) {
        RequireAlone(back.blocks, i);
        At(back.blocks, i) = swaps ? back.swapped[static_cast<std::size_t>(i)] : Content(key, back, i);
      }
      back.swapped.clear();
      running_[key] = back;
      events_.push_back([this, key, back, swaps] {
        memory_.OnResumed(key, swaps ? 0 : back.positions, swaps ? 1 : 0, Duration(1000));
      });
    });
  }

  /// Until everything has ended; the steps that it took.
  std::int64_t Run(std::int64_t requests) {
    std::int64_t step = 0;
    while (requests > 0 || !waiting_.empty() || !receiving_.empty() || !running_.empty() || !out_.empty() ||
           !commands_.empty() || !events_.empty()) {
      REQUIRE(++step < 200000);
      if (requests > 0 && random_.Between(0, 3) == 0) requests -= Arrive();
      Admit();
      Receive();
      if (random_.Between(0, 2) > 0) Drain(events_);
      if (random_.Between(0, 2) > 0) Drain(commands_);
      Step();
      if (random_.Between(0, 300) == 0) CancelOne();
    }
    return step;
  }
  void RequireNothingHeld() const {
    REQUIRE(pool_.Counts().free == total_);
    REQUIRE(memory_.Counts().preempted == 0);
    REQUIRE(memory_.Counts().swapped_out == 0);
  }
  int preemptions = 0;
  std::vector<std::uint64_t> begun;  // in order

 private:
  using Value = std::uint64_t;
  struct Running {
    std::int64_t prompt = 0;
    std::int64_t positions = 0;  // to have blocks for at the next step; all before the last are written
    std::int64_t tokens_left = 0;
    BlockTable blocks;
    std::vector<Value> swapped;
  };

  static std::optional<Preemption> Forced(RandomStream& random) {
    const std::int64_t choice = random.Between(0, 2);
    if (choice == 2) return std::nullopt;
    return choice == 1 ? Preemption::kSwap : Preemption::kRecompute;
  }
  static Value Content(SequenceKey key, const Running& of, std::int64_t position) {
    const bool prompt = position < of.prompt;
    return Mix64(key.request.request.value * 1000 + static_cast<std::uint64_t>(prompt ? 0 : key.sample + 1)) +
           static_cast<Value>(position);
  }
  Value& At(const BlockTable& blocks, std::int64_t position) {
    return contents_.at(blocks.at(static_cast<std::size_t>(position / kBlockTokens)).value)
        .at(static_cast<std::size_t>(position % kBlockTokens));
  }
  void RequireAlone(const BlockTable& blocks, std::int64_t position) {
    REQUIRE(pool_.References(blocks.at(static_cast<std::size_t>(position / kBlockTokens))) == 1);
  }
  static void Drain(std::deque<std::function<void()>>& queue) {
    for (std::size_t left = queue.size(); left > 0; --left) {
      const std::function<void()> first = std::move(queue.front());
      queue.pop_front();
      first();
    }
  }

  int Arrive() {
    const std::int64_t blocks = random_.Between(0, 3) == 0 ? total_ : std::min<std::int64_t>(total_, 6);
    const std::int64_t tokens = random_.Between(2, blocks * kBlockTokens);
    const std::int64_t prompt_max = random_.Between(0, 2) == 0 ? tokens - 1 : (tokens + 3) / 4;
    AnswerSize size{.prompt_tokens = random_.Between(1, prompt_max)};
    size.max_tokens = tokens - size.prompt_tokens;
    size.samples = random_.Between(0, 3) == 0 ? static_cast<std::int32_t>(random_.Between(1, 5)) : 1;
    if (!memory_.CheckFits(size).ok()) size.samples = 1;
    REQUIRE(memory_.CheckFits(size).ok());
    waiting_.emplace_back(++last_, size);
    return 1;
  }
  void Admit() {
    while (!waiting_.empty()) {
      const auto [id, size] = waiting_.front();
      const std::int64_t available = memory_.Available();
      const std::int64_t free = pool_.Counts().free;
      const auto prompt = memory_.Reserve(Key(id), size);
      if (!prompt) return;
      REQUIRE(available >= free - pool_.Counts().free);
      begun.push_back(id);
      waiting_.pop_front();
      receiving_[id] = size;
      for (std::int64_t i = 0; i < size.prompt_tokens; ++i)
        At(*prompt, i) = Content({Key(id)}, {.prompt = size.prompt_tokens}, i);
    }
  }
  void Receive() {
    for (auto at = receiving_.begin(); at != receiving_.end();) {
      const auto [id, size] = *at;
      if (random_.Between(0, 3) != 0) {
        ++at;
        continue;
      }
      at = receiving_.erase(at);
      if (random_.Between(0, 9) == 0) {
        if (random_.Between(0, 1) == 0) memory_.Quarantine(Key(id));
        memory_.Drop(Key(id));
      } else {
        Begin(id, size);
      }
    }
  }
  void Begin(std::uint64_t id, const AnswerSize& size) {
    std::vector<std::int32_t> samples;
    for (std::int32_t sample = 0; sample < size.samples; ++sample) {
      if (size.max_tokens > 1 && random_.Between(0, 9) != 0) samples.push_back(sample);
    }
    for (const AnswerStart& start : memory_.Begin(Key(id), samples)) {
      if (start.copy) contents_.at(start.copy->second.value) = contents_.at(start.copy->first.value);
      const std::int64_t longest = size.max_tokens - 1;
      running_[{Key(id), start.sample}] = {
          .prompt = size.prompt_tokens,
          .positions = size.prompt_tokens + 1,
          .tokens_left = random_.Between(0, 3) > 0 ? longest : random_.Between(1, longest),
          .blocks = start.blocks,
          .swapped = {}};
    }
    memory_.Arrange();
  }
  void Step() {
    std::int64_t room = batch_;
    for (auto at = running_.begin(); at != running_.end() && room > 0;) {
      const SequenceKey key = at->first;
      Running& one = at->second;
      const auto next = std::next(at);
      if (std::ssize(one.blocks) >= BlocksFor(one.positions, kBlockTokens)) {
        --room;
        RequireAlone(one.blocks, one.positions - 1);
        At(one.blocks, one.positions - 1) = Content(key, one, one.positions - 1);
        const std::int64_t looked_at = random_.Between(0, one.positions - 1);
        REQUIRE(At(one.blocks, looked_at) == Content(key, one, looked_at));
        ++one.positions;
        if (--one.tokens_left == 0) {
          running_.erase(at);
          events_.push_back([this, key] { memory_.OnEnded(key); });
        } else {
          events_.push_back([this, key] { memory_.OnToken(key); });
        }
      }
      at = next;
    }
  }
  void CancelOne() {
    for (auto* sequences : {&running_, &out_}) {
      if (sequences->empty()) continue;
      const auto at = std::next(sequences->begin(), random_.Between(0, std::ssize(*sequences) - 1));
      events_.push_back([this, key = at->first] { memory_.OnEnded(key); });
      sequences->erase(at);
      return;
    }
  }

  RandomStream random_;
  const std::int64_t total_;
  const std::int64_t batch_;
  BlockPool pool_;
  AnswerMemory memory_;
  std::vector<std::array<Value, kBlockTokens>> contents_;
  std::uint64_t last_ = 0;
  std::deque<std::pair<std::uint64_t, AnswerSize>> waiting_;
  std::map<std::uint64_t, AnswerSize> receiving_;
  std::map<SequenceKey, Running> running_;
  std::map<SequenceKey, Running> out_;
  std::deque<std::function<void()>> commands_;
  std::deque<std::function<void()>> events_;
};

TEST_CASE("whatever the sizes, everything ends, no KV is mixed up and no block is lost") {
  int preemptions = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    World world(seed);

    world.Run(60);

    world.RequireNothingHeld();
    CHECK(world.begun.size() == 60);
    CHECK(std::is_sorted(world.begun.begin(), world.begun.end()));
    preemptions += world.preemptions;
  }
  CHECK(preemptions > 2000);
}

}  // namespace
}  // namespace baton::engine
