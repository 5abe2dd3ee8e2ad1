#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/hardware/measured_points.h"

namespace baton::hardware {
namespace {

// Measured twice, times agree to a per cent; to nine digits only copies do.
constexpr double kSameRatio = 1e-9;
// Prompt and steps of a request that ran undisturbed are all of its time (0.98 to 1.0 in the paper's data);
// where they are less than half, it waited, or one of the times is not what it says. One that ends early has
// more.
constexpr double kExplainedMin = 0.5;

using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // prompt, batch, output
using Points = std::map<Shape, std::vector<BenchmarkRow>>;
using Configurations = std::map<ConfigurationKey, Points>;

/// Tokens that a request really got: many engines end an answer early.
double Generated(const BenchmarkRow& row) {
  const auto asked = static_cast<double>(row.output_tokens);
  if (row.total_ms <= 0) return asked;
  return std::clamp((row.total_ms - row.prompt_ms) / row.token_ms + 1, 1.0, asked);
}

bool Explained(const BenchmarkRow& row) {
  if (row.total_ms <= 0) return true;
  const double steps = static_cast<double>(row.output_tokens - 1);
  return row.prompt_ms + row.token_ms * steps >= kExplainedMin * row.total_ms;
}

/// Whether every row of `copy` has the token time of `original`'s and its prompt time times one factor.
bool IsCopy(const Points& copy, const Points& original, double& factor) {
  if (copy.size() != original.size()) return false;
  factor = 0;
  for (auto a = copy.begin(), b = original.begin(); a != copy.end(); ++a, ++b) {
    if (a->first != b->first || a->second.size() != b->second.size()) return false;
    for (std::size_t i = 0; i < a->second.size(); ++i) {
      const BenchmarkRow& mine = a->second[i];
      const BenchmarkRow& theirs = b->second[i];
      if (mine.token_ms != theirs.token_ms) return false;
      const double ratio = mine.prompt_ms / theirs.prompt_ms;
      if (factor == 0) factor = ratio;
      if (std::abs(ratio / factor - 1) > kSameRatio) return false;
    }
  }
  return factor > 0;
}

ExcludedPoint Excluded(const ConfigurationKey& key, const Shape& shape, std::size_t rows,
                       std::string reason) {
  return {.model = std::get<0>(key),
          .device = std::get<1>(key),
          .tensor_parallel = std::get<2>(key),
          .prompt_tokens = std::get<0>(shape),
          .batch = std::get<1>(shape),
          .output_tokens = std::get<2>(shape),
          .rows = static_cast<std::int64_t>(rows),
          .reason = std::move(reason)};
}

/// Why a configuration is not measured but made from another one; empty where it is measured. Of two equal
/// ones that is the copy whose device the catalogue lacks, else the later one: `first` has the first row of
/// each.
std::string WhyCopy(const Configurations& all, const std::map<ConfigurationKey, std::size_t>& first,
                    const ConfigurationKey& key, const Catalogue& catalogue) {
  const Points& points = all.at(key);
  const bool known = catalogue.FindDevice(std::get<1>(key)).ok();
  for (const auto& [other, others] : all) {
    if (other == key || std::get<0>(other) != std::get<0>(key) || std::get<2>(other) != std::get<2>(key))
      continue;
    const bool other_known = catalogue.FindDevice(std::get<1>(other)).ok();
    const bool later = first.at(key) > first.at(other);
    double factor = 0;
    if ((known == other_known ? later : !known) && IsCopy(points, others, factor)) {
      return fmt::format("synthetic: prompt times are exactly {:.6g} times those of {}, token times equal",
                         factor, std::get<1>(other));
    }
  }
  return "";
}

MeasuredPoint MakePoint(const Shape& shape, const std::vector<BenchmarkRow>& rows) {
  const auto& [prompt_tokens, batch, output_tokens] = shape;
  MeasuredPoint point{.decodes = batch, .shape = {0, prompt_tokens, batch}};
  std::vector<double> generated;
  for (const BenchmarkRow& row : rows) {
    point.prompt_times.push_back(row.prompt_ms / 1000);
    point.token_times.push_back(row.token_ms / 1000);
    generated.push_back(Generated(row));
  }
  point.prompt_s = Median(point.prompt_times);
  point.token_s = Median(point.token_times);
  point.context = static_cast<double>(prompt_tokens) + Median(generated) / 2;
  point.prompts.assign(static_cast<std::size_t>(batch), PromptPiece{.tokens = prompt_tokens});
  return point;
}

absl::StatusOr<MeasuredConfiguration> MakeConfiguration(const ConfigurationKey& key, const Points& points,
                                                        const Catalogue& catalogue, GroupedPoints& grouped) {
  BATON_ASSIGN_OR_RETURN(MeasuredConfiguration made,
                         ConfigurationOf(key, Where(points.begin()->second.front()), catalogue));
  for (const auto& [shape, rows] : points) {
    std::vector<BenchmarkRow> good;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(good), Explained);
    if (good.size() < rows.size()) {
      const BenchmarkRow& bad = *std::find_if_not(rows.begin(), rows.end(), Explained);
      grouped.excluded.push_back(
          Excluded(key, shape, rows.size() - good.size(),
                   fmt::format("corrupt: a prompt of {:.0f} ms and {} steps of {:.1f} ms are no {:.0f} ms",
                               bad.prompt_ms, bad.output_tokens - 1, bad.token_ms, bad.total_ms)));
    }
    if (!good.empty()) made.points.push_back(MakePoint(shape, good));
  }
  return made;
}

}  // namespace

absl::StatusOr<GroupedPoints> GroupRows(std::span<const BenchmarkRow> rows, const Catalogue& catalogue) {
  Configurations all;
  std::map<ConfigurationKey, std::size_t> first;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BenchmarkRow& row = rows[i];
    const ConfigurationKey key{row.model, row.device, row.tensor_parallel};
    first.try_emplace(key, i);
    all[key][{row.prompt_tokens, row.batch, row.output_tokens}].push_back(row);
  }
  GroupedPoints grouped;
  for (const auto& [key, points] : all) {
    if (const std::string reason = WhyCopy(all, first, key, catalogue); !reason.empty()) {
      for (const auto& [shape, copied] : points) {
        grouped.excluded.push_back(Excluded(key, shape, copied.size(), reason));
      }
      continue;
    }
    BATON_ASSIGN_OR_RETURN(MeasuredConfiguration made, MakeConfiguration(key, points, catalogue, grouped));
    grouped.configurations.push_back(std::move(made));
  }
  return grouped;
}

}  // namespace baton::hardware
