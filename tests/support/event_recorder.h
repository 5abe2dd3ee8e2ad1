#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/executor.h"

namespace baton::test {

/// Keeps all events of an executor, and waits for sequences to be released. Thread-safe.
class EventRecorder final : public engine::ExecutorEvents {
 public:
  struct Sequence {
    std::vector<TokenId> tokens;
    std::vector<engine::LayerEvent> layers;
    std::vector<engine::Logprobs> prompt_logprobs;
    std::optional<engine::FinishReason> finish;  // of the last token event
    std::optional<engine::FinishReason> released;
    int releases = 0;
    bool orderly = true;  // indices rise by one; nothing follows the finish or the release
  };

  /// Runs on the engine thread at each token, outside the recorder's lock. Set before the executor starts.
  std::function<void(const engine::TokenEvent&)> on_token;
  std::function<void(const engine::PreemptedEvent&)> on_preempted;
  std::function<void(const engine::ResumedEvent&)> on_resumed;
  std::function<void(engine::SequenceKey)> on_paused;

  void OnLayerDone(const engine::LayerEvent& event) override {
    const std::scoped_lock lock(mutex_);
    Sequence& sequence = sequences_[event.key];
    sequence.orderly &= !sequence.released.has_value();
    sequence.layers.push_back(event);
  }
  void OnToken(const engine::TokenEvent& event) override {
    {
      const std::scoped_lock lock(mutex_);
      Sequence& sequence = sequences_[event.key];
      const std::int64_t expected = first_index_[event.key] + std::ssize(sequence.tokens);
      sequence.orderly &=
          event.index == expected && !sequence.finish.has_value() && !sequence.released.has_value();
      sequence.tokens.push_back(event.token);
      sequence.finish = event.finish;
      token_events_.push_back(event);
    }
    if (on_token) on_token(event);
  }
  void OnPromptLogprobs(const engine::PromptLogprobsEvent& event) override {
    const std::scoped_lock lock(mutex_);
    Sequence& sequence = sequences_[event.key];
    sequence.orderly &= sequence.tokens.empty() && event.first == std::ssize(sequence.prompt_logprobs) + 1;
    sequence.prompt_logprobs.insert(sequence.prompt_logprobs.end(), event.logprobs.begin(),
                                    event.logprobs.end());
  }
  void OnReleased(RequestKey key, engine::FinishReason reason) override {
    {
      const std::scoped_lock lock(mutex_);
      sequences_[key].released = reason;
      ++sequences_[key].releases;
      ++releases_;
    }
    changed_.notify_all();
  }
  void OnPaused(engine::SequenceKey sequence) override {
    if (on_paused) on_paused(sequence);
  }
  void OnStopped(engine::SequenceKey sequence) override {
    const std::scoped_lock lock(mutex_);
    stopped_.push_back(sequence);
  }
  void OnPreempted(const engine::PreemptedEvent& event) override {
    if (on_preempted) on_preempted(event);
  }
  void OnResumed(const engine::ResumedEvent& event) override {
    if (on_resumed) on_resumed(event);
  }
  void OnStep(const engine::StepReport& report) override {
    const std::scoped_lock lock(mutex_);
    steps_.push_back(report);
  }

  /// The first token event of `key` will have this index.
  void ExpectFirstIndex(RequestKey key, std::int64_t index) {
    const std::scoped_lock lock(mutex_);
    first_index_[key] = index;
  }
  [[nodiscard]] std::vector<engine::SequenceKey> Stopped() {
    const std::scoped_lock lock(mutex_);
    return stopped_;
  }
  void WaitForReleases(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return releases_ >= count; });
  }
  [[nodiscard]] Sequence Of(RequestKey key) {
    const std::scoped_lock lock(mutex_);
    return sequences_[key];
  }
  [[nodiscard]] std::vector<engine::TokenEvent> TokenEvents() {
    const std::scoped_lock lock(mutex_);
    return token_events_;
  }
  [[nodiscard]] std::vector<engine::StepReport> Steps() {
    const std::scoped_lock lock(mutex_);
    return steps_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestKey, Sequence> sequences_;
  std::map<RequestKey, std::int64_t> first_index_;
  std::vector<engine::SequenceKey> stopped_;
  std::vector<engine::StepReport> steps_;
  std::vector<engine::TokenEvent> token_events_;
  int releases_ = 0;
};

}  // namespace baton::test
