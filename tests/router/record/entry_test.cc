#include "router/record/entry.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/router/record/entries.h"

namespace baton::router {
namespace {

std::string Refused(const std::string& line) {
  const auto entry = ParseEntry(line);
  return entry.ok() ? "" : Message(entry.status());
}

std::string FormatAny(const Entry& entry) {
  return std::visit([](const auto& each) { return FormatEntry(each); }, entry);
}

TEST_CASE("every kind of line is read back as it was written") {
  const std::vector<Entry> entries = EveryEntry();

  for (const Entry& entry : entries) {
    const std::string line = FormatAny(entry);
    CAPTURE(line);
    const auto read = ParseEntry(line);
    UNSCOPED_INFO(read.status().ToString());
    REQUIRE(read.ok());
    CHECK(read->index() == entry.index());
    CHECK(FormatAny(*read) == line);
  }
}

TEST_CASE("the lines are what docs/RECORDING.md says") {
  CHECK(FormatEntry(RecordingStart{.router = "0.1.0", .model = "m", .limits = {}}) ==
        R"({"recording":2,"router":"0.1.0","model":"m","queue_requests":256,"queue_prompt_tokens":200000})");
  CHECK(
      FormatEntry(cluster::ClusterEvent{
          TimePoint(Duration(77)),
          cluster::RequestPlaced{{RequestId{0xffffffffffffffffU}, Attempt{2}}, WorkerId{1}, WorkerId{3}}}) ==
      R"({"at":77,"event":"placed","request":"ffffffffffffffff","attempt":2,"prefill":1,"decode":3})");
  CHECK(FormatEntry(AdmitDecision{.request = RequestId{0x1f},
                                  .size = {.prompt_tokens = 20, .tokens_max = 30},
                                  .view = 0xabc,
                                  .refusal = Refusal::kQueueFull}) ==
        R"({"decision":"admit","request":"1f","prompt_tokens":20,"tokens_max":30,"sequence_tokens":0,)"
        R"("held":[],"view":"abc","refusal":"queue_full"})");
  CHECK(FormatEntry(RecordingEnd{.why = "closed", .lines = 9}) == R"({"end":"closed","lines":9})");
}

TEST_CASE("names of refusals are those that clients and metrics see") {
  for (const Refusal refusal : kRefusals) {
    const std::string line = FormatEntry(ReadyDecision{.view = 0, .refusal = refusal});
    CHECK(line.find(fmt::format("\"{}\"", Name(refusal))) != std::string::npos);
  }
}

TEST_CASE("a speed comes back to the last bit") {
  const double odd = 1e9 / 3;
  cluster::LoadReport load;
  load.links.push_back({WorkerId{2}, true, "tcp", odd});

  const auto read =
      ParseEntry(FormatEntry(cluster::ClusterEvent{{}, cluster::LoadReported{WorkerId{1}, load}}));

  REQUIRE(read.ok());
  const auto& event = std::get<cluster::ClusterEvent>(*read);
  CHECK(std::get<cluster::LoadReported>(event.what).load.links.at(0).bytes_per_second == odd);
}

TEST_CASE("a worker's power comes back, and a line of a worker that measures none says nothing of it") {
  cluster::LoadReport load;
  const auto format = [&] {
    return FormatEntry(cluster::ClusterEvent{{}, cluster::LoadReported{WorkerId{1}, load}});
  };
  CHECK(format().find("watts") == std::string::npos);
  load.power = {.watts = 412.5, .step_watts = 600, .idle_watts = 71, .cap_watts = 700};

  const auto read = ParseEntry(format());

  REQUIRE(read.ok());
  const auto& event = std::get<cluster::ClusterEvent>(*read);
  CHECK(std::get<cluster::LoadReported>(event.what).load.power == load.power);
}

TEST_CASE("a line that is wrong is refused with its field and the reason") {
  CHECK(Refused("") != "");
  CHECK(Refused("[1]") == "want an object, got array");
  CHECK(Refused("{}") == "a line without 'event', 'decision', 'recording' or 'end'");
  CHECK(Refused(R"({"at":1,"event":"explodes"})") == "event: 'explodes' is unknown");
  CHECK(Refused(R"({"at":1,"event":"left"})") == "worker: is missing");
  CHECK(Refused(R"({"at":1,"event":"left","worker":-1})") ==
        "worker: -1 is no whole number from 0 to 4294967295");
  CHECK(Refused(R"({"at":1,"event":"left","worker":"1"})") == "worker: want a whole number, got string");
  CHECK(Refused(R"({"at":1,"event":"left","worker":1,"extra":2})") == "extra: no such field here");
  CHECK(Refused(R"({"at":1,"event":"ended","request":"1g"})") ==
        "request: '1g' is no hexadecimal number of 64 bits");
  CHECK(Refused(R"({"at":1,"event":"ended","request":""})") != "");
  CHECK(Refused(R"({"at":1,"event":"queued","request":"1","prompt_tokens":4294967297,"tokens_max":1})") ==
        "prompt_tokens: 4294967297 is no whole number from 0 to 4294967296");
  CHECK(Refused(R"({"decision":"ready","view":"0","refusal":"bored"})") == "refusal: 'bored' is unknown");
  CHECK(Refused(R"({"decision":"marry"})") == "decision: 'marry' is unknown");
  CHECK(Refused(R"({"decision":"ready","view":"100000000"})") ==
        "view: '100000000' is no hexadecimal number of 32 bits");
  CHECK(Refused(R"({"recording":1})") == "recording: version 1 is not 2, which this program reads");
  const std::string load = FormatEntry(std::get<cluster::ClusterEvent>(LoadEntry()));
  const std::string wrong = std::string(load).replace(load.find("\"peer\":3"), 8, "\"peer\":-3");
  CHECK(Refused(wrong) == "links[1].peer: -3 is no whole number from 0 to 4294967295");
}

TEST_CASE("two snapshots that differ in anything have two digests") {
  cluster::ClusterView view;
  const auto digest = [&] { return Digest(view.Snapshot()); };
  std::vector<std::uint32_t> seen{digest()};
  std::int64_t at = 0;
  for (const Entry& entry : EveryEntry()) {
    if (const auto* event = std::get_if<cluster::ClusterEvent>(&entry)) {
      view.Apply({TimePoint(Duration(++at)), event->what});
      seen.push_back(digest());
    }
  }

  std::sort(seen.begin(), seen.end());
  CHECK(seen.size() > 10);
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
}

}  // namespace
}  // namespace baton::router
