#include "common/config/nearest_name.h"

#include <catch2/catch.hpp>

namespace baton::config {
namespace {

const std::vector<std::string> kNames = {"listen", "workers", "block_tokens", "id"};

TEST_CASE("a slip of letters finds the name that was meant") {
  CHECK(NearestName("listne", kNames) == "listen");
  CHECK(NearestName("worker", kNames) == "workers");
  CHECK(NearestName("block_token_s", kNames) == "block_tokens");
  CHECK(NearestName("blocktokens", kNames) == "block_tokens");
}

TEST_CASE("a name with nothing in common has no nearest") {
  CHECK(NearestName("temperature", kNames) == std::nullopt);
  CHECK(NearestName("xy", kNames) == std::nullopt);
  CHECK(NearestName("", kNames) == std::nullopt);
  CHECK(NearestName("listen", {}) == std::nullopt);
  CHECK(NearestName(std::string(10'000, 'a'), kNames) == std::nullopt);
}

TEST_CASE("of equally near names the first is taken") {
  CHECK(NearestName("name", {"fame", "game"}) == "fame");
}

}  // namespace
}  // namespace baton::config
