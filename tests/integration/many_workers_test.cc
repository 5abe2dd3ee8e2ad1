#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/random_model.h"
#include "tests/integration/traffic.h"

namespace baton::test {

TEST_CASE("two prefill and two decode workers serve 40 requests at once, and each has its part") {
  const RandomModel model;
  const WorkerSettings worker{.compute = "bf16"};
  Cluster cluster({.model = model.Path(), .prefills = 2, .decodes = 2, .prefill = worker, .decode = worker});
  REQUIRE(WaitUntil(std::chrono::seconds(20), [&] {
    return cluster.Router().Metrics().Sum("baton_workers", {{"state", "ready"}}) == 4;
  }));
  std::vector<perf::AskOptions> requests;
  for (std::uint64_t i = 0; i < 40; ++i)
    requests.push_back(LongStream(i, 20 + 10 * static_cast<std::int64_t>(i), 40));

  for (const perf::Answer& answer : AskAll(cluster, requests, requests.size())) {
    INFO(answer.Describe());
    REQUIRE(answer.Complete());
  }

  cluster.RequireIdle();
  for (const std::size_t index : {0, 1}) {
    CHECK(cluster.Prefill(index).Metrics().Sum("baton_kvtransfer_bytes_total", {{"direction", "sent"}}) > 0);
    CHECK(cluster.Decode(index).Metrics().Sum("baton_kvtransfer_bytes_total", {{"direction", "received"}}) >
          0);
  }
}

}  // namespace baton::test
