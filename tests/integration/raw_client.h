#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace baton::test {

/// Connects, sends `bytes` as they are, and reads what comes until the other side closes or `patience` has
/// passed.
[[nodiscard]] std::string SendRaw(const net::Address& address, std::string_view bytes, Duration patience);

/// Connects, sends `bytes`, and neither reads nor closes before it is told to.
class MuteClient {
 public:
  MuteClient(const net::Address& address, std::string_view bytes);
  ~MuteClient();
  MuteClient(const MuteClient&) = delete;
  MuteClient& operator=(const MuteClient&) = delete;

  void HangUp();

 private:
  int descriptor_;
};

}  // namespace baton::test
