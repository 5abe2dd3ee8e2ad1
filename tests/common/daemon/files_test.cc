#include "common/daemon/files.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::daemon {

TEST_CASE("a cluster key is the file's text without its last newline") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/key";
  std::ofstream(path) << "secret words\n";

  CHECK(*ReadClusterKey(path) == "secret words");
  CHECK(ReadClusterKey("")->empty());
}

TEST_CASE("a cluster key file that is missing or empty is refused by name") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/key";

  CHECK(Message(ReadClusterKey(path).status()) == "cluster_key_file " + path + ": cannot be opened");
  std::ofstream(path) << "\n";
  CHECK(Message(ReadClusterKey(path).status()) == "cluster_key_file " + path + ": is empty");
}

TEST_CASE("a ports file is whole JSON, and its draft is gone") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/ports.json";

  REQUIRE(WritePortsFile(path, {{"http", 8080}, {"control", 7000}}).ok());

  CHECK(test::ReadFile(path) == "{\"http\":8080,\"control\":7000}\n");
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
  CHECK(WritePortsFile("", {{"http", 1}}).ok());
  CHECK_FALSE(WritePortsFile(folder.Path() + "/absent/ports.json", {{"http", 1}}).ok());
}

}  // namespace baton::daemon
