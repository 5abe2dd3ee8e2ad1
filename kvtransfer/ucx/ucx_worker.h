#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/mutex.h"
#include "kvtransfer/handoff.h"

struct ucp_context;
struct ucp_worker;

namespace baton::kvtransfer::ucx {

/// A UCX context with one worker and the thread that progresses it. All UCX calls happen on that thread, by
/// `Post`.
class UcxWorker {
  struct Private {};  // only Create makes one

 public:
  explicit UcxWorker(Private) {}
  /// Initialises UCX for `options` (interface, transports). The error names what UCX lacks and how to get it.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(const HandoffOptions& options);
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  /// Starts the thread. What is posted runs there, in order.
  void Start();
  void Post(std::function<void()> work);
  /// Runs `work` once after `delay`, unless the worker stops before. On the thread only.
  void PostAfter(Duration delay, std::function<void()> work);
  /// Runs `work` once no connection that has begun by now waits for its peer to acknowledge it: mostly at
  /// once. Those that still do after `patience` are given up. On the thread only.
  void WhenSettled(Duration patience, std::function<void()> work);
  /// Runs `last` on the thread, then progresses until it returns true or `patience` has passed, then joins.
  void Stop(std::function<bool()> last, Duration patience);

  [[nodiscard]] ucp_worker* Handle() const { return worker_; }
  [[nodiscard]] ucp_context* Context() const { return context_; }
  [[nodiscard]] const std::string& Address() const { return address_; }
  /// The transport that carries data: "tcp", or what the configuration names first.
  [[nodiscard]] const std::string& TransportName() const { return transport_; }
  /// This UCX was built for CUDA and has found a driver: it reads a GPU's memory. Debian's was not.
  [[nodiscard]] bool SeesCuda() const { return sees_cuda_; }

 private:
  void Run();
  bool RunPosted();
  void Settle(TimePoint moment, Duration patience, std::function<void()> work);
  void Sleep();

  ucp_context* context_ = nullptr;
  ucp_worker* worker_ = nullptr;
  bool sees_cuda_ = false;
  int ucx_descriptor_ = -1;
  int wake_descriptor_ = -1;
  std::string address_;
  std::string transport_;
  std::thread thread_;
  Mutex mutex_;
  std::vector<std::function<void()>> posted_;              // guarded by mutex_
  bool stop_ = false;                                      // transfer thread only
  std::multimap<TimePoint, std::function<void()>> later_;  // transfer thread only
  std::function<bool()> last_;                             // transfer thread only
  bool unfinished_ = false;                                // after the join: UCX still holds requests
  TimePoint stop_by_{};                                    // transfer thread only
};

}  // namespace baton::kvtransfer::ucx
