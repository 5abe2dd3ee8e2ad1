#include "tests/router/dispatcher_rig.h"

namespace baton::router {
namespace {

TEST_CASE("a request goes to both workers at once, each told of the other") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  REQUIRE(bench.port.sent.size() == 2);
  const Order prefill = bench.port.Of("prefill").at(0).order;
  const Order reserve = bench.port.Of("reserve").at(0).order;
  CHECK(prefill.key == kFirst);
  CHECK(reserve.key == kFirst);
  CHECK(prefill.peer == kD);
  CHECK(prefill.peer_incarnation == Incarnation{1002});
  CHECK(reserve.peer == kP);
  CHECK(reserve.peer_incarnation == Incarnation{1001});
  CHECK(prefill.tokens == reserve.tokens);
  CHECK(prefill.sampling.seed == 42);
  CHECK(prefill.remaining == seconds(30));
}

TEST_CASE("the first token is shown when prefill reports it, and decode's repeat is not") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  CHECK(seen.text == "a");
  bench.Token(kD, 0);
  CHECK(seen.text == "a");
  bench.Token(kD, 1);
  bench.Token(kD, 2, "length");
  CHECK(seen.text == "aaa");
  CHECK(seen.finish == "length");
  CHECK(seen.tokens == 3);
  CHECK(bench.port.Of("cancel").empty());
}

TEST_CASE("a request lives until both workers have released it") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Release(kP);
  bench.Token(kD, 1, "stop");
  CHECK(bench.dispatcher->Live() == 1);
  bench.Release(kD);
  CHECK(bench.dispatcher->Live() == 0);
  CHECK(seen.finish == "stop");
}

TEST_CASE("an answer that ends with its first token cancels the hand-off") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0, "stop");
  CHECK(seen.finish == "stop");
  CHECK(bench.port.Of("cancel").size() == 2);
  bench.Release(kP);
  bench.Release(kD, "cancelled");
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("a client that goes away cancels on both workers, in every state") {
  for (const int tokens : {0, 1, 3}) {
    CAPTURE(tokens);
    Bench bench;
    bench.JoinPair();
    Seen seen;
    bench.Submit(seen);
    for (int i = 0; i < tokens; ++i) bench.Token(i == 0 ? kP : kD, i);
    bench.dispatcher->ClientGone(kRequest);
    const auto cancels = bench.port.Of("cancel");
    REQUIRE(cancels.size() == 2);
    CHECK(cancels[0].key == kFirst);
    CHECK(seen.dropped);
    bench.dispatcher->ClientGone(kRequest);
    CHECK(bench.port.Of("cancel").size() == 2);
    bench.Release(kP, "cancelled");
    bench.Release(kD, "cancelled");
    CHECK(bench.dispatcher->Live() == 0);
  }
}

TEST_CASE("a client that is found gone while writing is cancelled too") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  seen.gone = true;
  bench.Token(kD, 1);
  CHECK(bench.port.Of("cancel").size() == 2);
  CHECK(seen.dropped);
}

TEST_CASE("a stop string ends the answer and cancels on both workers") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen, kRequest, 10, 20, {"aaa"});
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.Token(kD, 2);
  CHECK(seen.text.empty());
  CHECK(seen.finish == "stop");
  CHECK(bench.port.Of("cancel").size() == 2);
}

TEST_CASE("a prefill worker that dies after decode took over is no loss") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.dispatcher->OnLost(kP);
  CHECK(seen.error.empty());
  bench.Token(kD, 2, "length");
  CHECK(seen.finish == "length");
  bench.Release(kD);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("a worker lost before the first token is replaced once, without a trace for the client") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.dispatcher->OnLost(kP);
  CHECK(seen.error.empty());
  REQUIRE(bench.port.Of("prefill").size() == 2);
  CHECK(bench.port.Of("prefill").at(1).worker == kP2);
  CHECK(bench.port.Of("prefill").at(1).key == kSecond);
  CHECK(bench.port.Of("prefill").at(1).order.sampling.seed == 42);
  REQUIRE(bench.port.Of("cancel").size() == 1);
  CHECK(bench.port.Of("cancel").at(0).key == kFirst);
  CHECK(bench.port.Of("cancel").at(0).worker == kD);
  const WorkerId decode = bench.port.Of("reserve").at(1).worker;
  bench.Token(kD, 0);  // of the first attempt: too late
  CHECK(seen.text.empty());
  bench.Token(kP2, 0, "", kSecond);
  bench.Token(decode, 1, "length", kSecond);
  CHECK(seen.text == "aa");
  bench.Release(kD, "cancelled");
  bench.Release(kP2, "done", "", kSecond);
  CHECK(bench.dispatcher->Live() == 1);
  bench.Release(decode, "done", "", kSecond);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("the failure of the last attempt is the client's to know") {
  Bench bench({}, {.attempts = 2});
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Release(kP, "failed", "kv_transfer");
  CHECK(seen.error.empty());
  const WorkerId prefill = bench.port.Of("prefill").at(1).worker;
  bench.Release(prefill, "failed", "kv_transfer", kSecond);
  CHECK(seen.error == "kv_transfer");
  CHECK(seen.status == 503);
}

TEST_CASE("a worker's unknown error is an internal one, and is not tried again") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Release(kP, "failed", "<script>");
  CHECK(seen.error == "internal_error");
  CHECK(seen.status == 500);
}

TEST_CASE("decode that says it is done before the answer ended is an error") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Release(kD);
  CHECK(seen.error == "internal_error");
}

