#include "engine/worker/energy_ledger.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::engine {
namespace {

using Wide = __int128;

/// A time without steps that is shorter says little of idle power: counters move in steps of their own.
constexpr Duration kIdleLeast = std::chrono::milliseconds(100);

}  // namespace

std::vector<std::int64_t> SplitExactly(std::int64_t total, std::span<const std::int64_t> weights) {
  Wide sum = 0;
  for (const std::int64_t weight : weights) sum += weight;
  BATON_CHECK(sum > 0, "{} weights without a sum", weights.size());
  std::vector<std::int64_t> parts;
  parts.reserve(weights.size());
  Wide before = 0;
  std::int64_t given = 0;
  for (const std::int64_t weight :
       weights) {  // differences of running sums: what is cut off one, the next has
    before += weight;
    const auto until = static_cast<std::int64_t>(total * before / sum);
    parts.push_back(until - given);
    given = until;
  }
  return parts;
}

StepCost CostOf(const ModelConfig& model) {
  const std::int64_t heads = std::int64_t{model.heads + model.kv_heads} * 2 * model.head_dim;
  StepCost cost{.weights = model.hidden * model.vocabulary};
  for (int layer = 0; layer < model.layers; ++layer) {
    const bool experts =
        layer < std::ssize(model.has_experts) && model.has_experts[static_cast<std::size_t>(layer)];
    const std::int64_t width =
        experts ? model.experts.chosen * model.experts.intermediate + model.experts.shared_intermediate
                : model.intermediate;
    cost.weights += model.hidden * (heads + 3 * width);
    cost.kv_position += std::int64_t{2} * model.kv_heads * model.head_dim;
  }
  return cost;
}

std::vector<std::int64_t> ShareStep(std::span<const StepPart> parts, const StepCost& cost,
                                    Duration duration) {
  std::int64_t tokens = 0;
  for (const StepPart& part : parts) tokens += part.tokens;
  std::vector<std::int64_t> weights;
  weights.reserve(parts.size());
  // weights * tokens / all tokens + KV, times all tokens.
  for (const StepPart& part : parts)
    weights.push_back(cost.weights * part.tokens + cost.kv_position * part.positions * tokens);
  return SplitExactly(duration.count(), weights);
}

void EnergyLedger::OnStep(const StepReport& step) {
  if (step.parts.empty()) return;
  // A step that a coarse clock gives no time to is still one.
  const Duration duration = std::max(step.duration, Duration(1));
  const std::vector<std::int64_t> shares = ShareStep(step.parts, cost_, duration);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    Account& account = accounts_[step.parts[i].key];
    (step.parts[i].decoding ? account.answer_ns : account.prompt_ns) += shares[i];
  }
  busy_ += duration;
}

void EnergyLedger::OnEnded(RequestKey key) {
  const auto at = accounts_.find(key);
  if (at != accounts_.end()) at->second.ended = true;
}

EnergyWindow EnergyLedger::Close(std::int64_t energy_uj, Duration length) {
  EnergyWindow out{.busy = std::min(busy_, length)};
  if (!HasSteps()) {
    out.idle_uj = energy_uj;
    if (length >= kIdleLeast) {
      const double watts = 1e-6 * static_cast<double>(energy_uj) / Seconds(length);
      idle_watts_ = idle_watts_ > 0 ? std::min(idle_watts_, watts) : watts;
    }
  } else {
    const double idle = idle_watts_ * 1e6 * Seconds(length - out.busy);
    out.idle_uj = std::min(energy_uj, static_cast<std::int64_t>(idle));
    std::vector<std::int64_t> weights;
    for (const auto& [key, account] : accounts_) {
      weights.push_back(account.prompt_ns);
      weights.push_back(account.answer_ns);
    }
    const std::vector<std::int64_t> shares = SplitExactly(energy_uj - out.idle_uj, weights);
    auto share = shares.begin();
    for (auto& [key, account] : accounts_) {
      out.prompt_uj += *share;
      account.uj += *share++;
      out.answer_uj += *share;
      account.uj += *share++;
      account.prompt_ns = account.answer_ns = 0;
    }
    busy_ = {};
  }
  for (const auto& [key, account] : accounts_) {
    if (account.ended) out.ended_uj.push_back(account.uj);
  }
  absl::erase_if(accounts_, [](const auto& entry) { return entry.second.ended; });
  return out;
}

}  // namespace baton::engine
