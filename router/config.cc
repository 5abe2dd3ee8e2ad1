#include "router/config.h"

#include <filesystem>
#include <utility>

#include "common/base/error.h"
#include "common/config/reader.h"

namespace baton::router {
namespace {

using config::Section;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kRequired = Section::Need::kRequired;

void ReadAddress(const Section& section, std::string_view key, net::Address& out) {
  std::string text;
  section.String(key, text);
  if (text.empty()) return;
  absl::StatusOr<net::Address> address = net::Address::Parse(text);
  if (!address.ok()) return section.Problem(key, Message(address.status()));
  out = *std::move(address);
}

void ReadLimits(const Section& limits, RouterConfig& out) {
  limits.Integer("queue_requests", out.admission.queue_requests, 1, 1'000'000);
  limits.Integer("queue_prompt_tokens", out.admission.queue_prompt_tokens, 1, std::int64_t{1} << 40);
  limits.Duration("request_timeout", out.request_timeout, seconds(1), std::chrono::hours(24));
  limits.Bytes("max_body", out.body_bytes_max, 1024, std::uint64_t{1} << 30);
  limits.Boolean("strict_fields", out.strict_fields);
}

void ReadRecord(const Section& root, RouterConfig& out) {
  if (!root.Has("record")) return;
  const Section record = root.Sub("record");
  record.String("file", out.record.file, kRequired);
  // A beginning and an end fit; beyond 64 GiB a recording is of no use to anybody.
  record.Bytes("limit", out.record.limit_bytes, 64U << 10, std::uint64_t{64} << 30);
}

void ReadGiveBack(const Section& give_back, RouterConfig& out) {
  give_back.Boolean("enabled", out.give_back.enabled);
  give_back.Integer("min_tokens", out.give_back.tokens_min, 1, 1'000'000);
  give_back.Integer("at_once", out.give_back.at_once, 1, 1024);
  give_back.Number("share", out.give_back.share, 0, 1);
}

void ReadLogLevel(const Section& root, RouterConfig& out) {
  std::string level = "info";
  root.Choice("log_level", level, {"debug", "info", "warning", "error"});
  if (level == "debug") out.log_level = LogLevel::kDebug;
  if (level == "warning") out.log_level = LogLevel::kWarning;
  if (level == "error") out.log_level = LogLevel::kError;
}

}  // namespace

absl::StatusOr<RouterConfig> ReadRouterConfig(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(config::Document document, config::Document::Open(path));
  const Section root = document.Root();
  RouterConfig out;
  root.String("model", out.model, kRequired);
  root.String("model_name", out.model_name);
  if (out.model_name.empty()) {
    const std::filesystem::path model(out.model);
    out.model_name = (model.has_filename() ? model : model.parent_path()).filename().string();
  }
  const Section http = root.Sub("http");
  ReadAddress(http, "listen", out.http);
  http.Integer("threads", out.http_threads, 1, 256);
  ReadAddress(root.Sub("control"), "listen", out.control);
  out.metrics_listener = root.Has("metrics");
  ReadAddress(root.Sub("metrics"), "listen", out.metrics);
  out.admin_listener = root.Has("admin");
  ReadAddress(root.Sub("admin"), "listen", out.admin);
  const Section migration = root.Sub("migration");
  migration.Boolean("balance", out.balance);
  migration.Boolean("make_room", out.make_room);
  ReadGiveBack(root.Sub("give_back"), out);
  root.String("cluster_key_file", out.cluster_key_file);
  root.Boolean("insecure_no_auth", out.insecure_no_auth);
  root.String("ports_file", out.ports_file);
  ReadLogLevel(root, out);
  ReadLimits(root.Sub("limits"), out);
  ReadRecord(root, out);
  root.Duration("worker_timeout", out.worker_timeout, milliseconds(100), std::chrono::minutes(10));
  root.Sub("resume").Integer("attempts", out.resume.attempts, 1, 16);
  if (out.cluster_key_file.empty() && !out.insecure_no_auth && !out.control.IsLoopback()) {
    root.Problem("control",
                 "listens beyond loopback without cluster_key_file; name one, or set insecure_no_auth: true");
  }
  if (!out.insecure_no_auth && !out.admin.IsLoopback()) {
    root.Problem("admin", "asks nobody who they are; listen on loopback, or set insecure_no_auth: true");
  }
  BATON_RETURN_IF_ERROR(document.Finish());
  return out;
}

}  // namespace baton::router
