#include "engine/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::engine {
namespace {

std::vector<float> RandomLogits(std::size_t count, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(random.Uniform() * 8 - 4);
  return logits;
}

/// The distribution that `params` mean, by full sorting: the plain reference.
std::vector<double> PlainDistribution(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size()) {
    order.resize(static_cast<std::size_t>(params.top_k));
  }
  const auto weight = [&](std::size_t i) {
    return std::exp((static_cast<double>(logits[i]) - logits[order[0]]) / params.temperature);
  };
  std::erase_if(order, [&, first = order[0]](std::size_t i) {
    return std::exp((static_cast<double>(logits[i]) - logits[first]) / params.temperature) < params.min_p;
  });
  double total = 0;
  for (const std::size_t i : order) total += weight(i);
  double reached = 0;
  std::size_t kept = 0;
  while (kept < order.size() && (kept == 0 || reached < params.top_p * total))
    reached += weight(order[kept++]);
  if (params.top_p < 1) order.resize(kept);
  total = 0;
  for (const std::size_t i : order) total += weight(i);
  std::vector<double> distribution(logits.size());
  for (const std::size_t i : order) distribution[i] = weight(i) / total;
  return distribution;
}

/// Draws at `draws` positions; no token of chance 0 may come, and chi-square must stay below a bound that a
/// right sampler exceeds once in about 10^5 seeds (mean df, deviation sqrt(2 df); 5 deviations).
void CheckDistribution(const std::vector<float>& logits, const SamplingParams& params) {
  constexpr std::int64_t kDraws = 20'000;
  const std::vector<double> expected = PlainDistribution(logits, params);
  Sampler sampler(static_cast<std::int32_t>(logits.size()));
  std::vector<std::int64_t> counts(logits.size());
  for (std::int64_t position = 0; position < kDraws; ++position) {
    ++counts.at(static_cast<std::size_t>(sampler.Sample(logits, params, position)));
  }
  double chi_square = 0;
  double degrees = -1;
  double rare_expected = 0;
  double rare_seen = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double wanted = expected[i] * kDraws;
    if (expected[i] == 0) REQUIRE(counts[i] == 0);
    if (wanted < 8) {  // too rare for the approximation alone: pooled
      rare_expected += wanted;
      rare_seen += static_cast<double>(counts[i]);
      continue;
    }
    chi_square += std::pow(static_cast<double>(counts[i]) - wanted, 2) / wanted;
    ++degrees;
  }
  if (rare_expected >= 8) {
    chi_square += std::pow(rare_seen - rare_expected, 2) / rare_expected;
    ++degrees;
  }
  REQUIRE(degrees >= 1);
  CHECK(chi_square < degrees + 5 * std::sqrt(2 * degrees) + 5);
}

TEST_CASE("greedy takes the highest logit, and of equals the lower id") {
  Sampler sampler(5);

  CHECK(sampler.Sample(std::vector<float>{0, 3, 1, 3, 2}, {}, 0) == 1);
  CHECK(sampler.Sample(std::vector<float>{-5, -4, -3, -2, -1}, {}, 0) == 4);
}

TEST_CASE("draws follow the distribution of the logits and the temperature") {
  for (const double temperature : {0.5, 1.0, 1.7}) {
    CheckDistribution(RandomLogits(40, 1), {.temperature = temperature, .seed = 7});
  }
}

TEST_CASE("draws with filters follow the filtered distribution") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    const SamplingParams params{.temperature = 0.4 + random.Uniform(),
                                .top_p = seed % 2 == 0 ? 1 : 0.3 + 0.6 * random.Uniform(),
                                .top_k = seed % 3 == 0 ? 0 : static_cast<std::int32_t>(random.Between(3, 60)),
                                .min_p = seed % 4 < 2 ? 0 : 0.1 * random.Uniform(),
                                .seed = seed};
    CheckDistribution(RandomLogits(300, seed + 100), params);
  }
}

TEST_CASE("top-p over a large vocabulary sorts as far as it must") {
  std::vector<float> flat(2000, 0.0F);  // 1,800 of them make 0.9
  CheckDistribution(flat, {.temperature = 1, .top_p = 0.9, .seed = 3});
}

