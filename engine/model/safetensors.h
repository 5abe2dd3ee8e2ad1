#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/model_files.h"

namespace baton::engine {

/// One tensor of a safetensors file as its header describes it.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as written: "BF16", "F32", ...
  std::vector<std::int64_t> shape;
  std::size_t begin = 0;  // in the data, which follows the header
  std::size_t end = 0;
};

/// The tensors of a header in order of their bytes. Checked: known types, shape times type = bytes, no
/// overlap, no hole, and exactly `data_bytes` of data. Errors name the tensor.
[[nodiscard]] absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(std::string_view header,
                                                                              std::size_t data_bytes);

/// A safetensors file: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes. Mapped
/// read-only; every field of the header is checked before use. Immutable; any thread.
class SafetensorsFile {
 public:
  /// Errors name the file and the tensor.
  [[nodiscard]] static absl::StatusOr<SafetensorsFile> Open(const std::string& path);
  [[nodiscard]] const std::vector<TensorEntry>& Tensors() const { return tensors_; }
  [[nodiscard]] std::span<const std::byte> Data(const TensorEntry& tensor) const {
    return file_.Bytes().subspan(data_offset_ + tensor.begin, tensor.end - tensor.begin);
  }

 private:
  SafetensorsFile(MappedFile file, std::size_t data_offset, std::vector<TensorEntry> tensors)
      : file_(std::move(file)), data_offset_(data_offset), tensors_(std::move(tensors)) {}
  MappedFile file_;
  std::size_t data_offset_ = 0;
  std::vector<TensorEntry> tensors_;
};

}  // namespace baton::engine
