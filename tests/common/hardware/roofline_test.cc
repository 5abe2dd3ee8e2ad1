#include "common/hardware/roofline.h"

#include <array>

#include <catch2/catch.hpp>

namespace baton::hardware {
namespace {

std::unique_ptr<PerfModel> Made(std::string_view model, std::string_view device, int degree) {
  return MakeRooflineModel(**Catalogue::BuiltIn().FindModel(model), **Catalogue::BuiltIn().FindDevice(device),
                           degree);
}

double DecodeMs(std::string_view device, std::int64_t sequences) {
  return 1000 * Made("llama-3-70b", device, 8)
                    ->Time({.decodes = sequences, .decode_context = sequences * 2048})
                    .seconds;
}

double PromptMs(std::string_view device) {
  const PromptPiece piece{.tokens = 2048};
  return 1000 * Made("llama-3-70b", device, 8)->Time({.prompts = {&piece, 1}}).seconds;
}

TEST_CASE("the smooth maximum is near the larger and above both") {
  CHECK(SmoothMax(3, 4, 2) == Approx(5));
  CHECK(SmoothMax(1, 100, 4) == Approx(100).epsilon(1e-6));
  CHECK(SmoothMax(0, 7, 2) == 7);
  CHECK(SmoothMax(0, 0, 2) == 0);
}

TEST_CASE("work of a step is counted as the decoder's shape says") {
  const ModelShape& llama = **Catalogue::BuiltIn().FindModel("llama2-70b");
  const std::array<PromptPiece, 2> prompts = {PromptPiece{.tokens = 100, .cached = 50},
                                              PromptPiece{.tokens = 10}};

  const StepCost cost = CostOf(llama, 4, {.prompts = prompts, .decodes = 3, .decode_context = 600});

  const double matrices = llama.Parameters() - 2.0 * 32'000 * 8192;  // all but the embeddings
  const double head = 32'000.0 * 8192;
  CHECK(cost.linear_flops == Approx(2 * (matrices * 113 + head * 5) / 4));
  CHECK(cost.attention_flops == Approx(4.0 * 80 * 64 * 128 * (100 * 50 + 100 * 101 / 2 + 10 * 11 / 2) / 4));
  CHECK(cost.weight_bytes == Approx((matrices + head) * 2 / 4));
  CHECK(cost.decode_kv_bytes == Approx(600 * 327'680.0 / 4));
  CHECK(cost.prompt_kv_bytes == Approx(160 * 327'680.0 / 4));
  CHECK(cost.allreduce_bytes == 113 * 8192 * 2);
}

TEST_CASE("beyond as many devices as KV heads each reads as much KV as before") {
  const ModelShape& qwen = **Catalogue::BuiltIn().FindModel("qwen2.5-7b");  // 4 KV heads

  const StepWork work{.decodes = 1, .decode_context = 1000};
  CHECK(CostOf(qwen, 8, work).decode_kv_bytes == CostOf(qwen, 4, work).decode_kv_bytes);
  CHECK(CostOf(qwen, 4, work).decode_kv_bytes == CostOf(qwen, 1, work).decode_kv_bytes / 4);
}

TEST_CASE("few tokens reach few experts, many reach all") {
  const ModelShape& mixtral = **Catalogue::BuiltIn().FindModel("mixtral-8x7b");
  const double experts = 32.0 * 3 * 4096 * 14336;  // one of each layer

  const double one = CostOf(mixtral, 1, {.decodes = 1, .decode_context = 1}).weight_bytes;
  const double many = CostOf(mixtral, 1, {.decodes = 256, .decode_context = 256}).weight_bytes;

  CHECK((many - one) / 2 == Approx(6 * experts).epsilon(0.001));  // 2 of 8 experts against all
}

TEST_CASE("a step of Llama 3 70B on eight devices takes what composed kernel timings give") {
  // Published kernel timings composed without an engine around them; 15 % is what such compositions differ
  // by.
  CHECK(DecodeMs("a100-80gb", 1) == Approx(15.8).epsilon(0.15));
  CHECK(DecodeMs("a100-80gb", 64) == Approx(23.8).epsilon(0.15));
  CHECK(DecodeMs("h100-80gb", 1) == Approx(9.2).epsilon(0.15));
  CHECK(DecodeMs("h100-80gb", 64) == Approx(12.5).epsilon(0.15));
  CHECK(DecodeMs("h100-80gb", 256) == Approx(23.7).epsilon(0.15));
  CHECK(DecodeMs("h200-141gb", 64) == Approx(10.2).epsilon(0.15));
  CHECK(DecodeMs("b200-180gb", 64) == Approx(7.6).epsilon(0.15));
  CHECK(PromptMs("a100-80gb") == Approx(228).epsilon(0.15));
  CHECK(PromptMs("h100-80gb") == Approx(89).epsilon(0.15));
  CHECK(PromptMs("b200-180gb") == Approx(48).epsilon(0.15));
}

TEST_CASE("one device reduces nothing, and devices without a direct link reduce slowly") {
  const Device& h100 = **Catalogue::BuiltIn().FindDevice("h100-80gb");
  const Device& l40s = **Catalogue::BuiltIn().FindDevice("l40s-48gb");

  CHECK(AllReduceSeconds(h100, 1, 1e9) == 0);
  CHECK(AllReduceSeconds(h100, 8, 0) == Approx(5e-6));
  CHECK(AllReduceSeconds(l40s, 8, 1e8) > 30 * AllReduceSeconds(h100, 8, 1e8));
}

TEST_CASE("a roofline says that it extrapolates, and a step of nothing takes no time") {
  const auto model = Made("mistral-7b", "l40s-48gb", 1);

  CHECK(model->Time({.decodes = 1, .decode_context = 10}).extrapolated);
  CHECK(model->Time({.decodes = 1, .decode_context = 10}).sigma > 0);
  CHECK(model->Time({}).seconds == 0);
}

}  // namespace
}  // namespace baton::hardware
