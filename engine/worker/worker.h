#pragma once

#include "common/daemon/options.h"
#include "engine/worker/runtime.h"

namespace baton::engine {

/// What makes a worker a prefill or a decode worker.
struct PhaseDefinition {
  daemon::Program program;
  bool prefill = false;
  WorkerRuntime::CreateService create;
  WorkerRuntime::OpenDevices open = {};  // see WorkerRuntime
};

/// A worker daemon from command line to exit code: configuration, model, arena, hand-off, router, signals,
/// drain.
[[nodiscard]] int RunWorker(const PhaseDefinition& phase, int argc, char** argv);

}  // namespace baton::engine
