#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/communicator.h"

namespace baton::kernels {

/// A group whose ranks' rows are the host's memory; backends that it needs live with it.
struct Ranks {
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::unique_ptr<Communicator>> communicators;
};

/// A communicator that the conformance tests run on.
struct RankCase {
  std::string name;
  std::function<Ranks(int ranks)> make;
};

/// The one within the process; NCCL's over emulated devices and a stand-in for the library, where the build
/// can.
[[nodiscard]] std::vector<RankCase> RankCases();
/// The latter alone; `keeps_order`: what the group is asked for.
[[nodiscard]] std::vector<RankCase> NcclCases(bool keeps_order);

}  // namespace baton::kernels
