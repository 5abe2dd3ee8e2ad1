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
  return compute == ComputeClass::kF32 ? "f32" : "bf16";
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

}  // namespace baton::kernels
