#include "router/policy/admission.h"

#include <catch2/catch.hpp>

#include "tests/router/policy/clusters.h"

namespace baton::router {
namespace {

constexpr RequestSize kRequest{.model = "m", .prompt_tokens = 100, .tokens_max = 200};
constexpr AdmissionLimits kLimits{.queue_requests = 4, .queue_prompt_tokens = 1000};

TEST_CASE("a request is admitted where a linked pair is ready") {
  CHECK_FALSE(Admit(Cluster(1, 1), kRequest, kLimits));
}

TEST_CASE("a draining router refuses before it looks at anything else") {
  cluster::ClusterSnapshot cluster;
  cluster.draining = true;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kDraining);
}

TEST_CASE("the phase that is missing is named") {
  CHECK(Admit({}, kRequest, kLimits) == Refusal::kNoPrefillWorkers);
  CHECK(Admit(Cluster(0, 1), kRequest, kLimits) == Refusal::kNoPrefillWorkers);
  CHECK(Admit(Cluster(1, 0), kRequest, kLimits) == Refusal::kNoDecodeWorkers);
}

TEST_CASE("a decode worker that no prefill worker reaches does not count") {
  auto cluster = Cluster(1, 1);
  cluster.workers[0].links[0].ready = false;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kNoDecodeWorkers);
}

TEST_CASE("another model than the workers' is not found") {
  CHECK(Admit(Cluster(1, 1), {.model = "n", .prompt_tokens = 1, .tokens_max = 2}, kLimits) ==
        Refusal::kModelNotFound);
}

TEST_CASE("a request that no worker can ever hold is too large, one that must wait is not") {
  auto cluster = Cluster(1, 1);
  cluster.workers[1].about.kv_blocks = 12;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kTooLarge);
  cluster.workers[1].about.kv_blocks = 13;
  cluster.workers[1].kv_blocks_free = 0;
  CHECK_FALSE(Admit(cluster, kRequest, kLimits));
  cluster.workers[1].about.context_tokens = 199;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kTooLarge);
}

TEST_CASE("a queue is bounded in requests and in prompt tokens") {
  auto cluster = Cluster(1, 1);
  cluster.queued_requests = 3;
  cluster.queued_prompt_tokens = 900;
  CHECK_FALSE(Admit(cluster, kRequest, kLimits));
  cluster.queued_prompt_tokens = 901;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kQueueFull);
  cluster.queued_requests = 4;
  cluster.queued_prompt_tokens = 0;
  CHECK(Admit(cluster, kRequest, kLimits) == Refusal::kQueueFull);
}

TEST_CASE("a prompt longer than the whole bound is served where nothing waits") {
  auto cluster = Cluster(1, 1);
  CHECK_FALSE(Admit(cluster, kRequest, {.queue_requests = 1, .queue_prompt_tokens = 10}));
  cluster.queued_requests = 1;
  CHECK(Admit(cluster, kRequest, {.queue_requests = 2, .queue_prompt_tokens = 10}) == Refusal::kQueueFull);
}

TEST_CASE("every refusal has a name of its own") {
  for (const Refusal a : kRefusals) {
    CHECK_FALSE(Name(a).empty());
    for (const Refusal b : kRefusals) CHECK((a == b) == (Name(a) == Name(b)));
  }
}

TEST_CASE("workers can hold a request where each phase has one that can, linked or not") {
  auto cluster = Cluster(1, 1);
  CHECK(CanBeHeld(cluster, kRequest));
  CHECK_FALSE(CanBeHeld(cluster, {.model = "n", .prompt_tokens = 1, .tokens_max = 2}));
  cluster.workers[0].links.clear();
  CHECK(CanBeHeld(cluster, kRequest));
  cluster.workers[1].about.kv_blocks = 12;
  CHECK_FALSE(CanBeHeld(cluster, kRequest));
  cluster.workers[1].about.kv_blocks = 13;
  cluster.workers[0].ready = false;
  CHECK_FALSE(CanBeHeld(cluster, kRequest));
}

}  // namespace
}  // namespace baton::router
