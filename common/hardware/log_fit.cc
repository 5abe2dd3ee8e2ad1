#include "common/hardware/log_fit.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "common/base/check.h"

namespace baton::hardware {
namespace {

using Errors = std::function<void(std::span<const double>, std::span<double>)>;

constexpr int kSteps = 100;           // a fit of a dozen parameters takes ten
constexpr double kDifference = 1e-5;  // of a logarithm
constexpr double kFinished = 1e-10;   // relative gain of a step
constexpr double kDampingMax = 1e12;

class Problem {
 public:
  Problem(std::span<const LogPrior> priors, std::size_t observations, const Errors& errors)
      : priors_(priors), observations_(observations), errors_(errors) {}

  std::size_t Rows() const { return observations_ + priors_.size(); }

  /// What observations and priors say against these logarithms.
  std::vector<double> At(const std::vector<double>& logs) const {
    std::vector<double> parameters(logs.size());
    std::transform(logs.begin(), logs.end(), parameters.begin(), [](double log) { return std::exp(log); });
    std::vector<double> rows(Rows());
    errors_(parameters, std::span(rows).first(observations_));
    for (std::size_t i = 0; i < logs.size(); ++i) {
      rows[observations_ + i] = (logs[i] - std::log(priors_[i].value)) / priors_[i].sigma;
    }
    return rows;
  }

 private:
  std::span<const LogPrior> priors_;
  std::size_t observations_;
  const Errors& errors_;
};

double SumOfSquares(const std::vector<double>& rows) {
  double sum = 0;
  for (const double row : rows) sum += row * row;
  return sum;
}

/// Solves `matrix` x = `right` for a symmetric positive matrix by Gauss; nothing where it is none.
std::optional<std::vector<double>> Solve(std::vector<double> matrix, std::vector<double> right) {
  const std::size_t n = right.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (!(matrix[i * n + i] > 0)) return std::nullopt;
    for (std::size_t row = i + 1; row < n; ++row) {
      const double factor = matrix[row * n + i] / matrix[i * n + i];
      for (std::size_t k = i; k < n; ++k) matrix[row * n + k] -= factor * matrix[i * n + k];
      right[row] -= factor * right[i];
    }
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) right[i] -= matrix[i * n + k] * right[k];
    right[i] /= matrix[i * n + i];
  }
  return right;
}

/// The normal equations at `logs`: J^T J and -J^T r.
struct Normal {
  std::vector<double> matrix;
  std::vector<double> right;
};
Normal Linearize(const Problem& problem, const std::vector<double>& logs, const std::vector<double>& rows) {
  const std::size_t n = logs.size();
  std::vector<std::vector<double>> columns;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> moved = logs;
    moved[i] += kDifference;
    std::vector<double> column = problem.At(moved);
    for (std::size_t k = 0; k < column.size(); ++k) column[k] = (column[k] - rows[k]) / kDifference;
    columns.push_back(std::move(column));
  }
  Normal normal{.matrix = std::vector<double>(n * n), .right = std::vector<double>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < rows.size(); ++k) normal.right[i] -= columns[i][k] * rows[k];
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t k = 0; k < rows.size(); ++k) normal.matrix[i * n + j] += columns[i][k] * columns[j][k];
    }
  }
  return normal;
}

}  // namespace

std::vector<double> FitPositive(std::span<const LogPrior> priors, std::size_t observations,
                                const Errors& errors) {
  std::vector<double> logs;
  for (const LogPrior& prior : priors) {
    BATON_CHECK(prior.value > 0 && prior.sigma > 0, "prior {} +- {}", prior.value, prior.sigma);
    logs.push_back(std::log(prior.value));
  }
  const Problem problem(priors, observations, errors);
  std::vector<double> rows = problem.At(logs);
  double cost = SumOfSquares(rows);
  double damping = 1e-3;
  for (int step = 0; step < kSteps && damping < kDampingMax; ++step) {
    const Normal normal = Linearize(problem, logs, rows);
    std::vector<double> matrix = normal.matrix;
    for (std::size_t i = 0; i < logs.size(); ++i) matrix[i * logs.size() + i] *= 1 + damping;
    const std::optional<std::vector<double>> move = Solve(std::move(matrix), normal.right);
    if (!move) break;
    std::vector<double> next = logs;
    for (std::size_t i = 0; i < logs.size(); ++i) next[i] += std::clamp((*move)[i], -1.0, 1.0);
    std::vector<double> next_rows = problem.At(next);
    const double next_cost = SumOfSquares(next_rows);
    if (!(next_cost < cost)) {
      damping *= 10;
      continue;
    }
    const bool finished = cost - next_cost < kFinished * cost;
    logs = std::move(next);
    rows = std::move(next_rows);
    cost = next_cost;
    damping = std::max(damping / 10, 1e-9);
    if (finished) break;
  }
  for (double& log : logs) log = std::exp(log);
  return logs;
}

}  // namespace baton::hardware
