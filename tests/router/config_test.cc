#include "router/config.h"

#include <fstream>
#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::router {
namespace {

absl::StatusOr<RouterConfig> Read(const std::string& text) {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/router.yaml";
  std::ofstream(path) << text;
  return ReadRouterConfig(path);
}

TEST_CASE("the example is a good configuration, with the defaults it names") {
  const auto config = ReadRouterConfig(test::ProjectFile("deploy/examples/router.yaml"));
  UNSCOPED_INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->model_name == "baton-demo");
  const RouterConfig defaults;
  CHECK(config->http.port == defaults.http.port);
  CHECK(config->http_threads == defaults.http_threads);
  CHECK(config->control.port == defaults.control.port);
  CHECK(config->admission.queue_requests == defaults.admission.queue_requests);
  CHECK(config->admission.queue_prompt_tokens == defaults.admission.queue_prompt_tokens);
  CHECK(config->request_timeout == defaults.request_timeout);
  CHECK(config->body_bytes_max == defaults.body_bytes_max);
  CHECK(config->worker_timeout == defaults.worker_timeout);
  CHECK(config->resume.attempts == defaults.resume.attempts);
  CHECK(config->balance == defaults.balance);
}

TEST_CASE("the model's name is its folder's unless it is given") {
  CHECK(Read("model: a/b/llama\n")->model_name == "llama");
  CHECK(Read("model: a/b/llama/\n")->model_name == "llama");
  CHECK(Read("model: a/b\nmodel_name: x\n")->model_name == "x");
}

TEST_CASE("every error of a file is reported, each with its place") {
  const auto config = Read(
      "modell: x\nhttp: {listen: nowhere, threads: 0}\nlimits: {request_timeout: 5, max_body: "
      "1TB}\nlog_level: loud\nresume: {attempts: 0}\n");
  REQUIRE_FALSE(config.ok());
  const std::string message = Message(config.status());
  CAPTURE(message);
  for (const char* wanted :
       {"modell", "model", ":2:", "threads", "request_timeout", "max_body", "log_level", "attempts"}) {
    CHECK(message.find(wanted) != std::string::npos);
  }
}

TEST_CASE("workers from other machines need the cluster's key") {
  CHECK_FALSE(Read("model: m\ncontrol: {listen: \"0.0.0.0:7000\"}\n").ok());
  CHECK(Read("model: m\ncontrol: {listen: \"0.0.0.0:7000\"}\ninsecure_no_auth: true\n").ok());
  CHECK(Read("model: m\ncontrol: {listen: \"0.0.0.0:7000\"}\ncluster_key_file: /k\n").ok());
}

TEST_CASE("operators have a listener where one is named, and from this machine alone") {
  CHECK_FALSE(Read("model: m\n")->admin_listener);
  CHECK(Read("model: m\nadmin: {listen: \"127.0.0.1:0\"}\n")->admin_listener);
  CHECK_FALSE(Read("model: m\nadmin: {listen: \"0.0.0.0:1\"}\ncluster_key_file: /k\n").ok());
  CHECK(Read("model: m\nmigration: {balance: true}\n")->balance);
}

TEST_CASE("nothing is recorded unless a file is named, and then up to its limit") {
  CHECK(Read("model: m\n")->record.file.empty());
  const auto config = Read("model: m\nrecord: {file: /r/x.rec, limit: 1MiB}\n");
  REQUIRE(config.ok());
  CHECK(config->record.file == "/r/x.rec");
  CHECK(config->record.limit_bytes == 1U << 20);
  CHECK(Read("model: m\nrecord: {file: f}\n")->record.limit_bytes == 256U << 20);
  const auto wrong = [](const std::string& record) { return Message(Read("model: m\n" + record).status()); };
  CHECK(wrong("record: {limit: 1MiB}\n").find("file") != std::string::npos);
  CHECK(wrong("record: {file: f, limit: 1B}\n").find("limit") != std::string::npos);
}

TEST_CASE("a file that is not there is an error that names it") {
  const auto config = ReadRouterConfig("/nonexistent/router.yaml");
  REQUIRE_FALSE(config.ok());
  CHECK(Message(config.status()).find("/nonexistent/router.yaml") != std::string::npos);
}

}  // namespace
}  // namespace baton::router
