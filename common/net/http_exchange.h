#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/mutex.h"
#include "common/net/event_loop.h"
#include "common/net/http_server.h"

/// The seam between a handler's threads and a connection's loop. Private to this module.
namespace baton::net {

/// What a connection does with an answer. Called on its loop, in the order in which the handler answered.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void Answer(HttpResponse response) = 0;
  virtual void Begin(int status, const HttpHeaders& headers) = 0;
  virtual void Append(const std::string& piece) = 0;
  virtual void Finish() = 0;
  /// Ends the connection so that the client sees that the answer is not whole.
  virtual void Cut() = 0;
};

/// One request's answer under way, shared by the handler (through its responder) and the connection. Any
/// thread.
class Exchange {
 public:
  Exchange(EventLoop& loop, std::weak_ptr<AnswerSink> sink, std::size_t queued_bytes_max);

  // The handler's side.
  void Send(HttpResponse response);
  void BeginStream(int status, HttpHeaders headers);
  [[nodiscard]] bool Write(std::string_view piece);
  void End();
  void OnDisconnect(std::function<void()> gone);
  /// The handler let go of its responder. `unanswered` is sent where nothing has been.
  void Abandon(const std::function<HttpResponse()>& unanswered);

  // The connection's side.
  /// Bytes that `Write` had counted are with the kernel.
  void Sent(std::size_t bytes) { queued_bytes_.fetch_sub(bytes); }
  /// The connection is over: nothing reaches its loop any more, and who asked hears of it.
  void ClientGone();

 private:
  enum class State { kUnanswered, kStreaming, kComplete };

  /// Moves on from `from`; false, and nothing happens, where the handler broke the order of calls.
  [[nodiscard]] bool Advance(State from, State to, std::vector<std::function<void()>>& released);
  void Post(std::function<void(AnswerSink&)> work);

  const std::weak_ptr<AnswerSink> sink_;
  const std::size_t queued_bytes_max_;
  std::atomic<std::size_t> queued_bytes_ = 0;
  Mutex mutex_;
  EventLoop* loop_;                                   // guarded by mutex_; null once the client is gone
  State state_ = State::kUnanswered;                  // guarded by mutex_
  std::vector<std::function<void()>> on_disconnect_;  // guarded by mutex_
};

}  // namespace baton::net
