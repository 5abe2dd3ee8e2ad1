#include "router/wire_values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/wire.h"
#include "common/cluster/wire.pb.h"
#include "common/net/connection.h"

namespace baton::router {
namespace {

// Names and texts end up in labels and log lines; links are one a peer.
constexpr int kNameBytesMax = 128;
constexpr int kRanksMax = 1024;
constexpr std::size_t kTextBytesMax = 512;
constexpr int kLinksMax = 4096;
constexpr int kLogprobsMax = 20;
constexpr int kSamplesMax = 64;
constexpr int kPromptLogprobsMax = 1 << 20;  // in one message: far beyond the tokens of a step
// Beyond any machine, and small enough that sums of counts stay inside int64.
constexpr std::int64_t kCountMax = std::int64_t{1} << 48;
constexpr double kStepSecondsMax = 3600;

RequestKey Key(std::uint64_t request, std::uint32_t attempt) {
  return {RequestId{request}, Attempt{attempt}};
}

absl::StatusOr<cluster::KvForm> ReadForm(const wire::KvShape& kv) {
  if (kv.layers() < 0 || kv.kv_heads() < 0 || kv.head_dim() < 0)
    return Error(kInvalidArgument, "KV layers, heads and head size must not be negative");
  if (kv.ranks() < 0 || kv.ranks() > kRanksMax)
    return Error(kInvalidArgument, "{} ranks: must be 1 to {}", kv.ranks(), kRanksMax);
  return cluster::KvForm{.layers = kv.layers(),
                         .kv_heads = kv.kv_heads(),
                         .head_dim = kv.head_dim(),
                         .ranks = std::max(1, kv.ranks()),
                         .dtype = kv.dtype().substr(0, kNameBytesMax)};
}

/// Saturates: what a worker says must not overflow a duration.
Duration Nanoseconds(std::uint64_t value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return Duration(static_cast<std::int64_t>(std::min(value, kMax)));
}

template <typename Message>
void FillCommon(const Order& order, Message& out) {
  out.set_request(order.key.request.value);
  out.set_attempt(order.key.attempt.value);
  out.mutable_tokens()->Add(order.tokens->begin(), order.tokens->end());
  out.set_resumed(order.resumed);
  wire::Sampling& sampling = *out.mutable_sampling();
  sampling.set_temperature(order.sampling.temperature);
  sampling.set_top_p(order.sampling.top_p);
  sampling.set_top_k(order.sampling.top_k);
  sampling.set_min_p(order.sampling.min_p);
  sampling.set_seed(order.sampling.seed);
  sampling.set_repetition_penalty(order.sampling.repetition_penalty);
  sampling.set_presence_penalty(order.sampling.presence_penalty);
  sampling.set_frequency_penalty(order.sampling.frequency_penalty);
  for (const TokenBias& bias : order.sampling.bias) {
    sampling.add_bias_tokens(bias.token);
    sampling.add_bias_values(bias.bias);
  }
  sampling.set_logprobs(order.sampling.logprobs >= 0);
  sampling.set_top_logprobs(std::max(order.sampling.logprobs, 0));
  sampling.set_samples(order.sampling.samples);
  sampling.set_grammar(order.sampling.grammar);
  wire::Stop& stop = *out.mutable_stop();
  stop.set_max_tokens(order.max_tokens);
  stop.set_min_tokens(order.min_tokens);
  stop.mutable_stop_ids()->Add(order.stop_ids.begin(), order.stop_ids.end());
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(order.remaining).count();
  out.set_deadline_ms(static_cast<std::uint32_t>(std::clamp<std::int64_t>(milliseconds, 1, 1U << 31)));
}

/// What cannot be a machine's counts as not known.
double ReadWatts(double watts) {
  constexpr double kWattsMax = 1e6;
  return watts >= 0 && watts <= kWattsMax ? watts : 0;
}

}  // namespace

void FillPrefill(const Order& order, wire::Envelope& out) {
  wire::Prefill& message = *out.mutable_prefill();
  FillCommon(order, message);
  message.set_cache_salt(order.cache_salt);
  message.mutable_sampling()->set_prompt_logprobs(order.sampling.prompt_logprobs);
  message.set_decode_worker(order.peer.value);
  message.set_decode_incarnation(order.peer_incarnation.value);
}

void FillReserve(const Order& order, wire::Envelope& out) {
  wire::Reserve& message = *out.mutable_reserve();
  FillCommon(order, message);
  message.set_prefill_worker(order.peer.value);
  message.set_prefill_incarnation(order.peer_incarnation.value);
  message.set_positions_max(order.positions_max);
  message.set_known(order.known);
  message.set_keep_ms(
      static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::milliseconds>(order.keep).count()));
}

