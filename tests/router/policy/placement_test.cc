#include "router/policy/placement.h"

#include <catch2/catch.hpp>

#include "tests/router/policy/clusters.h"

namespace baton::router {
namespace {

constexpr RequestSize kRequest{.model = "m", .prompt_tokens = 100, .tokens_max = 200};

TEST_CASE("equal queues go to the lowest ids") {
  const PlacementResult result = Place(Cluster(2, 2), kRequest);
  REQUIRE(result.placement.has_value());
  CHECK(result.placement->prefill == WorkerId{1});
  CHECK(result.placement->decode == WorkerId{101});
  CHECK(result.scores.size() == 4);
}

TEST_CASE("several answers may be longer together than the context, though not than the memory") {
  RequestSize request{.model = "m", .prompt_tokens = 100, .tokens_max = 900, .sequence_tokens = 500};
  CHECK(Place(Cluster(1, 1), request).placement.has_value());
  request.sequence_tokens = 513;  // one of them alone is too long
  CHECK_FALSE(Place(Cluster(1, 1), request).placement.has_value());
  request.sequence_tokens = 500;
  request.tokens_max = 64 * 16 + 1;
  CHECK_FALSE(Place(Cluster(1, 1), request).placement.has_value());
}

TEST_CASE("the prefill worker with the fewest queued prompt tokens is taken") {
  auto cluster = Cluster(3, 1);
  cluster.workers[0].queued_prompt_tokens = 900;
  cluster.workers[1].queued_prompt_tokens = 200;
  cluster.workers[1].queued_requests = 50;  // many short prompts are less work than one long one
  cluster.workers[2].queued_prompt_tokens = 201;
  CHECK(Place(cluster, kRequest).placement->prefill == WorkerId{2});
}

TEST_CASE("a prompt goes where it is known, unless the queue there costs more than computing it") {
  auto cluster = Cluster(3, 1);
  const HeldPrefix held[] = {{WorkerId{2}, 5}, {WorkerId{3}, 1}};
  RequestSize request = kRequest;
  request.held = held;

  PlacementResult result = Place(cluster, request);
  CHECK(result.placement->prefill == WorkerId{2});
  CHECK(result.scores[0].uncached_tokens == 100);
  CHECK(result.scores[1].uncached_tokens == 20);
  CHECK(result.scores[2].uncached_tokens == 84);
  cluster.workers[1].queued_prompt_tokens = 63;
  CHECK(Place(cluster, request).placement->prefill == WorkerId{2});
  cluster.workers[1].queued_prompt_tokens = 65;
  CHECK(Place(cluster, request).placement->prefill == WorkerId{3});
  cluster.workers[1].queued_prompt_tokens = 81;
  cluster.workers[2].queued_prompt_tokens = 17;
  CHECK(Place(cluster, request).placement->prefill == WorkerId{1});
}

TEST_CASE("of a prompt that is known, a worker holds the full blocks of its own size") {
  auto cluster = Cluster(3, 1);
  cluster.workers[1].about.block_tokens = 48;
  cluster.workers[2].about.block_tokens = 128;
  const HeldPrefix held[] = {{WorkerId{1}, 5}, {WorkerId{2}, 5}, {WorkerId{3}, 5}};
  RequestSize request = kRequest;
  request.held = held;

  const PlacementResult result = Place(cluster, request);

  CHECK(result.scores[0].uncached_tokens == 20);
  CHECK(result.scores[1].uncached_tokens == 52);
  CHECK(result.scores[2].uncached_tokens == 100);
}

TEST_CASE("memory is counted in each worker's own blocks") {
  auto cluster = Cluster(1, 2);
  cluster.workers[1].about.block_tokens = 16;
  cluster.workers[2].about.block_tokens = 64;
  for (const std::size_t i : {1U, 2U}) cluster.workers[i].kv_blocks_free = 12;
  // 200 tokens: 13 blocks of 16, or 4 of 64.
  CHECK(Place(cluster, kRequest).placement->decode == WorkerId{102});
  cluster.workers[2].kv_blocks_free = 3;
  CHECK_FALSE(Place(cluster, kRequest).placement.has_value());
  cluster.workers[2].about.kv_blocks = 3;
  CHECK_FALSE(CanHold(cluster.workers[2], kRequest));
  CHECK(CanHold(cluster.workers[1], kRequest));
}

TEST_CASE("the decode worker that holds the fewest tokens is taken") {
  auto cluster = Cluster(1, 3);
  cluster.workers[1].placed_tokens = 300;
  cluster.workers[2].placed_tokens = 100;
  cluster.workers[3].placed_tokens = 200;
  CHECK(Place(cluster, kRequest).placement->decode == WorkerId{102});
}

TEST_CASE("a decode worker without memory for the longest answer is passed over") {
  auto cluster = Cluster(1, 2);
  cluster.workers[1].kv_blocks_free = 12;  // 200 tokens want 13
  cluster.workers[2].placed_tokens = 10000;
  const PlacementResult result = Place(cluster, kRequest);
  CHECK(result.placement->decode == WorkerId{102});
  CHECK(result.scores[0].why == "no memory now");
}

TEST_CASE("a decode worker whose answers grow needs memory for the prompt and its first growth") {
  auto cluster = Cluster(1, 1);
  cluster.workers[1].about.growth_blocks = 1;
  cluster.workers[1].kv_blocks_free = 8;  // 101 tokens want 7, and one to grow
  CHECK(Place(cluster, kRequest).placement.has_value());
  cluster.workers[1].kv_blocks_free = 7;
  CHECK_FALSE(Place(cluster, kRequest).placement.has_value());
}

TEST_CASE("a request waits where nobody has memory now") {
  auto cluster = Cluster(1, 1);
  cluster.workers[1].kv_blocks_free = 0;
  CHECK_FALSE(Place(cluster, kRequest).placement.has_value());
}

TEST_CASE("workers that are not ready are not looked at") {
  auto cluster = Cluster(2, 1);
  cluster.workers[0].ready = false;
  const PlacementResult result = Place(cluster, kRequest);
  CHECK(result.placement->prefill == WorkerId{2});
  CHECK(result.scores.size() == 1);
}

TEST_CASE("a pair needs a ready link") {
  auto cluster = Cluster(2, 2);
  cluster.workers[0].links[0].ready = false;  // 1 - 101
  cluster.workers[1].queued_prompt_tokens = 1;
  const PlacementResult result = Place(cluster, kRequest);
  CHECK(result.placement->prefill == WorkerId{1});
  CHECK(result.placement->decode == WorkerId{102});
  CHECK(result.scores[0].why == "link not ready");
}

TEST_CASE("models are never mixed, numerics classes only where the decode worker takes others") {
  auto cluster = Cluster(1, 1);
  cluster.workers[1].about.numerics_class = "cpu-bf16";
  CHECK_FALSE(Place(cluster, kRequest).placement.has_value());
  CHECK(Place(cluster, kRequest).scores[0].why == "another numerics class");
  cluster.workers[1].about.other_classes = true;
  CHECK(Place(cluster, kRequest).placement.has_value());
  CHECK_FALSE(
      Place(Cluster(1, 1), {.model = "other", .prompt_tokens = 1, .tokens_max = 2}).placement.has_value());
}

TEST_CASE("a request that has begun in a numerics class stays in it") {
  auto cluster = Cluster(2, 2);
  for (const std::size_t i : {1U, 3U}) cluster.workers[i].about.numerics_class = "cpu-bf16";
  RequestSize request = kRequest;
  request.numerics_class = "cpu-bf16";
  CHECK(Place(cluster, request).placement->prefill == WorkerId{2});
  CHECK(Place(cluster, request).placement->decode == WorkerId{102});
  request.numerics_class = "gpu";
  CHECK_FALSE(Place(cluster, request).placement.has_value());
  // Nor does it end in another one, even where that would take it.
  cluster.workers[3].about.numerics_class = "cpu-f32";
  cluster.workers[3].about.other_classes = true;
  request.numerics_class = "cpu-bf16";
  CHECK_FALSE(Place(cluster, request).placement.has_value());
  request.numerics_class = "";
  CHECK(Place(cluster, request).placement.has_value());
}

TEST_CASE("a pair whose KV cannot be converted is not chosen, and says why") {
  auto cluster = Cluster(1, 2);
  const cluster::KvForm form{.layers = 2, .kv_heads = 4, .head_dim = 8, .ranks = 1, .dtype = "bf16"};
  for (auto& worker : cluster.workers) worker.about.kv = form;
  cluster.workers[1].about.kv.ranks = 3;
  cluster.workers[2].about.kv.ranks = 8;  // with other heads twice

  const PlacementResult result = Place(cluster, kRequest);

  REQUIRE(result.placement.has_value());
  CHECK(result.placement->decode == cluster.workers[2].about.id);
  CHECK(result.scores[0].why == "KV cannot be converted");
  cluster::KvForm other = form;
  other.dtype = "f32";
  CHECK(Convertible(form, other));
  other.dtype = "fp4";
  CHECK_FALSE(Convertible(form, other));
  CHECK_FALSE(Convertible(form, {.layers = 2, .kv_heads = 8, .head_dim = 8, .ranks = 1, .dtype = "bf16"}));
}

TEST_CASE("the same snapshot gives the same placement") {
  auto cluster = Cluster(4, 4);
  cluster.workers[2].queued_prompt_tokens = 7;
  const auto first = Place(cluster, kRequest);
  for (int again = 0; again < 10; ++again) {
    CHECK(Place(cluster, kRequest).placement->decode == first.placement->decode);
    CHECK(Place(cluster, kRequest).placement->prefill == first.placement->prefill);
  }
}

}  // namespace
}  // namespace baton::router
