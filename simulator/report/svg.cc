#include "simulator/report/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "simulator/report/table.h"

namespace baton::simulator {
namespace {

// Wong's palette: told apart by colour-blind readers.
constexpr std::array<std::string_view, 8> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                   "#e69f00", "#56b4e9", "#000000", "#8c564b"};
constexpr double kWidth = 720;
constexpr double kHeight = 320;
constexpr double kLeft = 64;
constexpr double kRight = 24;
constexpr double kTop = 28;
constexpr double kBottom = 46;
constexpr double kRowHeight = 12;
constexpr double kNameWidth = 150;

std::string_view ColourOf(std::size_t index) {
  return kColours[index % kColours.size()];
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// From values to pixels on one axis, with its marks.
class Axis {
 public:
  Axis(Range range, bool logarithmic, double from, double to) : log_(logarithmic), from_(from), to_(to) {
    if (!(range.low <= range.high)) range = {1, 10};
    low_ = Scale(range.low);
    high_ = Scale(range.high);
    if (high_ - low_ < 1e-12) {
      const double pad = log_ ? 0.5 : std::max(std::abs(high_) * 0.1, 1e-9);
      low_ -= pad;
      high_ += pad;
    }
  }
  [[nodiscard]] double At(double value) const {
    return from_ + (Scale(value) - low_) / (high_ - low_) * (to_ - from_);
  }
  [[nodiscard]] std::vector<double> Marks() const {
    std::vector<double> marks;
    if (log_) {
      for (int power = static_cast<int>(std::floor(low_)); power <= high_; ++power) {
        for (const double digit : {1.0, 2.0, 5.0}) {
          const double value = digit * std::pow(10, power);
          if (Scale(value) >= low_ - 1e-9 && Scale(value) <= high_ + 1e-9) marks.push_back(value);
        }
      }
      return marks;
    }
    const double raw = (high_ - low_) / 6;
    const double unit = std::pow(10, std::floor(std::log10(raw)));
    const double step = raw / unit > 5   ? 10 * unit
                        : raw / unit > 2 ? 5 * unit
                        : raw / unit > 1 ? 2 * unit
                                         : unit;
    for (double value = std::ceil(low_ / step) * step; value <= high_ + step * 1e-6; value += step) {
      marks.push_back(std::abs(value) < step * 1e-6 ? 0 : value);
    }
    return marks;
  }

 private:
  [[nodiscard]] double Scale(double value) const { return log_ ? std::log10(value) : value; }
  bool log_;
  double from_;
  double to_;
  double low_ = 0;
  double high_ = 1;
};

bool Usable(const std::pair<double, double>& point, bool log_x) {
  return std::isfinite(point.first) && std::isfinite(point.second) && (!log_x || point.first > 0);
}

std::string Open(double width, double height, const std::string& title) {
  return fmt::format(
      "<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" role=\"img\" font-family=\"sans-serif\" "
      "font-size=\"11\"><title>{2}</title><text x=\"{3}\" y=\"16\" font-size=\"13\" "
      "font-weight=\"bold\">{2}</text>\n",
      width, height, Escaped(title), kLeft);
}

std::string Grid(const Plot& plot, const Axis& x, const Axis& y) {
  std::string out;
  for (const double mark : x.Marks()) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" stroke=\"#ddd\"/><text x=\"{0:.1f}\" y=\"{3}\" "
        "text-anchor=\"middle\">{4}</text>\n",
        x.At(mark), kTop, kHeight - kBottom, kHeight - kBottom + 14, Number(mark));
  }
  for (const double mark : y.Marks()) {
    out += fmt::format(
        "<path d=\"M{1} {0:.1f}H{2}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5}</text>\n",
        y.At(mark), kLeft, kWidth - kRight, kLeft - 4, y.At(mark) + 4, Number(mark));
  }
  out += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">{}</text>\n",
                     (kLeft + kWidth - kRight) / 2, kHeight - 10,
                     Escaped(plot.x_label + (plot.log_x ? ", logarithmic" : "")));
  out +=
      fmt::format("<text transform=\"translate(14 {:.0f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                  (kTop + kHeight - kBottom) / 2, Escaped(plot.y_label));
  return out;
}

