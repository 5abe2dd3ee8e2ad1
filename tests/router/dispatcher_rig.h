#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "router/dispatcher.h"
#include "tests/common/text/toy_tokenizer.h"

/// A dispatcher between a client and workers that a test plays.
namespace baton::router {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What a client saw.
struct Seen {
  std::string text;
  std::string finish;
  std::string error;
  int status = 0;
  std::int64_t tokens = 0;
  std::int64_t cached = 0;
  std::int64_t logprobs = 0;                    // of so many tokens
  std::map<std::int32_t, std::string> choices;  // their texts
  std::map<std::int32_t, std::string> ends;     // and finishes
  bool gone = false;                            // the client no longer reads
  bool dropped = false;
};

class FakeSink final : public AnswerSink {
 public:
  explicit FakeSink(Seen& seen) : seen_(seen) {}
  ~FakeSink() override { seen_.dropped = true; }
  bool Text(TextPiece piece, const Usage& usage) override {
    seen_.text += piece.text;
    seen_.choices[piece.choice] += piece.text;
    seen_.logprobs += std::ssize(piece.logprobs);
    seen_.tokens = usage.completion_tokens;
    return !seen_.gone;
  }
  void Finish(std::int32_t choice, const AnswerEnd& end, const Usage& usage) override {
    REQUIRE(seen_.error.empty());
    REQUIRE(seen_.ends.try_emplace(choice, end.finish_reason).second);
    seen_.finish = end.finish_reason;
    seen_.cached = usage.cached_tokens;
    seen_.tokens = usage.completion_tokens;
  }
  void Fail(const ApiError& error) override {
    REQUIRE(seen_.finish + seen_.error == "");
    seen_.error = error.code;
    seen_.status = error.status;
  }
  bool Tick(TimePoint /*now*/) override { return !seen_.gone; }

