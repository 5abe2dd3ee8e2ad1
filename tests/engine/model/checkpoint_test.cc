#include "engine/model/checkpoint.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "engine/model/model.h"
#include "tests/support/make_checkpoint.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

bool Mentions(const absl::Status& status, std::string_view part) {
  return Message(status).find(part) != std::string::npos;
}

test::CheckpointSpec Tiny() {
  return {.hidden = 32,
          .intermediate = 48,
          .layers = 2,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 16,
          .vocabulary = 64,
          .context = 128};
}

/// Replaces the first `from` in a file of the folder.
void Edit(const std::string& path, std::string_view from, std::string_view to) {
  std::string text = test::ReadFile(path);
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

absl::Status LoadStatus(const std::string& directory) {
  const auto backend = kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1});
  REQUIRE(backend.ok());
  return LoadModel(directory, **backend, 16).status();
}

TEST_CASE("a tensor is found with the shape that is asked for") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Tiny(), folder.Path()).ok());
  const auto checkpoint = Checkpoint::Open(folder.Path());
  REQUIRE(checkpoint.ok());

  const auto tensor = checkpoint->Tensor("model.norm.weight", std::array<std::int64_t, 1>{32});
  REQUIRE(tensor.ok());
  CHECK(ToFloats(*tensor) == std::vector<float>(32, 1.0F));

  const auto wrong = checkpoint->Tensor("model.norm.weight", std::array<std::int64_t, 1>{31});
  CHECK(Message(wrong.status()) == folder.Path() +
                                       "/model.safetensors: tensor model.norm.weight has shape [32]; "
                                       "config.json asks for [31]");
  CHECK(checkpoint->Tensor("model.norm", std::array<std::int64_t, 1>{32}).status().code() == kNotFound);
}

TEST_CASE("shards hold the same weights as one file") {
  const test::TemporaryFolder whole;
  const test::TemporaryFolder split;
  test::CheckpointSpec spec = Tiny();
  REQUIRE(test::MakeCheckpoint(spec, whole.Path()).ok());
  spec.shards = 3;
  REQUIRE(test::MakeCheckpoint(spec, split.Path()).ok());

  const auto a = Checkpoint::Open(whole.Path());
  const auto b = Checkpoint::Open(split.Path());

  REQUIRE(a.ok());
  REQUIRE(b.ok());
  CHECK(a->Fingerprint() == b->Fingerprint());
}

TEST_CASE("one other bit of the weights is another fingerprint") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Tiny(), folder.Path()).ok());
  const std::uint64_t before = Checkpoint::Open(folder.Path())->Fingerprint();
  const std::string path = folder.Path() + "/model.safetensors";
  std::string bytes = test::ReadFile(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;

  CHECK(Checkpoint::Open(folder.Path())->Fingerprint() != before);
}

TEST_CASE("a missing shard and a folder without weights are named") {
  const test::TemporaryFolder folder;
  test::CheckpointSpec spec = Tiny();
  spec.shards = 2;
  REQUIRE(test::MakeCheckpoint(spec, folder.Path()).ok());
  std::filesystem::remove(folder.Path() + "/model-00002-of-00002.safetensors");

  CHECK(Mentions(Checkpoint::Open(folder.Path()).status(), "model-00002-of-00002.safetensors: open"));
  std::filesystem::remove(folder.Path() + "/model.safetensors.index.json");
  CHECK(Mentions(Checkpoint::Open(folder.Path()).status(), "has neither model.safetensors nor"));
}

TEST_CASE("a shard's name may not leave the folder") {
  for (const char* name : {"../x.safetensors", "/etc/passwd", "a/b", "..", ""}) {
    CAPTURE(name);
    const auto shards = ParseShardIndex(fmt::format(R"({{"weight_map":{{"w":"{}"}}}})", name));
    CHECK(shards.status().code() == kInvalidArgument);
  }
  CHECK(ParseShardIndex(R"({"weight_map":{"w":"b","v":"a","u":"b"}})").value() ==
        std::vector<std::string>{"a", "b"});
  CHECK_FALSE(ParseShardIndex(R"({"weight_map":{}})").ok());
  CHECK_FALSE(ParseShardIndex(R"({"weight_map":{"w":3}})").ok());
  CHECK_FALSE(ParseShardIndex("[]").ok());
}

TEST_CASE("a model whose config does not fit its weights is refused, and the tensor named") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Tiny(), folder.Path()).ok());
  CHECK(LoadStatus(folder.Path()).ok());

  Edit(folder.Path() + "/config.json", "\"intermediate_size\":48", "\"intermediate_size\":64");
  CHECK(Mentions(LoadStatus(folder.Path()), "tensor model.layers.0.mlp.gate_proj.weight has shape [48, 32]"));
  Edit(folder.Path() + "/config.json", "\"intermediate_size\":64", "\"intermediate_size\":48");
  Edit(folder.Path() + "/config.json", "\"num_hidden_layers\":2", "\"num_hidden_layers\":3");
  CHECK(Mentions(LoadStatus(folder.Path()), "tensor model.layers.2.input_layernorm.weight is missing"));
  Edit(folder.Path() + "/config.json", "\"num_hidden_layers\":3", "\"num_hidden_layers\":2");
  Edit(folder.Path() + "/config.json", "\"tie_word_embeddings\":true", "\"tie_word_embeddings\":false");
  CHECK(Mentions(LoadStatus(folder.Path()), "tensor lm_head.weight is missing"));
}

TEST_CASE("a weight of a type that weights cannot have is refused") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Tiny(), folder.Path()).ok());
  Edit(folder.Path() + "/model.safetensors", "\"dtype\":\"BF16\"", "\"dtype\":\"I16\" ");

  CHECK(Mentions(LoadStatus(folder.Path()), "tensor model.embed_tokens.weight: dtype I16 is not supported"));
}

TEST_CASE("the fingerprint of a model changes with its config") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Tiny(), folder.Path()).ok());
  const auto backend = kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1});
  REQUIRE(backend.ok());
  const std::uint64_t before = LoadModel(folder.Path(), **backend, 16).value()->Fingerprint();
  CHECK(LoadModel(folder.Path(), **backend, 16).value()->Fingerprint() == before);

  Edit(folder.Path() + "/config.json", "\"rope_theta\":10000.0", "\"rope_theta\":10001.0");
  CHECK(LoadModel(folder.Path(), **backend, 16).value()->Fingerprint() != before);
}

}  // namespace
}  // namespace baton::engine