void FillMove(const MoveOrder& order, wire::Envelope& out) {
  wire::Move& message = *out.mutable_move();
  message.set_request(order.key.request.value);
  message.set_attempt(order.key.attempt.value);
  message.set_new_attempt(order.target.attempt.value);
  message.set_worker(order.to.value);
  message.set_incarnation(order.to_incarnation.value);
  message.set_positions_max(order.positions_max);
}

void FillTakeBack(const TakeBackOrder& order, wire::Envelope& out) {
  wire::TakeBack& message = *out.mutable_take_back();
  message.set_request(order.key.request.value);
  message.set_attempt(order.key.attempt.value);
  message.mutable_tokens()->Add(order.tokens.begin(), order.tokens.end());
  message.set_cache_salt(order.cache_salt);
  message.set_decode_worker(order.from.value);
  message.set_decode_incarnation(order.from_incarnation.value);
}

void FillGiveBack(const GiveBackOrder& order, wire::Envelope& out) {
  wire::GiveBack& message = *out.mutable_give_back();
  message.set_request(order.key.request.value);
  message.set_attempt(order.key.attempt.value);
  message.set_new_attempt(order.target.attempt.value);
  message.set_worker(order.to.value);
  message.set_incarnation(order.to_incarnation.value);
  message.set_first(order.first);
  message.set_positions(order.positions);
}

absl::StatusOr<TakeReport> ReadTakes(const wire::Takes& message) {
  if (message.first() < 0 || message.first() > kCountMax)
    return Error(kInvalidArgument, "Takes from an impossible position on");
  return TakeReport{.key = Key(message.request(), message.attempt()), .first = message.first()};
}

MoveFailure ReadMoveFailed(const wire::MoveFailed& message) {
  return {.target = Key(message.request(), message.new_attempt()),
          .reason = message.reason().substr(0, kTextBytesMax)};
}

absl::StatusOr<cluster::LoadReport> ReadLoad(const wire::Load& message) {
  for (const std::int64_t count :
       {message.queued_requests(), message.queued_prompt_tokens(), message.running_requests(),
        message.kv_blocks_free(), message.kv_blocks_used(), message.kv_blocks_quarantined(),
        message.grants()}) {
    if (count < 0 || count > kCountMax) return Error(kInvalidArgument, "Load with an impossible count");
  }
  if (message.links_size() > kLinksMax)
    return Error(kInvalidArgument, "Load with {} links", message.links_size());
  cluster::LoadReport out{.ready = message.ready(),
                          .draining = message.draining(),
                          .queued_requests = message.queued_requests(),
                          .queued_prompt_tokens = message.queued_prompt_tokens(),
                          .running_requests = message.running_requests(),
                          .kv_blocks_free = message.kv_blocks_free(),
                          .kv_blocks_used = message.kv_blocks_used(),
                          .kv_blocks_quarantined = message.kv_blocks_quarantined(),
                          .grants = message.grants(),
                          .step_seconds = std::clamp(message.step_seconds(), 0.0, kStepSecondsMax),
                          .power = {.watts = ReadWatts(message.power().watts()),
                                    .step_watts = ReadWatts(message.power().step_watts()),
                                    .idle_watts = ReadWatts(message.power().idle_watts()),
                                    .cap_watts = ReadWatts(message.power().cap_watts())},
                          .links = {}};
  if (std::isnan(out.step_seconds)) out.step_seconds = 0;
  for (const wire::Link& link : message.links()) {
    const double speed =
        std::isfinite(link.bytes_per_second()) ? std::max(0.0, link.bytes_per_second()) : 0.0;
    out.links.push_back(
        {WorkerId{link.peer()}, link.ready(), link.transport().substr(0, kNameBytesMax), speed});
  }
  return out;
}

