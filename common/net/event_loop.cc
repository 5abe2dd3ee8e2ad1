#include "common/net/event_loop.h"

#include <pthread.h>

#include <string>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/base/check.h"
#include "common/net/io.h"

namespace baton::net {
namespace {

/// Runs what was posted when it began; what these post in turn waits for the next round, so that sockets get
/// theirs.
void Drain(EventLoop::Io& io) {
  std::deque<std::function<void()>> batch;
  {
    const MutexLock lock(io.mutex);
    batch.swap(io.posted);
    io.wake_posted = false;
  }
  while (!batch.empty()) {
    const std::function<void()> work = std::move(batch.front());
    batch.pop_front();
    work();
    if (io.context.stopped()) return;  // what was posted behind a stop is dropped
  }
}

}  // namespace

struct Timer::State {
  explicit State(boost::asio::io_context& context) : timer(context) {}
  boost::asio::steady_timer timer;
  std::function<void()> work;  // empty once it has run or is cancelled
};

Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    Cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

void Timer::Cancel() {
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  if (state == nullptr || !state->work) return;
  state->work = nullptr;
  state->timer.cancel();
}

EventLoop::EventLoop() : io_(std::make_unique<Io>()) {}

EventLoop::~EventLoop() {
  std::deque<std::function<void()>> dropped;
  const MutexLock lock(io_->mutex);
  io_->ended = true;
  dropped.swap(io_->posted);
}

void EventLoop::Run() {
  io_->thread.store(std::this_thread::get_id());
  io_->context.run();
  std::deque<std::function<void()>> dropped;
  {
    const MutexLock lock(io_->mutex);
    io_->ended = true;
    dropped.swap(io_->posted);
  }
}

void EventLoop::Stop() {
  Post([this] { io_->context.stop(); });
}

void EventLoop::Post(std::function<void()> work) {
  {
    const MutexLock lock(io_->mutex);
    if (io_->ended) return;
    io_->posted.push_back(std::move(work));
    if (std::exchange(io_->wake_posted, true)) return;
  }
  boost::asio::post(io_->context, [this] { Drain(*io_); });
}

Timer EventLoop::After(Duration delay, std::function<void()> work) {
  BATON_CHECK(OnLoopThread() || io_->thread.load() == std::thread::id(), "After is for the loop's thread");
  auto state = std::make_shared<Timer::State>(io_->context);
  state->work = std::move(work);
  state->timer.expires_after(delay);
  state->timer.async_wait([state](const boost::system::error_code&) {
    const std::function<void()> due = std::exchange(state->work, nullptr);
    if (due) due();
  });
  return Timer(std::move(state));
}

TimePoint EventLoop::Now() const {
  return std::chrono::steady_clock::now();
}

bool EventLoop::OnLoopThread() const {
  return io_->thread.load() == std::this_thread::get_id();
}

EventLoop::Io& EventLoop::GetIo() {
  return *io_;
}

struct LoopThread::State {
  EventLoop loop;
  std::thread thread;
};

LoopThread::LoopThread(const char* name) : state_(std::make_unique<State>()) {
  state_->thread = std::thread([loop = &state_->loop, label = std::string(name).substr(0, 15)] {
    pthread_setname_np(pthread_self(), label.c_str());
    loop->Run();
  });
}

LoopThread::~LoopThread() {
  state_->loop.Stop();
  state_->thread.join();
}

EventLoop& LoopThread::Loop() {
  return state_->loop;
}

}  // namespace baton::net
