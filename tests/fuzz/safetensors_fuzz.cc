#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "common/base/check.h"
#include "engine/model/safetensors.h"

/// Any header over any amount of data (the first four bytes): what is accepted covers the data without
/// overlap or hole.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint32_t data_bytes = 0;
  if (size < sizeof data_bytes) return 0;
  std::memcpy(&data_bytes, data, sizeof data_bytes);
  const std::string_view header(reinterpret_cast<const char*>(data) + sizeof data_bytes,
                                size - sizeof data_bytes);
  const auto tensors = baton::engine::ParseSafetensorsHeader(header, data_bytes);
  if (!tensors.ok()) return 0;
  std::size_t covered = 0;
  for (const auto& tensor : *tensors) {
    BATON_CHECK(tensor.begin == covered && tensor.end >= tensor.begin, "{}", tensor.name);
    covered = tensor.end;
    // Empty shapes apart, no element may lie outside: the element count is bounded by the bytes.
    std::size_t elements = 1;
    for (const std::int64_t dimension : tensor.shape) {
      BATON_CHECK(!__builtin_mul_overflow(elements, static_cast<std::size_t>(dimension), &elements), "{}",
                  tensor.name);
    }
    BATON_CHECK(elements <= tensor.end - tensor.begin, "{}", tensor.name);
  }
  BATON_CHECK(covered == data_bytes);
  return 0;
}
