#include "common/net/handshake.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/net/connection.h"

namespace baton::net {
namespace {

Nonce Filled(std::uint8_t value) {
  Nonce nonce;
  nonce.fill(value);
  return nonce;
}

TEST_CASE("a hello gives back its nonce") {
  const auto nonce = NewNonce();
  REQUIRE(nonce.ok());

  const auto parsed = ParseHello(MakeHello(*nonce));

  REQUIRE(parsed.ok());
  CHECK(*parsed == *nonce);
  CHECK(*NewNonce() != *nonce);
}

TEST_CASE("a hello of another protocol or version is refused") {
  Hello other = MakeHello(Filled(7));
  other[0] = 'b';
  Hello newer = MakeHello(Filled(7));
  newer[5] = 2;

  CHECK(ParseHello(other).status().code() == kInvalidArgument);
  CHECK(ParseHello(newer).status().code() == kUnimplemented);
  CHECK_THAT(Message(ParseHello(newer).status()), Catch::Contains("version 2"));
}

TEST_CASE("a proof depends on the key, the role and both nonces, so that reflecting it fails") {
  const Proof proof = MakeProof("key", HandshakeRole::kConnector, Filled(1), Filled(2));

  CHECK(SameProof(proof, MakeProof("key", HandshakeRole::kConnector, Filled(1), Filled(2))));
  CHECK_FALSE(SameProof(proof, MakeProof("kez", HandshakeRole::kConnector, Filled(1), Filled(2))));
  CHECK_FALSE(SameProof(proof, MakeProof("", HandshakeRole::kConnector, Filled(1), Filled(2))));
  CHECK_FALSE(SameProof(proof, MakeProof("key", HandshakeRole::kAcceptor, Filled(1), Filled(2))));
  CHECK_FALSE(SameProof(proof, MakeProof("key", HandshakeRole::kConnector, Filled(3), Filled(2))));
  CHECK_FALSE(SameProof(proof, MakeProof("key", HandshakeRole::kConnector, Filled(1), Filled(3))));
}

TEST_CASE("addresses of names, IPv4 and IPv6 are read and written alike") {
  for (const char* text : {"10.0.0.2:7001", "[::1]:7001", "localhost:0", "a-b.example:65535"}) {
    const auto address = Address::Parse(text);
    REQUIRE(address.ok());
    CHECK(address->ToString() == text);
  }
  CHECK(Address::Parse("[::1]:1")->IsLoopback());
  CHECK(Address::Parse("127.3.0.1:1")->IsLoopback());
  CHECK(Address::Parse("localhost:1")->IsLoopback());
  CHECK_FALSE(Address::Parse("10.0.0.2:1")->IsLoopback());
  CHECK_FALSE(Address::Parse("0.0.0.0:1")->IsLoopback());
}

TEST_CASE("an address that is none says what is wrong") {
  for (const char* text : {"", ":", "host", ":80", "host:", "host:x", "host:65536", "host:-1", "host:1 ",
                           "::1:80", "[::1:80", "[::g]:80", "[127.0.0.1]:80", "ho st:1", "host/:1"}) {
    CAPTURE(text);
    CHECK(Address::Parse(text).status().code() == kInvalidArgument);
  }
}

}  // namespace
}  // namespace baton::net
