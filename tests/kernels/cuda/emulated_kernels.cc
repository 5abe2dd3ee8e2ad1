// The kernels' own source, in the words of the host.
#include "kernels/cuda/launches.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/emulated_words.h"

namespace baton::kernels::cuda::emulated {
namespace {

#include "kernels/cuda/rows_inl.h"

#include "kernels/cuda/highest_inl.h"

#include "kernels/cuda/draw_inl.h"

#include "kernels/cuda/matmul_inl.h"

#include "kernels/cuda/attention_inl.h"

#include "kernels/cuda/launches_inl.h"

}  // namespace

const Launches kEmulatedLaunches = kLaunches;

}  // namespace baton::kernels::cuda::emulated
