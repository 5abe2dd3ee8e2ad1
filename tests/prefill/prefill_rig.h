#pragma once

#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

#include "prefill/prefill_service.h"
#include "tests/engine/worker/service_rig.h"

namespace baton::prefill {

using engine::Key;
using engine::Next;
using engine::Prompt;
using engine::ServiceRig;
using kvtransfer::TransferEnd;

inline constexpr std::int64_t kBlocks = 8;

struct PrefillRig : ServiceRig {
  explicit PrefillRig(std::int64_t queue = 8, std::int64_t prefix_blocks = 0)
      : ServiceRig(CreatePrefillService, true, kBlocks, queue, prefix_blocks) {}

  /// Sends a prompt through, and waits until nothing of it is left.
  wire::Token Complete(RequestKey key, const wire::Envelope& order) {
    Order(order);
    REQUIRE(handoff.WaitFor(fmt::format("commit {}", key)));
    OnLoop([&] { handoff.EndSend(key, TransferEnd::kAcked); });
    REQUIRE(Released(key).outcome() == "done");
    return Tokens(key).at(0);
  }
};

inline wire::Envelope Order(RequestKey key, const std::vector<TokenId>& prompt,
                            std::int64_t max_tokens = 10) {
  wire::Envelope envelope;
  wire::Prefill& order = *envelope.mutable_prefill();
  order.set_request(key.request.value);
  order.set_attempt(key.attempt.value);
  order.mutable_tokens()->Assign(prompt.begin(), prompt.end());
  order.mutable_sampling()->set_top_p(1);
  order.mutable_stop()->set_max_tokens(max_tokens);
  order.set_decode_worker(2);
  order.set_decode_incarnation(22);
  return envelope;
}

}  // namespace baton::prefill
