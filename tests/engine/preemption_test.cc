#include <cstring>
#include <future>
#include <map>
#include <span>
#include <string>

#include <catch2/catch.hpp>

#include "common/grammar/schema.h"
#include "tests/engine/executor_rig.h"

/// Sequences that leave the batch and come back, as somebody who is short of memory makes them.
namespace baton::engine {
namespace {

/// Preempts and resumes by chance, on the engine thread: a command given there is obeyed before the next
/// step. What was given up is overwritten, so that nobody can go on with it.
class Disturber {
 public:
  Disturber(Rig& rig, SwapArea& swap, std::optional<Preemption> kind, std::uint64_t seed)
      : rig_(rig), slots_(swap.Slots()), kind_(kind), random_(seed) {
    rig.events.on_token = [this](const TokenEvent& event) { OnToken(event); };
    rig.events.on_preempted = [this](const PreemptedEvent& event) { OnPreempted(event); };
    rig.events.on_resumed = [this](const ResumedEvent& event) { OnResumed(event); };
  }

  /// Those of `specs` may be preempted; `lasting` must outlive them, since its tokens bring them back. All
  /// are known before the first runs: from then on they and the pool are the engine thread's.
  void Submit(const SequenceSpec& lasting, std::span<const SequenceSpec> specs, bool disturbed = true) {
    for (const SequenceSpec& spec : specs) {
      if (disturbed) held_[{spec.key, spec.sample}] = {.blocks = spec.blocks};
    }
    rig_.executor->Submit(lasting);
    for (const SequenceSpec& spec : specs) rig_.executor->Submit(spec);
  }

  int swapped = 0;
  int recomputed = 0;
  std::int64_t tokens_recomputed = 0;

 private:
  struct Held {
    BlockTable blocks;
    BlockTable slots;
    std::int64_t positions = 0;
    bool moving = false;
  };

  void OnToken(const TokenEvent& event) {
    const SequenceKey key{event.key, event.sample};
    const auto held = held_.find(key);
    if (held == held_.end()) {
      if (event.finish || random_.Between(0, 3) == 0) ResumeAll();
      return;
    }
    if (held->second.moving || event.finish || random_.Between(0, 4) != 0) return;
    held->second.moving = true;
    const bool swaps = kind_ ? *kind_ == Preemption::kSwap : random_.Between(0, 1) == 0;
    if (swaps) {
      auto slots = slots_.Allocate(std::ssize(held->second.blocks));
      if (slots.ok()) held->second.slots = *std::move(slots);
    }
    rig_.executor->Preempt(key, held->second.slots);
  }
  void OnPreempted(const PreemptedEvent& event) {
    Held& held = held_.at(event.sequence);
    CHECK((event.bytes > 0) == !held.slots.empty());
    for (int layer = 0; layer < rig_.arena.Geometry().layers; ++layer) {
      const std::size_t bytes = rig_.arena.Geometry().BlockBytes();
      for (const BlockIndex block : held.blocks)
        std::memset(rig_.arena.Layer(layer).base + block.value * bytes, 0xAB, bytes);
    }
    rig_.pool.Release(held.blocks);
    held.positions = event.positions;
    held.blocks.clear();
    parked_.push_back(event.sequence);
  }
  void ResumeAll() {
    for (const SequenceKey key : parked_) {
      Held& held = held_.at(key);
      held.blocks = rig_.pool.Allocate(BlocksFor(held.positions + 3 * kBlockTokens, kBlockTokens)).value();
      std::reverse(held.blocks.begin(), held.blocks.end());
      rig_.executor->Resume(key, held.blocks, held.slots);
    }
    parked_.clear();
  }
  void OnResumed(const ResumedEvent& event) {
    Held& held = held_.at(event.sequence);
    CHECK((event.kind == Preemption::kSwap) == !held.slots.empty());
    ++(event.kind == Preemption::kSwap ? swapped : recomputed);
    tokens_recomputed += event.tokens;
    if (!held.slots.empty()) slots_.Release(held.slots);
    held.slots.clear();
    held.moving = false;
  }

