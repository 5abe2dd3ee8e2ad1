#include "tests/kernels/cuda/on_host_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/check.h"

namespace baton::kernels {
namespace {

void Free(MemoryRegion region) {
  std::free(region.address);
}

std::size_t FloatsOf(const Rows& rows) {
  return rows.rows == 0 ? 0 : static_cast<std::size_t>((rows.rows - 1) * rows.stride + rows.columns);
}

class HostMemoryBackend final : public Backend {
 public:
  explicit HostMemoryBackend(std::unique_ptr<Backend> device) : device_(std::move(device)) {}

  std::string Name() const override { return device_->Name(); }
  ComputeClass Compute() const override { return device_->Compute(); }
  DType KvType() const override { return device_->KvType(); }

  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override {
    absl::StatusOr<Buffer> twin = device_->Allocate(bytes);
    if (!twin.ok()) return twin.status();
    auto* address = static_cast<std::byte*>(std::calloc(bytes, 1));
    // Twins of memory that is freed by now, in the place where this is.
    std::erase_if(twins_, [&](const Twin& old) {
      return old.host < address + bytes && address < old.host + old.device.Bytes();
    });
    twins_.push_back({address, *std::move(twin)});
    return Buffer({.address = address, .bytes = bytes}, Free);
  }
  absl::StatusOr<Buffer> Upload(std::span<const std::byte> bytes) override { return device_->Upload(bytes); }
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  Rows ToHost(Rows rows) override { return rows; }
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const WeightView& weight,
                                                     const PackOptions& options) override {
    return device_->Pack(weight, options);
  }
  void EnterThread() override { device_->EnterThread(); }

