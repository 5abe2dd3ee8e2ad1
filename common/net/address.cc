#include <charconv>
#include <string>

#include <boost/asio/ip/address.hpp>

#include "common/base/error.h"
#include "common/net/connection.h"

namespace baton::net {
namespace {

constexpr std::size_t kHostBytesMax = 253;  // a name of the domain name system

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_';
}

absl::Status Bad(std::string_view text, std::string_view why) {
  return Error(kInvalidArgument, "address \"{}\": {}; write host:port, as 10.0.0.2:7001 or [::1]:7001", text,
               why);
}

}  // namespace

absl::StatusOr<Address> Address::Parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Bad(text, "no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return Bad(text, "'[' without ']'");
    host = host.substr(1, host.size() - 2);
    boost::system::error_code error;
    boost::asio::ip::make_address_v6(std::string(host), error);
    if (error) return Bad(text, "no IPv6 address between the brackets");
  } else {
    if (host.empty()) return Bad(text, "no host");
    if (host.size() > kHostBytesMax) return Bad(text.substr(0, 40), "the host is too long");
    for (const char c : host) {
      if (!IsHostCharacter(c)) return Bad(text, "the host has a character that no host has");
    }
  }
  Address address{.host = std::string(host), .port = 0};
  const char* end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, address.port);
  if (port.empty() || error != std::errc() || stop != end)
    return Bad(text, "the port is no number from 0 to 65535");
  return address;
}

std::string Address::ToString() const {
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

bool Address::IsLoopback() const {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const boost::asio::ip::address ip = boost::asio::ip::make_address(host, error);
  return !error && ip.is_loopback();
}

}  // namespace baton::net
