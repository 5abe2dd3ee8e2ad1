#include "router/policy/prefix_index.h"

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

using Names = std::vector<std::uint64_t>;
using Found = std::vector<HeldPrefix>;

TEST_CASE("the index knows how far each worker holds a prompt") {
  PrefixIndex index(100);
  index.Note(WorkerId{2}, {1, 2, 3});
  index.Note(WorkerId{1}, {1, 2, 30});

  CHECK(index.Find({1, 2, 3, 4}) == Found{{WorkerId{1}, 2}, {WorkerId{2}, 3}});
  CHECK(index.Find({1, 7}) == Found{{WorkerId{1}, 1}, {WorkerId{2}, 1}});
  CHECK(index.Find({7, 1}).empty());
  CHECK(index.Find({2, 3}) == Found{{WorkerId{1}, 1}, {WorkerId{2}, 2}});
  CHECK(index.Find({}).empty());
}

TEST_CASE("a worker that is gone holds nothing") {
  PrefixIndex index(100);
  index.Note(WorkerId{1}, {1, 2});
  index.Note(WorkerId{2}, {1});

  index.Forget(WorkerId{1});

  CHECK(index.Find({1, 2}) == Found{{WorkerId{2}, 1}});
  CHECK(index.Size() == 1);
}

TEST_CASE("the index keeps its bound, and what prompts share outlives what they do not") {
  PrefixIndex index(4);
  index.Note(WorkerId{1}, {1, 2, 3});
  index.Note(WorkerId{1}, {1, 20, 30});

  CHECK(index.Size() == 4);
  CHECK(index.Find({1, 20, 30}) == Found{{WorkerId{1}, 3}});
  CHECK(index.Find({1, 2, 3}) == Found{{WorkerId{1}, 2}});
  index.Note(WorkerId{1}, {100, 101, 102, 103, 104, 105});
  CHECK(index.Size() == 4);
  CHECK(index.Find({100, 101, 102, 103, 104}) == Found{{WorkerId{1}, 4}});
}

}  // namespace
}  // namespace baton::router
