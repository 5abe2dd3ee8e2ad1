#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "decode/decode_service.h"
#include "tests/engine/worker/service_rig.h"

namespace baton::decode {

using engine::Key;
using engine::Next;
using engine::Prompt;
using engine::ServiceRig;
using kvtransfer::TransferEnd;

inline constexpr std::int64_t kBlocks = 8;
inline constexpr TokenId kFirst = 5;

/// A decode service over scripted router and transport, with a real executor and a fake model.
struct DecodeRig : ServiceRig {
  explicit DecodeRig(std::int64_t queue = 8, std::int64_t blocks = kBlocks,
                     const engine::AnswerMemoryOptions& answers = {})
      : ServiceRig(CreateDecodeService, false, blocks, queue, /*prefix_blocks=*/0, answers) {}

  void Commit(RequestKey key, std::int64_t prompt_tokens, TokenId first = kFirst,
              std::optional<TimePoint> computed_at = std::nullopt) {
    REQUIRE(handoff.WaitFor(fmt::format("receive {}", key)));
    OnLoop([&] {
      handoff.receives.at(key).second.on_committed({.first_token = first,
                                                    .prompt_tokens = prompt_tokens,
                                                    .computed_at = computed_at,
                                                    .arrived_at = std::chrono::steady_clock::now()});
      handoff.Release(key);
    });
  }
  /// KV of `tokens`, as the transport would have written it into the reservation of `key`; on the loop.
  void Fill(RequestKey key, const std::vector<TokenId>& tokens) {
    engine::StepBatch batch{.tokens = tokens};
    for (std::int32_t i = 0; i < std::ssize(tokens); ++i) batch.positions.push_back(i);
    batch.slices.push_back({.blocks = handoff.receives.at(key).first.blocks,
                            .first_row = 0,
                            .tokens = std::ssize(tokens),
                            .first_position = 0});
    test::FakeModel writer;
    static_cast<void>(writer.Forward(batch, Arena(), {}));
  }
  void Fail(RequestKey key, TransferEnd end, const absl::Status& status) {
    REQUIRE(handoff.WaitFor(fmt::format("receive {}", key)));
    OnLoop([&] { handoff.receives.at(key).second.on_failed(end, status); });
  }
  void ReleaseTransfer(RequestKey key) {
    OnLoop([&] { handoff.Release(key); });
  }
};

inline wire::Envelope Order(RequestKey key, std::int64_t prompt_tokens, std::int64_t max_tokens) {
  wire::Envelope envelope;
  wire::Reserve& order = *envelope.mutable_reserve();
  order.set_request(key.request.value);
  order.set_attempt(key.attempt.value);
  const std::vector<TokenId> prompt = Prompt(prompt_tokens);
  order.mutable_tokens()->Assign(prompt.begin(), prompt.end());
  order.mutable_sampling()->set_top_p(1);
  order.mutable_stop()->set_max_tokens(max_tokens);
  order.set_prefill_worker(3);
  order.set_prefill_incarnation(33);
  return envelope;
}

inline wire::Envelope OrderOfSeveral(RequestKey key, std::int64_t prompt_tokens, std::int64_t max_tokens,
                                     std::int32_t samples) {
  wire::Envelope envelope = Order(key, prompt_tokens, max_tokens);
  wire::Sampling& sampling = *envelope.mutable_reserve()->mutable_sampling();
  sampling.set_temperature(1.5);
  sampling.set_seed(77);
  sampling.set_samples(samples);
  return envelope;
}

/// COMMIT, after the prompt's KV has been written as the transport would; the prompt's blocks.
inline engine::BlockTable CommitSeveral(DecodeRig& rig, RequestKey key, std::int64_t prompt_tokens,
                                        std::vector<TokenId> more_first_tokens) {
  REQUIRE(rig.handoff.WaitFor(fmt::format("receive {}", key)));
  engine::BlockTable blocks;
  rig.OnLoop([&] {
    blocks = rig.handoff.receives.at(key).first.blocks;
    rig.Fill(key, Prompt(prompt_tokens));
    rig.handoff.receives.at(key).second.on_committed({.first_token = kFirst,
                                                      .prompt_tokens = prompt_tokens,
                                                      .more_first_tokens = std::move(more_first_tokens)});
    rig.handoff.Release(key);
  });
  return blocks;
}

}  // namespace baton::decode
