#include "router/router.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/wire.h"
#include "common/json/value.h"
#include "common/net/http_client.h"
#include "common/text/tokenizer.h"
#include "tests/router/fake_worker.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

/// The whole router over real sockets, before scripted workers.
namespace baton::router {
namespace {

using std::chrono::seconds;

const std::string& ModelDirectory() {
  static const std::string path = test::ProjectFile("deploy/demo-model");
  return path;
}

const text::Tokenizer& DemoTokenizer() {
  static const auto tokenizer = *text::Tokenizer::Load(ModelDirectory());
  return *tokenizer;
}

RouterConfig Config() {
  RouterConfig config;
  config.model = ModelDirectory();
  config.model_name = "baton-demo";
  config.http.port = 0;
  config.control.port = 0;
  // Far more than a loaded machine takes to answer: what a test means to be silent is dead.
  config.worker_timeout = seconds(30);
  return config;
}

class Server {
 public:
  explicit Server(const RouterConfig& config = Config()) : thread_("router") {
    net::OnLoop(thread_.Loop(), [&] {
      auto router = Router::Start(thread_.Loop(), config);
      if (router.ok()) router_ = *std::move(router);
      UNSCOPED_INFO(router.status().ToString());
    });
    REQUIRE(router_ != nullptr);
    ports = router_->GetPorts();
  }
  ~Server() {
    net::OnLoop(thread_.Loop(), [this] { router_ = nullptr; });
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void Drain(net::Signal& drained) {
    net::OnLoop(thread_.Loop(), [&] { router_->Drain([&] { drained.Raise(); }); });
  }
  [[nodiscard]] net::HttpResponse Get(std::string_view path) const { return Ask("GET", path, ""); }
  [[nodiscard]] net::HttpResponse Post(std::string_view path, std::string_view body) const {
    return Ask("POST", path, body);
  }
  [[nodiscard]] net::HttpResponse Ask(std::string_view method, std::string_view path, std::string_view body,
                                      net::HttpHeaders headers = {}) const {
    if (!body.empty()) headers.emplace_back("Content-Type", "application/json");
    auto response =
        net::HttpClient::Request({"127.0.0.1", ports.http}, method, path, headers, body, net::kPatience);
    UNSCOPED_INFO(response.status().ToString());
    REQUIRE(response.ok());
    return *std::move(response);
  }
  /// A line of /metrics, once it is there.
  [[nodiscard]] bool WaitForMetric(const std::string& line) const {
    const auto end = std::chrono::steady_clock::now() + net::kPatience;
    while (std::chrono::steady_clock::now() < end) {
      if (Get("/metrics").body.find("\n" + line + "\n") != std::string::npos) return true;
    }
    return false;
  }

  Router::Ports ports;

 private:
  net::LoopThread thread_;
  std::unique_ptr<Router> router_;
};

wire::Register Registration(const std::string& name, wire::Phase phase) {
  return FakeWorker::Registration(name, phase, DemoTokenizer().Fingerprint(),
                                  DemoTokenizer().VocabularySize());
}

/// A router with a ready pair.
struct Pair {
  explicit Pair(const RouterConfig& config = Config())
      : server(config),
        prefill(
            {.router_port = server.ports.control, .registration = Registration("prefill-0", wire::PREFILL)}),
        decode(
            {.router_port = server.ports.control, .registration = Registration("decode-0", wire::DECODE)}) {
    prefill.SendReady(decode.Id());
    decode.SendReady(prefill.Id());
    REQUIRE(server.WaitForMetric("baton_workers{phase=\"prefill\",state=\"ready\"} 1"));
    REQUIRE(server.WaitForMetric("baton_workers{phase=\"decode\",state=\"ready\"} 1"));
  }
  void Answer(std::string_view text, const std::string& finish = "length",
              std::size_t tokens_shown = SIZE_MAX) {
    const auto tokens = DemoTokenizer().Encode(text);
    REQUIRE(tokens.ok());
    prefill.Answer(*tokens, finish, tokens_shown);
    decode.Answer(*tokens, finish, tokens_shown);
  }
  Server server;
  FakeWorker prefill;
  FakeWorker decode;
};

json::Value Body(const net::HttpResponse& response) {
  auto value = json::Parse(response.body);
  CAPTURE(response.body);
  REQUIRE(value.ok());
  return *std::move(value);
}

std::string ErrorCode(const net::HttpResponse& response) {
  const json::Value body = Body(response);
  const json::Value* error = body.Find("error");
  REQUIRE(error != nullptr);
  return *error->Find("code")->AsString();
}

std::string Header(const net::HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

bool IsCancel(const wire::Envelope& e) {
  return e.has_cancel();
}

/// The data of each event of a stream's body, without keep-alives.
std::vector<std::string> Events(std::string_view body) {
  std::vector<std::string> events;
  while (!body.empty()) {
    const std::size_t end = body.find("\n\n");
    REQUIRE(end != std::string_view::npos);
    if (body.starts_with("data: ")) events.emplace_back(body.substr(6, end - 6));
    body.remove_prefix(end + 2);
  }
  return events;
}

const net::HttpClient::OnPiece kReadAll = [](std::string_view) { return true; };

/// A stream's answer with its whole body; status 0 where the connection did not last. Checks nothing: any
/// thread.
net::HttpResponse Fetch(const Server& server, std::string_view path, std::string_view body,
                        const net::HttpClient::OnPiece& on_piece = kReadAll) {
  std::string whole;
  auto response = net::HttpClient::Stream({"127.0.0.1", server.ports.http}, "POST", path,
                                          {{"Content-Type", "application/json"}}, body, net::kPatience,
                                          [&](std::string_view piece) {
                                            whole += piece;
                                            return on_piece(piece);
                                          });
  if (!response.ok()) return {.status = 0, .headers = {}, .body = whole};
  response->body = whole;
  return *std::move(response);
}

struct Streamed {
  std::vector<std::string> events;
  std::string text;
  std::string finish;
};

Streamed Read(const net::HttpResponse& response) {
  Streamed out;
  REQUIRE(response.status == 200);
  out.events = Events(response.body);
  for (const std::string& event : out.events) {
    if (event == "[DONE]") continue;
    const auto value = json::Parse(event);
    REQUIRE(value.ok());
    const json::Value* choices = value->Find("choices");
    if (choices == nullptr || choices->AsArray()->empty()) continue;
    const json::Value& choice = choices->AsArray()->front();
    const json::Value* delta = choice.Find("delta");
    const json::Value* text = delta != nullptr ? delta->Find("content") : choice.Find("text");
    if (text != nullptr) out.text += *text->AsString();
    if (!choice.Find("finish_reason")->IsNull()) out.finish = *choice.Find("finish_reason")->AsString();
  }
  return out;
}

constexpr std::string_view kCompletion = R"({"prompt":"Once upon a time","max_tokens":40})";
constexpr std::string_view kStream = R"({"prompt":"Once upon a time","max_tokens":40,"stream":true})";

TEST_CASE("a completion comes back whole") {
  Pair pair;
  pair.Answer(" there was a fox.");
  const auto response = pair.server.Post("/v1/completions", kCompletion);
  CHECK(response.status == 200);
  const json::Value body = Body(response);
  CHECK(*body.Find("choices")->AsArray()->front().Find("text")->AsString() == " there was a fox.");
  CHECK(*body.Find("object")->AsString() == "text_completion");
  const auto prompt = DemoTokenizer().Encode("Once upon a time");
  CHECK(*body.Find("usage")->Find("prompt_tokens")->AsInt() == static_cast<std::int64_t>(prompt->size()));
  CHECK(pair.server.WaitForMetric("baton_requests_in_flight 0"));
  CHECK(pair.server.WaitForMetric("baton_requests_total{code=\"200\",endpoint=\"completions\"} 1"));
}

TEST_CASE("what reaches the workers is the prompt's tokens with the model's defaults and end tokens") {
  Pair pair;
  pair.Answer("x");
  static_cast<void>(
      pair.server.Post("/v1/completions", R"({"prompt":"Once upon a time","seed":5,"top_p":0.25})"));
  REQUIRE(pair.prefill.WaitFor([](const wire::Envelope& e) { return e.has_prefill(); }));
  for (const wire::Envelope& envelope : pair.prefill.Received()) {
    if (!envelope.has_prefill()) continue;
    const wire::Prefill& prefill = envelope.prefill();
    const auto prompt = DemoTokenizer().Encode("Once upon a time");
    CHECK(std::vector<TokenId>(prefill.tokens().begin(), prefill.tokens().end()) == *prompt);
    CHECK(prefill.sampling().seed() == 5);
    CHECK(prefill.sampling().top_p() == 0.25);
    CHECK(prefill.sampling().temperature() == 0.7);
    CHECK(prefill.sampling().top_k() == 40);
    CHECK(prefill.stop().max_tokens() == 16);
    CHECK(std::vector<TokenId>(prefill.stop().stop_ids().begin(), prefill.stop().stop_ids().end()) ==
          std::vector<TokenId>{2045, 2047});
    CHECK(prefill.decode_worker() == pair.decode.Id());
    CHECK(prefill.deadline_ms() > 0);
  }
}

TEST_CASE("a stream has the same text as the whole answer, in frames that clients can read") {
  Pair pair;
  pair.Answer(" there was a \xc3\xa9toile \xf0\x9f\x8c\x9f.");
  const auto response = Fetch(pair.server, "/v1/completions", kStream);
  CHECK(Header(response, "content-type") == "text/event-stream; charset=utf-8");
  CHECK(Header(response, "cache-control") == "no-cache");
  CHECK(Header(response, "x-accel-buffering") == "no");
  const Streamed streamed = Read(response);
  CHECK(streamed.text == " there was a \xc3\xa9toile \xf0\x9f\x8c\x9f.");
  CHECK(streamed.finish == "length");
  REQUIRE_FALSE(streamed.events.empty());
  CHECK(streamed.events.back() == "[DONE]");
}

TEST_CASE("a chat streams its role with the first token, and usage before the end") {
  Pair pair;
  pair.Answer("Hello!", "length");
  const Streamed streamed = Read(Fetch(
      pair.server, "/v1/chat/completions",
      R"({"model":"baton-demo","messages":[{"role":"user","content":"hi"}],"max_tokens":40,"stream":true,)"
      R"("stream_options":{"include_usage":true}})"));
  CHECK(streamed.text == "Hello!");
  REQUIRE(streamed.events.size() >= 4);
  CHECK(streamed.events.front().find("\"role\":\"assistant\",\"content\":\"H") != std::string::npos);
  CHECK(streamed.events.front().find("\"usage\":null") != std::string::npos);
  CHECK(streamed.events[streamed.events.size() - 2].find("\"choices\":[],\"usage\":{") != std::string::npos);
  CHECK(streamed.events.back() == "[DONE]");
}

TEST_CASE("a stop string ends the answer at the router and cancels on both workers") {
  Pair pair;
  pair.Answer(" there was a fox.", "length", 4);
  const auto response =
      pair.server.Post("/v1/completions", R"({"prompt":"Once","max_tokens":40,"stop":[" was"]})");
  const json::Value body = Body(response);
  const json::Value& choice = body.Find("choices")->AsArray()->front();
  CHECK(*choice.Find("text")->AsString() == " there");
  CHECK(*choice.Find("finish_reason")->AsString() == "stop");
  CHECK(*choice.Find("stop_reason")->AsString() == " was");
  CHECK(pair.decode.WaitFor(IsCancel));
}

TEST_CASE("a client that hangs up is cancelled on both workers") {
  Pair pair;
  pair.Answer(" there was a fox.", "length", 2);
  pair.prefill.Answer({}, "", 0);  // neither token nor release
  const auto response =
      Fetch(pair.server, "/v1/completions", kStream, [](std::string_view) { return false; });
  CHECK(response.status == 0);
  CHECK(pair.prefill.WaitFor(IsCancel));
  CHECK(pair.decode.WaitFor(IsCancel));
  CHECK(pair.server.WaitForMetric("baton_request_errors_total{reason=\"client_closed\"} 1"));
}

TEST_CASE("row 2: the death of decode amid a stream that is not resumed is an error event and [DONE]") {
  RouterConfig config = Config();
  config.resume.attempts = 1;
  Pair pair(config);
  pair.Answer(" there was a fox.", "length", 3);
  bool killed = false;
  const Streamed streamed = Read(Fetch(pair.server, "/v1/completions", kStream, [&](std::string_view) {
    if (!std::exchange(killed, true)) pair.decode.Die();
    return true;
  }));
  REQUIRE(streamed.events.size() >= 3);
  CHECK(streamed.events[streamed.events.size() - 2] ==
        R"({"error":{"message":"a worker was lost while it served the request","type":"server_error",)"
        R"("param":null,)"
        R"("code":"worker_lost"}})");
  CHECK(streamed.events.back() == "[DONE]");
  CHECK(streamed.finish.empty());
  CHECK(pair.server.Get("/ready").status == 503);
}

TEST_CASE("the death of a worker before the first token is a 503") {
  Pair pair;
  std::thread killer([&] {
    static_cast<void>(pair.prefill.WaitFor([](const wire::Envelope& e) { return e.has_prefill(); }));
    pair.prefill.Die();
  });
  const auto response = pair.server.Post("/v1/completions", kStream);
  killer.join();
  CHECK(response.status == 503);
  CHECK(ErrorCode(response) == "worker_lost");
  CHECK(pair.decode.WaitFor(IsCancel));
}

TEST_CASE("a worker that comes back under its name serves again") {
  Pair pair;
  pair.decode.Die();
  REQUIRE(pair.server.WaitForMetric("baton_workers{phase=\"decode\",state=\"ready\"} 0"));
  wire::Register again = Registration("decode-0", wire::DECODE);
  again.set_incarnation(99);
  FakeWorker decode({.router_port = pair.server.ports.control, .registration = again});
  CHECK(decode.Id() != pair.decode.Id());
  CHECK(pair.prefill.WaitFor([](const wire::Envelope& e) {
    return e.has_peers() && e.peers().peers_size() == 1 && e.peers().peers(0).incarnation() == 99;
  }));
  pair.prefill.SendReady(decode.Id());
  decode.SendReady(pair.prefill.Id());
  REQUIRE(pair.server.WaitForMetric("baton_workers{phase=\"decode\",state=\"ready\"} 1"));
  pair.Answer("x");
  decode.Answer(*DemoTokenizer().Encode("yes"), "length");
  pair.prefill.Answer(*DemoTokenizer().Encode("yes"), "length");
  CHECK(pair.server.Post("/v1/completions", kCompletion).status == 200);
}

TEST_CASE("a second registration under a name replaces the first") {
  Pair pair;
  FakeWorker twin(
      {.router_port = pair.server.ports.control, .registration = Registration("decode-0", wire::DECODE)});
  CHECK(twin.Id() != 0);
  CHECK(pair.decode.WaitForClose());
}

TEST_CASE("a silent worker is lost after the timeout") {
  RouterConfig config = Config();
  config.worker_timeout = std::chrono::milliseconds(300);
  Server server(config);
  FakeWorker worker({.router_port = server.ports.control, .registration = Registration("p", wire::PREFILL)});
  CHECK(worker.WaitFor([](const wire::Envelope& e) { return e.has_ping(); }));
  CHECK(worker.WaitForClose());
}

TEST_CASE("registrations that do not fit are refused with the reason") {
  Server server;
  struct Case {
    std::function<void(wire::Register&)> change;
    std::string_view reason;
  };
  const std::vector<Case> cases = {
      {[](auto& r) { r.set_protocol_version(99); }, "protocol version 99"},
      {[](auto& r) { r.set_model("other"); }, "another model"},
      {[](auto& r) { r.set_tokenizer_fingerprint(1); }, "tokenizer 0000000000000001 differs"},
      {[](auto& r) { r.set_vocabulary(5); }, "vocabulary of 5"},
      {[](auto& r) { r.set_phase(wire::PHASE_UNSPECIFIED); }, "neither prefill nor decode"},
      {[](auto& r) { r.set_incarnation(0); }, "incarnation"},
      {[](auto& r) { r.set_kv_blocks(-1); }, "must be positive"},
      {[](auto& r) { r.mutable_kv()->set_ranks(-1); }, "-1 ranks"},
      {[](auto& r) { r.mutable_kv()->set_kv_heads(-1); }, "must not be negative"},
      {[](auto& r) { r.set_peer_address("nowhere"); }, "peer_address"},
      {[](auto& r) { r.set_name(std::string(200, 'n')); }, "name"},
  };
  for (const Case& c : cases) {
    wire::Register registration = Registration("w", wire::PREFILL);
    c.change(registration);
    CAPTURE(c.reason);
    FakeWorker worker({.router_port = server.ports.control, .registration = registration});
    CHECK(worker.WaitFor([&](const wire::Envelope& e) {
      return e.has_refused() && e.refused().reason().find(c.reason) != std::string::npos;
    }));
    CHECK(worker.WaitForClose());
  }
}

TEST_CASE("workers with other weights than those that are here are refused") {
  Pair pair;
  wire::Register other = Registration("decode-1", wire::DECODE);
  other.set_model_fingerprint(8);
  FakeWorker worker({.router_port = pair.server.ports.control, .registration = other});
  CHECK(worker.WaitFor([](const wire::Envelope& e) {
    return e.has_refused() && e.refused().reason().find("weights") != std::string::npos;
  }));
  CHECK(worker.WaitForClose());
}

TEST_CASE("a peer that breaks the protocol loses its connection, and the router lives") {
  Pair pair;
  wire::Envelope load;
  load.mutable_load()->set_kv_blocks_free(-5);
  wire::Envelope welcome;
  welcome.mutable_welcome()->set_worker_id(1);
  wire::Envelope token;
  token.mutable_token()->set_index(-1);
  wire::Envelope released;
  released.mutable_released()->set_outcome("vanished");
  int broken = 0;
  for (const std::string& frame : {std::string("\xff\xff\xff"), std::string(), wire::Encode(load),
                                   wire::Encode(welcome), wire::Encode(token), wire::Encode(released)}) {
    FakeWorker worker(
        {.router_port = pair.server.ports.control, .registration = Registration("bad", wire::PREFILL)});
    REQUIRE(worker.Id() != 0);
    worker.SendRaw(frame);
    CHECK(worker.WaitForClose());
    ++broken;
  }
  CHECK(pair.server.WaitForMetric("baton_worker_protocol_errors_total " + std::to_string(broken)));
  FakeWorker silent({.router_port = pair.server.ports.control, .registration = {}});
  silent.Send(load);
  CHECK(silent.WaitForClose());
  pair.Answer("x");
  CHECK(pair.server.Post("/v1/completions", kCompletion).status == 200);
}

TEST_CASE("a full queue is a 503 with Retry-After, before any byte of an answer") {
  RouterConfig config = Config();
  config.admission.queue_requests = 1;
  Pair pair(config);
  std::thread waiting([&] { static_cast<void>(Fetch(pair.server, "/v1/completions", kStream)); });
  CHECK(pair.server.WaitForMetric("baton_requests_queued 1"));
  const auto response = pair.server.Post("/v1/completions", kStream);
  CHECK(response.status == 503);
  CHECK(ErrorCode(response) == "queue_full");
  CHECK_FALSE(Header(response, "retry-after").empty());
  pair.prefill.Die();
  waiting.join();
}

TEST_CASE("a drain finishes what runs, refuses what is new, and ends") {
  Pair pair;
  pair.Answer(" there was a fox.", "length", 1);
  net::Signal begun;
  net::HttpResponse response;
  std::thread client([&] {
    response = Fetch(pair.server, "/v1/completions", kStream, [&](std::string_view) {
      begun.Raise();
      return true;
    });
  });
  REQUIRE(begun.Wait());
  net::Signal drained;
  pair.server.Drain(drained);
  CHECK(pair.server.Get("/ready").status == 503);
  CHECK(ErrorCode(pair.server.Post("/v1/completions", kCompletion)) == "draining");
  CHECK_FALSE(drained.Raised());
  // The rest of the answer, by hand.
  for (const wire::Envelope& envelope : pair.decode.Received()) {
    if (!envelope.has_reserve()) continue;
    wire::Envelope token;
    token.mutable_token()->set_request(envelope.reserve().request());
    token.mutable_token()->set_attempt(1);
    token.mutable_token()->set_index(1);
    token.mutable_token()->set_token(5);
    token.mutable_token()->set_finish("length");
    pair.decode.Send(token);
    wire::Envelope released;
    released.mutable_released()->set_request(envelope.reserve().request());
    released.mutable_released()->set_attempt(1);
    released.mutable_released()->set_outcome("done");
    pair.decode.Send(released);
  }
  client.join();
  CHECK(Read(response).finish == "length");
  CHECK(drained.Wait());
}

TEST_CASE("a worker that leaves is told from one that is lost") {
  Pair pair;
  wire::Envelope leaving;
  leaving.mutable_leaving()->set_reason("SIGTERM");
  pair.decode.Send(leaving);
  CHECK(pair.server.WaitForMetric("baton_workers{phase=\"decode\",state=\"draining\"} 1"));
  CHECK(ErrorCode(pair.server.Post("/v1/completions", kCompletion)) == "no_decode_workers");
  pair.decode.Die();
  CHECK(pair.server.WaitForMetric("baton_workers{phase=\"decode\",state=\"draining\"} 0"));
  CHECK(pair.server.WaitForMetric("baton_workers_lost_total 0"));
}

TEST_CASE("a worker without the cluster's key gets nowhere") {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/key";
  std::ofstream(path) << "secret\n";
  RouterConfig config = Config();
  config.cluster_key_file = path;
  Server server(config);
  FakeWorker stranger({.router_port = server.ports.control,
                       .cluster_key = "guess",
                       .registration = Registration("p", wire::PREFILL)});
  CHECK(stranger.WaitForClose());
  CHECK(server.WaitForMetric("baton_handshake_refusals 1"));
  FakeWorker member({.router_port = server.ports.control,
                     .cluster_key = "secret",
                     .registration = Registration("p", wire::PREFILL)});
  CHECK(member.Id() != 0);
}

TEST_CASE("routes, methods and errors are those of the API") {
  Server server;
  CHECK(server.Get("/health").status == 200);
  CHECK(ErrorCode(server.Get("/ready")) == "no_prefill_workers");
  CHECK(server.Get("/v1/models").body.find("\"id\":\"baton-demo\"") != std::string::npos);
  CHECK(server.Get("/v1/models/baton-demo").status == 200);
  CHECK(ErrorCode(server.Get("/v1/models/nope")) == "model_not_found");
  CHECK(ErrorCode(server.Get("/v1/nope")) == "route_not_found");
  CHECK(server.Get("/version").body.find("\"version\":\"") != std::string::npos);
  const auto wrong = server.Get("/v1/completions");
  CHECK(wrong.status == 405);
  CHECK(Header(wrong, "allow") == "POST, OPTIONS");
  CHECK(server.Ask("OPTIONS", "/v1/completions", "").status == 204);
  CHECK(server.Ask("DELETE", "/health", "").status == 405);
  CHECK(ErrorCode(server.Post("/v1/completions", R"({"model":"nope","prompt":"x"})")) == "model_not_found");
  CHECK(ErrorCode(server.Post("/v1/completions", "{")) == "invalid_json");
  CHECK(server.Ask("POST", "/v1/completions", "{}", {{"content-type", "text/plain"}}).status == 415);
  CHECK(Header(server.Ask("GET", "/health", "", {{"x-request-id", "my-id_1"}}), "x-request-id") == "my-id_1");
  CHECK(Header(server.Ask("GET", "/health", "", {{"x-request-id", "a b<c>"}}), "x-request-id").size() == 16);
}

TEST_CASE("an overflow of the context is told with its numbers") {
  Server server;
  const auto response = server.Post("/v1/completions", R"({"prompt":"Once","max_tokens":512})");
  CHECK(response.status == 400);
  CHECK(ErrorCode(response) == "context_length_exceeded");
  CHECK(response.body.find("maximum context length is 512 tokens") != std::string::npos);
}

}  // namespace
}  // namespace baton::router
