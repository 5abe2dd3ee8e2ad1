#include "common/metrics/registry.h"

#include <algorithm>
#include <map>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "common/base/check.h"
#include "common/base/mutex.h"
#include "common/metrics/process.h"

namespace baton::metrics {
namespace {

enum class Kind { kCounter, kGauge, kHistogram };

std::map<std::string, std::string> Map(const Labels& labels) {
  return {labels.begin(), labels.end()};
}

prometheus::MetricFamily Single(const char* name, const char* help, prometheus::MetricType type,
                                double value) {
  prometheus::MetricFamily family{.name = name, .help = help, .type = type, .metric = {}};
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.counter.value = value;
  metric.gauge.value = value;
  return family;
}

void AddProcess(std::vector<prometheus::MetricFamily>& families) {
  const std::optional<ProcessUsage> usage = ReadProcessUsage();
  if (!usage) return;
  using prometheus::MetricType;
  families.push_back(Single("process_cpu_seconds_total", "User and system CPU time.", MetricType::Counter,
                            usage->cpu_seconds));
  families.push_back(Single("process_open_fds", "Open file descriptors.", MetricType::Gauge,
                            static_cast<double>(usage->open_descriptors)));
  families.push_back(Single("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
                            static_cast<double>(usage->resident_bytes)));
  families.push_back(Single("process_start_time_seconds", "Start of the process, seconds since 1970.",
                            MetricType::Gauge, usage->start_time_seconds));
}

bool LabelsBefore(const prometheus::ClientMetric& a, const prometheus::ClientMetric& b) {
  const auto before = [](const prometheus::ClientMetric::Label& x, const prometheus::ClientMetric::Label& y) {
    return std::tie(x.name, x.value) < std::tie(y.name, y.value);
  };
  return std::lexicographical_compare(a.label.begin(), a.label.end(), b.label.begin(), b.label.end(), before);
}

}  // namespace

struct Registry::State {
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  Mutex mutex;
  std::map<std::string, Kind, std::less<>> kinds;  // guarded by mutex

  /// The library throws where a name changes its type; that is a mistake in the code.
  void Claim(std::string_view name, Kind kind) {
    const MutexLock lock(mutex);
    const auto [found, added] = kinds.emplace(name, kind);
    BATON_CHECK(added || found->second == kind, "metric {} is already there with another type", name);
  }
};

void Counter::Increment(double by) const {
  if (impl_ != nullptr) static_cast<prometheus::Counter*>(impl_)->Increment(by);
}

double Counter::Value() const {
  return impl_ == nullptr ? 0 : static_cast<prometheus::Counter*>(impl_)->Value();
}

void Gauge::Set(double value) const {
  if (impl_ != nullptr) static_cast<prometheus::Gauge*>(impl_)->Set(value);
}

void Gauge::Add(double by) const {
  if (impl_ != nullptr) static_cast<prometheus::Gauge*>(impl_)->Increment(by);
}

double Gauge::Value() const {
  return impl_ == nullptr ? 0 : static_cast<prometheus::Gauge*>(impl_)->Value();
}

void Histogram::Observe(double value) const {
  if (impl_ != nullptr) static_cast<prometheus::Histogram*>(impl_)->Observe(value);
}

std::vector<double> LatencyBuckets() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

Registry::Registry() : state_(std::make_unique<State>()) {
  AddGauge("baton_build_info", "Always 1; the version is in the label.", {{"version", BATON_VERSION}}).Set(1);
}

Registry::~Registry() = default;

Counter Registry::AddCounter(std::string_view name, std::string_view help, const Labels& labels) {
  state_->Claim(name, Kind::kCounter);
  auto& family =
      prometheus::BuildCounter().Name(std::string(name)).Help(std::string(help)).Register(state_->registry);
  Counter counter;
  counter.impl_ = &family.Add(Map(labels));
  return counter;
}

Gauge Registry::AddGauge(std::string_view name, std::string_view help, const Labels& labels) {
  state_->Claim(name, Kind::kGauge);
  auto& family =
      prometheus::BuildGauge().Name(std::string(name)).Help(std::string(help)).Register(state_->registry);
  Gauge gauge;
  gauge.impl_ = &family.Add(Map(labels));
  return gauge;
}

Histogram Registry::AddHistogram(std::string_view name, std::string_view help, const Labels& labels,
                                 const std::vector<double>& buckets) {
  BATON_CHECK(std::is_sorted(buckets.begin(), buckets.end()), "buckets of {} are not in order", name);
  state_->Claim(name, Kind::kHistogram);
  auto& family =
      prometheus::BuildHistogram().Name(std::string(name)).Help(std::string(help)).Register(state_->registry);
  Histogram histogram;
  histogram.impl_ = &family.Add(Map(labels), buckets);
  return histogram;
}

std::string Registry::Text() const {
  std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
  AddProcess(families);
  // The library keeps hash maps; sorted text can be compared by people and tests.
  std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (prometheus::MetricFamily& family : families) {
    std::sort(family.metric.begin(), family.metric.end(), LabelsBefore);
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace baton::metrics
