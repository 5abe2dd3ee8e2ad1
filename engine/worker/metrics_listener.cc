#include "engine/worker/metrics_listener.h"

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::engine {
namespace {

net::HttpResponse Json(int status, std::string_view name, std::string_view value) {
  json::Object body;
  body.emplace_back(std::string(name), json::Value(value));
  return {.status = status,
          .headers = {{"content-type", "application/json"}},
          .body = json::Serialize(json::Value(std::move(body)))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsListener>> MetricsListener::Start(const net::Address& address,
                                                                        const metrics::Registry& registry) {
  auto listener = std::make_unique<MetricsListener>();
  listener->registry_ = &registry;
  MetricsListener* self = listener.get();
  auto server = net::HttpServer::Start(
      {.address = address,
       .handler = [self](
                      net::HttpRequest request,
                      std::shared_ptr<net::HttpResponder> responder) { self->Handle(request, *responder); },
       .error_body = [](int, std::string_view code,
                        std::string_view) { return Json(0, "error", code).body; }});
  if (!server.ok()) return Annotate(server.status(), "metrics listener");
  listener->server_ = *std::move(server);
  return listener;
}

void MetricsListener::Handle(const net::HttpRequest& request, net::HttpResponder& responder) const {
  if (request.path != "/metrics" && request.path != "/health" && request.path != "/ready") {
    return responder.Send(Json(404, "error", "route_not_found"));
  }
  if (request.method != "GET" && request.method != "HEAD") {
    net::HttpResponse refusal = Json(405, "error", "method_not_allowed");
    refusal.headers.emplace_back("allow", "GET, HEAD");
    return responder.Send(std::move(refusal));
  }
  if (request.path == "/metrics") {
    return responder.Send({.status = 200,
                           .headers = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}},
                           .body = registry_->Text()});
  }
  const bool ready = request.path == "/health" || ready_.load();
  responder.Send(Json(ready ? 200 : 503, "status", ready ? "ok" : "not_ready"));
}

}  // namespace baton::engine
