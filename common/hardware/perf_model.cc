#include "common/hardware/perf_model.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/hardware/calibrated_model.h"
#include "common/hardware/power.h"
#include "common/hardware/roofline.h"
#include "common/hardware/table_model.h"

namespace baton::hardware {
namespace {

class CappedModel final : public PerfModel {
 public:
  CappedModel(std::unique_ptr<PerfModel> inner, const Device& device, double cap_w)
      : inner_(std::move(inner)), device_(device), cap_w_(cap_w) {}

  StepTime Time(const StepWork& work) const override { return UnderCap(device_, inner_->Time(work), cap_w_); }

 private:
  const std::unique_ptr<PerfModel> inner_;
  const Device device_;
  const double cap_w_;
};

/// A table knows times alone; what they mean for memory and arithmetic, hence power, follows from the shapes.
class WithShares final : public PerfModel {
 public:
  WithShares(std::unique_ptr<PerfModel> inner, const ModelShape& model, const Device& device, int degree)
      : inner_(std::move(inner)), model_(model), device_(device), degree_(degree) {}

  StepTime Time(const StepWork& work) const override {
    StepTime time = inner_->Time(work);
    if (time.seconds <= 0) return time;
    const StepCost cost = CostOf(model_, degree_, work);
    time.bandwidth_share = std::min(1.0, cost.Bytes() / (time.seconds * device_.bandwidth));
    time.flops_share = std::min(1.0, cost.Flops() / (time.seconds * device_.bf16_flops));
    return time;
  }

 private:
  const std::unique_ptr<PerfModel> inner_;
  const ModelShape model_;
  const Device device_;
  const int degree_;
};

/// What a configuration names, found.
struct Found {
  const ModelShape* model = nullptr;
  const Machine* machine = nullptr;
  const Device* device = nullptr;
  int degree = 0;
  const Calibration* calibration = nullptr;  // kBest, where there is one
  const TimeTable* table = nullptr;          // kTable and kReference
};

absl::StatusOr<Found> Find(const Catalogue& catalogue, const PerfConfiguration& configuration,
                           PerfKind kind) {
  Found found;
  BATON_ASSIGN_OR_RETURN(found.model, catalogue.FindModel(configuration.model));
  BATON_ASSIGN_OR_RETURN(found.machine, catalogue.FindMachine(configuration.machine));
  BATON_ASSIGN_OR_RETURN(found.device, catalogue.FindDevice(found.machine->device));
  const Machine& machine = *found.machine;
  found.degree = configuration.tensor_parallel > 0 ? configuration.tensor_parallel : machine.devices;
  if (found.degree > machine.devices) {
    return Error(kInvalidArgument, "machine {} has {} devices, not {} for tensor_parallel", machine.name,
                 machine.devices, found.degree);
  }
  const double cap_w = configuration.gpu_cap_w > 0 ? configuration.gpu_cap_w : machine.gpu_cap_w;
  if (cap_w > 0 && cap_w <= found.device->idle_w) {
    return Error(kInvalidArgument, "machine {}: a cap of {} W a GPU is not above the {} W that {} draws idle",
                 machine.name, cap_w, found.device->idle_w, found.device->name);
  }
  if (kind == PerfKind::kReference || kind == PerfKind::kTable) {
    if (configuration.gpu_cap_w > 0) {
      return Error(kInvalidArgument,
                   "machine {}: a table of times knows no other power cap than the machine's own",
                   machine.name);
    }
    found.table = catalogue.FindTable(found.model->name, machine.name, found.degree);
    if (found.table == nullptr) {
      return Error(kNotFound, "the catalogue has no table of times for {} on {} with tensor_parallel {}",
                   found.model->name, machine.name, found.degree);
    }
    BATON_RETURN_IF_ERROR(CheckTable(*found.table));
  }
  if (kind == PerfKind::kBest) {
    found.calibration = catalogue.FindCalibration(found.model->name, found.device->name, found.degree);
  }
  return found;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PerfModel>> MakePerfModel(const Catalogue& catalogue,
                                                         const PerfConfiguration& configuration,
                                                         PerfKind kind) {
  BATON_ASSIGN_OR_RETURN(const Found found, Find(catalogue, configuration, kind));
  if (kind == PerfKind::kReference) return MakeReferenceModel(*found.table);
  if (kind == PerfKind::kTable) {
    return std::make_unique<WithShares>(MakeTableModel(*found.table), *found.model, *found.device,
                                        found.degree);
  }
  std::unique_ptr<PerfModel> made = found.calibration != nullptr
                                        ? MakeCalibratedModel(*found.calibration, *found.model, *found.device)
                                        : MakeRooflineModel(*found.model, *found.device, found.degree);
  const double cap_w = configuration.gpu_cap_w > 0 ? configuration.gpu_cap_w : found.machine->gpu_cap_w;
  if (cap_w > 0) made = std::make_unique<CappedModel>(std::move(made), *found.device, cap_w);
  return made;
}

absl::StatusOr<TimesBasis> BasisOf(const Catalogue& catalogue, const PerfConfiguration& configuration) {
  BATON_ASSIGN_OR_RETURN(const Found found, Find(catalogue, configuration, PerfKind::kBest));
  if (found.calibration == nullptr) return TimesBasis{};
  return TimesBasis{.kind = TimesBasis::Kind::kMeasured, .engine = found.calibration->engine};
}

std::string Describe(const TimesBasis& basis) {
  if (basis.kind == TimesBasis::Kind::kRoofline) return "roofline";
  return basis.engine.empty() ? "measured" : fmt::format("measured ({})", basis.engine);
}

}  // namespace baton::hardware
