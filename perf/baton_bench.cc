#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/units.h"
#include "perf/chat.h"
#include "perf/handoff_sweep.h"
#include "perf/load_client.h"
#include "perf/report.h"

namespace {

using namespace baton;
using namespace baton::perf;

constexpr const char* kExamples = R"(Examples:
  baton-bench --url http://127.0.0.1:8080 --prompt-tokens 200 --requests 64 --concurrency 8 --max-tokens 64
  baton-bench --url http://127.0.0.1:8080 --prompt "In the beginning" --rate 4 --requests 100 --output json
  baton-bench chat --url http://127.0.0.1:8080 --prompt "Who made the sea?"
  baton-bench handoff --prefill http://127.0.0.1:9101 --decode http://127.0.0.1:9102 --repeat 20

Times are in milliseconds.
Exit codes: 0 every request was answered, 1 some failed, 2 usage, 4 no server, 130 interrupted.)";

std::atomic<bool> stop_requested = false;
extern "C" void OnInterrupt(int) {
  stop_requested = true;
}

struct Arguments {
  std::string url = "http://127.0.0.1:8080";
  std::string prefill_url;
  std::string decode_url;
  std::string output = "table";
  std::string timeout = "120s";
  LoadOptions load;
  ChatOptions chat;
  HandoffSweepOptions handoff;
};

/// At most one line, redrawn at most 10 times a second, and only for people.
class Progress {
 public:
  explicit Progress(std::int64_t total) : total_(total), shown_(isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void operator()(std::int64_t answered) {
    const TimePoint now = std::chrono::steady_clock::now();
    if (!shown_ || (answered < total_ && now < next_)) return;
    next_ = now + std::chrono::milliseconds(100);
    fmt::print(stderr, "\r{}/{} requests\033[K", answered, total_);
    std::fflush(stderr);
  }

 private:
  std::int64_t total_;
  bool shown_;
  TimePoint next_{};
};

int RunBench(const Arguments& arguments) {
  std::signal(SIGINT, OnInterrupt);
  LoadResult result;
  {
    Progress progress(arguments.load.requests);
    result = RunLoad(arguments.load, stop_requested, [&](std::int64_t answered) { progress(answered); });
  }
  const Report report = Summarize(result);
  fmt::print("{}",
             arguments.output == "json" ? AsJson(report, arguments.load) : AsTable(report, arguments.load));
  if (stop_requested) return 130;
  const bool reached = std::any_of(result.answers.begin(), result.answers.end(),
                                   [](const Answer& a) { return a.status != 0; });
  if (!reached && !result.answers.empty()) {
    fmt::print(stderr, "baton-bench: {}\n", result.answers.front().transport_error);
    return 4;
  }
  return report.complete == report.requests ? 0 : 1;
}

void AddShared(CLI::App& app, Arguments& arguments) {
  app.add_option("--url", arguments.url, "The router")->capture_default_str();
  app.add_option("--model", arguments.load.model, "Model id; default: the router's");
  app.add_option("--seed", arguments.load.seed, "Of prompts, arrivals and sampling")->capture_default_str();
  app.add_option("--timeout", arguments.timeout, "Of one request, such as 30s")->capture_default_str();
}

void AddLoad(CLI::App& app, Arguments& arguments) {
  LoadOptions& load = arguments.load;
  auto* text = app.add_option("--prompt", load.prompt, "Every request's prompt");
  app.add_option("--prompt-tokens", load.prompt_tokens, "Instead of a text: as many random token ids")
      ->check(CLI::PositiveNumber)
      ->excludes(text);
  app.add_option("--requests", load.requests, "How many")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--concurrency", load.concurrency, "Closed loop: how many at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--rate", load.rate, "Open loop: Poisson arrivals a second")->check(CLI::PositiveNumber);
  app.add_option("--max-tokens", load.max_tokens, "Of an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--temperature", load.temperature, "0 = greedy")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  app.add_flag("--ignore-eos", load.ignore_eos, "Answers of exactly --max-tokens");
  app.add_option("--output", arguments.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "Load client for Baton: measures time to first token, between tokens and end to end, and tokens a "
      "second.",
      "baton-bench"};
  app.footer(kExamples);
  AddShared(app, arguments);
  AddLoad(app, arguments);
  app.fallthrough();
  auto* chat = app.add_subcommand(
      "chat", "Streams the answer to one chat message, then says in one line what happened");
  chat->add_option("--prompt", arguments.chat.prompt, "The user's message")->required();
  chat->add_option("--max-tokens", arguments.chat.max_tokens, "Of the answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  chat->add_option("--temperature", arguments.chat.temperature, "0 = greedy")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  auto* handoff = app.add_subcommand(
      "handoff", "One request at a time, prompts of growing length: the hand-off's time, split");
  handoff->add_option("--prefill", arguments.prefill_url, "The prefill worker's metrics")->required();
  handoff->add_option("--decode", arguments.decode_url, "The decode worker's metrics; on the same host")
      ->required();
  handoff->add_option("--lengths", arguments.handoff.lengths, "Prompt tokens")->capture_default_str();
  handoff->add_option("--repeat", arguments.handoff.repeat, "Requests of each length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto server = ParseUrl(arguments.url);
  const auto timeout = ParseDuration(arguments.timeout);
  if (!server.ok() || !timeout.ok()) {
    fmt::print(stderr, "baton-bench: {}\n", Message(server.ok() ? timeout.status() : server.status()));
    return 2;
  }
  if (chat->parsed()) {
    arguments.chat.server = *server;
    arguments.chat.model = arguments.load.model;
    arguments.chat.seed = arguments.load.seed;
    arguments.chat.timeout = *timeout;
    return RunChat(arguments.chat);
  }
  if (handoff->parsed()) {
    const auto prefill = ParseUrl(arguments.prefill_url);
    const auto decode = ParseUrl(arguments.decode_url);
    if (!prefill.ok() || !decode.ok()) {
      fmt::print(stderr, "baton-bench: {}\n", Message(prefill.ok() ? decode.status() : prefill.status()));
      return 2;
    }
    arguments.handoff.prefill = *prefill;
    arguments.handoff.decode = *decode;
    arguments.handoff.server = *server;
    arguments.handoff.timeout = *timeout;
    return RunHandoffSweep(arguments.handoff);
  }
  arguments.load.server = *server;
  arguments.load.timeout = *timeout;
  if (arguments.load.prompt.empty() && arguments.load.prompt_tokens == 0)
    arguments.load.prompt = "In the beginning";
  return RunBench(arguments);
}
