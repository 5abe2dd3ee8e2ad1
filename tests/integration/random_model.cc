#include "tests/integration/random_model.h"

#include <catch2/catch.hpp>

#include "tests/support/make_checkpoint.h"
#include "tests/support/shared_data.h"

namespace baton::test {

RandomModel::RandomModel() {
  auto spec = NamedShape("1m");
  REQUIRE(spec.ok());
  spec->seed = 5;
  spec->tokenizer_directory = ProjectFile("deploy/demo-model");  // of the shape's vocabulary
  REQUIRE(MakeCheckpoint(*spec, Path()).ok());
}

}  // namespace baton::test
