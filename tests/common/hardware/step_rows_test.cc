#include "common/hardware/step_rows.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/hardware/measurements.h"
#include "tests/support/temporary_folder.h"

namespace baton::hardware {
namespace {

const std::string kHeader =
    "model,hardware,tensor_parallel,prompts,prompt_tokens,cached_tokens,decodes,context_tokens,seconds\n";

std::string ProblemsOf(std::string_view text) {
  const auto rows = ParseStepCsv(text, "s.csv");
  REQUIRE_FALSE(rows.ok());
  return Message(rows.status());
}

TEST_CASE("telemetry of steps is read by the names of its columns") {
  const auto rows = ParseStepCsv(
      "\xef\xbb\xbfseconds,note,model,hardware,tensor_parallel,prompts,prompt_tokens,cached_tokens,decodes,"
      "context_tokens\r\n0.5,x,m,cpu/avx2,2,1,256,512,0,0\r\n\r\n0.01,y,m,cpu/avx2,2,0,0,0,3,120",
      "s.csv");
  INFO(rows.status());
  REQUIRE(rows.ok());

  REQUIRE(rows->size() == 2);
  CHECK((*rows)[0].device == "cpu/avx2");
  CHECK((*rows)[0].tensor_parallel == 2);
  CHECK((*rows)[0].prompt_tokens == 256);
  CHECK((*rows)[0].cached_tokens == 512);
  CHECK((*rows)[0].seconds == 0.5);
  CHECK((*rows)[1].decodes == 3);
  CHECK((*rows)[1].context_tokens == 120);
  CHECK((*rows)[1].line == 4);
}

TEST_CASE("every mistake of telemetry is told with file, line and column") {
  const std::string problems = ProblemsOf(kHeader +
                                          "m,d,1,1,10,0,0,0,0.1\n"
                                          "m,d,1,1,10,0,0,0,-1\n"
                                          "m,d,1,3,2,0,0,0,1\n"
                                          "m,d,1,0,0,7,1,9,1\n"
                                          "m,d,1,0,0,0,4,3,1\n"
                                          "m,d,1,0,0,0,0,0,1\n"
                                          "m,d,1,0,0,0,1\n"
                                          ",d,0,0,0,0,1,1e3,1\n");

  CHECK_THAT(problems, Catch::Contains("s.csv:3: seconds: is \"-1\""));
  CHECK_THAT(problems, Catch::Contains("s.csv:4: prompt_tokens: 2 are fewer than 3 prompts"));
  CHECK_THAT(problems, Catch::Contains("s.csv:5: prompts: is 0 beside tokens of prompts"));
  CHECK_THAT(problems, Catch::Contains("s.csv:6: context_tokens: 3 are fewer than 4 decodes"));
  CHECK_THAT(problems, Catch::Contains("s.csv:7: decodes: and prompts are 0"));
  CHECK_THAT(problems, Catch::Contains("s.csv:8: row: has 7 cells; the header has 9"));
  CHECK_THAT(problems, Catch::Contains("s.csv:9: model: is empty"));
  CHECK_THAT(problems, Catch::Contains("s.csv:9: tensor_parallel: is \"0\""));
  CHECK_THAT(problems, Catch::Contains("s.csv:9: context_tokens: is \"1e3\""));
  CHECK_THAT(ProblemsOf("model,hardware\n"), Catch::Contains("s.csv:1: seconds: is missing in the header"));
  CHECK_THAT(ProblemsOf(""), Catch::Contains("header: is missing"));
  CHECK_THAT(ProblemsOf(kHeader), Catch::Contains("rows: there are none"));
}

TEST_CASE("a file is a benchmark or telemetry by its header, and rows know their file") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> paths{folder.Path() + "/b.csv", folder.Path() + "/s.csv"};
  std::ofstream(paths[0])
      << "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,tensor_parallel\n"
         "m,d,512,2,128,100.5,20,8\n";
  std::ofstream(paths[1]) << kHeader << "m,d,1,0,0,0,1,9,0.1\nm,d,1,1,1";  // breaks off

  const auto measured = ReadMeasurements(paths);

  INFO(measured.status());
  REQUIRE(measured.ok());
  REQUIRE(measured->rows.size() == 1);
  REQUIRE(measured->steps.size() == 1);
  CHECK(*measured->rows[0].file == paths[0]);
  CHECK(*measured->steps[0].file == paths[1]);
  const std::vector<std::string> missing{folder.Path() + "/none.csv"};
  CHECK_THAT(Message(ReadMeasurements(missing).status()), Catch::Contains(missing[0] + ": No such file"));
}

}  // namespace
}  // namespace baton::hardware
