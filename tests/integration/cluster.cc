#include "tests/integration/cluster.h"

#include <csignal>
#include <filesystem>
#include <iostream>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/check.h"
#include "common/base/ids.h"
#include "common/net/http_client.h"
#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

constexpr Duration kStartLimit = std::chrono::seconds(30);  // a model is loaded and packed, on a busy machine
constexpr Duration kIdleLimit = std::chrono::seconds(10);   // covers a drain of aborted transfers
constexpr std::size_t kLogTail = 4000;                      // bytes of a log worth showing

const NetworkPair::Side& SideOf(const NetworkPair& network, const std::string& program) {
  return program == "decode" ? network.Second() : network.First();
}

std::string Tail(const std::string& text) {
  return text.size() <= kLogTail ? text : "... " + text.substr(text.size() - kLogTail);
}

}  // namespace

std::string Program(const std::string& name) {
  return std::string(BATON_PROGRAMS) + "/baton-" + name;
}

Daemon::Daemon(Spec spec, const TemporaryFolder& folder)
    : spec_(std::move(spec)), base_(folder.Path() + "/" + spec_.name) {}

void Daemon::Start(const std::string& yaml) {
  process_.reset();
  std::filesystem::remove(PortsFile());
  ports_ = {};
  yaml_ = yaml;
  WriteFile(base_ + ".yaml", yaml);
  const std::vector<std::string> command = {Program(spec_.program), "--config", base_ + ".yaml"};
  process_ = std::make_unique<Process>(
      spec_.net_namespace.empty() ? command : InNamespace(spec_.net_namespace, command), base_ + ".log");
}

void Daemon::RestartAtSamePorts() {
  const std::string any = fmt::format("peer: {{listen: \"{}:0\"", spec_.address);
  const std::size_t at = yaml_.find(any);
  REQUIRE(at != std::string::npos);
  std::string yaml = yaml_;
  yaml.replace(at, any.size(), fmt::format("peer: {{listen: \"{}:{}\"", spec_.address, Port("peer")));
  const std::string as_written = yaml_;
  Start(yaml);
  yaml_ = as_written;
}

void Daemon::AwaitPorts() {
  const bool there =
      WaitUntil(kStartLimit, [&] { return std::filesystem::exists(PortsFile()) || !process_->Running(); });
  INFO(spec_.name << " logged:\n" << Tail(Log()));
  REQUIRE(there);
  REQUIRE(process_->Running());
  const auto ports = json::Parse(ReadFile(PortsFile()));
  REQUIRE(ports.ok());
  ports_ = *ports;
}

void Daemon::AwaitReady() {
  AwaitPorts();
  const bool ready =
      WaitUntil(kStartLimit, [&] { return !process_->Running() || Get("/ready").status == 200; });
  INFO(spec_.name << " logged:\n" << Tail(Log()));
  REQUIRE(ready);
  REQUIRE(process_->Running());
}

std::uint16_t Daemon::Port(const char* listener) const {
  const json::Value* port = ports_.Find(listener);
  // No Catch macro: `Ask` calls this from many threads.
  BATON_CHECK(port != nullptr && port->AsInt() != nullptr, "{} listens for {} according to {}", spec_.name,
              listener, json::Serialize(ports_));
  return static_cast<std::uint16_t>(*port->AsInt());
}

net::Address Daemon::HttpAddress() const {
  return {.host = spec_.address, .port = Port(spec_.program == "router" ? "http" : "metrics")};
}

net::HttpResponse Daemon::Get(const std::string& path) const {
  const NamespaceScope inside(spec_.net_namespace);
  auto response = net::HttpClient::Request(HttpAddress(), "GET", path, {}, "", std::chrono::seconds(5));
  return response.ok() ? *std::move(response) : net::HttpResponse{.status = 0};
}

perf::MetricsText Daemon::Metrics() const {
  const net::HttpResponse response = Get("/metrics");
  REQUIRE(response.status == 200);
  auto metrics = perf::MetricsText::Parse(response.body);
  REQUIRE(metrics.ok());
  return *std::move(metrics);
}

std::string Daemon::Log() const {
  return process_ ? process_->Log() : "";
}

Cluster::Cluster(const ClusterSettings& settings)
    : settings_(settings), exceptions_at_start_(std::uncaught_exceptions()) {
  WriteFile(folder_.Path() + "/key", fmt::format("{:016x}{:016x}\n", RandomBits(), RandomBits()));
  std::filesystem::permissions(folder_.Path() + "/key", std::filesystem::perms::owner_read);
  Daemon::Spec spec{.program = "router", .name = "router"};
  if (settings_.network != nullptr) {
    spec.net_namespace = SideOf(*settings_.network, "router").name;
    spec.address = SideOf(*settings_.network, "router").address;
  }
  router_ = std::make_unique<Daemon>(spec, folder_);
  router_->Start(RouterYaml(0, 0));
  router_->AwaitPorts();
  StartWorkers("decode", settings_.decodes, settings_.decode, decodes_);
  for (const WorkerSettings& other : settings_.more_decodes) StartWorkers("decode", 1, other, decodes_);
  StartWorkers("prefill", settings_.prefills, settings_.prefill, prefills_);
  AwaitReady();
}

Cluster::~Cluster() {
  const bool failed =
      std::uncaught_exceptions() > exceptions_at_start_ || !Catch::getResultCapture().lastAssertionPassed();
  if (!failed) return;
  for (Daemon* daemon : Daemons()) {
    if (daemon != nullptr)
      std::cerr << "=== " << daemon->About().name << " logged\n" << Tail(daemon->Log()) << '\n';
  }
}

