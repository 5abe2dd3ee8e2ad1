#include "router/router.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/daemon/files.h"
#include "common/metrics/registry.h"
#include "common/net/http_server.h"
#include "router/api.h"
#include "router/dispatcher.h"
#include "router/model_info.h"
#include "router/probe.h"
#include "router/record/recorder.h"
#include "router/worker_registry.h"

namespace baton::router {
namespace {

// Signs of life and deadlines are exact to this much.
constexpr Duration kTick = std::chrono::milliseconds(100);

class RunningRouter final : public Router {
 public:
  RunningRouter(net::EventLoop& loop, const RouterConfig& config, std::unique_ptr<const ModelInfo> model)
      : loop_(loop), config_(config), model_(std::move(model)), probe_(metrics_) {}

  ~RunningRouter() override {
    alive_.reset();
    http_.reset();  // joins its threads: nothing calls in any more
    metrics_http_.reset();
    admin_http_.reset();
  }

  absl::Status Listen() {
    BATON_ASSIGN_OR_RETURN(std::string key, daemon::ReadClusterKey(config_.cluster_key_file));
    BATON_ASSIGN_OR_RETURN(workers_,
                           WorkerRegistry::Start(loop_,
                                                 {.listen = config_.control,
                                                  .cluster_key = std::move(key),
                                                  .worker_timeout = config_.worker_timeout,
                                                  .model_name = model_->name,
                                                  .tokenizer_fingerprint = model_->tokenizer->Fingerprint(),
                                                  .vocabulary = model_->tokenizer->VocabularySize()},
                                                 WorkerEvents(), probe_));
    if (!config_.record.file.empty()) {
      BATON_ASSIGN_OR_RETURN(recorder_, Recorder::Open(config_.record, {.router = BATON_VERSION,
                                                                        .model = model_->name,
                                                                        .limits = config_.admission}));
    }
    dispatcher_ = std::make_unique<Dispatcher>(loop_, *workers_, *model_->tokenizer, probe_,
                                               Dispatcher::Options{.model_name = model_->name,
                                                                   .limits = config_.admission,
                                                                   .resume = config_.resume,
                                                                   .recorder = recorder_.get(),
                                                                   .balance = config_.balance,
                                                                   .make_room = config_.make_room,
                                                                   .give_back = config_.give_back});
    api_ = std::make_unique<Api>(*model_, loop_, metrics_, probe_, ApiControl(), ApiOptions());
    BATON_RETURN_IF_ERROR(Serve(config_.http, config_.http_threads, Api::Surface::kAll, http_));
    if (config_.admin_listener) {
      BATON_RETURN_IF_ERROR(Serve(config_.admin, 1, Api::Surface::kAdmin, admin_http_));
    }
    if (config_.metrics_listener) {
      BATON_RETURN_IF_ERROR(Serve(config_.metrics, 1, Api::Surface::kMetrics, metrics_http_));
    }
    ScheduleTick();
    return absl::OkStatus();
  }

  Ports GetPorts() const override {
    return {.http = http_->Port(),
            .control = workers_->Port(),
            .metrics = metrics_http_ != nullptr ? metrics_http_->Port() : std::uint16_t{0},
            .admin = admin_http_ != nullptr ? admin_http_->Port() : std::uint16_t{0}};
  }

  void Drain(std::function<void()> done) override {
    LogInfo("drain_begun", {{"live", dispatcher_->Live()}});
    dispatcher_->BeginDrain();
    drained_ = std::move(done);
  }

  void Abort() override {
    aborted_ = true;  // does not wait for what the workers still hold: they free it when this connection ends
    dispatcher_->FailAll(Refused(Refusal::kDraining));
  }

 private:
  WorkerRegistry::Events WorkerEvents() {
    return {
        .on_joined =
            [this](const cluster::WorkerDescription& worker) {
              dispatcher_->OnJoined(worker);
              UpdateContext();
            },
        .on_load = [this](WorkerId worker,
                          const cluster::LoadReport& load) { dispatcher_->OnLoad(worker, load); },
        .on_leaving = [this](WorkerId worker) { dispatcher_->OnLeaving(worker); },
        .on_lost =
            [this](WorkerId worker) {
              dispatcher_->OnLost(worker);
              UpdateContext();
            },
        .on_token = [this](WorkerId worker,
                           const TokenReport& token) { dispatcher_->OnToken(worker, token); },
        .on_prompt_logprobs =
            [this](WorkerId worker, PromptLogprobsReport report) {
              dispatcher_->OnPromptLogprobs(worker, std::move(report));
            },
        .on_released = [this](WorkerId worker,
                              const ReleaseReport& release) { dispatcher_->OnReleased(worker, release); },
        .on_move_failed = [this](WorkerId worker,
                                 const MoveFailure& failure) { dispatcher_->OnMoveFailed(worker, failure); },
        .on_takes = [this](WorkerId worker,
                           const TakeReport& takes) { dispatcher_->OnTakes(worker, takes); }};
  }

