#pragma once

#include <absl/status/statusor.h>

#include "common/cluster/view.h"
#include "router/messages.h"

namespace baton::wire {
class Envelope;
class Load;
class MoveFailed;
class PromptLogprobs;
class Register;
class Released;
class Takes;
class Token;
}  // namespace baton::wire

/// Between protobuf messages and values. What a worker says is checked here: an error means that it broke the
/// protocol.
namespace baton::router {

void FillPrefill(const Order& order, wire::Envelope& out);
void FillReserve(const Order& order, wire::Envelope& out);
void FillMove(const MoveOrder& order, wire::Envelope& out);
void FillTakeBack(const TakeBackOrder& order, wire::Envelope& out);
void FillGiveBack(const GiveBackOrder& order, wire::Envelope& out);

[[nodiscard]] absl::StatusOr<cluster::LoadReport> ReadLoad(const wire::Load& message);
[[nodiscard]] absl::StatusOr<TokenReport> ReadToken(const wire::Token& message);
[[nodiscard]] absl::StatusOr<PromptLogprobsReport> ReadPromptLogprobs(const wire::PromptLogprobs& message);
[[nodiscard]] absl::StatusOr<ReleaseReport> ReadReleased(const wire::Released& message);
[[nodiscard]] MoveFailure ReadMoveFailed(const wire::MoveFailed& message);
[[nodiscard]] absl::StatusOr<TakeReport> ReadTakes(const wire::Takes& message);

/// What the router holds a registration against.
struct Expected {
  std::string model_name;
  std::uint64_t tokenizer_fingerprint = 0;
  std::int32_t vocabulary = 0;          // of the tokenizer: the model's must be at least this
  std::uint64_t model_fingerprint = 0;  // of the workers that are here; 0 = none is
};
/// The description (without an id), or the reason for the refusal, for the worker's operator.
[[nodiscard]] absl::StatusOr<cluster::WorkerDescription> ReadRegister(const wire::Register& message,
                                                                      const Expected& expected);

}  // namespace baton::router
