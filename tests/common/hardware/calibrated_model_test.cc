#include "common/hardware/calibrated_model.h"

#include <array>
#include <cmath>

#include <catch2/catch.hpp>

#include "common/hardware/log_fit.h"

namespace baton::hardware {
namespace {

std::unique_ptr<PerfModel> Best(std::string_view model, std::string_view machine, int degree = 8) {
  auto made = MakePerfModel(Catalogue::BuiltIn(),
                            {.model = model, .machine = machine, .tensor_parallel = degree}, PerfKind::kBest);
  REQUIRE(made.ok());
  return *std::move(made);
}

double PromptSeconds(const PerfModel& model, std::int64_t tokens) {
  const PromptPiece piece{.tokens = tokens};
  return model.Time({.prompts = {&piece, 1}}).seconds;
}

TEST_CASE("parameters are found from observations that they explain") {
  const std::vector<double> x = {1, 2, 4, 8, 16};
  const std::vector<LogPrior> priors = {{1, 2}, {1, 2}};

  const std::vector<double> found =
      FitPositive(priors, x.size(), [&](std::span<const double> p, std::span<double> errors) {
        for (std::size_t i = 0; i < x.size(); ++i) {
          errors[i] = std::log((3 + 0.5 * x[i]) / (p[0] + p[1] * x[i])) / 1e-3;
        }
      });

  CHECK(found[0] == Approx(3).epsilon(1e-4));
  CHECK(found[1] == Approx(0.5).epsilon(1e-4));
}

TEST_CASE("without observations parameters stay where they are expected") {
  const std::vector<LogPrior> priors = {{7, 0.1}};

  CHECK(FitPositive(priors, 0, [](std::span<const double>, std::span<double>) {})[0] == Approx(7));
}

TEST_CASE("a residual is met at its points, fades far from them, and is the surer the nearer") {
  const std::vector<ResidualPoint> points = {{.tokens = 100, .spread = 1, .log_ratio = 0.2},
                                             {.tokens = 800, .spread = 1, .log_ratio = -0.1}};
  const ResidualCurve curve(points, {.amplitude = 0.2, .noise = 0.001, .tokens_scale = 1, .spread_scale = 2});

  CHECK(curve.At(100, 1).mean == Approx(0.2).margin(1e-3));
  CHECK(curve.At(800, 1).mean == Approx(-0.1).margin(1e-3));
  CHECK(std::abs(curve.At(100'000, 1).mean) < 1e-3);
  CHECK(curve.At(100, 1).sigma < 0.01);
  CHECK(curve.At(100'000, 1).sigma == Approx(0.2).margin(1e-3));
  CHECK(curve.Covers(300, 1));
  CHECK_FALSE(curve.Covers(99, 1));
  CHECK_FALSE(curve.Covers(300, 2));
  CHECK_FALSE(ResidualCurve({}, {}).Covers(1, 1));
}

TEST_CASE("decoding in large batches costs what was measured") {
  const auto a100 = Best("bloom-176b", "dgx-a100");

  const StepTime one = a100->Time({.decodes = 1, .decode_context = 576});
  const StepTime full = a100->Time({.decodes = 64, .decode_context = 64 * 576});

  CHECK(one.seconds == Approx(0.0488).epsilon(0.03));
  CHECK(full.seconds == Approx(0.0966).epsilon(0.06));
  CHECK_FALSE(full.extrapolated);
  CHECK(a100->Time({.decodes = 65, .decode_context = 65 * 576}).extrapolated);
  CHECK(a100->Time({.decodes = 256, .decode_context = 256 * 576}).sigma / full.sigma > 2);
}

TEST_CASE("a mixed step takes longer than its prompts, is flagged, and is less sure") {
  const auto h100 = Best("llama2-70b", "dgx-h100");
  const std::array<PromptPiece, 1> prompt = {PromptPiece{.tokens = 1024}};

  const StepTime alone = h100->Time({.prompts = prompt});
  const StepTime mixed = h100->Time({.prompts = prompt, .decodes = 32, .decode_context = 32 * 1000});

  CHECK(mixed.seconds > alone.seconds);
  CHECK(mixed.seconds < alone.seconds + h100->Time({.decodes = 32, .decode_context = 32'000}).seconds);
  CHECK(mixed.extrapolated);
  CHECK_FALSE(alone.extrapolated);
  CHECK(mixed.sigma / mixed.seconds > alone.sigma / alone.seconds);
}

TEST_CASE("prompts use arithmetic, decodes use memory") {
  const auto h100 = Best("llama2-70b", "dgx-h100");
  const std::array<PromptPiece, 1> prompt = {PromptPiece{.tokens = 2048}};

  const StepTime prefill = h100->Time({.prompts = prompt});
  const StepTime decode = h100->Time({.decodes = 8, .decode_context = 8 * 1000});

  CHECK(prefill.flops_share > 0.2);
  CHECK(prefill.flops_share > 5 * decode.flops_share);
  CHECK(decode.bandwidth_share > 2 * prefill.bandwidth_share);
  CHECK(decode.bandwidth_share < 1);
}

TEST_CASE("the machine with capped devices prompts slower and decodes as fast, by physics and not by table") {
  const auto full = Best("bloom-176b", "dgx-h100");
  const auto capped = Best("bloom-176b", "dgx-h100-pcap");

  const double slowdown = PromptSeconds(*capped, 2048) / PromptSeconds(*full, 2048);

  CHECK(slowdown > 1.1);
  CHECK(slowdown < 1.32);  // the paper took 1.3
  const StepWork decode{.decodes = 32, .decode_context = 32 * 1000};
  CHECK(capped->Time(decode).seconds == full->Time(decode).seconds);
}

}  // namespace
}  // namespace baton::hardware
