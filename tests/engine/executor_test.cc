#include "engine/executor.h"

#include <future>

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "tests/engine/executor_rig.h"

namespace baton::engine {
namespace {

TEST_CASE("a sequence answers with the tokens that the model and the sampler give") {
  Rig rig;
  const SequenceSpec spec = rig.Spec(1, Prompt(40, 1), 30);
  rig.Start({.batch_tokens = 64, .batch_sequences = 4, .prefill_chunk_tokens = 16});

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const auto seen = rig.events.Of(Key(1));
  CHECK(seen.tokens == PlainAnswer(rig.model, spec));
  CHECK(seen.finish == FinishReason::kLength);
  CHECK(seen.released == FinishReason::kLength);
  CHECK(seen.orderly);
}

TEST_CASE("a step's report says whose tokens it computed, and how much KV they saw") {
  Rig rig;
  rig.Start({.batch_tokens = 64, .batch_sequences = 4, .prefill_chunk_tokens = 16});

  rig.executor->Submit(rig.Spec(1, Prompt(20, 1), 3));
  rig.events.WaitForReleases(1);

  std::vector<std::tuple<std::int64_t, std::int64_t, bool>> parts;
  for (const StepReport& step : rig.events.Steps()) {
    REQUIRE(step.parts.size() == 1);
    CHECK(step.parts[0].key == Key(1));
    parts.emplace_back(step.parts[0].tokens, step.parts[0].positions, step.parts[0].decoding);
  }
  CHECK(parts == std::vector<std::tuple<std::int64_t, std::int64_t, bool>>{
                     {16, 16, false}, {4, 20, false}, {1, 21, true}, {1, 22, true}});
}

TEST_CASE("sequences answer the same from what a device has chosen of their logits, and from rows of it") {
  for (const bool mixed : {false, true}) {
    CAPTURE(mixed);
    Rig rig(4096);
    rig.model.on_device = true;
    std::vector<SequenceSpec> specs;
    RandomStream random(5);
    for (std::uint64_t id = 1; id <= 40; ++id) {
      SequenceSpec spec = rig.Spec(id, Prompt(random.Between(1, 60), id), random.Between(1, 30));
      if (id % 2 == 0) {
        spec.sampling = {
            .temperature = 1.3, .top_p = 0.8, .top_k = 2 + static_cast<std::int32_t>(id), .seed = id};
      }
      if (id % 6 == 0) spec.sampling.min_p = 0.2;
      if (id % 4 == 0) spec.sampling.top_k = 0;  // by a draw, or by a nucleus of some of the highest
      if (id % 12 == 0) spec.sampling.top_p = 1;
      // These need all logits.
      if (mixed && id % 7 == 0) spec.logprobs = 2;
      if (mixed && id % 5 == 0) spec.sampling.bias = {{3, 5}};
      specs.push_back(spec);
    }
    rig.Start({.batch_tokens = 64, .batch_sequences = 8, .prefill_chunk_tokens = 32});

    for (const SequenceSpec& spec : specs) rig.executor->Submit(spec);
    rig.events.WaitForReleases(40);

    for (const SequenceSpec& spec : specs)
      REQUIRE(rig.events.Of(spec.key).tokens == PlainAnswer(rig.model, spec));
    rig.executor.reset();
    CHECK(rig.model.chosen_steps > 0);
    CHECK(rig.model.drawn_rows > 20);
    CHECK(rig.model.read_rows > 0);
  }
}

TEST_CASE("a hundred mixed sequences each answer as if alone, and each is released once") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    Rig rig(4096);
    std::vector<SequenceSpec> specs;
    for (std::uint64_t id = 1; id <= 100; ++id) {
      SequenceSpec spec =
          rig.Spec(id, Prompt(random.Between(1, 150), seed * 1000 + id), random.Between(1, 40));
      if (id % 2 == 0) spec.sampling = {.temperature = 1, .top_p = 0.9, .seed = random.Bits()};
      if (id % 5 == 0) spec.sampling.repetition_penalty = 1.4;
      if (id % 7 == 0) spec.sampling.frequency_penalty = 1.5;
      if (id % 8 == 0) spec.sampling.bias = {{2, 3}, {5, -100}};
      if (id % 9 == 0) spec.sample = 3;
      if (id % 3 == 0) spec.stop.stop_ids = {3, 5, 7, 11, 13};
      if (id % 6 == 0) spec.stop.min_tokens = std::min<std::int64_t>(5, spec.stop.max_tokens);
      specs.push_back(spec);
    }
    rig.Start({.batch_tokens = random.Between(1, 200),
               .batch_sequences = random.Between(1, 40),
               .prefill_chunk_tokens = random.Between(1, 90)});

