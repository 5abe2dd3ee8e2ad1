#include "common/net/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/net/framed.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;

constexpr std::size_t kHeaderBytes = 4;
constexpr std::size_t kReadBytesMin = 64U << 10;  // one read takes what a socket buffer commonly holds
constexpr std::size_t kKeptBytesMax = 1U << 20;   // buffers larger than this are given back when empty

std::uint32_t DecodeLength(const char* bytes) {
  std::array<unsigned char, kHeaderBytes> b{};
  std::memcpy(b.data(), bytes, b.size());
  return static_cast<std::uint32_t>(b[0]) | static_cast<std::uint32_t>(b[1]) << 8 |
         static_cast<std::uint32_t>(b[2]) << 16 | static_cast<std::uint32_t>(b[3]) << 24;
}

void AppendLength(std::string& out, std::size_t length) {
  for (unsigned shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>((length >> shift) & 0xff));
}

/// The socket and its buffers. Shared with the operations under way, so that it outlives them; the owner lets
/// go by `Abandon` or `Close`.
class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(EventLoop& loop, Tcp::socket socket, const ConnectionOptions& options)
      : loop_(loop), socket_(std::move(socket)), options_(options), peer_(PeerName(socket_)) {}

  void Start(Connection::Handlers handlers) {
    BATON_CHECK(handlers_ == nullptr, "a connection starts once");
    handlers_ = std::make_shared<const Connection::Handlers>(std::move(handlers));
    if (state_ == State::kOpen) return Read();
    if (state_ == State::kFailed) {
      loop_.Post([self = shared_from_this()] { self->ReportClose(); });
    }
  }

  absl::Status Send(std::string_view frame) {
    if (state_ != State::kOpen) return Error(kUnavailable, "{}: the connection is closed", peer_);
    if (frame.size() > options_.frame_bytes_max) {
      return Error(kInvalidArgument, "{}: a frame of {} bytes, at most {} are allowed", peer_, frame.size(),
                   options_.frame_bytes_max);
    }
    const std::size_t queued = waiting_.size() + writing_.size();
    if (queued + kHeaderBytes + frame.size() > options_.queued_bytes_max) {
      return Error(kResourceExhausted, "{}: {} bytes are queued and the peer does not read them", peer_,
                   queued);
    }
    AppendLength(waiting_, frame.size());
    waiting_.append(frame);
    if (writing_.empty()) Write();
    return absl::OkStatus();
  }

  void Close(Duration linger) {
    handlers_ = nullptr;
    if (state_ != State::kOpen) return;
    state_ = State::kLingering;
    linger_ = loop_.After(linger, [self = weak_from_this()] {
      if (const std::shared_ptr<Core> core = self.lock()) core->CloseSocket();
    });
    // What the peer still sends is read and dropped: closing over unread bytes would reset the connection and
    // could take from the peer what has just been sent.
    if (!reading_ && !delivering_) Read();
    if (writing_.empty()) ShutDownSending();
  }

  /// The owner is gone: no handler runs from here on. Lingering goes on.
  void Abandon() {
    handlers_ = nullptr;
    if (state_ != State::kLingering) CloseSocket();
  }

  [[nodiscard]] const std::string& Peer() const { return peer_; }

 private:
  enum class State { kOpen, kLingering, kFailed, kClosed };

  void Read() {
    reading_ = true;
    const std::size_t wanted = std::max(filled_ + kReadBytesMin / 4, frame_end_);
    if (buffer_.size() < wanted) buffer_.resize(std::max(wanted, kReadBytesMin));
    socket_.async_read_some(boost::asio::buffer(buffer_.data() + filled_, buffer_.size() - filled_),
                            [self = shared_from_this()](const ErrorCode& error, std::size_t count) {
                              self->reading_ = false;
                              self->OnRead(error, count);
                            });
  }

  void OnRead(const ErrorCode& error, std::size_t count) {
    if (state_ == State::kLingering) {
      if (error) return CloseSocket();
      return Read();  // dropped
    }
    if (state_ != State::kOpen) return;
    if (error == boost::asio::error::eof) {
      return Fail(filled_ == 0
                      ? Error(kUnavailable, "{}: the peer closed the connection", peer_)
                      : Error(kDataLoss, "{}: the peer closed the connection inside a frame", peer_));
    }
    if (error) return Fail(Error(kUnavailable, "{}: read: {}", peer_, error.message()));
    filled_ += count;
    if (!DeliverFrames() || state_ != State::kOpen) {
      if (state_ == State::kLingering) Read();  // closed by a handler
      return;
    }
    Read();
  }

  /// Hands every complete frame to the owner; what is left moves to the front. False after a failure or a
  /// close.
  bool DeliverFrames() {
    std::size_t begin = 0;
    frame_end_ = 0;
    while (filled_ - begin >= kHeaderBytes) {
      const std::size_t length = DecodeLength(buffer_.data() + begin);
      if (length > options_.frame_bytes_max) {
        Fail(Error(kInvalidArgument, "{}: the peer announced a frame of {} bytes, at most {} are allowed",
                   peer_, length, options_.frame_bytes_max));
        return false;
      }
      if (filled_ - begin - kHeaderBytes < length) {
        frame_end_ = kHeaderBytes + length;
        break;
      }
      const std::shared_ptr<const Connection::Handlers> handlers = handlers_;  // survives what the owner does
      delivering_ = true;                                                      // and buffer_ stays as it is
      handlers->on_frame({buffer_.data() + begin + kHeaderBytes, length});
      delivering_ = false;
      if (handlers_ == nullptr || state_ != State::kOpen) return false;
      begin += kHeaderBytes + length;
    }
    filled_ -= begin;
    if (begin > 0 && filled_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin, filled_);
    if (buffer_.size() > kKeptBytesMax && frame_end_ < kKeptBytesMax && filled_ < kKeptBytesMax) {
      buffer_.resize(kKeptBytesMax);
      buffer_.shrink_to_fit();
    }
    return true;
  }

  /// One write takes all that waits.
  void Write() {
    writing_.swap(waiting_);
    boost::asio::async_write(
        socket_, boost::asio::buffer(writing_),
        [self = shared_from_this()](const ErrorCode& error, std::size_t) { self->OnWritten(error); });
  }

  void OnWritten(const ErrorCode& error) {
    writing_.clear();
    if (writing_.capacity() > kKeptBytesMax) writing_.shrink_to_fit();
    if (state_ == State::kClosed || state_ == State::kFailed) return;
    if (error) {
      if (state_ == State::kLingering) return CloseSocket();
      return Fail(Error(kUnavailable, "{}: write: {}", peer_, error.message()));
    }
    if (!waiting_.empty()) return Write();
    if (state_ == State::kLingering) ShutDownSending();
  }

  void ShutDownSending() {
    ErrorCode ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
  }

  void CloseSocket() {
    state_ = State::kClosed;
    linger_.Cancel();
    ErrorCode ignored;
    socket_.close(ignored);
  }

  void Fail(absl::Status why) {
    CloseSocket();
    state_ = State::kFailed;
    failure_ = std::move(why);
    if (handlers_ != nullptr) ReportClose();
  }

  void ReportClose() {
    const std::shared_ptr<const Connection::Handlers> handlers = std::exchange(handlers_, nullptr);
    if (handlers != nullptr && handlers->on_close) handlers->on_close(failure_);
  }

  EventLoop& loop_;
  Tcp::socket socket_;
  const ConnectionOptions options_;
  const std::string peer_;
  State state_ = State::kOpen;
  absl::Status failure_;
  Timer linger_;
  std::shared_ptr<const Connection::Handlers> handlers_;
  bool reading_ = false;
  bool delivering_ = false;
  std::vector<char> buffer_;
  std::size_t filled_ = 0;     // bytes of buffer_ that were received
  std::size_t frame_end_ = 0;  // where the frame at the front will end; 0 where its length is not known yet
  std::string writing_;        // given to the socket
  std::string waiting_;        // goes out with the next write
};

class FramedConnection final : public Connection {
 public:
  FramedConnection(EventLoop& loop, Tcp::socket socket, const ConnectionOptions& options)
      : core_(std::make_shared<Core>(loop, std::move(socket), options)) {}
  ~FramedConnection() override { core_->Abandon(); }
  FramedConnection(const FramedConnection&) = delete;
  FramedConnection& operator=(const FramedConnection&) = delete;

  void Start(Handlers handlers) override { core_->Start(std::move(handlers)); }
  absl::Status Send(std::string_view frame) override { return core_->Send(frame); }
  void Close(Duration linger) override { core_->Close(linger); }
  [[nodiscard]] std::string PeerAddress() const override { return core_->Peer(); }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<Connection> MakeConnection(EventLoop& loop, Tcp::socket socket,
                                           const ConnectionOptions& options) {
  ErrorCode ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
  return std::make_unique<FramedConnection>(loop, std::move(socket), options);
}

std::string PeerName(const Tcp::socket& socket) {
  ErrorCode error;
  const Tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return "?";
  return Address{.host = peer.address().to_string(), .port = peer.port()}.ToString();
}

}  // namespace baton::net
