#include "common/text/prefix_hash.h"
#include "tests/router/dispatcher_rig.h"

/// KV of chats' answers goes back to prefill workers once they have ended.
namespace baton::router {
namespace {

using cluster::Phase;

constexpr std::int64_t kPrompt = 40;
constexpr std::int64_t kAnswer = 50;

struct GiveBackBench : Bench {
  explicit GiveBackBench(bool enabled = true)
      : Bench({}, {}, nullptr, false, GiveBackLimits{.enabled = enabled}) {
    JoinReturning(kP, Phase::kPrefill, kD);
    JoinReturning(kD, Phase::kDecode, kP);
  }
  void JoinReturning(WorkerId id, Phase phase, WorkerId peer, std::int64_t blocks = 64) {
    dispatcher->OnJoined({.id = id,
                          .name = "w",
                          .phase = phase,
                          .incarnation = Incarnation{id.value + 1000U},
                          .model = "m",
                          .numerics_class = "c",
                          .kv_blocks = blocks,
                          .block_tokens = 16,
                          .context_tokens = 1024,
                          .growth_blocks = 1,
                          .kv_returns = true});
    cluster::LoadReport load;
    load.ready = true;
    load.kv_blocks_free = blocks;
    load.links.push_back({peer, true, "tcp", 1e9});
    dispatcher->OnLoad(id, load);
  }
  void Chat(RequestId id = kRequest, std::vector<std::string> stop = {}) {
    Job job = MakeJob(seen);
    job.id = id;
    job.endpoint = Endpoint::kChat;
    job.prompt = std::make_shared<const std::vector<TokenId>>(kPrompt, 5);
    job.prefixes = text::PrefixNames("salt", *job.prompt, 16);
    job.max_tokens = job.answer.tokens_max = kAnswer;
    job.answer.stop = std::move(stop);
    dispatcher->Submit(std::move(job));
  }
  /// To the answer's end; decode still holds its KV.
  void Answer(RequestId id = kRequest) {
    const RequestKey key{id, Attempt{1}};
    Token(kP, 0, "", key);
    for (std::int64_t i = 1; i < kAnswer; ++i) Token(kD, i, i + 1 == kAnswer ? "length" : "", key);
    Release(kP, "done", "", key);
  }
  void Takes(std::int64_t first, WorkerId worker = kP, RequestKey key = kSecond) {
    dispatcher->OnTakes(worker, {.key = key, .first = first});
  }
  bool Shows(std::string_view line) const {
    return metrics.Text().find(std::string(line) + "\n") != std::string::npos;
  }
  std::vector<WorkerId> Cancelled() const {
    std::vector<WorkerId> workers;
    for (const Sent& cancel : port.Of("cancel")) workers.push_back(cancel.worker);
    return workers;
  }

