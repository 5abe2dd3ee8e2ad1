#include "common/base/dynamic_library.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton {
namespace {

TEST_CASE("a library's functions are found, and the first that is missing is named") {
  auto library = DynamicLibrary::Open("libc.so.6");
  REQUIRE(library.ok());
  std::size_t (*length)(const char*) = nullptr;
  int (*missing)() = nullptr;

  library->Find("strlen", length);
  library->FindIfThere("no_such_function", missing);
  REQUIRE(length != nullptr);
  CHECK(length("baton") == 5);
  CHECK(library->FoundAll().ok());

  library->Find("no_such_function", missing);
  library->Find("another_one", missing);
  CHECK(Message(library->FoundAll()) == "libc.so.6 has no no_such_function");
}

TEST_CASE("a library that is not there is named, with what the loader says") {
  const auto library = DynamicLibrary::Open("libno-such.so.1");

  CHECK(library.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Message(library.status()).find("cannot load libno-such.so.1 (") == 0);
}

}  // namespace
}  // namespace baton
