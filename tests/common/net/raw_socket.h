#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace baton::net {

/// A plain blocking TCP socket to 127.0.0.1, for what no well-behaved client would do.
class RawSocket {
 public:
  explicit RawSocket(std::uint16_t port);
  ~RawSocket();
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  /// False where the peer is gone.
  bool Send(std::string_view bytes);
  /// Whether a byte or the end can be read within `limit`.
  [[nodiscard]] bool Readable(std::chrono::milliseconds limit);
  /// What one read gives; empty at the end.
  [[nodiscard]] std::string ReadSome();
  /// Reads until `text` has been seen, or the end.
  [[nodiscard]] std::string ReadUntil(std::string_view text);
  /// Reads to the end.
  [[nodiscard]] std::string ReadAll();
  void ShutDownSending();
  /// Closes with a reset instead of an orderly end.
  void Reset();
  /// Makes the kernel take little before the reader reads. Before anything is received.
  void ShrinkReceiveBuffer();

 private:
  int descriptor_ = -1;
};

/// A listener on 127.0.0.1 that accepts only when told.
class RawListener {
 public:
  RawListener();
  ~RawListener();
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  [[nodiscard]] std::uint16_t Port() const { return port_; }
  /// Accepts one connection, sends `bytes` and closes it in order.
  void AcceptAndSend(std::string_view bytes);

 private:
  int descriptor_ = -1;
  std::uint16_t port_ = 0;
};

/// While it lives the process can open `left` more descriptors and no others.
class NoMoreDescriptors {
 public:
  explicit NoMoreDescriptors(int left);
  ~NoMoreDescriptors();
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

 private:
  std::uint64_t limit_before_ = 0;
};

}  // namespace baton::net