  void Embed(const WeightView& table, std::span<const TokenId> ids, Rows out) override {
    const std::size_t bytes = static_cast<std::size_t>(table.rows * table.columns) * SizeOf(table.dtype);
    const Buffer copy = *device_->Upload({table.data, bytes});
    WeightView on_device = table;
    on_device.data = copy.Region().address;
    With({&out}, [&] { device_->Embed(on_device, ids, out); });
  }
  void RmsNorm(Rows in, std::span<const float> weight, float epsilon, Rows out) override {
    With({&in, &out}, weight, [&](auto w) { device_->RmsNorm(in, w, epsilon, out); });
  }
  void AddRmsNorm(Rows x, Rows y, std::span<const float> weight, float epsilon, Rows out) override {
    With({&x, &y, &out}, weight, [&](auto w) { device_->AddRmsNorm(x, y, w, epsilon, out); });
  }
  void MatMul(const PackedMatrix& weight, Rows in, Rows out) override {
    With({&in, &out}, [&] { device_->MatMul(weight, in, out); });
  }
  void Rope(Rows x, int head_dim, std::span<const std::int32_t> positions,
            std::span<const double> frequencies) override {
    With({&x}, [&] { device_->Rope(x, head_dim, positions, frequencies); });
  }
  void WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) override {
    const Twin& twin = TwinOf(layer.base);
    device_->Copy(twin.device.Region().address, twin.host, twin.device.Bytes());
    With({&k, &v}, [&] { device_->WriteKv(OnDevice(layer, twin), slices, k, v); });
    device_->Copy(twin.host, twin.device.Region().address, twin.device.Bytes());
  }
  void Attention(const KvLayer& layer, std::span<const SequenceSlice> slices, const AttentionShape& shape,
                 Rows q, Rows out) override {
    const Twin& twin = TwinOf(layer.base);
    device_->Copy(twin.device.Region().address, twin.host, twin.device.Bytes());
    With({&q, &out}, [&] { device_->Attention(OnDevice(layer, twin), slices, shape, q, out); });
  }
  void RopeAndWriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices,
                      std::span<const std::int32_t> positions, std::span<const double> frequencies,
                      Rows qkv) override {
    const Twin& twin = TwinOf(layer.base);
    device_->Copy(twin.device.Region().address, twin.host, twin.device.Bytes());
    With({&qkv},
         [&] { device_->RopeAndWriteKv(OnDevice(layer, twin), slices, positions, frequencies, qkv); });
    device_->Copy(twin.host, twin.device.Region().address, twin.device.Bytes());
  }
  void Highest(Rows in, std::int64_t count, std::span<std::int32_t> columns,
               std::span<float> values) override {
    With({&in}, [&] { device_->Highest(in, count, columns, values); });
  }
  void Draw(Rows in, std::span<const RowDraw> draws, std::span<DrawnRow> drawn) override {
    With({&in}, [&] { device_->Draw(in, draws, drawn); });
  }
  void SwiGlu(Rows gate_up, Rows out) override {
    With({&gate_up, &out}, [&] { device_->SwiGlu(gate_up, out); });
  }
  void Add(Rows x, Rows y) override {
    With({&x, &y}, [&] { device_->Add(x, y); });
  }
  void AddBias(Rows x, std::span<const float> bias) override {
    With({&x}, bias, [&](auto b) { device_->AddBias(x, b); });
  }
  void RmsNormHeads(Rows x, int head_dim, std::span<const float> weight, float epsilon) override {
    With({&x}, weight, [&](auto w) { device_->RmsNormHeads(x, head_dim, w, epsilon); });
  }
  void ChooseExperts(Rows logits, const ExpertChoice& shape, std::span<std::int32_t> experts,
                     std::span<float> shares) override {
    With({&logits}, [&] { device_->ChooseExperts(logits, shape, experts, shares); });
  }
  void AddScaledRows(Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                     Rows y) override {
    With({&x, &y}, [&] { device_->AddScaledRows(x, indices, shares, y); });
  }
  void GateRows(Rows x, Rows gate) override {
    With({&x, &gate}, [&] { device_->GateRows(x, gate); });
  }
  void GatherRows(Rows in, std::span<const std::int64_t> indices, Rows out) override {
    // `in` has more rows than its view may say: an index is within what the caller owns.
    for (const std::int64_t index : indices) in.rows = std::max(in.rows, index + 1);
    With({&in, &out}, [&] { device_->GatherRows(in, indices, out); });
  }
  void Synchronize() override { device_->Synchronize(); }

 private:
  struct Twin {
    std::byte* host;
    Buffer device;
  };
  const Twin& TwinOf(const std::byte* address) const {
    for (const Twin& twin : twins_) {
      if (address >= twin.host && address < twin.host + twin.device.Bytes()) return twin;
    }
    BATON_CHECK(false, "KV at {} is none that this backend allocated", static_cast<const void*>(address));
    std::abort();
  }
  static KvLayer OnDevice(KvLayer layer, const Twin& twin) {
    layer.base = twin.device.Region().address + (layer.base - twin.host);
    return layer;
  }

  /// Runs `body` with the rows, which name host memory, moved to the device; back again afterwards. Rows of
  /// the same memory (an operation in place) stay the same.
  template <typename Body>
  void With(std::initializer_list<Rows*> all, const Body& body) {
    struct Moved {
      float* host;
      std::size_t bytes;
      Buffer device;
    };
    std::vector<Moved> moved;
    for (Rows* rows : all) {
      const Moved* same = nullptr;
      for (const Moved& one : moved) same = one.host == rows->data ? &one : same;
      if (same == nullptr) {
        const auto bytes = FloatsOf(*rows) * sizeof(float);
        Buffer buffer = *device_->Upload({reinterpret_cast<const std::byte*>(rows->data), bytes});
        same = &moved.emplace_back(Moved{rows->data, bytes, std::move(buffer)});
      }
      rows->data = reinterpret_cast<float*>(same->device.Region().address);
    }
    body();
    for (const Moved& one : moved)
      device_->Copy(reinterpret_cast<std::byte*>(one.host), one.device.Region().address, one.bytes);
  }
  template <typename Body>
  void With(std::initializer_list<Rows*> all, std::span<const float> vector, const Body& body) {
    const Buffer copy = *device_->Upload(std::as_bytes(vector));
    With(all, [&] { body(std::span<const float>(copy.As<float>(), vector.size())); });
  }

  const std::unique_ptr<Backend> device_;
  std::vector<Twin> twins_;
};

}  // namespace

std::unique_ptr<Backend> OnHostMemory(std::unique_ptr<Backend> device) {
  return std::make_unique<HostMemoryBackend>(std::move(device));
}

}  // namespace baton::kernels