TEST_CASE("the same seed and position give the same token whatever was sampled before") {
  const std::vector<float> logits = RandomLogits(500, 5);
  const SamplingParams params{.temperature = 1, .top_p = 0.95, .seed = 99};
  Sampler used(500);
  Sampler fresh(500);

  for (std::int64_t position = 0; position < 200; ++position) {
    const TokenId token = used.Sample(logits, params, position);
    (void)used.Sample(RandomLogits(500, static_cast<std::uint64_t>(position)), {.temperature = 2, .seed = 1},
                      3);
    REQUIRE(fresh.Sample(logits, params, position) == token);
  }
}

TEST_CASE("seeds and positions give different draws") {
  const std::vector<float> logits(1000, 0.0F);
  Sampler sampler(1000);

  int same = 0;
  for (std::int64_t position = 0; position < 200; ++position) {
    const TokenId token = sampler.Sample(logits, {.temperature = 1, .seed = 1}, position);
    same += token == sampler.Sample(logits, {.temperature = 1, .seed = 2}, position) ? 1 : 0;
    same += token == sampler.Sample(logits, {.temperature = 1, .seed = 1}, position + 1) ? 1 : 0;
  }
  CHECK(same < 10);  // 0.4 are expected
}

TEST_CASE("a token of logit minus infinity is never drawn") {
  std::vector<float> logits(4, 0.0F);
  logits[0] = logits[3] = -std::numeric_limits<float>::infinity();
  Sampler sampler(4);

  for (std::int64_t position = 0; position < 500; ++position) {
    const TokenId token = sampler.Sample(logits, {.temperature = 2, .seed = 4}, position);
    REQUIRE((token == 1 || token == 2));
  }
}

TEST_CASE("parameters out of range are refused by name") {
  const auto message = [](const SamplingParams& params) { return Message(Validate(params)); };

  CHECK(Validate({}).ok());
  CHECK(Validate({.temperature = 2, .top_p = 0.1, .top_k = 5, .min_p = 1}).ok());
  CHECK(message({.temperature = -0.1}).find("temperature") == 0);
  CHECK(message({.temperature = 2.5}).find("temperature") == 0);
  CHECK(message({.temperature = std::nan("")}).find("temperature") == 0);
  CHECK(message({.top_p = 0}).find("top_p") == 0);
  CHECK(message({.top_p = 1.5}).find("top_p") == 0);
  CHECK(message({.top_k = -1}).find("top_k") == 0);
  CHECK(message({.min_p = 1.1}).find("min_p") == 0);
}

/// The highest of a row, and what a device would draw from it, its weights summed backwards.
struct Device {
  std::vector<std::int32_t> tokens;
  std::vector<float> logits;
  KnownLogits known;

  Device(const std::vector<float>& row, const SamplingParams& params, std::size_t count) {
    tokens.resize(row.size());
    std::iota(tokens.begin(), tokens.end(), 0);
    std::stable_sort(tokens.begin(), tokens.end(), [&](std::int32_t a, std::int32_t b) {
      return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
    });
    tokens.resize(std::min(count, row.size()));
    for (const std::int32_t id : tokens) logits.push_back(row[static_cast<std::size_t>(id)]);
    known = {.tokens = tokens, .logits = logits};
    const double highest = static_cast<double>(*std::ranges::max_element(row));
    for (auto logit = row.rbegin(); logit != row.rend() && params.temperature > 0; ++logit) {
      const double weight = std::exp((static_cast<double>(*logit) - highest) / params.temperature);
      known.total += weight >= params.min_p ? weight : 0;
    }
  }
};

/// Some with many alike, and none of some.
std::vector<float> OddLogits(std::size_t vocabulary, std::uint64_t round) {
  std::vector<float> logits = RandomLogits(vocabulary, round);
  if (round % 3 != 0) return logits;
  for (float& logit : logits) logit = std::round(logit);
  for (std::size_t i = 0; i < vocabulary; i += 2) logits[i] = -std::numeric_limits<float>::infinity();
  return logits;
}

