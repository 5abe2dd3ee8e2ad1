#include "engine/model/model_config.h"

#include <cmath>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"

namespace baton::engine {
namespace {

constexpr std::string_view kPlain = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 128,
  "intermediate_size": 320, "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2,
  "vocab_size": 1024, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "eos_token_id": 7)";

/// kPlain with members added; of equal names `extra` replaces.
std::string With(std::string_view extra) {
  std::string text(kPlain);
  const std::string key(extra.substr(0, extra.find(':')));
  if (const auto at = text.find(key); !extra.empty() && at != std::string::npos) {
    const auto open_list = text.find('[', at);
    auto end = text.find_first_of(",)", at);
    if (open_list != std::string::npos && open_list < end) end = text.find(']', at) + 1;
    if (end == std::string::npos) end = text.size();
    text.replace(at, end - at, extra);
    return text + "}";
  }
  return text + (extra.empty() ? "" : ", " + std::string(extra)) + "}";
}

std::string ErrorOf(std::string_view extra, std::string_view generation = "") {
  const auto config = ParseModelConfig(With(extra), generation);
  return config.ok() ? "accepted" : Message(config.status());
}

TEST_CASE("a plain Llama config is read") {
  const auto config = ParseModelConfig(With(""), "");

  REQUIRE(config.ok());
  CHECK(config->hidden == 128);
  CHECK(config->intermediate == 320);
  CHECK(config->layers == 3);
  CHECK(config->heads == 8);
  CHECK(config->kv_heads == 2);
  CHECK(config->head_dim == 16);
  CHECK(config->vocabulary == 1024);
  CHECK(config->context == 512);
  CHECK(config->rms_epsilon == Approx(1e-5));
  CHECK(config->rope_theta == 10000);
  CHECK_FALSE(config->tied_embeddings);
  CHECK(config->eos == std::vector<TokenId>{7});
}

TEST_CASE("generation_config.json overrides the end-of-sequence ids") {
  CHECK(ParseModelConfig(With(""), R"({"eos_token_id": [3, 4]})")->eos == std::vector<TokenId>{3, 4});
  CHECK(ParseModelConfig(With(""), R"({"eos_token_id": null})")->eos == std::vector<TokenId>{7});
  CHECK(ParseModelConfig(With(""), R"({"temperature": 0.5})")->eos == std::vector<TokenId>{7});
}

TEST_CASE("what a config lies about is named in the error") {
  CHECK(ErrorOf(R"("num_key_value_heads": 3)") ==
        "config.json: num_key_value_heads 3 does not divide num_attention_heads 8");
  CHECK(ErrorOf(R"("hidden_size": 0)") == "config.json: hidden_size must be between 1 and 1048576, not 0");
  CHECK(ErrorOf(R"("hidden_size": "128")") == "config.json: hidden_size must be an integer, not string");
  CHECK(ErrorOf(R"("hidden_size": 130)").find("there is no head_dim") != std::string::npos);
  CHECK(ErrorOf(R"("num_hidden_layers": 99999999999)").find("num_hidden_layers must be") !=
        std::string::npos);
  CHECK(ErrorOf(R"("vocab_size": null)") == "config.json: vocab_size is missing");
  CHECK(ErrorOf(R"("head_dim": 15)").find("head_dim 15 must be even") != std::string::npos);
  CHECK(ErrorOf(R"("rms_norm_eps": 0)").find("rms_norm_eps must be a number above 0") != std::string::npos);
  CHECK(ErrorOf(R"("rope_theta": -1)").find("rope_theta must be") != std::string::npos);
  CHECK(ErrorOf(R"("rope_theta": 1e-300)").find("rope_theta must be") != std::string::npos);
  CHECK(ErrorOf(R"("rope_scaling": {"type": "linear", "factor": 1e-300})").find("factor must be") !=
        std::string::npos);
  CHECK(ErrorOf(R"("eos_token_id": 1024)") ==
        "config.json: eos_token_id 1024 is outside the vocabulary of 1024");
  CHECK(ErrorOf("", R"({"eos_token_id": [1, -1]})") ==
        "generation_config.json: eos_token_id -1 is outside the vocabulary of 1024");
  CHECK(ErrorOf(R"("tie_word_embeddings": 1)").find("tie_word_embeddings must be true or false") !=
        std::string::npos);
}

TEST_CASE("what is not supported is refused by name") {
  CHECK(ErrorOf(R"("architectures": ["GPT2LMHeadModel"])") ==
        "config.json: architecture GPT2LMHeadModel is not supported; these are: LlamaForCausalLM, "
        "MistralForCausalLM, MixtralForCausalLM, Qwen2ForCausalLM, Qwen2MoeForCausalLM, Qwen3ForCausalLM, "
        "Qwen3MoeForCausalLM");
  CHECK(ErrorOf(R"("hidden_act": "swish")") == "accepted");
  CHECK(ErrorOf(R"("hidden_act": "gelu")") == "config.json: hidden_act \"gelu\" is not supported; silu is");
  CHECK(ErrorOf(R"("quantization_config": {"bits": 4})").find("quantization_config is not supported") !=
        std::string::npos);
  CHECK(ErrorOf(R"("sliding_window": 32)") ==
        "config.json: sliding_window is not supported for LlamaForCausalLM");
  CHECK(ErrorOf(R"("num_local_experts": 8)") ==
        "config.json: num_local_experts is not supported for LlamaForCausalLM");
  CHECK(ErrorOf(R"("rope_scaling": {"rope_type": "longrope", "factor": 2})") ==
        "config.json: rope_scaling: rope_type \"longrope\" is not supported; default, dynamic, linear, "
        "llama3 and yarn "
        "are");
  CHECK(ErrorOf(R"("rope_parameters": {"full_attention": {"rope_theta": 10000}})") ==
        "config.json: rope_parameters: parameters for some layers ('full_attention') are not supported");
  CHECK(ErrorOf(R"("rope_parameters": {"rope_theta": 10000, "partial_rotary_factor": 0.5})") ==
        "config.json: rope_parameters: partial_rotary_factor 0.5 is not supported");
}

/// kPlain of another architecture, members added.
absl::StatusOr<ModelConfig> Of(std::string_view architecture, const std::string& members) {
  std::string text(kPlain);
  text.replace(text.find("LlamaForCausalLM"), 16, architecture);
  return ParseModelConfig(text + (members.empty() ? "" : ", " + members) + "}", "");
}

TEST_CASE("a Mistral whose sliding_window is left out has 4096, null has none") {
  CHECK(Of("MistralForCausalLM", "")->windows == std::vector{4096, 4096, 4096});
  CHECK(Of("MistralForCausalLM", R"("sliding_window": null)")->windows == std::vector{0, 0, 0});
  CHECK(Of("MistralForCausalLM", R"("sliding_window": 32)")->windows == std::vector{32, 32, 32});
}

TEST_CASE("a Qwen slides only where it says so, in its upper layers or those it lists") {
  const std::string on = R"("use_sliding_window": true, "sliding_window": 64, )";
  CHECK(Of("Qwen2ForCausalLM", R"("sliding_window": 64)")->windows == std::vector{0, 0, 0});
  CHECK(Of("Qwen2ForCausalLM", on + R"("max_window_layers": 1)")->windows == std::vector{0, 64, 64});
  CHECK(Of("Qwen3ForCausalLM", on + R"("max_window_layers": 0)")->windows == std::vector{64, 64, 64});
  CHECK(Of("Qwen3ForCausalLM",
           on + R"("layer_types": ["sliding_attention", "full_attention", "full_attention"])")
            ->windows == std::vector{64, 0, 0});
  CHECK(Message(Of("Qwen3ForCausalLM", on + R"("layer_types": ["linear_attention", "a", "b"])").status())
            .find("\"linear_attention\" is not supported") != std::string::npos);
  CHECK(Message(Of("Qwen2ForCausalLM", R"("layer_types": ["full_attention", "full_attention",
        "sliding_attention"])")
                    .status()) ==
        "config.json: layer_types names sliding_attention, but no sliding window is used");
  CHECK(Message(Of("Qwen3ForCausalLM", on + R"("layer_types": [])").status()).find("3 names") !=
        std::string::npos);
}

