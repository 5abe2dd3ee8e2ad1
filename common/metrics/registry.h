#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Counters, gauges and histograms over prometheus-cpp, which stays out of this header. Names have the prefix
/// `baton_`, base units and, on counters, `_total`. Handles are cheap to copy, live as long as the registry,
/// and are thread-safe.
namespace baton::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  Counter() = default;
  void Increment(double by = 1) const;
  [[nodiscard]] double Value() const;

 private:
  friend class Registry;
  void* impl_ = nullptr;
};

class Gauge {
 public:
  Gauge() = default;
  void Set(double value) const;
  void Add(double by) const;
  [[nodiscard]] double Value() const;

 private:
  friend class Registry;
  void* impl_ = nullptr;
};

class Histogram {
 public:
  Histogram() = default;
  void Observe(double value) const;

 private:
  friend class Registry;
  void* impl_ = nullptr;
};

/// Latency buckets in seconds, 1 ms to 60 s.
[[nodiscard]] std::vector<double> LatencyBuckets();

/// All metrics of a process. Adding a metric twice with equal name and labels gives the same handle.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  [[nodiscard]] Counter AddCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  [[nodiscard]] Gauge AddGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  [[nodiscard]] Histogram AddHistogram(std::string_view name, std::string_view help, const Labels& labels,
                                       const std::vector<double>& buckets);
  /// Prometheus text format 0.0.4, process_* (from /proc) and baton_build_info included.
  [[nodiscard]] std::string Text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::metrics