    for (const SequenceSpec& spec : specs) rig.executor->Submit(spec);
    rig.events.WaitForReleases(100);

    for (const SequenceSpec& spec : specs) {
      const auto seen = rig.events.Of(spec.key);
      REQUIRE(seen.tokens == PlainAnswer(rig.model, spec));
      REQUIRE(seen.releases == 1);
      REQUIRE(seen.orderly);
      REQUIRE(seen.finish == seen.released);
    }
    CHECK(rig.executor->Sequences() == 0);
  }
}

TEST_CASE(
    "a prefill of several answers draws each one's first token, with log-probabilities where asked for") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(20, 1), 8);
  spec.phase = Phase::kPrefill;
  spec.sampling = {.temperature = 1.5, .seed = 21};
  spec.samples = 6;
  spec.logprobs = 3;
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const std::vector<float> logits = rig.model.PlainLogits(spec.tokens);
  const auto events = rig.events.TokenEvents();
  REQUIRE(events.size() == 6);
  Sampler sampler(rig.model.Config().vocabulary);
  for (std::int32_t sample = 0; sample < 6; ++sample) {
    const TokenEvent& event = events[static_cast<std::size_t>(sample)];
    CHECK(event.sample == sample);
    CHECK(event.index == 0);
    CHECK(event.finish == FinishReason::kPrefilled);
    CHECK(event.token == sampler.Sample(logits, spec.sampling, 20, {.sample = sample}));
    const Logprobs wanted = LogprobsOf(logits, event.token, 3);
    REQUIRE(event.logprobs.has_value());
    CHECK(event.logprobs->chosen == wanted.chosen);
    REQUIRE(event.logprobs->top.size() == 3);
    CHECK(event.logprobs->top[2].token == wanted.top[2].token);
  }
}

TEST_CASE("log-probabilities are of the model's own logits, and absent where nobody asked") {
  Rig rig;
  SequenceSpec asked = rig.Spec(1, Prompt(20, 1), 1);
  asked.sampling.bias = {{50, 100}};
  asked.logprobs = 0;
  const SequenceSpec silent = rig.Spec(2, Prompt(20, 1), 1);
  rig.Start();

  rig.executor->Submit(asked);
  rig.executor->Submit(silent);
  rig.events.WaitForReleases(2);

  const std::vector<float> logits = rig.model.PlainLogits(asked.tokens);
  for (const TokenEvent& event : rig.events.TokenEvents()) {
    REQUIRE(event.logprobs.has_value() == (event.key == Key(1)));
    if (event.key == Key(2)) continue;
    CHECK(event.token == 50);
    CHECK(event.logprobs->chosen == LogprobsOf(logits, 50, 0).chosen);
    CHECK(event.logprobs->top.empty());
  }
}

