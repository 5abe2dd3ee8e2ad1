#pragma once

#include <string>
#include <utility>
#include <vector>

/// Plots as SVG, drawn here: a report has no scripts and loads nothing.
namespace baton::simulator {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;
  bool lines = true;  // false: points with their series' names beside them
  std::vector<Series> series;
};

/// Points whose coordinates are not finite (or not positive on a logarithmic axis) are left out.
[[nodiscard]] std::string Draw(const Plot& plot);

struct Strip {
  double start = 0;
  double end = 0;
  double level = 0;  // 0 to 1: how dark
  int kind = 0;      // colour: 0 prefill, 1 decode, 2 both
};
struct StripRow {
  std::string name;
  std::vector<Strip> strips;
};
/// One row a machine over time.
[[nodiscard]] std::string DrawStrips(const std::string& title, double span_s,
                                     const std::vector<StripRow>& rows);

/// `text` for HTML and SVG.
[[nodiscard]] std::string Escaped(const std::string& text);

}  // namespace baton::simulator
