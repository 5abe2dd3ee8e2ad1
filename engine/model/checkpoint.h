#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "engine/model/safetensors.h"
#include "kernels/backend.h"

namespace baton::engine {

/// A tensor's bytes as they lie in the file. Valid while the checkpoint lives; not necessarily aligned.
struct StoredTensor {
  std::span<const std::byte> bytes;
  kernels::DType dtype = kernels::DType::kF32;
};

/// The weights of a model directory: `model.safetensors`, or the shards that `model.safetensors.index.json`
/// names. Immutable; any thread.
class Checkpoint {
 public:
  [[nodiscard]] static absl::StatusOr<Checkpoint> Open(const std::string& directory);
  [[nodiscard]] bool Contains(const std::string& name) const { return places_.contains(name); }
  /// The tensor, which must have exactly `shape` and a type that weights can have (F32, BF16, F16). NotFound
  /// and InvalidArgument name file and tensor.
  [[nodiscard]] absl::StatusOr<StoredTensor> Tensor(const std::string& name,
                                                    std::span<const std::int64_t> shape) const;
  /// Hash of all names, types, shapes and bytes. Reads every byte.
  [[nodiscard]] std::uint64_t Fingerprint() const;

 private:
  struct Place {
    std::size_t file = 0;
    std::size_t tensor = 0;  // index into the file's Tensors()
  };
  absl::Status Add(const std::string& path);

  std::vector<std::string> paths_;
  std::vector<SafetensorsFile> files_;
  absl::flat_hash_map<std::string, Place> places_;
};

/// File names of the shards that an index's text names, sorted, each once.
[[nodiscard]] absl::StatusOr<std::vector<std::string>> ParseShardIndex(std::string_view text);

/// The elements of `tensor` as f32.
[[nodiscard]] std::vector<float> ToFloats(const StoredTensor& tensor);

}  // namespace baton::engine
