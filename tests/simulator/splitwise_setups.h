#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "simulator/splitwise_world.h"

namespace baton::test {

/// Machines of one kind for a setup: "h100-80gb", 25 of them, for prompts.
struct SplitwiseGroup {
  router::MachineRole role = router::MachineRole::kWhole;
  std::string hardware;
  int machines = 1;
};

/// The paper's machines with 8 GPUs of 80 GiB under `model` ("bloom-176b" or "llama2-70b"), with the medians
/// of the published measurements; nothing where the checkout lacks these.
[[nodiscard]] std::optional<simulator::SplitwiseSetup> PaperSetup(std::string_view model,
                                                                  const std::vector<SplitwiseGroup>& groups);

/// A trace in the reference's format from the shared data, or nothing.
[[nodiscard]] std::optional<simulator::Workload> PaperTrace(std::string_view name);

}  // namespace baton::test
