#include "simulator/trace/trace_file.h"

#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"

namespace baton::simulator {
namespace {

std::string Problem(std::string_view text, const TraceLimits& limits = {}) {
  const auto workload = ParseTrace(text, "load.csv", limits);
  REQUIRE_FALSE(workload.ok());
  return Message(workload.status());
}

bool Same(const WorkloadRequest& a, const WorkloadRequest& b) {
  return a.id == b.id && a.arrival_s == b.arrival_s && a.prompt_tokens == b.prompt_tokens &&
         a.output_tokens == b.output_tokens && a.prefix_id == b.prefix_id &&
         a.prefix_tokens == b.prefix_tokens;
}

const std::string kReference =
    "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n";

TEST_CASE("a trace of the reference is read by the names of its columns") {
  const auto workload = ParseTrace(kReference + "7,2,0,1.5,1,4096,32\n8,2,0,3,1,2048.0,8\n", "t", {});

  REQUIRE(workload.ok());
  REQUIRE(workload->requests.size() == 2);
  CHECK(Same(workload->requests[0], {.id = 7, .arrival_s = 1.5, .prompt_tokens = 4096, .output_tokens = 32}));
  CHECK(Same(workload->requests[1], {.id = 8, .arrival_s = 3, .prompt_tokens = 2048, .output_tokens = 8}));
}

TEST_CASE("times of an Azure trace count from its first arrival") {
  const auto workload = ParseTrace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 23:59:59.5000000,374,44\r\n"
      "2023-11-17 00:00:01.7500000,396,109\r\n2023-11-17T00:00:02Z,5,6",
      "t", {});