namespace {

absl::StatusOr<Logprobs> ReadLogprobs(const wire::Logprobs& message) {
  if (message.tokens_size() != message.logprobs_size() || message.tokens_size() > kLogprobsMax)
    return Error(kInvalidArgument, "Token with {} alternatives and {} log-probabilities",
                 message.tokens_size(), message.logprobs_size());
  Logprobs out{.chosen = message.chosen(), .top = {}};
  bool good = !std::isnan(message.chosen());
  for (int i = 0; i < message.tokens_size(); ++i) {
    good &= message.tokens(i) >= 0 && !std::isnan(message.logprobs(i));
    out.top.push_back({.token = message.tokens(i), .logprob = message.logprobs(i)});
  }
  if (!good) return Error(kInvalidArgument, "Token with an impossible alternative");
  return out;
}

}  // namespace

absl::StatusOr<TokenReport> ReadToken(const wire::Token& message) {
  if (message.cached_tokens() < 0 || message.cached_tokens() > kCountMax)
    return Error(kInvalidArgument, "Token with an impossible count of cached tokens");
  if (message.index() < 0 || message.token() < 0)
    return Error(kInvalidArgument, "Token with a negative index or id");
  if (!message.finish().empty() && message.finish() != "stop" && message.finish() != "length") {
    return Error(kInvalidArgument, "Token with an unknown finish");
  }
  if (message.sample() < 0 || message.sample() >= kSamplesMax)
    return Error(kInvalidArgument, "Token of answer {}", message.sample());
  std::optional<Logprobs> logprobs;
  if (message.has_logprobs()) {
    BATON_ASSIGN_OR_RETURN(logprobs, ReadLogprobs(message.logprobs()));
  }
  return TokenReport{.key = Key(message.request(), message.attempt()),
                     .index = message.index(),
                     .token = message.token(),
                     .finish = message.finish(),
                     .cached_tokens = message.cached_tokens(),
                     .sample = message.sample(),
                     .logprobs = std::move(logprobs)};
}

absl::StatusOr<PromptLogprobsReport> ReadPromptLogprobs(const wire::PromptLogprobs& message) {
  if (message.first() < 1 || message.first() > kCountMax || message.logprobs_size() > kPromptLogprobsMax)
    return Error(kInvalidArgument, "PromptLogprobs of {} tokens from {} on", message.logprobs_size(),
                 message.first());
  PromptLogprobsReport out{
      .key = Key(message.request(), message.attempt()), .first = message.first(), .logprobs = {}};
  for (const wire::Logprobs& logprobs : message.logprobs()) {
    BATON_ASSIGN_OR_RETURN(Logprobs read, ReadLogprobs(logprobs));
    out.logprobs.push_back(std::move(read));
  }
  return out;
}

absl::StatusOr<ReleaseReport> ReadReleased(const wire::Released& message) {
  ReleaseReport out{.key = Key(message.request(), message.attempt()),
                    .outcome = message.outcome(),
                    .error_code = message.error_code().substr(0, kNameBytesMax),
                    .error_message = message.error_message().substr(0, kTextBytesMax),
                    .has_transfer = message.has_transfer(),
                    .transfer = {},
                    .queue = Nanoseconds(message.timing().queue_ns()),
                    .compute = Nanoseconds(message.timing().compute_ns())};
  if (out.outcome != "done" && out.outcome != "cancelled" && out.outcome != "failed" &&
      out.outcome != "moved") {
    return Error(kInvalidArgument, "Released with an unknown outcome");
  }
  const wire::TransferReport& transfer = message.transfer();
  out.transfer = {.transport = transfer.transport().substr(0, kNameBytesMax),
                  .bytes = transfer.bytes(),
                  .messages = transfer.messages(),
                  .wire = Nanoseconds(transfer.wire_ns()),
                  .exposed = Nanoseconds(transfer.exposed_ns()),
                  .handoff = Nanoseconds(transfer.handoff_ns()),
                  .layer_wise = transfer.layer_wise()};
  return out;
}

