#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/hardware/catalogue.h"

namespace baton::hardware {

/// A piece of a prompt in a step.
struct PromptPiece {
  std::int64_t tokens = 0;  // computed in this step
  std::int64_t cached = 0;  // of the same prompt, before them
};

/// What one step computes: pieces of prompts, and one token for each decoding sequence.
struct StepWork {
  std::span<const PromptPiece> prompts;
  std::int64_t decodes = 0;
  std::int64_t decode_context = 0;  // tokens, summed over the decoding sequences
};

struct StepTime {
  double seconds = 0;
  double sigma = 0;            // of the prediction, seconds
  bool extrapolated = false;   // the work lies outside what the model was fitted on
  double bandwidth_share = 0;  // of the devices' peak over the step, for power
  double flops_share = 0;
};

/// How long a step takes. Pure and thread-safe; one for each {model, machine, tensor parallel}.
class PerfModel {
 public:
  virtual ~PerfModel() = default;
  [[nodiscard]] virtual StepTime Time(const StepWork& work) const = 0;
};

}  // namespace baton::hardware
