#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/prefill/prefill_rig.h"

/// Prompts that begin alike, at the same time: one computes, the others wait for its blocks.
namespace baton::prefill {
namespace {

wire::Envelope Salted(wire::Envelope order, const std::string& salt) {
  order.mutable_prefill()->set_cache_salt(salt);
  return order;
}

TEST_CASE("of two equal prompts at once the second waits for the blocks of the first, under its salt alone") {
  PrefillRig rig(8, /*prefix_blocks=*/8);
  const std::vector<TokenId> prompt = Prompt(44);
  rig.Shut();

  rig.Order(Order(Key(1), prompt));
  rig.Order(Order(Key(2), prompt));
  rig.Order(Salted(Order(Key(3), prompt), "other"));
  CHECK(rig.handoff.Count("send 2/1") == 0);
  CHECK(rig.handoff.Count("send 3/1") == 1);
  rig.OnLoop([&] { CHECK(rig.service->Load().queued_requests == 1); });
  rig.Open();
  for (std::uint64_t id = 1; id <= 3; ++id) REQUIRE(rig.handoff.WaitFor(fmt::format("commit {}/1", id)));

  CHECK(rig.handoff.Count("layer 0 0+32 2/1") == 1);
  CHECK(rig.handoff.Count("layer 0 32+12 2/1") == 1);
  CHECK(rig.Tokens(Key(1)).at(0).cached_tokens() == 0);
  CHECK(rig.Tokens(Key(2)).at(0).cached_tokens() == 32);
  CHECK(rig.Tokens(Key(3)).at(0).cached_tokens() == 0);
  for (std::uint64_t id = 1; id <= 3; ++id)
    CHECK(rig.Tokens(Key(id)).at(0).token() == Next(rig.model, prompt));
}

TEST_CASE(
    "a prompt that shares a beginning waits for the chunk that has it, no longer, and lets others pass") {
  PrefillRig rig(8, /*prefix_blocks=*/8);
  std::vector<TokenId> longer = Prompt(80);
  std::vector<TokenId> alike = Prompt(40);
  alike[35] += 1;
  rig.Shut();

  rig.Order(Order(Key(1), longer));
  rig.Order(Order(Key(2), alike));
  rig.Order(Order(Key(3), Prompt(10, 50)));
  CHECK(rig.handoff.Count("send 2/1") == 0);
  CHECK(rig.handoff.Count("send 3/1") == 1);
  rig.Open();
  for (std::uint64_t id = 1; id <= 3; ++id) REQUIRE(rig.handoff.WaitFor(fmt::format("commit {}/1", id)));

  const std::vector<std::string> calls = rig.handoff.calls.Get();
  const auto at = [&](const std::string& call) { return std::ranges::find(calls, call); };
  CHECK(at("layer 1 0+32 1/1") < at("send 2/1"));
  CHECK(at("send 2/1") < at("layer 0 32+32 1/1"));
  CHECK(rig.Tokens(Key(2)).at(0).cached_tokens() == 32);
  CHECK(rig.Tokens(Key(2)).at(0).token() == Next(rig.model, alike));
}

TEST_CASE("a prompt waits for no block that the cache has no room for") {
  PrefillRig rig(8, /*prefix_blocks=*/1);
  std::vector<TokenId> alike = Prompt(40);
  alike[35] += 1;
  rig.Shut();

  rig.Order(Order(Key(1), Prompt(80)));
  rig.Order(Order(Key(2), alike));
  CHECK(rig.handoff.Count("send 2/1") == 0);
  rig.Open();
  for (std::uint64_t id = 1; id <= 2; ++id) REQUIRE(rig.handoff.WaitFor(fmt::format("commit {}/1", id)));

  const std::vector<std::string> calls = rig.handoff.calls.Get();
  const auto at = [&](const std::string& call) { return std::ranges::find(calls, call); };
  CHECK(at("layer 1 0+32 1/1") < at("send 2/1"));
  CHECK(at("send 2/1") < at("layer 0 32+32 1/1"));
  CHECK(rig.Tokens(Key(2)).at(0).cached_tokens() == 16);
  CHECK(rig.Tokens(Key(2)).at(0).token() == Next(rig.model, alike));
}

TEST_CASE("when the one that a prompt waits for is cancelled, it waits for the next that is alike") {
  PrefillRig rig(8, /*prefix_blocks=*/8);
  rig.Shut();
  rig.Order(Order(Key(1), Prompt(48)));
  REQUIRE(rig.stepping.Wait());
  for (std::uint64_t id = 2; id <= 4; ++id) rig.Order(Order(Key(id), Prompt(60)));

  rig.Cancel(Key(1));
  CHECK(rig.handoff.Count("send 2/1") == 0);  // it learns so with the next thing that happens
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted, Error(kCancelled, "cancelled")); });
  rig.Open();
  for (std::uint64_t id = 2; id <= 4; ++id) REQUIRE(rig.handoff.WaitFor(fmt::format("commit {}/1", id)));

  std::int64_t computed = 0;
  for (std::uint64_t id = 2; id <= 4; ++id) computed += 60 - rig.Tokens(Key(id)).at(0).cached_tokens();
  CHECK(computed == (60 - 32) + 2 * (60 - 48));  // the first had computed one chunk
}

TEST_CASE("when the first of two equal prompts is cancelled the second is computed") {
  PrefillRig rig(8, /*prefix_blocks=*/8);
  rig.Shut();
  rig.Order(Order(Key(1), Prompt(60)));
  rig.Order(Order(Key(2), Prompt(60)));
  REQUIRE(rig.stepping.Wait());

  rig.Cancel(Key(1));
  rig.Open();
  REQUIRE(rig.handoff.WaitFor("abort_send 1/1"));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted, Error(kCancelled, "cancelled")); });

  REQUIRE(rig.handoff.WaitFor("commit 2/1"));
  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Tokens(Key(2)).at(0).token() == Next(rig.model, Prompt(60)));
}

}  // namespace
}  // namespace baton::prefill
