#include "common/hardware/table_model.h"

#include <array>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::hardware {
namespace {

// What numpy and scipy give in double precision; ours may differ in the last digit, for our knots are kept in
// milliseconds.
constexpr double kLastDigit = 1e-14;

const TimeTable& Table(std::string_view model, std::string_view machine) {
  const TimeTable* table = Catalogue::BuiltIn().FindTable(model, machine, 8);
  REQUIRE(table != nullptr);
  return *table;
}

Approx Exactly(double value) {
  return Approx(value).epsilon(kLastDigit).margin(0);
}

TEST_CASE("a line through knots goes on beyond its ends as in its last piece") {
  const PiecewiseLinear line({1, 2, 4}, {10, 20, 60});

  CHECK(line(1) == 10);
  CHECK(line(1.5) == 15);
  CHECK(line(2) == 20);
  CHECK(line(3) == 40);
  CHECK(line(5) == 80);
  CHECK(line(0) == 0);
  CHECK(line.Covers(4));
  CHECK_FALSE(line.Covers(4.1));
  CHECK_FALSE(line.Covers(0.9));
}

TEST_CASE("an end of a line that has fallen below nothing stays at its last knot") {
  const PiecewiseLinear line({10, 20, 30}, {1, 30, 10});

  CHECK(line(9) == 1);  // the first piece says -1.9
  CHECK(line(31) == 8);
  CHECK(line(40) == 10);
  CHECK(line(1e9) == 10);
}

TEST_CASE("a table whose smallest steps would take less than nothing is refused, with its knots") {
  Catalogue catalogue = Catalogue::BuiltIn();
  TimeTable table{.model = "llama2-70b",
                  .machine = "dgx-h100",
                  .tensor_parallel = 8,
                  .tokens = {512, 1024},
                  .prompt_ms = {20, 60},
                  .token_ms = {30, 31}};
  catalogue.Put(table);

  for (const PerfKind kind : {PerfKind::kTable, PerfKind::kReference}) {
    const auto model = MakePerfModel(catalogue, {.model = "llama2-70b", .machine = "dgx-h100"}, kind);
    CHECK(Message(model.status()) ==
          "table of times for llama2-70b on dgx-h100 with tensor_parallel 8: prompt_ms: the line through 20 "
          "at 512 "
          "tokens and 60 at 1024 gives -19.9 for one token; add a knot of few tokens");
  }
  table.prompt_ms = {30, 59};
  CHECK(CheckTable(table).ok());
  table.token_ms = {1, 31};
  CHECK_THAT(Message(CheckTable(table)), Catch::Contains("token_ms"));
  for (const TimeTable& built_in : Catalogue::BuiltIn().Tables()) CHECK(CheckTable(built_in).ok());
}

TEST_CASE("prompts take what the paper's simulator takes for them") {
  const ReferenceTimes a100(Table("bloom-176b", "dgx-a100"));
  const ReferenceTimes h100(Table("bloom-176b", "dgx-h100"));
  const ReferenceTimes llama(Table("llama2-70b", "dgx-h100"));

  CHECK(a100.Seconds(1, 17, 0) == Exactly(0.0627621337407618));
  CHECK(a100.Seconds(1, 512, 0) == Exactly(0.17438230104744434));
  CHECK(a100.Seconds(3, 1500, 0) == Exactly(0.40302197565142706));
  CHECK(a100.Seconds(1, 40'000, 0) == Exactly(13.666243073410438));
  CHECK(h100.Seconds(1, 4096, 0) == Exactly(0.6495982770284172));
  CHECK(h100.Seconds(1, 2048, 0) == Exactly(0.25196400948334485));
  CHECK(h100.Seconds(2, 4097, 0) == Exactly(0.6497843063995035));
  CHECK(llama.Seconds(1, 1020, 0) == Exactly(0.07749772969486912));
}

TEST_CASE(
    "decodes are looked up by their number, as the paper's simulator does, and hardly cost more in a batch") {
  const ReferenceTimes a100(Table("bloom-176b", "dgx-a100"));
  const ReferenceTimes llama(Table("llama2-70b", "dgx-h100"));

  CHECK(a100.Seconds(0, 0, 1) == Exactly(0.04751824212232929));
  CHECK(a100.Seconds(0, 0, 64) == Exactly(0.047564801783850925));
  CHECK(a100.Seconds(0, 0, 512) == Exactly(0.049312983617212064));
  CHECK(llama.Seconds(0, 0, 64) == Exactly(0.030675713492623415));
  CHECK(llama.Seconds(0, 0, 64) < llama.Seconds(0, 0, 1));  // its fault, kept
}

TEST_CASE("a mixed step is 1.1 prompts of all its tokens") {
  const ReferenceTimes h100(Table("bloom-176b", "dgx-h100"));

  CHECK(h100.Seconds(1, 1000, 24) == 1.1 * h100.Seconds(1, 1024, 0));
}

TEST_CASE("the capped machine of the paper prompts 1.3 times as long and decodes as fast") {
  const ReferenceTimes full(Table("bloom-176b", "dgx-h100"));
  const ReferenceTimes capped(Table("bloom-176b", "dgx-h100-pcap"));

  CHECK(capped.Seconds(1, 1500, 0) == Approx(1.3 * full.Seconds(1, 1500, 0)).epsilon(1e-9));
  CHECK(capped.Seconds(0, 0, 32) == full.Seconds(0, 0, 32));
}

TEST_CASE(
    "the model behind the common interface answers as the reference does, and flags what lies outside") {
  const auto model = MakePerfModel(Catalogue::BuiltIn(), {.model = "bloom-176b", .machine = "dgx-h100"},
                                   PerfKind::kReference);
  INFO(model.status());
  REQUIRE(model.ok());
  const ReferenceTimes times(Table("bloom-176b", "dgx-h100"));
  const std::array<PromptPiece, 2> prompts = {PromptPiece{.tokens = 700}, PromptPiece{.tokens = 300}};

  const StepTime prompt = (*model)->Time({.prompts = prompts});
  const StepTime decode = (*model)->Time({.decodes = 7, .decode_context = 70'000});

  CHECK(prompt.seconds == times.Seconds(2, 1000, 0));
  CHECK_FALSE(prompt.extrapolated);
  CHECK(decode.seconds == times.Seconds(0, 0, 7));
  CHECK(decode.extrapolated);  // a key of 7 where 128 is the least
  CHECK((*model)->Time({}).seconds == 0);
}

TEST_CASE("the corrected table is looked up by tokens of context, so that batches cost what was measured") {
  const auto model =
      MakePerfModel(Catalogue::BuiltIn(), {.model = "bloom-176b", .machine = "dgx-a100"}, PerfKind::kTable);
  REQUIRE(model.ok());

  const StepTime full = (*model)->Time({.decodes = 64, .decode_context = 64 * 512});

  CHECK(full.seconds == Approx(0.0966).epsilon(0.001));  // measured; the paper's simulator says 0.0476
  CHECK_FALSE(full.extrapolated);
}

TEST_CASE("a table that the catalogue lacks, and a degree beyond the machine, are errors that say so") {
  const Catalogue& catalogue = Catalogue::BuiltIn();
  const auto none =
      MakePerfModel(catalogue, {.model = "llama-3-8b", .machine = "dgx-a100"}, PerfKind::kReference);
  const auto many = MakePerfModel(
      catalogue, {.model = "llama-3-8b", .machine = "dgx-a100", .tensor_parallel = 16}, PerfKind::kBest);

  CHECK_THAT(Message(none.status()),
             Catch::Contains("no table of times for llama-3-8b on dgx-a100 with tensor_parallel 8"));
  CHECK_THAT(Message(many.status()), Catch::Contains("machine dgx-a100 has 8 devices, not 16"));
}

}  // namespace
}  // namespace baton::hardware
