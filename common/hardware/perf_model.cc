#include "common/hardware/perf_model.h"

#include <utility>

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

absl::StatusOr<std::unique_ptr<PerfModel>> FromTable(const Catalogue& catalogue, const ModelShape& model,
                                                     const Machine& machine, int degree, PerfKind kind) {
  const TimeTable* table = catalogue.FindTable(model.name, machine.name, degree);
  if (table == nullptr) {
    return Error(kNotFound, "the catalogue has no table of times for {} on {} with tensor_parallel {}",
                 model.name, machine.name, degree);
  }
  return kind == PerfKind::kReference ? MakeReferenceModel(*table) : MakeTableModel(*table);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PerfModel>> MakePerfModel(const Catalogue& catalogue,
                                                         const PerfConfiguration& configuration,
                                                         PerfKind kind) {
  BATON_ASSIGN_OR_RETURN(const ModelShape* model, catalogue.FindModel(configuration.model));
  BATON_ASSIGN_OR_RETURN(const Machine* machine, catalogue.FindMachine(configuration.machine));
  BATON_ASSIGN_OR_RETURN(const Device* device, catalogue.FindDevice(machine->device));
  const int degree = configuration.tensor_parallel > 0 ? configuration.tensor_parallel : machine->devices;
  if (degree > machine->devices) {
    return Error(kInvalidArgument, "machine {} has {} devices, not {} for tensor_parallel", machine->name,
                 machine->devices, degree);
  }
  if (kind == PerfKind::kReference || kind == PerfKind::kTable) {
    return FromTable(catalogue, *model, *machine, degree, kind);
  }
  const Calibration* calibration =
      kind == PerfKind::kBest ? catalogue.FindCalibration(model->name, device->name, degree) : nullptr;
  std::unique_ptr<PerfModel> made = calibration != nullptr
                                        ? MakeCalibratedModel(*calibration, *model, *device)
                                        : MakeRooflineModel(*model, *device, degree);
  const double cap_w = configuration.gpu_cap_w > 0 ? configuration.gpu_cap_w : machine->gpu_cap_w;
  if (cap_w > 0) made = std::make_unique<CappedModel>(std::move(made), *device, cap_w);
  return made;
}

}  // namespace baton::hardware
