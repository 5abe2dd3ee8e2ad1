#include "perf/load_client.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "common/base/mutex.h"
#include "common/base/random.h"
#include "common/json/value.h"
#include "perf/pause.h"

namespace baton::perf {
namespace {

// Open-loop requests that may be under way at once; later ones wait, and the wait counts as latency.
constexpr std::int64_t kOpenLoopThreads = 512;

json::Value Prompt(const LoadOptions& options, std::int64_t index) {
  if (options.prompt_tokens <= 0) return options.prompt;
  RandomStream random(Mix64(options.seed) ^ static_cast<std::uint64_t>(index));
  json::Array ids;
  for (std::int64_t i = 0; i < options.prompt_tokens; ++i) ids.emplace_back(random.Between(0, 255));
  return ids;
}

/// What the threads of a load share.
struct Shared {
  std::atomic<std::int64_t> next = 0;
  Mutex mutex;
  std::vector<Answer> answers;  // guarded by mutex
};

void SendUntilDone(const LoadOptions& options, const std::vector<Duration>& due, TimePoint begin,
                   const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& on_answer,
                   Shared& shared) {
  for (std::int64_t index = shared.next++; index < options.requests && !stop; index = shared.next++) {
    const std::string body = RequestBody(options, index);
    const TimePoint at = due.empty() ? begin : begin + due[static_cast<std::size_t>(index)];
    if (!due.empty()) PauseUntil(at);
    if (stop) return;
    Answer answer = Ask({.server = options.server, .body = body, .stream = true, .timeout = options.timeout});
    if (!due.empty()) answer.begun = at;  // a request that had to wait for a thread waited for the server
    const std::lock_guard lock(shared.mutex);
    shared.answers.push_back(std::move(answer));
    on_answer(static_cast<std::int64_t>(shared.answers.size()));
  }
}

}  // namespace

std::string RequestBody(const LoadOptions& options, std::int64_t index) {
  json::Object body;
  if (!options.model.empty()) body.emplace_back("model", options.model);
  body.emplace_back("prompt", Prompt(options, index));
  body.emplace_back("max_tokens", options.max_tokens);
  body.emplace_back("temperature", options.temperature);
  body.emplace_back("seed",
                    static_cast<std::int64_t>((options.seed + static_cast<std::uint64_t>(index)) >> 1));
  body.emplace_back("ignore_eos", options.ignore_eos);
  body.emplace_back("stream", true);
  body.emplace_back("stream_options", json::Object{{"include_usage", true}});
  return json::Serialize(body);
}

std::vector<Duration> Arrivals(const LoadOptions& options) {
  std::vector<Duration> due;
  if (options.rate <= 0) return due;
  RandomStream random(Mix64(options.seed ^ 0x61727269766573ULL));  // apart from the prompts' streams
  double seconds = 0;
  for (std::int64_t i = 0; i < options.requests; ++i) {
    seconds += -std::log1p(-random.Uniform()) / options.rate;
    due.push_back(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
  }
  return due;
}

LoadResult RunLoad(const LoadOptions& options, const std::atomic<bool>& stop,
                   const std::function<void(std::int64_t)>& on_answer) {
  const std::vector<Duration> due = Arrivals(options);
  const std::int64_t wanted = due.empty() ? options.concurrency : kOpenLoopThreads;
  const std::int64_t threads =
      std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(options.requests, 1));
  Shared shared;
  const TimePoint begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> senders;
    for (std::int64_t i = 0; i < threads; ++i) {
      senders.emplace_back([&] { SendUntilDone(options, due, begin, stop, on_answer, shared); });
    }
  }
  return {.answers = std::move(shared.answers), .wall = std::chrono::steady_clock::now() - begin};
}

}  // namespace baton::perf