/// As the reference's configuration classes have it.
TEST_CASE("the window of a Qwen-MoE is all layers', or every other lower layer's") {
  const std::string experts = R"("num_experts": 6, "num_experts_per_tok": 4, "moe_intermediate_size": 40, )"
                              R"("shared_expert_intermediate_size": 64, )";
  const std::string on = experts + R"("use_sliding_window": true, "sliding_window": 64, )";
  CHECK(Of("Qwen3MoeForCausalLM", experts + R"("sliding_window": 64)")->windows == std::vector{0, 0, 0});
  CHECK(Of("Qwen3MoeForCausalLM", on + R"("max_window_layers": 1)")->windows == std::vector{64, 64, 64});
  CHECK(Of("Qwen2MoeForCausalLM", experts + R"("sliding_window": 64)")->windows == std::vector{0, 0, 0});
  CHECK(Of("Qwen2MoeForCausalLM", experts + R"("sliding_window": 0)")->windows == std::vector{0, 0, 0});
  CHECK(Of("Qwen2MoeForCausalLM", on + R"("max_window_layers": 28)")->windows == std::vector{64, 0, 64});
  CHECK(Of("Qwen2MoeForCausalLM", on + R"("max_window_layers": 1)")->windows == std::vector{64, 0, 0});
}

