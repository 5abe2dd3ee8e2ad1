#include "perf/sse_reader.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::perf {
namespace {

std::vector<std::string> Events(SseReader& reader, std::string_view bytes) {
  std::vector<std::string> events;
  REQUIRE(reader.Push(bytes, [&](std::string_view data) { events.emplace_back(data); }).ok());
  return events;
}

absl::Status Verdict(std::string_view bytes) {
  SseReader reader;
  return reader.Push(bytes, [](std::string_view) {});
}

}  // namespace

TEST_CASE("events come out whole however the bytes are cut") {
  SseReader reader;

  CHECK(Events(reader, "data: {\"a\"").empty());
  CHECK(!reader.BetweenEvents());
  CHECK(Events(reader, ":1}\n").empty());
  CHECK(Events(reader, "\ndata: b\n\ndata: c") == std::vector<std::string>{"{\"a\":1}", "b"});
  CHECK(Events(reader, "\n\n") == std::vector<std::string>{"c"});
  CHECK(reader.BetweenEvents());
}

TEST_CASE("comments between events are passed over") {
  SseReader reader;
  CHECK(Events(reader, ": keep-alive\n\ndata: a\n\n") == std::vector<std::string>{"a"});
}

TEST_CASE("framing that some client would not read is an error") {
  CHECK(!Verdict("data:a\n\n").ok());
  CHECK(!Verdict("data: a\r\n\r\ndata: b\n\n").ok());
  CHECK(!Verdict("event: error\ndata: a\n\n").ok());
  CHECK(!Verdict("data: a\ndata: b\n\n").ok());
  CHECK(Verdict("data: a\n\n").ok());
}

}  // namespace baton::perf
