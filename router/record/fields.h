#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "router/record/entry.h"
#include "router/record/field_io.h"

/// `Describe(io, value)`: the fields of everything that is in a recording or in a digest, each type once. The
/// structured bindings stop the build where a type gets a field that is not recorded. Private to this module.
namespace baton::router::record {

template <typename T, typename Wanted>
concept Is = std::same_as<std::remove_const_t<T>, Wanted>;

// A request's tokens: far beyond any context, and sums over a recording's requests stay inside int64.
inline constexpr Range kRequestTokens{0, std::int64_t{1} << 32};
// Times a block's size they stay inside int64.
inline constexpr Range kHeldBlocks{0, std::int64_t{1} << 28};
// What nobody checks and no policy reads.
inline constexpr Range kAnyWhole{std::numeric_limits<std::int64_t>::min(),
                                 std::numeric_limits<std::int64_t>::max()};

inline constexpr std::array<std::string_view, 2> kPhaseNames{"prefill", "decode"};
inline constexpr std::array<std::string_view, 6> kRefusalNames{
    "draining", "model_not_found", "no_prefill_workers", "no_decode_workers", "too_large", "queue_full"};
static_assert(kRefusalNames.size() == kRefusals.size());
/// In the order of `cluster::ClusterEvent::what`.
inline constexpr std::array<std::string_view, 12> kEventNames{"joined", "left",     "leaving",   "load",
                                                              "queued", "placed",   "prefilled", "resumed",
                                                              "moves",  "released", "ended",     "draining"};
static_assert(kEventNames.size() == std::variant_size_v<decltype(cluster::ClusterEvent::what)>,
              "a new event wants its name here and its fields below");

template <typename Io, typename T>
void Digest32(Io& io, const char* key, T& digest) {
  std::uint64_t value = digest;
  io.Hex(key, value, 32);
  if constexpr (!std::is_const_v<T>) digest = static_cast<std::uint32_t>(value);
}

template <typename Io, typename T>
void MaybeRefusal(Io& io, T& refusal) {
  io.Maybe("refusal", refusal.has_value(), [&] {
    if constexpr (!std::is_const_v<T>) refusal.emplace();
    io.Choice("refusal", *refusal, kRefusalNames);
  });
}

template <typename Io, typename T>
void KeyFields(Io& io, T& key) {
  auto& [request, attempt] = key;
  IdField(io, "request", request);
  IdField(io, "attempt", attempt);
}

template <typename Io, Is<cluster::LinkReport> T>
void Describe(Io& io, T& link) {
  auto& [peer, ready, transport, bytes_per_second] = link;
  IdField(io, "peer", peer);
  io.Boolean("ready", ready);
  io.Text("transport", transport);
  io.Number("bytes_per_second", bytes_per_second);
}

template <typename Io, Is<cluster::WorkerDescription> T>
void Describe(Io& io, T& worker) {
  auto& [id, name, phase, incarnation, model, numerics_class, kv_blocks, block_tokens, context_tokens,
         batch_tokens, batch_sequences, growth_blocks, kv_returns, kv, other_classes] = worker;
  IdField(io, "worker", id);
  io.Text("name", name);
  io.Choice("phase", phase, kPhaseNames);
  IdField(io, "incarnation", incarnation);
  io.Text("model", model);
  io.Text("numerics_class", numerics_class);
  io.Whole("kv_blocks", kv_blocks);
  io.Whole("block_tokens", block_tokens, {0, std::numeric_limits<std::int32_t>::max()});
  io.Whole("context_tokens", context_tokens);
  io.Whole("batch_tokens", batch_tokens, kAnyWhole);
  io.Whole("batch_sequences", batch_sequences, kAnyWhole);
  auto& growth = growth_blocks;
  io.Maybe("growth_blocks", growth.has_value(), [&] {
    if constexpr (!std::is_const_v<T>) growth.emplace();
    io.Whole("growth_blocks", *growth);
  });
  auto& returns = kv_returns;
  io.Maybe("kv_returns", returns, [&] { io.Boolean("kv_returns", returns); });
  auto& form = kv;
  io.Maybe("kv_heads", form.kv_heads > 0, [&] {
    io.Whole("kv_layers", form.layers);
    io.Whole("kv_heads", form.kv_heads);
    io.Whole("kv_head_dim", form.head_dim);
    io.Whole("kv_ranks", form.ranks);
    io.Text("kv_dtype", form.dtype);
  });
  auto& others = other_classes;
  io.Maybe("other_classes", others, [&] { io.Boolean("other_classes", others); });
}

/// Where it is measured; else not even a digest knows of it, so that older recordings keep theirs.
template <typename Io, Is<cluster::PowerReport> T>
void DescribePower(Io& io, T& power) {
  if (std::is_const_v<T> && power == cluster::PowerReport{}) return;
  io.Maybe("watts", true, [&] {
    io.Number("watts", power.watts);
    io.Number("step_watts", power.step_watts);
    io.Number("idle_watts", power.idle_watts);
    io.Number("cap_watts", power.cap_watts);
  });
}

template <typename Io, Is<cluster::LoadReport> T>
void Describe(Io& io, T& load) {
  auto& [ready, draining, queued_requests, queued_prompt_tokens, running_requests, kv_blocks_free,
         kv_blocks_used, kv_blocks_quarantined, grants, step_seconds, power, links] = load;
  io.Boolean("ready", ready);
  io.Boolean("draining", draining);
  io.Whole("queued_requests", queued_requests);
  io.Whole("queued_prompt_tokens", queued_prompt_tokens);
  io.Whole("running_requests", running_requests);
  io.Whole("kv_blocks_free", kv_blocks_free);
  io.Whole("kv_blocks_used", kv_blocks_used);
  io.Whole("kv_blocks_quarantined", kv_blocks_quarantined);
  io.Whole("grants", grants);
  auto& step = step_seconds;
  io.Maybe("step_seconds", step != 0, [&] { io.Number("step_seconds", step); });
  DescribePower(io, power);
  io.List("links", links);
}

template <typename Io, Is<cluster::WorkerJoined> T>
void Describe(Io& io, T& event) {
  auto& [worker] = event;
  Describe(io, worker);
}

template <typename Io, Is<cluster::WorkerLeft> T>
void Describe(Io& io, T& event) {
  auto& [worker] = event;
  IdField(io, "worker", worker);
}

template <typename Io, Is<cluster::WorkerLeaving> T>
void Describe(Io& io, T& event) {
  auto& [worker] = event;
  IdField(io, "worker", worker);
}

template <typename Io, Is<cluster::LoadReported> T>
void Describe(Io& io, T& event) {
  auto& [worker, load] = event;
  IdField(io, "worker", worker);
  Describe(io, load);
}

template <typename Io, Is<cluster::RequestQueued> T>
void Describe(Io& io, T& event) {
  auto& [request, prompt_tokens, tokens_max] = event;
  IdField(io, "request", request);
  io.Whole("prompt_tokens", prompt_tokens, kRequestTokens);
  io.Whole("tokens_max", tokens_max, kRequestTokens);
}

template <typename Io, Is<cluster::RequestPlaced> T>
void Describe(Io& io, T& event) {
  auto& [key, prefill, decode] = event;
  KeyFields(io, key);
  IdField(io, "prefill", prefill);
  IdField(io, "decode", decode);
}

template <typename Io, Is<cluster::RequestPrefilled> T>
void Describe(Io& io, T& event) {
  auto& [request] = event;
  IdField(io, "request", request);
}

template <typename Io, Is<cluster::RequestResumed> T>
void Describe(Io& io, T& event) {
  auto& [request, prompt_tokens] = event;
  IdField(io, "request", request);
  io.Whole("prompt_tokens", prompt_tokens, kRequestTokens);
}

template <typename Io, Is<cluster::AnswerMoves> T>
void Describe(Io& io, T& event) {
  auto& [key, to] = event;
  KeyFields(io, key);
  IdField(io, "to", to);
}

template <typename Io, Is<cluster::PartReleased> T>
void Describe(Io& io, T& event) {
  auto& [key, worker] = event;
  KeyFields(io, key);
  IdField(io, "worker", worker);
}

template <typename Io, Is<cluster::RequestEnded> T>
void Describe(Io& io, T& event) {
  auto& [request] = event;
  IdField(io, "request", request);
}

template <typename Io, Is<cluster::DrainBegun> T>
void Describe(Io& /*io*/, T& /*event*/) {}

template <typename Io, Is<HeldPrefix> T>
void Describe(Io& io, T& held) {
  auto& [worker, blocks] = held;
  IdField(io, "worker", worker);
  io.Whole("blocks", blocks, kHeldBlocks);
}

template <typename Io, Is<RecordedSize> T>
void Describe(Io& io, T& size) {
  auto& [prompt_tokens, tokens_max, sequence_tokens, held, numerics_class] = size;
  io.Whole("prompt_tokens", prompt_tokens, kRequestTokens);
  io.Whole("tokens_max", tokens_max, kRequestTokens);
  io.Whole("sequence_tokens", sequence_tokens, kRequestTokens);
  io.List("held", held);
  auto& bound = numerics_class;
  io.Maybe("numerics_class", !bound.empty(), [&] { io.Text("numerics_class", bound); });
}

template <typename Io, Is<RecordingStart> T>
void Describe(Io& io, T& start) {
  auto& [router, model, limits] = start;
  auto& [queue_requests, queue_prompt_tokens] = limits;
  io.Text("router", router);
  io.Text("model", model);
  io.Whole("queue_requests", queue_requests);
  io.Whole("queue_prompt_tokens", queue_prompt_tokens);
}

template <typename Io, Is<AdmitDecision> T>
void Describe(Io& io, T& decision) {
  auto& [request, size, view, refusal] = decision;
  IdField(io, "request", request);
  Describe(io, size);
  Digest32(io, "view", view);
  MaybeRefusal(io, refusal);
}

template <typename Io, Is<PlaceDecision> T>
void Describe(Io& io, T& decision) {
  auto& [key, size, view, placement, pairs, scores] = decision;
  KeyFields(io, key);
  Describe(io, size);
  Digest32(io, "view", view);
  auto& pair = placement;
  io.Maybe("prefill", pair.has_value(), [&] {
    if constexpr (!std::is_const_v<T>) pair.emplace();
    auto& [prefill, decode] = *pair;
    IdField(io, "prefill", prefill);
    IdField(io, "decode", decode);
  });
  io.Whole("pairs", pairs);
  Digest32(io, "scores", scores);
}

template <typename Io, Is<ReadyDecision> T>
void Describe(Io& io, T& decision) {
  auto& [view, refusal] = decision;
  Digest32(io, "view", view);
  MaybeRefusal(io, refusal);
}

template <typename Io, Is<RecordingEnd> T>
void Describe(Io& io, T& end) {
  auto& [why, lines] = end;
  io.Text("end", why);
  io.Whole("lines", lines);
}

template <typename Io, Is<cluster::WorkerSnapshot> T>
void Describe(Io& io, T& worker) {
  auto& [about, ready, draining, queued_prompt_tokens, queued_requests, running_requests, placed_tokens,
         kv_blocks_free, step_seconds, power, links] = worker;
  Describe(io, about);
  io.Boolean("ready", ready);
  io.Boolean("draining", draining);
  io.Whole("queued_prompt_tokens", queued_prompt_tokens);
  io.Whole("queued_requests", queued_requests);
  io.Whole("running_requests", running_requests);
  io.Whole("placed_tokens", placed_tokens);
  io.Whole("kv_blocks_free", kv_blocks_free);
  auto& step = step_seconds;
  io.Maybe("step_seconds", step != 0, [&] { io.Number("step_seconds", step); });
  DescribePower(io, power);
  io.List("links", links);
}

template <typename Io, Is<cluster::ClusterSnapshot> T>
void Describe(Io& io, T& snapshot) {
  auto& [now, draining, queued_requests, queued_prompt_tokens, workers] = snapshot;
  io.Whole("at", now.time_since_epoch().count());
  io.Boolean("draining", draining);
  io.Whole("queued_requests", queued_requests);
  io.Whole("queued_prompt_tokens", queued_prompt_tokens);
  io.List("workers", workers);
}

template <typename Io, Is<PairScore> T>
void Describe(Io& io, T& score) {
  auto& [prefill, decode, eligible, why, queued_prompt_tokens, uncached_tokens, decode_tokens] = score;
  IdField(io, "prefill", prefill);
  IdField(io, "decode", decode);
  io.Boolean("eligible", eligible);
  io.Text("why", why);
  io.Whole("queued_prompt_tokens", queued_prompt_tokens);
  io.Whole("uncached_tokens", uncached_tokens);
  io.Whole("decode_tokens", decode_tokens);
}

}  // namespace baton::router::record
