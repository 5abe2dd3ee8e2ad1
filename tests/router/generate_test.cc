#include "router/generate.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "common/text/prefix_hash.h"
#include "tests/common/text/toy_tokenizer.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

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
  request.add_special_tokens = false;
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

TEST_CASE("a tokenizer that takes less than the model's positions shortens the context") {
  const test::TemporaryFolder folder;
  for (const std::string_view name : {"config.json", "tokenizer.json"})
    std::filesystem::copy(test::ProjectFile(fmt::format("deploy/demo-model/{}", name)), folder.Path());
  const auto context_with = [&](std::string_view most) {
    std::ofstream(folder.Path() + "/tokenizer_config.json") << R"({"model_max_length":)" << most << "}";
    const auto model = LoadModelInfo(folder.Path(), "x");
    REQUIRE(model.ok());
    return (*model)->context_tokens;
  };

  CHECK(context_with("7") == 7);
  CHECK(context_with("4096") == 512);
  CHECK(context_with("1000000000000000019884624838656") == 512);
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

/// The demo's model with another template and other defaults.
std::unique_ptr<const ModelInfo> Changed(std::string_view chat_template, const json::Object& generation) {
  const test::TemporaryFolder folder;
  for (const std::string_view name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy(test::ProjectFile(fmt::format("deploy/demo-model/{}", name)), folder.Path());
  }
  std::ofstream(folder.Path() + "/chat_template.jinja") << chat_template;
  std::ofstream(folder.Path() + "/generation_config.json") << json::Serialize(generation);
  auto model = LoadModelInfo(folder.Path(), "changed");
  INFO(model.status().message());
  REQUIRE(model.ok());
  return *std::move(model);
}

/// The chat as the template writes it; the error's parameter where there is one.
std::string Rendered(const GenerationRequest& request, std::string_view chat_template) {
  const auto model = Changed(chat_template, {});
  Job job;
  const auto error = MakeJob(request, *model, model->context_tokens, 99, job);
  return error ? fmt::format("{} {}", error->code, error->param)
               : model->tokenizer->Decode(*job.prompt, /*skip_special=*/false);
}

TEST_CASE("every default of the model's generation_config.json is taken where the client is silent") {
  const auto model = Changed("{{ messages[0].content }}", {{"repetition_penalty", 1.25},
                                                           {"temperature", 0.5},
                                                           {"top_p", 0.75},
                                                           {"top_k", 7},
                                                           {"min_p", 0.125},
                                                           {"eos_token_id", json::Array{9, 8}}});
  Job job;
  REQUIRE_FALSE(MakeJob(Chat(), *model, model->context_tokens, 99, job));
  CHECK(job.sampling.repetition_penalty == 1.25);
  CHECK(job.sampling.temperature == 0.5);
  CHECK(job.sampling.top_p == 0.75);
  CHECK(job.sampling.top_k == 7);
  CHECK(job.sampling.min_p == 0.125);
  CHECK(job.stop_ids == std::vector<TokenId>{8, 9});
  GenerationRequest request = Chat();
  request.repetition_penalty = 1;
  Job said;
  REQUIRE_FALSE(MakeJob(request, *model, model->context_tokens, 99, said));
  CHECK(said.sampling.repetition_penalty == 1);
}

TEST_CASE("defaults that no client could ask for are an error of the model's directory") {
  for (const json::Object& generation :
       {json::Object{{"repetition_penalty", 0}}, json::Object{{"repetition_penalty", "1"}},
        json::Object{{"top_k", 1.5}}}) {
    const test::TemporaryFolder folder;
    for (const std::string_view name : {"config.json", "tokenizer.json", "tokenizer_config.json"})
      std::filesystem::copy(test::ProjectFile(fmt::format("deploy/demo-model/{}", name)), folder.Path());
    std::ofstream(folder.Path() + "/generation_config.json") << json::Serialize(generation);
    INFO(json::Serialize(generation));
    CHECK_FALSE(LoadModelInfo(folder.Path(), "x").ok());
  }
}

TEST_CASE("tools, documents and the client's variables reach the template") {
  GenerationRequest request = Chat();
  request.tools = json::Array{json::Object{{"type", "function"}, {"function", json::Object{{"name", "f"}}}}};
  request.documents = json::Array{json::Object{{"title", "t"}}};
  request.template_variables = {{"enable_thinking", false}, {"depth", 3}};

  CHECK(Rendered(request,
                 "{% for t in tools %}{{ t.function.name }}{% endfor %},{{ documents[0].title }},"
                 "{{ enable_thinking }},{{ depth + 1 }},{{ tools is defined }}") == "f,t,False,4,True");
  CHECK(Rendered(Chat(), "{{ tools is defined }},{{ documents is defined }}") == "False,False");
}

TEST_CASE("tools and documents for which the template has no place are refused") {
  GenerationRequest request = Chat();
  request.tools = json::Array{json::Object{{"type", "function"}}};
  CHECK(Rendered(request, "{{ messages[0].tools }}a") == "unsupported_parameter tools");
  request.tools.reset();
  request.documents = json::Array{json::Object{}};
  CHECK(Rendered(request, "a{% if tools %}b{% endif %}") == "unsupported_parameter documents");
}

TEST_CASE("a call of a tool comes as the template wants it: an object or text, its content null or empty") {
  GenerationRequest request = Chat();
  const json::Object function = {{"name", "f"}, {"arguments", json::Object{{"a", 1}}}};
  request.messages.emplace_back(
      json::Object{{"role", "assistant"},
                   {"content", nullptr},
                   {"tool_calls", json::Array{json::Object{{"function", function}}}}});

  const std::string_view call = "{% set c = messages[1].tool_calls[0].function %}";
  CHECK(
      Rendered(request, fmt::format("{}{{{{ messages[1].content is none }}}} {{{{ c.arguments | tojson }}}}",
                                    call)) == R"(True {"a": 1})");
  CHECK(Rendered(request, fmt::format("{}{{{{ 'x' in messages[1].content }}}} {{{{ c.arguments.a }}}}",
                                      call)) == "False 1");
  CHECK(Rendered(request, fmt::format("{}{{{{ messages[1].content is none }}}} {{{{ 'x' + c.arguments }}}}",
                                      call)) == R"(True x{"a":1})");
  CHECK(Rendered(request, "{{ raise_exception('no') }}") == "invalid_value messages");
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

TEST_CASE("special tokens begin the prompt where they are asked for") {
  ModelInfo model{.name = "toy", .context_tokens = 64};
  model.tokenizer =
      text::ToyFile{
          .post_processor =
              R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},)"
              R"({"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}}],)"
              R"("special_tokens":{"<s>":{"id":"<s>","ids":[261],"tokens":["<s>"]}}})"}
          .Load();
  const auto prompt = [&](bool special) {
    GenerationRequest request = Completion("the");
    request.add_special_tokens = special;
    Job job;
    REQUIRE_FALSE(MakeJob(request, model, model.context_tokens, 99, job));
    return *job.prompt;
  };
  CHECK(prompt(true) == std::vector<TokenId>{261, 257});
  CHECK(prompt(false) == std::vector<TokenId>{257});
}

TEST_CASE("a least number of tokens raises the default and must fit") {
  GenerationRequest request = Completion("Once");
  request.min_tokens = 50;
  CHECK(Made(request).max_tokens == 50);
  request.min_tokens = 600;
  CHECK(Refused(request) == "invalid_value");
}

TEST_CASE("an echo with log-probabilities needs one token of a worker, and no cache") {
  GenerationRequest request = Completion(std::string(200, 'a'));
  request.echo = true;
  request.max_tokens = 0;
  CHECK(Made(request).max_tokens == 0);
  request.logprobs = 1;
  const Job job = Made(request);
  CHECK(job.max_tokens == 1);
  CHECK(job.answer.prefix_alone);
  CHECK(job.sampling.prompt_logprobs);
  CHECK(job.prefixes.empty());
  const auto length = static_cast<std::int64_t>(job.prompt->size());
  CHECK(Refused(request, length) == "context_length_exceeded");
  CHECK(Refused(request, length + 1).empty());
  request.echo = false;
  request.max_tokens = 3;
  CHECK_FALSE(Made(request).sampling.prompt_logprobs);
}

}  // namespace
}  // namespace baton::router
