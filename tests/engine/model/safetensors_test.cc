#include "engine/model/safetensors.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

std::string Entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

std::string ErrorOf(const std::string& header, std::size_t data_bytes) {
  const auto tensors = ParseSafetensorsHeader(header, data_bytes);
  return tensors.ok() ? "accepted" : Message(tensors.status());
}

bool Mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a header gives its tensors in order of their bytes") {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + Entry("b", "F32", "[3]", "[8,20]") +
                             "," + Entry("a", "BF16", "[2,2]", "[0,8]") + "}  ";

  const auto tensors = ParseSafetensorsHeader(header, 20);

  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 2);
  CHECK(tensors->at(0).name == "a");
  CHECK(tensors->at(0).shape == std::vector<std::int64_t>{2, 2});
  CHECK(tensors->at(1).name == "b");
  CHECK(tensors->at(1).begin == 8);
  CHECK(tensors->at(1).end == 20);
}

TEST_CASE("a header that lies is refused, and the tensor named") {
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[3]", "[0,8]") + "}", 8),
                 "tensor w: F32 [3] takes 12 bytes"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[3]", "[0,12]") + "}", 8),
                 "tensor w: data_offsets [0, 12] lie outside"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[3]", "[12,0]") + "}", 12),
                 "tensor w: data_offsets [12, 0]"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[3]", "[-12,0]") + "}", 12),
                 "tensor w: data_offsets must hold"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[3]", "[0,12,13]") + "}", 12), "tensor w: data_offsets"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F31", "[3]", "[0,12]") + "}", 12), "tensor w: unknown dtype F31"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[4294967296,4294967296]", "[0,12]") + "}", 12),
                 "tensor w: its shape overflows"));
  CHECK(Mentions(ErrorOf("{" + Entry("w", "F32", "[1.5]", "[0,12]") + "}", 12), "tensor w: shape must hold"));
  CHECK(
      Mentions(ErrorOf("{\"w\":{\"shape\":[3],\"data_offsets\":[0,12]}}", 12), "tensor w: dtype is missing"));
  CHECK(Mentions(ErrorOf("{\"w\":5}", 12), "tensor w: dtype is missing"));
}

TEST_CASE("overlaps, holes and bytes past the last tensor are refused") {
  const std::string a = Entry("a", "F32", "[2]", "[0,8]");
  CHECK(Mentions(ErrorOf("{" + a + "," + Entry("b", "F32", "[2]", "[4,12]") + "}", 12),
                 "tensor b: begins at byte 4"));
  CHECK(Mentions(ErrorOf("{" + a + "," + Entry("b", "F32", "[2]", "[12,20]") + "}", 20),
                 "tensor b: begins at byte 12"));
  CHECK(Mentions(ErrorOf("{" + a + "}", 12), "the tensors end at byte 8"));
}

TEST_CASE("text that is no header is refused") {
  CHECK(Mentions(ErrorOf("", 0), "must begin with '{'"));
  CHECK(Mentions(ErrorOf(" {}", 0), "must begin with '{'"));
  CHECK(Mentions(ErrorOf("{\"a\":", 0), "header: invalid JSON"));
  CHECK(Mentions(
      ErrorOf("{" + Entry("a", "F32", "[2]", "[0,8]") + "," + Entry("a", "F32", "[2]", "[8,16]") + "}", 16),
      "duplicate key"));
}

/// A file of `length` as its header length, then `rest`.
std::string Write(const test::TemporaryFolder& folder, std::uint64_t length, const std::string& rest) {
  const std::string path = folder.Path() + "/model.safetensors";
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << rest;
  return path;
}

TEST_CASE("a file's tensors are read where the header says") {
  const test::TemporaryFolder folder;
  const std::string header =
      "{" + Entry("a", "U8", "[3]", "[0,3]") + "," + Entry("b", "U8", "[2]", "[3,5]") + "}";

  const auto file = SafetensorsFile::Open(Write(folder, header.size(), header + "xyzuv"));

  REQUIRE(file.ok());
  CHECK(std::to_integer<char>(file->Data(file->Tensors()[1])[0]) == 'u');
}

TEST_CASE("every cut of a file is refused, and the file named") {
  const test::TemporaryFolder folder;
  const std::string header = "{" + Entry("a", "U8", "[3]", "[0,3]") + "}";
  const std::string rest = header + "xyz";
  for (std::size_t kept = 0; kept < rest.size(); ++kept) {
    const std::string path = Write(folder, header.size(), rest.substr(0, kept));

    const auto file = SafetensorsFile::Open(path);

    REQUIRE_FALSE(file.ok());
    REQUIRE(Message(file.status()).find(path) == 0);
  }
}

TEST_CASE("a header length beyond the file or the bound is refused") {
  const test::TemporaryFolder folder;
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{200'000'000}, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    const auto file = SafetensorsFile::Open(Write(folder, length, "{}"));
    REQUIRE_FALSE(file.ok());
    CHECK(Mentions(Message(file.status()), "does not fit the file"));
  }
}

TEST_CASE("an empty file, a folder and nothing at all are refused") {
  const test::TemporaryFolder folder;
  std::ofstream(folder.Path() + "/empty");

  CHECK(Mentions(Message(SafetensorsFile::Open(folder.Path() + "/empty").status()), "is empty"));
  CHECK(Mentions(Message(SafetensorsFile::Open(folder.Path()).status()), "is not a regular file"));
  CHECK(SafetensorsFile::Open(folder.Path() + "/none").status().code() == kNotFound);
}

}  // namespace
}  // namespace baton::engine
