#include "simulator/plan/machine_events.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/temporary_folder.h"

namespace baton::simulator {
namespace {

const FleetSpec kFleet{
    .pools = {{.role = PoolRole::kPrefill, .machine = "dgx-h100", .machines = 2},
              {.role = PoolRole::kDecode, .machine = "dgx-a100", .machines = 1},
              {.role = PoolRole::kDecode, .machine = "dgx-h100", .machines = 1, .tensor_parallel = 4}}};

absl::StatusOr<std::vector<MachineEvent>> Read(const std::string& text) {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/events.yaml";
  std::ofstream(path) << text;
  return ReadMachineEvents(path, hardware::Catalogue::BuiltIn(), kFleet);
}

std::string Problem(const std::string& text) {
  const auto events = Read(text);
  return events.ok() ? "" : Message(events.status());
}

TEST_CASE("events name machines by role and number, each instance counted") {
  const auto events = Read(
      "events:\n"
      "  - {at: 30s, machine: prefill-1, what: fail}\n"
      "  - {at: 1500ms, machine: decode-0, what: drain}\n"
      "  - {at: 0, machine: decode-2, what: return}\n");

  UNSCOPED_INFO(events.status().ToString());
  REQUIRE(events.ok());
  REQUIRE(events->size() == 3);
  CHECK(events->at(0).time_s == 30);
  CHECK(events->at(0).machine == 1);
  CHECK(events->at(0).kind == MachineEvent::Kind::kFail);
  CHECK(events->at(1).time_s == 1.5);
  CHECK(events->at(1).machine == 2);
  CHECK(events->at(1).kind == MachineEvent::Kind::kDrain);
  CHECK(events->at(2).machine == 4);
  CHECK(events->at(2).kind == MachineEvent::Kind::kReturn);
}

TEST_CASE("a mistake in the events is named with its line and field") {
  const std::string unknown = Problem("events:\n  - {at: 1s, machine: decode-3, what: fail}\n");
  CHECK(unknown.find("events.yaml:2:") != std::string::npos);
  CHECK(unknown.find("'decode-3' is no machine of this fleet: it has decode-0 to decode-2, prefill-0 to "
                     "prefill-1") != std::string::npos);
  CHECK(Problem("events:\n  - {at: 1s, machine: decode-0, what: burn}\n").find("what") != std::string::npos);
  CHECK(Problem("events:\n  - {machine: decode-0, what: fail}\n").find("at") != std::string::npos);
  CHECK(Problem("events: []\n").find("there is none") != std::string::npos);
  CHECK(Problem("event: 1\n").find("event") != std::string::npos);
}

}  // namespace
}  // namespace baton::simulator
