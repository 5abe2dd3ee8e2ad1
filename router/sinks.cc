#include "router/sinks.h"

#include <utility>

#include "common/base/ids.h"

namespace baton::router {
namespace {

// Below the shortest idle timeout of common proxies, with room for a lost moment.
constexpr Duration kKeepAliveAfter = std::chrono::seconds(10);

class StreamSink final : public AnswerSink {
 public:
  StreamSink(SinkContext context, UsageStyle style)
      : context_(std::move(context)), style_(style), last_write_(context_.clock->Now()) {}

  bool Text(std::string_view text, const Usage& usage) override {
    const bool first = std::exchange(first_, false);
    return Write(TextEvent(context_.head, text, first, style_, usage));
  }

  void Finish(const AnswerEnd& end, const Usage& usage) override {
    static_cast<void>(Write(FinishEvent(context_.head, end, style_, usage)));
    if (style_ != UsageStyle::kAbsent) static_cast<void>(Write(UsageEvent(context_.head, usage)));
    static_cast<void>(Write(kDoneEvent));
    context_.responder->End();
  }

  void Fail(const ApiError& error) override {
    if (!begun_) {
      context_.probe->Responded(Name(context_.head.endpoint), error.status);
      SendError(*context_.responder, error, context_.headers);
      return;
    }
    // Never a clean end: clients take one for success.
    ApiError in_stream = error;
    in_stream.type = "server_error";
    static_cast<void>(Write(ErrorEvent(in_stream)));
    static_cast<void>(Write(kDoneEvent));
    context_.responder->End();
  }

  bool Tick(TimePoint now) override { return now - last_write_ < kKeepAliveAfter || Write(kKeepAlive); }

 private:
  bool Write(std::string_view event) {
    if (!std::exchange(begun_, true)) {
      context_.probe->Responded(Name(context_.head.endpoint), 200);
      net::HttpHeaders headers = context_.headers;
      headers.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
      headers.emplace_back("Cache-Control", "no-cache");
      headers.emplace_back("X-Accel-Buffering", "no");
      context_.responder->BeginStream(200, std::move(headers));
    }
    last_write_ = context_.clock->Now();
    return context_.responder->Write(event);
  }

  SinkContext context_;
  const UsageStyle style_;
  TimePoint last_write_;
  bool begun_ = false;
  bool first_ = true;
};

class WholeSink final : public AnswerSink {
 public:
  explicit WholeSink(SinkContext context) : context_(std::move(context)) {}

  bool Text(std::string_view text, const Usage& /*usage*/) override {
    text_ += text;
    return true;
  }

  void Finish(const AnswerEnd& end, const Usage& usage) override {
    context_.probe->Responded(Name(context_.head.endpoint), 200);
    net::HttpHeaders headers = context_.headers;
    headers.emplace_back("Content-Type", "application/json");
    context_.responder->Send(
        {.status = 200, .headers = std::move(headers), .body = WholeBody(context_.head, text_, end, usage)});
  }

  void Fail(const ApiError& error) override {
    context_.probe->Responded(Name(context_.head.endpoint), error.status);
    SendError(*context_.responder, error, context_.headers);
  }

  bool Tick(TimePoint /*now*/) override { return true; }

 private:
  SinkContext context_;
  std::string text_;
};

}  // namespace

void SendError(net::HttpResponder& responder, const ApiError& error, net::HttpHeaders headers) {
  headers.emplace_back("Content-Type", "application/json");
  // Spread over a few seconds, so that those who were refused together do not come back together.
  if (error.status == 503) headers.emplace_back("Retry-After", std::to_string(1 + RandomBits() % 3));
  responder.Send({.status = error.status, .headers = std::move(headers), .body = ErrorBody(error)});
}

std::unique_ptr<AnswerSink> MakeStreamSink(SinkContext context, UsageStyle style) {
  return std::make_unique<StreamSink>(std::move(context), style);
}

std::unique_ptr<AnswerSink> MakeWholeSink(SinkContext context) {
  return std::make_unique<WholeSink>(std::move(context));
}

}  // namespace baton::router
