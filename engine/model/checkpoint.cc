#include "engine/model/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/json/value.h"

namespace baton::engine {
namespace {

constexpr std::size_t kMaxShards = 1024;
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

std::optional<kernels::DType> WeightType(std::string_view dtype) {
  if (dtype == "F32") return kernels::DType::kF32;
  if (dtype == "BF16") return kernels::DType::kBF16;
  if (dtype == "F16") return kernels::DType::kF16;
  return std::nullopt;
}

float HalfToFloat(std::uint16_t half) {
  const int exponent = half >> 10 & 0x1f;
  const float mantissa = static_cast<float>(half & 0x3ff);
  float magnitude = 0;
  if (exponent == 0x1f) {
    magnitude = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else {
    magnitude = std::ldexp(mantissa + 1024, exponent - 25);
  }
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

std::uint64_t Extend(std::uint64_t hash, std::uint64_t value) {
  return Mix64(hash ^ Mix64(value));
}

std::uint64_t Extend(std::uint64_t hash, std::string_view text) {
  return Extend(hash, Crc32c(std::as_bytes(std::span(text))) | std::uint64_t{text.size()} << 32);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseShardIndex(std::string_view text) {
  auto root = json::Parse(text, {.bytes = kMaxConfigBytes, .depth = 8, .nodes = 1'000'000});
  if (!root.ok()) return Annotate(root.status(), kIndexFile);
  const json::Value* map = root->Find("weight_map");
  if (map == nullptr || map->AsObject() == nullptr) {
    return Error(kInvalidArgument, "{}: weight_map must be an object", kIndexFile);
  }
  std::set<std::string> names;
  for (const auto& [tensor, value] : *map->AsObject()) {
    const std::string* name = value.AsString();
    if (name == nullptr || name->empty()) {
      return Error(kInvalidArgument, "{}: tensor {}: the shard must be a file name", kIndexFile, tensor);
    }
    if (name->find('/') != std::string::npos || name->find("..") != std::string::npos ||
        name->find('\0') != std::string::npos) {
      return Error(kInvalidArgument, "{}: tensor {}: shard {} is no plain file name", kIndexFile, tensor,
                   json::Serialize(value));
    }
    names.insert(*name);
    if (names.size() > kMaxShards) {
      return Error(kInvalidArgument, "{}: more than {} shards", kIndexFile, kMaxShards);
    }
  }
  if (names.empty()) return Error(kInvalidArgument, "{}: weight_map is empty", kIndexFile);
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  Checkpoint checkpoint;
  const absl::Status single = checkpoint.Add(directory + "/model.safetensors");
  if (single.ok()) return checkpoint;
  if (single.code() != kNotFound) return single;
  auto index = ReadSmallFile(directory + "/" + std::string(kIndexFile));
  if (index.status().code() == kNotFound) {
    return Error(kNotFound, "{}: has neither model.safetensors nor {}", directory, kIndexFile);
  }
  if (!index.ok()) return index.status();
  auto shards = ParseShardIndex(*index);
  if (!shards.ok()) return Annotate(shards.status(), directory);
  for (const std::string& shard : *shards) BATON_RETURN_IF_ERROR(checkpoint.Add(directory + "/" + shard));
  return checkpoint;
}

absl::Status Checkpoint::Add(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  const auto& tensors = file.Tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto [place, fresh] =
        places_.try_emplace(tensors[i].name, Place{.file = files_.size(), .tensor = i});
    if (!fresh) {
      return Error(kInvalidArgument, "{}: tensor {} is also in {}", path, tensors[i].name,
                   paths_[place->second.file]);
    }
  }
  files_.push_back(std::move(file));
  paths_.push_back(path);
  return absl::OkStatus();
}

absl::StatusOr<StoredTensor> Checkpoint::Tensor(const std::string& name,
                                                std::span<const std::int64_t> shape) const {
  const auto place = places_.find(name);
  if (place == places_.end()) {
    return Error(kNotFound, "{}: tensor {} is missing", fmt::join(paths_, ", "), name);
  }
  const std::string& path = paths_[place->second.file];
  const SafetensorsFile& file = files_[place->second.file];
  const TensorEntry& entry = file.Tensors()[place->second.tensor];
  if (!std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end())) {
    return Error(kInvalidArgument, "{}: tensor {} has shape [{}]; config.json asks for [{}]", path, name,
                 fmt::join(entry.shape, ", "), fmt::join(shape, ", "));
  }
  const std::optional<kernels::DType> dtype = WeightType(entry.dtype);
  if (!dtype.has_value()) {
    return Error(kUnimplemented, "{}: tensor {}: dtype {} is not supported; F32, BF16 and F16 are", path,
                 name, entry.dtype);
  }
  return StoredTensor{.bytes = file.Data(entry), .dtype = *dtype};
}

std::uint64_t Checkpoint::Fingerprint() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) names.push_back(name);
  std::sort(names.begin(), names.end());
  std::uint64_t hash = 0;
  for (const std::string& name : names) {
    const Place& place = places_.at(name);
    const TensorEntry& entry = files_[place.file].Tensors()[place.tensor];
    hash = Extend(Extend(hash, name), entry.dtype);
    for (const std::int64_t dimension : entry.shape)
      hash = Extend(hash, static_cast<std::uint64_t>(dimension));
    hash = Extend(hash, Crc32c(files_[place.file].Data(entry)));
  }
  return hash;
}

std::vector<float> ToFloats(const StoredTensor& tensor) {
  std::vector<float> floats(tensor.bytes.size() / kernels::SizeOf(tensor.dtype));
  if (tensor.dtype == kernels::DType::kF32) {
    std::memcpy(floats.data(), tensor.bytes.data(), floats.size() * sizeof(float));
    return floats;
  }
  for (std::size_t i = 0; i < floats.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + 2 * i, sizeof bits);
    floats[i] = tensor.dtype == kernels::DType::kF16 ? HalfToFloat(bits)
                                                     : std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
  return floats;
}

}  // namespace baton::engine
