#include "simulator/report/run_report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "common/json/value.h"

namespace baton::simulator {
namespace {

template <int kMetric, int kQuantile>
double QuantileMs(const Figures& figures) {
  return figures.verdict.seconds[kMetric][kQuantile] * 1e3;
}

/// Mode splitwise knows no power: a machine that draws none is one of which nothing is known.
double KnownPower(const Figures& figures, double value) {
  return figures.energy_j > 0 ? value : std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> ValuesOf(const NamedRun& run, const FigureKind& kind) {
  std::vector<double> values;
  for (const Figures& figures : run.figures) values.push_back(kind.of(figures));
  return values;
}

std::string WithInterval(const Interval& interval, bool several) {
  if (!several || !std::isfinite(interval.mean)) return Number(interval.mean);
  // Seeds that agree but for the last bits agree.
  const bool equal = interval.half_width < 1e-12 * std::abs(interval.mean);
  return fmt::format("{} ± {}", Number(interval.mean), Number(equal ? 0 : interval.half_width));
}

/// The change of `run` against `base` in percent, paired by seed.
std::string Difference(const std::vector<double>& base, const std::vector<double>& run) {
  std::vector<double> changes;
  for (std::size_t i = 0; i < std::min(base.size(), run.size()); ++i) {
    if (base[i] != 0 && std::isfinite(base[i]) && std::isfinite(run[i])) {
      changes.push_back((run[i] / base[i] - 1) * 100);
    }
  }
  if (changes.empty()) return "";
  const Interval interval = IntervalOf(changes);
  if (changes.size() == 1) return fmt::format("{:+.1f} %", interval.mean);
  // An interval that holds 0 is no difference that these seeds show.
  return fmt::format("{:+.1f} ± {:.1f} %{}", interval.mean, interval.half_width,
                     std::abs(interval.mean) <= interval.half_width ? " (n.s.)" : "");
}

json::Value VerdictAsValue(const SloVerdict& verdict, const Slo& slo) {
  json::Object object{{"met", verdict.met},
                      {"tightest", verdict.tightest},
                      {"binding", verdict.binding},
                      {"attainment", verdict.attainment},
                      {"lost", verdict.lost}};
  json::Array limits;
  for (std::size_t metric = 0; metric < 3; ++metric) {
    for (std::size_t quantile = 0; quantile < 3; ++quantile) {
      const auto add = [&](const char* unit, double limit, double measured) {
        if (limit <= 0) return;
        limits.push_back(
            json::Object{{"name", fmt::format("{}_{}", kMetricNames[metric], kQuantileNames[quantile])},
                         {"unit", unit},
                         {"limit", limit},
                         {"measured", measured},
                         {"met", measured < limit}});
      };
      add("s", slo.seconds[metric][quantile], verdict.seconds[metric][quantile]);
      add("slowdown", slo.slowdown[metric][quantile], verdict.slowdown[metric][quantile]);
    }
  }
  object.emplace_back("limits", std::move(limits));
  return object;
}

}  // namespace

const std::vector<FigureKind>& FigureKinds() {
  static const std::vector<FigureKind> kKinds{
      {"ttft_p50_ms", QuantileMs<0, 0>},
      {"ttft_p90_ms", QuantileMs<0, 1>},
      {"ttft_p99_ms", QuantileMs<0, 2>},
      {"tbt_p50_ms", QuantileMs<1, 0>},
      {"tbt_p90_ms", QuantileMs<1, 1>},
      {"tbt_p99_ms", QuantileMs<1, 2>},
      {"e2e_p50_ms", QuantileMs<2, 0>},
      {"e2e_p90_ms", QuantileMs<2, 1>},
      {"e2e_p99_ms", QuantileMs<2, 2>},
      {"ttft_mean_ms", [](const Figures& f) { return f.mean_s[0] * 1e3; }},
      {"tbt_mean_ms", [](const Figures& f) { return f.mean_s[1] * 1e3; }},
      {"e2e_mean_ms", [](const Figures& f) { return f.mean_s[2] * 1e3; }},
      {"queue_mean_ms", [](const Figures& f) { return f.queue_mean_s * 1e3; }},
      {"transfer_mean_ms", [](const Figures& f) { return f.transfer_mean_s * 1e3; }},
      {"slo_tightest", [](const Figures& f) { return f.verdict.tightest; }},
      {"slo_attainment", [](const Figures& f) { return f.verdict.attainment; }, false},
      {"offered_rps", [](const Figures& f) { return f.offered_rate; }, false},
      {"completed_rps", [](const Figures& f) { return f.completed_rate; }, false},
      {"output_tokens_per_s", [](const Figures& f) { return f.output_tokens_per_s; }, false},
      {"busy_share", [](const Figures& f) { return f.busy_share; }, false},
      {"machines_powered", [](const Figures& f) { return f.machines_powered; }},
      {"wakes", [](const Figures& f) { return static_cast<double>(f.wakes); }},
      {"machines", [](const Figures& f) { return static_cast<double>(f.price.machines); }},
      {"dollars_per_hour", [](const Figures& f) { return f.price.dollars_per_hour; }},
      {"dollars_per_million_tokens", [](const Figures& f) { return f.dollars_per_million; }},
      {"rated_kw", [](const Figures& f) { return f.price.watts / 1e3; }},
      {"mean_kw", [](const Figures& f) { return KnownPower(f, f.mean_watts / 1e3); }},
      {"joules_per_token", [](const Figures& f) { return KnownPower(f, f.joules_per_token); }},
      {"energy_dollars_per_hour", [](const Figures& f) { return KnownPower(f, f.energy_dollars_per_hour); }},
      {"preemptions", [](const Figures& f) { return static_cast<double>(f.preemptions); }},
      {"migrations", [](const Figures& f) { return static_cast<double>(f.migrations); }},
      {"restarts", [](const Figures& f) { return static_cast<double>(f.restarts); }},
      {"not_done", [](const Figures& f) { return static_cast<double>(f.requests - f.done); }},
      {"extrapolated_share", [](const Figures& f) { return f.extrapolated_share; }}};
  return kKinds;
}

Table SummaryTable(const std::vector<NamedRun>& runs, bool differences) {
  Table table;
  table.header.push_back("figure");
  for (std::size_t i = 0; i < runs.size(); ++i) {
    table.header.push_back(runs[i].name);
    if (differences && i > 0) table.header.push_back("change");
  }
  for (const FigureKind& kind : FigureKinds()) {
    std::vector<std::string> row{kind.name};
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const std::vector<double> values = ValuesOf(runs[i], kind);
      row.push_back(WithInterval(IntervalOf(values), values.size() > 1));
      if (differences && i > 0) row.push_back(Difference(ValuesOf(runs[0], kind), values));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table SloTableOf(const SloVerdict& verdict, const Slo& slo) {
  Table table{.header = {"objective", "limit", "measured", "used", ""}, .rows = {}};
  for (std::size_t metric = 0; metric < 3; ++metric) {
    for (std::size_t quantile = 0; quantile < 3; ++quantile) {
      const auto add = [&](double limit, double measured, bool time) {
        if (limit <= 0) return;
        // Requests that are never served have no time; there may be so many that it is the quantile.
        const auto text = [&](double value) {
          if (time) return SecondsText(value);
          return std::isinf(value) ? std::string("never") : fmt::format("{:.2f}x", value);
        };
        table.rows.push_back({fmt::format("{}_{}", kMetricNames[metric], kQuantileNames[quantile]),
                              text(limit), text(measured), PercentText(measured / limit),
                              measured < limit ? "met" : "MISSED"});
      };
      add(slo.seconds[metric][quantile], verdict.seconds[metric][quantile], true);
      add(slo.slowdown[metric][quantile], verdict.slowdown[metric][quantile], false);
    }
  }
  return table;
}

std::string RunsAsJson(const std::vector<NamedRun>& runs, const std::vector<std::uint64_t>& seeds,
                       const Slo& slo, const std::string& step_times) {
  json::Array array;
  for (const NamedRun& run : runs) {
    json::Array each;
    for (std::size_t i = 0; i < run.figures.size(); ++i) {
      json::Object figures;
      for (const FigureKind& kind : FigureKinds()) figures.emplace_back(kind.name, kind.of(run.figures[i]));
      figures.emplace_back("backlog_grows", run.figures[i].backlog_grows);
      figures.emplace_back("interrupted", run.figures[i].interrupted);
      figures.emplace_back("requests", run.figures[i].requests);
      const auto seed = i < seeds.size() ? static_cast<std::int64_t>(seeds[i]) : 0;
      each.push_back(json::Object{{"seed", seed},
                                  {"figures", std::move(figures)},
                                  {"slo", VerdictAsValue(run.figures[i].verdict, slo)}});
    }
    array.push_back(
        json::Object{{"name", run.name}, {"fleet", FormatFleet(run.fleet)}, {"seeds", std::move(each)}});
  }
  return json::Serialize(
             json::Object{{"schema_version", 1}, {"step_times", step_times}, {"runs", std::move(array)}}) +
         "\n";
}

std::string RequestsAsCsv(const Workload& workload, const RunResult& result) {
  std::vector<const RequestOutcome*> done;
  const auto end_of = [&](const RequestOutcome& outcome) {
    return workload.requests[static_cast<std::size_t>(outcome.request)].arrival_s + outcome.response_s;
  };
  for (const RequestOutcome& outcome : result.requests) {
    if (outcome.end == RequestEnd::kDone) done.push_back(&outcome);
  }
  std::stable_sort(done.begin(), done.end(),
                   [&](const RequestOutcome* a, const RequestOutcome* b) { return end_of(*a) < end_of(*b); });
  std::string out =
      "request_ids,response_times,queue_times,ttft_times,tbt_times,nth_token_overheads,prompt_sizes,token_"
      "sizes\n";
  for (const RequestOutcome* outcome : done) {
    const WorkloadRequest& request = workload.requests[static_cast<std::size_t>(outcome->request)];
    fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{}\n", request.id, outcome->response_s,
                   outcome->queue_s, outcome->ttft_s, outcome->tbt_s, outcome->second_token_s,
                   request.prompt_tokens, request.output_tokens);
  }
  return out;
}

}  // namespace baton::simulator
