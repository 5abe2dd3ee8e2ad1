#include "engine/worker/runtime.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.pb.h"
#include "common/daemon/files.h"
#include "common/metrics/registry.h"
#include "common/net/http_server.h"
#include "common/text/tokenizer.h"
#include "engine/executor.h"
#include "engine/kv/kv_arena.h"
#include "engine/model/decoder_weights.h"
#include "engine/worker/energy_meter.h"
#include "engine/worker/metrics_listener.h"
#include "engine/worker/probe.h"
#include "engine/worker/router_link.h"
#include "engine/worker/step_log.h"

namespace baton::engine {
namespace {

constexpr std::int64_t kMeasuredTokens = 64;
constexpr Duration kWatchPauseMax = std::chrono::seconds(1);  // a scrape's gauge is no older

class Runtime final : public WorkerRuntime, public ExecutorEvents {
 public:
  Runtime(net::EventLoop& loop, const WorkerConfig& config, bool prefill, OpenDevices open)
      : loop_(loop),
        config_(config),
        open_(std::move(open)),
        prefill_(prefill),
        incarnation_(NewIncarnation()),
        probe_(metrics_, prefill) {}
  ~Runtime() override {
    *alive_ = false;
    http_.reset();      // joins its threads
    executor_.reset();  // its events are posted to nobody any more
  }

  absl::Status Build(const CreateService& create);
  Ports GetPorts() const override { return {.peer = handoff_->Port(), .metrics = http_->Port()}; }
  void Start() override {
    link_->Start();
    WatchEngine();
  }
  void OnDrainOrder(std::function<void()> leave) override { leave_ = std::move(leave); }
  void Drain(std::function<void()> done) override;
  void Abort() override {
    service_->CancelAll();
    CheckDrained();
  }
  bool EngineHangs() const override { return engine_hangs_; }

  // From the engine thread.
  void OnLayerDone(const LayerEvent& event) override {
    ToLoop([event](Runtime& self) { self.service_->OnLayerDone(event); });
  }
  void OnToken(const TokenEvent& event) override {
    ToLoop([event](Runtime& self) { self.service_->OnToken(event); });
  }
  void OnStopped(SequenceKey sequence) override {
    ToLoop([sequence](Runtime& self) { self.service_->OnStopped(sequence); });
  }
  void OnPromptLogprobs(const PromptLogprobsEvent& event) override {
    ToLoop([event](Runtime& self) { self.service_->OnPromptLogprobs(event); });
  }
  void OnReleased(RequestKey key, FinishReason reason) override {
    ToLoop([key, reason](Runtime& self) { self.service_->OnExecutorReleased(key, reason); });
  }
  void OnPreempted(const PreemptedEvent& event) override {
    ToLoop([event](Runtime& self) { self.service_->OnPreempted(event); });
  }
  void OnResumed(const ResumedEvent& event) override {
    ToLoop([event](Runtime& self) { self.service_->OnResumed(event); });
  }
  void OnPaused(SequenceKey sequence) override {
    ToLoop([sequence](Runtime& self) { self.service_->OnPaused(sequence); });
  }
  void OnStep(const StepReport& report) override {
    probe_.Step(report);
    if (steps_ != nullptr) steps_->Add(report);
    if (meter_ != nullptr) ToLoop([report](Runtime& self) { self.meter_->OnStep(report); });
    // Half-life of some 7 steps; this thread alone writes it.
    const double last = step_seconds_.load(std::memory_order_relaxed);
    const double seconds = Seconds(report.duration);
    step_seconds_.store(last > 0 ? last + 0.1 * (seconds - last) : seconds, std::memory_order_relaxed);
  }

 private:
  void ToLoop(std::function<void(Runtime&)> work) {
    loop_.Post([this, alive = alive_, work = std::move(work)] {
      if (*alive) work(*this);
    });
  }

  absl::Status LoadModelAndArena();
  absl::Status SelfTest();
  absl::StatusOr<AnswerMemoryOptions> MeasureAnswers();
  absl::Status CreateMeter();
  absl::Status CreateStepLog();
  absl::Status CreateHandoff(const std::string& cluster_key);
  void CopyBlock(BlockIndex from, BlockIndex to);
  void CreateLink(const std::string& cluster_key);
  void Send(const wire::Envelope& envelope);
  void FillRegister(wire::Register& message) const;
  void FillLoad(wire::Load& load) const;
  void OnOrder(const wire::Envelope& order);
  void OnPeers(const wire::Peers& peers);
  void LoadChanged();
  void UpdateGauges();
  void CheckDrained();
  void WatchEngine();
  [[nodiscard]] bool Ready() const;

