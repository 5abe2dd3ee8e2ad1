#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/json/value.h"
#include "engine/executor.h"
#include "perf/gpu_peak.h"
#include "perf/micro/machine_peak.h"

/// baton-engine-bench: tokens a second of one engine, through its executor, beside the machine's limits.
namespace baton::perf {
namespace {

using namespace engine;

struct Options {
  std::string model;
  std::string backend = "cpu";
  std::string compute = "bf16";
  std::string instruction_set = "auto";
  std::string output = "table";
  int threads = 0;
  bool fast = false;  // matmuls by cuBLASLt
  // Of a GPU; 0: measured.
  double peak_gflops = 0;
  double peak_gbytes = 0;
  int repeats = 5;
  std::int64_t chunk = 256;
  std::vector<std::int64_t> prompts{128, 512, 2048};
  std::vector<std::int64_t> batches{1, 4, 16};
};

struct Machine {
  double gflops = 0;  // of the compute class
  double gbytes = 0;
};

struct Result {
  std::string test;
  double tokens_per_second = 0;
  double lowest = 0;
  double highest = 0;
  double gflops = 0;
  double gbytes = 0;
  double of_limit = 0;  // of the tokens/s that peak arithmetic and peak bandwidth allow
};

/// Keeps the step reports and waits for releases.
class Events final : public ExecutorEvents {
 public:
  void OnLayerDone(const LayerEvent&) override {}
  void OnToken(const TokenEvent&) override {}
  void OnStep(const StepReport& report) override {
    const std::scoped_lock lock(mutex_);
    steps_.push_back(report);
  }
  void OnReleased(RequestKey, FinishReason) override {
    const std::scoped_lock lock(mutex_);
    ++released_;
    changed_.notify_all();
  }
  /// Steps since the last call, once `count` sequences have been released.
  std::vector<StepReport> Wait(std::int64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return released_ >= count; });
    released_ = 0;
    return std::exchange(steps_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StepReport> steps_;
  std::int64_t released_ = 0;
};

/// Floating-point operations and bytes that a step cannot do without.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

double LayerParameters(const ModelConfig& c) {
  const double query = static_cast<double>(c.heads) * c.head_dim;
  const double key = static_cast<double>(c.kv_heads) * c.head_dim;
  const auto hidden = static_cast<double>(c.hidden);
  return c.layers * hidden * (2 * query + 2 * key + 3 * static_cast<double>(c.intermediate));
}

/// A prompt of `tokens`, causal attention, logits of its last token; all weights read once a chunk.
Cost PrefillCost(const ModelConfig& c, double tokens, double chunk, double weight_bytes) {
  const double head = static_cast<double>(c.hidden) * c.vocabulary;
  const double chunks = std::max(1.0, tokens / chunk);
  return {.flops = 2 * (LayerParameters(c) * tokens + head) +
                   2 * tokens * tokens * c.heads * c.head_dim * c.layers,
          .bytes = (LayerParameters(c) * chunks + head) * weight_bytes};
}

/// One token each of `batch` sequences with `context` positions.
Cost DecodeCost(const ModelConfig& c, double batch, double context, double weight_bytes, double kv_bytes) {
  const double weights = LayerParameters(c) + static_cast<double>(c.hidden) * c.vocabulary;
  const double kv = 2.0 * context * c.kv_heads * c.head_dim * c.layers;
  return {.flops = batch * (2 * weights + 4 * context * c.heads * c.head_dim * c.layers),
          .bytes = weights * weight_bytes + batch * kv * kv_bytes};
}

/// Of steps that took `seconds` for `tokens` each, at `cost` each.
Result Summarize(std::string test, std::vector<double> seconds, double tokens, const Cost& cost) {
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  return {.test = std::move(test),
          .tokens_per_second = tokens / median,
          .lowest = tokens / seconds.back(),
          .highest = tokens / seconds.front(),
          .gflops = cost.flops / median / 1e9,
          .gbytes = cost.bytes / median / 1e9};
}

class Bench {
 public:
  /// The model, its arena and its executor. Errors name what is wrong with the model or the options.
  static absl::StatusOr<std::unique_ptr<Bench>> Create(const Options& options) {
    const auto compute = options.compute == "f32"    ? kernels::ComputeClass::kF32
                         : options.compute == "int8" ? kernels::ComputeClass::kInt8
                         : options.compute == "fp8"  ? kernels::ComputeClass::kFp8
                                                     : kernels::ComputeClass::kBF16;
    BATON_ASSIGN_OR_RETURN(auto backend,
                           options.backend == "cuda"
                               ? kernels::CreateCudaBackend({.compute = compute, .invariant = !options.fast})
                               : kernels::CreateCpuBackend({.compute = compute,
                                                            .threads = options.threads,
                                                            .instruction_set = options.instruction_set}));
    BATON_ASSIGN_OR_RETURN(auto model,
                           LoadModel(options.model, *backend, std::max(kBatchTokens, options.chunk)));
    const ModelConfig& config = model->Config();
    const std::int64_t longest = *std::max_element(options.prompts.begin(), options.prompts.end());
    const std::int64_t most = *std::max_element(options.batches.begin(), options.batches.end());
    const std::int64_t blocks = std::max(BlocksFor(longest, kBlockTokens),
                                         most * BlocksFor(kDecodePrompt + kDecodeTokens, kBlockTokens));
    BATON_ASSIGN_OR_RETURN(auto arena, KvArena::Create(*backend, {.layers = config.layers,
                                                                  .blocks = blocks,
                                                                  .kv_heads = config.kv_heads,
                                                                  .head_dim = config.head_dim,
                                                                  .dtype = backend->KvType()}));
    return std::make_unique<Bench>(options, std::move(backend), std::move(model), std::move(arena));
  }

