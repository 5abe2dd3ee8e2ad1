#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernels/backend.h"

namespace baton::test {

/// Another backend, whose steps begin with `before_step`, on the engine's thread: it may take its time.
class GatedBackend final : public kernels::Backend {
 public:
  GatedBackend(std::unique_ptr<kernels::Backend> inner, std::function<void()> before_step)
      : inner_(std::move(inner)), before_step_(std::move(before_step)) {}

  std::string Name() const override { return inner_->Name(); }
  kernels::ComputeClass Compute() const override { return inner_->Compute(); }
  kernels::DType KvType() const override { return inner_->KvType(); }
  absl::StatusOr<kernels::Buffer> Allocate(std::size_t bytes) override { return inner_->Allocate(bytes); }
  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> Pack(const kernels::WeightView& weight,
                                                              const kernels::PackOptions& options) override {
    return inner_->Pack(weight, options);
  }
  absl::StatusOr<kernels::Buffer> Upload(std::span<const std::byte> bytes) override {
    return inner_->Upload(bytes);
  }
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    inner_->Copy(to, from, bytes);
  }
  kernels::Rows ToHost(kernels::Rows rows) override { return inner_->ToHost(rows); }
  void EnterThread() override { inner_->EnterThread(); }
  void Embed(const kernels::WeightView& table, std::span<const TokenId> ids, kernels::Rows out) override {
    before_step_();
    inner_->Embed(table, ids, out);
  }
  void RmsNorm(kernels::Rows in, std::span<const float> weight, float epsilon, kernels::Rows out) override {
    inner_->RmsNorm(in, weight, epsilon, out);
  }
  void MatMul(const kernels::PackedMatrix& weight, kernels::Rows in, kernels::Rows out) override {
    inner_->MatMul(weight, in, out);
  }
  void Rope(kernels::Rows x, int head_dim, std::span<const std::int32_t> positions,
            std::span<const double> frequencies) override {
    inner_->Rope(x, head_dim, positions, frequencies);
  }
  void WriteKv(const kernels::KvLayer& layer, std::span<const kernels::SequenceSlice> slices, kernels::Rows k,
               kernels::Rows v) override {
    inner_->WriteKv(layer, slices, k, v);
  }
  void Attention(const kernels::KvLayer& layer, std::span<const kernels::SequenceSlice> slices,
                 const kernels::AttentionShape& shape, kernels::Rows q, kernels::Rows out) override {
    inner_->Attention(layer, slices, shape, q, out);
  }
  void SwiGlu(kernels::Rows gate_up, kernels::Rows out) override { inner_->SwiGlu(gate_up, out); }
  void Add(kernels::Rows x, kernels::Rows y) override { inner_->Add(x, y); }
  void AddBias(kernels::Rows x, std::span<const float> bias) override { inner_->AddBias(x, bias); }
  void RmsNormHeads(kernels::Rows x, int head_dim, std::span<const float> weight, float epsilon) override {
    inner_->RmsNormHeads(x, head_dim, weight, epsilon);
  }
  void ChooseExperts(kernels::Rows logits, const kernels::ExpertChoice& shape,
                     std::span<std::int32_t> experts, std::span<float> shares) override {
    inner_->ChooseExperts(logits, shape, experts, shares);
  }
  void AddScaledRows(kernels::Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                     kernels::Rows y) override {
    inner_->AddScaledRows(x, indices, shares, y);
  }
  void GateRows(kernels::Rows x, kernels::Rows gate) override { inner_->GateRows(x, gate); }
  void GatherRows(kernels::Rows in, std::span<const std::int64_t> indices, kernels::Rows out) override {
    inner_->GatherRows(in, indices, out);
  }
  void Synchronize() override { inner_->Synchronize(); }

 private:
  std::unique_ptr<kernels::Backend> inner_;
  std::function<void()> before_step_;
};

}  // namespace baton::test