  net::EventLoop& loop_;
  const WorkerConfig config_;
  const OpenDevices open_;
  const bool prefill_;
  const Incarnation incarnation_;
  metrics::Registry metrics_;
  WorkerProbe probe_;
  std::atomic<double> step_seconds_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::uint64_t tokenizer_fingerprint_ = 0;
  std::shared_ptr<const TokenTable> tokens_;  // null: the vocabulary cannot follow a grammar
  GrammarCache grammars_;
  std::vector<std::unique_ptr<kernels::Backend>> backends_;  // one for each rank
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvArena> arena_;
  std::shared_ptr<DeviceCopier> copier_;  // null: the host reads the arena
  std::unique_ptr<SwapArea> swap_;        // decode
  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<PrefixCache> prefixes_;  // null: none is kept
  std::unique_ptr<kvtransfer::Handoff> handoff_;
  std::unique_ptr<EnergyMeter> meter_;  // null: nothing is measured
  std::unique_ptr<StepLog> steps_;      // null: none is kept
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<PhaseService> service_;
  std::unique_ptr<RouterLink> link_;
  std::unique_ptr<MetricsListener> http_;
  WorkerId self_;
  std::set<WorkerId> alike_;  // peers of this worker's own phase: answers move between them
  std::function<void()> leave_;
  std::function<void()> drained_;
  net::Timer drain_timer_;
  net::Timer engine_timer_;
  bool draining_ = false;
  bool engine_hangs_ = false;
};

absl::Status Runtime::LoadModelAndArena() {
  BATON_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Load(config_.model));
  tokenizer_fingerprint_ = tokenizer->Fingerprint();
  if (auto tokens = TokenTable::FromTokenizer(*tokenizer); tokens.ok()) {
    tokens_ = *std::move(tokens);
  } else {
    LogWarning("grammars_off", {{"error", tokens.status()}});
  }
  BATON_ASSIGN_OR_RETURN(OpenedDevices devices,
                         open_ ? open_() : OpenForRanks(config_.device, Demand(config_)));
  backends_ = std::move(devices.ranks);
  const TimePoint begin = loop_.Now();
  BATON_ASSIGN_OR_RETURN(
      model_, LoadRankedModel(config_.model, backends_, config_.batch.batch_tokens, devices.group));
  probe_.ModelLoaded(loop_.Now() - begin);
  const ModelConfig& model = model_->Config();
  KvGeometry geometry{.layers = model.layers,
                      .blocks = 1,
                      .kv_heads = KvHeadsPerRank(model, config_.ranks),
                      .head_dim = model.head_dim,
                      .dtype = backends_.front()->KvType(),
                      .block_tokens = config_.block_tokens,
                      .ranks = config_.ranks};
  geometry.blocks = static_cast<std::int64_t>(config_.kv_memory / geometry.TotalBytes());
  if (geometry.blocks < 1) {
    return Error(kInvalidArgument, "kv.memory of {} bytes holds no block; one takes {} bytes over {} layers",
                 config_.kv_memory, geometry.TotalBytes(), geometry.layers);
  }
  BATON_ASSIGN_OR_RETURN(KvArena arena, KvArena::Create(backends_, geometry));
  arena_ = std::make_unique<KvArena>(std::move(arena));
  BATON_ASSIGN_OR_RETURN(copier_, arena_->CreateCopier());
  pool_ = std::make_unique<BlockPool>(geometry.blocks);
  if (prefill_ && config_.prefix_cache) {
    const double share = config_.prefix_cache_share * static_cast<double>(geometry.blocks);
    const double pinned = config_.pin_share * static_cast<double>(geometry.blocks);
    prefixes_ = std::make_unique<PrefixCache>(
        *pool_, static_cast<std::int64_t>(share),
        PinOptions{.hits = config_.pin_hits, .blocks_max = static_cast<std::int64_t>(pinned)},
        config_.block_tokens);
  }
  LogInfo("model_loaded", {{"model", config_.model},
                           {"numerics", model_->NumericsClass()},
                           {"ranks", geometry.ranks},
                           {"kv_blocks", geometry.blocks},
                           {"block_tokens", geometry.block_tokens},
                           {"seconds", Seconds(loop_.Now() - begin)}});
  return absl::OkStatus();
}

/// One step over one token: a backend or a model that cannot compute is found before the first request.
absl::Status Runtime::SelfTest() {
  const std::vector<BlockIndex> blocks = {BlockIndex(0)};
  StepBatch batch{.tokens = {0}, .positions = {0}, .logit_rows = {0}};
  batch.slices.push_back({.blocks = blocks, .first_row = 0, .tokens = 1, .first_position = 0});
  const kernels::Rows logits = model_->Forward(batch, *arena_, nullptr);
  for (std::int64_t i = 0; i < logits.columns; ++i) {
    if (!std::isfinite(logits.data[i])) {
      return Error(kFailedPrecondition,
                   "self-test: the model's logit {} is not finite; are its weights damaged?", i);
    }
  }
  return absl::OkStatus();
}

/// What preempting is going to cost on this machine: one prompt's chunk is computed, and some blocks go to
/// the swap area and back. First guesses; each preemption measures again.
absl::StatusOr<AnswerMemoryOptions> Runtime::MeasureAnswers() {
  const KvGeometry& geometry = arena_->Geometry();
  BATON_ASSIGN_OR_RETURN(SwapArea swap, SwapArea::Create(geometry, config_.swap_memory));
  swap_ = std::make_unique<SwapArea>(std::move(swap));
  AnswerMemoryOptions out{.growth_blocks = config_.growth_blocks,
                          .swap_slots = swap_->Slots(),
                          .block_bytes = static_cast<std::int64_t>(swap_->SlotBytes()),
                          .block_tokens = geometry.block_tokens,
                          .forced = config_.preemption};
  const std::int64_t tokens =
      std::min({config_.batch.batch_tokens, geometry.blocks * geometry.block_tokens, kMeasuredTokens});
  BlockTable blocks;
  for (std::int64_t i = 0; i < BlocksFor(tokens, geometry.block_tokens); ++i)
    blocks.emplace_back(static_cast<std::uint32_t>(i));
  StepBatch batch{.tokens = std::vector<TokenId>(static_cast<std::size_t>(tokens)),
                  .logit_rows = {tokens - 1}};
  for (std::int32_t i = 0; i < tokens; ++i) batch.positions.push_back(i);
  batch.slices.push_back({.blocks = blocks, .first_row = 0, .tokens = tokens, .first_position = 0});
  const auto rate = [this](std::int64_t amount, auto work) {
    const TimePoint begin = loop_.Now();
    work();
    return static_cast<double>(amount) / std::max(1e-9, Seconds(loop_.Now() - begin));
  };
  out.rates.prompt_tokens_per_second =
      rate(tokens, [&] { static_cast<void>(model_->Forward(batch, *arena_, nullptr)); });
  const std::int64_t count = std::min(std::ssize(blocks), swap_->Slots());
  const std::int64_t bytes = count * out.block_bytes;
  out.rates.swap_out_bytes_per_second = rate(bytes, [&] { swap_->CopyOut(*arena_, blocks, blocks, count); });
  out.rates.swap_in_bytes_per_second = rate(bytes, [&] { swap_->CopyIn(*arena_, blocks, blocks, count); });
  LogInfo("preemption_rates", {{"swap_slots", swap_->Slots()},
                               {"swap_out_bytes_per_second", out.rates.swap_out_bytes_per_second},
                               {"swap_in_bytes_per_second", out.rates.swap_in_bytes_per_second},
                               {"prompt_tokens_per_second", out.rates.prompt_tokens_per_second}});
  return out;
}

/// Before the executor: its thread looks whether there is one.
absl::Status Runtime::CreateMeter() {
  BATON_ASSIGN_OR_RETURN(auto sensor, OpenSensor(config_.power, backends_.front()->Name(),
                                                 {.first = config_.device.device, .count = config_.ranks}));
  if (sensor == nullptr) return absl::OkStatus();
  meter_ =
      std::make_unique<EnergyMeter>(loop_, std::move(sensor), metrics_,
                                    EnergyMeter::Options{.interval = config_.power.interval,
                                                         .role = prefill_ ? "prefill" : "decode",
                                                         .cost = CostOf(model_->Config())},
                                    [this] { return executor_ != nullptr && executor_->Sequences() == 0; });
  return absl::OkStatus();
}

/// Before the executor, likewise.
absl::Status Runtime::CreateStepLog() {
  if (config_.steps.file.empty()) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(steps_, StepLog::Open(config_.steps, {.model = config_.model_name,
                                                               .hardware = backends_.front()->Name(),
                                                               .ranks = config_.ranks}));
  return absl::OkStatus();
}

/// To the router. What it says of ended requests the meter hears too.
void Runtime::Send(const wire::Envelope& envelope) {
  if (meter_ != nullptr && envelope.has_released()) {
    meter_->OnEnded({RequestId(envelope.released().request()), Attempt(envelope.released().attempt())});
  }
  link_->Send(envelope);
}

absl::Status Runtime::CreateHandoff(const std::string& cluster_key) {
  const KvGeometry& geometry = arena_->Geometry();
  const std::vector<MemoryRegion> parts = arena_->Parts();
  kvtransfer::ArenaView view{
      .region = parts.front(), .blocks = geometry.blocks, .layout = {}, .copier = copier_};
  for (const MemoryRegion& part : parts) {
    if (parts.size() > 1) view.rank_parts.push_back(part.address);
  }
  view.layout = {.layers = geometry.layers,
                 .kv_heads = model_->Config().kv_heads,
                 .head_dim = geometry.head_dim,
                 .block_tokens = geometry.block_tokens,
                 .element_bytes = static_cast<int>(kernels::SizeOf(geometry.dtype)),
                 .dtype = std::string(kernels::Name(geometry.dtype)),
                 .numerics_class = model_->NumericsClass(),
                 .model_fingerprint = model_->Fingerprint(),
                 .ranks = geometry.ranks};
  kvtransfer::HandoffOptions options = config_.transfer;
  options.cluster_key = cluster_key;
  BATON_ASSIGN_OR_RETURN(
      handoff_,
      kvtransfer::Handoff::Create(loop_, options, view, incarnation_, metrics_,
                                  {.on_peer = [this](const kvtransfer::PeerStatus&) { LoadChanged(); }}));
  return absl::OkStatus();
}

/// On the control loop, while the engine computes: in a device's memory beside its queue.
void Runtime::CopyBlock(BlockIndex from, BlockIndex to) {
  if (const absl::Status status = arena_->CopyBlock(from, to, copier_.get()); !status.ok()) {
    // The device is lost; the engine's next step finds it, and ends the process.
    LogError("block_not_copied", {{"error", status}});
  }
}

void Runtime::CreateLink(const std::string& cluster_key) {
  link_ = std::make_unique<RouterLink>(
      loop_, RouterLink::Options{.router = config_.router, .cluster_key = cluster_key},
      RouterLink::Events{.fill_register = [this](wire::Register& message) { FillRegister(message); },
                         .fill_load = [this](wire::Load& load) { FillLoad(load); },
                         .on_welcome =
                             [this](WorkerId self) {
                               self_ = self;
                               handoff_->SetSelf(self);
                             },
                         .on_order = [this](const wire::Envelope& order) { OnOrder(order); },
                         .on_lost =
                             [this] {
                               service_->CancelAll();
                               handoff_->SetPeers({});
                               UpdateGauges();
                             }});
}

absl::Status Runtime::Build(const CreateService& create) {
  BATON_ASSIGN_OR_RETURN(const std::string cluster_key, daemon::ReadClusterKey(config_.cluster_key_file));
  BATON_RETURN_IF_ERROR(LoadModelAndArena());
  BATON_RETURN_IF_ERROR(SelfTest());
  BATON_RETURN_IF_ERROR(CreateHandoff(cluster_key));
  AnswerMemoryOptions answers;
  if (!prefill_) {
    BATON_ASSIGN_OR_RETURN(answers, MeasureAnswers());
  }
  BATON_RETURN_IF_ERROR(CreateMeter());
  BATON_RETURN_IF_ERROR(CreateStepLog());
  executor_ = std::make_unique<Executor>(*model_, *arena_, config_.batch, *this, tokens_, swap_.get());
  CreateLink(cluster_key);
  service_ = create({.loop = loop_,
                     .executor = *executor_,
                     .pool = *pool_,
                     .handoff = *handoff_,
                     .model = model_->Config(),
                     .queue_requests = config_.queue_requests,
                     .probe = probe_,
                     .send = [this](const wire::Envelope& envelope) { Send(envelope); },
                     .load_changed = [this] { LoadChanged(); },
                     .prefixes = prefixes_.get(),
                     .copy_block = [this](BlockIndex from, BlockIndex to) { CopyBlock(from, to); },
                     .grammars = tokens_ != nullptr ? &grammars_ : nullptr,
                     .answers = answers,
                     .block_tokens = config_.block_tokens});
  UpdateGauges();
  BATON_ASSIGN_OR_RETURN(http_, MetricsListener::Start(config_.metrics, metrics_));
  return absl::OkStatus();
}

void Runtime::FillRegister(wire::Register& message) const {
  const ModelConfig& model = model_->Config();
  const KvGeometry& geometry = arena_->Geometry();
  message.set_name(config_.name);
  message.set_phase(prefill_ ? wire::PREFILL : wire::DECODE);
  message.set_incarnation(incarnation_.value);
  message.set_model(config_.model_name);
  message.set_model_fingerprint(model_->Fingerprint());
  message.set_tokenizer_fingerprint(tokenizer_fingerprint_);
  message.set_numerics_class(model_->NumericsClass());
  wire::KvShape& kv = *message.mutable_kv();
  kv.set_layers(geometry.layers);
  kv.set_kv_heads(model.kv_heads);
  kv.set_head_dim(geometry.head_dim);
  kv.set_block_tokens(geometry.block_tokens);
  kv.set_ranks(geometry.ranks);
  kv.set_element_bytes(static_cast<int>(kernels::SizeOf(geometry.dtype)));
  kv.set_dtype(std::string(kernels::Name(geometry.dtype)));
  message.set_kv_blocks(geometry.blocks);
  message.set_context_tokens(model.context);
  message.set_vocabulary(model.vocabulary);
  for (const TokenId eos : model.eos) message.add_eos(eos);
  message.set_peer_address(net::Address{config_.peer_host, handoff_->Port()}.ToString());
  message.set_batch_tokens(config_.batch.batch_tokens);
  message.set_batch_sequences(config_.batch.batch_sequences);
  if (!prefill_) message.set_growth_blocks(config_.growth_blocks);
  message.set_kv_returns(!config_.transfer.wire_int8 && (!prefill_ || prefixes_ != nullptr));
  message.set_other_classes(config_.other_classes);
}

bool Runtime::Ready() const {
  const std::vector<kvtransfer::PeerStatus> peers = handoff_->Peers();
  return link_->Registered() && !draining_ && !engine_hangs_ &&
         std::ranges::any_of(peers, [this](const kvtransfer::PeerStatus& peer) {
           return peer.ready && !alike_.contains(peer.id);
         });
}

void Runtime::FillLoad(wire::Load& load) const {
  const ServiceLoad service = service_->Load();
  const PoolCounts blocks = pool_->Counts();
  load.set_ready(Ready());
  load.set_draining(draining_);
  load.set_queued_requests(service.queued_requests);
  load.set_queued_prompt_tokens(service.queued_prompt_tokens);
  load.set_running_requests(service.running_requests);
  // The cache gives up what is wanted; answers that grow, or wait to come back, come first.
  load.set_kv_blocks_free(service.blocks_available.value_or(blocks.free + blocks.cached));
  load.set_kv_blocks_used(blocks.used);
  load.set_kv_blocks_quarantined(blocks.quarantined);
  load.set_grants(static_cast<std::int64_t>(handoff_->LiveTransfers()));
  load.set_step_seconds(step_seconds_.load(std::memory_order_relaxed));
  if (meter_ != nullptr) {
    const EnergyMeter::Power& power = meter_->Now();
    wire::Power& out = *load.mutable_power();
    out.set_watts(power.watts);
    out.set_step_watts(power.step_watts);
    out.set_idle_watts(power.idle_watts);
    out.set_cap_watts(power.cap_watts);
  }
  for (const kvtransfer::PeerStatus& peer : handoff_->Peers()) {
    wire::Link& link = *load.add_links();
    link.set_peer(peer.id.value);
    link.set_ready(peer.ready);
    link.set_transport(peer.transport);
    link.set_bytes_per_second(peer.bytes_per_second);
  }
}

void Runtime::OnOrder(const wire::Envelope& order) {
  switch (order.body_case()) {
    case wire::Envelope::kPeers:
      return OnPeers(order.peers());
    case wire::Envelope::kCancel:
      return service_->Cancel(
          {.request = RequestId(order.cancel().request()), .attempt = Attempt(order.cancel().attempt())});
    case wire::Envelope::kDrain:
      if (leave_) leave_();
      return;
    default:
      return service_->OnOrder(order);
  }
}

void Runtime::OnPeers(const wire::Peers& peers) {
  std::vector<kvtransfer::PeerInfo> infos;
  alike_.clear();
  for (const wire::Peer& peer : peers.peers()) {
    absl::StatusOr<net::Address> address = net::Address::Parse(peer.address());
    if (!address.ok()) {
      LogWarning("peer_address_invalid", {{"peer", peer.worker_id()}, {"error", address.status()}});
      continue;
    }
    const WorkerId id(peer.worker_id());
    const bool alike = peer.phase() == (prefill_ ? wire::PREFILL : wire::DECODE);
    if (alike) alike_.insert(id);
    infos.push_back({.id = id,
                     .incarnation = Incarnation(peer.incarnation()),
                     .address = *address,
                     .name = peer.name(),
                     .dial = alike ? self_ < id : prefill_});  // prefill dials decode
  }
  handoff_->SetPeers(infos);
  LoadChanged();
}

void Runtime::LoadChanged() {
  UpdateGauges();
  link_->LoadChanged();
  if (draining_) CheckDrained();
}

void Runtime::UpdateGauges() {
  probe_.Blocks(pool_->Counts());
  if (prefixes_ != nullptr) probe_.Prefixes(prefixes_->Counts());
  if (!prefill_) probe_.Answers(service_->Answers());
  probe_.InFlight(static_cast<double>(service_->InFlight()));
  probe_.QueuedTokens(static_cast<double>(service_->Load().queued_prompt_tokens));
  probe_.Ready(Ready());
  if (http_ != nullptr) http_->SetReady(Ready());
}

/// By a timer of its own: an engine that hangs posts nothing that would call for anything else.
void Runtime::WatchEngine() {
  const Duration age = std::max(Duration::zero(), loop_.Now() - executor_->LastProgress());
  probe_.EngineAge(age);
  const bool hangs = age > config_.engine_timeout;
  if (hangs != engine_hangs_) {
    engine_hangs_ = hangs;
    if (hangs) {
      LogError("engine_hangs", {{"step_seconds", Seconds(age)}, {"requests", service_->InFlight()}});
    } else {
      LogWarning("engine_goes_on", {{"requests", service_->InFlight()}});
    }
    LoadChanged();
  }
  engine_timer_ =
      loop_.After(std::min<Duration>(kWatchPauseMax, config_.engine_timeout / 4), [this] { WatchEngine(); });
}

void Runtime::Drain(std::function<void()> done) {
  draining_ = true;
  drained_ = std::move(done);
  wire::Envelope leaving;
  leaving.mutable_leaving()->set_reason("drain");
  link_->Send(leaving);
  LogInfo("draining", {{"requests", service_->InFlight()}});
  drain_timer_ = loop_.After(config_.drain_timeout, [this] {
    LogWarning("drain_timeout", {{"requests", service_->InFlight()}});
    Abort();
  });
  LoadChanged();
}

void Runtime::CheckDrained() {
  if (!draining_ || drained_ == nullptr || service_->InFlight() > 0) return;
  link_->Close();
  // The last Released is on its way: one turn of the loop for it, then the end.
  loop_.Post(std::exchange(drained_, nullptr));
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerRuntime>> WorkerRuntime::Create(net::EventLoop& loop,
                                                                     const WorkerConfig& config, bool prefill,
                                                                     const CreateService& create,
                                                                     OpenDevices open) {
  auto runtime = std::make_unique<Runtime>(loop, config, prefill, std::move(open));
  BATON_RETURN_IF_ERROR(runtime->Build(create));
  return runtime;
}

}  // namespace baton::engine
