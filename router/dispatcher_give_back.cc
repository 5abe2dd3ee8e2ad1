#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/text/prefix_hash.h"
#include "router/dispatcher.h"

/// KV of answers that have ended goes back to prefill workers, for the next turn: see give_back.h, and
/// docs/PROTOCOL.md for the messages.
namespace baton::router {

using cluster::Phase;

/// A completion's answer is seldom the beginning of another prompt. Of several answers none is.
Duration Dispatcher::KeepFor(const Request& request) const {
  const bool wanted = options_.give_back.enabled && request.exact &&
                      request.job.endpoint == Endpoint::kChat && request.answers.size() == 1;
  return wanted ? kKeepAnswer : Duration{};
}

/// Decode has ended the answer. Who wrote it has been told to keep it, and waits for what is said here.
void Dispatcher::OfferBack(Request& request) {
  if (KeepFor(request) == Duration{} || request.move) return;
  const auto writer = std::find_if(request.held.begin(), request.held.end(), [](const Part& part) {
    return part.phase == Phase::kDecode && !part.cancelled;
  });
  if (writer == request.held.end()) return;
  const auto refuse = [&] {
    writer->cancelled = true;
    workers_.SendCancel(writer->worker, writer->key);
  };
  if (!waiting_.empty()) return refuse();
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const cluster::WorkerSnapshot& from = *snapshot.Find(writer->worker);
  const std::int64_t block_tokens = from.about.block_tokens;
  std::vector<TokenId> tokens = *request.job.prompt;
  const std::vector<TokenId>& answer = request.answers.front().Tokens();
  tokens.insert(tokens.end(), answer.begin(), answer.end() - 1);  // the last one has no KV
  tokens.resize(tokens.size() / static_cast<std::size_t>(block_tokens) *
                static_cast<std::size_t>(block_tokens));
  std::vector<std::uint64_t> names = text::PrefixNames(request.job.cache_salt, tokens, kPrefixBlockTokens);
  const std::vector<HeldPrefix> held = prefixes_.Find(names);
  const auto to =
      ChooseTaker(snapshot, {writer->worker, std::ssize(tokens), held}, options_.give_back, GiveBacks());
  if (!to) return refuse();
  const RequestKey target{request.job.id, Attempt{request.attempt.value + 1}};
  request.give_back = GiveBack{.source = writer->key,
                               .target = target,
                               .from = writer->worker,
                               .to = *to,
                               .positions = std::ssize(tokens),
                               .names = std::move(names)};
  giving_back_.insert(request.job.id);
  workers_.SendTakeBack(*to, {.key = target,
                              .tokens = std::move(tokens),
                              .cache_salt = request.job.cache_salt,
                              .from = writer->worker,
                              .from_incarnation = from.about.incarnation});
  request.held.push_back({*to, Phase::kPrefill, target, false});
}

std::map<WorkerId, std::int64_t> Dispatcher::GiveBacks() const {
  std::map<WorkerId, std::int64_t> counts;
  for (const RequestId id : giving_back_) {
    const GiveBack& give_back = *requests_.at(id).give_back;
    ++counts[give_back.from];
    ++counts[give_back.to];
  }
  return counts;
}

void Dispatcher::OnTakes(WorkerId worker, const TakeReport& takes) {
  Request* request = Find(takes.key.request);
  if (request == nullptr || !request->give_back || request->give_back->target != takes.key ||
      request->give_back->to != worker) {
    return;
  }
  GiveBack& give_back = *request->give_back;
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const cluster::WorkerSnapshot* to = snapshot.Find(worker);
  const Part* writer = HeldBy(*request, give_back.from, give_back.source);
  if (writer == nullptr || writer->cancelled || takes.first >= give_back.positions) {
    return CancelParts(*request);
  }
  give_back.first = takes.first;
  workers_.SendGiveBack(give_back.from, {.key = give_back.source,
                                         .target = give_back.target,
                                         .to = worker,
                                         .to_incarnation = to->about.incarnation,
                                         .first = takes.first,
                                         .positions = give_back.positions});
}

/// A part has ended; where it is the taker's, so has the whole.
void Dispatcher::EndGiveBack(Request& request, const Part& part, std::string_view outcome) {
  if (!request.give_back || request.give_back->target != part.key) return;
  const GiveBack give_back = *std::exchange(request.give_back, std::nullopt);
  giving_back_.erase(request.job.id);
  const bool done = outcome == "done";
  const std::int64_t tokens = done && give_back.first ? give_back.positions - *give_back.first : 0;
  if (done) prefixes_.Note(give_back.to, give_back.names);
  probe_.GaveBack(outcome, tokens);
  LogDebug("gave_back", {{"request", give_back.target},
                         {"from", give_back.from},
                         {"to", give_back.to},
                         {"tokens", tokens},
                         {"outcome", outcome}});
  CancelParts(request);  // nobody is going to ask the writer any more
}

/// Somebody waits for memory.
void Dispatcher::StopGiveBacks() {
  for (const RequestId id : giving_back_) CancelParts(requests_.at(id));
}

}  // namespace baton::router
