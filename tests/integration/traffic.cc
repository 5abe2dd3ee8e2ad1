#include "tests/integration/traffic.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/json/value.h"

namespace baton::test {

std::string CompletionBody(const EngineRequest& request, bool stream) {
  json::Array prompt;
  for (const TokenId id : request.prompt) prompt.emplace_back(id);
  json::Object body{{"model", kModelName},
                    {"prompt", std::move(prompt)},
                    {"max_tokens", request.max_tokens},
                    {"temperature", request.sampling.temperature},
                    {"top_p", request.sampling.top_p},
                    {"top_k", static_cast<std::int64_t>(request.sampling.top_k)},
                    {"min_p", request.sampling.min_p},
                    {"seed", static_cast<std::int64_t>(request.sampling.seed)},
                    {"ignore_eos", request.ignore_eos},
                    {"stream", stream}};
  if (stream) body.emplace_back("stream_options", json::Object{{"include_usage", true}});
  return json::Serialize(body);
}

EngineRequest RandomRequest(RandomStream& random, std::int64_t prompt_tokens, std::int64_t max_tokens,
                            std::int32_t vocabulary) {
  EngineRequest request;
  for (std::int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>(random.Between(0, vocabulary - 1)));
  }
  request.max_tokens = max_tokens;
  if (random.Between(0, 2) == 0) return request;
  request.sampling.temperature = 0.25 * static_cast<double>(random.Between(1, 6));
  request.sampling.top_p = random.Between(0, 1) == 0 ? 1.0 : 0.9;
  request.sampling.top_k = random.Between(0, 1) == 0 ? 0 : 40;
  request.sampling.min_p = random.Between(0, 2) == 0 ? 0.05 : 0.0;
  request.sampling.seed = random.Bits() >> 1;
  return request;
}

perf::AskOptions LongStream(std::uint64_t seed, std::int64_t prompt_tokens, std::int64_t max_tokens) {
  RandomStream random(seed);
  EngineRequest request = RandomRequest(random, prompt_tokens, max_tokens, 256);
  request.ignore_eos = true;
  return {.server = {}, .body = CompletionBody(request, true), .stream = true};
}

std::vector<perf::Answer> AskAll(const Cluster& cluster, const std::vector<perf::AskOptions>& requests,
                                 std::size_t at_once) {
  std::vector<perf::Answer> answers(requests.size());
  std::atomic<std::size_t> next = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(at_once, requests.size()); ++i) {
      threads.emplace_back([&] {
        for (std::size_t index = next++; index < requests.size(); index = next++) {
          answers[index] = cluster.Ask(requests[index]);
        }
      });
    }
  }
  return answers;
}

struct Streams::State {
  std::vector<std::atomic<std::int64_t>> pieces;
  std::vector<perf::Answer> answers;
  std::vector<std::jthread> threads;

  explicit State(std::size_t count) : pieces(count), answers(count) {}
};

Streams::Streams(const Cluster& cluster, std::vector<perf::AskOptions> requests)
    : state_(std::make_unique<State>(requests.size())) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_text = [pieces = &state_->pieces[i]](std::string_view) {
      ++*pieces;
      return true;
    };
    state_->threads.emplace_back(
        [&cluster, request = requests[i], answer = &state_->answers[i]] { *answer = cluster.Ask(request); });
  }
}

Streams::~Streams() = default;

std::size_t Streams::Begun(std::int64_t pieces) const {
  return static_cast<std::size_t>(std::count_if(state_->pieces.begin(), state_->pieces.end(),
                                                [&](const auto& count) { return count.load() >= pieces; }));
}

bool Streams::Await(std::size_t streams, std::int64_t pieces, Duration limit) const {
  return WaitUntil(limit, [&] { return Begun(pieces) >= streams; });
}

std::vector<perf::Answer> Streams::Finish() {
  state_->threads.clear();  // joins
  return std::move(state_->answers);
}

}  // namespace baton::test
