#include "common/net/http_session.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include "common/base/log.h"
#include "common/net/http_exchange.h"
#include "common/net/http_format.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;
using Tcp = boost::asio::ip::tcp;

constexpr std::size_t kReadBytes = 8U << 10;
constexpr std::size_t kReadAheadBytesMax =
    kHttpHeadBytesMax + kReadBytes;                       // of requests that a client sends before their turn
constexpr Duration kDrainTime = std::chrono::seconds(2);  // for the client to read why it was refused

/// What the handler holds. The last one to let go of it ends the answer.
class Responder final : public HttpResponder {
 public:
  Responder(std::shared_ptr<Exchange> exchange, std::function<HttpResponse()> unanswered)
      : exchange_(std::move(exchange)), unanswered_(std::move(unanswered)) {}
  ~Responder() override { exchange_->Abandon(unanswered_); }
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  void Send(HttpResponse response) override { exchange_->Send(std::move(response)); }
  void BeginStream(int status, HttpHeaders headers) override {
    exchange_->BeginStream(status, std::move(headers));
  }
  bool Write(std::string_view chunk) override { return exchange_->Write(chunk); }
  void End() override { exchange_->End(); }
  void OnDisconnect(std::function<void()> gone) override { exchange_->OnDisconnect(std::move(gone)); }

 private:
  std::shared_ptr<Exchange> exchange_;
  std::function<HttpResponse()> unanswered_;
};

HttpResponse ErrorResponse(
    const std::function<std::string(int, std::string_view, std::string_view)>& error_body,
    const Refusal& refusal) {
  std::string body = error_body ? error_body(refusal.status, refusal.code, refusal.message) : refusal.message;
  return {
      .status = refusal.status, .headers = {{"Content-Type", "application/json"}}, .body = std::move(body)};
}

}  // namespace

