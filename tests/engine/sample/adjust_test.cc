#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "engine/sample/logprobs.h"
#include "engine/sample/sampler.h"

namespace baton::engine {
namespace {

constexpr std::int32_t kVocabulary = 130;  // no multiple of 64
constexpr float kNever = -std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = static_cast<float>(random.Uniform() * 8 - 4);
  return logits;
}

std::vector<TokenId> RandomTokens(std::uint64_t seed, std::size_t count) {
  RandomStream random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.Between(0, kVocabulary - 1));
  return tokens;
}

/// What bias and penalties do to the logits, straight from their definitions.
std::vector<float> PlainAdjusted(std::vector<float> logits, const SamplingParams& params,
                                 const std::vector<TokenId>& prompt, const std::vector<TokenId>& answer) {
  for (const TokenBias& bias : params.bias) logits[static_cast<std::size_t>(bias.token)] += bias.bias;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const auto prompted = std::count(prompt.begin(), prompt.end(), static_cast<TokenId>(id));
    const auto answered = std::count(answer.begin(), answer.end(), static_cast<TokenId>(id));
    double value = logits[id];
    if (prompted + answered > 0) {
      value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    }
    value -= params.frequency_penalty * static_cast<double>(answered);
    if (answered > 0) value -= params.presence_penalty;
    logits[id] = static_cast<float>(value);
  }
  return logits;
}

TokenHistory HistoryOf(const std::vector<TokenId>& prompt, const std::vector<TokenId>& answer) {
  TokenHistory history;
  history.AddPrompt(prompt);
  for (const TokenId token : answer) history.AddAnswer(token);
  return history;
}

TEST_CASE("penalties and bias choose as the adjusted logits do by themselves") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    SamplingParams params{.temperature = seed % 3 == 0 ? 0 : 1.2, .top_p = 0.9, .seed = seed};
    SamplingParams plain = params;
    if (seed % 2 == 0) params.repetition_penalty = 0.5 + random.Uniform() * 2;
    if (seed % 4 < 2) params.presence_penalty = random.Uniform() * 4 - 2;
    if (seed % 5 < 3) params.frequency_penalty = random.Uniform() * 4 - 2;
    if (seed % 7 < 3) params.bias = {{3, 2.5F}, {129, -100}, {64, 1}};
    const std::vector<TokenId> prompt = RandomTokens(seed, 30);
    const std::vector<TokenId> answer = RandomTokens(seed + 500, 40);
    const TokenHistory history = HistoryOf(prompt, answer);
    Sampler sampler(kVocabulary);
    for (std::int64_t position = 0; position < 20; ++position) {
      const std::vector<float> logits = RandomLogits(seed * 100 + static_cast<std::uint64_t>(position));
      const TokenId wanted = sampler.Sample(PlainAdjusted(logits, params, prompt, answer), plain, position);
      REQUIRE(sampler.Sample(logits, params, position, {.history = &history}) == wanted);
    }
  }
}

TEST_CASE("a history that grew token by token is the one that is built anew after a hand-off") {
  const std::vector<TokenId> prompt = RandomTokens(1, 20);
  const std::vector<TokenId> answer = RandomTokens(2, 200);
  TokenHistory grown;
  grown.AddPrompt(prompt);
  for (std::size_t i = 0; i < answer.size(); ++i) {
    grown.AddAnswer(answer[i]);
    std::map<TokenId, std::int32_t> wanted;
    for (const TokenId token : prompt) wanted[token] = 0;
    for (std::size_t j = 0; j <= i; ++j) ++wanted[answer[j]];
    std::map<TokenId, std::int32_t> got;
    for (const TokenHistory::Entry& entry : grown.Entries()) got[entry.token] = entry.answered;
    REQUIRE(got == wanted);
    REQUIRE(grown.Entries().size() == wanted.size());
  }
}

TEST_CASE("repetition counts the prompt, presence and frequency do not") {
  std::vector<float> logits(kVocabulary, 0.0F);
  logits[5] = 4;
  logits[6] = 3;
  const TokenHistory prompted = HistoryOf({5}, {});
  const TokenHistory answered = HistoryOf({}, {5});
  Sampler sampler(kVocabulary);

  CHECK(sampler.Sample(logits, {.repetition_penalty = 2}, 0, {.history = &prompted}) == 6);
  CHECK(sampler.Sample(logits, {.presence_penalty = 2}, 0, {.history = &prompted}) == 5);
  CHECK(sampler.Sample(logits, {.frequency_penalty = 2}, 0, {.history = &prompted}) == 5);
  CHECK(sampler.Sample(logits, {.presence_penalty = 2}, 0, {.history = &answered}) == 6);
  CHECK(sampler.Sample(logits, {.frequency_penalty = 2}, 0, {.history = &answered}) == 6);
}

