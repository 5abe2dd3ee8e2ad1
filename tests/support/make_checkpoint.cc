#include "tests/support/make_checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <thread>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/json/value.h"

namespace baton::test {
namespace {

struct NewTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  double deviation = 0;  // 0 = all ones (norms)

  [[nodiscard]] std::int64_t Elements() const {
    std::int64_t elements = 1;
    for (const std::int64_t dimension : shape) elements *= dimension;
    return elements;
  }
};

bool Is(const CheckpointSpec& spec, std::string_view family) {
  return spec.architecture.starts_with(family);
}

/// The tensors of one layer.
class LayerTensors {
 public:
  LayerTensors(const CheckpointSpec& spec, std::int64_t layer, std::vector<NewTensor>& out)
      : spec_(spec),
        prefix_("model.layers." + std::to_string(layer) + "."),
        dense_(spec.experts == 0 || std::ranges::find(spec.dense_layers, layer) != spec.dense_layers.end()),
        out_(out) {}

  void AddAll() {
    Norm("input_layernorm.weight");
    AddAttention();
    Norm("post_attention_layernorm.weight");
    if (dense_) {
      AddMlp("mlp.", {"gate_proj", "up_proj", "down_proj"}, spec_.intermediate);
    } else if (Is(spec_, "Mixtral")) {
      AddExperts("block_sparse_moe.", {"w1", "w3", "w2"}, spec_.intermediate);
    } else {
      AddExperts("mlp.", {"gate_proj", "up_proj", "down_proj"}, spec_.expert_intermediate);
    }
  }

 private:
  struct MlpNames {
    std::string gate, up, down;
  };

  void Norm(const std::string& name) { out_.push_back({prefix_ + name, {spec_.hidden}}); }
  void Matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    out_.push_back({prefix_ + name, {rows, columns}, 1 / std::sqrt(static_cast<double>(columns))});
  }
  void Vector(const std::string& name, std::int64_t length, double deviation) {
    out_.push_back({prefix_ + name, {length}, deviation});
  }

  void AddAttention() {
    const std::int64_t queries = spec_.heads * spec_.head_dim;
    const std::int64_t keys = spec_.kv_heads * spec_.head_dim;
    Matrix("self_attn.q_proj.weight", queries, spec_.hidden);
    Matrix("self_attn.k_proj.weight", keys, spec_.hidden);
    Matrix("self_attn.v_proj.weight", keys, spec_.hidden);
    Matrix("self_attn.o_proj.weight", spec_.hidden, queries);
    if (spec_.biases) Vector("self_attn.o_proj.bias", spec_.hidden, 0.5);
    if (Is(spec_, "Qwen2") || spec_.biases) {
      Vector("self_attn.q_proj.bias", queries, 0.5);
      Vector("self_attn.k_proj.bias", keys, 0.5);
      Vector("self_attn.v_proj.bias", keys, 0.5);
    }
    if (Is(spec_, "Qwen3")) {
      Vector("self_attn.q_norm.weight", spec_.head_dim, 1);
      Vector("self_attn.k_norm.weight", spec_.head_dim, 1);
    }
  }
  void AddMlp(const std::string& at, const MlpNames& names, std::int64_t width) {
    Matrix(at + names.gate + ".weight", width, spec_.hidden);
    Matrix(at + names.up + ".weight", width, spec_.hidden);
    Matrix(at + names.down + ".weight", spec_.hidden, width);
    if (!spec_.biases) return;
    Vector(at + names.gate + ".bias", width, 0.5);
    Vector(at + names.up + ".bias", width, 0.5);
    Vector(at + names.down + ".bias", spec_.hidden, 0.5);
  }
  void AddExperts(const std::string& at, const MlpNames& names, std::int64_t width) {
    Matrix(at + "gate.weight", spec_.experts, spec_.hidden);
    for (std::int64_t expert = 0; expert < spec_.experts; ++expert)
      AddMlp(at + "experts." + std::to_string(expert) + ".", names, width);
    if (!Is(spec_, "Qwen2")) return;
    AddMlp(at + "shared_expert.", names, spec_.shared_intermediate);
    Matrix(at + "shared_expert_gate.weight", 1, spec_.hidden);
  }