TEST_CASE("a prompt's own log-probabilities come in order, in whatever chunks and company it is computed") {
  const std::int64_t chunk = GENERATE(1, 7, 16, 64);
  CAPTURE(chunk);
  Rig rig;
  SequenceSpec asked = rig.Spec(1, Prompt(40, 1), 3);
  asked.phase = GENERATE(Phase::kWhole, Phase::kPrefill);
  asked.logprobs = 2;
  asked.prompt_logprobs = true;
  SequenceSpec silent = rig.Spec(2, Prompt(30, 2), 3);
  silent.logprobs = 2;
  // Four tokens of the prompt are an answer's that began on another worker: nobody asks for them again.
  SequenceSpec resumed = rig.Spec(3, Prompt(20, 3), 8);
  resumed.resumed = 4;
  resumed.logprobs = 0;
  resumed.prompt_logprobs = true;
  rig.Start({.batch_tokens = 64, .batch_sequences = 4, .prefill_chunk_tokens = chunk});

  rig.events.ExpectFirstIndex(Key(3), 4);
  for (const SequenceSpec& spec : {asked, silent, resumed}) rig.executor->Submit(spec);
  rig.events.WaitForReleases(3);

  const auto seen = rig.events.Of(Key(1));
  REQUIRE(seen.orderly);
  REQUIRE(seen.prompt_logprobs.size() == 39);
  for (std::size_t i = 1; i < asked.tokens.size(); ++i) {
    const std::vector<TokenId> before(asked.tokens.begin(),
                                      asked.tokens.begin() + static_cast<std::ptrdiff_t>(i));
    const Logprobs wanted = LogprobsOf(rig.model.PlainLogits(before), asked.tokens[i], 2);
    REQUIRE(seen.prompt_logprobs[i - 1].chosen == wanted.chosen);
    REQUIRE(seen.prompt_logprobs[i - 1].top.size() == 2);
    REQUIRE(seen.prompt_logprobs[i - 1].top[1].token == wanted.top[1].token);
  }
  if (asked.phase == Phase::kWhole) CHECK(seen.tokens == PlainAnswer(rig.model, asked));
  CHECK(rig.events.Of(Key(2)).prompt_logprobs.empty());
  CHECK(rig.events.Of(Key(2)).tokens == PlainAnswer(rig.model, silent));
  CHECK(rig.events.Of(Key(3)).prompt_logprobs.size() == 15);
  CHECK(rig.events.Of(Key(3)).orderly);
}

TEST_CASE("the fake model notices a foreign block") {
  Rig rig;
  SequenceSpec good = rig.Spec(1, Prompt(40, 1), 8);
  SequenceSpec bad = rig.Spec(2, Prompt(40, 1), 8);
  bad.blocks[1] = bad.blocks[0];
  rig.Start();

  rig.executor->Submit(good);
  rig.executor->Submit(bad);
  rig.events.WaitForReleases(2);

  CHECK(rig.events.Of(Key(1)).tokens != rig.events.Of(Key(2)).tokens);
}

TEST_CASE("a stop id ends the answer and is its last token") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(10, 2), 100);
  const std::vector<TokenId> free = PlainAnswer(rig.model, spec);
  spec.stop.stop_ids = {free[4]};
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const auto seen = rig.events.Of(Key(1));
  CHECK(seen.tokens.back() == free[4]);
  CHECK(seen.tokens.size() <= 5);
  CHECK(seen.finish == FinishReason::kStop);
}

TEST_CASE("before min_tokens no stop id is chosen") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(10, 2), 20);
  for (TokenId id = 0; id < 90; ++id) spec.stop.stop_ids.push_back(id);
  spec.stop.min_tokens = 10;
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const auto seen = rig.events.Of(Key(1));
  REQUIRE(seen.tokens.size() >= 11);
  for (std::size_t i = 0; i < 10; ++i) CHECK(seen.tokens[i] >= 90);
}

TEST_CASE("a prefill ends with its first token and has reported every layer of every chunk") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(50, 3), 1);
  spec.phase = Phase::kPrefill;
  spec.stop.max_tokens = 9;
  spec.report_layers = true;
  rig.Start({.batch_tokens = 20, .batch_sequences = 4, .prefill_chunk_tokens = 20});

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const auto seen = rig.events.Of(Key(1));
  CHECK(seen.tokens == std::vector<TokenId>{PlainAnswer(rig.model, spec).front()});
  CHECK(seen.finish == FinishReason::kPrefilled);
  REQUIRE(seen.layers.size() == 6);
  const std::int64_t firsts[] = {0, 20, 40};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(seen.layers[i].layer == static_cast<int>(i % 2));
    CHECK(seen.layers[i].first_position == firsts[i / 2]);
    CHECK(seen.layers[i].tokens == (i < 4 ? 20 : 10));
    CHECK(seen.layers[i].last == (i >= 4));
  }
}

