#pragma once

#include <functional>
#include <memory>

#include "common/base/clock.h"

namespace baton::net {

/// A one-shot timer; destroying or cancelling it means that its function will not run. Loop thread only.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&&) noexcept = default;
  Timer& operator=(Timer&& other) noexcept;
  ~Timer() { Cancel(); }
  void Cancel();

 private:
  friend class EventLoop;
  struct State;
  explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// One thread's event loop (an Asio io_context, hidden): the home of a component whose state needs no locks.
/// Timers, connections and listeners are destroyed before their loop.
class EventLoop final : public Clock {
 public:
  EventLoop();
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Runs until `Stop`. The calling thread is the loop's thread.
  void Run();
  /// Lets `Run` return once what is already posted has run. Any thread.
  void Stop();
  /// Runs `work` on the loop's thread, in order of posting. Any thread; what is posted after the end is
  /// dropped.
  void Post(std::function<void()> work);
  /// Runs `work` once after `delay`. Loop thread, or before `Run`.
  [[nodiscard]] Timer After(Duration delay, std::function<void()> work);
  [[nodiscard]] TimePoint Now() const override;
  [[nodiscard]] bool OnLoopThread() const;

  /// The io_context, for the sources of this module and of transports that watch descriptors. Defined in
  /// io.h.
  struct Io;
  [[nodiscard]] Io& GetIo();

 private:
  std::unique_ptr<Io> io_;
};

/// A loop with its thread; the destructor stops and joins.
class LoopThread {
 public:
  explicit LoopThread(const char* name);
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  [[nodiscard]] EventLoop& Loop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::net
