#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace baton::kvtransfer {

/// A thread for work on bytes (checksums, conversions), so that neither the wire nor the control loop stands
/// still meanwhile; work in order of posting. Bounded by what the transfers in hand may have under way.
class WorkThread {
 public:
  WorkThread() : thread_([this] { Run(); }) {}
  /// Finishes what is posted.
  ~WorkThread() {
    Post({});
    thread_.join();
  }
  WorkThread(const WorkThread&) = delete;
  WorkThread& operator=(const WorkThread&) = delete;

  void Post(std::function<void()> work) {
    {
      const std::scoped_lock lock(mutex_);
      posted_.push_back(std::move(work));
    }
    changed_.notify_one();
  }

 private:
  void Run() {
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !posted_.empty(); });
      const std::function<void()> work = std::move(posted_.front());
      posted_.pop_front();
      lock.unlock();
      if (!work) return;
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;  // guarded by mutex_; an empty one ends the thread
  std::thread thread_;
};

}  // namespace baton::kvtransfer