TEST_CASE("key-value heads that are null are as many as query heads, left out they are the family's") {
  const std::string_view rest = R"("hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 3,
    "num_attention_heads": 16, "vocab_size": 1024})";
  const auto kv_heads = [&](std::string_view head) {
    return ParseModelConfig(std::string(head) + std::string(rest), "")->kv_heads;
  };
  CHECK(kv_heads(R"({"architectures": ["MistralForCausalLM"], "num_key_value_heads": null, )") == 16);
  CHECK(kv_heads(R"({"architectures": ["MistralForCausalLM"], )") == 8);
  CHECK(kv_heads(R"({"architectures": ["LlamaForCausalLM"], )") == 16);
}

TEST_CASE("a config without architectures is that of its model_type") {
  const std::string rest(kPlain.substr(kPlain.find("\"hidden_size")));
  const auto of_type = [&](std::string_view members) {
    return ParseModelConfig("{" + std::string(members) + rest + "}", "");
  };
  CHECK(of_type(R"("model_type": "qwen3", )")->architecture == "Qwen3ForCausalLM");
  CHECK(of_type(R"("model_type": "llama", "architectures": null, )")->architecture == "LlamaForCausalLM");
  CHECK(Message(of_type(R"("model_type": "gpt2", )").status()) == "config.json: architectures is missing");
}

TEST_CASE("biases and norms are those of the architecture") {
  const auto flags = [](const absl::StatusOr<ModelConfig>& config) {
    return std::vector{config->qkv_bias, config->output_bias, config->qk_norm};
  };
  const std::string bias = R"("attention_bias": true)";
  CHECK(flags(Of("LlamaForCausalLM", "")) == std::vector{false, false, false});
  CHECK(flags(Of("LlamaForCausalLM", bias)) == std::vector{true, true, false});
  CHECK(flags(Of("Qwen2ForCausalLM", "")) == std::vector{true, false, false});
  CHECK(flags(Of("Qwen3ForCausalLM", "")) == std::vector{false, false, true});
  CHECK(flags(Of("Qwen3ForCausalLM", bias)) == std::vector{true, true, true});
  CHECK(Of("Qwen3ForCausalLM", "")->head_dim == 128);
  CHECK_FALSE(Of("LlamaForCausalLM", "")->mlp_bias);
  CHECK(Of("LlamaForCausalLM", R"("mlp_bias": true)")->mlp_bias);
  CHECK(Message(Of("Qwen3ForCausalLM", R"("mlp_bias": true)").status()) ==
        "config.json: mlp_bias true is not supported for Qwen3ForCausalLM");
  CHECK(Message(Of("MistralForCausalLM", bias).status()) ==
        "config.json: attention_bias true is not supported for MistralForCausalLM");
}

