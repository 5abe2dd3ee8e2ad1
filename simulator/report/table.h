#pragma once

#include <string>
#include <vector>

/// Rows and columns as text for people, as Markdown, CSV and JSON for programs.
namespace baton::simulator {

/// A column is right-aligned where all its cells below the header begin with a digit, a sign or a dash.
struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;

  [[nodiscard]] std::string AsText() const;
  [[nodiscard]] std::string AsMarkdown() const;
  [[nodiscard]] std::string AsCsv() const;
  /// An array of objects; cells that are numbers become numbers.
  [[nodiscard]] std::string AsJson() const;
};

/// `text` with its columns of cells in the format called "table", "csv", "json" or "markdown".
[[nodiscard]] std::string Render(const Table& table, const std::string& format);

/// Horizontal bars, one a line, the longest `width` characters wide.
struct Bar {
  std::string label;
  double value = 0;
  std::string note;  // behind the bar
};
[[nodiscard]] std::string BarChart(const std::vector<Bar>& bars, int width = 40);

/// Counts of `values` in ranges whose ends are powers of two, as bars with shares.
[[nodiscard]] std::string Histogram(const std::vector<double>& values, int width = 40);

/// "57 %"; "-" where it is infinite: of a time that never comes.
[[nodiscard]] std::string PercentText(double share);
/// "12.3 ms", "4.84 s": three significant digits; "never" where it is infinite.
[[nodiscard]] std::string SecondsText(double seconds);
/// "1,234,567".
[[nodiscard]] std::string Grouped(double value);
/// A number with three significant digits and no exponent below a million; "-" for what is not known (NaN).
[[nodiscard]] std::string Number(double value);

}  // namespace baton::simulator