TEST_CASE("tokens of strangers, old attempts and impossible places change nothing") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP2, 0);
  bench.Token(kP, 0, "", {RequestId{5}, Attempt{1}});
  bench.Token(kP, 0, "", {kRequest, Attempt{0}});
  bench.Token(kP, 0, "", kSecond);
  bench.Release(kP2);
  bench.Release(kP, "done", "", kSecond);
  CHECK(seen.text.empty());
  CHECK(bench.dispatcher->Live() == 1);
}

TEST_CASE("a token past the limit fails the request") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen, kRequest, 2);
  bench.Token(kP, 0);
  bench.Token(kD, 2);
  CHECK(seen.error == "internal_error");
}

TEST_CASE("without workers a request is refused at once") {
  Bench bench;
  Seen seen;
  bench.Submit(seen);
  CHECK(seen.error == "no_prefill_workers");
  CHECK(seen.status == 503);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("the queue is bounded, and opens again") {
  Bench bench({.queue_requests = 2, .queue_prompt_tokens = 1000});
  bench.JoinPair();
  Seen first;
  Seen second;
  Seen third;
  bench.Submit(first, RequestId{1});
  bench.Submit(second, RequestId{2});
  bench.Submit(third, RequestId{3});
  CHECK(third.error == "queue_full");
  CHECK(second.error.empty());
  bench.Token(kP, 0, "", {RequestId{1}, Attempt{1}});
  Seen fourth;
  bench.Submit(fourth, RequestId{4});
  CHECK(fourth.error.empty());
}

TEST_CASE("a request without memory on decode waits its turn") {
  Bench bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 4);
  Seen first;
  Seen second;
  Seen third;
  bench.Submit(first, RequestId{1}, 20, 30);  // 4 blocks of 16
  bench.Submit(second, RequestId{2}, 20, 30);
  bench.Submit(third, RequestId{3}, 1, 1);  // would fit, but is behind
  CHECK(bench.port.Of("reserve").size() == 1);
  bench.Token(kP, 0, "stop", {RequestId{1}, Attempt{1}});
  bench.Release(kP, "done", "", {RequestId{1}, Attempt{1}});
  CHECK(bench.port.Of("reserve").size() == 1);
  bench.Release(kD, "cancelled", "", {RequestId{1}, Attempt{1}});
  CHECK(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve").at(1).key.request == RequestId{2});
  bench.dispatcher->ClientGone(RequestId{3});
  CHECK(third.dropped);
  CHECK(bench.dispatcher->Live() == 1);
}

TEST_CASE("requests that wait fail when the last worker of a phase goes") {
  Bench bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 4);
  Seen first;
  Seen second;
  bench.Submit(first, RequestId{1}, 20, 30);
  bench.Submit(second, RequestId{2}, 20, 30);
  bench.dispatcher->OnLost(kD);
  CHECK(first.error == "worker_lost");
  CHECK(second.error == "no_decode_workers");
}

TEST_CASE("a deadline fails the request and cancels it") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.clock.Advance(seconds(29));
  bench.dispatcher->Tick();
  CHECK(seen.error.empty());
  bench.clock.Advance(seconds(1));
  bench.dispatcher->Tick();
  CHECK(seen.error == "deadline_exceeded");
  CHECK(seen.status == 504);
  CHECK(bench.port.Of("cancel").size() == 2);
}

TEST_CASE("a worker that never releases is given up after a while") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0, "stop");
  bench.Release(kP);
  bench.clock.Advance(seconds(61));
  bench.dispatcher->Tick();
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("a router that drains refuses what is new and finishes what runs") {
  Bench bench;
  bench.JoinPair();
  Seen running;
  Seen refused;
  bench.Submit(running, RequestId{1});
  bench.dispatcher->BeginDrain();
  bench.Submit(refused, RequestId{2});
  CHECK(refused.error == "draining");
  CHECK(bench.dispatcher->NotReady() == Refusal::kDraining);
  bench.Token(kP, 0, "stop", {RequestId{1}, Attempt{1}});
  CHECK(running.finish == "stop");
}

TEST_CASE("a worker that leaves gets nothing new") {
  Bench bench;
  bench.JoinTwoPairs();
  bench.dispatcher->OnLeaving(kP);
  Seen seen;
  bench.Submit(seen);
  CHECK(bench.port.Of("prefill").at(0).worker == kP2);
}

TEST_CASE("metrics follow the requests, down to zero") {
  Bench bench;
  bench.JoinPair();
  const auto has = [&](std::string_view line) {
    bench.dispatcher->Tick();
    CAPTURE(line);
    CHECK(bench.metrics.Text().find(std::string(line) + "\n") != std::string::npos);
  };
  has("baton_requests_in_flight 0");
  has("baton_request_errors_total{reason=\"worker_lost\"} 0");
  Seen seen;
  bench.Submit(seen);
  has("baton_requests_in_flight 1");
  has("baton_queued_prompt_tokens 20");
  has("baton_workers{phase=\"decode\",state=\"ready\"} 1");
  bench.Token(kP, 0);
  has("baton_queued_prompt_tokens 0");
  has("baton_time_to_first_token_seconds_count 1");
  bench.Token(kD, 1, "length");
  has("baton_inter_token_latency_seconds_count 1");
  has("baton_generated_tokens_total 2");
  ReleaseReport report;
  report.key = kFirst;
  report.outcome = "done";
  report.has_transfer = true;
  report.transfer.transport = "tcp";
  report.transfer.bytes = 4096;
  report.transfer.wire = milliseconds(250);
  bench.dispatcher->OnReleased(kP, report);
  has("baton_kv_handoff_bytes_total{transport=\"tcp\"} 4096");
  has("baton_kv_handoff_wire_seconds_total 0.25");
  bench.Release(kD);
  has("baton_requests_in_flight 0");
}

}  // namespace
}  // namespace baton::router
