#include "kernels/backend.h"

#include <utility>

namespace baton::kernels {

std::size_t SizeOf(DType dtype) {
  return dtype == DType::kF32 ? 4 : 2;
}

std::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
  }
  return "?";
}

std::string_view Name(ComputeClass compute) {
  switch (compute) {
    case ComputeClass::kF32:
      return "f32";
    case ComputeClass::kBF16:
      return "bf16";
    case ComputeClass::kInt8:
      return "int8";
  }
  return "?";
}

std::array<std::int32_t, kReductionSegments + 1> SegmentBounds(std::int64_t k) {
  const std::int64_t half = (k + 1) / 2;
  std::array<std::int32_t, kReductionSegments + 1> bounds{};
  for (int i = 0; i <= kReductionSegments; ++i) {
    bounds[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(2 * (half * i / kReductionSegments));
  }
  return bounds;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  if (release_ != nullptr) release_(region_);
  region_ = std::exchange(other.region_, {});
  release_ = std::exchange(other.release_, nullptr);
  return *this;
}

Buffer::~Buffer() {
  if (release_ != nullptr) release_(region_);
}

void Backend::AddRmsNorm(Rows x, Rows y, std::span<const float> weight, float epsilon, Rows out) {
  Add(x, y);
  RmsNorm(x, weight, epsilon, out);
}

}  // namespace baton::kernels
