// A model on an emulated device whose queue runs late and whose memory the host cannot touch.
#include <cmath>
#include <numeric>

#include <catch2/catch.hpp>

#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

namespace baton::engine {
namespace {

namespace emulated = kernels::cuda::emulated;
using kernels::ComputeClass;

std::string DemoModel() {
  return test::ProjectFile("deploy/demo-model");
}

std::unique_ptr<kernels::Backend> Emulated(const emulated::DeviceOptions& device, ComputeClass compute,
                                           bool graphs) {
  return *kernels::cuda::CreateBackendOn(emulated::CreateDevice(device),
                                         {.compute = compute, .graphs = graphs});
}

/// A model, and sequences that are decoded together.
class Decoder {
 public:
  static constexpr std::int64_t kBlocksEach = 6;

  Decoder(std::unique_ptr<kernels::Backend> backend, std::int64_t sequences)
      : backend_(std::move(backend)), model_(*LoadModel(DemoModel(), *backend_, 64)) {
    const ModelConfig& config = model_->Config();
    arena_ = std::make_unique<KvArena>(*KvArena::Create(*backend_, {.layers = config.layers,
                                                                    .blocks = kBlocksEach * sequences,
                                                                    .kv_heads = config.kv_heads,
                                                                    .head_dim = config.head_dim,
                                                                    .dtype = backend_->KvType()}));
    for (std::int64_t s = 0; s < sequences; ++s) {
      BlockTable& table = tables_.emplace_back();
      for (std::int64_t b = 0; b < kBlocksEach; ++b)
        table.emplace_back(static_cast<std::uint32_t>(b * sequences + s));
    }
    tokens_.resize(static_cast<std::size_t>(sequences));
  }

  /// `tokens` of sequence `s`, a prompt; the last one's logits.
  std::vector<std::vector<float>> Prompt(std::size_t s, const std::vector<TokenId>& tokens,
                                         const LayerDone& layer_done = {}) {
    StepBatch batch{.tokens = tokens, .logit_rows = {std::ssize(tokens) - 1}};
    for (std::size_t i = 0; i < tokens.size(); ++i) batch.positions.push_back(static_cast<std::int32_t>(i));
    batch.slices.push_back(
        {.blocks = tables_[s], .first_row = 0, .tokens = std::ssize(tokens), .first_position = 0});
    tokens_[s] = tokens;
    return Copy(model_->Forward(batch, *arena_, layer_done));
  }
  /// The next token of each of `sequences`, in one step.
  std::vector<std::vector<float>> Step(const std::vector<std::size_t>& sequences, TokenId token) {
    StepBatch batch;
    for (const std::size_t s : sequences) {
      const auto row = std::ssize(batch.tokens);
      const auto position = std::ssize(tokens_[s]);
      tokens_[s].push_back(token + static_cast<TokenId>(s));
      batch.tokens.push_back(tokens_[s].back());
      batch.positions.push_back(static_cast<std::int32_t>(position));
      batch.slices.push_back(
          {.blocks = tables_[s], .first_row = row, .tokens = 1, .first_position = position});
      batch.logit_rows.push_back(row);
    }
    return Copy(model_->Forward(batch, *arena_, {}));
  }
  /// The KV of one layer, as the copier finds it now.
  std::vector<std::byte> Layer(int layer) {
    if (copier_ == nullptr) {
      copier_ = *backend_->CreateCopier();
      host_ = *copier_->AllocateHost(arena_->Geometry().LayerBytes());
    }
    const std::size_t bytes = arena_->Geometry().LayerBytes();
    const DeviceCopier::Piece piece{.address = arena_->Layer(layer).base, .at = 0, .bytes = bytes};
    REQUIRE(copier_->Gather({&piece, 1}, host_.get()).ok());
    return {host_.get(), host_.get() + bytes};
  }
  [[nodiscard]] int Layers() const { return model_->Config().layers; }

