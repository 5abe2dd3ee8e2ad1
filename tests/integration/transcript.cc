#include "tests/integration/transcript.h"

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include "common/json/value.h"

namespace baton::test {
namespace {

std::string TextOf(const json::Value& choice) {
  const json::Value* text = choice.Find("text");
  if (text == nullptr && choice.Find("delta") != nullptr) text = choice.Find("delta")->Find("content");
  return text != nullptr && text->AsString() != nullptr ? *text->AsString() : "";
}

void AddElements(const json::Value& logprobs, std::map<std::string, std::string>& out) {
  for (const auto& [name, list] : *logprobs.AsObject()) {
    if (list.AsArray() == nullptr) continue;
    for (const json::Value& element : *list.AsArray()) out[name] += json::Serialize(element) + "\n";
  }
}

json::Value PromptOf(RandomStream& random, std::int64_t tokens) {
  json::Array ids;
  for (std::int64_t i = 0; i < tokens; ++i) ids.emplace_back(random.Between(0, 255));
  return ids;
}

json::Object Schema() {
  const auto schema = json::Parse(
      R"({"type":"object","properties":{"name":{"type":"string","minLength":12,"maxLength":24},"ages":)"
      R"({"type":"array","items":{"type":"integer","minimum":0,"maximum":120},"minItems":20,"maxItems":30}},)"
      R"("required":["name","ages"],"additionalProperties":false})");
  return {{"type", "json_schema"},
          {"json_schema", json::Object{{"name", "t"}, {"schema", *schema}, {"strict", true}}}};
}

/// What the request of this kind says beyond prompt, length and seed.
json::Object MoreOf(std::size_t kind) {
  switch (kind) {
    case 0:
      return {{"temperature", 0}, {"ignore_eos", true}};
    case 1:
      return {{"temperature", 0.9}, {"top_p", 0.9}, {"top_k", 40}, {"ignore_eos", true}};
    case 2:
      return {{"temperature", 0.8},      {"repetition_penalty", 1.2},
              {"presence_penalty", 0.4}, {"frequency_penalty", 0.3},
              {"ignore_eos", true},      {"logit_bias", json::Object{{"300", 2.5}, {"32", -4}}}};
    case 3:
      return {{"temperature", 1.0}, {"logprobs", 3}, {"ignore_eos", true}};
    case 4:
      return {{"temperature", 1.0}, {"n", 2}, {"ignore_eos", true}};
    case 5:
      return {{"temperature", 1.0}, {"response_format", Schema()}};
    case 6:  // no end token, then a text that is likely to come some time, and half of which comes often
      return {{"temperature", 1.0}, {"min_tokens", 60}, {"stop", json::Array{" the world", "and the "}}};
    default:
      return {{"temperature", 0}, {"presence_penalty", 1.5}, {"min_tokens", 100}};
  }
}

}  // namespace

void Transcript::Take(std::string_view data) {
  if (data == "[DONE]") {
    done = true;
    return;
  }
  const auto event = json::Parse(data);
  const json::Value* choices_now = event.ok() ? event->Find("choices") : nullptr;
  if (choices_now == nullptr || choices_now->AsArray() == nullptr) {
    error += data;
    return;
  }
  for (const json::Value& choice : *choices_now->AsArray()) {
    Choice& out = choices[*choice.Find("index")->AsInt()];
    out.text += TextOf(choice);
    const json::Value* logprobs = choice.Find("logprobs");
    if (logprobs != nullptr && logprobs->AsObject() != nullptr) AddElements(*logprobs, out.logprobs);
    const json::Value* finish = choice.Find("finish_reason");
    if (finish != nullptr && finish->AsString() != nullptr) out.finish += *finish->AsString();
  }
  const json::Value* usage = event->Find("usage");
  if (usage == nullptr || usage->AsObject() == nullptr) return;
  prompt_tokens = *usage->Find("prompt_tokens")->AsInt();
  completion_tokens = *usage->Find("completion_tokens")->AsInt();
}

bool Transcript::Complete() const {
  bool complete = done && error.empty() && !choices.empty();
  for (const auto& [index, choice] : choices)
    complete &= choice.finish == "stop" || choice.finish == "length";
  return complete;
}

std::string Transcript::Describe() const {
  std::string out = fmt::format("{} prompt tokens, {} of the answer, done {}, error '{}'\n", prompt_tokens,
                                completion_tokens, done, error);
  for (const auto& [index, choice] : choices) {
    out += fmt::format("choice {}, finish '{}': {}\n", index, choice.finish, choice.text);
    for (const auto& [name, elements] : choice.logprobs) out += name + ": " + elements;
  }
  return out;
}

RecordedStreams::RecordedStreams(const Cluster& cluster, std::vector<perf::AskOptions> requests)
    : transcripts_(requests.size()) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_event = [transcript = &transcripts_[i]](std::string_view data) { transcript->Take(data); };
  }
  streams_ = std::make_unique<Streams>(cluster, std::move(requests));
}

std::vector<Transcript> RecordedStreams::Finish() {
  const std::vector<perf::Answer> answers = streams_->Finish();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    // What a transcript cannot show: no stream at all, or a broken one.
    transcripts_[i].error += answers[i].transport_error + answers[i].framing_error;
    if (answers[i].status != 200) transcripts_[i].error += answers[i].Describe();
  }
  return std::move(transcripts_);
}

std::vector<Transcript> Undisturbed(Cluster& cluster, const std::vector<perf::AskOptions>& requests) {
  RecordedStreams streams(cluster, requests);
  std::vector<Transcript> transcripts = streams.Finish();
  for (const Transcript& transcript : transcripts) {
    INFO(transcript.Describe());
    REQUIRE(transcript.Complete());
  }
  cluster.RequireIdle();
  return transcripts;
}

void RequireSame(const std::vector<Transcript>& seen, const std::vector<Transcript>& expected) {
  REQUIRE(seen.size() == expected.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    INFO("stream " << i << "\nexpected: " << expected[i].Describe() << "\nseen: " << seen[i].Describe());
    CHECK(seen[i] == expected[i]);
  }
}

std::vector<perf::AskOptions> EveryKind(std::size_t count, std::int64_t max_tokens) {
  std::vector<perf::AskOptions> requests;
  RandomStream random(11);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t kind = i % 9;
    json::Object body{{"model", kModelName},
                      {"max_tokens", max_tokens},
                      {"seed", static_cast<std::int64_t>(i)},
                      {"stream", true},
                      {"stream_options", json::Object{{"include_usage", true}}}};
    const bool chat = kind == 8;
    if (chat) {
      body.emplace_back("messages",
                        json::Array{json::Object{{"role", "user"}, {"content", "Who made the sea?"}}});
      body.emplace_back("temperature", 0.8);
      body.emplace_back("logprobs", true);
      body.emplace_back("ignore_eos", true);
    } else {
      body.emplace_back("prompt", PromptOf(random, random.Between(5, 60)));
      const json::Object more = MoreOf(kind);
      body.insert(body.end(), more.begin(), more.end());
    }
    requests.push_back({.server = {},
                        .path = chat ? "/v1/chat/completions" : "/v1/completions",
                        .body = json::Serialize(body),
                        .stream = true});
  }
  return requests;
}

}  // namespace baton::test
