#include "tests/router/dispatcher_rig.h"

/// Answers that move between decode workers: the client sees each token once, whoever is lost meanwhile.
namespace baton::router {
namespace {

using cluster::Phase;

constexpr RequestKey kThird{kRequest, Attempt{3}};

struct MoveBench : Bench {
  explicit MoveBench(std::int64_t other_blocks = 64) {
    Join(kP, Phase::kPrefill, {kD, kD2});
    Join(kD, Phase::kDecode, {kP, kD2});
    Submit(seen);
    Token(kP, 0);
    Token(kD, 1);
    Token(kD, 2);
    Release(kP);
    Join(kD2, Phase::kDecode, {kP, kD}, other_blocks);
  }
  /// The worker leaves, and its answer is on its way.
  void Leave() {
    dispatcher->OnLeaving(kD);
    REQUIRE(port.Of("move").size() == 1);
  }
  void MoveFailed(RequestKey target = kSecond, WorkerId worker = kD) {
    dispatcher->OnMoveFailed(worker, {.target = target, .reason = "why"});
  }
  bool Shows(std::string_view line) const {
    return metrics.Text().find(std::string(line) + "\n") != std::string::npos;
  }
  bool Ended(std::string_view outcome) const {
    return Shows(fmt::format("baton_migrations_total{{reason=\"drain\",outcome=\"{}\"}} 1", outcome)) ||
           Shows(fmt::format("baton_migrations_total{{outcome=\"{}\",reason=\"drain\"}} 1", outcome));
  }
  /// The rest of ten tokens, by one worker.
  void Finish(WorkerId worker, RequestKey key, std::int64_t from) {
    for (std::int64_t i = from; i < 10; ++i) Token(worker, i, i == 9 ? "length" : "", key);
  }
  void CheckWhole() const {
    CHECK(seen.text == "aaaaaaaaaa");
    CHECK(seen.finish == "length");
    CHECK(seen.error.empty());
  }

