#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "router/http/request.h"

/// What router and workers tell each other about a request, as values: the protobuf forms stay in
/// wire_values.cc.
namespace baton::router {

struct SamplingParameters {
  double temperature = 1;
  double top_p = 1;
  std::int32_t top_k = 0;  // 0 = off
  double min_p = 0;
  std::uint64_t seed = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<TokenBias> bias = {};
  std::int32_t logprobs = -1;    // alternatives to report with each token; below 0: no log-probabilities
  bool prompt_logprobs = false;  // of the prompt's tokens too
  std::int32_t samples = 1;      // answers to write
  std::string grammar = {};      // what the answer must be; empty: anything
};

/// One worker's part of an attempt: a Prefill or a Reserve.
struct Order {
  RequestKey key;
  std::shared_ptr<const std::vector<TokenId>> tokens;
  std::int64_t resumed = 0;  // of them, at the end: the answer's, which an earlier attempt made
  std::string cache_salt;
  SamplingParameters sampling;
  std::int64_t max_tokens = 0;
  std::int64_t min_tokens = 0;
  std::vector<TokenId>
      stop_ids;  // complete: the model's end tokens among them, unless the client ignores those
  WorkerId peer;
  Incarnation peer_incarnation;
  Duration remaining{};  // until the request's deadline
  /// Of a Reserve for an answer that moves from the decode worker `peer`: positions to be reserved, and
  /// tokens that the router has. 0: a prompt comes.
  std::int64_t positions_max = 0;
  std::int64_t known = 0;
  Duration keep{};  // of a Reserve: for so long after its end the answer's KV waits for a GiveBack
};

/// To the worker that writes the answer of `key`: send it to another one, where it goes on as `target`.
struct MoveOrder {
  RequestKey key;
  RequestKey target;
  WorkerId to;
  Incarnation to_incarnation;
  std::int64_t positions_max = 0;
};

/// The worker that was to send the answer keeps it.
struct MoveFailure {
  RequestKey target;
  std::string reason;
};

/// To a prefill worker: take the KV of an answer that has ended on the decode worker `from`.
struct TakeBackOrder {
  RequestKey key;
  std::vector<TokenId> tokens;  // prompt and answer, whole blocks
  std::string cache_salt;
  WorkerId from;
  Incarnation from_incarnation;
};

/// It has the positions before `first`, and room for the others.
struct TakeReport {
  RequestKey key;
  std::int64_t first = 0;
};

/// To the decode worker that wrote the answer of `key`: send the others.
struct GiveBackOrder {
  RequestKey key;
  RequestKey target;
  WorkerId to;
  Incarnation to_incarnation;
  std::int64_t first = 0;
  std::int64_t positions = 0;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

struct Logprobs {
  float chosen = 0;
  std::vector<TokenLogprob> top;
};

struct TokenReport {
  RequestKey key;
  std::int64_t index = 0;
  TokenId token = 0;
  std::string finish;              // "", "stop", "length"
  std::int64_t cached_tokens = 0;  // with index 0: of the prompt
  std::int32_t sample = 0;         // which of the request's answers
  std::optional<Logprobs> logprobs = {};
};

/// Of tokens of the prompt, each after those before it.
struct PromptLogprobsReport {
  RequestKey key;
  std::int64_t first = 1;  // place in the prompt of the first of them
  std::vector<Logprobs> logprobs;
};

struct TransferReport {
  std::string transport;
  std::uint64_t bytes = 0;
  std::uint64_t messages = 0;
  Duration wire{};
  Duration exposed{};
  Duration handoff{};
  bool layer_wise = false;
};

struct ReleaseReport {
  RequestKey key;
  std::string outcome;     // "done", "cancelled", "failed", "moved"
  std::string error_code;  // of a failed one
  std::string error_message;
  bool has_transfer = false;
  TransferReport transfer;
  Duration queue{};
  Duration compute{};
};

/// The way to the workers. A worker to which nothing can be sent is reported lost soon after.
class WorkerPort {
 public:
  virtual ~WorkerPort() = default;
  virtual void SendPrefill(WorkerId worker, const Order& order) = 0;
  virtual void SendReserve(WorkerId worker, const Order& order) = 0;
  virtual void SendCancel(WorkerId worker, RequestKey key) = 0;
  virtual void SendStopSample(WorkerId worker, RequestKey key, std::int32_t sample) = 0;
  virtual void SendMove(WorkerId worker, const MoveOrder& order) = 0;
  virtual void SendMoveStop(WorkerId worker, RequestKey target) = 0;
  virtual void SendTakeBack(WorkerId worker, const TakeBackOrder& order) = 0;
  virtual void SendGiveBack(WorkerId worker, const GiveBackOrder& order) = 0;
  virtual void SendDrain(WorkerId worker) = 0;
};

}  // namespace baton::router