  Seen seen;
};

TEST_CASE("a chat's KV goes back: the prefill worker is asked to take it, then decode to send what is new") {
  GiveBackBench bench;
  bench.Chat();
  CHECK(bench.port.Of("reserve")[0].order.keep == kKeepAnswer);
  bench.Answer();

  REQUIRE(bench.port.Of("take_back").size() == 1);
  const Sent take = bench.port.Of("take_back")[0];
  CHECK(take.worker == kP);
  CHECK(take.key == kSecond);
  CHECK(take.take.tokens.size() == 80);  // of 40 and 49 with KV, whole blocks
  CHECK(take.take.tokens[39] == 5);
  CHECK(take.take.tokens[40] == kA);
  CHECK(take.take.cache_salt == "salt");
  CHECK(take.take.from == kD);
  CHECK(take.take.from_incarnation == Incarnation{1002});
  CHECK(bench.port.Of("give_back").empty());
  CHECK(bench.seen.finish == "length");  // its client does not wait for it
  bench.Takes(32);

  const Sent give = bench.port.Of("give_back").at(0);
  CHECK(give.worker == kD);
  CHECK(give.key == kFirst);
  CHECK(give.give.target == kSecond);
  CHECK(give.give.to == kP);
  CHECK(give.give.to_incarnation == Incarnation{1001});
  CHECK(give.give.first == 32);
  CHECK(give.give.positions == 80);
  CHECK(bench.dispatcher->Live() == 1);
  bench.Release(kP, "done", "", kSecond);
  bench.Release(kD);

  CHECK(bench.dispatcher->Live() == 0);
  CHECK(bench.Shows("baton_give_backs_total{outcome=\"done\"} 1"));
  CHECK(bench.Shows("baton_given_back_tokens_total 48"));
}

TEST_CASE("the next turn goes where the answer's KV has gone") {
  GiveBackBench bench;
  bench.JoinReturning(kP2, Phase::kPrefill, kD, 1000);
  cluster::LoadReport load{.ready = true, .kv_blocks_free = 64};
  load.links = {{kP, true, "tcp", 1e9}, {kP2, true, "tcp", 1e9}};
  bench.dispatcher->OnLoad(kD, load);
  bench.Chat();
  bench.Answer();
  REQUIRE(bench.port.Of("take_back").size() == 1);
  REQUIRE(bench.port.Of("take_back")[0].worker == kP);  // it has computed the prompt
  const std::vector<TokenId> tokens = bench.port.Of("take_back")[0].take.tokens;
  bench.Takes(32);
  const bool arrives = GENERATE(true, false);
  CAPTURE(arrives);
  bench.Release(kP, arrives ? "done" : "failed", "", kSecond);
  bench.Release(kD);
  // Of a prompt that begins with the answer's end, nothing else is known anywhere.
  std::vector<std::uint64_t> names = text::PrefixNames("salt", tokens, 16);
  names.erase(names.begin(), names.begin() + 3);

  // Both queues are empty: the one with less to compute gets it, else the first.
  bench.dispatcher->OnLoad(
      kP,
      {.ready = true, .queued_prompt_tokens = 20, .kv_blocks_free = 64, .links = {{kD, true, "tcp", 1e9}}});
  Seen next;
  bench.Submit(next, RequestId{8}, 10, 60, {}, names);
  CHECK(bench.port.Of("prefill").back().worker == (arrives ? kP : kP2));
}

TEST_CASE("what is not to go back is freed at once") {
  GiveBackBench bench(GENERATE(true, false));
  SECTION("a completion is not even kept") {
    Seen seen;
    bench.Submit(seen, kRequest, kAnswer, kPrompt);
    CHECK(bench.port.Of("reserve")[0].order.keep == Duration{});
    bench.Answer();
    CHECK(bench.port.Of("cancel").empty());
  }
  SECTION("a stop string has cut the answer") {
    bench.Chat(kRequest, {"aaa"});
    bench.Token(kP, 0);
    for (std::int64_t i = 1; i < 3; ++i) bench.Token(kD, i);
    CHECK(bench.seen.finish == "stop");
    CHECK(bench.Cancelled() == std::vector{kP, kD});
  }
  SECTION("the decode worker needs its memory") {
    bench.Chat();
    bench.dispatcher->OnLoad(kD, {.ready = true, .kv_blocks_free = 0, .links = {{kP, true, "tcp", 1e9}}});
    bench.Answer();
    const bool kept = bench.port.Of("reserve")[0].order.keep > Duration{};
    CHECK(bench.Cancelled() == (kept ? std::vector{kD} : std::vector<WorkerId>{}));
  }
  CHECK(bench.port.Of("take_back").empty());
}

TEST_CASE("whatever goes wrong on the way back, nothing of the answer stays") {
  GiveBackBench bench;
  bench.Chat();
  bench.Answer();
  std::string outcome = "failed";
  SECTION("the prefill worker has no room") {
    bench.Release(kP, "failed", "no_memory", kSecond);
    CHECK(bench.Cancelled() == std::vector{kD});
    bench.Release(kD);
  }
  SECTION("it has everything already") {
    outcome = "done";
    bench.Release(kP, "done", "", kSecond);
    CHECK(bench.Cancelled() == std::vector{kD});
    bench.Release(kD);
  }
  SECTION("decode has given it up before it was asked") {
    outcome = "cancelled";
    bench.Release(kD);
    bench.Takes(32);
    CHECK(bench.Cancelled() == std::vector{kP});
    CHECK(bench.port.Of("give_back").empty());
    bench.Release(kP, "cancelled", "", kSecond);
  }
  SECTION("the prefill worker is lost") {
    bench.Takes(32);
    bench.dispatcher->OnLost(kP);
    CHECK(bench.Cancelled() == std::vector{kD});
    bench.Release(kD);
  }
  SECTION("the decode worker is lost") {
    bench.Takes(32);
    bench.dispatcher->OnLost(kD);
    bench.Release(kP, "failed", "peer_lost", kSecond);
  }
  SECTION("the transfer fails") {
    bench.Takes(32);
    bench.Release(kP, "failed", "kv_transfer", kSecond);
    bench.Release(kD);
  }

  CHECK(bench.dispatcher->Live() == 0);
  CHECK(bench.Shows(fmt::format("baton_give_backs_total{{outcome=\"{}\"}} 1", outcome)));
  CHECK(bench.Shows("baton_given_back_tokens_total 0"));
  CHECK(bench.seen.error.empty());
}

TEST_CASE("a worker that says what it was not asked for changes nothing") {
  GiveBackBench bench;
  bench.Chat();
  bench.Takes(32);
  bench.Answer();
  bench.Takes(32, kD);
  bench.Takes(32, kP, kFirst);
  bench.Takes(32, kP, {RequestId{5}, Attempt{2}});
  CHECK(bench.port.Of("give_back").empty());
  bench.Takes(80);  // nothing would be left
  CHECK(bench.port.Of("give_back").empty());
  CHECK(bench.Cancelled() == std::vector{kD, kP});
}

TEST_CASE("a request that waits for memory stops what goes back") {
  GiveBackBench bench;
  bench.Chat();
  bench.Answer();
  bench.Takes(32);
  REQUIRE(bench.Cancelled().empty());

  Seen waits;
  bench.Submit(waits, RequestId{7}, 500, 500);  // more than is left beside the first one's part
  bench.Submit(waits, RequestId{8}, 500, 500);

  CHECK(bench.Cancelled() == std::vector{kD, kP});
}

}  // namespace
}  // namespace baton::router
