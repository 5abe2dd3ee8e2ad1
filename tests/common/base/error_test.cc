#include "common/base/error.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return Error(kInvalidArgument, "{} is odd", value);
  return value / 2;
}

absl::StatusOr<int> Quarter(int value) {
  BATON_ASSIGN_OR_RETURN(const int half, Half(value));
  BATON_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

absl::Status CheckQuarter(int value) {
  BATON_RETURN_IF_ERROR(Annotate(Quarter(value).status(), "quarter"));
  return absl::OkStatus();
}

}  // namespace

TEST_CASE("an error formats its message and keeps its code") {
  const absl::Status status =
      Error(kUnavailable, "worker {}: connect to {}: {}", 7, "10.0.0.2:7001", "refused");

  CHECK(status.code() == kUnavailable);
  CHECK(Message(status) == "worker 7: connect to 10.0.0.2:7001: refused");
}

TEST_CASE("the macros hand values on and return errors") {
  CHECK(*Quarter(12) == 3);
  CHECK(Message(Quarter(6).status()) == "3 is odd");
  CHECK(CheckQuarter(12).ok());
  CHECK(Message(CheckQuarter(5)) == "quarter: 5 is odd");
}

}  // namespace baton
