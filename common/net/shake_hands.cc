#include <array>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "common/base/error.h"
#include "common/net/framed.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;
using Done = std::function<void(absl::Status)>;

/// One handshake: a chain of reads and writes of fixed size. Kept alive by the operation under way.
class Shake : public std::enable_shared_from_this<Shake> {
 public:
  Shake(std::shared_ptr<Tcp::socket> socket, HandshakeRole role, const std::string& cluster_key, Done done)
      : socket_(std::move(socket)), role_(role), cluster_key_(cluster_key), done_(std::move(done)) {}

  void Begin() {
    absl::StatusOr<Nonce> nonce = NewNonce();
    if (!nonce.ok()) return Finish(nonce.status());
    my_nonce_ = *nonce;
    my_hello_ = MakeHello(my_nonce_);
    if (role_ == HandshakeRole::kAcceptor) return ReadHello();
    Write(my_hello_, [](Shake& self) { self.ReadHello(); });
  }

 private:
  using Step = void (*)(Shake&);

  template <typename Bytes>
  void Read(Bytes& into, Step next) {
    boost::asio::async_read(*socket_, boost::asio::buffer(into),
                            [self = shared_from_this(), next](const ErrorCode& error, std::size_t) {
                              self->Continue(error, next);
                            });
  }

  template <typename Bytes>
  void Write(const Bytes& from, Step next) {
    boost::asio::async_write(*socket_, boost::asio::buffer(from),
                             [self = shared_from_this(), next](const ErrorCode& error, std::size_t) {
                               self->Continue(error, next);
                             });
  }

  void Continue(const ErrorCode& error, Step next) {
    if (!error) return next(*this);
    if (error == boost::asio::error::operation_aborted)
      return Finish(Error(kCancelled, "the handshake was given up"));
    Finish(Stranger());  // who does not know the key is cut off without a word
  }

  void ReadHello() {
    Read(peer_hello_, [](Shake& self) { self.OnHello(); });
  }

  void OnHello() {
    absl::StatusOr<Nonce> nonce = ParseHello(peer_hello_);
    if (!nonce.ok()) {
      refusal_ = nonce.status().code() == kUnimplemented ? nonce.status() : Stranger();
      if (role_ == HandshakeRole::kConnector || nonce.status().code() != kUnimplemented)
        return Finish(refusal_);
      return Write(my_hello_, [](Shake& self) { self.Finish(self.refusal_); });  // tells the peer our version
    }
    peer_nonce_ = *nonce;
    if (role_ == HandshakeRole::kConnector) return SendProof([](Shake& self) { self.ReadProof(); });
    Write(my_hello_, [](Shake& self) { self.ReadProof(); });
  }

  void ReadProof() {
    Read(peer_proof_, [](Shake& self) { self.OnProof(); });
  }

  void OnProof() {
    const HandshakeRole peer =
        role_ == HandshakeRole::kConnector ? HandshakeRole::kAcceptor : HandshakeRole::kConnector;
    if (!SameProof(peer_proof_, ProofOf(peer))) return Finish(Stranger());
    if (role_ == HandshakeRole::kConnector) return Finish(absl::OkStatus());
    SendProof([](Shake& self) { self.Finish(absl::OkStatus()); });
  }

  void SendProof(Step next) {
    my_proof_ = ProofOf(role_);
    Write(my_proof_, next);
  }

  [[nodiscard]] Proof ProofOf(HandshakeRole prover) const {
    const bool connector = role_ == HandshakeRole::kConnector;
    return MakeProof(cluster_key_, prover, connector ? my_nonce_ : peer_nonce_,
                     connector ? peer_nonce_ : my_nonce_);
  }

  static absl::Status Stranger() { return Error(kPermissionDenied, "wrong cluster key or not a Baton peer"); }

  void Finish(absl::Status status) {
    if (const Done done = std::exchange(done_, nullptr)) done(std::move(status));
  }

  const std::shared_ptr<Tcp::socket> socket_;
  const HandshakeRole role_;
  const std::string cluster_key_;
  Done done_;
  absl::Status refusal_;
  Nonce my_nonce_{};
  Nonce peer_nonce_{};
  Hello my_hello_{};
  Hello peer_hello_{};
  Proof my_proof_{};
  Proof peer_proof_{};
};

}  // namespace

void ShakeHands(std::shared_ptr<Tcp::socket> socket, HandshakeRole role, const std::string& cluster_key,
                Done done) {
  std::make_shared<Shake>(std::move(socket), role, cluster_key, std::move(done))->Begin();
}

}  // namespace baton::net
