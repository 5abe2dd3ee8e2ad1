#include "simulator/report/table.h"

#include <limits>

#include <catch2/catch.hpp>

namespace baton::simulator {
namespace {

const Table kTable{.header = {"name", "value"}, .rows = {{"a", "1.5"}, {"long ± name", "-20"}}};

TEST_CASE("columns of numbers are aligned to the right, by characters and not bytes") {
  CHECK(kTable.AsText() ==
        "name         value\n"
        "------------------\n"
        "a              1.5\n"
        "long ± name    -20\n");
}

TEST_CASE("a table is Markdown, CSV or JSON on demand") {
  CHECK(Render(kTable, "markdown") == "| name | value |\n|---|---:|\n| a | 1.5 |\n| long ± name | -20 |\n");
  CHECK(Render(kTable, "csv") == "name,value\na,1.5\nlong ± name,-20\n");
  CHECK(Render(kTable, "json") ==
        "[{\"name\":\"a\",\"value\":1.5},{\"name\":\"long ± name\",\"value\":-20}]\n");
}

TEST_CASE("a cell with a comma or a quote is quoted in CSV") {
  CHECK(Table{.header = {"x"}, .rows = {{"a,b"}, {"say \"hi\""}}}.AsCsv() ==
        "x\n\"a,b\"\n\"say \"\"hi\"\"\"\n");
}

TEST_CASE("the longest bar has the width, and what is not nothing is seen") {
  CHECK(BarChart({{"a", 100, "x"}, {"bb", 0.1, "y"}, {"c", 0, "z"}}, 4) ==
        " a |#### x\nbb |#    y\n c |     z\n");
}

TEST_CASE("a histogram counts in powers of two and leaves no range out") {
  CHECK(Histogram({1, 1, 5, 6}, 2) == "1..1 |##  50.0 %\n2..3 |     0.0 %\n4..7 |##  50.0 %\n");
  CHECK(Histogram({}, 2).empty());
}

TEST_CASE("numbers have three significant digits and units fit their size") {
  CHECK(Number(0.012345) == "0.0123");
  CHECK(Number(1234.5) == "1234");
  CHECK(Number(std::numeric_limits<double>::quiet_NaN()) == "-");
  CHECK(Number(-9.876) == "-9.88");
  CHECK(Number(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(SecondsText(4.8412) == "4.84 s");
  CHECK(SecondsText(0.0123) == "12.3 ms");
  CHECK(SecondsText(2.5e-6) == "2.50 us");
  CHECK(Grouped(1234567.4) == "1,234,567");
  CHECK(Grouped(-999) == "-999");
}

}  // namespace
}  // namespace baton::simulator
