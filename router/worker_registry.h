#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/cluster/view.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"
#include "router/messages.h"
#include "router/probe.h"

namespace baton::router {

/// The workers that have dialled in: checks who they are, introduces them to each other, notices when they
/// go, and carries messages. What a worker says is input: one that breaks the protocol loses its connection,
/// nothing else. Control loop only.
class WorkerRegistry : public WorkerPort {
 public:
  /// Called on the loop, never from inside a call of WorkerPort.
  struct Events {
    std::function<void(const cluster::WorkerDescription&)> on_joined;
    std::function<void(WorkerId, const cluster::LoadReport&)> on_load;
    std::function<void(WorkerId)> on_leaving;
    /// The connection is gone; nothing of this worker comes any more.
    std::function<void(WorkerId)> on_lost;
    std::function<void(WorkerId, const TokenReport&)> on_token;
    std::function<void(WorkerId, PromptLogprobsReport)> on_prompt_logprobs;
    std::function<void(WorkerId, const ReleaseReport&)> on_released;
    std::function<void(WorkerId, const MoveFailure&)> on_move_failed;
    std::function<void(WorkerId, const TakeReport&)> on_takes;
  };
  struct Options {
    net::Address listen;
    std::string cluster_key;
    Duration worker_timeout = std::chrono::seconds(2);    // silence after which a worker is lost
    Duration register_timeout = std::chrono::seconds(5);  // from the handshake to Register
    std::size_t connections_max = 4096;
    std::string model_name;
    std::uint64_t tokenizer_fingerprint = 0;
    std::int32_t vocabulary = 0;
  };
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<WorkerRegistry>> Start(net::EventLoop& loop,
                                                                             Options options, Events events,
                                                                             Probe& probe);
  [[nodiscard]] virtual std::uint16_t Port() const = 0;
};

}  // namespace baton::router
