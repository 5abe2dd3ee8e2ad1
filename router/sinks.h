#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/net/http_server.h"
#include "router/dispatcher.h"
#include "router/http/response.h"
#include "router/probe.h"

namespace baton::router {

/// What both ways of answering over HTTP need.
struct SinkContext {
  std::shared_ptr<net::HttpResponder> responder;
  AnswerHead head;
  net::HttpHeaders headers;  // of every answer: x-request-id
  const Clock* clock = nullptr;
  Probe* probe = nullptr;
  std::int32_t choices = 1;
};

/// Server-sent events: the headers go out with the first token, or with the first sign of life after ten
/// silent seconds, so that what fails earlier gets its true status.
[[nodiscard]] std::unique_ptr<AnswerSink> MakeStreamSink(SinkContext context, UsageStyle style);
/// One JSON body at the end.
[[nodiscard]] std::unique_ptr<AnswerSink> MakeWholeSink(SinkContext context);

/// `sink` for several requests that are one to the client: each has `choices` choices of it, in order.
[[nodiscard]] std::vector<std::unique_ptr<AnswerSink>> Divide(std::unique_ptr<AnswerSink> sink,
                                                              std::size_t parts, std::int32_t choices);

/// Sends `error` as a whole answer: with Retry-After where trying again makes sense.
void SendError(net::HttpResponder& responder, const ApiError& error, net::HttpHeaders headers);

}  // namespace baton::router
