#include <filesystem>
#include <map>

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "common/json/value.h"
#include "common/text/tokenizer.h"
#include "tests/integration/cluster.h"
#include "tests/integration/raw_client.h"
#include "tests/integration/reference_engine.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

/// What clients may ask of sampling, through real processes.
namespace baton::test {
namespace {

constexpr std::int64_t kPromptTokens = 40;  // two full blocks and half of one

std::vector<TokenId> SomePrompt() {
  RandomStream random(77);
  return RandomRequest(random, kPromptTokens, 1, 256).prompt;
}

json::Value Ids(const std::vector<TokenId>& tokens) {
  json::Array ids;
  for (const TokenId token : tokens) ids.emplace_back(std::int64_t{token});
  return ids;
}

/// A sampled completion that runs for exactly 20 tokens; `more` is added to its body.
json::Object Sampled(const std::vector<TokenId>& prompt, const json::Object& more) {
  json::Object body{{"model", kModelName}, {"prompt", Ids(prompt)}, {"max_tokens", 20}, {"temperature", 1.0},
                    {"seed", 7},           {"top_p", 1.0},          {"top_k", 0},       {"ignore_eos", true}};
  body.insert(body.end(), more.begin(), more.end());
  return body;
}

/// The whole answer's JSON.
json::Value Whole(const Cluster& cluster, const json::Object& body) {
  const perf::Answer answer =
      cluster.Ask({.server = {}, .path = "/v1/completions", .body = json::Serialize(body)});
  INFO(answer.Describe());
  REQUIRE(answer.status == 200);
  return json::Parse(answer.body).value();
}

std::string TextOf(const json::Value& choice) {
  return *choice.Find("text")->AsString();
}

const json::Array& Choices(const json::Value& answer) {
  return *answer.Find("choices")->AsArray();
}

std::int64_t CompletionTokens(const json::Value& answer) {
  return *answer.Find("usage")->Find("completion_tokens")->AsInt();
}

/// Texts of a stream's choices; each must end once.
std::map<std::int64_t, std::string> StreamedTexts(Cluster& cluster, json::Object body) {
  body.emplace_back("stream", true);
  const std::string text = json::Serialize(body);
  const std::string answer =
      SendRaw(cluster.Router().HttpAddress(),
              fmt::format("POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                          text.size(), text),
              std::chrono::seconds(60));
  std::map<std::int64_t, std::string> texts;
  std::map<std::int64_t, int> ends;
  for (std::size_t at = answer.find("data: {"); at != std::string::npos;
       at = answer.find("data: {", at + 1)) {
    const std::size_t end = answer.find("\n\n", at);
    REQUIRE(end != std::string::npos);
    const json::Value event = json::Parse(answer.substr(at + 6, end - at - 6)).value();
    for (const json::Value& choice : Choices(event)) {
      const std::int64_t index = *choice.Find("index")->AsInt();
      texts[index] += TextOf(choice);
      ends[index] += choice.Find("finish_reason")->IsNull() ? 0 : 1;
    }
  }
  CHECK(answer.find("data: [DONE]") != std::string::npos);
  for (const auto& [index, count] : ends) CHECK(count == 1);
  return texts;
}

std::int64_t KvBytesMoved(Cluster& cluster) {
  return static_cast<std::int64_t>(cluster.Router().Metrics().Sum("baton_kv_handoff_bytes_total"));
}

TEST_CASE("several answers come from one prefill and one transfer, each as if it were alone") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  const std::vector<TokenId> prompt = SomePrompt();
  const json::Value alone = Whole(cluster, Sampled(prompt, {}));
  cluster.RequireIdle();
  const std::int64_t bytes_of_one = KvBytesMoved(cluster);
  REQUIRE(bytes_of_one > 0);

  const json::Object body = Sampled(prompt, {{"n", 4}});
  const json::Value several = Whole(cluster, body);
  cluster.RequireIdle();

  const json::Array& choices = Choices(several);
  REQUIRE(choices.size() == 4);
  CHECK(TextOf(choices[0]) == TextOf(Choices(alone)[0]));
  std::map<std::string, int> distinct;
  for (const json::Value& choice : choices) {
    ++distinct[TextOf(choice)];
    CHECK(*choice.Find("finish_reason")->AsString() == "length");
  }
  CHECK(distinct.size() == 4);
  CHECK(CompletionTokens(several) == 80);
  CHECK(KvBytesMoved(cluster) == 2 * bytes_of_one);

  const auto streamed = StreamedTexts(cluster, body);
  REQUIRE(streamed.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(streamed.at(static_cast<std::int64_t>(i)) == TextOf(choices[i]));
  cluster.RequireIdle();
}

TEST_CASE("a client that leaves several answers in their middle leaves no block behind") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  json::Object body = Sampled(SomePrompt(), {{"n", 8}, {"stream", true}});
  body[2].second = std::int64_t{400};

  int pieces = 0;
  const perf::Answer answer = cluster.Ask({.server = {},
                                           .path = "/v1/completions",
                                           .body = json::Serialize(body),
                                           .stream = true,
                                           .on_text = [&](std::string_view) { return ++pieces < 40; }});

  INFO(answer.Describe() << answer.body);
  CHECK(answer.hung_up);
  cluster.RequireIdle();
}

TEST_CASE("penalties and bias are the same on both sides of a hand-off as on one engine") {
  const std::string model = ProjectFile("deploy/demo-model");
  auto engine = ReferenceEngine::Create(model, kernels::ComputeClass::kF32, 512);
  REQUIRE(engine.ok());
  Cluster cluster({.model = model});
  EngineRequest request{.prompt = SomePrompt(), .max_tokens = 60, .ignore_eos = true};
  const auto ask = [&](double temperature) {
    json::Object body = Sampled(request.prompt, {{"repetition_penalty", 1.3},
                                                 {"presence_penalty", 0.4},
                                                 {"frequency_penalty", 0.3},
                                                 {"logit_bias", json::Object{{"300", 4.5}, {"32", -100}}}});
    body[2].second = std::int64_t{60};
    body[3].second = temperature;
    return TextOf(Choices(Whole(cluster, body))[0]);
  };
  for (const double temperature : {0.0, 0.9}) {
    request.sampling = {.temperature = temperature, .seed = 7};
    const std::string plain = (*engine)->Run(request).text;
    request.sampling.repetition_penalty = 1.3;
    request.sampling.presence_penalty = 0.4;
    request.sampling.frequency_penalty = 0.3;
    request.sampling.bias = {{300, 4.5F}, {32, -100}};
    const std::string expected = (*engine)->Run(request).text;
    CHECK(expected != plain);
    CHECK(ask(temperature) == expected);
  }
  cluster.RequireIdle();
}

TEST_CASE("a list of prompts is answered in its order, and an echo shows each before its answer") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  const auto ask = [&](const json::Value& prompt, std::int64_t max_tokens, bool echo) {
    return Whole(cluster, {{"model", kModelName},
                           {"prompt", prompt},
                           {"max_tokens", max_tokens},
                           {"temperature", 0},
                           {"echo", echo}});
  };
  const std::string first = TextOf(Choices(ask("In the beginning", 8, false))[0]);
  const std::string second = TextOf(Choices(ask("And the earth", 8, false))[0]);
  const json::Value both = ask(json::Array{"In the beginning", "And the earth"}, 8, true);
  REQUIRE(Choices(both).size() == 2);
  CHECK(TextOf(Choices(both)[0]) == "In the beginning" + first);
  CHECK(TextOf(Choices(both)[1]) == "And the earth" + second);