std::string DrawSeries(const Plot& plot, std::size_t index, const Axis& x, const Axis& y) {
  const Series& series = plot.series[index];
  std::string path;
  std::string out;
  for (const auto& point : series.points) {
    if (!Usable(point, plot.log_x)) continue;
    const double px = x.At(point.first);
    const double py = y.At(point.second);
    if (plot.lines) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px, py);
      continue;
    }
    const bool near_right = px > kWidth * 0.75;
    out += fmt::format(
        "<circle cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"4\" fill=\"{2}\"/><text x=\"{3:.1f}\" y=\"{4:.1f}\" "
        "text-anchor=\"{5}\">{6}</text>\n",
        px, py, ColourOf(index), near_right ? px - 7 : px + 7, py + 4, near_right ? "end" : "start",
        Escaped(series.name));
  }
  if (!plot.lines) return out;
  out += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>\n", path,
                     ColourOf(index));
  // The legend: a column in the lower right corner, where a distribution leaves room.
  const double ly = kHeight - kBottom - 12 - 14 * static_cast<double>(plot.series.size() - 1 - index);
  out += fmt::format(
      "<path d=\"M{0} {1:.1f}h18\" stroke=\"{2}\" stroke-width=\"3\"/><text x=\"{3}\" "
      "y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
      kWidth - kRight - 22, ly, ColourOf(index), kWidth - kRight - 28, ly + 4, Escaped(series.name));
  return out;
}

}  // namespace

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

std::string Draw(const Plot& plot) {
  Range x_range;
  Range y_range;
  for (const Series& series : plot.series) {
    for (const auto& point : series.points) {
      if (!Usable(point, plot.log_x)) continue;
      x_range.Add(point.first);
      y_range.Add(point.second);
    }
  }
  const Axis x(x_range, plot.log_x, kLeft, kWidth - kRight);
  const Axis y(y_range, false, kHeight - kBottom, kTop);
  std::string out = Open(kWidth, kHeight, plot.title) + Grid(plot, x, y);
  for (std::size_t i = 0; i < plot.series.size(); ++i) out += DrawSeries(plot, i, x, y);
  return out + "</svg>\n";
}

std::string DrawStrips(const std::string& title, double span_s, const std::vector<StripRow>& rows) {
  const double height = kTop + kRowHeight * static_cast<double>(rows.size()) + kBottom;
  std::string out = Open(kWidth, height, title);
  const double width = kWidth - kNameWidth - kRight;
  const double scale = span_s > 0 ? width / span_s : 0;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const double top = kTop + kRowHeight * static_cast<double>(row);
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\" font-size=\"9\">{}</text>",
                       kNameWidth - 4, top + 9, Escaped(rows[row].name));
    for (const Strip& strip : rows[row].strips) {
      out += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\" "
          "fill-opacity=\"{:.2f}\"/>",
          kNameWidth + strip.start * scale, top + 1, std::max(0.1, (strip.end - strip.start) * scale),
          kRowHeight - 2, ColourOf(static_cast<std::size_t>(strip.kind)),
          0.15 + 0.85 * std::clamp(strip.level, 0.0, 1.0));
    }
    out += "\n";
  }
  const double bottom = height - kBottom + 16;
  for (int mark = 0; mark <= 6; ++mark) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{} s</text>",
                       kNameWidth + width * mark / 6, bottom, Number(span_s * mark / 6));
  }
  constexpr std::array<std::string_view, 3> kKinds{"prefill", "decode", "both"};
  for (std::size_t kind = 0; kind < kKinds.size(); ++kind) {
    const double at = kNameWidth + 90 * static_cast<double>(kind);
    out += fmt::format(
        "<rect x=\"{0}\" y=\"{1:.1f}\" width=\"12\" height=\"8\" fill=\"{2}\"/><text x=\"{3}\" "
        "y=\"{4:.1f}\">{5}</text>",
        at, bottom + 8, ColourOf(kind), at + 16, bottom + 16, kKinds[kind]);
  }
  return out + "</svg>\n";
}

}  // namespace baton::simulator
