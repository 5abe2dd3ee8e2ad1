#include "common/net/http_exchange.h"

#include <utility>

#include "common/base/log.h"

namespace baton::net {

Exchange::Exchange(EventLoop& loop, std::weak_ptr<AnswerSink> sink, std::size_t queued_bytes_max)
    : sink_(std::move(sink)), queued_bytes_max_(queued_bytes_max), loop_(&loop) {}

bool Exchange::Advance(State from, State to, std::vector<std::function<void()>>& released) {
  const MutexLock lock(mutex_);
  if (state_ != from) return false;
  state_ = to;
  if (to == State::kComplete) released.swap(on_disconnect_);
  return true;
}

void Exchange::Post(std::function<void(AnswerSink&)> work) {
  const MutexLock lock(mutex_);
  if (loop_ == nullptr) return;
  loop_->Post([sink = sink_, work = std::move(work)] {
    if (const std::shared_ptr<AnswerSink> open = sink.lock()) work(*open);
  });
}

void Exchange::Send(HttpResponse response) {
  std::vector<std::function<void()>> released;
  if (!Advance(State::kUnanswered, State::kComplete, released)) return LogError("http_answered_twice");
  Post([response = std::move(response)](AnswerSink& sink) { sink.Answer(response); });
}

void Exchange::BeginStream(int status, HttpHeaders headers) {
  std::vector<std::function<void()>> released;
  if (!Advance(State::kUnanswered, State::kStreaming, released)) return LogError("http_answered_twice");
  Post([status, headers = std::move(headers)](AnswerSink& sink) { sink.Begin(status, headers); });
}

bool Exchange::Write(std::string_view piece) {
  {
    const MutexLock lock(mutex_);
    if (state_ != State::kStreaming || loop_ == nullptr) return false;
  }
  if (piece.empty()) return true;  // an empty chunk would be the end
  // A piece alone always goes, however long: nobody has been too slow for it.
  const std::size_t before = queued_bytes_.fetch_add(piece.size());
  if (before > 0 && before + piece.size() > queued_bytes_max_) {
    queued_bytes_.fetch_sub(piece.size());
    return false;
  }
  Post([text = std::string(piece)](AnswerSink& sink) { sink.Append(text); });
  return true;
}

void Exchange::End() {
  std::vector<std::function<void()>> released;
  if (!Advance(State::kStreaming, State::kComplete, released)) return LogError("http_stream_not_open");
  Post([](AnswerSink& sink) { sink.Finish(); });
}

void Exchange::OnDisconnect(std::function<void()> gone) {
  {
    const MutexLock lock(mutex_);
    if (state_ == State::kComplete) return;
    if (loop_ != nullptr) {
      on_disconnect_.push_back(std::move(gone));
      return;
    }
  }
  gone();
}

void Exchange::Abandon(const std::function<HttpResponse()>& unanswered) {
  std::vector<std::function<void()>> released;
  if (Advance(State::kUnanswered, State::kComplete, released)) {
    Post([response = unanswered()](AnswerSink& sink) { sink.Answer(response); });
  } else if (Advance(State::kStreaming, State::kComplete, released)) {
    Post([](AnswerSink& sink) { sink.Cut(); });
  }
}

void Exchange::ClientGone() {
  std::vector<std::function<void()>> told;
  {
    const MutexLock lock(mutex_);
    loop_ = nullptr;
    told.swap(on_disconnect_);
  }
  for (const std::function<void()>& gone : told) gone();
}

}  // namespace baton::net