TEST_CASE("from the highest logits comes the token that comes from all, to the bit") {
  constexpr std::size_t kVocabulary = 500;
  Sampler sampler(kVocabulary);
  RandomStream random(9);
  for (std::uint64_t round = 0; round < 400; ++round) {
    const std::vector<float> logits = OddLogits(kVocabulary, round);
    SamplingParams params{.temperature = random.Uniform() * 2, .seed = round};
    params.top_k = static_cast<std::int32_t>(random.Between(1, 64));
    if (round % 4 == 0) params.temperature = 0;
    if (round % 5 == 0) params.top_p = 0.7;
    if (round % 7 == 0) params.min_p = 0.3;
    const LogitsNeeded needed = Sampler::Needed(params);
    REQUIRE((needed.candidates > 0 && !needed.draw));
    const Device device(logits, params, static_cast<std::size_t>(needed.candidates) + round % 3);

    for (std::int64_t position = 0; position < 20; ++position) {
      REQUIRE(sampler.SampleKnown(device.known, params, position, 2) ==
              sampler.Sample(logits, params, position, {.sample = 2}));
    }
  }
}

TEST_CASE("a nucleus among the highest gives the token that all give, and one that is larger gives nothing") {
  const std::size_t vocabulary = GENERATE(40, 500);
  Sampler sampler(static_cast<std::int32_t>(vocabulary));
  RandomStream random(19);
  std::int64_t decided = 0;
  std::int64_t left = 0;
  for (std::uint64_t round = 0; round < 400; ++round) {
    const std::vector<float> logits = OddLogits(vocabulary, round);
    SamplingParams params{
        .temperature = 0.05 + random.Uniform() * 2, .top_p = 0.05 + 0.949 * random.Uniform(), .seed = round};
    if (round % 7 == 0) params.min_p = 0.1;
    if (round % 11 == 0) params.top_p = 1 - 0x1p-40;
    REQUIRE((Sampler::Needed(params).candidates == 64 && Sampler::Needed(params).draw));
    const Device device(logits, params, 64);

    for (std::int64_t position = 0; position < 20; ++position) {
      const auto token = sampler.SampleKnown(device.known, params, position, 1);
      ++(token ? decided : left);
      if (token) REQUIRE(*token == sampler.Sample(logits, params, position, {.sample = 1}));
    }
  }
  CHECK(decided > 2000);
  // Where all are known, a mass that is nearly all of them alone.
  CHECK((vocabulary > 64 ? left > 0 : left <= 37 * 20));
}

TEST_CASE("a mass that ends within a rounding of a candidate, or an unknown total, decides nothing") {
  Sampler sampler(8);
  const std::vector<float> logits(8, 1.0F);  // an eighth each
  SamplingParams params{.temperature = 1, .top_p = 0.5, .seed = 3};
  Device device(logits, params, 8);

  CHECK_FALSE(sampler.SampleKnown(device.known, params, 0).has_value());
  params.top_p = 0.55;
  CHECK(sampler.SampleKnown(device.known, params, 0) == sampler.Sample(logits, params, 0));
  device.known.total = 0;
  CHECK_FALSE(sampler.SampleKnown(device.known, params, 0).has_value());
}

TEST_CASE("what a device has drawn is the token, and what it has not is nobody's") {
  Sampler sampler(8);
  const SamplingParams params{.temperature = 1};

  CHECK(sampler.SampleKnown({.drawn = 5, .total = 3}, params, 0) == 5);
  CHECK_FALSE(sampler.SampleKnown({.drawn = -1, .total = 3}, params, 0).has_value());
  CHECK_FALSE(sampler.SampleKnown({.drawn = 8, .total = 3}, params, 0).has_value());
}

TEST_CASE("what a choice depends on is said, or that it is all") {
  const auto needed = [](const SamplingParams& params) {
    const LogitsNeeded out = Sampler::Needed(params);
    return std::pair(out.candidates, out.draw);
  };
  using Needed = std::pair<std::int64_t, bool>;
  CHECK(needed({}) == Needed{1, false});
  CHECK(needed({.temperature = 1, .top_k = 1}) == Needed{1, false});
  CHECK(needed({.temperature = 1, .top_p = 0.9, .top_k = 40}) == Needed{40, false});
  CHECK(needed({.temperature = 1}) == Needed{0, true});
  CHECK(needed({.temperature = 1, .top_p = 0.9}) == Needed{64, true});
  CHECK(Sampler::Needed({.temperature = 1, .top_k = 1000}).All());
}

}  // namespace
}  // namespace baton::engine
