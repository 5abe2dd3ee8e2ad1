#include "router/policy/placement.h"

#include <algorithm>
#include <tuple>

namespace baton::router {
namespace {

using cluster::Phase;
using cluster::WorkerSnapshot;

/// Or of two, where the receiver takes that.
bool OfOneClass(const WorkerSnapshot& from, const WorkerSnapshot& to) {
  return from.about.numerics_class == to.about.numerics_class || to.about.other_classes;
}

std::string_view WhyNot(const WorkerSnapshot& prefill, const WorkerSnapshot& decode,
                        const RequestSize& request) {
  if (!OfOneClass(prefill, decode)) return "another numerics class";
  if (!Convertible(prefill.about.kv, decode.about.kv)) return "KV cannot be converted";
  if (!Linked(prefill, decode)) return "link not ready";
  if (!request.numerics_class.empty() && (request.numerics_class != prefill.about.numerics_class ||
                                          request.numerics_class != decode.about.numerics_class))
    return "another numerics class";
  if (!CanHold(prefill, request) || !CanHold(decode, request)) return "too large";
  if (decode.kv_blocks_free < cluster::BlocksToBegin(decode.about, request.prompt_tokens, request.tokens_max))
    return kNoMemoryNow;
  return "";
}

/// A worker keeps full blocks of its own.
std::int64_t HeldTokens(const WorkerSnapshot& prefill, const HeldPrefix& held) {
  const std::int64_t block_tokens = std::max<std::int64_t>(1, prefill.about.block_tokens);
  return held.blocks * kPrefixBlockTokens / block_tokens * block_tokens;
}

/// At least one token is computed, however much is held.
std::int64_t UncachedTokens(const WorkerSnapshot& prefill, const RequestSize& request) {
  for (const HeldPrefix& held : request.held) {
    if (held.worker == prefill.about.id)
      return std::max<std::int64_t>(1, request.prompt_tokens - HeldTokens(prefill, held));
  }
  return request.prompt_tokens;
}

auto Order(const PairScore& s) {
  return std::tuple(s.queued_prompt_tokens + s.uncached_tokens, s.decode_tokens, s.prefill, s.decode);
}

}  // namespace

bool CanHold(const WorkerSnapshot& worker, const RequestSize& request) {
  const bool prefill = worker.about.phase == Phase::kPrefill;
  const std::int64_t tokens = prefill ? request.prompt_tokens : request.tokens_max;
  const bool several = !prefill && request.sequence_tokens > 0;
  return (several ? request.sequence_tokens : tokens) <= worker.about.context_tokens &&
         cluster::BlocksFor(tokens, worker.about.block_tokens) <= worker.about.kv_blocks;
}

bool Convertible(const cluster::KvForm& from, const cluster::KvForm& to) {
  if (from == to) return true;
  const auto known = [](const cluster::KvForm& form) {
    return (form.dtype == "f32" || form.dtype == "bf16" || form.dtype == "f16") && form.kv_heads > 0 &&
           form.ranks > 0 && (form.kv_heads % form.ranks == 0 || form.ranks % form.kv_heads == 0);
  };
  return from.layers == to.layers && from.kv_heads == to.kv_heads && from.head_dim == to.head_dim &&
         known(from) && known(to);
}

bool Linked(const WorkerSnapshot& prefill, const WorkerSnapshot& decode) {
  return prefill.about.model == decode.about.model && OfOneClass(prefill, decode) &&
         Convertible(prefill.about.kv, decode.about.kv) &&
         std::any_of(prefill.links.begin(), prefill.links.end(), [&](const cluster::LinkReport& link) {
           return link.peer == decode.about.id && link.ready;
         });
}

PlacementResult Place(const cluster::ClusterSnapshot& snapshot, const RequestSize& request) {
  PlacementResult result;
  for (const WorkerSnapshot& prefill : snapshot.workers) {
    if (prefill.about.phase != Phase::kPrefill || !prefill.ready || prefill.about.model != request.model)
      continue;
    for (const WorkerSnapshot& decode : snapshot.workers) {
      if (decode.about.phase != Phase::kDecode || !decode.ready || decode.about.model != request.model)
        continue;
      const std::string_view why = WhyNot(prefill, decode, request);
      result.scores.push_back({.prefill = prefill.about.id,
                               .decode = decode.about.id,
                               .eligible = why.empty(),
                               .why = why,
                               .queued_prompt_tokens = prefill.queued_prompt_tokens,
                               .uncached_tokens = UncachedTokens(prefill, request),
                               .decode_tokens = decode.placed_tokens});
    }
  }
  const PairScore* best = nullptr;
  for (const PairScore& score : result.scores) {
    if (score.eligible && (best == nullptr || Order(score) < Order(*best))) best = &score;
  }
  if (best != nullptr) result.placement = Placement{best->prefill, best->decode};
  return result;
}

}  // namespace baton::router