  Bench(const Options& options, std::unique_ptr<kernels::Backend> backend, std::unique_ptr<Model> model,
        KvArena arena)
      : options_(options),
        backend_(std::move(backend)),
        model_(std::move(model)),
        arena_(std::move(arena)),
        pool_(arena_.Geometry().blocks),
        kv_bytes_(static_cast<double>(kernels::SizeOf(backend_->KvType()))),
        weight_bytes_(backend_->Compute() == kernels::ComputeClass::kInt8 ||
                              backend_->Compute() == kernels::ComputeClass::kFp8
                          ? 1
                      : model_->NumericsClass().find("/weights-bf16/") != std::string::npos ? 2
                                                                                            : kv_bytes_),
        executor_(*model_, arena_,
                  {.batch_tokens = std::max(kBatchTokens, options.chunk),
                   .batch_sequences = 256,
                   .prefill_chunk_tokens = options.chunk},
                  events_) {}

  Result Prefill(std::int64_t tokens) {
    std::vector<double> seconds;
    for (int round = 0; round <= options_.repeats; ++round) {
      Submit(Phase::kPrefill, tokens, 1);
      double sum = 0;
      for (const StepReport& step : Finish(1)) sum += Seconds(step.duration);
      if (round > 0) seconds.push_back(sum);  // the first warms up
    }
    const double count = static_cast<double>(tokens);
    return Summarize(
        fmt::format("prefill {}", tokens), seconds, count,
        PrefillCost(model_->Config(), count, static_cast<double>(options_.chunk), weight_bytes_));
  }

  Result Decode(std::int64_t batch) {
    for (std::int64_t i = 0; i < batch; ++i) Submit(Phase::kWhole, kDecodePrompt, kDecodeTokens);
    std::vector<double> seconds;
    for (const StepReport& step : Finish(batch)) {
      if (step.prompt_tokens == 0 && step.decode_tokens == batch) seconds.push_back(Seconds(step.duration));
    }
    const auto count = static_cast<double>(batch);
    return Summarize(
        fmt::format("decode batch {}", batch), seconds, count,
        DecodeCost(model_->Config(), count, kDecodePrompt + kDecodeTokens / 2.0, weight_bytes_, kv_bytes_));
  }

  [[nodiscard]] const Model& TheModel() const { return *model_; }

 private:
  static constexpr std::int64_t kBatchTokens = 512;
  static constexpr std::int64_t kDecodePrompt = 128;
  static constexpr std::int64_t kDecodeTokens = 64;

