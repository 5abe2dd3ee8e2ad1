#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <unordered_set>

#include "common/net/http_parser.h"
#include "common/net/http_server.h"
#include "common/net/io.h"

/// One HTTP connection. Private to this module.
namespace baton::net {

class HttpSession;

/// What the connections of one loop share; owned by the server and touched on that loop only, but for the
/// count.
struct HttpSite {
  HttpSite(EventLoop& l, const HttpServer::Options& o, std::atomic<std::size_t>& count)
      : loop(l), options(o), open_connections(count) {}
  EventLoop& loop;
  const HttpServer::Options& options;
  std::atomic<std::size_t>& open_connections;  // of the whole server
  bool closed = false;
  std::unordered_set<std::shared_ptr<HttpSession>> sessions;
};

/// Serves the connection until it ends; `refusal`, where there is one, is all that it answers.
void ServeHttp(HttpSite& site, boost::asio::ip::tcp::socket socket, std::unique_ptr<Refusal> refusal);
/// Ends every connection of the site and takes no more.
void CloseSite(HttpSite& site);

}  // namespace baton::net
