#include "perf/metrics_text.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "common/base/error.h"

namespace baton::perf {
namespace {

/// Reads `name="value",...}` from `text` on; the position after the brace, or nothing.
std::optional<std::size_t> ReadLabels(std::string_view text, std::size_t at, Labels& labels) {
  while (at < text.size() && text[at] != '}') {
    const std::size_t equals = text.find("=\"", at);
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string name(text.substr(at, equals - at));
    std::string value;
    at = equals + 2;
    for (; at < text.size() && text[at] != '"'; ++at) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
      value += text[at];
    }
    if (at >= text.size()) return std::nullopt;
    labels.emplace_back(name, value);
    ++at;
    if (at < text.size() && text[at] == ',') ++at;
  }
  if (at >= text.size()) return std::nullopt;
  return at + 1;
}

std::optional<MetricsText::Sample> ReadSample(std::string_view line) {
  MetricsText::Sample sample;
  std::size_t at = line.find_first_of("{ ");
  if (at == std::string_view::npos || at == 0) return std::nullopt;
  sample.name = std::string(line.substr(0, at));
  if (line[at] == '{') {
    const auto end = ReadLabels(line, at + 1, sample.labels);
    if (!end) return std::nullopt;
    at = *end;
  }
  const std::string value(line.substr(at));
  char* end = nullptr;
  sample.value = std::strtod(value.c_str(), &end);
  if (end == value.c_str()) return std::nullopt;
  return sample;
}

bool Matches(const MetricsText::Sample& sample, std::string_view name, const Labels& labels) {
  return sample.name == name && std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
           return std::find(sample.labels.begin(), sample.labels.end(), label) != sample.labels.end();
         });
}

}  // namespace

absl::StatusOr<MetricsText> MetricsText::Parse(std::string_view text) {
  MetricsText result;
  int line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    auto sample = ReadSample(line);
    if (!sample) return Error(kInvalidArgument, "metrics line {}: no sample: '{}'", line_number, line);
    result.samples_.push_back(*std::move(sample));
  }
  return result;
}

double MetricsText::Sum(std::string_view name, const Labels& labels) const {
  double sum = 0;
  for (const Sample& sample : samples_) {
    if (Matches(sample, name, labels)) sum += sample.value;
  }
  return sum;
}

bool MetricsText::Has(std::string_view name, const Labels& labels) const {
  return std::any_of(samples_.begin(), samples_.end(),
                     [&](const Sample& sample) { return Matches(sample, name, labels); });
}

}  // namespace baton::perf
