#pragma once

#include <vector>

#include "router/record/entry.h"

/// One of every kind of line.
namespace baton::router {

inline Entry LoadEntry() {
  cluster::LoadReport load{.ready = true,
                           .draining = false,
                           .queued_requests = 3,
                           .queued_prompt_tokens = 70,
                           .running_requests = 2,
                           .kv_blocks_free = 50,
                           .kv_blocks_used = 10,
                           .kv_blocks_quarantined = 4,
                           .grants = 1,
                           .links = {{WorkerId{2}, true, "tcp", 1.5e9}, {WorkerId{3}, false, "", 0}}};
  return cluster::ClusterEvent{TimePoint(Duration(2)), cluster::LoadReported{WorkerId{1}, std::move(load)}};
}

inline std::vector<Entry> EveryEntry() {
  constexpr RequestId kId{0xfedcba9876543210U};
  constexpr RequestKey kKey{kId, Attempt{2}};
  cluster::WorkerDescription worker{.id = WorkerId{1},
                                    .name = "prefill-\"0\"",
                                    .phase = cluster::Phase::kPrefill,
                                    .incarnation = Incarnation{0xffffffffffffffffU},
                                    .model = "m",
                                    .numerics_class = "cpu-bf16",
                                    .kv_blocks = 64,
                                    .block_tokens = 16,
                                    .context_tokens = 512,
                                    .batch_tokens = 256,
                                    .batch_sequences = 8};
  cluster::WorkerDescription decode = worker;
  decode.id = WorkerId{2};
  decode.phase = cluster::Phase::kDecode;
  decode.growth_blocks = 2;
  decode.kv = {.layers = 2, .kv_heads = 4, .head_dim = 32, .ranks = 8, .dtype = "bf16"};
  decode.other_classes = true;
  std::vector<Entry> out;
  out.emplace_back(RecordingStart{.router = "0.1.0", .model = "m", .limits = {}});
  const auto event = [&](std::int64_t at, auto what) {
    out.emplace_back(cluster::ClusterEvent{TimePoint(Duration(at)), std::move(what)});
  };
  event(1, cluster::WorkerJoined{worker});
  event(1, cluster::WorkerJoined{decode});
  out.push_back(LoadEntry());
  event(3, cluster::RequestQueued{kId, 20, 30});
  out.emplace_back(AdmitDecision{.request = kId,
                                 .size = {.prompt_tokens = 20, .tokens_max = 30, .sequence_tokens = 30},
                                 .view = 1,
                                 .refusal = {}});
  out.emplace_back(AdmitDecision{.request = kId, .size = {}, .view = 0, .refusal = Refusal::kTooLarge});
  out.emplace_back(PlaceDecision{
      .key = kKey,
      .size = {.prompt_tokens = 20, .tokens_max = 30, .sequence_tokens = 30, .held = {{WorkerId{1}, 1}}},
      .view = 0xffffffffU,
      .placement = Placement{WorkerId{1}, WorkerId{2}},
      .pairs = 1,
      .scores = 5});
  out.emplace_back(PlaceDecision{.key = kKey,
                                 .size = {.numerics_class = "cpu-bf16"},
                                 .view = 0,
                                 .placement = {},
                                 .pairs = 0,
                                 .scores = 0});
  event(4, cluster::RequestPlaced{kKey, WorkerId{1}, WorkerId{2}});
  event(5, cluster::RequestPrefilled{kId});
  event(6, cluster::RequestResumed{kId, 25});
  event(6, cluster::AnswerMoves{kKey, WorkerId{2}});
  event(6, cluster::PartReleased{kKey, WorkerId{1}});
  event(7, cluster::RequestEnded{kId});
  event(8, cluster::WorkerLeaving{WorkerId{2}});
  event(9, cluster::WorkerLeft{WorkerId{2}});
  event(10, cluster::DrainBegun{});
  out.emplace_back(ReadyDecision{.view = 9, .refusal = Refusal::kNoDecodeWorkers});
  out.emplace_back(ReadyDecision{.view = 9, .refusal = {}});
  out.emplace_back(RecordingEnd{.why = "closed", .lines = 20});
  return out;
}

}  // namespace baton::router
