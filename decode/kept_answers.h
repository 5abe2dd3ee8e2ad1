#pragma once

#include <cstdint>
#include <functional>

#include <absl/container/flat_hash_map.h>

#include "engine/worker/service.h"

namespace baton::decode {

/// KV of answers that have ended: held for a short time, so that a prefill worker can take it for the next
/// turn, and given up whenever this worker needs the memory. Its blocks have a reference of their own until
/// the transport reads them no more. Control loop only.
class KeptAnswers {
 public:
  struct Target {
    RequestKey key;  // of the transfer
    WorkerId worker;
    Incarnation incarnation;
    std::int64_t first = 0;      // positions that the other one has already
    std::int64_t positions = 0;  // that it is to have in the end
  };
  /// `gone` comes once for each that was kept, last, never from inside a call.
  KeptAnswers(const engine::ServiceContext& context, std::function<void(RequestKey)> gone);

  /// The answer of `key` has ended with its KV in `blocks`, all of them full.
  void Keep(RequestKey key, engine::BlockTable blocks, Duration lease);
  [[nodiscard]] bool Holds(RequestKey key) const { return kept_.contains(key); }
  [[nodiscard]] bool Empty() const { return kept_.empty(); }
  /// Sends what the target has not. Where that cannot be, the transfer is refused and nothing else happens.
  void Send(RequestKey key, const Target& target);
  /// Gives up; nothing where it is not kept.
  void Drop(RequestKey key);
  void DropAll();

 private:
  struct Kept {
    engine::BlockTable blocks;
    RequestKey sends;  // as; request 0: nothing is sent yet
    net::Timer lease;
  };
  [[nodiscard]] absl::Status Begin(RequestKey key, Kept& kept, const Target& target);
  void Over(RequestKey key);

  const engine::ServiceContext& context_;
  const std::function<void(RequestKey)> gone_;
  absl::flat_hash_map<RequestKey, Kept> kept_;
};

}  // namespace baton::decode
