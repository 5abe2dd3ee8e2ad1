#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"

namespace baton::storm {

/// The id and incarnation of a peer that every worker knows and that is nobody: the hostile stranger's.
inline constexpr WorkerId kHostile{99};
inline constexpr Incarnation kHostileIncarnation{9999};

/// Who visits a worker's pair port, and how far it comes.
inline constexpr std::array<std::string_view, 9> kVisits = {
    "noise",              // bytes that are no handshake
    "wrong-key",          // another cluster's key
    "wrong-cluster",      // the right key, another cluster's id
    "unknown-worker",     // a HELLO of a worker that nobody has named
    "stale-incarnation",  // a HELLO of a known worker's earlier life
    "wrong-address",      // a HELLO whose data address is none
    "no-hello",           // a frame that is no message
    "oversized",          // a frame above the limit
    "hostile",            // a known peer: HELLO, then messages that are nonsense, then a broken frame
};

/// Makes such visits, each from a connection of its own. Methods are for one thread.
class Stranger {
 public:
  struct Target {
    std::uint16_t port = 0;
    Incarnation incarnation;
    std::string data_address;  // of any worker: what a hostile HELLO names
    bool checksum = true;
  };
  explicit Stranger(std::uint64_t seed) : chance_(seed) {}
  ~Stranger();
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  void Visit(std::string_view kind, const Target& target);
  /// Hostile visits whose HELLO was answered by one: those that came to the nonsense.
  [[nodiscard]] int Believed() const { return believed_; }

 private:
  struct Guest {
    std::unique_ptr<net::PendingConnect> pending;
    std::unique_ptr<net::Connection> connection;
    net::Timer leave;
  };
  void OnConnected(int guest, const std::string& kind, const Target& target,
                   absl::StatusOr<std::unique_ptr<net::Connection>> connection);
  [[nodiscard]] std::string Hello(const std::string& kind, const Target& target);
  void TalkNonsense(net::Connection& connection, const Target& target);

  RandomStream chance_;  // on the loop
  std::map<int, std::unique_ptr<Guest>> guests_;
  int last_guest_ = 0;
  std::atomic<int> believed_{0};
  net::LoopThread loop_{"stranger"};
};

}  // namespace baton::storm
