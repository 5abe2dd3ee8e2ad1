#include "engine/model/safetensors.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::engine {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the bound of the format's own reader
constexpr std::size_t kMaxHeaderNodes = 4'000'000;    // about 400,000 tensors
constexpr std::size_t kMaxDimensions = 8;

struct TypeSize {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<TypeSize, 15> kTypes{{{"BOOL", 1},
                                           {"U8", 1},
                                           {"I8", 1},
                                           {"F8_E4M3", 1},
                                           {"F8_E5M2", 1},
                                           {"I16", 2},
                                           {"U16", 2},
                                           {"F16", 2},
                                           {"BF16", 2},
                                           {"I32", 4},
                                           {"U32", 4},
                                           {"F32", 4},
                                           {"I64", 8},
                                           {"U64", 8},
                                           {"F64", 8}}};

/// Bytes of `tensor` by its type and shape; overflow is an error.
absl::StatusOr<std::size_t> ShapeBytes(const TensorEntry& tensor) {
  const auto type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeSize& t) { return t.name == tensor.dtype; });
  if (type == kTypes.end()) {
    return Error(kInvalidArgument, "tensor {}: unknown dtype {}", tensor.name, tensor.dtype);
  }
  std::size_t bytes = type->bytes;
  for (const std::int64_t dimension : tensor.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(dimension), &bytes)) {
      return Error(kInvalidArgument, "tensor {}: its shape overflows 64 bits", tensor.name);
    }
  }
  return bytes;
}

absl::StatusOr<std::vector<std::int64_t>> NonNegativeInts(const json::Value* value, const std::string& tensor,
                                                          std::string_view field, std::size_t max_count) {
  const json::Array* array = value == nullptr ? nullptr : value->AsArray();
  if (array == nullptr || array->size() > max_count) {
    return Error(kInvalidArgument, "tensor {}: {} must be a list of at most {} numbers", tensor, field,
                 max_count);
  }
  std::vector<std::int64_t> numbers;
  for (const json::Value& item : *array) {
    if (item.AsInt() == nullptr || *item.AsInt() < 0) {
      return Error(kInvalidArgument, "tensor {}: {} must hold whole numbers of 0 or more", tensor, field);
    }
    numbers.push_back(*item.AsInt());
  }
  return numbers;
}

absl::StatusOr<TensorEntry> ParseEntry(const std::string& name, const json::Value& value,
                                       std::size_t data_bytes) {
  TensorEntry tensor;
  tensor.name = name;
  const json::Value* dtype = value.Find("dtype");
  if (dtype == nullptr || dtype->AsString() == nullptr) {
    return Error(kInvalidArgument, "tensor {}: dtype is missing", name);
  }
  tensor.dtype = *dtype->AsString();
  BATON_ASSIGN_OR_RETURN(tensor.shape, NonNegativeInts(value.Find("shape"), name, "shape", kMaxDimensions));
  BATON_ASSIGN_OR_RETURN(const auto offsets,
                         NonNegativeInts(value.Find("data_offsets"), name, "data_offsets", 2));
  if (offsets.size() != 2)
    return Error(kInvalidArgument, "tensor {}: data_offsets must be two numbers", name);
  tensor.begin = static_cast<std::size_t>(offsets[0]);
  tensor.end = static_cast<std::size_t>(offsets[1]);
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    return Error(kInvalidArgument,
                 "tensor {}: data_offsets [{}, {}] lie outside the {} bytes of data; is the file cut?", name,
                 tensor.begin, tensor.end, data_bytes);
  }
  BATON_ASSIGN_OR_RETURN(const std::size_t bytes, ShapeBytes(tensor));
  if (bytes != tensor.end - tensor.begin) {
    return Error(kInvalidArgument, "tensor {}: {} [{}] takes {} bytes, data_offsets give {}", name,
                 tensor.dtype, fmt::join(tensor.shape, ", "), bytes, tensor.end - tensor.begin);
  }
  return tensor;
}

}  // namespace

absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(std::string_view header,
                                                                std::size_t data_bytes) {
  if (header.empty() || header.front() != '{') {
    return Error(kInvalidArgument, "the header must begin with '{{': no safetensors file?");
  }
  auto root = json::Parse(header, {.bytes = kMaxHeaderBytes, .depth = 8, .nodes = kMaxHeaderNodes});
  if (!root.ok()) return Annotate(root.status(), "header");
  if (root->AsObject() == nullptr) return Error(kInvalidArgument, "the header must be a JSON object");
  std::vector<TensorEntry> tensors;
  for (const auto& [name, value] : *root->AsObject()) {
    if (name == "__metadata__") continue;
    BATON_ASSIGN_OR_RETURN(TensorEntry tensor, ParseEntry(name, value, data_bytes));
    tensors.push_back(std::move(tensor));
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::size_t covered = 0;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.begin != covered) {
      return Error(kInvalidArgument,
                   "tensor {}: begins at byte {} of the data, but the one before ends at {}", tensor.name,
                   tensor.begin, covered);
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    return Error(kInvalidArgument, "the tensors end at byte {} of the data, which has {} bytes", covered,
                 data_bytes);
  }
  return tensors;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file.Bytes();
  if (bytes.size() < kLengthBytes) {
    return Error(kInvalidArgument, "{}: {} bytes, too short for a safetensors file", path, bytes.size());
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - kLengthBytes) {
    return Error(kInvalidArgument,
                 "{}: a header of {} bytes does not fit the file of {} bytes (at most {}); is it cut?", path,
                 header_bytes, bytes.size(), kMaxHeaderBytes);
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  const std::size_t data_offset = kLengthBytes + header_bytes;
  auto tensors = ParseSafetensorsHeader(header, bytes.size() - data_offset);
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  return SafetensorsFile(std::move(file), data_offset, *std::move(tensors));
}

}  // namespace baton::engine