  const CheckpointSpec& spec_;
  const std::string prefix_;
  const bool dense_;
  std::vector<NewTensor>& out_;
};

std::vector<NewTensor> Tensors(const CheckpointSpec& spec) {
  // The state is normed to a mean square of 1 before the head: logits get a deviation of 3.
  const double head_deviation = 3 / std::sqrt(static_cast<double>(spec.hidden));
  std::vector<NewTensor> tensors{
      {"model.embed_tokens.weight", {spec.vocabulary, spec.hidden}, head_deviation}};
  for (std::int64_t layer = 0; layer < spec.layers; ++layer) LayerTensors(spec, layer, tensors).AddAll();
  tensors.push_back({"model.norm.weight", {spec.hidden}});
  if (!spec.tied_embeddings)
    tensors.push_back({"lm_head.weight", {spec.vocabulary, spec.hidden}, head_deviation});
  return tensors;
}

std::uint16_t ToBf16(float value) {  // to nearest, ties to even; no infinities or NaN here
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

std::uint16_t ToF16(float value) {  // likewise; below 65504
  const float magnitude = std::abs(value);
  const int exponent = magnitude == 0 ? -14 : std::max(std::ilogb(magnitude), -14);
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  const int bits = (exponent + 14) * 1024 + mantissa;  // a mantissa of 2048 carries into the exponent
  return static_cast<std::uint16_t>(bits | (std::signbit(value) ? 0x8000 : 0));
}

/// How weights are stored.
struct Storage {
  std::string_view name;    // in specs
  std::string_view stored;  // in the file
  std::string_view torch;   // in config.json
  std::size_t bytes = 0;
};
constexpr std::array kStorages{Storage{"bf16", "BF16", "bfloat16", 2}, Storage{"f16", "F16", "float16", 2},
                               Storage{"f32", "F32", "float32", 4}};

const Storage& StorageOf(const CheckpointSpec& spec) {
  return *std::ranges::find(kStorages, spec.dtype, &Storage::name);
}

/// Elements [first, end) of a tensor: uniform numbers of the wanted deviation, by counter, so that any order
/// gives the same.
void Fill(const NewTensor& tensor, const Storage& storage, std::uint64_t seed, std::size_t first,
          std::size_t end, std::vector<char>& bytes) {
  const std::size_t size = storage.bytes;
  const double half_width = tensor.deviation * std::sqrt(3.0);
  for (std::size_t i = first; i < end; ++i) {
    const double uniform = tensor.deviation == 0 ? 0 : CounterUniform(seed, i);
    const auto value = static_cast<float>(tensor.deviation == 0 ? 1 : (2 * uniform - 1) * half_width);
    if (size == 2) {
      const std::uint16_t stored = storage.name == "bf16" ? ToBf16(value) : ToF16(value);
      std::memcpy(bytes.data() + i * size, &stored, size);
    } else {
      std::memcpy(bytes.data() + i * size, &value, size);
    }
  }
}

/// The tensor's bytes; a large one's by all processors.
std::vector<char> Bytes(const NewTensor& tensor, const Storage& storage, std::uint64_t seed) {
  const auto elements = static_cast<std::size_t>(tensor.Elements());
  std::vector<char> bytes(elements * storage.bytes);
  constexpr std::size_t kShare = 1U << 22;  // elements that are worth a thread
  const std::size_t threads =
      std::clamp<std::size_t>(elements / kShare, 1, std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < threads; ++t) {
    others.emplace_back(
        [&, t] { Fill(tensor, storage, seed, elements * t / threads, elements * (t + 1) / threads, bytes); });
  }
  Fill(tensor, storage, seed, 0, elements / threads, bytes);
  others.clear();
  return bytes;
}

absl::Status WriteShard(const CheckpointSpec& spec, std::span<const NewTensor> tensors,
                        std::size_t first_tensor, const std::string& path) {
  const Storage& storage = StorageOf(spec);
  json::Object header;
  std::int64_t offset = 0;
  for (const NewTensor& tensor : tensors) {
    const std::int64_t end = offset + tensor.Elements() * static_cast<std::int64_t>(storage.bytes);
    header.emplace_back(tensor.name,
                        json::Object{{"dtype", storage.stored},
                                     {"shape", json::Array(tensor.shape.begin(), tensor.shape.end())},
                                     {"data_offsets", json::Array{offset, end}}});
    offset = end;
  }
  std::string text = json::Serialize(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data are aligned
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  const std::uint64_t length = text.size();
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<char> bytes = Bytes(tensors[i], storage, CounterBits(spec.seed, first_tensor + i));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  out.close();
  if (!out) return Error(kUnavailable, "{}: cannot be written", path);
  return absl::OkStatus();
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text << '\n';
  out.close();
  if (!out) return Error(kUnavailable, "{}: cannot be written", path);
  return absl::OkStatus();
}

absl::Status WriteConfigs(const CheckpointSpec& spec, const std::string& directory) {
  const json::Array eos{spec.vocabulary - 1};
  json::Object config{{"architectures", json::Array{spec.architecture}},
                      {"hidden_act", "silu"},
                      {"hidden_size", spec.hidden},
                      {"intermediate_size", spec.intermediate},
                      {"num_hidden_layers", spec.layers},
                      {"num_attention_heads", spec.heads},
                      {"num_key_value_heads", spec.kv_heads},
                      {"head_dim", spec.head_dim},
                      {"vocab_size", spec.vocabulary},
                      {"max_position_embeddings", spec.context},
                      {"rms_norm_eps", 1e-5},
                      {"rope_theta", 10000.0},
                      {"tie_word_embeddings", spec.tied_embeddings},
                      {"eos_token_id", eos},
                      {"torch_dtype", StorageOf(spec).torch}};
  if (!Is(spec, "Llama")) {
    config.emplace_back("sliding_window", spec.window > 0 ? json::Value(spec.window) : json::Value());
    config.emplace_back("use_sliding_window", spec.window > 0);
    config.emplace_back("max_window_layers", 1);
  }
  if (spec.biases) {
    config.emplace_back("attention_bias", true);
    config.emplace_back("mlp_bias", true);
  }
  if (spec.experts > 0) {
    config.emplace_back(Is(spec, "Mixtral") ? "num_local_experts" : "num_experts", spec.experts);
    config.emplace_back("num_experts_per_tok", spec.experts_chosen);
    config.emplace_back("moe_intermediate_size", spec.expert_intermediate);
    config.emplace_back("shared_expert_intermediate_size", spec.shared_intermediate);
    if (!spec.dense_layers.empty())
      config.emplace_back("mlp_only_layers", json::Array(spec.dense_layers.begin(), spec.dense_layers.end()));
  }
  BATON_ASSIGN_OR_RETURN(const json::Value overlay, json::Parse(spec.config_overlay));
  for (const auto& [key, value] : *overlay.AsObject()) config.emplace_back(key, value);
  BATON_RETURN_IF_ERROR(WriteText(directory + "/config.json", json::Serialize(config)));
  return WriteText(directory + "/generation_config.json",
                   json::Serialize(json::Object{{"eos_token_id", eos}}));
}

absl::Status WriteWeights(const CheckpointSpec& spec, const std::string& directory) {
  const std::vector<NewTensor> tensors = Tensors(spec);
  if (spec.shards == 1) return WriteShard(spec, tensors, 0, directory + "/model.safetensors");
  json::Object map;
  const auto shards = static_cast<std::size_t>(spec.shards);
  for (std::size_t shard = 0; shard < shards; ++shard) {
    const std::size_t first = tensors.size() * shard / shards;
    const std::size_t end = tensors.size() * (shard + 1) / shards;
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
    for (std::size_t i = first; i < end; ++i) map.emplace_back(tensors[i].name, name);
    BATON_RETURN_IF_ERROR(
        WriteShard(spec, std::span(tensors).subspan(first, end - first), first, directory + "/" + name));
  }
  return WriteText(directory + "/model.safetensors.index.json",
                   json::Serialize(json::Object{{"weight_map", map}}));
}

/// The settings without the limit that the tokenizer's own model has: a longer context is what a shape may
/// ask for.
absl::Status CopyTokenizerSettings(const std::string& from, const std::string& to) {
  std::ifstream in(from, std::ios::binary);
  if (!in) return Error(kUnavailable, "{}: cannot be read", from);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  BATON_ASSIGN_OR_RETURN(const json::Value settings, json::Parse(text));
  const json::Object* fields = settings.AsObject();
  if (fields == nullptr) return Error(kInvalidArgument, "{}: is no JSON object", from);
  json::Object kept;
  for (const auto& [name, value] : *fields) {
    if (name != "model_max_length") kept.emplace_back(name, value);
  }
  return WriteText(to, json::Serialize(kept));
}

absl::Status CopyTokenizer(const CheckpointSpec& spec, const std::string& directory) {
  if (spec.tokenizer_directory.empty()) return absl::OkStatus();
  const std::string from = spec.tokenizer_directory + "/tokenizer.json";
  std::error_code error;
  std::filesystem::copy_file(from, directory + "/tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing, error);
  if (error) return Error(kUnavailable, "{}: cannot be copied: {}", from, error.message());
  return CopyTokenizerSettings(spec.tokenizer_directory + "/tokenizer_config.json",
                               directory + "/tokenizer_config.json");
}

}  // namespace

std::int64_t CheckpointSpec::Parameters() const {
  std::int64_t parameters = 0;
  for (const NewTensor& tensor : Tensors(*this)) parameters += tensor.Elements();
  return parameters;
}

std::vector<std::string> ShapeNames() {
  return {"1m", "15m", "125m", "1.1b", "8b"};
}

absl::StatusOr<CheckpointSpec> NamedShape(std::string_view name) {
  if (name == "1m") return CheckpointSpec{};
  if (name == "15m") {
    return CheckpointSpec{.hidden = 288,
                          .intermediate = 768,
                          .layers = 6,
                          .heads = 6,
                          .kv_heads = 6,
                          .head_dim = 48,
                          .vocabulary = 32000};
  }
  if (name == "125m") {
    return CheckpointSpec{.hidden = 768,
                          .intermediate = 2048,
                          .layers = 12,
                          .heads = 12,
                          .kv_heads = 4,
                          .head_dim = 64,
                          .vocabulary = 32000,
                          .tied_embeddings = false};
  }
  if (name == "1.1b") {
    return CheckpointSpec{.hidden = 2048,
                          .intermediate = 5632,
                          .layers = 22,
                          .heads = 32,
                          .kv_heads = 4,
                          .head_dim = 64,
                          .vocabulary = 32000,
                          .tied_embeddings = false};
  }
  if (name == "8b") {
    return CheckpointSpec{.hidden = 4096,
                          .intermediate = 14336,
                          .layers = 32,
                          .heads = 32,
                          .kv_heads = 8,
                          .head_dim = 128,
                          .vocabulary = 128256,
                          .tied_embeddings = false};
  }
  return Error(kInvalidArgument, "shape {} is none of {}", name, fmt::join(ShapeNames(), ", "));
}

absl::Status MakeCheckpoint(const CheckpointSpec& spec, const std::string& directory) {
  if (std::ranges::find(kStorages, spec.dtype, &Storage::name) == kStorages.end()) {
    return Error(kInvalidArgument, "dtype {} is none of bf16, f16 and f32", spec.dtype);
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Error(kUnavailable, "{}: cannot be made: {}", directory, error.message());
  BATON_RETURN_IF_ERROR(WriteConfigs(spec, directory));
  BATON_RETURN_IF_ERROR(WriteWeights(spec, directory));
  return CopyTokenizer(spec, directory);
}

}  // namespace baton::test