  const json::Value echo_alone = ask("In the beginning", 0, true);
  CHECK(TextOf(Choices(echo_alone)[0]) == "In the beginning");
  CHECK(CompletionTokens(echo_alone) == 0);
  cluster.RequireIdle();
}

/// One step's log-probabilities against the golden five: each within a float32 computation's bound, and under
/// its token's text where that is whole characters.
void CheckStep(const json::Value& logprobs, std::size_t step, const json::Value& golden,
               const text::Tokenizer& tokenizer) {
  constexpr double kTolerance = 2e-3;
  const json::Value& top = logprobs.Find("top_logprobs")->AsArray()->at(step);
  const json::Array& wanted = *golden.AsArray();
  CHECK(logprobs.Find("token_logprobs")->AsArray()->at(step).Number() ==
        Approx(wanted.at(0).AsArray()->at(1).Number()).margin(kTolerance));
  int named = 0;
  for (const json::Value& pair : wanted) {
    const auto id = static_cast<TokenId>(*pair.AsArray()->at(0).AsInt());
    const std::string token(tokenizer.TokenBytes(id, /*skip_special=*/false));
    if (token.empty() || ValidUtf8Prefix(token) != token.size()) continue;
    const json::Value* found = top.Find(token);
    REQUIRE(found != nullptr);
    CHECK(found->Number() == Approx(pair.AsArray()->at(1).Number()).margin(kTolerance));
    ++named;
  }
  CHECK(named > 0);
}

/// The echo of a golden prompt: its tokens' log-probabilities add up to the golden ones, though the prompt is
/// in the prefix cache by now; and one token of an answer has the log-probability that it has without an
/// echo.
void CheckPrompt(const Cluster& cluster, const json::Value& golden, const json::Value& plain) {
  const std::size_t length = golden.Find("ids")->AsArray()->size();
  for (const std::int64_t max_tokens : {0, 1}) {
    CAPTURE(length, max_tokens);
    const json::Value answer = Whole(cluster, {{"model", kModelName},
                                               {"prompt", *golden.Find("ids")},
                                               {"max_tokens", max_tokens},
                                               {"temperature", 0},
                                               {"ignore_eos", true},
                                               {"echo", true},
                                               {"logprobs", 1}});
    CHECK(CompletionTokens(answer) == max_tokens);
    const json::Value& logprobs = *Choices(answer)[0].Find("logprobs");
    const json::Array& values = *logprobs.Find("token_logprobs")->AsArray();
    REQUIRE(values.size() == length + static_cast<std::size_t>(max_tokens));
    REQUIRE(logprobs.Find("text_offset")->AsArray()->size() == values.size());
    CHECK(values[0].IsNull());
    CHECK(logprobs.Find("top_logprobs")->AsArray()->at(0).IsNull());
    double sum = 0;
    for (std::size_t i = 1; i < length; ++i) sum -= values[i].Number();
    if (length > 1)
      CHECK(sum ==
            Approx(golden.Find("prompt_nll_sum")->Number()).margin(2e-3 * static_cast<double>(length)));
    if (max_tokens > 0)
      CHECK(values.back().Number() == plain.Find("token_logprobs")->AsArray()->at(0).Number());
  }
}

TEST_CASE("log-probabilities of both workers are the golden ones") {
  const auto model_folder = SharedData("golden/models/llama3-tiny");
  if (!model_folder) {
    WARN("SKIPPED: no shared data with golden models");
    return;
  }
  // Without the chat template, which is none of this test's business.
  const TemporaryFolder folder;
  const std::filesystem::path model = folder.Path();
  for (const auto& file : std::filesystem::directory_iterator(*model_folder)) {
    if (file.path().filename() == "tokenizer_config.json") continue;
    std::filesystem::create_symlink(file.path(), model / file.path().filename());
  }
  const auto tokenizer = text::Tokenizer::Load(model.string()).value();
  const json::Value reference = json::Parse(ReadFile(*model_folder + "/reference.json")).value();
  Cluster cluster({.model = model.string()});
  constexpr std::size_t kSteps = 12;

  for (const json::Value& prompt : *reference.Find("prompts")->AsArray()) {
    const json::Value answer = Whole(cluster, {{"model", kModelName},
                                               {"prompt", *prompt.Find("ids")},
                                               {"max_tokens", static_cast<std::int64_t>(kSteps)},
                                               {"temperature", 0},
                                               {"ignore_eos", true},
                                               {"skip_special_tokens", false},
                                               {"logprobs", 5}});
    const json::Value& logprobs = *Choices(answer)[0].Find("logprobs");
    REQUIRE(logprobs.Find("tokens")->AsArray()->size() == kSteps);
    REQUIRE(logprobs.Find("text_offset")->AsArray()->size() == kSteps);
    CHECK(*logprobs.Find("text_offset")->AsArray()->at(0).AsInt() == 0);
    for (std::size_t step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      CheckStep(logprobs, step, prompt.Find("top5")->AsArray()->at(step), *tokenizer);
    }
    CheckPrompt(cluster, prompt, logprobs);
  }
  cluster.RequireIdle();
}

TEST_CASE("a chat's log-probabilities spell its answer") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  const json::Object body{
      {"model", kModelName},
      {"messages", json::Array{json::Object{{"role", "user"}, {"content", "Who are you?"}}}},
      {"max_tokens", 16},
      {"temperature", 0},
      {"ignore_eos", true},
      {"logprobs", true},
      {"top_logprobs", 3}};
  const perf::Answer answer =
      cluster.Ask({.server = {}, .path = "/v1/chat/completions", .body = json::Serialize(body)});
  INFO(answer.Describe());
  REQUIRE(answer.Complete());
  const json::Value whole = json::Parse(answer.body).value();
  const json::Array& content = *Choices(whole)[0].Find("logprobs")->Find("content")->AsArray();
  REQUIRE(content.size() == 16);
  std::string spelled;
  for (const json::Value& token : content) {
    for (const json::Value& byte : *token.Find("bytes")->AsArray())
      spelled += static_cast<char>(*byte.AsInt());
    const json::Array& top = *token.Find("top_logprobs")->AsArray();
    REQUIRE(top.size() == 3);
    CHECK(top[0].Find("logprob")->Number() == token.Find("logprob")->Number());  // greedy
    CHECK(top[0].Find("logprob")->Number() >= top[1].Find("logprob")->Number());
  }
  CHECK(spelled.starts_with(answer.text));
  cluster.RequireIdle();
}

}  // namespace
}  // namespace baton::test
