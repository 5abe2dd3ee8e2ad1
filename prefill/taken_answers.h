#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "engine/worker/service.h"

namespace baton::wire {
class TakeBack;
}  // namespace baton::wire

namespace baton::prefill {

/// KV of answers that have ended on decode workers, on its way into the prefix cache here: the next turn's
/// prompt begins with it. Only blocks that are not cached yet come. It is dropped whenever a prompt needs the
/// memory; blocks that are still written stay in quarantine. Control loop only.
class TakenAnswers {
 public:
  /// `gone` comes last for each that was begun, after its Released, never from inside a call.
  TakenAnswers(const engine::ServiceContext& context, std::function<void()> gone);

  /// Begins to receive, or says Released at once: where all is here, or nothing can be taken now.
  void Take(const wire::TakeBack& order);
  /// Ends this attempt of the request and older ones.
  void CancelUpTo(RequestKey key);
  void DropAll();
  [[nodiscard]] std::int64_t InFlight() const { return std::ssize(taken_); }

 private:
  struct Taken {
    std::string cache_salt;
    std::vector<TokenId> tokens;
    engine::BlockTable blocks;       // of all tokens
    std::int64_t first = 0;          // tokens that were here
    std::int64_t shared_blocks = 0;  // which they fill
    engine::Outcome outcome{.name = "cancelled", .code = {}, .message = {}};
    bool quarantined = false;  // the blocks from `first` on
    [[nodiscard]] engine::BlockTable Shared() const {
      return {blocks.begin(), blocks.begin() + shared_blocks};
    }
    [[nodiscard]] engine::BlockTable Fresh() const { return {blocks.begin() + shared_blocks, blocks.end()}; }
  };
  [[nodiscard]] engine::Outcome Begin(RequestKey key, const wire::TakeBack& order);
  void OnCommitted(RequestKey key);
  void OnFailed(RequestKey key, const absl::Status& status);
  void OnReleased(RequestKey key);
  void SendReleased(RequestKey key, const engine::Outcome& outcome);

  const engine::ServiceContext& context_;
  const std::function<void()> gone_;
  absl::flat_hash_map<RequestKey, Taken> taken_;
};

}  // namespace baton::prefill
