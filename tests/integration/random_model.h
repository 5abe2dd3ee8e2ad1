#pragma once

#include <string>

#include "tests/support/temporary_folder.h"

namespace baton::test {

/// A checkpoint with random weights and a context of 8,192, small enough to be fast; gone with this object.
/// Fails the test where it cannot be made.
class RandomModel {
 public:
  RandomModel();
  [[nodiscard]] std::string Path() const { return folder_.Path() + "/model"; }

 private:
  TemporaryFolder folder_;
};

}  // namespace baton::test
