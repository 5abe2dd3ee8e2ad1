#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/status/status.h>

#include "common/daemon/options.h"
#include "engine/worker/config.h"
#include "engine/worker/service.h"

namespace baton::engine {

/// What makes a worker a prefill or a decode worker.
struct PhaseDefinition {
  daemon::Program program;
  bool prefill = false;
  std::function<std::unique_ptr<PhaseService>(const ServiceContext&)> create;
};

/// A worker daemon from command line to exit code: configuration, model, arena, hand-off, router, signals,
/// drain.
[[nodiscard]] int RunWorker(const PhaseDefinition& phase, int argc, char** argv);

}  // namespace baton::engine
