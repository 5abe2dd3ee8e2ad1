#include "router/record/recorder.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <sstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "router/record/replay.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::router {
namespace {

const RecordingStart kStart{.router = "0.1.0", .model = "m", .limits = {}};

std::unique_ptr<Recorder> OpenOrFail(RecorderOptions options) {
  auto recorder = Recorder::Open(std::move(options), kStart);
  UNSCOPED_INFO(recorder.status().ToString());
  REQUIRE(recorder.ok());
  return *std::move(recorder);
}

cluster::ClusterEvent Ended(std::uint64_t id) {
  return {TimePoint(Duration(static_cast<std::int64_t>(id))), cluster::RequestEnded{RequestId{id}}};
}

TEST_CASE("what was recorded is in the file when the recorder is gone, between a start and an end") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/r.rec";
  {
    const auto recorder = OpenOrFail({.file = file});
    recorder->Event(Ended(10));
    recorder->Ready({}, Refusal::kNoPrefillWorkers);
  }

  const std::string text = test::ReadFile(file);
  CAPTURE(text);
  std::istringstream lines(text);
  std::string line;
  std::vector<std::string> all;
  while (std::getline(lines, line)) all.push_back(line);
  REQUIRE(all.size() == 4);
  CHECK(all[0] == FormatEntry(kStart));
  CHECK(all[1] == FormatEntry(Ended(10)));
  CHECK(all[2].starts_with(R"({"decision":"ready")"));
  CHECK(all[3] == R"({"end":"closed","lines":3})");
  struct stat about {};
  REQUIRE(stat(file.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777U) == 0600U);
}

TEST_CASE("a recording ends at its limit, and the file stays below it") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/r.rec";
  constexpr std::uint64_t kLimit = 4096;
  {
    const auto recorder = OpenOrFail({.file = file, .limit_bytes = kLimit});
    for (std::uint64_t i = 0; i < 1000; ++i) recorder->Event(Ended(i));
  }

  CHECK(test::ReadFile(file).size() <= kLimit);
  const auto report = ReplayFile(file);
  UNSCOPED_INFO(report.status().ToString());
  REQUIRE(report.ok());
  CHECK(report->end == "limit");
  CHECK(report->events > 10);
  CHECK(report->events < 1000);
}

TEST_CASE("a recording ends where the disk does not keep up") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/r.rec";
  // The first line alone is more than may wait.
  OpenOrFail({.file = file, .behind_bytes_max = 1})->Event(Ended(1));

  const auto report = ReplayFile(file);

  REQUIRE(report.ok());
  CHECK(report->end == "slow disk");
  CHECK(report->events == 0);
}

TEST_CASE("the last recording is kept beside a new one") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/r.rec";
  OpenOrFail({.file = file})->Event(Ended(1));
  OpenOrFail({.file = file})->Event(Ended(2));

  CHECK(test::ReadFile(file + ".old").find(FormatEntry(Ended(1))) != std::string::npos);
  CHECK(test::ReadFile(file).find(FormatEntry(Ended(2))) != std::string::npos);
}

TEST_CASE("a file that cannot be made is an error that names it") {
  const auto recorder = Recorder::Open({.file = "/nonexistent/r.rec"}, kStart);

  REQUIRE_FALSE(recorder.ok());
  CHECK(Message(recorder.status()).find("/nonexistent/r.rec") != std::string::npos);
}

/// Files of this process end at `bytes`, as if the disk were full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_CASE("a disk that is full ends the recording, and it is known to be broken off") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/r.rec";
  {
    const FileSizeLimit limit(8192);
    const auto recorder = OpenOrFail({.file = file});
    for (std::uint64_t i = 0; i < 1000; ++i) recorder->Event(Ended(i));
  }

  const auto report = ReplayFile(file);
  REQUIRE_FALSE(report.ok());
  CHECK(Message(report.status()).find("breaks off") != std::string::npos);
  const auto rest = ReplayFile(file, {.broken_off = true});
  REQUIRE(rest.ok());
  CHECK(rest->events > 10);
}

TEST_CASE("what is no file is not moved away") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/sub";
  std::filesystem::create_directory(path);

  CHECK_FALSE(Recorder::Open({.file = path}, kStart).ok());
  CHECK(std::filesystem::is_directory(path));
}

}  // namespace
}  // namespace baton::router