  void Submit(Phase phase, std::int64_t prompt, std::int64_t max_tokens) {
    SequenceSpec spec{
        .key = {RequestId(++requests_), Attempt(1)}, .phase = phase, .stop = {.max_tokens = max_tokens}};
    RandomStream random(requests_);
    for (std::int64_t i = 0; i < prompt; ++i) {
      spec.tokens.push_back(static_cast<TokenId>(random.Between(0, model_->Config().vocabulary - 1)));
    }
    spec.blocks = pool_.Allocate(BlocksFor(prompt + max_tokens - 1, kBlockTokens)).value();
    held_.push_back(spec.blocks);
    executor_.Submit(std::move(spec));
  }

  std::vector<StepReport> Finish(std::int64_t count) {
    std::vector<StepReport> steps = events_.Wait(count);
    for (const BlockTable& blocks : held_) pool_.Release(blocks);
    held_.clear();
    return steps;
  }

  Options options_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Model> model_;
  KvArena arena_;
  BlockPool pool_;
  double kv_bytes_;      // of one element
  double weight_bytes_;  // of one packed weight: bf16 ones stay bf16 in class f32
  std::vector<BlockTable> held_;
  std::uint64_t requests_ = 0;
  Events events_;
  Executor executor_;
};

void PrintTable(const Bench& bench, const Machine& machine, const std::vector<Result>& results) {
  const std::string numerics_class = bench.TheModel().NumericsClass();
  fmt::print(
      "{}\nmachine: {:.0f} GF/s, {:.1f} GB/s {}\n\n", numerics_class, machine.gflops, machine.gbytes,
      numerics_class.starts_with("cuda/")
          ? "(cuBLASLt's product and a copy within the memory, measured before, unless they were given)"
          : "read (the better of before and after)");
  fmt::print(
      "| test | tokens/s (median) | range | GF/s | GB/s | of the limit |\n|---|---|---|---|---|---|\n");
  for (const Result& r : results) {
    fmt::print("| {} | {:.1f} | {:.1f}-{:.1f} | {:.0f} | {:.1f} | {:.0f} % |\n", r.test, r.tokens_per_second,
               r.lowest, r.highest, r.gflops, r.gbytes, 100 * r.of_limit);
  }
}

void PrintJson(const Bench& bench, const Machine& machine, const std::vector<Result>& results) {
  json::Array tests;
  for (const Result& r : results) {
    tests.push_back(json::Object{{"test", r.test},
                                 {"tokens_per_second", r.tokens_per_second},
                                 {"lowest", r.lowest},
                                 {"highest", r.highest},
                                 {"gflops", r.gflops},
                                 {"gbytes_per_second", r.gbytes},
                                 {"of_limit", r.of_limit}});
  }
  const json::Object root{{"numerics_class", bench.TheModel().NumericsClass()},
                          {"machine_gflops", machine.gflops},
                          {"machine_gbytes_per_second", machine.gbytes},
                          {"results", tests}};
  fmt::print("{}\n", json::Serialize(root));
}

/// `numerics_class` tells whose instructions the peak is of.
Machine Measure(const Options& options, const std::string& numerics_class, int threads) {
  const std::string& compute = options.compute;
  const bool tiles = numerics_class.starts_with("cpu/amx/");
  const double gflops = compute == "f32"    ? PeakF32(threads)
                        : compute == "int8" ? (tiles ? PeakTilesInt8 : PeakInt8)(threads)
                                            : (tiles ? PeakTilesBf16 : PeakBf16)(threads);
  return {.gflops = gflops, .gbytes = ReadBandwidth(threads)};
}

/// Before the model takes the memory.
absl::StatusOr<Machine> MeasureGpu(const Options& options) {
  if (options.peak_gflops > 0 && options.peak_gbytes > 0)
    return Machine{.gflops = options.peak_gflops, .gbytes = options.peak_gbytes};
  BATON_ASSIGN_OR_RETURN(const auto device, kernels::cuda::OpenDevice(0));
  const auto fast = kernels::cuda::OpenCublasLt(*device);
  if (!fast.ok())
    return Annotate(fast.status(), "give --peak-gflops and --peak-gbytes, or what measures them");
  const auto element =
      options.compute == "fp8" ? kernels::cuda::Element::kFp8 : kernels::cuda::Element::kBF16;
  BATON_ASSIGN_OR_RETURN(const GpuPeak peak, MeasureGpuPeak(*device, **fast, {.element = element}));
  return Machine{.gflops = options.peak_gflops > 0 ? options.peak_gflops : peak.gflops,
                 .gbytes = options.peak_gbytes > 0 ? options.peak_gbytes : peak.gbytes};
}

absl::Status Run(const Options& options) {
  const bool on_gpu = options.backend == "cuda";
  Machine gpu;
  if (on_gpu) {
    BATON_ASSIGN_OR_RETURN(gpu, MeasureGpu(options));
  }
  BATON_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, Bench::Create(options));
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const auto measure = [&] {
    return on_gpu ? gpu : Measure(options, bench->TheModel().NumericsClass(), threads);
  };
  const Machine before = measure();
  std::vector<Result> results;
  for (const std::int64_t prompt : options.prompts) {
    if (prompt > bench->TheModel().Config().context) {
      fmt::print(stderr, "prefill {}: skipped, the model's context is {}\n", prompt,
                 bench->TheModel().Config().context);
      continue;
    }
    results.push_back(bench->Prefill(prompt));
  }
  for (const std::int64_t batch : options.batches) results.push_back(bench->Decode(batch));
  const Machine after = measure();
  const Machine machine{.gflops = std::max(before.gflops, after.gflops),
                        .gbytes = std::max(before.gbytes, after.gbytes)};
  for (Result& r : results) r.of_limit = std::max(r.gflops / machine.gflops, r.gbytes / machine.gbytes);
  (options.output == "json" ? PrintJson : PrintTable)(*bench, machine, results);
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::perf

int main(int argc, char** argv) {
  baton::perf::Options options;
  CLI::App app{"Tokens a second of one engine: prompts alone (prefill) and batches of answers (decode)."};
  app.add_option("--model", options.model, "Hugging Face directory")
      ->required()
      ->check(CLI::ExistingDirectory);
  auto* backend = app.add_option("--backend", options.backend, "cpu or cuda")
                      ->check(CLI::IsMember({"cpu", "cuda"}))
                      ->capture_default_str();
  app.add_option("--peak-gflops", options.peak_gflops,
                 "of the GPU, for the limit; default: measured by cuBLASLt")
      ->check(CLI::PositiveNumber)
      ->needs(backend);
  app.add_option("--peak-gbytes", options.peak_gbytes,
                 "of the GPU's memory, for the limit; default: measured")
      ->check(CLI::PositiveNumber)
      ->needs(backend);
  app.add_option("--compute", options.compute, "compute class")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "fp8"}))
      ->capture_default_str();
  app.add_flag("--fast", options.fast,
               "matmuls of a GPU by cuBLASLt, which need not keep the order; fp8 needs it")
      ->needs(backend);
  app.add_option("--instruction-set", options.instruction_set,
                 "auto, amx, avx512bf16, avx512, avx2 or portable")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads that compute; 0 = all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "of each prompt; the median is printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--chunk", options.chunk, "prompt tokens of one step")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{8192}))
      ->capture_default_str();
  app.add_option("--prompts", options.prompts, "prompt lengths in tokens")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--batches", options.batches, "sequences that decode together, each with a prompt of 128")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{256}))
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--output", options.output, "form of the result")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.footer(
      "The limit is the time that the step's arithmetic at the measured peak, or its bytes at the measured\n"
      "bandwidth, would take, whichever is longer.\n\nExample:\n"
      "  baton-make-checkpoint --shape 125m --out /tmp/125m && baton-engine-bench --model /tmp/125m");
  CLI11_PARSE(app, argc, argv);

  if (const absl::Status status = baton::perf::Run(options); !status.ok()) {
    fmt::print(stderr, "baton-engine-bench: {}\n", baton::Message(status));
    return 1;
  }
  return 0;
}