void Cluster::StartWorkers(const char* program, int count, const WorkerSettings& settings,
                           std::vector<std::unique_ptr<Daemon>>& out) {
  for (int i = 0; i < count; ++i) {
    Daemon::Spec spec{.program = program, .name = fmt::format("{}-{}", program, out.size())};
    if (settings_.network != nullptr) {
      spec.net_namespace = SideOf(*settings_.network, program).name;
      spec.address = SideOf(*settings_.network, program).address;
    }
    out.push_back(std::make_unique<Daemon>(spec, folder_));
    out.back()->Start(WorkerYaml(*out.back(), settings));
  }
}

std::string Cluster::RouterYaml(std::uint16_t http_port, std::uint16_t control_port) const {
  const std::string& host = router_->About().address;
  std::string yaml = fmt::format(
      "model: {}\nmodel_name: {}\nhttp: {{listen: \"{}:{}\", threads: 2}}\ncontrol: {{listen: \"{}:{}\"}}\n"
      "ports_file: {}\nlog_level: info\n",
      settings_.model, kModelName, host, http_port, host, control_port, router_->PortsFile());
  yaml += fmt::format("cluster_key_file: {}\n", folder_.Path() + "/key");
  return yaml + settings_.router_more;
}

std::string Cluster::WorkerYaml(const Daemon& worker, const WorkerSettings& settings) const {
  const std::string& host = worker.About().address;
  const std::string device =
      settings_.network == nullptr ? "lo" : SideOf(*settings_.network, worker.About().program).device;
  std::string yaml = fmt::format(
      "name: {}\nmodel: {}\nmodel_name: {}\nrouter: \"{}:{}\"\npeer: {{listen: \"{}:0\", advertise: "
      "\"{}\"}}\n"
      "metrics: {{listen: \"{}:0\"}}\nports_file: {}\nlog_level: info\n",
      worker.About().name, settings_.model, kModelName, router_->About().address, router_->Port("control"),
      host, host, host, worker.PortsFile());
  yaml += fmt::format("cluster_key_file: {}\n", folder_.Path() + "/key");
  yaml +=
      fmt::format("compute: {{class: {}, threads: 1, ranks: {}}}\nkv: {{memory: {}{}{}}}\n", settings.compute,
                  settings.ranks, settings.kv_memory, settings.kv_more.empty() ? "" : ", ", settings.kv_more);
  yaml += fmt::format("batch: {{tokens: {}, sequences: {}, prefill_chunk: {}}}\n", settings.batch_tokens,
                      settings.batch_sequences, settings.prefill_chunk);
  yaml += fmt::format("transfer: {{transport: ucx, net_device: {}, tls: \"tcp,self\"{}{}}}\n", device,
                      settings.transfer_more.empty() ? "" : ", ", settings.transfer_more);
  return yaml + settings.more;
}

std::vector<Daemon*> Cluster::Daemons() {
  std::vector<Daemon*> daemons = {router_.get()};
  for (const auto& daemon : prefills_) daemons.push_back(daemon.get());
  for (const auto& daemon : decodes_) daemons.push_back(daemon.get());
  return daemons;
}

void Cluster::AwaitReady() {
  for (Daemon* daemon : Daemons()) {
    if (daemon != router_.get()) daemon->AwaitReady();
  }
  router_->AwaitReady();
}

void Cluster::RestartRouter() {
  const std::string yaml = RouterYaml(router_->Port("http"), router_->Port("control"));
  router_->Start(yaml);
  router_->AwaitPorts();
}

perf::Answer Cluster::Ask(perf::AskOptions options) const {
  const NamespaceScope inside(router_->About().net_namespace);
  options.server = router_->HttpAddress();
  return perf::Ask(options);
}

std::string Cluster::Held() {
  std::string held;
  const auto note = [&](const Daemon& daemon, const char* what, double value) {
    if (value != 0) held += fmt::format("{}: {} {}\n", daemon.About().name, what, value);
  };
  for (Daemon* daemon : Daemons()) {
    const perf::MetricsText metrics = daemon->Metrics();
    note(*daemon, "requests in flight", metrics.Sum("baton_requests_in_flight"));
    if (daemon == router_.get()) continue;
    note(*daemon, "grants", metrics.Sum("baton_kv_grants"));
    note(*daemon, "blocks used", metrics.Sum("baton_kv_blocks", {{"state", "used"}}));
    note(*daemon, "blocks quarantined", metrics.Sum("baton_kv_blocks", {{"state", "quarantined"}}));
    if (!metrics.Has("baton_kv_grants") || !metrics.Has("baton_kv_blocks", {{"state", "free"}})) {
      held += fmt::format("{}: no metrics of its KV\n", daemon->About().name);
    }
  }
  return held;
}

void Cluster::RequireIdle() {
  std::string held;
  const bool idle = WaitUntil(kIdleLimit, [&] {
    held = Held();
    return held.empty();
  });
  INFO("held:\n" << held);
  REQUIRE(idle);
}

std::vector<std::size_t> Cluster::Descriptors() {
  std::vector<std::size_t> counts;
  for (Daemon* daemon : Daemons()) counts.push_back(daemon->Running().OpenDescriptors());
  return counts;
}

}  // namespace baton::test