TEST_CASE("a prefill whose first token ends the answer says why") {
  Rig rig;
  SequenceSpec only = rig.Spec(1, Prompt(5, 3), 1);
  only.phase = Phase::kPrefill;
  SequenceSpec stopped = rig.Spec(2, Prompt(5, 3), 4);
  stopped.phase = Phase::kPrefill;
  stopped.stop.stop_ids = {PlainAnswer(rig.model, stopped).front()};
  rig.Start();

  rig.executor->Submit(only);
  rig.executor->Submit(stopped);
  rig.events.WaitForReleases(2);

  CHECK(rig.events.Of(Key(1)).released == FinishReason::kLength);
  CHECK(rig.events.Of(Key(2)).released == FinishReason::kStop);
}

TEST_CASE("a sequence that is cancelled leaves before the next step") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(5, 4), 1000);
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.index == 6) rig.executor->Cancel(event.key);  // in the middle of a step
  };
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  const auto seen = rig.events.Of(Key(1));
  CHECK(seen.tokens.size() == 7);
  CHECK(seen.released == FinishReason::kCancelled);
  CHECK(seen.releases == 1);
  CHECK(seen.orderly);
}

TEST_CASE("one of a request's answers is stopped alone, and says so once") {
  Rig rig;
  std::vector<SequenceSpec> specs;
  for (std::int32_t sample = 0; sample < 3; ++sample) {
    specs.push_back(rig.Spec(1, Prompt(5, 4), 40));
    specs.back().sampling = {.temperature = 1, .seed = 3};
    specs.back().sample = sample;
  }
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.sample == 1 && event.index == 6) rig.executor->Stop({event.key, 1});  // in the middle of a step
    if (event.sample == 2 && event.finish) rig.executor->Stop({event.key, 2});      // too late
  };
  rig.Start();
  rig.executor->Stop({Key(1), 1});  // too early

  for (const SequenceSpec& spec : specs) rig.executor->Submit(spec);
  rig.events.WaitForReleases(3);

  std::vector<std::vector<TokenId>> answers(3);
  for (const TokenEvent& event : rig.events.TokenEvents())
    answers[static_cast<std::size_t>(event.sample)].push_back(event.token);
  CHECK(answers[0] == PlainAnswer(rig.model, specs[0]));
  CHECK(answers[1].size() == 7);
  CHECK(answers[2] == PlainAnswer(rig.model, specs[2]));
  CHECK(rig.events.Stopped() == std::vector{SequenceKey{Key(1), 1}});
}

TEST_CASE("cancelling what is unknown or over changes nothing, also for a later request of that key") {
  Rig rig;
  rig.Start();
  rig.executor->Cancel(Key(1));
  rig.executor->Submit(rig.Spec(1, Prompt(5, 4), 3));
  rig.events.WaitForReleases(1);
  rig.executor->Cancel(Key(1));
  rig.executor->Submit(rig.Spec(2, Prompt(5, 4), 3));
  rig.events.WaitForReleases(2);

  CHECK(rig.events.Of(Key(1)).released == FinishReason::kLength);
  CHECK(rig.events.Of(Key(1)).releases == 1);
  CHECK(rig.events.Of(Key(2)).released == FinishReason::kLength);
}

TEST_CASE("the end of the executor releases what runs and what waits") {
  Rig rig;
  std::promise<void> running;
  rig.events.on_token = [&](const TokenEvent& event) {
    if (event.index == 0 && event.key == Key(1)) running.set_value();
  };
  rig.Start({.batch_tokens = 8, .batch_sequences = 1, .prefill_chunk_tokens = 8});
  rig.executor->Submit(rig.Spec(1, Prompt(5, 4), 3000));
  running.get_future().wait();
  rig.executor->Submit(rig.Spec(2, Prompt(5, 4), 100));

  rig.executor.reset();

  CHECK(rig.events.Of(Key(1)).released == FinishReason::kCancelled);
  CHECK(rig.events.Of(Key(2)).released == FinishReason::kCancelled);
  CHECK(rig.events.Of(Key(2)).releases == 1);
}

