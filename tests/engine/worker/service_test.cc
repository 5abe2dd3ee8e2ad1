#include "engine/worker/service.h"

#include <catch2/catch.hpp>

namespace baton::engine {
namespace {

TEST_CASE("an order to resume what cannot be is refused") {
  ModelConfig model;
  model.context = 50;
  model.vocabulary = 10;
  const std::vector<TokenId> tokens(30, 1);
  const auto checked = [&](std::int64_t resumed, std::int32_t samples, std::int64_t max_tokens) {
    return CheckOrder(tokens, resumed, samples, {}, {.max_tokens = max_tokens}, model).ok();
  };
  CHECK(checked(0, 1, 20));
  CHECK(!checked(0, 1, 21));
  CHECK(checked(10, 1, 30));  // the context holds prompt and answer, whatever is made of it
  CHECK(!checked(10, 1, 31));
  CHECK(!checked(-1, 1, 20));
  CHECK(!checked(20, 1, 20));  // has ended
  CHECK(!checked(30, 1, 40));  // no prompt
  CHECK(!checked(10, 2, 20));  // one of several answers
}

}  // namespace
}  // namespace baton::engine
