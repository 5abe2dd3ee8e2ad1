#include "common/metrics/registry.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <sstream>
#include <thread>

#include <catch2/catch.hpp>

#include "common/metrics/process.h"

namespace baton::metrics {
namespace {

/// The text without what the operating system says.
std::string WithoutProcess(const std::string& text) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("process_") == std::string::npos) kept += line + "\n";
  }
  return kept;
}

TEST_CASE("the exposition text is sorted and complete") {
  Registry registry;
  registry.AddCounter("baton_requests_total", "Requests by outcome.", {{"outcome", "ok"}}).Increment();
  registry.AddCounter("baton_requests_total", "Requests by outcome.", {{"outcome", "failed"}}).Increment(2);
  registry.AddGauge("baton_blocks_used", "Blocks in use.").Set(-1.5);
  const Histogram wait =
      registry.AddHistogram("baton_wait_seconds", "Waiting.", {{"path", "a\"b\\c\n"}}, {0.1, 1});
  wait.Observe(0.05);
  wait.Observe(0.5);
  wait.Observe(7);

  CHECK(WithoutProcess(registry.Text()) ==
        "# HELP baton_blocks_used Blocks in use.\n"
        "# TYPE baton_blocks_used gauge\n"
        "baton_blocks_used -1.5\n"
        "# HELP baton_build_info Always 1; the version is in the label.\n"
        "# TYPE baton_build_info gauge\n"
        "baton_build_info{version=\"" BATON_VERSION
        "\"} 1\n"
        "# HELP baton_requests_total Requests by outcome.\n"
        "# TYPE baton_requests_total counter\n"
        "baton_requests_total{outcome=\"failed\"} 2\n"
        "baton_requests_total{outcome=\"ok\"} 1\n"
        "# HELP baton_wait_seconds Waiting.\n"
        "# TYPE baton_wait_seconds histogram\n"
        "baton_wait_seconds_count{path=\"a\\\"b\\\\c\\n\"} 3\n"
        "baton_wait_seconds_sum{path=\"a\\\"b\\\\c\\n\"} 7.55\n"
        "baton_wait_seconds_bucket{path=\"a\\\"b\\\\c\\n\",le=\"0.1\"} 1\n"
        "baton_wait_seconds_bucket{path=\"a\\\"b\\\\c\\n\",le=\"1\"} 2\n"
        "baton_wait_seconds_bucket{path=\"a\\\"b\\\\c\\n\",le=\"+Inf\"} 3\n");
}

TEST_CASE("the same name and labels give the same metric") {
  Registry registry;
  const Counter first = registry.AddCounter("baton_x_total", "X.", {{"a", "1"}});
  const Counter again = registry.AddCounter("baton_x_total", "X.", {{"a", "1"}});
  const Counter other = registry.AddCounter("baton_x_total", "X.", {{"a", "2"}});
  const Gauge gauge = registry.AddGauge("baton_y", "Y.");

  first.Increment();
  again.Increment(2);
  gauge.Add(5);
  registry.AddGauge("baton_y", "Y.").Add(-2);

  CHECK(first.Value() == 3);
  CHECK(other.Value() == 0);
  CHECK(gauge.Value() == 3);
}

TEST_CASE("a handle without a registry counts nothing") {
  const Counter counter;
  const Gauge gauge;

  counter.Increment();
  gauge.Set(4);
  gauge.Add(4);
  Histogram().Observe(1);

  CHECK(counter.Value() == 0);
  CHECK(gauge.Value() == 0);
}

TEST_CASE("counting from several threads loses nothing, also while the text is made") {
  Registry registry;
  const Counter counter = registry.AddCounter("baton_x_total", "X.");
  const auto count = [&] {
    for (int i = 0; i < 10'000; ++i) counter.Increment();
  };

  std::thread a(count);
  std::thread b(count);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(registry.Text().empty());
  a.join();
  b.join();

  CHECK(counter.Value() == 20'000);
}

TEST_CASE("the process's usage is that of the process") {
  const auto before = ReadProcessUsage();
  REQUIRE(before);
  const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(descriptor >= 0);
  const auto with_one_more = ReadProcessUsage();
  close(descriptor);

  CHECK(with_one_more->open_descriptors == before->open_descriptors + 1);
  CHECK(before->resident_bytes > 1U << 20);
  CHECK(before->cpu_seconds >= 0);
  const auto now = static_cast<double>(std::time(nullptr));
  CHECK(before->start_time_seconds <= now + 1);
  CHECK(before->start_time_seconds > now - 3600);
  CHECK_THAT(Registry().Text(), Catch::Contains("process_resident_memory_bytes ") &&
                                    Catch::Contains("process_cpu_seconds_total ") &&
                                    Catch::Contains("process_open_fds ") &&
                                    Catch::Contains("process_start_time_seconds "));
}

}  // namespace
}  // namespace baton::metrics
