#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "common/base/mutex.h"
#include "common/base/random.h"
#include "common/metrics/registry.h"
#include "common/net/event_loop.h"
#include "kvtransfer/handoff.h"
#include "tests/storm/memory.h"
#include "tests/storm/tapped_transport.h"

namespace baton::storm {

/// One process of the storm: a worker with nothing but its end of the hand-off, over UCX, which sends and
/// receives as its parent says and reports every event as a line. Commands come in one thread; all else is on
/// the loop.
class Worker {
 public:
  struct Options {
    WorkerId id;
    bool checksum = true;
    std::uint64_t seed = 0;
  };
  /// `out` is the descriptor of the parent's channel.
  Worker(const Options& options, int out);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Runs one line of the parent's on the loop. False where it was the last.
  [[nodiscard]] bool Command(const std::string& line);

 private:
  struct Sending {
    std::vector<BlockIndex> blocks;
    std::int64_t tokens = 0;
    std::string pace;  // "stall": computes one layer, and never commits; "burst": all at once
    int layers = 0;    // ready so far
    net::Timer next;
  };
  struct Receiving {
    std::vector<BlockIndex> blocks;
    int reports = 0;
    bool committed = false;
    bool released = false;
    bool decoding = false;
    net::Timer decode;
  };

  void Report(const std::string& line);
  void DoOnLoop(std::function<void()> work);
  void SetPeers(std::istringstream& words);
  [[nodiscard]] std::optional<std::vector<BlockIndex>> TakeBlocks(std::size_t count, RequestKey key,
                                                                  std::string_view pace);
  void Receive(std::istringstream& words);
  void Send(std::istringstream& words);
  void ComputeNext(RequestKey key);
  void EndSend(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& why);
  void Committed(RequestKey key);
  void GiveBackIfDone(RequestKey key);
  void Stat();
  void Arm(std::istringstream& words);
  [[nodiscard]] bool Strikes(std::string_view phase);
  void Reached(std::string_view phase, RequestKey key);
  void StopIfCut();
  void Abort(std::string_view phase, RequestKey key);

  const Options options_;
  const int out_;
  const Incarnation incarnation_ = NewIncarnation();
  RandomStream chance_;
  Memory memory_;
  metrics::Registry metrics_;
  TappedTransport* transport_ = nullptr;  // of handoff_
  std::map<RequestKey, Sending> sending_;
  std::map<RequestKey, Receiving> receiving_;
  std::atomic<bool> cut_{false};    // stops amid its next large message
  std::atomic<int> calls_left_{0};  // of UCX to sockets, until a link that is being made may be struck
  std::atomic<int> armed_{-1};      // index of phase * 3 + that of the action; -1: none
  net::LoopThread loop_{"storm"};
  std::unique_ptr<kvtransfer::Handoff> handoff_;
};

}  // namespace baton::storm