TEST_CASE("experts are read, and which layers have them") {
  const std::string mixtral = R"("num_local_experts": 8, "num_experts_per_tok": 2)";
  const std::string qwen = R"("num_experts": 6, "num_experts_per_tok": 4, "moe_intermediate_size": 40)";
  const auto plain = Of("MixtralForCausalLM", mixtral);
  REQUIRE(plain.ok());
  CHECK(plain->experts.count == 8);
  CHECK(plain->experts.chosen == 2);
  CHECK(plain->experts.intermediate == 320);
  CHECK(plain->experts.normalize);
  CHECK(plain->has_experts == std::vector{true, true, true});

  const auto sparse = Of("Qwen3MoeForCausalLM", qwen + R"(, "decoder_sparse_step": 2)");
  CHECK(sparse->has_experts == std::vector{false, true, false});
  CHECK_FALSE(sparse->experts.normalize);
  CHECK(sparse->experts.shared_intermediate == 0);
  CHECK(Of("Qwen3MoeForCausalLM", qwen + R"(, "mlp_only_layers": [0])")->has_experts ==
        std::vector{false, true, true});
  CHECK(Of("Qwen2MoeForCausalLM", qwen + R"(, "shared_expert_intermediate_size": 64)")
            ->experts.shared_intermediate == 64);

  CHECK(Of("Qwen3MoeForCausalLM",
           R"("num_local_experts": 6, "num_experts_per_tok": 4, "moe_intermediate_size": 40)")
            ->experts.count == 6);
  CHECK(Of("MixtralForCausalLM", R"("num_experts": 8, "num_experts_per_tok": 2)")->experts.count == 8);

  CHECK(Message(Of("Qwen2MoeForCausalLM", qwen).status()) ==
        "config.json: shared_expert_intermediate_size is missing");
  CHECK(Message(Of("MixtralForCausalLM", R"("num_local_experts": 2, "num_experts_per_tok": 3)").status()) ==
        "config.json: num_experts_per_tok 3 is above the 2 experts");
  CHECK(Message(Of("Qwen3MoeForCausalLM", qwen + R"(, "mlp_only_layers": [3])").status()) ==
        "config.json: mlp_only_layers: 3 is no layer of 0 to 2");
}

TEST_CASE("text that is no JSON object is refused") {
  CHECK(Message(ParseModelConfig("", "").status()).find("config.json: ") == 0);
  CHECK(Message(ParseModelConfig("[]", "").status()) == "config.json: must be a JSON object, not array");
  CHECK(Message(ParseModelConfig(With(""), "{").status()).find("generation_config.json: ") == 0);
}

TEST_CASE("frequencies fall from 1 by powers of theta") {
  const auto config = ParseModelConfig(With(R"("rope_theta": 10000)"), "");

  const std::vector<double> frequencies = InverseFrequencies(*config);

  REQUIRE(frequencies.size() == 8);
  CHECK(frequencies[0] == 1);
  CHECK(frequencies[4] == Approx(0.01));
}

TEST_CASE("linear scaling divides all frequencies") {
  const auto config = ParseModelConfig(With(R"("rope_scaling": {"type": "linear", "factor": 4})"), "");

  REQUIRE(config.ok());
  CHECK(InverseFrequencies(*config)[0] == 0.25);
}

TEST_CASE("llama3 scaling keeps short waves, stretches long ones and blends between") {
  const auto config = ParseModelConfig(With(R"("rope_scaling": {"rope_type": "llama3", "factor": 8,
    "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64})"),
                                       "");
  REQUIRE(config.ok());
  const auto plain = ParseModelConfig(With(""), "");

  const std::vector<double> scaled = InverseFrequencies(*config);
  const std::vector<double> unscaled = InverseFrequencies(*plain);

  CHECK(scaled[0] == unscaled[0]);  // 10.2 waves in 64 positions
  CHECK(scaled[1] < unscaled[1]);   // 3.2 waves: between
  CHECK(scaled[1] > unscaled[1] / 8);
  CHECK(scaled[3] == Approx(unscaled[3] / 8));  // 0.3 waves
}

TEST_CASE(
    "parameters of a newer file may leave the kind of rotation out, and dynamic scaling changes nothing "
    "here") {
  const auto newer = ParseModelConfig(With(R"("rope_parameters": {"rope_theta": 500})"), "");
  REQUIRE(newer.ok());
  CHECK(newer->rope_theta == 500);
  const auto dynamic = ParseModelConfig(With(R"("rope_scaling": {"type": "dynamic", "factor": 4})"), "");
  REQUIRE(dynamic.ok());
  CHECK(InverseFrequencies(*dynamic) == InverseFrequencies(*ParseModelConfig(With(""), "")));
  const auto silent = ParseModelConfig(With(R"("rope_scaling": {"rope_type": "llama3", "factor": 8,
    "low_freq_factor": 1, "high_freq_factor": 4})"),
                                       "");
  REQUIRE(silent.ok());
  CHECK(silent->rope_scaling->original_context == silent->context);
}

