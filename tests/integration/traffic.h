#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "perf/answer.h"
#include "tests/integration/cluster.h"
#include "tests/integration/reference_engine.h"

namespace baton::test {

/// The body of a completion that asks the cluster for what `request` asks the engine.
[[nodiscard]] std::string CompletionBody(const EngineRequest& request, bool stream);

/// A request with a random prompt of `prompt_tokens` ids below `vocabulary`; every third is greedy, the
/// others sample.
[[nodiscard]] EngineRequest RandomRequest(RandomStream& random, std::int64_t prompt_tokens,
                                          std::int64_t max_tokens, std::int32_t vocabulary);

/// A streamed completion of `prompt_tokens` byte ids that runs for exactly `max_tokens`.
[[nodiscard]] perf::AskOptions LongStream(std::uint64_t seed, std::int64_t prompt_tokens,
                                          std::int64_t max_tokens);

/// Sends all of `requests`, `at_once` at a time; answers in the order of the requests.
[[nodiscard]] std::vector<perf::Answer> AskAll(const Cluster& cluster,
                                               const std::vector<perf::AskOptions>& requests,
                                               std::size_t at_once);

/// Streams under way on threads of their own, so that the test can do something in their middle.
class Streams {
 public:
  Streams(const Cluster& cluster, std::vector<perf::AskOptions> requests);
  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  /// Waits until at least `streams` of them have brought at least `pieces` pieces of text.
  [[nodiscard]] bool Await(std::size_t streams, std::int64_t pieces, Duration limit) const;
  [[nodiscard]] std::size_t Begun(std::int64_t pieces) const;
  /// Waits for the end of all.
  [[nodiscard]] std::vector<perf::Answer> Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::test
