#include "common/hardware/roofline.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/check.h"

namespace baton::hardware {
namespace {

constexpr double kMicrosecond = 1e-6;
constexpr double kActivationBytes = 2;  // of one number between operators
// Against kernels the form is right to 10 %, against whole engines it was not seen: be careful.
constexpr double kRooflineSigma = 0.2;

/// One matrix product of a layer, all devices together.
struct Product {
  double parameters = 0;  // that are read
  double multiplied = 0;  // of each token
};

struct Totals {
  double prompt_tokens = 0;
  double tokens = 0;     // prompts' and decodes'
  double sequences = 0;  // that get a token of answer
};

Totals Sum(const StepWork& work) {
  Totals totals;
  for (const PromptPiece& piece : work.prompts) totals.prompt_tokens += static_cast<double>(piece.tokens);
  totals.tokens = totals.prompt_tokens + static_cast<double>(work.decodes);
  totals.sequences = static_cast<double>(work.prompts.size()) + static_cast<double>(work.decodes);
  return totals;
}

/// Of `experts`, those that `tokens` tokens reach when each takes `used` at random.
double ExpectedExperts(const ModelShape& model, double tokens) {
  if (model.experts == 0) return 1;
  const double missed = 1 - static_cast<double>(model.experts_used) / model.experts;
  return model.experts * (1 - std::pow(missed, tokens));
}

/// Query, keys and values; output; up (and gate); down.
std::array<Product, 4> LayerProducts(const ModelShape& model, double tokens) {
  const double query = static_cast<double>(model.heads) * model.head_dim;
  const double kv = static_cast<double>(model.kv_heads) * model.head_dim;
  const double expert = static_cast<double>(model.hidden) * model.intermediate;
  const double reached = ExpectedExperts(model, tokens);
  const double used = model.experts > 0 ? model.experts_used : 1;
  const double up = model.mlp_matrices - 1;
  return {Product{model.hidden * (query + 2 * kv), model.hidden * (query + 2 * kv)},
          Product{model.hidden * query, model.hidden * query},
          Product{reached * up * expert, used * up * expert}, Product{reached * expert, used * expert}};
}

/// Multiplications and additions of attention: QK^T and PV, the causal half of a piece's own square.
double AttentionFlops(const ModelShape& model, const PromptPiece& piece) {
  const auto q = static_cast<double>(piece.tokens);
  const auto c = static_cast<double>(piece.cached);
  return 4.0 * model.layers * model.heads * model.head_dim * (q * c + q * (q + 1) / 2);
}

class RooflineModel final : public PerfModel {
 public:
  RooflineModel(const ModelShape& model, const Device& device, int tensor_parallel)
      : model_(model),
        device_(device),
        degree_(tensor_parallel),
        peak_(model.weight_bytes <= 1 && device.fp8_flops > 0 ? device.fp8_flops : device.bf16_flops) {}

  StepTime Time(const StepWork& work) const override {
    const Totals totals = Sum(work);
    if (totals.tokens <= 0) return {};
    const StepCost cost = CostOf(model_, degree_, work);
    double layer = 0;
    for (const Product& product : LayerProducts(model_, totals.tokens)) {
      layer += ProductSeconds(product, totals.tokens);
    }
    const double head = static_cast<double>(model_.hidden) * model_.vocabulary;
    const double seconds = model_.layers * layer + ProductSeconds({head, head}, totals.sequences) +
                           AttentionSeconds(cost, work) +
                           2 * model_.layers * AllReduceSeconds(device_, degree_, cost.allreduce_bytes);
    return {.seconds = seconds,
            .sigma = kRooflineSigma * seconds,
            .extrapolated = true,
            .bandwidth_share = std::min(1.0, cost.Bytes() / (seconds * device_.bandwidth)),
            .flops_share = std::min(1.0, cost.Flops() / (seconds * device_.bf16_flops))};
  }

 private:
  double ProductSeconds(const Product& product, double tokens) const {
    const Efficiency& efficiency = device_.efficiency;
    const double compute = 2 * product.multiplied * tokens / degree_ / (efficiency.gemm_compute * peak_);
    const double memory =
        product.parameters * model_.weight_bytes / degree_ / (efficiency.gemm_memory * device_.bandwidth);
    return efficiency.overhead_us * kMicrosecond + SmoothMax(compute, memory, efficiency.smooth);
  }

  double AttentionSeconds(const StepCost& cost, const StepWork& work) const {
    const Efficiency& efficiency = device_.efficiency;
    const double kernels = (work.prompts.empty() ? 0 : 1) + (work.decodes > 0 ? 1 : 0);
    const double memory_rate = efficiency.kv_memory * device_.bandwidth;
    return model_.layers * kernels * efficiency.overhead_us * kMicrosecond +
           SmoothMax(cost.attention_flops / (efficiency.attention_compute * device_.bf16_flops),
                     cost.prompt_kv_bytes / memory_rate, efficiency.smooth) +
           cost.decode_kv_bytes / memory_rate;
  }

  const ModelShape model_;
  const Device device_;
  const int degree_;
  const double peak_;
};

}  // namespace

StepCost CostOf(const ModelShape& model, int tensor_parallel, const StepWork& work) {
  const Totals totals = Sum(work);
  StepCost cost;
  double multiplied = 0;
  double read = 0;
  for (const Product& product : LayerProducts(model, totals.tokens)) {
    multiplied += product.multiplied;
    read += product.parameters;
  }
  const double head = static_cast<double>(model.hidden) * model.vocabulary;
  cost.linear_flops =
      2 * (model.layers * multiplied * totals.tokens + head * totals.sequences) / tensor_parallel;
  cost.weight_bytes = (model.layers * read + head) * model.weight_bytes / tensor_parallel;
  double prompt_context = 0;
  for (const PromptPiece& piece : work.prompts) {
    cost.attention_flops += AttentionFlops(model, piece) / tensor_parallel;
    prompt_context += static_cast<double>(piece.tokens + piece.cached);
  }
  // A device holds whole heads: beyond as many devices as there are, they hold copies.
  const double kv_share = std::min(tensor_parallel, model.kv_heads);
  cost.prompt_kv_bytes = prompt_context * model.KvBytesPerToken() / kv_share;
  cost.decode_kv_bytes = static_cast<double>(work.decode_context) * model.KvBytesPerToken() / kv_share;
  cost.allreduce_bytes = totals.tokens * model.hidden * kActivationBytes;
  return cost;
}

double SmoothMax(double a, double b, double q) {
  const double high = std::max(a, b);
  if (high <= 0) return 0;
  return high * std::pow(1 + std::pow(std::min(a, b) / high, q), 1 / q);
}

double AllReduceSeconds(const Device& device, int degree, double bytes) {
  if (degree <= 1) return 0;
  const double link = device.nvlink_bandwidth > 0 ? device.nvlink_bandwidth : device.pcie_bandwidth;
  BATON_CHECK(link > 0, "device {} has no link", device.name);
  return device.allreduce_alpha_us * kMicrosecond +
         2.0 * (degree - 1) / degree * bytes / (device.allreduce_efficiency * link);
}

std::unique_ptr<PerfModel> MakeRooflineModel(const ModelShape& model, const Device& device,
                                             int tensor_parallel) {
  BATON_CHECK(tensor_parallel >= 1, "tensor_parallel {}", tensor_parallel);
  return std::make_unique<RooflineModel>(model, device, tensor_parallel);
}

}  // namespace baton::hardware
