#include "common/base/ids.h"

#include <set>

#include <absl/container/flat_hash_set.h>
#include <catch2/catch.hpp>

namespace baton {

TEST_CASE("incarnations and transfer ids do not repeat and are not zero") {
  std::set<std::uint64_t> incarnations;
  absl::flat_hash_set<TransferId> transfers;

  for (int i = 0; i < 1000; ++i) {
    const Incarnation incarnation = NewIncarnation();
    CHECK(incarnation.value != 0);
    incarnations.insert(incarnation.value);
    transfers.insert(NewTransferId());
  }

  CHECK(incarnations.size() == 1000);
  CHECK(transfers.size() == 1000);
}

TEST_CASE("ids print as an operator can search for them") {
  CHECK(fmt::format("{}", WorkerId(7)) == "7");
  CHECK(fmt::format("{}", RequestKey{RequestId(255), Attempt(2)}) == "ff/2");
  CHECK(fmt::format("{}", TransferId{.high = 1, .low = 2}) == "00000000000000010000000000000002");
}

}  // namespace baton
