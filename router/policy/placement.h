#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/cluster/view.h"
#include "router/policy/prefix_index.h"

namespace baton::router {

/// What a policy needs to know of a request.
struct RequestSize {
  std::string_view model;
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens_max = 0;            // prompt and the longest answers: what KV memory is for
  std::int64_t sequence_tokens = 0;       // prompt and one of several answers; 0: there is one
  std::span<const HeldPrefix> held = {};  // by prefill workers, of the prompt
  std::string_view numerics_class = {};   // that it has begun in, and stays in; empty: any
};

/// `PairScore::why` of a pair that takes the request once others have ended.
inline constexpr std::string_view kNoMemoryNow = "no memory now";

/// Why a pair of workers was or was not taken, for the decision's record.
struct PairScore {
  WorkerId prefill;
  WorkerId decode;
  bool eligible = false;
  std::string_view why;  // of a pair that is not: "link not ready", "no memory now", ...
  std::int64_t queued_prompt_tokens = 0;
  std::int64_t uncached_tokens = 0;  // of the prompt: what the prefill worker would have to compute
  std::int64_t decode_tokens = 0;
};

struct Placement {
  WorkerId prefill;
  WorkerId decode;
};

struct PlacementResult {
  std::optional<Placement> placement;  // nothing: the request waits
  std::vector<PairScore> scores;       // every ready pair, by ids
};

/// Chooses the prefill and the decode worker together, joining the shortest queue by tokens: the pair whose
/// prefill worker would be done with the prompt after the fewest tokens (those queued, and those of the
/// prompt that it does not hold), then whose decode worker holds the fewest tokens, then the lowest ids. Only
/// ready pairs of the model with a link that is ready, of one numerics class (the request's, where it has
/// one), whose decode worker has free blocks for what it takes at the begin (`cluster::BlocksToBegin`). Pure.
[[nodiscard]] PlacementResult Place(const cluster::ClusterSnapshot& snapshot, const RequestSize& request);

/// Whether the workers could ever hold the request with nothing else running.
[[nodiscard]] bool CanHold(const cluster::WorkerSnapshot& worker, const RequestSize& request);
/// Whether KV of `from` can be made KV of `to` on its way: they are of one model, and heads can be shared out
/// among the ranks of each.
[[nodiscard]] bool Convertible(const cluster::KvForm& from, const cluster::KvForm& to);
/// Whether the link from `prefill` to `decode` is ready, both are of one model and, unless `decode` takes
/// others, of one numerics class, and the KV can be converted where it lies differently.
[[nodiscard]] bool Linked(const cluster::WorkerSnapshot& prefill, const cluster::WorkerSnapshot& decode);

}  // namespace baton::router
