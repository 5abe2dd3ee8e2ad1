#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

/// The bytes of the mutual handshake (docs/PROTOCOL.md). Pure but for `NewNonce`; every buffer is of fixed
/// size.
///
///   connector -> acceptor   hello: "BATON", version, nonce
///   acceptor -> connector   hello
///   connector -> acceptor   proof: HMAC-SHA256(cluster key, role of the prover, connector's nonce,
///   acceptor's nonce) acceptor -> connector   proof
///
/// The connector proves first, so that a stranger who connects gets nothing to try keys on. The role in the
/// proof makes one side's useless as the other's.
namespace baton::net {

enum class HandshakeRole { kConnector, kAcceptor };

inline constexpr std::uint8_t kProtocolVersion = 1;

using Nonce = std::array<std::uint8_t, 32>;
using Proof = std::array<std::uint8_t, 32>;
using Hello = std::array<std::uint8_t, 38>;  // 5 bytes of magic, 1 of version, the nonce

/// 32 bytes from the operating system's generator.
[[nodiscard]] absl::StatusOr<Nonce> NewNonce();
[[nodiscard]] Hello MakeHello(const Nonce& nonce);
/// The nonce of a hello; InvalidArgument for another protocol, Unimplemented for another version of ours.
[[nodiscard]] absl::StatusOr<Nonce> ParseHello(const Hello& hello);
[[nodiscard]] Proof MakeProof(std::string_view cluster_key, HandshakeRole prover, const Nonce& connector,
                              const Nonce& acceptor);
/// In constant time.
[[nodiscard]] bool SameProof(const Proof& a, const Proof& b);

}  // namespace baton::net
