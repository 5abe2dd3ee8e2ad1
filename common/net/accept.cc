#include "common/net/accept.h"

#include <string>
#include <utility>

#include <boost/asio/error.hpp>

#include "common/base/error.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;
using Tcp = boost::asio::ip::tcp;

absl::StatusOr<Tcp::endpoint> Resolve(boost::asio::io_context& context, const Address& address) {
  ErrorCode error;
  const auto ip = boost::asio::ip::make_address(address.host, error);
  if (!error) return Tcp::endpoint(ip, address.port);
  const auto found = Tcp::resolver(context).resolve(address.host, std::to_string(address.port),
                                                    Tcp::resolver::passive, error);
  if (error) return Error(kUnavailable, "listen on {}: resolve: {}", address.ToString(), error.message());
  return found.begin()->endpoint();  // a success has at least one
}

}  // namespace

absl::StatusOr<Tcp::acceptor> OpenAcceptor(boost::asio::io_context& context, const Address& address) {
  BATON_ASSIGN_OR_RETURN(const Tcp::endpoint endpoint, Resolve(context, address));
  Tcp::acceptor acceptor(context);
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return Error(kUnavailable, "listen on {}: {}", address.ToString(), error.message());
  return acceptor;
}

bool IsOutOfDescriptors(const ErrorCode& error) {
  return error == boost::asio::error::no_descriptors ||
         error == boost::system::errc::too_many_files_open_in_system ||
         error == boost::asio::error::no_buffer_space || error == boost::asio::error::no_memory;
}

}  // namespace baton::net
