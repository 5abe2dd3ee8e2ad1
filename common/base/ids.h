#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <fmt/format.h>

/// Strong integer types: a worker's id cannot be passed where a block's index is wanted.
namespace baton {

template <typename Tag, typename Rep>
struct StrongId {
  Rep value = 0;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <typename H>
  friend H AbslHashValue(H state, StrongId id) {
    return H::combine(std::move(state), id.value);
  }
};

/// A worker's id in the cluster: configured, or drawn by the router at registration. 0 is no worker.
using WorkerId = StrongId<struct WorkerIdTag, std::uint32_t>;
/// A request's id inside the cluster, minted by the router. 0 is no request.
using RequestId = StrongId<struct RequestIdTag, std::uint64_t>;
/// The number of a placement of a request, minted by the router, monotonic per request, first is 1.
using Attempt = StrongId<struct AttemptTag, std::uint32_t>;
/// Random 64 bits made when a process starts; anything that carries another one is stale.
using Incarnation = StrongId<struct IncarnationTag, std::uint64_t>;
/// Index of a KV block in a worker's arena, counted from 0.
using BlockIndex = StrongId<struct BlockIndexTag, std::uint32_t>;
/// A token of a model's vocabulary.
using TokenId = std::int32_t;

/// A request's placement: the key of everything that a worker keeps for it.
struct RequestKey {
  RequestId request;
  Attempt attempt;
  friend constexpr auto operator<=>(const RequestKey&, const RequestKey&) = default;

  template <typename H>
  friend H AbslHashValue(H state, const RequestKey& key) {
    return H::combine(std::move(state), key.request, key.attempt);
  }
};

/// 128 random bits that name one KV transfer; minted by the receiver, single use.
struct TransferId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend constexpr auto operator<=>(const TransferId&, const TransferId&) = default;

  template <typename H>
  friend H AbslHashValue(H state, const TransferId& id) {
    return H::combine(std::move(state), id.high, id.low);
  }
};

/// `count` consecutive blocks from `first` on.
struct BlockRun {
  BlockIndex first;
  std::uint32_t count = 0;
  friend constexpr auto operator<=>(const BlockRun&, const BlockRun&) = default;
};

/// Random ids from the operating system's generator.
[[nodiscard]] Incarnation NewIncarnation();
[[nodiscard]] TransferId NewTransferId();
/// 64 random bits from the operating system.
[[nodiscard]] std::uint64_t RandomBits();

}  // namespace baton

template <typename Tag, typename Rep>
struct fmt::formatter<baton::StrongId<Tag, Rep>> : fmt::formatter<Rep> {
  auto format(baton::StrongId<Tag, Rep> id, fmt::format_context& context) const {
    return fmt::formatter<Rep>::format(id.value, context);
  }
};

template <>
struct fmt::formatter<baton::RequestKey> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  auto format(const baton::RequestKey& key, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:x}/{}", key.request.value, key.attempt.value);
  }
};

template <>
struct fmt::formatter<baton::TransferId> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  auto format(const baton::TransferId& id, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:016x}{:016x}", id.high, id.low);
  }
};
