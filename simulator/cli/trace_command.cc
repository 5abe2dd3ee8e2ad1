#include <cmath>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "simulator/cli/command.h"
#include "simulator/report/table.h"
#include "simulator/trace/synthesis.h"
#include "simulator/trace/trace_file.h"
#include "simulator/trace/trace_stats.h"

namespace baton::simulator::cli {
namespace {

const std::vector<std::string> kFormats{"reference", "azure", "csv", "jsonl"};

std::vector<std::string> LengthRow(const char* name, const LengthStats& stats) {
  return {name,
          fmt::format("{}", stats.least),
          fmt::format("{:.1f}", stats.mean),
          fmt::format("{:.0f}", stats.p50),
          fmt::format("{:.1f}", stats.p90),
          fmt::format("{:.1f}", stats.p99),
          fmt::format("{}", stats.most)};
}

Table ArrivalTable(const TraceStats& stats) {
  return {.header = {"figure", "value"},
          .rows = {{"requests", fmt::format("{}", stats.requests)},
                   {"span_s", fmt::format("{:.1f}", stats.span_s)},
                   {"rate_rps", fmt::format("{:.3g}", stats.rate)},
                   {"gap_cv", fmt::format("{:.2f}", stats.gap_cv)},
                   {"gap_longest_s", fmt::format("{:.1f}", stats.gap_longest_s)},
                   {"second_most", fmt::format("{}", stats.second_most)},
                   {"dispersion_60s", fmt::format("{:.1f}", stats.dispersion_60s)},
                   {"pearson", fmt::format("{:.3f}", stats.pearson)},
                   {"spearman", fmt::format("{:.3f}", stats.spearman)},
                   {"prompts_above_2048", fmt::format("{:.3f}", stats.long_prompt_share)},
                   {"prefix_share", fmt::format("{:.3f}", stats.prefix_share)}}};
}

int Stats(const std::string& path, const std::string& output) {
  const auto workload = ReadTrace(path);
  if (!workload.ok()) return Fail(workload.status());
  const TraceStats stats = StatsOf(*workload);
  const Table lengths{.header = {"tokens", "min", "mean", "p50", "p90", "p99", "max"},
                      .rows = {LengthRow("prompt", stats.prompt), LengthRow("output", stats.output)}};
  const Table arrivals = ArrivalTable(stats);
  if (output != "table") {
    Table all = arrivals;
    for (const auto& row : lengths.rows) {
      for (std::size_t i = 1; i < row.size(); ++i)
        all.rows.push_back({row[0] + "_" + lengths.header[i], row[i]});
    }
    fmt::print("{}", Render(all, output));
    return kOk;
  }
  std::vector<double> prompts;
  std::vector<double> outputs;
  for (const WorkloadRequest& request : workload->requests) {
    prompts.push_back(static_cast<double>(request.prompt_tokens));
    outputs.push_back(static_cast<double>(request.output_tokens));
  }
  fmt::print("{}\n{}\n{}\nprompt tokens\n{}\noutput tokens\n{}", path, lengths.AsText(), arrivals.AsText(),
             Histogram(prompts), Histogram(outputs));
  return kOk;
}

struct ConvertOptions {
  std::vector<std::string> inputs;
  std::string format = "csv";
  std::string output = "-";
  double scale = 1;
  double from_s = 0;
  double to_s = INFINITY;
};

int Convert(const ConvertOptions& options) {
  const auto format = TraceFormatOf(options.format);
  if (!format.ok()) return Fail(format.status());
  std::vector<Workload> workloads;
  for (const std::string& path : options.inputs) {
    auto workload = ReadTrace(path);
    if (!workload.ok()) return Fail(workload.status());
    workloads.push_back(*std::move(workload));
  }
  Workload merged = workloads.size() == 1 ? std::move(workloads[0]) : Merged(workloads);
  if (options.from_s > 0 || std::isfinite(options.to_s))
    merged = Trimmed(merged, options.from_s, options.to_s);
  if (options.scale != 1) merged = Scaled(merged, options.scale);
  if (merged.requests.empty()) {
    return Fail(
        Error(kInvalidArgument, "no request arrives between {} and {} s", options.from_s, options.to_s));
  }
  const absl::Status written = WriteText(options.output, FormatTrace(merged, *format));
  return written.ok() ? kOk : Fail(written);
}

struct SynthOptions {
  ArrivalOptions arrivals;
  LengthOptions lengths;
  std::string process = "poisson";
  std::string sample;
  std::uint64_t seed = 0;
  std::string format = "csv";
  std::string output = "-";
};

int Synth(SynthOptions options) {
  const auto format = TraceFormatOf(options.format);
  if (!format.ok()) return Fail(format.status());
  options.arrivals.process = options.process == "gamma"  ? ArrivalProcess::kGamma
                             : options.process == "mmpp" ? ArrivalProcess::kMmpp
                                                         : ArrivalProcess::kPoisson;
  if (!options.sample.empty()) {
    auto sample = ReadTrace(options.sample);
    if (!sample.ok()) return Fail(sample.status());
    options.lengths.sample = std::move(sample->requests);
  }
  const auto workload = Synthesize(options.arrivals, options.lengths, options.seed);
  if (!workload.ok()) return Fail(workload.status());
  const absl::Status written = WriteText(options.output, FormatTrace(*workload, *format));
  return written.ok() ? kOk : Fail(written);
}

void AddStats(CLI::App& trace, int& exit_code) {
  auto* app = trace.add_subcommand("stats", "The figures of a trace: lengths, burstiness, correlation");
  auto path = std::make_shared<std::string>();
  auto output = std::make_shared<std::string>("table");
  app->add_option("FILE", *path, "A trace in any known format")->required();
  app->add_option("--output", *output, "table, json or csv")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  app->footer("Example: baton-sim trace stats AzureLLMInferenceTrace_conv.csv");
  RunsAs(*app, exit_code, [=] { return Stats(*path, *output); });
}

void AddConvert(CLI::App& trace, int& exit_code) {
  auto* app = trace.add_subcommand("convert", "Another format; merged, trimmed and scaled on the way");
  auto options = std::make_shared<ConvertOptions>();
  app->add_option("FILES", options->inputs, "One trace or several, which are merged")->required();
  app->add_option("--to", options->format, "reference, azure, csv or jsonl")
      ->check(CLI::IsMember(kFormats))
      ->capture_default_str();
  app->add_option("--out", options->output, "File; - is the standard output")->capture_default_str();
  app->add_option("--from", options->from_s, "Seconds: leave out what arrives earlier")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--until", options->to_s, "Seconds: leave out what arrives later")
      ->check(CLI::PositiveNumber);
  app->add_option("--speed", options->scale, "Arrivals so many times as fast")->check(CLI::PositiveNumber);
  app->footer(
      "Example: baton-sim trace convert conv.csv code.csv --speed 2 --until 600 --to jsonl --out both.jsonl");
  RunsAs(*app, exit_code, [=] { return Convert(*options); });
}

void AddSynth(CLI::App& trace, int& exit_code) {
  auto* app = trace.add_subcommand(
      "synth", "A made load: arrivals from a process, lengths from a trace or log-normal");
  auto options = std::make_shared<SynthOptions>();
  app->add_option("--rate", options->arrivals.rate, "Requests a second, on average")->required();
  app->add_option("--duration", options->arrivals.duration_s, "Seconds")->capture_default_str();
  app->add_option("--arrivals", options->process, "poisson, gamma or mmpp (calm and bursts)")
      ->check(CLI::IsMember({"poisson", "gamma", "mmpp"}))
      ->capture_default_str();
  app->add_option("--cv", options->arrivals.cv, "gamma: variation of the gaps; 1 is Poisson")
      ->capture_default_str();
  app->add_option("--burst-ratio", options->arrivals.burst_ratio, "mmpp: rate of a burst over the calm rate")
      ->capture_default_str();
  app->add_option("--burst-share", options->arrivals.burst_share, "mmpp: of the time")->capture_default_str();
  app->add_option("--burst-s", options->arrivals.burst_s, "mmpp: mean length of a burst")
      ->capture_default_str();
  app->add_option("--lengths", options->sample, "Trace whose lengths are drawn; default: log-normal");
  app->add_flag("--paired", options->lengths.paired,
                "Draw prompt and output together, not apart as the paper does");
  app->add_option("--prompt-median", options->lengths.prompt_median, "log-normal")->capture_default_str();
  app->add_option("--prompt-sigma", options->lengths.prompt_sigma, "log-normal")
      ->check(CLI::Range(0.0, 5.0))
      ->capture_default_str();
  app->add_option("--output-median", options->lengths.output_median, "log-normal")->capture_default_str();
  app->add_option("--output-sigma", options->lengths.output_sigma, "log-normal")
      ->check(CLI::Range(0.0, 5.0))
      ->capture_default_str();
  app->add_option("--seed", options->seed, "Decides everything")->capture_default_str();
  app->add_option("--to", options->format, "reference, azure, csv or jsonl")
      ->check(CLI::IsMember(kFormats))
      ->capture_default_str();
  app->add_option("--out", options->output, "File; - is the standard output")->capture_default_str();
  app->footer(
      "Example: baton-sim trace synth --rate 70 --duration 120 --lengths AzureLLMInferenceTrace_conv.csv "
      "--out conv70.csv");
  RunsAs(*app, exit_code, [=] { return Synth(*options); });
}

}  // namespace

void AddTrace(CLI::App& app, int& exit_code) {
  auto* trace = app.add_subcommand("trace", "Describe, convert and make loads");
  trace->require_subcommand(1);
  trace->footer(
      "Formats in: the reference simulator's CSV, the Azure public dataset's CSV, our CSV and JSON lines.");
  AddStats(*trace, exit_code);
  AddConvert(*trace, exit_code);
  AddSynth(*trace, exit_code);
}

}  // namespace baton::simulator::cli