  Rig& rig_;
  BlockPool slots_;
  const std::optional<Preemption> kind_;
  RandomStream random_;
  std::map<SequenceKey, Held> held_;
  std::vector<SequenceKey> parked_;
};

SequenceSpec VariedSpec(Rig& rig, std::uint64_t id, RandomStream& random) {
  SequenceSpec spec = rig.Spec(id, Prompt(random.Between(1, 80), id), random.Between(1, 40));
  if (id % 2 == 0) spec.sampling = {.temperature = 1, .top_p = 0.9, .seed = random.Bits()};
  if (id % 5 == 0) spec.sampling.repetition_penalty = 1.4;
  if (id % 7 == 0) spec.sampling.frequency_penalty = 1.5;
  if (id % 9 == 0) spec.sample = 3;
  if (id % 3 == 0) spec.stop.stop_ids = {3, 5, 7, 11, 13};
  if (id % 6 == 0) spec.stop.min_tokens = std::min<std::int64_t>(5, spec.stop.max_tokens);
  return spec;
}

TEST_CASE("sequences that are preempted again and again answer as if nobody had disturbed them") {
  for (const std::optional<Preemption> kind :
       {std::optional(Preemption::kSwap), std::optional(Preemption::kRecompute),
        std::optional<Preemption>()}) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      CAPTURE(seed, kind.has_value());
      RandomStream random(seed);
      Rig rig(4096);
      SwapArea swap = *SwapArea::Create(rig.arena.Geometry(), 60 * rig.arena.Geometry().BlockBytes() * 2);
      Disturber disturber(rig, swap, kind, seed);
      std::vector<SequenceSpec> specs;
      for (std::uint64_t id = 2; id <= 24; ++id) specs.push_back(VariedSpec(rig, id, random));
      const SequenceSpec lasting = rig.Spec(1, Prompt(20, 1), 1200);
      rig.Start({.batch_tokens = random.Between(4, 200),
                 .batch_sequences = random.Between(3, 40),
                 .prefill_chunk_tokens = random.Between(3, 90)},
                nullptr, &swap);

      disturber.Submit(lasting, specs);
      rig.events.WaitForReleases(24);

      for (const SequenceSpec& spec : specs) {
        CAPTURE(spec.key.request.value);
        const auto seen = rig.events.Of(spec.key);
        REQUIRE(seen.tokens == PlainAnswer(rig.model, spec));
        REQUIRE(seen.releases == 1);
        REQUIRE(seen.orderly);
      }
      CHECK(rig.events.Of(Key(1)).tokens.size() == 1200);
      if (kind != Preemption::kRecompute) CHECK(disturber.swapped > 10);
      if (kind != Preemption::kSwap) CHECK(disturber.recomputed > 10);
      if (kind != Preemption::kSwap) CHECK(disturber.tokens_recomputed > 300);
    }
  }
}

TEST_CASE("a sequence that grows pauses where the next position has no block, and goes on with one") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(20, 1), 60);
  const std::vector<TokenId> expected = PlainAnswer(rig.model, spec);
  const BlockTable all = spec.blocks;  // 79 positions: 5 blocks
  spec.phase = Phase::kDecode;
  spec.grows = true;
  spec.tokens.push_back(expected.front());
  spec.blocks = {all[0], all[1]};
  StepBatch prompt;
  for (std::int32_t i = 0; i < 20; ++i) {
    prompt.tokens.push_back(spec.tokens[static_cast<std::size_t>(i)]);
    prompt.positions.push_back(i);
  }
  prompt.slices.push_back({.blocks = spec.blocks, .first_row = 0, .tokens = 20, .first_position = 0});
  static_cast<void>(test::FakeModel().Forward(prompt, rig.arena, {}));
  rig.events.ExpectFirstIndex(Key(1), 1);
  // The 32 positions of two blocks are full when token 12 has been sampled.
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.index == 12) rig.executor->Grow({Key(1)}, {all[2]});
    if (event.index == 20) rig.executor->Grow({Key(1)}, {all[3], all[4]});
  };
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  CHECK(rig.events.Of(Key(1)).tokens == std::vector<TokenId>(expected.begin() + 1, expected.end()));
}