  REQUIRE(workload.ok());
  REQUIRE(workload->requests.size() == 3);
  CHECK(workload->requests[0].arrival_s == 0);
  CHECK(workload->requests[1].arrival_s == Approx(2.25));
  CHECK(workload->requests[2].arrival_s == Approx(2.5));
  CHECK(workload->requests[1].output_tokens == 109);
}

TEST_CASE("arrivals in seconds since 1970 count from the first, those within a day stay") {
  const std::string header = "arrival_s,prompt_tokens,output_tokens\n";
  const auto late = ParseTrace(header + "1700000002.5,10,1\n1700000000,20,1\n", "t", {});
  const auto evening = ParseTrace(header + "80000,10,1\n", "t", {});
  const auto lines = ParseTrace(R"({"arrival_s":86400,"prompt_tokens":1,"output_tokens":1})", "t", {});

  REQUIRE(late.ok());
  CHECK(late->requests[0].arrival_s == 0);
  CHECK(late->requests[1].arrival_s == 2.5);
  REQUIRE(evening.ok());
  CHECK(evening->requests[0].arrival_s == 80'000);
  REQUIRE(lines.ok());
  CHECK(lines->requests[0].arrival_s == 0);
}

TEST_CASE("requests that are out of order are put in order of arrival, equal ones as in the file") {
  const auto workload =
      ParseTrace("prompt_tokens,output_tokens,arrival_s\n10,1,2\n20,1,1\n30,1,2\n40,1,0\n", "t", {});

  REQUIRE(workload.ok());
  std::vector<std::int64_t> prompts;
  for (const auto& request : workload->requests) prompts.push_back(request.prompt_tokens);
  CHECK(prompts == std::vector<std::int64_t>{40, 20, 10, 30});
}

TEST_CASE("every format but for what it cannot hold is read back as it was written") {
  const Workload workload{
      .name = "w",
      .requests = {{.id = 0, .arrival_s = 0, .prompt_tokens = 5, .output_tokens = 6},
                   {.id = 1,
                    .arrival_s = 0.1234567,
                    .prompt_tokens = 50,
                    .output_tokens = 60,
                    .prefix_id = 9,
                    .prefix_tokens = 32},
                   {.id = 2, .arrival_s = 90000.25, .prompt_tokens = 7, .output_tokens = 8}}};
  for (const TraceFormat format :
       {TraceFormat::kReference, TraceFormat::kAzure, TraceFormat::kCsv, TraceFormat::kJsonl}) {
    const auto again = ParseTrace(FormatTrace(workload, format), "t", {});
    REQUIRE(again.ok());
    REQUIRE(again->requests.size() == 3);
    const bool prefixes = format == TraceFormat::kCsv || format == TraceFormat::kJsonl;
    for (std::size_t i = 0; i < 3; ++i) {
      WorkloadRequest expected = workload.requests[i];
      if (!prefixes) expected.prefix_id = static_cast<std::uint64_t>(expected.prefix_tokens = 0);
      if (format == TraceFormat::kAzure) {
        CHECK(again->requests[i].arrival_s == Approx(expected.arrival_s).margin(1e-6));
        expected.arrival_s = again->requests[i].arrival_s;
      }
      CHECK(Same(again->requests[i], expected));
    }
  }
}

TEST_CASE("an error of a trace names file, line and field") {
  CHECK(Problem(kReference + "0,2,0,1,1,4096,32\n\n1,2,0,2,1,-3,8\n") ==
        "load.csv:4: prompt_size: '-3' is no whole number from 1 to 16777216");
  CHECK(Problem(kReference + "0,2,0,1,1,4096,0\n") ==
        "load.csv:2: token_size: '0' is no whole number from 1 to 16777216");
  CHECK(Problem(kReference + "0,2,0,1,1,4096\n") == "load.csv:2: 6 fields, the header has 7");
  CHECK(Problem(kReference + "0,2,0,nan,1,4096,3\n") ==
        "load.csv:2: arrival_timestamp: 'nan' is no time in seconds between 0 and 3200000000");
  CHECK(Problem("arrival_s,prompt_tokens\n1,2\n") == "load.csv:1: column output_tokens is missing");
  CHECK(Problem("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-16 18:17:03,1,2\n") ==
        "load.csv:2: TIMESTAMP: '2023-13-16 18:17:03' is no time such as 2023-11-16 18:15:46.68");
  CHECK(Problem("arrival_s,prompt_tokens,output_tokens,prefix_id,prefix_tokens\n1,10,2,1,11\n") ==
        "load.csv:2: prefix_tokens: 11 is more than the prompt's 10");
  CHECK(Problem("{\"arrival_s\":1,\"prompt_tokens\":5,\"output_tokens\":2}\n{\"arrival_s\":1}\n") ==
        "load.csv:2: prompt_tokens: '(missing)' is no whole number from 1 to 16777216");
  CHECK(Problem("{\"arrival_s\":\n") == "load.csv:1: invalid JSON at byte 13: incomplete JSON");
  CHECK(Problem("").starts_with("load.csv: empty"));
  CHECK(Problem("hello\x01,world\n").starts_with("load.csv:1: no known header in 'hello?,world'"));
  CHECK(Problem(kReference) == "load.csv: no requests below the header");
  CHECK(Problem("\x1f\x8b\x08\x01") == "load.csv: is gzip; unpack it: gunzip");
  CHECK(Problem("PK\x03\x04").starts_with("load.csv: is zip; unpack it"));
  CHECK(Problem("\xff\xfeT") == "load.csv: is UTF-16; save it as UTF-8");
}

TEST_CASE("a trace that a spreadsheet has saved is read: marked, quoted, with its ends of lines") {
  const auto workload = ParseTrace(
      "\xef\xbb\xbf\"TIMESTAMP\",\"ContextTokens\", \"GeneratedTokens\"\r\n"
      "\"2024-05-10 00:00:01.5+00:00\",\"7\",3\r\n\r\n2024-05-10T00:00:03Z,8,4",
      "load.csv");
  INFO(workload.status());
  REQUIRE(workload.ok());

  REQUIRE(workload->requests.size() == 2);
  CHECK(workload->requests[0].prompt_tokens == 7);
  CHECK(workload->requests[1].arrival_s == 1.5);
  CHECK(workload->requests[1].output_tokens == 4);
}

TEST_CASE("what exceeds a limit is refused before it fills memory") {
  const std::string two = "arrival_s,prompt_tokens,output_tokens\n1,5,5\n2,5,5\n";

  CHECK(Problem(two, {.requests = 1}) == "load.csv:3: more than 1 requests");
  CHECK(Problem(two, {.file_bytes = 10}) == "load.csv: 50 bytes, at most 10 are read");
  CHECK(Problem(two, {.tokens = 4}) == "load.csv:2: prompt_tokens: '5' is no whole number from 1 to 4");
}

TEST_CASE("a file that is not there is named") {
  CHECK(Message(ReadTrace("/no/such/trace.csv").status()) ==
        "/no/such/trace.csv: cannot be read: No such file or directory");
  CHECK(Message(ReadTrace("/").status()) == "/: is a folder, want a trace file");
}

TEST_CASE("the public Azure traces are read whole") {
  const auto path = test::SharedData("azure/AzureLLMInferenceTrace_conv.csv");
  if (!path) {
    WARN("skipped: no shared data beside this checkout");
    return;
  }
  const auto workload = ReadTrace(*path);

  REQUIRE(workload.ok());
  CHECK(workload->requests.size() == 19366);
}

}  // namespace
}  // namespace baton::simulator
