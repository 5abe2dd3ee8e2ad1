#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/json/value.h"
#include "common/net/http_server.h"
#include "perf/answer.h"
#include "perf/metrics_text.h"
#include "tests/integration/network.h"
#include "tests/integration/process.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {

/// What a worker's configuration says beyond names and addresses.
struct WorkerSettings {
  std::string compute = "f32";
  std::int64_t batch_tokens = 512;
  std::int64_t batch_sequences = 64;
  std::int64_t prefill_chunk = 256;
  std::string kv_memory = "64MiB";
  std::string kv_more = "";  // further fields of `kv`, such as "swap: 1MiB, growth: 2"
  int ranks = 1;
  std::string transfer_more = "";  // further fields of `transfer`
  std::string more = "";           // further lines
};

struct ClusterSettings {
  std::string model;  // folder
  int prefills = 1;
  int decodes = 1;
  WorkerSettings prefill = {};
  WorkerSettings decode = {};
  std::vector<WorkerSettings> more_decodes = {};  // workers beside those, configured otherwise
  /// Router and prefill workers on the first side, decode workers on the second; null: all on loopback.
  const NetworkPair* network = nullptr;
  std::string router_more = "";  // further lines of the router's configuration
};

inline constexpr const char* kModelName = "baton-test";

/// One daemon of a cluster: its configuration, its process, and where it listens.
class Daemon {
 public:
  struct Spec {
    std::string program;  // "router", "prefill", "decode"
    std::string name;
    std::string net_namespace = {};  // "" = the test's own
    std::string address = "127.0.0.1";
  };
  Daemon(Spec spec, const TemporaryFolder& folder);

  /// Writes the configuration and starts the process; `Ports` forgets what it knew.
  void Start(const std::string& yaml);
  /// The same configuration again.
  void Restart() { Start(yaml_); }
  /// A worker again, where its peers knew it.
  void RestartAtSamePorts();
  /// Waits until the daemon listens; fails the test where it ends or takes too long.
  void AwaitPorts();
  /// Waits for GET /ready to say 200.
  void AwaitReady();

  [[nodiscard]] Process& Running() { return *process_; }
  [[nodiscard]] const Spec& About() const { return spec_; }
  [[nodiscard]] std::uint16_t Port(const char* listener) const;
  [[nodiscard]] net::Address HttpAddress() const;
  /// GET on the port that serves /metrics, /health and /ready; status 0 where there is no answer.
  [[nodiscard]] net::HttpResponse Get(const std::string& path) const;
  /// Samples of /metrics; fails the test where there are none.
  [[nodiscard]] perf::MetricsText Metrics() const;
  [[nodiscard]] std::string Log() const;
  [[nodiscard]] std::string PortsFile() const { return base_ + ".ports.json"; }

 private:
  Spec spec_;
  std::string base_;  // of the paths of its files
  std::string yaml_;
  json::Value ports_;
  std::unique_ptr<Process> process_;
};

/// Router, prefill and decode workers as processes, ready when constructed. Main thread only but for `Ask`.
/// The destructor ends them, and prints what they logged where the test has failed.
class Cluster {
 public:
  explicit Cluster(const ClusterSettings& settings);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] Daemon& Router() { return *router_; }
  [[nodiscard]] const Daemon& Router() const { return *router_; }
  [[nodiscard]] Daemon& Prefill(std::size_t index = 0) { return *prefills_.at(index); }
  [[nodiscard]] Daemon& Decode(std::size_t index = 0) { return *decodes_.at(index); }
  [[nodiscard]] std::vector<Daemon*> Daemons();
  void AwaitReady();
  /// A new router where the last one was: workers know its address.
  void RestartRouter();

  /// One request to the router; `options.server` is filled in.
  [[nodiscard]] perf::Answer Ask(perf::AskOptions options) const;

  /// What is still held anywhere, in words; "" when the cluster is idle: nothing in flight, no grants, no
  /// blocks.
  [[nodiscard]] std::string Held();
  /// Waits for idleness; fails the test, with what is held, where it does not come.
  void RequireIdle();
  /// Open descriptors of each daemon, in the order of `Daemons()`.
  [[nodiscard]] std::vector<std::size_t> Descriptors();

 private:
  [[nodiscard]] std::string RouterYaml(std::uint16_t http_port, std::uint16_t control_port) const;
  [[nodiscard]] std::string WorkerYaml(const Daemon& worker, const WorkerSettings& settings) const;
  void StartWorkers(const char* program, int count, const WorkerSettings& settings,
                    std::vector<std::unique_ptr<Daemon>>& out);

  ClusterSettings settings_;
  TemporaryFolder folder_;
  std::unique_ptr<Daemon> router_;
  std::vector<std::unique_ptr<Daemon>> prefills_;
  std::vector<std::unique_ptr<Daemon>> decodes_;
  int exceptions_at_start_ = 0;
};

/// The path of a program of this build.
[[nodiscard]] std::string Program(const std::string& name);

}  // namespace baton::test
