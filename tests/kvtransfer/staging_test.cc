#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "common/base/random.h"
#include "kvtransfer/staging.h"

namespace baton::kvtransfer {
namespace {

using Action = StagingPipeline::Action;
using Kind = Action::Kind;

TEST_CASE("pieces that are gathered into a slot and scattered from another arrive in order") {
  const auto sender = CreateHostStager(2, 64);
  const auto receiver = CreateHostStager(1, 64);
  std::vector<std::byte> source(60);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i);
  std::vector<std::byte> target(60);
  int done = 0;
  const auto count = [&](const absl::Status& status) { done += status.ok() ? 1 : 0; };
  const std::span<const std::byte> from = source;

  sender->Gather({from.subspan(40, 20), from.subspan(0, 40)}, SlotIndex(1), count);
  std::ranges::copy(sender->Slot(SlotIndex(1)), receiver->Slot(SlotIndex(0)).begin());
  receiver->Scatter(SlotIndex(0), {std::span(target).subspan(40, 20), std::span(target).subspan(0, 40)},
                    count);

  CHECK(done == 2);
  CHECK(target == source);
}

TEST_CASE("a slot is gathered while another is sent, and no more are in use than there are") {
  StagingPipeline pipeline(2);

  CHECK(pipeline.Ready(3) ==
        StagingPipeline::Actions{{Kind::kGather, 0, SlotIndex(0)}, {Kind::kGather, 1, SlotIndex(1)}});
  CHECK(pipeline.Gathered(1).empty());  // sends go in order
  CHECK(pipeline.Gathered(0) ==
        StagingPipeline::Actions{{Kind::kSend, 0, SlotIndex(0)}, {Kind::kSend, 1, SlotIndex(1)}});
  CHECK(pipeline.Sent(1) == StagingPipeline::Actions{{Kind::kGather, 2, SlotIndex(1)}});
  CHECK_FALSE(pipeline.Idle());
}

TEST_CASE("an aborted pipeline begins nothing and is idle once what is under way has ended") {
  StagingPipeline pipeline(3);
  static_cast<void>(pipeline.Ready(9));
  static_cast<void>(pipeline.Gathered(0));  // is sent
  static_cast<void>(pipeline.Gathered(2));  // waits for 1

  pipeline.Abort();

  CHECK(pipeline.Sent(0).empty());
  CHECK_FALSE(pipeline.Idle());
  CHECK(pipeline.Gathered(1).empty());
  CHECK(pipeline.Idle());
}

TEST_CASE("whatever the order in which copies and sends end, every message is sent once, in order") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    RandomStream chance(seed);
    const auto slots = static_cast<std::size_t>(chance.Between(1, 5));
    StagingPipeline pipeline(slots);
    std::vector<Action> under_way;
    std::vector<std::size_t> sent;
    std::size_t to_come = 20;
    const auto take = [&](const StagingPipeline::Actions& actions) {
      for (const Action& action : actions) {
        if (action.kind == Kind::kSend) sent.push_back(action.message);
        under_way.push_back(action);
      }
      std::set<std::uint32_t> in_use;
      for (const Action& action : under_way) REQUIRE(in_use.insert(action.slot.value).second);
      REQUIRE(in_use.size() <= slots);
    };
    while (to_come > 0 || !under_way.empty()) {
      if (to_come > 0 && (under_way.empty() || chance.Between(0, 2) == 0)) {
        --to_come;
        take(pipeline.Ready(1));
        continue;
      }
      const auto at = under_way.begin() + chance.Between(0, std::ssize(under_way) - 1);
      const Action action = *at;
      under_way.erase(at);
      take(action.kind == Kind::kGather ? pipeline.Gathered(action.message) : pipeline.Sent(action.message));
    }
    CHECK(pipeline.Idle());
    CHECK(sent.size() == 20);
    CHECK(std::ranges::is_sorted(sent));
  }
}

}  // namespace
}  // namespace baton::kvtransfer