 private:
  static std::vector<std::vector<float>> Copy(const kernels::Rows& rows) {
    std::vector<std::vector<float>> copy;
    for (std::int64_t row = 0; row < rows.rows; ++row)
      copy.emplace_back(rows.data + row * rows.stride, rows.data + row * rows.stride + rows.columns);
    return copy;
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvArena> arena_;
  std::vector<BlockTable> tables_;
  std::vector<std::vector<TokenId>> tokens_;
  std::shared_ptr<DeviceCopier> copier_;
  std::shared_ptr<std::byte> host_;
};

std::vector<TokenId> Tokens(std::size_t count, TokenId first) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

/// Decodes the same batches on both, and requires the same bits.
void RequireAlike(Decoder& replays, Decoder& launches) {
  for (std::size_t s = 0; s < 6; ++s) {
    const auto prompt = Tokens(3 + 5 * s, static_cast<TokenId>(40 * s));
    REQUIRE(replays.Prompt(s, prompt) == launches.Prompt(s, prompt));
  }
  const std::vector<std::vector<std::size_t>> batches = {
      {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4, 5}, {5, 0, 1, 2, 3}, {0, 2, 4, 1, 3, 5}, {3}, {1}, {2},
      {0, 1, 2, 3, 4}};
  for (std::size_t i = 0; i < batches.size(); ++i)
    REQUIRE(replays.Step(batches[i], static_cast<TokenId>(100 + i)) ==
            launches.Step(batches[i], static_cast<TokenId>(100 + i)));
}

TEST_CASE(
    "steps that are replayed as graphs have the bits of steps that are launched, whoever comes and goes") {
  const auto compute = GENERATE(ComputeClass::kF32, ComputeClass::kBF16);
  CAPTURE(std::string(kernels::Name(compute)));
  const auto deeds = std::make_shared<emulated::Deeds>();
  Decoder replays(Emulated({.processors = 2, .apart = true, .deeds = deeds}, compute, true), 6);
  Decoder launches(Emulated({.processors = 2}, compute, false), 6);

  RequireAlike(replays, launches);

  // Batches of 5 and 6 are alike, and so are those of one: the first of each kind is launched.
  CHECK(deeds->captured == 2);
  CHECK(deeds->replayed == 6);
}

TEST_CASE("a GPU's graphs have the bits of its launches, or this says aloud that there is none") {
  for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
    auto graphs = kernels::CreateCudaBackend({.compute = compute, .graphs = true});
    if (!graphs.ok()) {
      WARN("SKIPPED: graphs on a GPU: " << Message(graphs.status()));
      return;
    }
    Decoder replays(*std::move(graphs), 6);
    Decoder launches(*kernels::CreateCudaBackend({.compute = compute, .graphs = false}), 6);

    RequireAlike(replays, launches);
  }
}

TEST_CASE("a layer is told of when the device has come to it, in order, with its KV there to be copied") {
  const auto deeds = std::make_shared<emulated::Deeds>();
  Decoder late(Emulated({.apart = true, .deeds = deeds}, ComputeClass::kF32, true), 2);
  Decoder plain(Emulated({}, ComputeClass::kF32, false), 2);
  // Scratch memory grows here, which waits for the queue.
  REQUIRE(late.Prompt(1, Tokens(20, 100)) == plain.Prompt(1, Tokens(20, 100)));
  std::vector<std::vector<std::byte>> told;
  std::vector<std::int64_t> waited;

  const auto logits = late.Prompt(0, Tokens(20, 7), [&](int layer) {
    CHECK(layer == static_cast<int>(told.size()));
    told.push_back(late.Layer(layer));
    waited.push_back(deeds->waited);
  });

  CHECK(logits == plain.Prompt(0, Tokens(20, 7)));
  REQUIRE(static_cast<int>(told.size()) == late.Layers());
  for (int layer = 0; layer < late.Layers(); ++layer)
    CHECK(told[static_cast<std::size_t>(layer)] == plain.Layer(layer));
  // Each was waited for by itself, with all of the step in the queue: nothing before had drained it.
  CHECK(waited == std::vector<std::int64_t>{1, 2, 3, 4});
}

}  // namespace
}  // namespace baton::engine
