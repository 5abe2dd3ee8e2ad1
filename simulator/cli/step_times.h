#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/perf_model.h"
#include "simulator/fleet.h"

/// On what step times a question is answered. Machines compare only where it is the same for all.
namespace baton::simulator::cli {

struct StepTimes {
  hardware::PerfKind kind = hardware::PerfKind::kBest;
  std::string text;  // "measured (eager vLLM of 2023)", or what each machine rests on, or why
};

/// `asked` is auto, best, roofline or table. auto: measurements where every machine has them, else the
/// roofline for all. `with_alone`: slowdowns are asked for, whose reference machine counts among them.
[[nodiscard]] StepTimes ChooseStepTimes(const hardware::Catalogue& catalogue, const std::string& asked,
                                        const std::string& model, const std::vector<PoolSpec>& pools,
                                        bool with_alone);

}  // namespace baton::simulator::cli