 private:
  Seen& seen_;
};

struct Sent {
  std::string what;  // "prefill", "reserve", "cancel"
  WorkerId worker;
  RequestKey key;
  Order order;
  MoveOrder move = {};
  TakeBackOrder take = {};
  GiveBackOrder give = {};
  std::int32_t sample = 0;
};

class FakePort final : public WorkerPort {
 public:
  void SendPrefill(WorkerId worker, const Order& order) override {
    sent.push_back({"prefill", worker, order.key, order});
  }
  void SendReserve(WorkerId worker, const Order& order) override {
    sent.push_back({"reserve", worker, order.key, order});
  }
  void SendCancel(WorkerId worker, RequestKey key) override { sent.push_back({"cancel", worker, key, {}}); }
  void SendStopSample(WorkerId worker, RequestKey key, std::int32_t sample) override {
    sent.push_back({"stop_sample", worker, key, {}});
    sent.back().sample = sample;
  }
  void SendMove(WorkerId worker, const MoveOrder& order) override {
    sent.push_back({"move", worker, order.key, {}, order});
  }
  void SendMoveStop(WorkerId worker, RequestKey target) override {
    sent.push_back({"move_stop", worker, target, {}});
  }
  void SendTakeBack(WorkerId worker, const TakeBackOrder& order) override {
    sent.push_back({"take_back", worker, order.key, {}, {}, order});
  }
  void SendGiveBack(WorkerId worker, const GiveBackOrder& order) override {
    sent.push_back({"give_back", worker, order.key, {}, {}, {}, order});
  }
  void SendDrain(WorkerId worker) override { sent.push_back({"drain", worker, {}, {}}); }
  [[nodiscard]] std::vector<Sent> Of(std::string_view what) const {
    std::vector<Sent> out;
    for (const Sent& s : sent) {
      if (s.what == what) out.push_back(s);
    }
    return out;
  }
  std::vector<Sent> sent;
};

constexpr WorkerId kP{1};
constexpr WorkerId kD{2};
constexpr WorkerId kP2{3};
constexpr WorkerId kD2{4};
constexpr RequestId kRequest{100};
constexpr RequestKey kFirst{kRequest, Attempt{1}};
constexpr RequestKey kSecond{kRequest, Attempt{2}};
constexpr TokenId kA = 'a' - '!';  // the toy's ids begin with the printable characters

class Bench {
 public:
  explicit Bench(AdmissionLimits limits = {}, ResumeLimits resume = {}, Recorder* recorder = nullptr,
                 bool balance = false, const GiveBackLimits& give_back = {.enabled = false},
                 bool make_room = false)
      : tokenizer_(text::ToyFile{}.Load()), probe_(metrics) {
    dispatcher = std::make_unique<Dispatcher>(clock, port, *tokenizer_, probe_,
                                              Dispatcher::Options{.model_name = "m",
                                                                  .limits = limits,
                                                                  .resume = resume,
                                                                  .recorder = recorder,
                                                                  .balance = balance,
                                                                  .make_room = make_room,
                                                                  .give_back = give_back});
  }
  void Join(WorkerId id, cluster::Phase phase, const std::vector<WorkerId>& peers, std::int64_t blocks = 64,
            const std::string& numerics_class = "c",
            const std::function<void(cluster::WorkerDescription&)>& change = {}) {
    cluster::WorkerDescription worker{.id = id,
                                      .name = "w",
                                      .phase = phase,
                                      .incarnation = Incarnation{id.value + 1000U},
                                      .model = "m",
                                      .numerics_class = numerics_class,
                                      .kv_blocks = blocks,
                                      .block_tokens = 16,
                                      .context_tokens = 512,
                                      .batch_tokens = 0,
                                      .batch_sequences = 0};
    if (change) change(worker);
    dispatcher->OnJoined(worker);
    cluster::LoadReport load;
    load.ready = true;
    load.kv_blocks_free = blocks;
    for (const WorkerId peer : peers) load.links.push_back({peer, true, "tcp", 1e9});
    dispatcher->OnLoad(id, load);
  }
  void JoinPair() {
    Join(kP, cluster::Phase::kPrefill, {kD});
    Join(kD, cluster::Phase::kDecode, {kP});
  }
  void JoinTwoPairs() {
    Join(kP, cluster::Phase::kPrefill, {kD, kD2});
    Join(kD, cluster::Phase::kDecode, {kP, kP2});
    Join(kP2, cluster::Phase::kPrefill, {kD, kD2});
    Join(kD2, cluster::Phase::kDecode, {kP, kP2});
  }
  /// Of 20 tokens, answered by 10.
  Job MakeJob(Seen& seen) {
    Job job;
    job.cache_salt = "salt";
    job.id = kRequest;
    job.prompt = std::make_shared<const std::vector<TokenId>>(20, 5);
    job.max_tokens = 10;
    job.sampling.seed = 42;
    job.answer.tokens_max = 10;
    job.arrived = clock.Now();
    job.deadline = clock.Now() + seconds(30);
    job.sink = std::make_unique<FakeSink>(seen);
    return job;
  }
  void Submit(Seen& seen, RequestId id = kRequest, std::int64_t max_tokens = 10, std::size_t prompt = 20,
              std::vector<std::string> stop = {}, std::vector<std::uint64_t> prefixes = {}) {
    Job job = MakeJob(seen);
    job.id = id;
    job.prefixes = std::move(prefixes);
    job.prompt = std::make_shared<const std::vector<TokenId>>(prompt, 5);
    job.max_tokens = max_tokens;
    job.answer.tokens_max = max_tokens;
    job.answer.stop = std::move(stop);
    dispatcher->Submit(std::move(job));
  }
  void Token(WorkerId worker, std::int64_t index, std::string finish = "", RequestKey key = kFirst) {
    dispatcher->OnToken(worker, {.key = key, .index = index, .token = kA, .finish = std::move(finish)});
  }
  void Release(WorkerId worker, std::string outcome = "done", std::string code = "",
               RequestKey key = kFirst) {
    ReleaseReport report;
    report.key = key;
    report.outcome = std::move(outcome);
    report.error_code = std::move(code);
    dispatcher->OnReleased(worker, report);
  }

  ManualClock clock;
  FakePort port;
  metrics::Registry metrics;
  std::unique_ptr<Dispatcher> dispatcher;

 private:
  std::unique_ptr<text::Tokenizer> tokenizer_;
  Probe probe_;
};

}  // namespace baton::router
