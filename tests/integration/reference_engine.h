#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "engine/executor.h"
#include "kernels/backend.h"

namespace baton::test {

/// A request as the engine sees it.
struct EngineRequest {
  std::vector<TokenId> prompt;
  engine::SamplingParams sampling;
  std::int64_t max_tokens = 16;
  bool ignore_eos = false;
};

struct EngineAnswer {
  std::vector<TokenId> tokens;  // a stop token included
  std::string text;             // without it
  std::string finish_reason;    // "stop", "length"
};

/// The daemons' engine in this process, one request at a time: what a cluster's answers are compared with.
class ReferenceEngine {
 public:
  struct State;
  explicit ReferenceEngine(std::unique_ptr<State> state);  // see Create
  /// `kv`: the type of its KV; nothing: what the class says.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ReferenceEngine>> Create(
      const std::string& model, kernels::ComputeClass compute, std::int64_t prefill_chunk,
      std::optional<kernels::DType> kv = std::nullopt);
  ~ReferenceEngine();
  [[nodiscard]] EngineAnswer Run(const EngineRequest& request);
  /// Token ids of a text, as the router makes them of a plain prompt (`chat` false) or of a rendered chat.
  [[nodiscard]] std::vector<TokenId> Encode(std::string_view text, bool chat) const;
  [[nodiscard]] std::int32_t Vocabulary() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace baton::test