TEST_CASE("only allowed tokens are chosen, whatever their logits and bias are") {
  std::vector<std::uint64_t> allowed(3);
  for (const std::size_t id : {7U, 64U, 129U}) allowed[id / 64] |= std::uint64_t{1} << (id % 64);
  Sampler sampler(kVocabulary);
  std::map<TokenId, int> seen;

  for (std::int64_t position = 0; position < 300; ++position) {
    const SamplingParams params{.temperature = 2, .seed = 3, .bias = {{8, 100}}};
    ++seen[sampler.Sample(RandomLogits(4), params, position, {.allowed = allowed})];
  }
  REQUIRE(seen.size() == 3);
  CHECK(seen.contains(7));
  CHECK(seen.contains(64));
  CHECK(seen.contains(129));
  CHECK(sampler.Sample(RandomLogits(4), {.bias = {{8, 100}}}, 0) == 8);
}

TEST_CASE("a banned token is chosen only where nothing else is allowed") {
  std::vector<float> logits(kVocabulary, 0.0F);
  logits[9] = 10;
  const std::vector<TokenId> banned = {9, -1, kVocabulary};
  std::vector<std::uint64_t> allowed(3);
  allowed[0] = std::uint64_t{1} << 9;
  Sampler sampler(kVocabulary);

  CHECK(sampler.Sample(logits, {}, 0) == 9);
  CHECK(sampler.Sample(logits, {}, 0, {.banned = banned}) == 0);
  CHECK(sampler.Sample(logits, {}, 0, {.allowed = allowed, .banned = banned}) == 9);
  allowed[0] |= 2;
  CHECK(sampler.Sample(logits, {}, 0, {.allowed = allowed, .banned = banned}) == 1);
}

TEST_CASE("samples of one prompt draw with seeds of their own, the first with the seed itself") {
  const std::vector<float> logits(kVocabulary, 0.0F);
  const SamplingParams params{.temperature = 1, .seed = 11};
  Sampler sampler(kVocabulary);

  int same = 0;
  for (std::int64_t position = 0; position < 100; ++position) {
    const TokenId first = sampler.Sample(logits, params, position);
    REQUIRE(sampler.Sample(logits, params, position, {.sample = 0}) == first);
    same += sampler.Sample(logits, params, position, {.sample = 1}) == first ? 1 : 0;
    same += sampler.Sample(logits, params, position, {.sample = 2}) == first ? 1 : 0;
  }
  CHECK(same < 12);  // 1.5 are expected
  CHECK(SeedOfSample(11, 0) == 11);
}

TEST_CASE("logprobs are the log-softmax of the logits, the highest first, ties by the lower id") {
  std::vector<float> logits = RandomLogits(8);
  logits[20] = logits[90] = logits[100] = 5;
  logits[1] = kNever;
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));

  const Logprobs found = LogprobsOf(logits, 33, 20);
  REQUIRE(found.top.size() == 20);
  CHECK(found.chosen == Approx(logits[33] - std::log(total)));
  CHECK(found.top[0].token == 20);
  CHECK(found.top[1].token == 90);
  CHECK(found.top[2].token == 100);
  std::vector<TokenId> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  for (std::size_t i = 0; i < found.top.size(); ++i) {
    CHECK(found.top[i].token == order[i]);
    CHECK(found.top[i].logprob ==
          Approx(logits[static_cast<std::size_t>(order[i])] - std::log(total)).margin(1e-6));
  }
  CHECK(LogprobsOf(logits, 1, 0).chosen == kNever);
  CHECK(LogprobsOf(logits, 1, 0).top.empty());
  CHECK(LogprobsOf(logits, 1, 1000).top.size() == logits.size());
}

TEST_CASE("penalties and bias out of range are refused by name") {
  const auto message = [](const SamplingParams& params) { return Message(Validate(params)); };

  CHECK(
      Validate({.repetition_penalty = 5, .presence_penalty = -2, .frequency_penalty = 2, .bias = {{1, -100}}})
          .ok());
  CHECK(message({.repetition_penalty = 0}).find("repetition_penalty") == 0);
  CHECK(message({.repetition_penalty = std::numeric_limits<double>::infinity()}).find("repetition_penalty") ==
        0);
  CHECK(message({.presence_penalty = 2.1}).find("presence_penalty") == 0);
  CHECK(message({.frequency_penalty = std::nan("")}).find("frequency_penalty") == 0);
  CHECK(message({.bias = {{1, 101}}}).find("bias") == 0);
  CHECK(message({.bias = {{-1, 1}}}).find("bias") == 0);
}

}  // namespace
}  // namespace baton::engine
