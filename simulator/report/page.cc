#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "simulator/report/run_report.h"
#include "simulator/report/svg.h"

namespace baton::simulator {
namespace {

constexpr const char* kStyle =
    "body{font-family:sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;font-size:13px;margin:1em 0}td,th{border:1px solid #ccc;padding:2px 8px}"
    "th{background:#f2f2f2;text-align:left}td{font-variant-numeric:tabular-nums}.no{color:#b00;font-weight:"
    "bold}"
    "svg{display:block;margin:1em 0;max-width:100%;height:auto}";
constexpr std::size_t kCurvePoints = 200;
// Of a timeline as a picture: more are neither seen nor worth their bytes. The Perfetto trace has all.
constexpr std::size_t kRowsMost = 80;
constexpr int kBuckets = 400;

std::string HtmlTable(const Table& table) {
  std::string out = "<table><tr>";
  for (const std::string& cell : table.header) out += "<th>" + Escaped(cell) + "</th>";
  out += "</tr>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (const std::string& cell : row) {
      out += (cell == "MISSED" ? "<td class=\"no\">" : "<td>") + Escaped(cell) + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

std::string Page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + Escaped(title) +
         "</title><style>" + kStyle + "</style></head><body><h1>" + Escaped(title) + "</h1>\n" + body +
         "</body></html>\n";
}

Series Cdf(const std::string& name, std::vector<double> values) {
  Series series{.name = name, .points = {}};
  std::sort(values.begin(), values.end());
  if (values.empty()) return series;
  for (std::size_t i = 0; i <= kCurvePoints; ++i) {
    const std::size_t at = i * (values.size() - 1) / kCurvePoints;
    series.points.emplace_back(values[at], static_cast<double>(i) / kCurvePoints);
  }
  return series;
}

std::string Cdfs(const std::vector<PageRun>& runs) {
  struct Kind {
    const char* title;
    double RequestOutcome::*value;
  };
  std::string out;
  for (const Kind& kind : {Kind{"Time to first token", &RequestOutcome::ttft_s},
                           Kind{"Time between tokens", &RequestOutcome::tbt_s},
                           Kind{"End to end", &RequestOutcome::response_s}}) {
    Plot plot{.title = kind.title,
              .x_label = "milliseconds",
              .y_label = "share of requests",
              .log_x = true,
              .series = {}};
    for (const PageRun& run : runs) {
      std::vector<double> values;
      for (const RequestOutcome& outcome : run.result->requests) {
        if (outcome.end == RequestEnd::kDone) values.push_back(outcome.*kind.value * 1e3);
      }
      plot.series.push_back(Cdf(run.named.name, std::move(values)));
    }
    out += Draw(plot);
  }
  return out;
}

/// Slices of a machine put into buckets of equal length, so that a picture of an hour stays small.
/// Times count from `first_s`, that of the first arrival.
StripRow RowOf(const MachineUse& machine, double first_s, double span_s) {
  struct Bucket {
    double prefill = 0;
    double decode = 0;
  };
  std::vector<Bucket> buckets(kBuckets);
  const double width = span_s / kBuckets;
  for (const TimelineSlice& slice : machine.timeline) {
    if (slice.prompts == 0 && slice.decodes == 0) continue;
    const double start_s = slice.start_s - first_s;
    const double end_s = slice.end_s - first_s;
    const int first = std::clamp(static_cast<int>(start_s / width), 0, kBuckets - 1);
    const int last = std::clamp(static_cast<int>(end_s / width), 0, kBuckets - 1);
    for (int i = first; i <= last; ++i) {
      const double within = std::min(end_s, (i + 1) * width) - std::max(start_s, i * width);
      Bucket& bucket = buckets[static_cast<std::size_t>(i)];
      (slice.prompts > 0 ? bucket.prefill : bucket.decode) += std::max(0.0, within);
    }
  }
  StripRow row{.name = machine.name, .strips = {}};
  for (int i = 0; i < kBuckets; ++i) {
    const Bucket& bucket = buckets[static_cast<std::size_t>(i)];
    const double busy = bucket.prefill + bucket.decode;
    if (busy < width * 0.01) continue;
    const double share = bucket.prefill / busy;
    row.strips.push_back({.start = i * width,
                          .end = (i + 1) * width,
                          .level = busy / width,
                          .kind = share > 0.9   ? 0
                                  : share < 0.1 ? 1
                                                : 2});
  }
  return row;
}

std::string Timelines(const PageRun& run) {
  if (run.result->span_s <= 0) return "";
  const double first_s = run.workload->requests.front().arrival_s;
  std::vector<StripRow> rows;
  for (const MachineUse& machine : run.result->machines) {
    if (!machine.timeline.empty() && rows.size() < kRowsMost)
      rows.push_back(RowOf(machine, first_s, run.result->span_s));
  }
  if (rows.empty()) return "";
  std::string out = DrawStrips("Machines of " + run.named.name, run.result->span_s, rows);
  if (run.result->machines.size() > kRowsMost) {
    out += fmt::format("<p>{} of {} machines.</p>\n", kRowsMost, run.result->machines.size());
  }
  return out;
}

}  // namespace

std::string RunsPage(const std::string& title, const std::vector<PageRun>& runs, const Slo& slo) {
  std::string body;
  std::vector<NamedRun> named;
  for (const PageRun& run : runs) {
    named.push_back(run.named);
    body += "<p><b>" + Escaped(run.named.name) + "</b>: " + Escaped(FormatFleet(run.named.fleet)) + "</p>\n";
  }
  for (const PageRun& run : runs) {
    if (slo.Empty() || run.named.figures.empty()) continue;
    body += "<h2>Objectives of " + Escaped(run.named.name) + "</h2>\n" +
            HtmlTable(SloTableOf(run.named.figures.front().verdict, slo));
  }
  body += "<h2>Latencies</h2>\n" + Cdfs(runs);
  for (const PageRun& run : runs) body += Timelines(run);
  body += "<h2>Figures</h2>\n" + HtmlTable(SummaryTable(named, named.size() > 1));
  return Page(title, body);
}

std::string SearchPage(const std::string& title, const Recommendation& found, Objective objective) {
  Plot plot{.title = "Best of each pair of machine types",
            .x_label = "dollars an hour",
            .y_label = "kW, rated",
            .lines = false,
            .series = {}};
  for (const Candidate& design : found.designs) {
    plot.series.push_back(
        {.name = FormatFleet(design.fleet), .points = {{design.dollars_per_hour, design.watts / 1e3}}});
  }
  std::string body =
      fmt::format("<p>Objective: {}. {} simulations.</p>\n", NameOf(objective), found.evaluations);
  if (found.best) body += "<p>Best: <b>" + Escaped(FormatFleet(found.best->fleet)) + "</b></p>\n";
  body += Draw(plot) + "<h2>Designs</h2>\n" + HtmlTable(DesignsTable(found.designs));
  return Page(title, body);
}

}  // namespace baton::simulator
