#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

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

enum class PerfKind {
  kBest,       // calibrated where the catalogue holds a calibration, else the roofline
  kRoofline,   // from the shapes and the device's efficiencies alone
  kTable,      // interpolates the catalogue's table; decoding by the key it was measured with
  kReference,  // exactly what the paper's simulator answers
};

/// What runs where.
struct PerfConfiguration {
  std::string_view model;
  std::string_view machine;
  int tensor_parallel = 0;  // 0: all devices of the machine
  double gpu_cap_w = 0;     // 0: the machine's own cap, if it has one
};

/// What the times of a configuration rest on. Two machines compare only where it is the same for both: a
/// measured engine of 2023 spends on launches alone what a roofline has for the whole step.
struct TimesBasis {
  enum class Kind { kMeasured, kRoofline };
  Kind kind = Kind::kRoofline;
  std::string engine;  // kMeasured: of whom, in words; may be empty

  friend bool operator==(const TimesBasis&, const TimesBasis&) = default;
};
/// "measured (eager vLLM of 2023)", "roofline".
[[nodiscard]] std::string Describe(const TimesBasis& basis);
/// Of PerfKind::kBest. Errors are those of MakePerfModel.
[[nodiscard]] absl::StatusOr<TimesBasis> BasisOf(const Catalogue& catalogue,
                                                 const PerfConfiguration& configuration);

/// Errors name the model, machine, table that the catalogue lacks, and a degree that does not fit. A power
/// cap slows steps that would draw more (power.h); tables (kTable, kReference) hold the machine's own and
/// take no other. Keeps no reference to `catalogue`.
[[nodiscard]] absl::StatusOr<std::unique_ptr<PerfModel>> MakePerfModel(const Catalogue& catalogue,
                                                                       const PerfConfiguration& configuration,
                                                                       PerfKind kind);

}  // namespace baton::hardware