TEST_CASE(
    "a sequence without a block for its next position, or preempted, is not late and can be cancelled") {
  Rig rig;
  SequenceSpec paused = rig.Spec(1, Prompt(32, 1), 60);
  paused.phase = Phase::kDecode;
  paused.grows = true;
  paused.tokens.push_back(5);
  paused.blocks.resize(2);
  SequenceSpec other = rig.Spec(2, Prompt(10, 2), 1000);
  std::promise<void> preempted;
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.index == 3) rig.executor->Preempt({Key(2)}, {});
  };
  rig.events.on_preempted = [&](const PreemptedEvent& event) {
    CHECK(event.positions == 14);
    preempted.set_value();
  };
  rig.Start();

  rig.executor->Submit(paused);
  rig.executor->Submit(other);
  preempted.get_future().wait();
  CHECK(rig.executor->Sequences() == 2);
  rig.executor->Cancel(Key(1));
  rig.executor->Cancel(Key(2));
  rig.events.WaitForReleases(2);

  CHECK(rig.events.Of(Key(1)).tokens.empty());
  CHECK(rig.events.Of(Key(1)).released == FinishReason::kCancelled);
  CHECK(rig.events.Of(Key(2)).tokens.size() == 4);
  CHECK(rig.events.Of(Key(2)).released == FinishReason::kCancelled);
}

TEST_CASE("growing, preempting and resuming what is unknown changes nothing") {
  Rig rig;
  rig.Start();
  rig.executor->Grow({Key(1)}, {BlockIndex(1)});
  rig.executor->Preempt({Key(1)}, {});
  rig.executor->Resume({Key(1)}, {BlockIndex(1)}, {});
  const SequenceSpec spec = rig.Spec(2, Prompt(5, 4), 3);
  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  CHECK(rig.events.Of(Key(2)).tokens == PlainAnswer(rig.model, spec));
}

TEST_CASE("a preempted sequence comes back to its place in the order of arrival") {
  Rig rig;
  std::vector<std::vector<std::int32_t>> steps;  // positions of each step
  rig.model.before_step = [&](const StepBatch& batch) { steps.push_back(batch.positions); };
  BlockTable blocks;
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.key == Key(1) && event.index == 2) rig.executor->Preempt({Key(1)}, {});
    if (event.key == Key(2) && event.index == 1) rig.executor->Resume({Key(1)}, blocks, {});
  };
  // One sequence a step: only the oldest runs.
  rig.Start({.batch_tokens = 64, .batch_sequences = 1, .prefill_chunk_tokens = 64});
  const SequenceSpec first = rig.Spec(1, Prompt(4, 1), 6);
  const SequenceSpec second = rig.Spec(2, Prompt(50, 2), 6);
  blocks = first.blocks;

  rig.executor->Submit(first);
  rig.executor->Submit(second);
  rig.events.WaitForReleases(2);

  std::vector<RequestKey> order;
  for (const TokenEvent& event : rig.events.TokenEvents()) order.push_back(event.key);
  const RequestKey a = Key(1), b = Key(2);
  CHECK(order == std::vector<RequestKey>{a, a, a, b, b, a, a, a, b, b, b, b});
  CHECK(rig.events.Of(a).tokens == PlainAnswer(rig.model, first));
  CHECK(rig.events.Of(b).tokens == PlainAnswer(rig.model, second));
}

constexpr TokenId kEnd = 96;

/// Token i is the byte 0x20 + i; 95 and 96 have none, and 96 ends answers.
std::shared_ptr<const TokenTable> AsciiTable() {
  std::string bytes;
  for (char byte = 0x20; byte < 0x7f; ++byte) bytes += byte;
  std::vector<std::string_view> tokens;
  for (std::size_t i = 0; i < 97; ++i)
    tokens.push_back(i < bytes.size() ? std::string_view(bytes).substr(i, 1) : "");
  return TokenTable::FromBytes(tokens).value();
}

