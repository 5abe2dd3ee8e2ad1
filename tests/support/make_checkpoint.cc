#include "tests/support/make_checkpoint.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>

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

std::vector<NewTensor> Tensors(const CheckpointSpec& spec) {
  const std::int64_t queries = spec.heads * spec.head_dim;
  const std::int64_t keys = spec.kv_heads * spec.head_dim;
  const auto unit = [](std::int64_t inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); };
  // The state is normed to a mean square of 1 before the head: logits get a deviation of 3.
  const double head_deviation = 3 * unit(spec.hidden);
  std::vector<NewTensor> tensors{
      {"model.embed_tokens.weight", {spec.vocabulary, spec.hidden}, head_deviation}};
  for (std::int64_t layer = 0; layer < spec.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto matrix = [&](const char* name, std::int64_t rows, std::int64_t columns) {
      tensors.push_back({prefix + name, {rows, columns}, unit(columns)});
    };
    tensors.push_back({prefix + "input_layernorm.weight", {spec.hidden}});
    matrix("self_attn.q_proj.weight", queries, spec.hidden);
    matrix("self_attn.k_proj.weight", keys, spec.hidden);
    matrix("self_attn.v_proj.weight", keys, spec.hidden);
    matrix("self_attn.o_proj.weight", spec.hidden, queries);
    tensors.push_back({prefix + "post_attention_layernorm.weight", {spec.hidden}});
    matrix("mlp.gate_proj.weight", spec.intermediate, spec.hidden);
    matrix("mlp.up_proj.weight", spec.intermediate, spec.hidden);
    matrix("mlp.down_proj.weight", spec.hidden, spec.intermediate);
  }
  tensors.push_back({"model.norm.weight", {spec.hidden}});
  if (!spec.tied_embeddings)
    tensors.push_back({"lm_head.weight", {spec.vocabulary, spec.hidden}, head_deviation});
  return tensors;
}

std::uint16_t ToBf16(float value) {  // to nearest, ties to even; no infinities or NaN here
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// The tensor's bytes: uniform numbers of the wanted deviation, by counter, so that any order gives the same.
std::vector<char> Bytes(const NewTensor& tensor, bool bf16, std::uint64_t seed) {
  const auto elements = static_cast<std::size_t>(tensor.Elements());
  const std::size_t size = bf16 ? 2 : 4;
  std::vector<char> bytes(elements * size);
  const double half_width = tensor.deviation * std::sqrt(3.0);
  for (std::size_t i = 0; i < elements; ++i) {
    const double uniform = tensor.deviation == 0 ? 0 : CounterUniform(seed, i);
    const auto value = static_cast<float>(tensor.deviation == 0 ? 1 : (2 * uniform - 1) * half_width);
    if (bf16) {
      const std::uint16_t stored = ToBf16(value);
      std::memcpy(bytes.data() + i * size, &stored, size);
    } else {
      std::memcpy(bytes.data() + i * size, &value, size);
    }
  }
  return bytes;
}

absl::Status WriteShard(const CheckpointSpec& spec, std::span<const NewTensor> tensors,
                        std::size_t first_tensor, const std::string& path) {
  const bool bf16 = spec.dtype == "bf16";
  json::Object header;
  std::int64_t offset = 0;
  for (const NewTensor& tensor : tensors) {
    const std::int64_t end = offset + tensor.Elements() * (bf16 ? 2 : 4);
    header.emplace_back(tensor.name,
                        json::Object{{"dtype", bf16 ? "BF16" : "F32"},
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
    const std::vector<char> bytes = Bytes(tensors[i], bf16, CounterBits(spec.seed, first_tensor + i));
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
  const json::Object config{{"architectures", json::Array{"LlamaForCausalLM"}},
                            {"model_type", "llama"},
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
                            {"torch_dtype", spec.dtype == "bf16" ? "bfloat16" : "float32"}};
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

absl::Status CopyTokenizer(const CheckpointSpec& spec, const std::string& directory) {
  if (spec.tokenizer_directory.empty()) return absl::OkStatus();
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    const std::string from = spec.tokenizer_directory + "/" + file;
    std::error_code error;
    std::filesystem::copy_file(from, directory + "/" + file,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) return Error(kUnavailable, "{}: cannot be copied: {}", from, error.message());
  }
  return absl::OkStatus();
}

}  // namespace

std::int64_t CheckpointSpec::Parameters() const {
  std::int64_t parameters = 0;
  for (const NewTensor& tensor : Tensors(*this)) parameters += tensor.Elements();
  return parameters;
}

std::vector<std::string> ShapeNames() {
  return {"1m", "15m", "125m", "1.1b"};
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
  return Error(kInvalidArgument, "shape {} is none of {}", name, fmt::join(ShapeNames(), ", "));
}

absl::Status MakeCheckpoint(const CheckpointSpec& spec, const std::string& directory) {
  if (spec.dtype != "bf16" && spec.dtype != "f32") {
    return Error(kInvalidArgument, "dtype {} is neither bf16 nor f32", spec.dtype);
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Error(kUnavailable, "{}: cannot be made: {}", directory, error.message());
  BATON_RETURN_IF_ERROR(WriteConfigs(spec, directory));
  BATON_RETURN_IF_ERROR(WriteWeights(spec, directory));
  return CopyTokenizer(spec, directory);
}

}  // namespace baton::test
