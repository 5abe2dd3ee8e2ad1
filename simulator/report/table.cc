#include "simulator/report/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "common/json/value.h"

namespace baton::simulator {
namespace {

/// Characters on the screen: code points, which all are one column wide here.
std::size_t Width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string Padded(const std::string& text, std::size_t width, bool right) {
  const std::string space(width - std::min(width, Width(text)), ' ');
  return right ? space + text : text + space;
}

bool LooksNumeric(const std::string& cell) {
  return cell.empty() || (cell[0] >= '0' && cell[0] <= '9') || cell[0] == '-' || cell[0] == '+' ||
         cell == "inf";
}

struct Layout {
  std::vector<std::size_t> widths;
  std::vector<bool> right;
};

Layout LayoutOf(const Table& table) {
  Layout layout;
  for (std::size_t column = 0; column < table.header.size(); ++column) {
    std::size_t width = Width(table.header[column]);
    bool numeric = !table.rows.empty();
    for (const auto& row : table.rows) {
      if (column >= row.size()) continue;
      width = std::max(width, Width(row[column]));
      numeric = numeric && LooksNumeric(row[column]);
    }
    layout.widths.push_back(width);
    layout.right.push_back(numeric);
  }
  return layout;
}

std::string CsvCell(const std::string& cell) {
  if (cell.find_first_of(",\"\n\r") == std::string::npos) return cell;
  std::string out = "\"";
  for (const char c : cell) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::optional<double> AsNumber(const std::string& cell) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

json::Value CellAsValue(const std::string& cell) {
  const auto number = AsNumber(cell);
  if (!number) return json::Value(cell);
  const bool whole = *number == std::floor(*number) && std::abs(*number) < 9e15;
  return whole ? json::Value(static_cast<std::int64_t>(*number)) : json::Value(*number);
}

}  // namespace

std::string Table::AsText() const {
  const Layout layout = LayoutOf(*this);
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t column = 0; column < header.size(); ++column) {
      const std::string& cell = column < cells.size() ? cells[column] : std::string();
      text += (column == 0 ? "" : "  ") + Padded(cell, layout.widths[column], layout.right[column]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line(header);
  std::size_t width = header.empty() ? 0 : 2 * (header.size() - 1);
  for (const std::size_t column : layout.widths) width += column;
  out += std::string(width, '-') + "\n";
  for (const auto& row : rows) line(row);
  return out;
}

std::string Table::AsMarkdown() const {
  const Layout layout = LayoutOf(*this);
  std::string out = "|";
  for (const std::string& cell : header) out += " " + cell + " |";
  out += "\n|";
  for (std::size_t column = 0; column < header.size(); ++column)
    out += layout.right[column] ? "---:|" : "---|";
  out += "\n";
  for (const auto& row : rows) {
    out += "|";
    for (const std::string& cell : row) out += " " + cell + " |";
    out += "\n";
  }
  return out;
}

std::string Table::AsCsv() const {
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t column = 0; column < cells.size(); ++column) {
      out += (column == 0 ? "" : ",") + CsvCell(cells[column]);
    }
    out += "\n";
  };
  line(header);
  for (const auto& row : rows) line(row);
  return out;
}

std::string Table::AsJson() const {
  json::Array array;
  for (const auto& row : rows) {
    json::Object object;
    for (std::size_t column = 0; column < header.size() && column < row.size(); ++column) {
      object.emplace_back(header[column], CellAsValue(row[column]));
    }
    array.emplace_back(std::move(object));
  }
  return json::Serialize(json::Value(std::move(array))) + "\n";
}

std::string Render(const Table& table, const std::string& format) {
  if (format == "csv") return table.AsCsv();
  if (format == "json") return table.AsJson();
  if (format == "markdown") return table.AsMarkdown();
  return table.AsText();
}

std::string BarChart(const std::vector<Bar>& bars, int width) {
  double most = 0;
  std::size_t label_width = 0;
  for (const Bar& bar : bars) {
    most = std::max(most, bar.value);
    label_width = std::max(label_width, Width(bar.label));
  }
  std::string out;
  for (const Bar& bar : bars) {
    const double share = most > 0 ? bar.value / most : 0;
    const int length = bar.value > 0 ? std::max(1, static_cast<int>(std::lround(share * width))) : 0;
    out +=
        Padded(bar.label, label_width, true) + " |" +
        Padded(std::string(static_cast<std::size_t>(length), '#'), static_cast<std::size_t>(width), false) +
        " " + bar.note + "\n";
  }
  return out;
}

std::string Histogram(const std::vector<double>& values, int width) {
  std::map<int, std::int64_t> counts;
  for (const double value : values)
    ++counts[value < 1 ? 0 : static_cast<int>(std::floor(std::log2(value))) + 1];
  std::vector<Bar> bars;
  if (counts.empty()) return "";
  for (int bin = counts.begin()->first; bin <= counts.rbegin()->first; ++bin) {
    const std::int64_t count = counts.contains(bin) ? counts[bin] : 0;
    const double low = bin == 0 ? 0 : std::exp2(bin - 1);
    bars.push_back({.label = fmt::format("{:.0f}..{:.0f}", low, std::exp2(bin) - 1),
                    .value = static_cast<double>(count),
                    .note = fmt::format("{:5.1f} %", 100.0 * static_cast<double>(count) /
                                                         static_cast<double>(values.size()))});
  }
  return BarChart(bars, width);
}

std::string PercentText(double share) {
  return std::isinf(share) ? "-" : fmt::format("{:.0f} %", share * 100);
}

std::string SecondsText(double seconds) {
  if (std::isinf(seconds)) return "never";
  if (seconds >= 1) return Number(seconds) + " s";
  if (seconds >= 1e-3) return Number(seconds * 1e3) + " ms";
  return seconds > 0 ? Number(seconds * 1e6) + " us" : "0 s";
}

std::string Grouped(double value) {
  const std::string digits = fmt::format("{:.0f}", std::abs(value));
  std::string out;
  if (value <= -0.5) out += '-';
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string Number(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return "0";
  if (std::abs(value) >= 1e6 || std::abs(value) < 1e-6) return fmt::format("{:.3g}", value);
  const int magnitude = static_cast<int>(std::floor(std::log10(std::abs(value))));
  return fmt::format("{:.{}f}", value, std::clamp(2 - magnitude, 0, 9));
}

}  // namespace baton::simulator
