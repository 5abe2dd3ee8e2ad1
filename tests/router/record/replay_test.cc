#include "router/record/replay.h"

#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/router/record/entries.h"

namespace baton::router {
namespace {

/// A recording made by hand: events, and decisions as the policies make them upon these.
class Script {
 public:
  Script() { Add(FormatEntry(RecordingStart{.router = "0.1.0", .model = "m", .limits = {}})); }

  void Join(std::uint32_t id, cluster::Phase phase, const std::vector<std::uint32_t>& peers) {
    cluster::WorkerDescription about =
        std::get<cluster::WorkerJoined>(std::get<cluster::ClusterEvent>(EveryEntry().at(1)).what).worker;
    about.id = WorkerId{id};
    about.phase = phase;
    Event(cluster::WorkerJoined{about});
    cluster::LoadReport load;
    load.ready = true;
    load.kv_blocks_free = 64;
    for (const std::uint32_t peer : peers) load.links.push_back({WorkerId{peer}, true, "tcp", 1e9});
    Event(cluster::LoadReported{about.id, load});
  }
  template <typename T>
  void Event(T what) {
    const cluster::ClusterEvent event{TimePoint(Duration(++at_)), std::move(what)};
    view_.Apply(event);
    Add(FormatEntry(event));
  }
  void Admit(std::uint64_t id, std::int64_t prompt) {
    const RecordedSize size = Size(prompt);
    const auto refusal = router::Admit(view_.Snapshot(), Lend(size, "m"), {});
    Add(FormatEntry(AdmitDecision{RequestId{id}, size, Digest(view_.Snapshot()), refusal}));
    if (!refusal) Event(cluster::RequestQueued{RequestId{id}, size.prompt_tokens, size.tokens_max});
  }
  void Place(std::uint64_t id, std::int64_t prompt) {
    const RequestKey key{RequestId{id}, Attempt{1}};
    const RecordedSize size = Size(prompt);
    const PlacementResult result = router::Place(view_.Snapshot(), Lend(size, "m"));
    Add(FormatEntry(PlaceDecision{.key = key,
                                  .size = size,
                                  .view = Digest(view_.Snapshot()),
                                  .placement = result.placement,
                                  .pairs = std::ssize(result.scores),
                                  .scores = Digest(result.scores)}));
    if (result.placement)
      Event(cluster::RequestPlaced{key, result.placement->prefill, result.placement->decode});
  }
  void Ready() {
    Add(FormatEntry(ReadyDecision{Digest(view_.Snapshot()), WhyNotReady(view_.Snapshot(), "m")}));
  }
  void End() { Add(FormatEntry(RecordingEnd{.why = "closed", .lines = std::ssize(lines)})); }
  void Add(std::string line) { lines.push_back(std::move(line)); }

  [[nodiscard]] std::string Text() const {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
  }
  /// Replaces in the only line that holds `from`.
  void Change(const std::string& from, const std::string& to, std::size_t line) {
    const std::size_t at = lines.at(line - 1).find(from);
    REQUIRE(at != std::string::npos);
    lines[line - 1].replace(at, from.size(), to);
  }

  std::vector<std::string> lines;