  Api::Control ApiControl() {
    return {.submit =
                [this](Job job) {
                  OnLoop([this, job = std::make_shared<Job>(std::move(job))] {
                    dispatcher_->Submit(std::move(*job));
                  });
                },
            .client_gone = [this](RequestId id) { OnLoop([this, id] { dispatcher_->ClientGone(id); }); },
            .ask_ready =
                [this](std::function<void(std::optional<Refusal>)> answer) {
                  OnLoop([this, answer = std::move(answer)] { answer(dispatcher_->NotReady()); });
                },
            .drain_worker =
                [this](std::string name, std::function<void(bool)> answer) {
                  OnLoop([this, name = std::move(name), answer = std::move(answer)] {
                    answer(dispatcher_->DrainWorker(name));
                  });
                }};
  }

  Api::Options ApiOptions() const {
    RequestLimits limits;
    limits.vocabulary = model_->tokenizer->VocabularySize();
    limits.strict_fields = config_.strict_fields;
    limits.json.bytes = config_.body_bytes_max;
    return {.limits = limits, .request_timeout = config_.request_timeout, .version = BATON_VERSION};
  }

  absl::Status Serve(const net::Address& address, int threads, Api::Surface surface,
                     std::unique_ptr<net::HttpServer>& out) {
    net::HttpLimits limits;
    limits.body_bytes_max = config_.body_bytes_max;
    // Choices that echo the prompt begin together.
    limits.stream_queue_bytes_max = std::max(limits.stream_queue_bytes_max, config_.body_bytes_max);
    BATON_ASSIGN_OR_RETURN(
        out, net::HttpServer::Start({.address = address,
                                     .threads = threads,
                                     .limits = limits,
                                     .handler =
                                         [this, surface](net::HttpRequest request,
                                                         std::shared_ptr<net::HttpResponder> responder) {
                                           api_->Handle(surface, std::move(request), std::move(responder));
                                         },
                                     .error_body = Api::ErrorBodyOfServer}));
    return absl::OkStatus();
  }

  /// Posts `work` unless the router is gone by then.
  void OnLoop(std::function<void()> work) {
    loop_.Post([work = std::move(work), alive = watch_] {
      if (!alive.expired()) work();
    });
  }

  void UpdateContext() {
    const std::int64_t offered = dispatcher_->ContextTokens().value_or(model_->context_tokens);
    api_->SetContextTokens(std::min(model_->context_tokens, offered));
  }

  void ScheduleTick() {
    tick_ = loop_.After(kTick, [this] {
      dispatcher_->Tick();
      // One tick more than it takes, so that the last events are on their way to the clients.
      idle_ticks_ = drained_ && (aborted_ || dispatcher_->Live() == 0) ? idle_ticks_ + 1 : 0;
      if (idle_ticks_ >= 2) std::exchange(drained_, nullptr)();
      ScheduleTick();
    });
  }

  net::EventLoop& loop_;
  const RouterConfig config_;
  const std::unique_ptr<const ModelInfo> model_;
  metrics::Registry metrics_;
  Probe probe_;
  std::unique_ptr<WorkerRegistry> workers_;
  std::unique_ptr<Recorder> recorder_;  // null: nothing is recorded
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Api> api_;
  std::function<void()> drained_;
  bool aborted_ = false;
  int idle_ticks_ = 0;
  net::Timer tick_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  const std::weak_ptr<int> watch_ = alive_;  // read by any thread, changed by none
  std::unique_ptr<net::HttpServer> http_;
  std::unique_ptr<net::HttpServer> metrics_http_;
  std::unique_ptr<net::HttpServer> admin_http_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Router>> Router::Start(net::EventLoop& loop, const RouterConfig& config) {
  BATON_ASSIGN_OR_RETURN(std::unique_ptr<const ModelInfo> model,
                         LoadModelInfo(config.model, config.model_name));
  auto router = std::make_unique<RunningRouter>(loop, config, std::move(model));
  BATON_RETURN_IF_ERROR(router->Listen());
  return router;
}

}  // namespace baton::router
