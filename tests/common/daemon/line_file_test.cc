#include "common/daemon/line_file.h"

#include <sys/stat.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::daemon {
namespace {

std::unique_ptr<LineFile> OpenOrFail(const std::string& path) {
  auto file = LineFile::Open(path, "log");
  UNSCOPED_INFO(file.status().ToString());
  REQUIRE(file.ok());
  return *std::move(file);
}

TEST_CASE("all lines are in the file when its owner is gone, in their order") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/lines";
  std::string expected;
  {
    const auto file = OpenOrFail(path);
    for (int i = 0; i < 100'000; ++i) {
      const std::string line = fmt::format("line {}", i);
      file->Append(line);
      expected += line + "\n";
    }
    CHECK(file->Lines() == 100'000);
    CHECK(file->Bytes() == expected.size());
    CHECK_FALSE(file->Failed());
  }

  CHECK(test::ReadFile(path) == expected);
  struct stat about {};
  REQUIRE(stat(path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777U) == 0600U);
}

TEST_CASE("a line is on the disk while its file is open") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/lines";
  const auto file = OpenOrFail(path);

  file->Append("now");

  // The test's own limit ends a wait in vain.
  while (test::ReadFile(path) != "now\n") std::this_thread::yield();
}

TEST_CASE("the last file is kept beside a new one, and what is no file is not moved away") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/lines";
  OpenOrFail(path)->Append("first");
  OpenOrFail(path)->Append("second");
  CHECK(test::ReadFile(path + ".old") == "first\n");
  CHECK(test::ReadFile(path) == "second\n");

  const auto refused = LineFile::Open(folder.Path(), "log");
  REQUIRE_FALSE(refused.ok());
  CHECK(Message(refused.status()).starts_with(folder.Path() + ": "));
  CHECK(std::filesystem::is_directory(folder.Path()));
}

}  // namespace
}  // namespace baton::daemon