 private:
  static RecordedSize Size(std::int64_t prompt) {
    return {.prompt_tokens = prompt, .tokens_max = prompt + 10, .sequence_tokens = prompt + 10, .held = {}};
  }
  cluster::ClusterView view_;
  std::int64_t at_ = 0;
};

/// Two pairs of workers, three requests of which the last is too large, and one worker that leaves.
Script Whole() {
  Script script;
  script.Join(1, cluster::Phase::kPrefill, {2, 4});  // lines 2, 3
  script.Join(2, cluster::Phase::kDecode, {1, 3});
  script.Join(3, cluster::Phase::kPrefill, {2, 4});
  script.Join(4, cluster::Phase::kDecode, {1, 3});
  script.Admit(0x1f, 40);      // 10, 11
  script.Place(0x1f, 40);      // 12, 13
  script.Admit(0x20, 30);      // 14, 15
  script.Place(0x20, 30);      // 16, 17
  script.Admit(0x21, 10'000);  // 18
  script.Event(cluster::WorkerLeft{WorkerId{1}});
  script.Ready();  // 20
  return script;
}

absl::StatusOr<ReplayReport> Play(const std::string& text, const ReplayOptions& options = {}) {
  std::istringstream in(text);
  return Replay(in, "r.rec", options);
}

ReplayReport PlayOrFail(const std::string& text, const ReplayOptions& options = {}) {
  auto report = Play(text, options);
  UNSCOPED_INFO(report.status().ToString());
  REQUIRE(report.ok());
  return *std::move(report);
}

std::string Problem(const std::string& text, const ReplayOptions& options = {}) {
  const auto report = Play(text, options);
  return report.ok() ? "" : Message(report.status());
}

TEST_CASE("a recording replays to the same decisions") {
  Script script = Whole();
  script.End();

  const ReplayReport report = PlayOrFail(script.Text());

  CHECK(report.Same());
  CHECK(report.end == "closed");
  CHECK(report.workers == 4);
  CHECK(report.admit.made == 3);
  CHECK(report.place.made == 2);
  CHECK(report.ready.made == 1);
  CHECK(report.admit.same + report.place.same + report.ready.same == 6);
}

TEST_CASE("a decision that was changed is found, with its line, in words") {
  Script script = Whole();
  script.Change("\"prefill\":1,\"decode\":2", "\"prefill\":3,\"decode\":2", 12);
  script.Change("\"view\"", "\"refusal\":\"queue_full\",\"view\"", 14);
  script.Change("\"too_large\"", "\"queue_full\"", 18);
  script.End();

  const ReplayReport report = PlayOrFail(script.Text());

  REQUIRE(report.differences.size() == 3);
  CHECK(report.differences[0].line == 12);
  CHECK(report.differences[0].what ==
        "place 1f/1: recorded prefill 3, decode 2; replayed prefill 1, decode 2");
  CHECK(report.differences[1].what == "admit 20: recorded refused, queue_full; replayed let in");
  CHECK(report.differences[2].what == "admit 21: recorded refused, queue_full; replayed refused, too_large");
  CHECK(report.admit.same == 1);
  CHECK(report.place.same == 1);
  CHECK(report.ready.same == 1);
}

TEST_CASE("an event that was changed is found even where the decision stays the same") {
  Script script = Whole();
  script.Change("\"kv_blocks_free\":64", "\"kv_blocks_free\":63", 3);
  script.End();

  const ReplayReport report = PlayOrFail(script.Text());

  REQUIRE_FALSE(report.Same());
  CHECK(report.differences[0].line == 10);
  CHECK(report.differences[0].what.starts_with("admit 1f: recorded cluster as seen "));
}

TEST_CASE("an event that leads to another decision is found there") {
  Script script = Whole();
  script.Change("\"queued_prompt_tokens\":0", "\"queued_prompt_tokens\":900", 3);
  script.End();

  const ReplayReport report = PlayOrFail(script.Text());

  REQUIRE(report.differences.size() >= 2);
  CHECK(report.differences[1].what ==
        "place 1f/1: recorded prefill 1, decode 2; replayed prefill 3, decode 2");
}

TEST_CASE("a score or a number of pairs that was changed is found") {
  Script script = Whole();
  script.Change("\"pairs\":4", "\"pairs\":5", 12);
  script.Change("\"scores\":\"", "\"scores\":\"f", 16);
  script.lines[15].replace(script.lines[15].find("\"scores\":\"") + 10, 8, "0000000");
  script.End();

  const ReplayReport report = PlayOrFail(script.Text());

  REQUIRE(report.differences.size() == 2);
  CHECK(report.differences[0].what == "place 1f/1: recorded 5 pairs looked at; replayed 4");
  CHECK(report.differences[1].what.starts_with("place 20/1: recorded scores "));
}

TEST_CASE("only the first differences are put into words, all are counted") {
  Script script = Whole();
  script.Change("\"kv_blocks_free\":64", "\"kv_blocks_free\":63", 3);
  script.End();

  const ReplayReport report = PlayOrFail(script.Text(), {.differences_max = 1});

  CHECK(report.differences.size() == 1);
  CHECK(report.admit.made - report.admit.same == 1);
  CHECK(report.place.made - report.place.same == 1);
}

TEST_CASE("a recording that breaks off is refused, and replayed as far as it goes on demand") {
  const std::string text = Whole().Text();
  const std::string cut = text.substr(0, text.size() - 5);

  CHECK(Problem(text).starts_with("r.rec:20: the recording breaks off after this line: "));
  CHECK(Problem(cut).starts_with("r.rec:20: the recording breaks off inside this line: "));
  CHECK(PlayOrFail(text, {.broken_off = true}).lines == 20);
  const ReplayReport rest = PlayOrFail(cut, {.broken_off = true});
  CHECK(rest.lines == 19);
  CHECK(rest.end == "broken off");
  CHECK(rest.Same());
}

TEST_CASE("what is no recording is refused with line and reason") {
  Script script = Whole();
  script.End();
  const std::string text = script.Text();
  const std::string first = script.lines[0] + "\n";

  CHECK(Problem("") == "r.rec: no recording: the file is empty");
  CHECK(Problem("hello\n").starts_with("r.rec:1: invalid JSON at byte 0"));
  CHECK(Problem(script.lines[1] + "\n") == "r.rec:1: the recording does not begin with its 'recording' line");
  CHECK(Problem(first + first) == "r.rec:2: a second beginning");
  CHECK(Problem(text + script.lines[1] + "\n") == "r.rec:22: a line after the end of the recording");
  CHECK(Problem(first + script.lines.back() + "\n") == "r.rec:2: 20 lines were recorded, 1 are here");
  CHECK(Problem(first + std::string(kRecordingLineMax + 1, ' ')) ==
        "r.rec:2: a line of more than 1048576 bytes");
  CHECK(Problem(first + "{\"at\":1,\"event\":\"left\",\"worker\":5000000000}\n") ==
        "r.rec:2: worker: 5000000000 is no whole number from 0 to 4294967295");
}

TEST_CASE("a recording cannot make the replay keep more than its limits") {
  Script script = Whole();
  script.End();

  CHECK(Problem(script.Text(), {.limits = {.workers = 3}}) == "r.rec:8: more than 3 workers at once");
  CHECK(Problem(script.Text(), {.limits = {.requests = 1}}) == "r.rec:15: more than 1 requests at once");
  CHECK(Problem(script.Text(), {.limits = {.lines = 5}}) == "r.rec:6: more than 5 lines");
}

TEST_CASE("a file that is not there is an error that names it") {
  const auto report = ReplayFile("/nonexistent/r.rec");

  REQUIRE_FALSE(report.ok());
  CHECK(Message(report.status()) == "/nonexistent/r.rec: No such file or directory");
}

}  // namespace
}  // namespace baton::router
