#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "router/policy/packing.h"
#include "simulator/native_run.h"

namespace baton::simulator::native {

/// Steps of the machine with so many answers of so much context, and a prompt's piece of mean size.
router::SharedSteps World::StepsWith(std::size_t machine, std::int64_t sequences, double context) const {
  const NativeMachine& about = setup_.machines[machine];
  hardware::StepWork work{.prompts = {}, .decodes = sequences, .decode_context = std::llround(context)};
  router::SharedSteps steps{.sequences = static_cast<double>(sequences),
                            .step_s = about.perf->Time(work).seconds,
                            .answer_tokens = std::max(1.0, mean_output_)};
  if (about.role == router::MachineRole::kToken) return steps;
  const auto chunk = static_cast<double>(options_.native.mixed_chunk_tokens);
  steps.pieces = mean_prompt_ / chunk + 0.5;  // the last piece of a prompt is half full, on average
  const hardware::PromptPiece piece{.tokens =
                                        std::max<std::int64_t>(1, std::llround(mean_prompt_ / steps.pieces))};
  work.prompts = {&piece, 1};
  steps.mixed_s = about.perf->Time(work).seconds;
  steps.queued_pieces = static_cast<double>(machines_[machine].queued_tokens) / chunk;
  return steps;
}

router::PackCandidate World::PackChoice(std::size_t machine, std::int64_t prompt) const {
  const Machine& m = machines_[machine];
  const NativeMachine& about = setup_.machines[machine];
  router::PackCandidate candidate{
      .machine = static_cast<MachineIndex>(machine),
      .role = about.role,
      .price = MostOf(machine).price,
      .free_tokens = m.Available() * options_.native.block_tokens - m.coming_tokens};
  if (about.role == router::MachineRole::kPrompt) {
    const router::PrefillCandidate prefill = PrefillChoice(machine, prompt);
    candidate.ttft_s = prefill.wait_s + prefill.prompt_s;
    return candidate;
  }
  // Prompts that are not whole count as coming, wherever they are.
  std::int64_t sequences = m.coming + 1;
  double context = static_cast<double>(m.coming_tokens + prompt);
  for (const Sequence& s : m.running) {
    if (s.prompt_left > 0) continue;
    ++sequences;
    context += static_cast<double>(s.tokens);
  }
  const router::SharedSteps steps = StepsWith(machine, sequences, context);
  candidate.tbt_s = router::InterruptedTbt(steps);
  if (about.role == router::MachineRole::kToken) return candidate;
  const std::int64_t chunk = options_.native.mixed_chunk_tokens;
  const hardware::PromptPiece piece{.tokens = std::min(prompt, chunk)};
  const double piece_s = about.perf
                             ->Time({.prompts = {&piece, 1},
                                     .decodes = sequences - 1,
                                     .decode_context = std::llround(context) - prompt})
                             .seconds;
  const auto pieces = static_cast<double>((prompt + chunk - 1) / chunk);
  double begins_s = 0;  // when the step that runs ends
  if (m.busy) {
    const double in_step_s = std::fmod(now_s_ - m.start_s, std::max(m.step_s, 1e-9));
    begins_s = std::max(0.0, m.step_s - in_step_s);
  }
  candidate.ttft_s = begins_s + steps.queued_pieces * steps.mixed_s + pieces * piece_s;
  return candidate;
}

/// The pair that the packing policy takes; {kNoMachine, kNoMachine} where it rejects the request, or none is
/// up.
router::MachinePair World::ChooseByPacking(std::uint32_t request) {
  const Request& r = requests_[request];
  std::vector<bool> spare(machines_.size(), false);
  for (const MachineIndex each : router::SpareMachines(PowerMachines(), demand_, {})) spare[At(each)] = true;
  std::vector<router::PackCandidate> candidates;
  // Of the machines of a pool that have nothing, all are as good as the first: most are, in a large fleet.
  std::vector<router::PackCandidate> empty;
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    const Machine& m = machines_[i];
    if (!m.Takes()) continue;
    const auto pool = static_cast<std::size_t>(setup_.machines[i].pool);
    empty.resize(std::max(empty.size(), pool + 1));
    router::PackCandidate& known = empty[pool];
    const bool nothing = m.HasNothing();
    if (nothing && known.machine == router::kNoMachine) known = PackChoice(i, r.prompt);
    candidates.push_back(nothing ? known : PackChoice(i, r.prompt));
    candidates.back().machine = static_cast<MachineIndex>(i);
    candidates.back().spare = spare[i];
  }
  router::PackLimits limits{.fill = options_.native.fill, .best_effort = !options_.native.reject_early};
  const RequestLimits objectives = LimitsOf(r.prompt);
  if (objectives.ttft_s > 0) limits.ttft_s = objectives.ttft_s;
  if (objectives.tbt_s > 0) limits.tbt_s = objectives.tbt_s;
  const double expected = std::max(1.0, mean_output_ - static_cast<double>(r.made));
  router::PackPlacement placed =
      router::PlaceByPacking(r.prompt + static_cast<std::int64_t>(expected), candidates, limits);
  if (placed.refusal == router::CostRefusal::kMemory) {  // waits for it there
    placed = router::PlaceByPacking(std::numeric_limits<std::int64_t>::min(), candidates, limits);
  }
  return placed.pair;
}

}  // namespace baton::simulator::native
