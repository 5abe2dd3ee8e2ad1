#pragma once

#include <catch2/catch.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tests/kvtransfer/worker.h"

/// Two workers whose KV lies as a test says, and a prompt's way from one to the other.
namespace baton::test {

using kvtransfer::HandoffOptions;
using kvtransfer::KvLayout;
using kvtransfer::TransferEnd;

[[nodiscard]] inline KvLayout Layout(int ranks, int block_tokens, const std::string& dtype) {
  KvLayout layout = TestLayout();
  layout.ranks = ranks;
  layout.block_tokens = block_tokens;
  layout.dtype = dtype;
  layout.element_bytes = dtype == "f32" ? 4 : 2;
  return layout;
}

[[nodiscard]] inline std::vector<BlockIndex> Table(std::int64_t tokens, int block_tokens,
                                                   std::uint32_t first) {
  return Blocks(first, static_cast<std::uint32_t>((tokens + block_tokens - 1) / block_tokens));
}

/// Prefill and decode that are ready for each other.
struct Pair {
  Pair(const std::string& transport, const KvLayout& source, const KvLayout& target,
       std::function<void(HandoffOptions&)> adjust = {}, bool hidden_source = false,
       bool hidden_target = false,
       const std::function<std::unique_ptr<kvtransfer::Transport>(const HandoffOptions&)>& make = {})
      : prefill({.id = WorkerId(1),
                 .transport = transport,
                 .layout = source,
                 .hidden = hidden_source,
                 .adjust = adjust,
                 .make = make}),
        decode({.id = WorkerId(2),
                .transport = transport,
                .layout = target,
                .hidden = hidden_target,
                .adjust = adjust,
                .make = make}) {
    REQUIRE(Introduce(prefill, decode));
  }
  struct Transfer {
    Worker::Receipt receipt = std::make_shared<Watched<Worker::Receiving>>();
    Worker::Dispatch dispatch = std::make_shared<Watched<Worker::Sending>>();
    std::vector<BlockIndex> from, to;
    std::int64_t tokens = 0;
  };
  /// Both sides know of it, and its KV is computed; the caller produces.
  Transfer Begin(RequestKey key, std::int64_t tokens, std::uint32_t first) {
    Transfer transfer{.from = Table(tokens, prefill.Setup().layout.block_tokens, first),
                      .to = Table(tokens, decode.Setup().layout.block_tokens, first + 1),
                      .tokens = tokens};
    prefill.Kv().Compute(key.request.value, transfer.from, tokens);
    REQUIRE(decode.Receive({.key = key,
                            .sender = WorkerId(1),
                            .sender_incarnation = prefill.Setup().incarnation,
                            .prompt_tokens = tokens,
                            .blocks = transfer.to},
                           transfer.receipt) == absl::OkStatus());
    REQUIRE(prefill.Send({.key = key,
                          .receiver = WorkerId(2),
                          .receiver_incarnation = decode.Setup().incarnation,
                          .prompt_tokens = tokens,
                          .blocks = transfer.from},
                         transfer.dispatch) == absl::OkStatus());
    return transfer;
  }
  /// An answer of 196 tokens that grows while it is sent, into room for 480; its tenth block is still written
  /// when the first round goes, and must not go with it. Source blocks have 16 tokens.
  Transfer SendGrowing(RequestKey key) {
    Transfer transfer{
        .from = Table(250, 16, 7), .to = Table(480, decode.Setup().layout.block_tokens, 100), .tokens = 196};
    const auto tenth = transfer.from.begin() + 10;
    REQUIRE(decode.Receive({.key = key,
                            .sender = WorkerId(1),
                            .sender_incarnation = prefill.Setup().incarnation,
                            .prompt_tokens = 480,
                            .blocks = transfer.to,
                            .least_tokens = 100},
                           transfer.receipt) == absl::OkStatus());
    REQUIRE(prefill.Send({.key = key,
                          .receiver = WorkerId(2),
                          .receiver_incarnation = decode.Setup().incarnation,
                          .prompt_tokens = 480,
                          .blocks = {transfer.from.begin(), tenth},
                          .grows = true},
                         transfer.dispatch) == absl::OkStatus());
    REQUIRE(transfer.dispatch->WaitFor([](const auto& s) { return s.granted; }));
    prefill.Kv().Compute(99, transfer.from, 160);
    prefill.Kv().Compute(key.request.value, transfer.from, 159);
    prefill.PositionsReady(key, 0, 159, {});
    REQUIRE(transfer.dispatch->WaitFor([](const auto& s) { return s.idle >= 1; }));
    prefill.Kv().Compute(key.request.value, transfer.from, 196);
    prefill.PositionsReady(key, 159, 37, {tenth, transfer.from.end()});
    prefill.Commit(key, {.prompt_tokens = 196, .answer = {4, 5, 6}});
    return transfer;
  }
  void RequireArrived(RequestKey key, const Transfer& transfer, float tolerance = 0) {
    REQUIRE(transfer.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
    INFO(transfer.dispatch->Get().why);
    CHECK(transfer.dispatch->Get().ended == TransferEnd::kAcked);
    REQUIRE(transfer.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
    CHECK(transfer.receipt->Get().committed.has_value());
    CHECK(decode.Kv().Difference(key.request.value, transfer.to, transfer.tokens) <= tolerance);
  }
  Worker prefill, decode;
};

}  // namespace baton::test
