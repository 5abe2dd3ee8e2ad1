#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/connection.h"
#include "router/policy/admission.h"
#include "router/policy/give_back.h"
#include "router/record/recorder.h"
#include "router/resume.h"

namespace baton::router {

/// What router.yaml says; deploy/examples/router.yaml explains each field.
struct RouterConfig {
  std::string model;       // Hugging Face directory
  std::string model_name;  // the id that clients ask for
  net::Address http{"127.0.0.1", 8080};
  int http_threads = 2;
  net::Address control{"127.0.0.1", 7000};
  bool metrics_listener = false;
  net::Address metrics{"127.0.0.1", 0};
  bool admin_listener = false;
  net::Address admin{"127.0.0.1", 0};
  std::string cluster_key_file;
  bool insecure_no_auth = false;
  std::string ports_file;
  LogLevel log_level = LogLevel::kInfo;
  AdmissionLimits admission;
  Duration request_timeout = std::chrono::seconds(300);
  std::uint64_t body_bytes_max = 8U << 20;
  bool strict_fields = false;
  Duration worker_timeout = std::chrono::seconds(2);
  RecorderOptions record;  // no file: nothing is recorded
  bool balance = false;    // answers move from full decode workers to free ones
  bool make_room = true;   // and away from where a request needs the memory
  GiveBackLimits give_back;
  ResumeLimits resume;
};

/// Every error of the file, one a line, as "file:line:column: field: what".
[[nodiscard]] absl::StatusOr<RouterConfig> ReadRouterConfig(const std::string& path);

}  // namespace baton::router
