#include "router/generate.h"

#include <catch2/catch.hpp>

#include "common/text/prefix_hash.h"
#include "tests/support/shared_data.h"

namespace baton::router {
namespace {

const ModelInfo& Demo() {
  static const auto model = *LoadModelInfo(test::ProjectFile("deploy/demo-model"), "baton-demo");
  return *model;
}

GenerationRequest Completion(std::string prompt) {
  GenerationRequest request;
  request.prompts = {std::move(prompt)};
  return request;
}

GenerationRequest Chat() {
  GenerationRequest request;
  request.endpoint = Endpoint::kChat;
  request.messages = {json::Object{{"role", "user"}, {"content", "hi"}}};
  return request;
}

Job Made(const GenerationRequest& request) {
  Job job;
  const auto error = MakeJob(request, Demo(), Demo().context_tokens, 99, job);
  REQUIRE_FALSE(error);
  return job;
}

std::string Refused(const GenerationRequest& request, std::int64_t context = 512) {
  Job job;
  const auto error = MakeJob(request, Demo(), context, 99, job);
  return error ? error->code : "";
}

TEST_CASE("a prompt's prefixes are named under the request's salt, block by block") {
  GenerationRequest request;
  request.prompts = {std::vector<TokenId>(40, 5)};
  const Job plain = Made(request);
  request.cache_salt = "tenant";
  const Job salted = Made(request);

  CHECK(plain.prefixes == text::PrefixNames("", *plain.prompt, 16));
  CHECK(salted.prefixes == text::PrefixNames("tenant", *plain.prompt, 16));
  CHECK(salted.prefixes.size() == 2);
  CHECK(salted.prefixes != plain.prefixes);
  CHECK(salted.cache_salt == "tenant");
}

TEST_CASE("the model's directory says its context, end tokens and defaults") {
  CHECK(Demo().context_tokens == 512);
  CHECK(Demo().end_ids == std::vector<TokenId>{2045, 2047});
  CHECK(Demo().defaults.temperature == 0.7);
  CHECK(Demo().defaults.top_p == 0.9);
  CHECK(Demo().defaults.top_k == 40);
}

TEST_CASE("a directory that is no model is an error that names the file") {
  const auto model = LoadModelInfo("/nonexistent", "x");
  REQUIRE_FALSE(model.ok());
  CHECK(std::string(model.status().message()).find("/nonexistent") != std::string::npos);
}

TEST_CASE("a silent client gets the model's sampling, sixteen tokens and the router's seed") {
  const Job job = Made(Completion("Once upon a time"));
  CHECK(job.sampling.temperature == 0.7);
  CHECK(job.sampling.top_k == 40);
  CHECK(job.sampling.seed == 99);
  CHECK(job.max_tokens == 16);
  CHECK(job.stop_ids == std::vector<TokenId>{2045, 2047});
}

TEST_CASE("what the client says wins, zero too") {
  GenerationRequest request = Completion("Once");
  request.temperature = 0;
  request.top_k = 0;
  request.seed = 0;
  request.max_tokens = 3;
  request.stop_token_ids = {7, 2047, 7};
  const Job job = Made(request);
  CHECK(job.sampling.temperature == 0);
  CHECK(job.sampling.top_k == 0);
  CHECK(job.sampling.seed == 0);
  CHECK(job.max_tokens == 3);
  CHECK(job.stop_ids == std::vector<TokenId>{7, 2045, 2047});
}

TEST_CASE("ignore_eos leaves the client's own stop tokens alone") {
  GenerationRequest request = Completion("Once");
  request.ignore_eos = true;
  request.stop_token_ids = {7};
  CHECK(Made(request).stop_ids == std::vector<TokenId>{7});
}

TEST_CASE("a chat is rendered by the model's template and may fill the context") {
  const Job job = Made(Chat());
  CHECK(Demo().tokenizer->Decode(*job.prompt, false) ==
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  CHECK(job.max_tokens == 512 - static_cast<std::int64_t>(job.prompt->size()));
}

TEST_CASE("prompt and answer must fit into the context, to the token") {
  GenerationRequest request;
  request.prompts = {std::vector<TokenId>(500, 5)};
  CHECK(Made(request).max_tokens == 12);  // the default is cut, what is asked for is not
  request.max_tokens = 12;
  CHECK(Refused(request).empty());
  request.max_tokens = 13;
  CHECK(Refused(request) == "context_length_exceeded");
  request.max_tokens = std::nullopt;
  request.prompts = {std::vector<TokenId>(512, 5)};
  CHECK(Refused(request) == "context_length_exceeded");
  CHECK(Refused(Completion("Once upon a time"), 3) == "context_length_exceeded");
}

TEST_CASE("a least number of tokens raises the default and must fit") {
  GenerationRequest request = Completion("Once");
  request.min_tokens = 50;
  CHECK(Made(request).max_tokens == 50);
  request.min_tokens = 600;
  CHECK(Refused(request) == "invalid_value");
}

}  // namespace
}  // namespace baton::router
