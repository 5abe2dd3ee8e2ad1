#include "perf/report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "common/json/value.h"

namespace baton::perf {
namespace {

std::string ErrorName(const Answer& answer) {
  if (!answer.error_code.empty()) return answer.error_code;
  if (!answer.framing_error.empty()) return "framing";
  if (answer.hung_up) return "timeout";
  if (!answer.transport_error.empty()) return "connection";
  return fmt::format("status_{}", answer.status);
}

std::string Row(const char* name, const Quantiles& times) {
  return fmt::format("{:<28}{:>10.2f}{:>10.2f}{:>10.2f}\n", name, times.p50, times.p90, times.p99);
}

json::Value AsValue(const Quantiles& times) {
  return json::Object{{"p50", times.p50},
                      {"p90", times.p90},
                      {"p99", times.p99},
                      {"count", static_cast<std::int64_t>(times.count)}};
}

double Rate(std::int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

Quantiles QuantilesOf(std::vector<double> milliseconds) {
  if (milliseconds.empty()) return {};
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto at = [&](double quantile) {
    const double rank = std::ceil(quantile * static_cast<double>(milliseconds.size()));
    return milliseconds[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  };
  return {.p50 = at(0.50), .p90 = at(0.90), .p99 = at(0.99), .count = milliseconds.size()};
}

Report Summarize(const LoadResult& result) {
  Report report;
  report.requests = static_cast<std::int64_t>(result.answers.size());
  report.seconds = Seconds(result.wall);
  std::vector<double> first;
  std::vector<double> between;
  std::vector<double> whole;
  for (const Answer& answer : result.answers) {
    if (!answer.Complete()) {
      ++report.errors[ErrorName(answer)];
      continue;
    }
    ++report.complete;
    whole.push_back(Milliseconds(answer.ended - answer.begun));
    if (answer.usage) {
      report.prompt_tokens += answer.usage->prompt_tokens;
      report.output_tokens += answer.usage->completion_tokens;
    }
    if (answer.text_at.empty()) continue;
    first.push_back(Milliseconds(answer.text_at.front() - answer.begun));
    for (std::size_t i = 1; i < answer.text_at.size(); ++i) {
      between.push_back(Milliseconds(answer.text_at[i] - answer.text_at[i - 1]));
    }
  }
  report.time_to_first_token = QuantilesOf(std::move(first));
  report.time_between_tokens = QuantilesOf(std::move(between));
  report.end_to_end = QuantilesOf(std::move(whole));
  return report;
}

std::string AsTable(const Report& report, const LoadOptions& options) {
  const std::string load = options.rate > 0 ? fmt::format("open loop, {:.3g} requests/s", options.rate)
                                            : fmt::format("closed loop, {} at a time", options.concurrency);
  std::string text = fmt::format("{} requests ({}), seed {}: {} complete in {:.2f} s\n", report.requests,
                                 load, options.seed, report.complete, report.seconds);
  text += fmt::format("{:<28}{:>10}{:>10}{:>10}\n", "milliseconds", "p50", "p90", "p99");
  text += Row("time to first token", report.time_to_first_token);
  text += Row("time between tokens", report.time_between_tokens);
  text += Row("end to end", report.end_to_end);
  text += fmt::format("{:<28}{:>10.1f}  ({} prompt tokens)\n", "prompt tokens/s",
                      Rate(report.prompt_tokens, report.seconds), report.prompt_tokens);
  text += fmt::format("{:<28}{:>10.1f}  ({} output tokens)\n", "output tokens/s",
                      Rate(report.output_tokens, report.seconds), report.output_tokens);
  for (const auto& [name, count] : report.errors) text += fmt::format("error {:<22}{:>10}\n", name, count);
  return text;
}

std::string AsJson(const Report& report, const LoadOptions& options) {
  json::Object errors;
  for (const auto& [name, count] : report.errors) errors.emplace_back(name, count);
  const json::Value object = json::Object{
      {"schema_version", 1},
      {"seed", std::to_string(options.seed)},
      {"requests", report.requests},
      {"concurrency", options.rate > 0 ? json::Value() : json::Value(options.concurrency)},
      {"rate_per_second", options.rate > 0 ? json::Value(options.rate) : json::Value()},
      {"complete", report.complete},
      {"errors", std::move(errors)},
      {"seconds", report.seconds},
      {"prompt_tokens", report.prompt_tokens},
      {"output_tokens", report.output_tokens},
      {"prompt_tokens_per_second", Rate(report.prompt_tokens, report.seconds)},
      {"output_tokens_per_second", Rate(report.output_tokens, report.seconds)},
      {"time_to_first_token_ms", AsValue(report.time_to_first_token)},
      {"time_between_tokens_ms", AsValue(report.time_between_tokens)},
      {"end_to_end_ms", AsValue(report.end_to_end)},
  };
  return json::Serialize(object) + "\n";
}

}  // namespace baton::perf
