#include "router/api.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "common/base/random.h"
#include "common/cluster/wire.h"
#include "common/json/value.h"
#include "router/generate.h"
#include "router/http/errors.h"
#include "router/http/response.h"
#include "router/sinks.h"

namespace baton::router {
namespace {

constexpr std::string_view kModels = "/v1/models";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kDrain = "/admin/drain/";

std::int64_t UnixSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The method that `path` takes; "" where there is no such path.
std::string_view MethodOf(std::string_view path) {
  if (path == "/v1/completions" || path == "/v1/chat/completions") return "POST";
  if (path.starts_with(kDrain) && path.size() > kDrain.size()) return "POST";
  for (const std::string_view get : {kModels, std::string_view("/health"), std::string_view("/ready"),
                                     std::string_view("/metrics"), std::string_view("/version")}) {
    if (path == get) return "GET";
  }
  return path.starts_with("/v1/models/") ? "GET" : "";
}

/// The client's id of the request where it is harmless, else ours. Nothing is ever read out of it.
std::string RequestIdHeader(const net::HttpRequest& request, RequestId own) {
  const std::string* given = request.Header("x-request-id");
  const auto harmless = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (given != nullptr && !given->empty() && given->size() <= 128 &&
      std::all_of(given->begin(), given->end(), harmless)) {
    return *given;
  }
  return fmt::format("{:016x}", own.value);
}

std::string_view LabelOf(std::string_view path) {
  if (path == "/v1/completions") return Name(Endpoint::kCompletions);
  if (path == "/v1/chat/completions") return Name(Endpoint::kChat);
  if (path.starts_with(kDrain)) return "admin";
  return MethodOf(path).empty() ? "other" : path.starts_with(kModels) ? "models" : path.substr(1);
}

void SendBody(net::HttpResponder& responder, net::HttpHeaders headers, std::string_view type,
              std::string body) {
  headers.emplace_back("Content-Type", type);
  responder.Send({.status = 200, .headers = std::move(headers), .body = std::move(body)});
}

bool IsJson(const net::HttpRequest& request) {
  const std::string* type = request.Header("content-type");
  if (type == nullptr) return true;
  std::string lower(*type);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return lower.starts_with(kJson);
}

/// Answers requests that ask for no token of an answer, and nothing about the prompt's.
void EchoAlone(std::vector<Job>& jobs) {
  for (Job& job : jobs) {
    const Usage usage{.prompt_tokens = std::ssize(*job.prompt)};
    for (std::int32_t choice = 0; choice < job.sampling.samples; ++choice) {
      if (!job.sink->Text({.choice = choice, .text = job.answer.prefix}, usage)) return;
      job.sink->Finish(choice, {.finish_reason = "length", .stop_reason = {}}, usage);
    }
  }
}

}  // namespace

Api::Api(const ModelInfo& model, const Clock& clock, const metrics::Registry& metrics, Probe& probe,
         Control control, Options options)
    : model_(model),
      clock_(clock),
      metrics_(metrics),
      probe_(probe),
      control_(std::move(control)),
      options_(std::move(options)),
      started_at_(UnixSeconds()),
      context_tokens_(model.context_tokens),
      next_id_(RandomBits()) {}

RequestId Api::NextId() {
  const std::uint64_t id = Mix64(next_id_.fetch_add(1));  // a bijection: no id comes twice
  return RequestId{id != 0 ? id : Mix64(next_id_.fetch_add(1))};
}

std::string Api::ErrorBodyOfServer(int status, std::string_view code, std::string_view message) {
  return ErrorBody({.status = status,
                    .type = std::string(TypeOfStatus(status)),
                    .code = std::string(code),
                    .param = "",
                    .message = std::string(message)});
}

void Api::Handle(Surface surface, net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
  const bool shown = request.path.starts_with("/v1/")      ? surface == Surface::kAll
                     : request.path.starts_with("/admin/") ? surface == Surface::kAdmin
                                                           : true;
  const std::string_view allowed = shown ? MethodOf(request.path) : "";
  net::HttpHeaders headers = {{"x-request-id", RequestIdHeader(request, NextId())}};
  const auto refuse = [&](const ApiError& error) {
    probe_.Responded(LabelOf(request.path), error.status);
    SendError(*responder, error, headers);
  };
  if (allowed.empty()) return refuse(RouteNotFound());
  if (request.method != allowed) {
    headers.emplace_back("Allow", fmt::format("{}, OPTIONS", allowed));
    if (request.method != "OPTIONS") return refuse(MethodNotAllowed());
    return responder->Send({.status = 204, .headers = std::move(headers), .body = ""});
  }
  if (request.path == "/v1/completions")
    return Generate(Endpoint::kCompletions, request, std::move(responder));
  if (request.path == "/v1/chat/completions") return Generate(Endpoint::kChat, request, std::move(responder));
  if (request.path.starts_with(kDrain))
    return DrainWorker(request.path.substr(kDrain.size()), std::move(responder), std::move(headers));
  Get(request.path, std::move(responder), std::move(headers));
}

void Api::DrainWorker(const std::string& name, std::shared_ptr<net::HttpResponder> responder,
                      net::HttpHeaders headers) {
  control_.drain_worker(name, [responder = std::move(responder), headers = std::move(headers)](bool known) {
    if (!known) return SendError(*responder, WorkerNotFound(), headers);
    SendBody(*responder, headers, kJson, R"({"status":"draining"})");
  });
}

void Api::Get(const std::string& path, std::shared_ptr<net::HttpResponder> responder,
              net::HttpHeaders headers) {
  if (path == "/ready") return SendReady(std::move(responder), std::move(headers));
  if (path == "/health") return SendBody(*responder, std::move(headers), kJson, R"({"status":"ok"})");
  if (path == "/metrics") {
    return SendBody(*responder, std::move(headers), "text/plain; version=0.0.4; charset=utf-8",
                    metrics_.Text());
  }
  if (path == "/version") {
    json::Object out;
    out.emplace_back("version", options_.version);
    out.emplace_back("protocol_version", std::int64_t{wire::kProtocolVersion});
    return SendBody(*responder, std::move(headers), kJson, json::Serialize(out));
  }
  if (path == kModels) return SendBody(*responder, std::move(headers), kJson, ModelListBody(Entry()));
  if (path.substr(kModels.size() + 1) == model_.name) {
    return SendBody(*responder, std::move(headers), kJson, json::Serialize(ModelObject(Entry())));
  }
  probe_.Responded("models", 404);
  SendError(*responder, ModelNotFound(), std::move(headers));
}

void Api::SendReady(std::shared_ptr<net::HttpResponder> responder, net::HttpHeaders headers) {
  control_.ask_ready([responder = std::move(responder),
                      headers = std::move(headers)](std::optional<Refusal> why) {
    if (!why) return SendBody(*responder, headers, kJson, R"({"status":"ready"})");
    ApiError error = Refused(*why);
    error.status = 503;  // also where the workers serve another model: it is this router that is not ready
    SendError(*responder, error, headers);
  });
}

ModelEntry Api::Entry() const {
  return {.id = model_.name, .created = started_at_, .context_tokens = context_tokens_};
}

void Api::Generate(Endpoint endpoint, const net::HttpRequest& request,
                   std::shared_ptr<net::HttpResponder> responder) {
  const TimePoint arrived = clock_.Now();
  const RequestId id = NextId();
  net::HttpHeaders headers = {{"x-request-id", RequestIdHeader(request, id)}};
  const auto refuse = [&](const ApiError& error) {
    probe_.Responded(Name(endpoint), error.status);
    probe_.Failed("validation");
    SendError(*responder, error, headers);
  };
  if (!IsJson(request)) {
    return refuse({.status = 415,
                   .type = "invalid_request_error",
                   .code = "unsupported_media_type",
                   .param = "",
                   .message = "send the body as Content-Type: application/json"});
  }
  GenerationRequest body;
  if (const auto error = ParseRequest(endpoint, request.body, options_.limits, body)) return refuse(*error);
  probe_.FieldsIgnored(body.ignored_fields);
  if (!body.model.empty() && body.model != model_.name) return refuse(ModelNotFound());

  std::vector<Job> jobs(endpoint == Endpoint::kChat ? 1 : body.prompts.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].id = i == 0 ? id : NextId();
    const std::uint64_t seed = CounterBits(jobs[i].id.value, 0);
    if (const auto error = MakeJob(body, model_, context_tokens_, seed, jobs[i], i)) return refuse(*error);
    jobs[i].arrived = arrived;
    jobs[i].deadline = arrived + options_.request_timeout;
  }
  probe_.Tokenized(clock_.Now() - arrived);
  SinkContext context{
      .responder = responder,
      .head = {.endpoint = endpoint,
               .id = fmt::format("{}-{:016x}", endpoint == Endpoint::kChat ? "chatcmpl" : "cmpl", id.value),
               .model = model_.name,
               .system_fingerprint = fmt::format("fp_{:016x}", model_.tokenizer->Fingerprint()),
               .created = UnixSeconds()},
      .headers = headers,
      .clock = &clock_,
      .probe = &probe_,
      .choices = body.choices * static_cast<std::int32_t>(jobs.size())};
  UsageStyle style = body.include_usage ? UsageStyle::kNull : UsageStyle::kAbsent;
  if (body.include_usage && body.continuous_usage) style = UsageStyle::kContinuous;
  auto sinks =
      Divide(body.stream ? MakeStreamSink(std::move(context), style) : MakeWholeSink(std::move(context)),
             jobs.size(), body.choices);
  for (std::size_t i = 0; i < jobs.size(); ++i) jobs[i].sink = std::move(sinks[i]);
  if (body.max_tokens == 0 && body.logprobs < 0) return EchoAlone(jobs);
  std::vector<RequestId> ids;
  for (Job& job : jobs) {
    ids.push_back(job.id);
    control_.submit(std::move(job));
  }
  // After the submission: its order on the loop is the order of the events.
  responder->OnDisconnect([gone = control_.client_gone, ids = std::move(ids)] {
    for (const RequestId each : ids) gone(each);
  });
}

}  // namespace baton::router
