#include <csignal>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"

/// What a live router decided, decided again by baton-sim from the router's recording.
namespace baton::test {
namespace {

constexpr std::size_t kRequests = 40;
constexpr std::size_t kAtOnce = 10;
constexpr Duration kLimit = std::chrono::seconds(60);

RunResult Replay(const std::string& file, const std::vector<std::string>& more = {}) {
  std::vector<std::string> command{Program("sim"), "replay", file};
  command.insert(command.end(), more.begin(), more.end());
  return RunToEnd(command);
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

double Ready(Cluster& cluster) {
  return cluster.Router().Metrics().Sum("baton_workers", {{"state", "ready"}});
}

/// Prompts of all lengths, some that begin alike, one of three hung up in the middle of its answer, and one
/// that no worker could hold.
std::vector<perf::AskOptions> MixedRequests() {
  std::vector<perf::AskOptions> requests;
  for (std::uint64_t i = 0; i < kRequests; ++i) {
    perf::AskOptions request =
        LongStream(i / 4, 20 + 5 * static_cast<std::int64_t>(i % 8), i % 3 == 0 ? 200 : 30);
    if (i % 3 == 0) {
      request.on_text = [left = 3](std::string_view) mutable { return --left > 0; };
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

/// Text with `from` on the first line that holds it and `mark` replaced by `to`.
std::string Changed(const std::string& text, const std::string& mark, const std::string& from,
                    const std::string& to) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    const std::size_t at = line.find(from);
    if (Contains(line, mark) && at != std::string::npos)
      return std::string(text).replace(begin + at, from.size(), to);
    begin = end + 1;
  }
  FAIL("no line with " << mark << " and " << from);
  return "";
}

}  // namespace

TEST_CASE("baton-sim reaches the decisions of a live run from its recording, bit for bit") {
  const TemporaryFolder folder;
  const std::string file = folder.Path() + "/live.rec";
  Cluster cluster({.model = ProjectFile("deploy/demo-model"),
                   .prefills = 2,
                   .decodes = 2,
                   .router_more = fmt::format("record: {{file: {}, limit: 64MiB}}\n", file)});
  REQUIRE(WaitUntil(kLimit, [&] { return Ready(cluster) == 4; }));
  for (const perf::Answer& answer : AskAll(cluster, MixedRequests(), kAtOnce)) {
    INFO(answer.Describe());
    CHECK((answer.Complete() || answer.hung_up));
  }

  // A worker leaves, another is lost, and what is asked then has one pair to go to, then none.
  cluster.Decode(0).Running().Signal(SIGTERM);
  CHECK(cluster.Decode(0).Running().WaitExit(kLimit) == 0);
  Streams streams(cluster, {LongStream(90, 40, 300), LongStream(91, 40, 300)});
  REQUIRE(streams.Await(2, 2, kLimit));
  cluster.Prefill(0).Running().Signal(SIGKILL);
  static_cast<void>(streams.Finish());
  REQUIRE(WaitUntil(kLimit, [&] { return Ready(cluster) == 2; }));
  CHECK(cluster.Ask(LongStream(92, 40, 8)).Complete());
  cluster.Decode(1).Running().Signal(SIGKILL);
  REQUIRE(WaitUntil(kLimit, [&] { return cluster.Router().Get("/ready").status == 503; }));
  CHECK(cluster.Ask(LongStream(93, 40, 8)).status == 503);
  cluster.Router().Running().Signal(SIGTERM);
  REQUIRE(cluster.Router().Running().WaitExit(kLimit) == 0);

  const RunResult same = Replay(file);
  INFO(same.output);
  CHECK(same.exit == 0);
  CHECK(Contains(same.output, "every decision is the same"));
  CHECK(Contains(same.output, "of 4 workers"));
  CHECK(Contains(same.output, "ended: closed"));
  const std::string text = ReadFile(file);
  // Of which kind depends on who tells first: the router's connection, or the worker that has lost its peer.
  CHECK(Contains(text, "\"refusal\":\"no_"));
  CHECK(Contains(text, "\"event\":\"leaving\""));

  // What was decided and what it was decided upon: neither can be changed unnoticed.
  const std::string changed = folder.Path() + "/changed.rec";
  WriteFile(changed, Changed(text, "\"decision\":\"place\"", ",\"prefill\":", ",\"prefill\":9"));
  const RunResult other = Replay(changed);
  CHECK(other.exit == 3);
  CHECK(Contains(other.output, "place "));
  CHECK(Contains(other.output, ": recorded prefill 9"));
  WriteFile(changed, Changed(text, "\"event\":\"queued\"", "\"prompt_tokens\":", "\"prompt_tokens\":1"));
  CHECK(Replay(changed).exit == 3);

  // A router that was killed leaves a recording without its end.
  WriteFile(changed, text.substr(0, text.size() / 2));
  const RunResult cut = Replay(changed);
  CHECK(cut.exit == 2);
  CHECK(Contains(cut.output, "changed.rec:"));
  CHECK(Contains(cut.output, "breaks off inside this line"));
  const RunResult rest = Replay(changed, {"--broken-off"});
  INFO(rest.output);
  CHECK(rest.exit == 0);

  WriteFile(changed, Changed(text, "\"event\":\"load\"", "\"queued_requests\":", "\"queued_requests\":-1"));
  const RunResult hostile = Replay(changed);
  CHECK(hostile.exit == 2);
  CHECK(Contains(hostile.output, "queued_requests: -1"));
}

}  // namespace baton::test
