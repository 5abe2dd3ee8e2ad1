#include "common/net/handshake.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::net {
namespace {

constexpr std::string_view kMagic = "BATON";

std::string_view Label(HandshakeRole role) {
  switch (role) {
    case HandshakeRole::kConnector:
      return "baton/1 connector";
    case HandshakeRole::kAcceptor:
      return "baton/1 acceptor";
  }
  return {};
}

}  // namespace

absl::StatusOr<Nonce> NewNonce() {
  Nonce nonce;
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1) {
    return Error(kInternal, "no random bytes from the operating system");
  }
  return nonce;
}

Hello MakeHello(const Nonce& nonce) {
  Hello hello;
  const auto after_magic = std::copy(kMagic.begin(), kMagic.end(), hello.begin());
  *after_magic = kProtocolVersion;
  std::copy(nonce.begin(), nonce.end(), after_magic + 1);
  return hello;
}

absl::StatusOr<Nonce> ParseHello(const Hello& hello) {
  if (!std::equal(kMagic.begin(), kMagic.end(), hello.begin())) {
    return Error(kInvalidArgument, "the peer does not speak Baton's protocol");
  }
  if (const std::uint8_t version = hello[kMagic.size()]; version != kProtocolVersion) {
    return Error(kUnimplemented, "the peer speaks version {} of Baton's protocol, this program version {}",
                 version, kProtocolVersion);
  }
  Nonce nonce;
  std::copy(hello.begin() + kMagic.size() + 1, hello.end(), nonce.begin());
  return nonce;
}

Proof MakeProof(std::string_view cluster_key, HandshakeRole prover, const Nonce& connector,
                const Nonce& acceptor) {
  std::string message(Label(prover));
  message.append(connector.begin(), connector.end());
  message.append(acceptor.begin(), acceptor.end());
  const char* key =
      cluster_key.empty() ? "" : cluster_key.data();  // a null key means "the key of before" to OpenSSL
  Proof proof;
  unsigned int length = 0;
  const unsigned char* done =
      HMAC(EVP_sha256(), key, static_cast<int>(cluster_key.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(), proof.data(), &length);
  BATON_CHECK(done != nullptr && length == proof.size(), "HMAC-SHA256 gave {} bytes", length);
  return proof;
}

bool SameProof(const Proof& a, const Proof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace baton::net
