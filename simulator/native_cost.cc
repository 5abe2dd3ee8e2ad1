#include <algorithm>
#include <limits>
#include <vector>

#include "common/hardware/power.h"
#include "router/policy/cost.h"
#include "simulator/native_run.h"

namespace baton::simulator::native {
namespace {

double Watts(const NativeMachine& about, const hardware::StepTime& time) {
  return hardware::MachineWatts(about.machine, about.device, about.machine.devices, time,
                                {.cap_w = about.gpu_cap_w});
}

}  // namespace

RequestLimits World::LimitsOf(std::int64_t prompt) const {
  return options_.native.limits ? options_.native.limits(prompt) : RequestLimits{};
}

router::PrefillCandidate World::PrefillChoice(std::size_t machine, std::int64_t prompt) const {
  const Machine& m = machines_[machine];
  const NativeMachine& about = setup_.machines[machine];
  const hardware::PromptPiece own{.tokens = prompt};
  const hardware::StepTime time = about.perf->Time({.prompts = {&own, 1}});
  // What waits is computed in full batches.
  const hardware::PromptPiece full{.tokens = options_.native.prefill_batch_tokens};
  double wait_s = m.WakesInS(now_s_);
  if (m.queued_tokens > 0) {
    wait_s += about.perf->Time({.prompts = {&full, 1}}).seconds * static_cast<double>(m.queued_tokens) /
              static_cast<double>(full.tokens);
  }
  return {.machine = static_cast<MachineIndex>(machine),
          .wait_s = wait_s,
          .prompt_s = time.seconds,
          .sigma_s = time.sigma,
          .watts = Watts(about, time),
          .idle_watts = hardware::IdleMachineWatts(about.machine, about.device),
          .dollars_per_hour = hardware::DollarsPerHour(about.machine, about.device)};
}

router::DecodeCandidate World::DecodeChoice(std::size_t machine, std::int64_t prompt, double ahead_s) const {
  const Machine& m = machines_[machine];
  const NativeMachine& about = setup_.machines[machine];
  std::int64_t context = m.coming_tokens;
  for (const Sequence& s : m.running) context += s.tokens;
  const router::DecodeForecast then = router::ForecastDecode(
      {.sequences = static_cast<double>(m.running.size()) + static_cast<double>(m.coming),
       .context_tokens = static_cast<double>(context),
       .step_s = m.last_step_s,
       .remaining_tokens = mean_output_,
       .in_flight = {}},
      ahead_s);
  const auto sequences = static_cast<std::int64_t>(then.sequences + 0.5);
  const auto tokens = static_cast<std::int64_t>(then.context_tokens);
  hardware::StepTime without;
  if (sequences > 0) without = about.perf->Time({.decodes = sequences, .decode_context = tokens});
  const hardware::StepTime with =
      about.perf->Time({.decodes = sequences + 1, .decode_context = tokens + prompt});
  return {.machine = static_cast<MachineIndex>(machine),
          .ready_in_s = m.WakesInS(now_s_),
          .sequences = then.sequences,
          .step_s = without.seconds,
          .step_with_s = with.seconds,
          .sigma_s = with.sigma,
          .watts = sequences > 0 ? Watts(about, without) : 0,
          .watts_with = Watts(about, with),
          .idle_watts = hardware::IdleMachineWatts(about.machine, about.device),
          .free_tokens = m.Available() * options_.native.block_tokens - m.coming_tokens,
          .dollars_per_hour = hardware::DollarsPerHour(about.machine, about.device)};
}

/// The pair that the cost policy takes; {kNoMachine, kNoMachine} where it rejects the request, or none is up.
router::MachinePair World::ChooseByCost(std::uint32_t request) {
  const Request& r = requests_[request];
  std::vector<router::PrefillCandidate> prefill;
  std::vector<router::DecodeCandidate> decode;
  double soonest_s = std::numeric_limits<double>::infinity();
  const auto up = [&](std::size_t i) { return machines_[i].Takes(); };
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (!up(i) || setup_.machines[i].role == router::MachineRole::kToken) continue;
    prefill.push_back(PrefillChoice(i, r.prompt));
    soonest_s = std::min(soonest_s, prefill.back().wait_s + prefill.back().prompt_s);
  }
  for (std::size_t i = 0; i < machines_.size() && !prefill.empty(); ++i) {
    if (!up(i) || setup_.machines[i].role == router::MachineRole::kPrompt) continue;
    decode.push_back(DecodeChoice(i, r.prompt, soonest_s));
  }
  const NativeSettings& native = options_.native;
  router::CostObjectives objectives;
  const RequestLimits limits = LimitsOf(r.prompt);
  if (limits.ttft_s > 0) objectives.ttft_s = limits.ttft_s;
  if (limits.tbt_s > 0) objectives.tbt_s = limits.tbt_s;
  const double expected = std::max(1.0, mean_output_ - static_cast<double>(r.made));
  const router::CostRequest wanted{.prompt_tokens = r.prompt,
                                   .answer_tokens = expected,
                                   .kv_tokens = r.prompt + static_cast<std::int64_t>(expected)};
  router::CostPlacement placed = router::PlaceByCost(wanted, prefill, decode, objectives, native.prices);
  const bool may_wait = placed.refusal == router::CostRefusal::kMemory || !native.reject_early;
  if (placed.refusal && may_wait) {
    objectives.best_effort = true;
    placed = router::PlaceByCost(wanted, prefill, decode, objectives, native.prices);
  }
  // Memory that nobody has now is waited for where most of it is.
  if (placed.refusal == router::CostRefusal::kMemory && !prefill.empty() && !decode.empty()) {
    const auto least = std::min_element(prefill.begin(), prefill.end(), [](const auto& a, const auto& b) {
      return a.wait_s + a.prompt_s < b.wait_s + b.prompt_s;
    });
    const auto freest = std::max_element(decode.begin(), decode.end(), [](const auto& a, const auto& b) {
      return a.free_tokens < b.free_tokens;
    });
    return {least->machine, freest->machine};
  }
  return placed.pair;
}

}  // namespace baton::simulator::native
