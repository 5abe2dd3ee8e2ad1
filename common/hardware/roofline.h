#pragma once

#include <memory>

#include "common/hardware/perf_model.h"

namespace baton::hardware {

/// Operations and bytes of one step on each device of `tensor_parallel`.
struct StepCost {
  double linear_flops = 0;
  double attention_flops = 0;  // of prompts
  double weight_bytes = 0;     // read once a step
  double prompt_kv_bytes = 0;  // read and written by prompts
  double decode_kv_bytes = 0;  // read by decoding sequences
  double allreduce_bytes = 0;  // of one all-reduce; there are two a layer

  [[nodiscard]] double Flops() const { return linear_flops + attention_flops; }
  [[nodiscard]] double Bytes() const { return weight_bytes + prompt_kv_bytes + decode_kv_bytes; }
};
[[nodiscard]] StepCost CostOf(const ModelShape& model, int tensor_parallel, const StepWork& work);

/// (a^q + b^q)^(1/q): the larger where they differ much, more where they are alike.
[[nodiscard]] double SmoothMax(double a, double b, double q);

/// Ring all-reduce of `bytes` over `degree` devices, seconds. Nothing for one device.
[[nodiscard]] double AllReduceSeconds(const Device& device, int degree, double bytes);

/// Sums operators at the device's efficiencies: no engine around them. Always says `extrapolated`: it was
/// fitted on kernels, never on steps.
[[nodiscard]] std::unique_ptr<PerfModel> MakeRooflineModel(const ModelShape& model, const Device& device,
                                                           int tensor_parallel);

}  // namespace baton::hardware