TEST_CASE("an answer with a grammar stands in it where it stood, after each kind of preemption") {
  const auto run = [](bool disturbed) {
    Rig rig(2048);
    SwapArea swap = *SwapArea::Create(rig.arena.Geometry(), 20 * rig.arena.Geometry().BlockBytes() * 2);
    Disturber disturber(rig, swap, std::nullopt, 5);
    const SequenceSpec lasting = rig.Spec(1, Prompt(20, 1), 1500);
    std::vector<SequenceSpec> specs;
    for (std::uint64_t id = 2; id <= 9; ++id) {
      SequenceSpec spec = rig.Spec(id, Prompt(10, id), 200);
      spec.sampling = {.temperature = 1, .seed = id};
      spec.stop.stop_ids = {kEnd};
      spec.grammar = grammar::FromSchema(R"({"type":"array","items":{"type":"string","minLength":3},)"
                                         R"("minItems":2,"maxItems":4})")
                         .value();
      specs.push_back(spec);
    }
    rig.Start({}, AsciiTable(), &swap);
    disturber.Submit(lasting, specs, disturbed);
    rig.events.WaitForReleases(9);
    CHECK((disturber.swapped > 3 && disturber.recomputed > 3) == disturbed);
    std::map<std::uint64_t, std::vector<TokenId>> answers;
    for (std::uint64_t id = 2; id <= 9; ++id) answers[id] = rig.events.Of(Key(id)).tokens;
    return answers;
  };

  CHECK(run(true) == run(false));
}

/// Pauses and goes on by chance, on the engine thread: with the next token of another sequence.
TEST_CASE("sequences that are paused, and preempted meanwhile, answer as if nobody had disturbed them") {
  for (const bool preempts : {false, true}) {
    CAPTURE(preempts);
    RandomStream random(3);
    Rig rig(4096);
    SwapArea swap = *SwapArea::Create(rig.arena.Geometry(), 400 * rig.arena.Geometry().BlockBytes() * 2);
    BlockPool slots(swap.Slots());
    std::map<SequenceKey, SequenceSpec> specs;
    std::vector<SequenceKey> paused;
    std::vector<std::pair<SequenceKey, BlockTable>> out;
    std::int64_t pauses = 0;
    rig.events.on_paused = [&](SequenceKey key) { paused.push_back(key); };
    rig.events.on_preempted = [&](const PreemptedEvent& event) {
      for (auto& [key, blocks] : out) {
        if (key == event.sequence) rig.executor->Resume(key, specs.at(key).blocks, blocks);
      }
      std::erase_if(out, [&](const auto& entry) { return entry.first == event.sequence; });
    };
    rig.events.on_token = [&](const TokenEvent& event) {
      const SequenceKey key{event.key, event.sample};
      CHECK(std::ranges::count(paused, key) == 0);
      for (const SequenceKey other : std::exchange(paused, {})) {
        if (preempts && random.Between(0, 1) == 0) {
          out.emplace_back(other, slots.Allocate(std::ssize(specs.at(other).blocks)).value());
          rig.executor->Preempt(other, out.back().second);
        }
        rig.executor->Continue(other);
        ++pauses;
      }
      // The last one brings the others back.
      if (key.request != Key(9) && !event.finish && random.Between(0, 3) == 0) rig.executor->Pause(key);
    };
    rig.Start({}, nullptr, &swap);
    for (std::uint64_t id = 1; id <= 9; ++id) {
      SequenceSpec spec = rig.Spec(id, Prompt(random.Between(1, 80), id), id == 9 ? 400 : 30);
      if (id % 2 == 0) spec.sampling = {.temperature = 1, .seed = id, .frequency_penalty = 1.5};
      specs[{spec.key, 0}] = spec;
    }
    for (const auto& [key, spec] : specs) rig.executor->Submit(spec);
    rig.events.WaitForReleases(9);

    for (const auto& [key, spec] : specs) {
      CHECK(rig.events.Of(key.request).tokens == PlainAnswer(rig.model, spec));
    }
    CHECK(pauses > 20);
  }
}

}  // namespace
}  // namespace baton::engine