/// Frequencies of YaRN as its reference computes them, of 16 rotated dimensions and theta 10000.
TEST_CASE("yarn keeps fast pairs, stretches slow ones, and sharpens attention") {
  const auto config = ParseModelConfig(
      With(R"("rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 4096})"), "");
  REQUIRE(config.ok());
  const std::vector<double> wanted = {1.0,     0.31622776601683794,   0.1,     0.02569350598886808,
                                      0.00625, 0.0013834964763236657, 0.00025, 7.905694150420948e-05};
  const std::vector<double> frequencies = InverseFrequencies(*config);
  REQUIRE(frequencies.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(frequencies[i] == Approx(wanted[i]).epsilon(1e-12));
  CHECK(config->rope_magnitude == Approx(1.138629436111989).epsilon(1e-12));

  const auto magnitude = [](const std::string& more) {
    return ParseModelConfig(With(R"("rope_scaling": {"type": "yarn", "factor": 4, )" + more +
                                 R"("original_max_position_embeddings": 4096})"),
                            "")
        ->rope_magnitude;
  };
  CHECK(magnitude(R"("attention_factor": 1.5, )") == 1.5);
  CHECK(magnitude(R"("mscale": 0.5, "mscale_all_dim": 0.5, )") == 1);
  const auto exact = ParseModelConfig(With(R"("rope_scaling": {"type": "yarn", "factor": 4, "truncate": false,
    "original_max_position_embeddings": 4096})"),
                                      "");
  CHECK(exact->rope_yarn->low == Approx(2.6180602025795063));
  CHECK(exact->rope_yarn->high == Approx(5.628360159219318));
  CHECK(ErrorOf(R"("rope_scaling": {"type": "yarn", "factor": -1})").find("factor must be") !=
        std::string::npos);
}

TEST_CASE("a file with parameters for older and newer readers says the same in both") {
  const auto of = [](const std::string& older, const std::string& newer, const std::string& more = "") {
    return ParseModelConfig(With(R"("rope_scaling": )" + older + R"(, "rope_parameters": )" + newer +
                                 (more.empty() ? "" : ", ") + more),
                            "");
  };
  const std::string yarn = R"("factor": 4, "original_max_position_embeddings": 64})";
  const auto both = of(R"({"type": "yarn", )" + yarn, R"({"rope_type": "yarn", "rope_theta": 1e6, )" + yarn);
  REQUIRE(both.ok());
  CHECK(both->rope_theta == 1e6);
  CHECK(both->rope_yarn->factor == 4);
  const std::string error =
      "config.json: rope_scaling and rope_parameters say different things; leave one of them out";
  CHECK(
      Message(of(R"({"type": "yarn", )" + yarn, R"({"rope_type": "default", "rope_theta": 1e6})").status()) ==
      error);
  CHECK(Message(of(R"({"type": "linear", "factor": 2})",
                   R"({"type": "linear", "factor": 2, "rope_theta": 1e6})", R"("rope_theta": 1e5)")
                    .status()) == error);
  CHECK(Message(of(R"({"type": "yarn", "attention_factor": 2, )" + yarn, R"({"rope_type": "yarn", )" + yarn)
                    .status()) == error);
}

TEST_CASE("the original context may stand beside the parameters of the rotation") {
  const std::string rotation = R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
    "high_freq_factor": 4)";
  const std::string beside = R"(, "original_max_position_embeddings": 128)";
  CHECK(ParseModelConfig(With(rotation + "}" + beside), "")->rope_scaling->original_context == 128);
  CHECK(ParseModelConfig(With(rotation + beside + "}" + beside), "")->rope_scaling->original_context == 128);
  CHECK(
      ErrorOf(rotation + R"(, "original_max_position_embeddings": 64})" + beside) ==
      "config.json: rope_scaling: original_max_position_embeddings 64, but 128 beside it; which one holds?");
}

TEST_CASE("llama3 scaling with crossed bands is refused") {
  CHECK(
      ErrorOf(
          R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
    "original_max_position_embeddings": 64})")
          .find("high_freq_factor 4 must be above") != std::string::npos);
}

TEST_CASE("the demo model's config is read from its folder") {
  const auto config = LoadModelConfig(test::ProjectFile("deploy/demo-model"));

  REQUIRE(config.ok());
  CHECK(config->tied_embeddings);
  CHECK(config->eos == std::vector<TokenId>{2045, 2047});
}

TEST_CASE("a folder without a config is not found by name") {
  const auto config = LoadModelConfig("/nonexistent");

  CHECK(config.status().code() == kNotFound);
  CHECK(Message(config.status()).find("/nonexistent/config.json") == 0);
}

}  // namespace
}  // namespace baton::engine
