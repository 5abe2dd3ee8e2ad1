#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/traffic.h"

namespace baton::test {

/// A stream as its client reads it, choice by choice: what two runs of one request are compared by.
struct Transcript {
  struct Choice {
    std::string text;
    std::map<std::string, std::string> logprobs;  // each list's elements, whatever events they came in
    std::string finish;
    friend bool operator==(const Choice&, const Choice&) = default;
  };
  std::map<std::int64_t, Choice> choices;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::string error;  // what went wrong, as JSON
  bool done = false;

  /// Takes one event's data.
  void Take(std::string_view data);
  /// Every choice has its end, and nothing went wrong.
  [[nodiscard]] bool Complete() const;
  [[nodiscard]] std::string Describe() const;
  friend bool operator==(const Transcript&, const Transcript&) = default;
};

/// `Streams` that are kept as transcripts.
class RecordedStreams {
 public:
  RecordedStreams(const Cluster& cluster, std::vector<perf::AskOptions> requests);
  RecordedStreams(const RecordedStreams&) = delete;
  RecordedStreams& operator=(const RecordedStreams&) = delete;

  [[nodiscard]] bool Await(std::size_t streams, std::int64_t pieces, Duration limit) const {
    return streams_->Await(streams, pieces, limit);
  }
  [[nodiscard]] std::size_t Begun(std::int64_t pieces) const { return streams_->Begun(pieces); }
  /// Waits for the end of all.
  [[nodiscard]] std::vector<Transcript> Finish();

 private:
  std::vector<Transcript> transcripts_;
  std::unique_ptr<Streams> streams_;
};

/// What the cluster answers when nothing happens to it.
[[nodiscard]] std::vector<Transcript> Undisturbed(Cluster& cluster,
                                                  const std::vector<perf::AskOptions>& requests);

/// Fails the test where a stream of `seen` is not the one of `expected`.
void RequireSame(const std::vector<Transcript>& seen, const std::vector<Transcript>& expected);

/// `count` streamed requests of every kind: greedy and sampled, with penalties, bias, log-probabilities, stop
/// strings, a schema, two choices, a chat. Most run for exactly `max_tokens`. For the demo model.
[[nodiscard]] std::vector<perf::AskOptions> EveryKind(std::size_t count, std::int64_t max_tokens);

}  // namespace baton::test