absl::StatusOr<cluster::WorkerDescription> ReadRegister(const wire::Register& m, const Expected& expected) {
  if (m.protocol_version() != wire::kProtocolVersion) {
    return Error(kFailedPrecondition, "protocol version {} is not {}, which this router speaks",
                 m.protocol_version(), wire::kProtocolVersion);
  }
  if (m.name().empty() || m.name().size() > kNameBytesMax) {
    return Error(kInvalidArgument, "the worker's name must have 1 to {} bytes", kNameBytesMax);
  }
  if (m.phase() != wire::PREFILL && m.phase() != wire::DECODE) {
    return Error(kInvalidArgument, "phase {} is neither prefill nor decode", static_cast<int>(m.phase()));
  }
  if (m.incarnation() == 0) return Error(kInvalidArgument, "incarnation 0 is none");
  if (m.model() != expected.model_name) {
    return Error(kFailedPrecondition, "the worker serves another model than '{}'; set model_name alike",
                 expected.model_name);
  }
  if (m.tokenizer_fingerprint() != expected.tokenizer_fingerprint) {
    return Error(kFailedPrecondition,
                 "tokenizer {:016x} differs from the router's {:016x}; give both the same model directory",
                 m.tokenizer_fingerprint(), expected.tokenizer_fingerprint);
  }
  if (expected.model_fingerprint != 0 && m.model_fingerprint() != expected.model_fingerprint) {
    return Error(kFailedPrecondition,
                 "weights {:016x} differ from those of the workers that are here, {:016x}",
                 m.model_fingerprint(), expected.model_fingerprint);
  }
  if (m.vocabulary() < expected.vocabulary) {
    return Error(kFailedPrecondition, "the model's vocabulary of {} is smaller than the tokenizer's {}",
                 m.vocabulary(), expected.vocabulary);
  }
  for (const std::int64_t count : {m.kv_blocks(), m.context_tokens(), std::int64_t{m.kv().block_tokens()}}) {
    if (count <= 0 || count > kCountMax) {
      return Error(kInvalidArgument, "KV blocks, block size and context length must be positive");
    }
  }
  BATON_ASSIGN_OR_RETURN(cluster::KvForm form, ReadForm(m.kv()));
  if (m.growth_blocks() < 0 || m.growth_blocks() > kCountMax)
    return Error(kInvalidArgument, "growth_blocks must not be negative");
  if (const auto address = net::Address::Parse(m.peer_address()); !address.ok()) {
    return Error(kInvalidArgument, "peer_address: {}", Message(address.status()));
  }
  return cluster::WorkerDescription{
      .id = WorkerId{},
      .name = m.name(),
      .phase = m.phase() == wire::PREFILL ? cluster::Phase::kPrefill : cluster::Phase::kDecode,
      .incarnation = Incarnation{m.incarnation()},
      .model = m.model(),
      .numerics_class = m.numerics_class().substr(0, kNameBytesMax),
      .kv_blocks = m.kv_blocks(),
      .block_tokens = m.kv().block_tokens(),
      .context_tokens = m.context_tokens(),
      .batch_tokens = m.batch_tokens(),
      .batch_sequences = m.batch_sequences(),
      .growth_blocks = m.has_growth_blocks() ? std::optional(m.growth_blocks()) : std::nullopt,
      .kv_returns = m.kv_returns(),
      .kv = std::move(form),
      .other_classes = m.other_classes()};
}

}  // namespace baton::router
