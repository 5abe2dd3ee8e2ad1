#include "kernels/cuda/step_record.h"

#include <type_traits>

namespace baton::kernels::cuda {
namespace {

template <auto member>
struct Recorder;
template <typename... Arguments, void (*Launches::*member)(Queue, Arguments...)>
struct Recorder<member> {
  static void Record(Queue queue, Arguments... arguments) {
    static_cast<StepRecord*>(queue)->AddLaunch<member, std::remove_cvref_t<Arguments>...>(arguments...);
  }
};

template <auto... members>
Launches TableOf() {
  static_assert(sizeof...(members) * sizeof(void (*)()) == sizeof(Launches), "a kernel is missing");
  Launches table;
  ((table.*members = Recorder<members>::Record), ...);
  return table;
}

}  // namespace

const Launches& RecordingLaunches() {
  using L = Launches;
  static const Launches table =
      TableOf<&L::embed, &L::rms_norm, &L::rms_norm_heads, &L::rope, &L::swiglu, &L::add, &L::gate_rows,
              &L::gather_rows, &L::add_scaled_rows, &L::choose_experts, &L::write_kv, &L::rope_write_kv,
              &L::copy_rows, &L::sum_ranks, &L::highest, &L::draw, &L::pack_rows, &L::pack_rows_fp8,
              &L::scale, &L::matmul, &L::matmul_f32, &L::attend, &L::attend_f32, &L::combine, &L::stage>();
  return table;
}

}  // namespace baton::kernels::cuda
