#include "router/sinks.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace baton::router {
namespace {

// Below the shortest idle timeout of common proxies, with room for a lost moment.
constexpr Duration kKeepAliveAfter = std::chrono::seconds(10);

class StreamSink final : public AnswerSink {
 public:
  StreamSink(SinkContext context, UsageStyle style)
      : context_(std::move(context)),
        style_(style),
        last_write_(context_.clock->Now()),
        begun_choices_(static_cast<std::size_t>(context_.choices)),
        open_(context_.choices) {}

  bool Text(TextPiece piece, const Usage& usage) override {
    const auto choice = static_cast<std::size_t>(piece.choice);
    const bool first = !begun_choices_.at(choice);
    begun_choices_[choice] = true;
    return Write(TextEvent(context_.head, piece, first, style_, usage));
  }

  void Finish(std::int32_t choice, const AnswerEnd& end, const Usage& usage) override {
    static_cast<void>(Write(FinishEvent(context_.head, choice, end, style_, usage)));
    if (--open_ > 0) return;
    if (style_ != UsageStyle::kAbsent) static_cast<void>(Write(UsageEvent(context_.head, usage)));
    EndStream();
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
    EndStream();
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
    whole_ = whole_ && context_.responder->Write(event);
    return whole_;
  }

  /// A stream that has lost an event is cut off, by the last who holds the responder.
  void EndStream() {
    if (Write(kDoneEvent)) context_.responder->End();
  }

  SinkContext context_;
  const UsageStyle style_;
  TimePoint last_write_;
  bool begun_ = false;
  bool whole_ = true;  // every event so far was taken
  std::vector<bool> begun_choices_;
  std::int32_t open_;  // choices that have not ended
};

class WholeSink final : public AnswerSink {
 public:
  explicit WholeSink(SinkContext context)
      : context_(std::move(context)),
        choices_(static_cast<std::size_t>(context_.choices)),
        open_(context_.choices) {}

  bool Text(TextPiece piece, const Usage& /*usage*/) override {
    WholeChoice& choice = choices_.at(static_cast<std::size_t>(piece.choice));
    choice.text += piece.text;
    std::move(piece.logprobs.begin(), piece.logprobs.end(), std::back_inserter(choice.logprobs));
    return true;
  }

  void Finish(std::int32_t choice, const AnswerEnd& end, const Usage& usage) override {
    choices_.at(static_cast<std::size_t>(choice)).end = end;
    if (--open_ > 0) return;
    context_.probe->Responded(Name(context_.head.endpoint), 200);
    net::HttpHeaders headers = context_.headers;
    headers.emplace_back("Content-Type", "application/json");
    context_.responder->Send(
        {.status = 200, .headers = std::move(headers), .body = WholeBody(context_.head, choices_, usage)});
  }

  void Fail(const ApiError& error) override {
    context_.probe->Responded(Name(context_.head.endpoint), error.status);
    SendError(*context_.responder, error, context_.headers);
  }

  bool Tick(TimePoint /*now*/) override { return true; }

 private:
  SinkContext context_;
  std::vector<WholeChoice> choices_;
  std::int32_t open_;  // choices that have not ended
};

/// What the parts of one answer share.
struct Whole {
  std::unique_ptr<AnswerSink> sink;
  std::vector<Usage> usages;  // of the parts, so far
  bool failed = false;

  [[nodiscard]] Usage Total() const {
    Usage total;
    for (const Usage& usage : usages) {
      total.prompt_tokens += usage.prompt_tokens;
      total.completion_tokens += usage.completion_tokens;
      total.cached_tokens += usage.cached_tokens;
    }
    return total;
  }
};

/// Some choices of an answer. The first part that fails fails the answer, and ends the others.
class PartSink final : public AnswerSink {
 public:
  PartSink(std::shared_ptr<Whole> whole, std::size_t part, std::int32_t first_choice)
      : whole_(std::move(whole)), part_(part), first_choice_(first_choice) {}

  bool Text(TextPiece piece, const Usage& usage) override {
    if (whole_->failed) return false;
    whole_->usages[part_] = usage;
    piece.choice += first_choice_;
    return whole_->sink->Text(std::move(piece), whole_->Total());
  }
  void Finish(std::int32_t choice, const AnswerEnd& end, const Usage& usage) override {
    if (whole_->failed) return;
    whole_->usages[part_] = usage;
    whole_->sink->Finish(first_choice_ + choice, end, whole_->Total());
  }
  void Fail(const ApiError& error) override {
    if (!std::exchange(whole_->failed, true)) whole_->sink->Fail(error);
  }
  bool Tick(TimePoint now) override { return !whole_->failed && whole_->sink->Tick(now); }

 private:
  const std::shared_ptr<Whole> whole_;
  const std::size_t part_;
  const std::int32_t first_choice_;
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

std::vector<std::unique_ptr<AnswerSink>> Divide(std::unique_ptr<AnswerSink> sink, std::size_t parts,
                                                std::int32_t choices) {
  std::vector<std::unique_ptr<AnswerSink>> out;
  if (parts == 1) {
    out.push_back(std::move(sink));
    return out;
  }
  const auto whole = std::make_shared<Whole>();
  whole->sink = std::move(sink);
  whole->usages.resize(parts);
  for (std::size_t part = 0; part < parts; ++part) {
    out.push_back(std::make_unique<PartSink>(whole, part, static_cast<std::int32_t>(part) * choices));
  }
  return out;
}

}  // namespace baton::router