/// One read is always under way, so that the client's end is noticed at any moment; one request is served at
/// a time.
class HttpSession final : public AnswerSink, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(HttpSite& site, Tcp::socket socket) : site_(site), socket_(std::move(socket)) {
    site_.open_connections.fetch_add(1);
  }
  ~HttpSession() override = default;
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  void Start(const std::unique_ptr<Refusal>& refusal) {
    if (refusal) return RefuseAndRead(*refusal);
    Expect(Awaited::kHead, Limits().header_timeout);
    Read();
  }

  void Close() {
    if (std::exchange(closed_, true)) return;
    const std::shared_ptr<HttpSession> self = shared_from_this();
    ErrorCode ignored;
    socket_.close(ignored);
    timer_.Cancel();
    site_.sessions.erase(self);
    site_.open_connections.fetch_sub(1);
    if (const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr)) exchange->ClientGone();
  }

  // AnswerSink
  void Answer(HttpResponse response) override {
    if (closed_ || exchange_ == nullptr) return;
    const bool body = HasBody(response.status);
    std::string text = FormatHead({.status = response.status,
                                   .framing = body ? BodyFraming::kLength : BodyFraming::kNone,
                                   .body_bytes = response.body.size(),
                                   .keep_alive = keep_alive_},
                                  response.headers);
    if (body && !head_only_) text += response.body;
    complete_ = true;
    Queue(text, 0);
  }

  void Begin(int status, const HttpHeaders& headers) override {
    if (closed_ || exchange_ == nullptr) return;
    framing_ = chunks_understood_ ? BodyFraming::kChunked : BodyFraming::kUntilClose;
    if (!HasBody(status)) framing_ = BodyFraming::kNone;
    if (framing_ == BodyFraming::kUntilClose) keep_alive_ = false;
    Queue(FormatHead({.status = status, .framing = framing_, .keep_alive = keep_alive_}, headers), 0);
  }

  void Append(const std::string& piece) override {
    if (closed_ || exchange_ == nullptr) return;
    if (head_only_ || framing_ == BodyFraming::kNone) return exchange_->Sent(piece.size());
    Queue(framing_ == BodyFraming::kChunked ? FormatChunk(piece) : piece, piece.size());
  }

  void Finish() override {
    if (closed_ || exchange_ == nullptr) return;
    complete_ = true;
    if (framing_ == BodyFraming::kChunked && !head_only_) return Queue(kLastChunk, 0);
    if (writing_.empty()) OnFlushed();
  }

  void Cut() override {
    if (closed_ || exchange_ == nullptr) return;
    LogWarning("http_stream_cut");
    cut_ = true;
    if (writing_.empty()) OnFlushed();
  }

 private:
  enum class Awaited { kNothing, kIdle, kHead, kBody, kDrain };

  [[nodiscard]] const HttpLimits& Limits() const { return site_.options.limits; }

  // Reading.

  void Read() {
    if (reading_ || closed_ || in_.size() >= kReadAheadBytesMax) return;
    reading_ = true;
    socket_.async_read_some(boost::asio::buffer(read_buffer_),
                            [self = shared_from_this()](const ErrorCode& error, std::size_t count) {
                              self->reading_ = false;
                              self->OnRead(error, count);
                            });
  }

  void OnRead(const ErrorCode& error, std::size_t count) {
    if (closed_) return;
    if (error) {
      const bool half_closed =
          error == boost::asio::error::eof && (complete_ || refused_) && !writing_.empty();
      if (!half_closed) return Close();
      keep_alive_ = false;  // the client has all that it wants once this answer is out
      return;
    }
    if (refused_) return Read();  // dropped
    in_.append(read_buffer_.data(), count);
    if (exchange_ == nullptr) Parse();
    Read();
  }

  void Parse() {
    if (!parser_) {
      while (in_.starts_with("\r\n")) in_.erase(0, 2);  // some clients end a body with one too many
      if (in_.empty()) return;
      parser_.emplace(Limits());
      Expect(Awaited::kHead, Limits().header_timeout);
    }
    const bool had_head = parser_->GetState() == RequestParser::State::kBody;
    in_.erase(0, parser_->Consume(in_));
    switch (parser_->GetState()) {
      case RequestParser::State::kHead:
        return;
      case RequestParser::State::kRefused:
        return RefuseAndRead(parser_->GetRefusal());
      case RequestParser::State::kBody:
        if (had_head) return;
        Expect(Awaited::kBody, Limits().body_timeout);
        if (parser_->ExpectsContinue()) Queue("HTTP/1.1 100 Continue\r\n\r\n", 0);
        return;
      case RequestParser::State::kComplete:
        return Dispatch();
    }
  }

  void Dispatch() {
    Expect(Awaited::kNothing, {});
    keep_alive_ = parser_->KeepAlive();
    chunks_understood_ = parser_->UnderstandsChunks();
    HttpRequest request = parser_->Take();
    parser_.reset();
    head_only_ = request.method == "HEAD";
    complete_ = false;
    exchange_ = std::make_shared<Exchange>(site_.loop, weak_from_this(), Limits().stream_queue_bytes_max);
    auto responder = std::make_shared<Responder>(exchange_, [error_body = site_.options.error_body] {
      return ErrorResponse(error_body,
                           {.status = 500, .code = "internal_error", .message = "the request was dropped"});
    });
    site_.options.handler(std::move(request), std::move(responder));
  }

  void RefuseAndRead(Refusal refusal) {  // by value: the parser that found it goes
    refused_ = true;
    keep_alive_ = false;
    parser_.reset();
    in_.clear();
    const HttpResponse response = ErrorResponse(site_.options.error_body, refusal);
    Expect(Awaited::kDrain, kDrainTime);
    Queue(FormatHead({.status = response.status, .body_bytes = response.body.size(), .keep_alive = false},
                     response.headers) +
              response.body,
          0);
    Read();
  }

  // Writing. `counted` bytes of the text are those that the exchange counts as queued.

  void Queue(std::string_view text, std::size_t counted) {
    waiting_.append(text);
    waiting_counted_ += counted;
    if (writing_.empty()) Write();
  }

  void Write() {
    writing_.swap(waiting_);
    writing_counted_ = std::exchange(waiting_counted_, 0);
    written_ = 0;
    WriteRest();
  }

  void WriteRest() {
    write_deadline_ = site_.loop.Now() + Limits().write_timeout;
    Arm();
    socket_.async_write_some(boost::asio::buffer(writing_.data() + written_, writing_.size() - written_),
                             [self = shared_from_this()](const ErrorCode& error, std::size_t count) {
                               self->OnWritten(error, count);
                             });
  }

  void OnWritten(const ErrorCode& error, std::size_t count) {
    if (closed_) return;
    if (error) return Close();
    written_ += count;
    if (written_ < writing_.size()) return WriteRest();
    writing_.clear();
    write_deadline_ = TimePoint::max();
    if (exchange_ != nullptr) exchange_->Sent(std::exchange(writing_counted_, 0));
    if (!waiting_.empty()) return Write();
    OnFlushed();
  }

  void OnFlushed() {
    if (cut_) {
      // Without chunks the end of the connection is the end of the answer: only a reset says that it is not.
      if (framing_ == BodyFraming::kUntilClose) {
        ErrorCode ignored;
        socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
      }
      return Close();
    }
    if (exchange_ != nullptr && complete_) {
      exchange_ = nullptr;
      if (keep_alive_) return NextRequest();
    } else if (!refused_) {
      return;
    }
    refused_ =
        true;  // what still comes is dropped; closing over it would reset the connection under the answer
    ErrorCode ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
    Expect(Awaited::kDrain, kDrainTime);
    Read();
  }

  void NextRequest() {
    complete_ = false;
    Expect(Awaited::kIdle, Limits().idle_timeout);
    if (!in_.empty()) Parse();
    Read();
  }

  // Deadlines. One timer for both, re-armed only when it fires or a deadline moves closer: tokens must not
  // cost timers.

  void Expect(Awaited what, Duration within) {
    awaited_ = what;
    read_deadline_ = what == Awaited::kNothing ? TimePoint::max() : site_.loop.Now() + within;
    Arm();
  }

  void Arm() {
    const TimePoint next = std::min(read_deadline_, write_deadline_);
    if (closed_ || next >= armed_for_) return;
    armed_for_ = next;
    const Duration delay = std::max(Duration::zero(), next - site_.loop.Now());
    timer_ = site_.loop.After(delay, [self = weak_from_this()] {
      if (const std::shared_ptr<HttpSession> session = self.lock()) session->OnTimer();
    });
  }

  void OnTimer() {
    armed_for_ = TimePoint::max();
    const TimePoint now = site_.loop.Now();
    if (write_deadline_ <= now) return Close();
    if (read_deadline_ <= now) {
      const bool nothing_came = awaited_ == Awaited::kHead && !parser_;
      if (nothing_came || awaited_ == Awaited::kIdle || awaited_ == Awaited::kDrain) return Close();
      return RefuseAndRead(
          {.status = 408, .code = "request_timeout", .message = "the request did not come in time"});
    }
    Arm();
  }

  HttpSite& site_;
  Tcp::socket socket_;
  bool closed_ = false;

  std::array<char, kReadBytes> read_buffer_;
  std::string in_;  // received and not yet parsed
  bool reading_ = false;
  std::optional<RequestParser> parser_;  // of a request that is still coming in
  bool refused_ = false;                 // no request is read any more

  std::shared_ptr<Exchange> exchange_;  // of the request that is being served
  bool keep_alive_ = true;
  bool chunks_understood_ = true;
  bool head_only_ = false;
  BodyFraming framing_ = BodyFraming::kLength;
  bool complete_ = false;  // the whole answer is queued or sent
  bool cut_ = false;

  std::string writing_;  // given to the socket
  std::string waiting_;  // goes out with the next write
  std::size_t writing_counted_ = 0;
  std::size_t waiting_counted_ = 0;
  std::size_t written_ = 0;  // of writing_

  Timer timer_;
  TimePoint armed_for_ = TimePoint::max();
  Awaited awaited_ = Awaited::kNothing;
  TimePoint read_deadline_ = TimePoint::max();
  TimePoint write_deadline_ = TimePoint::max();
};

void ServeHttp(HttpSite& site, Tcp::socket socket, std::unique_ptr<Refusal> refusal) {
  if (site.closed) return;
  ErrorCode ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
  const auto session = std::make_shared<HttpSession>(site, std::move(socket));
  site.sessions.insert(session);
  session->Start(refusal);
}

void CloseSite(HttpSite& site) {
  site.closed = true;
  const auto sessions = site.sessions;  // closing takes out of the set
  for (const std::shared_ptr<HttpSession>& session : sessions) session->Close();
}

}  // namespace baton::net
