#include "perf/metrics_text.h"

#include <catch2/catch.hpp>

namespace baton::perf {

TEST_CASE("samples are summed over the labels that are not asked for") {
  const auto metrics = MetricsText::Parse(
      "# HELP blocks Blocks.\n# TYPE blocks gauge\n"
      "blocks{state=\"free\",worker=\"a\"} 3\nblocks{state=\"free\",worker=\"b\"} 4\nblocks{state=\"used\"} "
      "1.5e1\nup 1\n");
  REQUIRE(metrics.ok());

  CHECK(metrics->Sum("blocks", {{"state", "free"}}) == 7);
  CHECK(metrics->Sum("blocks") == 22);
  CHECK(metrics->Sum("up") == 1);
  CHECK(metrics->Has("blocks", {{"worker", "b"}}));
  CHECK(!metrics->Has("blocks", {{"worker", "c"}}));
  CHECK(metrics->Sum("absent") == 0);
}

TEST_CASE("escaped label values are read as what they stand for") {
  const auto metrics = MetricsText::Parse("a{x=\"say \\\"hi\\\", {you}\"} 2\n");
  REQUIRE(metrics.ok());
  CHECK(metrics->Sum("a", {{"x", "say \"hi\", {you}"}}) == 2);
}

TEST_CASE("a line that is no sample is an error that names it") {
  for (const char* text : {"up\n", "up{x=\"1\" 2\n", "up one\n", " 1\n"}) {
    INFO(text);
    CHECK(!MetricsText::Parse(text).ok());
  }
}

}  // namespace baton::perf
