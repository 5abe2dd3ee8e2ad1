#include "simulator/report/svg.h"

#include <limits>
#include <regex>

#include <catch2/catch.hpp>

namespace baton::simulator {
namespace {

TEST_CASE("points are drawn inside the picture") {
  const std::string svg = Draw({.title = "t",
                                .x_label = "x",
                                .y_label = "y",
                                .lines = false,
                                .series = {{"a", {{0, 5}, {1e6, -3}}}, {"b", {{10, 10}}}}});

  const std::regex circle("<circle cx=\"([-0-9.]+)\" cy=\"([-0-9.]+)\"");
  int count = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), circle), end; it != end; ++it) {
    ++count;
    CHECK(std::stod((*it)[1]) >= 0);
    CHECK(std::stod((*it)[1]) <= 720);
    CHECK(std::stod((*it)[2]) >= 0);
    CHECK(std::stod((*it)[2]) <= 320);
  }
  CHECK(count == 3);
}

TEST_CASE("values that have no place are left out") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();

  const std::string svg = Draw({.title = "t",
                                .log_x = true,
                                .lines = false,
                                .series = {{"a", {{0, 1}, {-1, 1}, {nan, 1}, {1, inf}, {10, 1}}}}});

  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  std::size_t circles = 0;
  for (std::size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1))
    ++circles;
  CHECK(circles == 1);
}

TEST_CASE("a plot of nothing is still a picture") {
  CHECK(Draw({}).ends_with("</svg>\n"));
  CHECK(DrawStrips("t", 0, {}).ends_with("</svg>\n"));
}

TEST_CASE("names cannot break out of the page") {
  const std::string svg = Draw({.title = "<script>&\"", .series = {{"<b>", {{1, 1}}}}});

  CHECK(svg.find("<script>") == std::string::npos);
  CHECK(svg.find("&lt;script&gt;&amp;&quot;") != std::string::npos);
  CHECK(svg.find("<b>") == std::string::npos);
}

}  // namespace
}  // namespace baton::simulator
