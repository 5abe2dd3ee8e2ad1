#include <algorithm>
#include <map>

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "tests/decode/decode_rig.h"

namespace baton::decode {
namespace {

/// One request of many: prompts of up to 60 tokens, up to three answers of up to 90 each. The first two begin
/// together and outgrow 24 blocks of 16, whenever the others come.
struct Asked {
  std::uint64_t id = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t max_tokens = 0;
  std::vector<TokenId> first_tokens;
};

std::vector<Asked> Many() {
  RandomStream random(8);
  std::vector<Asked> all;
  for (std::uint64_t id = 1; id <= 14; ++id) {
    Asked& asked = all.emplace_back(Asked{id, random.Between(1, 60), random.Between(20, 90), {}});
    const bool first = id <= 2;
    if (first) asked.prompt_tokens = 10;
    if (first) asked.max_tokens = 90;
    for (std::int64_t i = first ? 3 : random.Between(1, 3); i > 0; --i)
      asked.first_tokens.push_back(static_cast<TokenId>(random.Between(0, 96)));
  }
  return all;
}

/// The tokens of each answer, by request and sample. The engine begins when as many as have room are there.
std::map<std::pair<std::uint64_t, std::int32_t>, std::vector<TokenId>> AnswersOf(
    DecodeRig& rig, const std::vector<Asked>& all) {
  rig.Shut();
  for (const Asked& asked : all) {
    wire::Envelope order = OrderOfSeveral(Key(asked.id), asked.prompt_tokens, asked.max_tokens,
                                          static_cast<std::int32_t>(asked.first_tokens.size()));
    order.mutable_reserve()->mutable_sampling()->set_frequency_penalty(0.5);
    rig.Order(order);
  }
  std::map<std::pair<std::uint64_t, std::int32_t>, std::vector<TokenId>> answers;
  for (const Asked& asked : all) {
    if (rig.handoff.Count(fmt::format("receive {}", Key(asked.id))) == 0) rig.Open();
    static_cast<void>(CommitSeveral(rig, Key(asked.id), asked.prompt_tokens,
                                    {asked.first_tokens.begin() + 1, asked.first_tokens.end()}));
  }
  rig.Open();
  for (const Asked& asked : all) {
    CHECK(rig.Released(Key(asked.id)).outcome() == "done");
    for (const wire::Token& token : rig.Tokens(Key(asked.id))) {
      auto& answer = answers[{asked.id, token.sample()}];
      CHECK(token.index() == std::ssize(answer));
      answer.push_back(token.token());
    }
  }
  return answers;
}

TEST_CASE("answers that had to make room are the same as with room for all, by either way") {
  const std::vector<Asked> all = Many();
  DecodeRig large(32, 400);
  const auto expected = AnswersOf(large, all);
  REQUIRE(expected.size() > 20);
  large.OnLoop([&] { CHECK(large.service->Answers().swaps + large.service->Answers().recomputations == 0); });
  for (const auto& [key, answer] : expected)
    CHECK(std::ssize(answer) == all[static_cast<std::size_t>(key.first - 1)].max_tokens);

  for (const engine::Preemption kind : {engine::Preemption::kSwap, engine::Preemption::kRecompute}) {
    for (const std::int64_t growth : {0, 1}) {
      CAPTURE(kind == engine::Preemption::kSwap, growth);
      DecodeRig tiny(32, 24,
                     {.growth_blocks = growth, .swap_slots = 200, .block_bytes = 256, .forced = kind});
      CHECK(AnswersOf(tiny, all) == expected);

      engine::AnswerMemoryCounts counts;
      tiny.OnLoop([&] { counts = tiny.service->Answers(); });
      CHECK((kind == engine::Preemption::kSwap ? counts.swaps : counts.recomputations) > 0);
      CHECK((kind == engine::Preemption::kSwap ? counts.recomputations : counts.swaps) == 0);
      CHECK((counts.bytes_out > 0) == (kind == engine::Preemption::kSwap));
      CHECK(counts.preempted == 0);
      CHECK(tiny.Blocks().free == 24);
    }
  }
}

TEST_CASE("an answer that was preempted is cancelled like any other, and its memory is free") {
  for (const engine::Preemption kind : {engine::Preemption::kSwap, engine::Preemption::kRecompute}) {
    DecodeRig rig(8, 11, {.swap_slots = 20, .block_bytes = 256, .forced = kind});
    rig.on_preempted = [&rig] { rig.service->Cancel(Key(2)); };
    rig.Shut();
    rig.Order(Order(Key(1), 30, 90));  // 8 blocks at last
    rig.Commit(Key(1), 30);
    rig.Order(Order(Key(2), 30, 90));
    rig.Commit(Key(2), 30);
    rig.Open();
    REQUIRE(rig.WaitForPreemptions(1));

    CHECK(rig.Released(Key(2)).outcome() == "cancelled");
    CHECK(rig.Released(Key(1)).outcome() == "done");
    CHECK(rig.Tokens(Key(1)).size() == 90);
    CHECK(rig.Blocks().free == 11);
  }
}

TEST_CASE("a worker whose answers made room offers no blocks until they are back") {
  DecodeRig rig(8, 11, {.forced = engine::Preemption::kRecompute});
  const auto available = [&] {
    std::optional<std::int64_t> blocks;
    rig.OnLoop([&] { blocks = rig.service->Load().blocks_available; });
    return blocks;
  };
  std::vector<std::int64_t> seen;
  rig.on_preempted = [&] { seen.push_back(rig.service->Load().blocks_available.value()); };
  rig.Shut();
  CHECK(available() == 11);
  rig.Order(Order(Key(1), 30, 90));
  CHECK(available() == 3);  // 8 are kept for it to end
  rig.Commit(Key(1), 30);
  rig.Order(Order(Key(2), 30, 90));
  rig.Commit(Key(2), 30);
  rig.Open();
  REQUIRE(rig.WaitForPreemptions(1));

  CHECK(rig.Released(Key(2)).outcome() == "done");
  CHECK(rig.Tokens(Key(2)).size() == 90);
  CHECK(available() == 11);
  rig.OnLoop([&] { CHECK(std::ranges::count(seen, 0) == std::ssize(seen)); });
}

}  // namespace
}  // namespace baton::decode
