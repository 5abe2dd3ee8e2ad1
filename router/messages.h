#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

/// What router and workers tell each other about a request, as values: the protobuf forms stay in
/// wire_values.cc.
namespace baton::router {

struct SamplingParameters {
  double temperature = 1;
  double top_p = 1;
  std::int32_t top_k = 0;  // 0 = off
  double min_p = 0;
  std::uint64_t seed = 0;
};

/// One worker's part of an attempt: a Prefill or a Reserve.
struct Order {
  RequestKey key;
  std::shared_ptr<const std::vector<TokenId>> tokens;
  SamplingParameters sampling;
  std::int64_t max_tokens = 0;
  std::int64_t min_tokens = 0;
  std::vector<TokenId>
      stop_ids;  // complete: the model's end tokens among them, unless the client ignores those
  WorkerId peer;
  Incarnation peer_incarnation;
  Duration remaining{};  // until the request's deadline
};

struct TokenReport {
  RequestKey key;
  std::int64_t index = 0;
  TokenId token = 0;
  std::string finish;  // "", "stop", "length"
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
  std::string outcome;     // "done", "cancelled", "failed"
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
};

}  // namespace baton::router