TEST_CASE("decodes share one step, and a prompt joins them in chunks") {
  Rig rig;
  std::promise<void> submitted;
  auto submitted_future = submitted.get_future();
  std::promise<void> both_decode;
  std::promise<void> joined;
  auto joined_future = joined.get_future();
  rig.model.before_step = [&, first = true](const StepBatch&) mutable {
    if (std::exchange(first, false)) submitted_future.wait();
  };
  rig.events.on_token = [&, first_tokens = 0](const TokenEvent& event) mutable {
    if (event.index != 0 || ++first_tokens != 2) return;
    both_decode.set_value();
    joined_future.wait();
  };
  rig.Start({.batch_tokens = 34, .batch_sequences = 8, .prefill_chunk_tokens = 32});
  rig.executor->Submit(rig.Spec(1, Prompt(4, 1), 20));
  rig.executor->Submit(rig.Spec(2, Prompt(4, 2), 20));
  submitted.set_value();
  both_decode.get_future().wait();
  rig.executor->Submit(rig.Spec(3, Prompt(96, 3), 2));
  joined.set_value();
  rig.events.WaitForReleases(3);

  int mixed = 0;
  for (const StepReport& step : rig.events.Steps()) {
    CHECK(step.prompt_tokens + step.decode_tokens <= 34);
    mixed += step.prompt_tokens == 32 && step.decode_tokens == 2 ? 1 : 0;
  }
  CHECK(mixed == 3);
}

TEST_CASE("sequences are counted from their submission to their release") {
  Rig rig;
  std::promise<void> go;
  auto go_future = go.get_future();
  rig.model.before_step = [&, first = true](const StepBatch&) mutable {
    if (std::exchange(first, false)) go_future.wait();
  };
  rig.Start({.batch_tokens = 10, .batch_sequences = 8, .prefill_chunk_tokens = 10});
  CHECK(rig.executor->Sequences() == 0);
  rig.executor->Submit(rig.Spec(1, Prompt(30, 1), 2));
  SequenceSpec decode = rig.Spec(2, Prompt(6, 1), 4);
  decode.phase = Phase::kDecode;
  rig.events.ExpectFirstIndex(Key(2), 1);
  rig.executor->Submit(decode);

  CHECK(rig.executor->Sequences() == 2);
  go.set_value();
  rig.events.WaitForReleases(2);
  CHECK(rig.executor->Sequences() == 0);
  CHECK(rig.events.Of(Key(2)).tokens.size() == 3);
  CHECK(rig.events.Of(Key(2)).orderly);
}

TEST_CASE("a decode that has all its tokens already is released at once") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1, Prompt(6, 1), 1);
  spec.phase = Phase::kDecode;
  rig.Start();

  rig.executor->Submit(spec);
  rig.events.WaitForReleases(1);

  CHECK(rig.events.Of(Key(1)).tokens.empty());
  CHECK(rig.events.Of(Key(1)).released == FinishReason::kLength);
}

TEST_CASE("an idle executor is not late, and a stuck step is") {
  Rig rig;
  std::promise<void> stuck;
  std::promise<void> go;
  auto go_future = go.get_future();
  rig.model.before_step = [&, first = true](const StepBatch&) mutable {
    if (!std::exchange(first, false)) return;
    stuck.set_value();
    go_future.wait();
  };
  rig.Start();
  const TimePoint before = SteadyClock().Now();
  CHECK(rig.executor->LastProgress() >= before);

  rig.executor->Submit(rig.Spec(1, Prompt(6, 1), 1));
  stuck.get_future().wait();
  const TimePoint inside = SteadyClock().Now();

  CHECK(rig.executor->LastProgress() <= inside);
  CHECK(rig.executor->LastProgress() >= before);
  go.set_value();
  rig.events.WaitForReleases(1);
}

}  // namespace
}  // namespace baton::engine