  Seen seen;
};

TEST_CASE("a worker that leaves is asked to send its answer, and another to receive it") {
  MoveBench bench;
  bench.Leave();

  const Sent reserve = bench.port.Of("reserve").back();
  const Sent move = bench.port.Of("move")[0];
  CHECK(reserve.worker == kD2);
  CHECK(reserve.key == kSecond);
  CHECK(reserve.order.peer == kD);
  CHECK(reserve.order.peer_incarnation == Incarnation{1002});
  CHECK(reserve.order.tokens->size() == 20);
  CHECK(reserve.order.sampling.seed == 42);
  CHECK(reserve.order.known == 3);
  CHECK(reserve.order.positions_max == 29);  // never more than the longest answer has
  CHECK(move.worker == kD);
  CHECK(move.key == kFirst);
  CHECK(move.move.target == kSecond);
  CHECK(move.move.to == kD2);
  CHECK(move.move.to_incarnation == Incarnation{1004});
  CHECK(move.move.positions_max == 29);
}

TEST_CASE("a moved answer goes on where it has moved to, without a gap or a repeat") {
  MoveBench bench;
  bench.Leave();
  bench.Token(kD, 3);
  const bool first = GENERATE(true, false);
  CAPTURE(first);
  if (first) bench.Release(kD, "moved");
  bench.clock.Advance(milliseconds(20));
  bench.Token(kD2, 3, "", kSecond);  // told again
  bench.Token(kD2, 4, "", kSecond);
  if (!first) bench.Token(kD, 4);  // was still on its way
  if (!first) bench.Release(kD, "moved");
  bench.Finish(kD2, kSecond, 5);

  bench.CheckWhole();
  CHECK(bench.Ended("moved"));
  CHECK(bench.Shows("baton_migration_gap_seconds_sum 0.02"));
  CHECK(bench.port.Of("cancel").empty());
  bench.Release(kD2, "done", "", kSecond);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("tokens of both workers are put in order") {
  MoveBench bench;
  bench.Leave();
  bench.Token(kD2, 5, "", kSecond);
  CHECK(bench.seen.text == "aaa");
  bench.Token(kD, 3);
  bench.Token(kD, 4);
  CHECK(bench.seen.text == "aaaaaa");
  bench.Release(kD, "moved");
  bench.Finish(kD2, kSecond, 6);
  bench.CheckWhole();
}

TEST_CASE("a refusal, an abort or the death of the receiver leaves the answer where it is") {
  MoveBench bench;
  bench.Leave();
  SECTION("refused") {
    bench.Release(kD2, "failed", "no_memory", kSecond);
    CHECK(bench.Ended("refused"));
    REQUIRE(bench.port.Of("move_stop").size() == 1);
    CHECK(bench.port.Of("move_stop")[0].worker == kD);
    CHECK(bench.port.Of("move_stop")[0].key == kSecond);
    bench.MoveFailed();  // says so as well
  }
  SECTION("given up by the sender") {
    bench.MoveFailed();
    CHECK(bench.Ended("failed"));
    REQUIRE(bench.port.Of("cancel").size() == 1);
    CHECK(bench.port.Of("cancel")[0].worker == kD2);
    CHECK(bench.port.Of("cancel")[0].key == kSecond);
    bench.Token(kD2, 3, "", kSecond);  // of one that was cancelled
    CHECK(bench.seen.text == "aaa");
    bench.Release(kD2, "cancelled", "", kSecond);
  }
  SECTION("dead") {
    bench.dispatcher->OnLost(kD2);
    CHECK(bench.Ended("failed"));
    bench.MoveFailed();
  }
  SECTION("dead after it had begun, while the acknowledgement was lost") {
    bench.Token(kD2, 3, "", kSecond);
    bench.dispatcher->OnLost(kD2);
    bench.MoveFailed();
  }
  bench.Finish(kD, kFirst, 3);

  bench.CheckWhole();
  bench.Release(kD);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("a lost acknowledgement: the one that has begun goes on, the other is cancelled") {
  MoveBench bench;
  bench.Leave();
  bench.Token(kD2, 3, "", kSecond);

  bench.MoveFailed();

  REQUIRE(bench.port.Of("cancel").size() == 1);
  CHECK(bench.port.Of("cancel")[0].worker == kD);
  CHECK(bench.port.Of("cancel")[0].key == kFirst);
  bench.Token(kD, 4);  // it had gone on
  bench.Release(kD, "cancelled");
  bench.Finish(kD2, kSecond, 4);
  bench.CheckWhole();
  CHECK(bench.Ended("moved"));
}

TEST_CASE("the sender dies: an answer that has begun elsewhere goes on, another is computed anew") {
  MoveBench bench;
  bench.Leave();
  const bool begun = GENERATE(true, false);
  CAPTURE(begun);
  if (begun) bench.Token(kD2, 3, "", kSecond);

  bench.dispatcher->OnLost(kD);

  CHECK(bench.port.Of("prefill").size() == (begun ? 1 : 2));
  CHECK(bench.port.Of("cancel").size() == (begun ? 0 : 1));
  if (begun) {
    bench.Finish(kD2, kSecond, 4);
  } else {
    CHECK(bench.port.Of("cancel")[0].key == kSecond);
    bench.Release(kD2, "cancelled", "", kSecond);
    CHECK(bench.port.Of("prefill")[1].key == kThird);
    CHECK(bench.port.Of("prefill")[1].order.resumed == 3);
    bench.Token(kP, 3, "", kThird);
    bench.Finish(kD2, kThird, 4);
  }
  bench.CheckWhole();
}

TEST_CASE("the receiver dies when the sender has let go: the answer is computed anew") {
  MoveBench bench;
  bench.Leave();
  const bool told = GENERATE(true, false);  // of the loss before the move
  CAPTURE(told);
  bench.Token(kD2, 3, "", kSecond);
  if (!told) bench.Release(kD, "moved");
  bench.dispatcher->OnLost(kD2);
  if (told) bench.Release(kD, "moved");

  bench.Join(WorkerId{7}, Phase::kDecode, {kP});
  bench.Join(kP, Phase::kPrefill, {WorkerId{7}});
  REQUIRE(bench.port.Of("prefill").size() == 2);
  CHECK(bench.port.Of("prefill")[1].order.resumed == 4);
}

TEST_CASE("an answer that ends, or whose client goes, while it moves is over on both workers") {
  MoveBench bench;
  bench.Leave();
  SECTION("it ends") {
    bench.Token(kD, 3, "stop");
    CHECK(bench.seen.finish == "stop");
  }
  SECTION("the client goes") {
    bench.dispatcher->ClientGone(kRequest);
  }
  const auto cancels = bench.port.Of("cancel");
  REQUIRE(cancels.size() == 2);
  CHECK(cancels[0].worker == kD);
  CHECK(cancels[1].worker == kD2);
  CHECK(cancels[1].key == kSecond);
  CHECK(bench.Ended("ended"));
  bench.Release(kD);
  bench.Release(kD2, "cancelled", "", kSecond);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("after a refusal the answer is moved again, a while later, and not for ever at once") {
  MoveBench bench;
  bench.Leave();
  bench.Release(kD2, "failed", "no_memory", kSecond);

  bench.dispatcher->Tick();
  CHECK(bench.port.Of("move").size() == 1);
  bench.clock.Advance(milliseconds(600));
  bench.dispatcher->Tick();

  REQUIRE(bench.port.Of("move").size() == 2);
  CHECK(bench.port.Of("move")[1].move.target == kThird);
}

TEST_CASE("what no other worker can take, and what is not written yet, stays") {
  Bench bench;
  bench.Join(kP, Phase::kPrefill, {kD, kD2});
  Seen seen;
  SECTION("no other worker") {
    bench.Join(kD, Phase::kDecode, {kP});
    bench.Submit(seen);
    bench.Token(kP, 0);
    bench.Token(kD, 1);
    bench.Release(kP);
  }
  SECTION("no memory there") {
    bench.Join(kD, Phase::kDecode, {kP, kD2});
    bench.Submit(seen);
    bench.Token(kP, 0);
    bench.Token(kD, 1);
    bench.Release(kP);
    bench.Join(kD2, Phase::kDecode, {kP, kD}, 1);
  }
  SECTION("no link between them") {
    bench.Join(kD, Phase::kDecode, {kP});
    bench.Submit(seen);
    bench.Token(kP, 0);
    bench.Token(kD, 1);
    bench.Release(kP);
    bench.Join(kD2, Phase::kDecode, {kP});
  }
  SECTION("prefill is at it") {
    bench.Join(kD, Phase::kDecode, {kP, kD2});
    bench.Submit(seen);
    bench.Token(kP, 0);
    bench.Join(kD2, Phase::kDecode, {kP, kD});
  }
  SECTION("several answers to one prompt") {
    bench.Join(kD, Phase::kDecode, {kP, kD2});
    Job job = bench.MakeJob(seen);
    job.sampling.samples = 2;
    bench.dispatcher->Submit(std::move(job));
    for (const std::int32_t sample : {0, 1}) {
      bench.dispatcher->OnToken(kP, {.key = kFirst, .index = 0, .token = kA, .sample = sample});
      bench.dispatcher->OnToken(kD, {.key = kFirst, .index = 1, .token = kA, .sample = sample});
    }
    bench.Release(kP);
    bench.Join(kD2, Phase::kDecode, {kP, kD});
  }

  bench.dispatcher->OnLeaving(kD);
  bench.dispatcher->Tick();
  CHECK(bench.port.Of("move").empty());
}

TEST_CASE("a worker sends some answers at once, and the next as one has gone") {
  Bench bench;
  bench.Join(kP, Phase::kPrefill, {kD, kD2});
  bench.Join(kD, Phase::kDecode, {kP, kD2});
  std::vector<Seen> seen(6);
  for (std::uint64_t i = 0; i < seen.size(); ++i) {
    const RequestKey key{RequestId{200 + i}, Attempt{1}};
    bench.Submit(seen[i], key.request);
    bench.Token(kP, 0, "", key);
    bench.Token(kD, 1, "", key);
    bench.Release(kP, "done", "", key);
  }
  bench.Join(kD2, Phase::kDecode, {kP, kD});

  bench.dispatcher->OnLeaving(kD);
  CHECK(bench.port.Of("move").size() == kMovesAtOnce);
  bench.Release(kD, "moved", "", {RequestId{201}, Attempt{1}});
  CHECK(bench.port.Of("move").size() == kMovesAtOnce + 1);
}

/// A decode worker's load, as of one that is in the middle of its work.
void Report(Bench& bench, WorkerId worker, WorkerId peer, std::int64_t free_blocks, std::int64_t running) {
  cluster::LoadReport load;
  load.ready = true;
  load.running_requests = running;
  load.kv_blocks_free = free_blocks;
  load.step_seconds = 0.05;
  load.links = {{kP, true, "tcp", 1e9}, {peer, true, "tcp", 1e9}};
  bench.dispatcher->OnLoad(worker, load);
}

TEST_CASE("the youngest answer leaves a worker whose memory is about to end, where that is asked for") {
  const bool balance = GENERATE(true, false);
  CAPTURE(balance);
  Bench bench({}, {}, nullptr, balance);
  bench.Join(kP, Phase::kPrefill, {kD, kD2});
  bench.Join(kD, Phase::kDecode, {kP, kD2}, 1000);
  std::vector<Seen> seen(2);
  for (std::uint64_t i = 0; i < seen.size(); ++i) {
    const RequestKey key{RequestId{200 + i}, Attempt{1}};
    bench.clock.Advance(milliseconds(10));
    bench.Submit(seen[i], key.request);
    bench.Token(kP, 0, "", key);
    bench.Token(kD, 1, "", key);
    bench.Release(kP, "done", "", key);
  }
  bench.Join(kD2, Phase::kDecode, {kP, kD}, 1000);
  Report(bench, kD, kD2, /*free_blocks=*/1, /*running=*/2);
  Report(bench, kD2, kD, /*free_blocks=*/900, /*running=*/1);
  bench.clock.Advance(seconds(2));

  bench.dispatcher->Tick();
  bench.dispatcher->Tick();  // not more often than once a second

  const auto moves = bench.port.Of("move");
  REQUIRE(moves.size() == (balance ? 1 : 0));
  if (!balance) return;
  CHECK(moves[0].worker == kD);
  CHECK(moves[0].key.request == RequestId{201});
  CHECK(moves[0].move.to == kD2);
}

TEST_CASE(
    "a request that no worker has the memory for begins where an answer has moved away, if that is on") {
  const bool make_room = GENERATE(true, false);
  CAPTURE(make_room);
  Bench bench({}, {}, nullptr, false, {.enabled = false}, make_room);
  bench.Join(kP, Phase::kPrefill, {kD, kD2}, 64);
  bench.Join(kD, Phase::kDecode, {kP, kD2}, 12);
  bench.Join(kD2, Phase::kDecode, {kP, kD}, 12);
  // An answer on each: five of twelve blocks.
  std::vector<Seen> seen(2);
  for (std::uint64_t i = 0; i < seen.size(); ++i) {
    const RequestKey key{RequestId{200 + i}, Attempt{1}};
    const WorkerId decode = i == 0 ? kD : kD2;
    bench.Submit(seen[i], key.request, 40, 40);
    REQUIRE(bench.port.Of("reserve").back().worker == decode);
    bench.Token(kP, 0, "", key);
    bench.Token(decode, 1, "", key);
    bench.Release(kP, "done", "", key);
  }
  Seen large;
  bench.Submit(large, RequestId{300}, 10, 150);  // ten blocks
  CHECK(bench.port.Of("reserve").size() == 2);
  bench.dispatcher->Tick();
  CHECK(bench.port.Of("move").empty());  // it may begin without that
  bench.clock.Advance(kRoomPatience);
  bench.dispatcher->Tick();
  bench.dispatcher->Tick();

  const auto moves = bench.port.Of("move");
  REQUIRE(moves.size() == (make_room ? 1 : 0));
  if (!make_room) return;
  CHECK(moves[0].worker == kD);
  CHECK(moves[0].move.to == kD2);
  bench.Release(kD, "moved", "", {RequestId{200}, Attempt{1}});
  CHECK(bench.port.Of("reserve").back().worker == kD);
  CHECK(bench.port.Of("reserve").back().key == RequestKey{RequestId{300}, Attempt{1}});
  const auto shows = [text = bench.metrics.Text()](const char* line) {
    return text.find(line) != std::string::npos;
  };
  CHECK((shows("baton_migrations_total{outcome=\"moved\",reason=\"room\"} 1") ||
         shows("baton_migrations_total{reason=\"room\",outcome=\"moved\"} 1")));
}

TEST_CASE("room is reckoned with every answer to a prompt, and for the one that holds up the line") {
  Bench bench({}, {}, nullptr, false, {.enabled = false}, /*make_room=*/true);
  bench.Join(kP, Phase::kPrefill, {kD, kD2}, 64);
  bench.Join(kD, Phase::kDecode, {kP, kD2}, 14);
  std::vector<Seen> seen(4);
  Job several = bench.MakeJob(seen[0]);  // nine blocks, of which one answer has four
  several.id = RequestId{200};
  several.prompt = std::make_shared<const std::vector<TokenId>>(40, 5);
  several.max_tokens = several.answer.tokens_max = 10;
  several.sampling.samples = 3;
  bench.dispatcher->Submit(std::move(several));
  const RequestKey moves{RequestId{201}, Attempt{1}};
  bench.Submit(seen[1], moves.request, 40, 20);  // four blocks
  bench.Token(kP, 0, "", moves);
  bench.Token(kD, 1, "", moves);
  bench.Release(kP, "done", "", moves);
  bench.Join(kD2, Phase::kDecode, {kP, kD}, 12);
  bench.Submit(seen[2], RequestId{202}, 28, 100);  // eight blocks: kD has one
  REQUIRE(bench.port.Of("reserve").back().worker == kD2);

  bench.Submit(seen[3], RequestId{203}, 40, 40);  // five blocks, and four are free at most
  REQUIRE(bench.port.Of("reserve").size() == 3);
  bench.clock.Advance(kRoomPatience);
  bench.dispatcher->Tick();

  const auto sent = bench.port.Of("move");
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].key.request == moves.request);
  CHECK(sent[0].move.to == kD2);
}

TEST_CASE("a worker is asked by name to leave") {
  MoveBench bench;
  CHECK(bench.dispatcher->DrainWorker("w"));
  CHECK(bench.port.Of("drain").size() == 1);
  CHECK_FALSE(bench.dispatcher->DrainWorker("nobody"));
}

}  // namespace
}  // namespace baton::router
