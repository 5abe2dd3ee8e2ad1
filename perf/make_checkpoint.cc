#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "tests/support/make_checkpoint.h"

/// baton-make-checkpoint: a Llama checkpoint of random weights, in the files that Hugging Face uses.
int main(int argc, char** argv) {
  CLI::App app{"Writes a Llama checkpoint of random weights: for tests and benchmarks, its text is noise."};
  std::string shape = "1m";
  std::string dtype = "bf16";
  std::string out;
  std::string tokenizer;
  std::int64_t context = 8192;
  std::uint64_t seed = 1;
  int shards = 1;
  app.add_option("--shape", shape, "size in parameters")
      ->check(CLI::IsMember(baton::test::ShapeNames()))
      ->capture_default_str();
  app.add_option("--context", context, "longest sequence (max_position_embeddings)")
      ->check(CLI::Range(std::int64_t{16}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--seed", seed, "of the weights; the same one gives the same bytes")->capture_default_str();
  app.add_option("--dtype", dtype, "stored type")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  app.add_option("--shards", shards, "files that the weights are split into")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app.add_option("--tokenizer", tokenizer,
                 "folder whose tokenizer.json and tokenizer_config.json are copied");
  app.add_option("--out", out, "folder to write, made where it is missing")->required();
  app.footer(
      "Examples:\n"
      "  baton-make-checkpoint --shape 1m --context 8192 --tokenizer deploy/demo-model --out /tmp/model-1m\n"
      "  baton-make-checkpoint --shape 125m --dtype f32 --seed 7 --out /tmp/model-125m\n\n"
      "Shapes (hidden, intermediate, layers, heads/kv_heads x head_dim, vocabulary):\n"
      "  1m    128, 384, 4, 4/2 x 32, 2048, tied embeddings (the demo model's vocabulary)\n"
      "  15m   288, 768, 6, 6/6 x 48, 32000, tied embeddings\n"
      "  125m  768, 2048, 12, 12/4 x 64, 32000\n"
      "  1.1b  2048, 5632, 22, 32/4 x 64, 32000\n"
      "  8b    4096, 14336, 32, 32/8 x 128, 128256 (16 GB as bf16)");
  CLI11_PARSE(app, argc, argv);

  auto spec = baton::test::NamedShape(shape);
  if (!spec.ok()) {
    fmt::print(stderr, "baton-make-checkpoint: {}\n", baton::Message(spec.status()));
    return 2;
  }
  spec->context = context;
  spec->seed = seed;
  spec->dtype = dtype;
  spec->shards = shards;
  spec->tokenizer_directory = tokenizer;
  if (const absl::Status status = baton::test::MakeCheckpoint(*spec, out); !status.ok()) {
    fmt::print(stderr, "baton-make-checkpoint: {}\n", baton::Message(status));
    return 1;
  }
  fmt::print("{}: {:.1f} million parameters as {}, context {}, seed {}\n", out,
             static_cast<double>(spec->Parameters()) / 1e6, dtype, context, seed);
  return 0;
}
