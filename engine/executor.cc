#include "engine/executor.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "common/base/check.h"
#include "common/base/mutex.h"
#include "engine/running_sequence.h"

namespace baton::engine {
namespace {

struct GrowCommand {
  SequenceKey key;
  BlockTable more;
};
struct PreemptCommand {
  SequenceKey key;
  BlockTable slots;
};
struct ResumeCommand {
  SequenceKey key;
  BlockTable blocks;
  BlockTable slots;
};
struct PauseCommand {
  SequenceKey key;
};
struct ContinueCommand {
  SequenceKey key;
};
struct CancelCommand {
  RequestKey key;
};
struct StopCommand {
  SequenceKey key;
};
/// In order of arrival.
using Command = std::variant<SequenceSpec, CancelCommand, StopCommand, GrowCommand, PreemptCommand,
                             ResumeCommand, PauseCommand, ContinueCommand>;

std::span<const float> RowOf(const kernels::Rows& rows, std::int64_t row) {
  return {rows.data + row * rows.stride, static_cast<std::size_t>(rows.columns)};
}

}  // namespace

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kPrefilled:
      return "prefilled";
  }
  return "unknown";
}

/// What both sides share is guarded by `mutex`; the rest belongs to the engine thread.
struct Executor::State {
  State(Model& m, const KvArena& a, const PlannerLimits& l, ExecutorEvents& e,
        std::shared_ptr<const TokenTable> t, SwapArea* s)
      : model(m),
        arena(a),
        swap(s),
        limits(l),
        events(e),
        tokens(std::move(t)),
        sampler(m.Config().vocabulary) {}

  void Give(Command command);
  void Run();
  void Obey(std::vector<Command>& taken);
  void ObeyOne(SequenceSpec spec);
  void ObeyOne(const CancelCommand& cancel) { CancelAll(cancel.key); }
  void ObeyOne(const StopCommand& stop);
  void ObeyOne(GrowCommand grow);
  void ObeyOne(const PreemptCommand& preempt);
  void ObeyOne(ResumeCommand resume);
  void ObeyOne(const PauseCommand& pause);
  void ObeyOne(const ContinueCommand& go_on);
  void CancelAll(std::optional<RequestKey> key);
  [[nodiscard]] bool AnyCanRun() const;
  void Step();
  [[nodiscard]] BatchPlan PlanStep();
  [[nodiscard]] static LogitsNeeded Needed(const RunningSequence& sequence);
  void Build(const BatchPlan& plan);
  void ReportLayer(const BatchPlan& plan, int layer);
  void Publish(const BatchPlan& plan, const kernels::Rows& logits);
  void Constrain(RunningSequence& sequence);
  std::span<const std::uint64_t> Allowed(const RunningSequence& sequence);
  LogitsNeeded AskFor(const RunningSequence& sequence);
  std::span<const float> LogitsOf(const kernels::Rows& logits, std::int64_t row);
  TokenId SampleRow(const RunningSequence& sequence, const kernels::Rows& logits, std::int64_t row,
                    std::int32_t sample);
  TokenEvent Choose(const RunningSequence& sequence, const kernels::Rows& logits, std::int64_t row,
                    std::int32_t sample);
  void Retire();

  Model& model;
  const KvArena& arena;
  SwapArea* const swap;  // null: preempted sequences are computed again
  const PlannerLimits limits;
  ExecutorEvents& events;
  const std::shared_ptr<const TokenTable> tokens;
  const SteadyClock clock;

  mutable Mutex mutex;
  std::condition_variable wake;
  std::vector<Command> commands;
  std::int64_t held = 0;  // sequences, from Submit to their release
  TimePoint progress = clock.Now();
  bool idle = true;
  bool stopping = false;

  std::uint64_t arrivals = 0;
  std::vector<RunningSequence> running;  // in order of arrival
  std::vector<RunningSequence> parked;   // preempted; without blocks
  QueueView queue;
  std::vector<std::size_t> runnable;  // scratch: of `queue`, in `running`
  TimePoint step_begun;
  StepBatch batch;
  ChosenLogits chosen;                   // of the step under way, where they are enough
  std::optional<std::int64_t> read_row;  // of the step's, the one that was read last
  kernels::Rows read_logits;             // what it is
  StepReport report;                     // of the step under way
  Sampler sampler;
  absl::flat_hash_map<std::shared_ptr<const grammar::Grammar>, std::shared_ptr<Constraint>> constraints;
  std::vector<std::uint64_t> allowed;  // scratch

  std::thread thread;  // last: started when all else is there
};

Executor::Executor(Model& model, const KvArena& arena, const PlannerLimits& limits, ExecutorEvents& events,
                   std::shared_ptr<const TokenTable> tokens, SwapArea* swap)
    : state_(std::make_unique<State>(model, arena, limits, events, std::move(tokens), swap)) {
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

Executor::~Executor() {
  {
    const MutexLock lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_one();
  state_->thread.join();
}

void Executor::Submit(SequenceSpec spec) {
  BATON_CHECK(!spec.tokens.empty() && spec.stop.max_tokens > 0, "request {}: {} tokens, max_tokens {}",
              spec.key, spec.tokens.size(), spec.stop.max_tokens);
  BATON_CHECK(
      std::ssize(spec.blocks) >= BlocksFor(PositionsAtSubmit(spec), state_->arena.Geometry().block_tokens),
      "request {}: {} blocks for {} positions", spec.key, spec.blocks.size(), PositionsAtSubmit(spec));
  BATON_CHECK(spec.computed_tokens >= 0 && spec.computed_tokens < std::ssize(spec.tokens),
              "request {}: {} of {} tokens computed", spec.key, spec.computed_tokens, spec.tokens.size());
  BATON_CHECK(!spec.prompt_logprobs || (spec.logprobs >= 0 && spec.computed_tokens == 0),
              "request {}: log-probabilities of a prompt of which {} tokens are computed", spec.key,
              spec.computed_tokens);
  BATON_CHECK(spec.resumed >= 0 && spec.resumed < std::min(std::ssize(spec.tokens), spec.stop.max_tokens) &&
                  (spec.resumed == 0 || spec.samples == 1),
              "request {}: {} tokens resumed of {}, max_tokens {}, {} samples", spec.key, spec.resumed,
              spec.tokens.size(), spec.stop.max_tokens, spec.samples);
  BATON_CHECK(spec.grammar == nullptr || (state_->tokens != nullptr && !spec.stop.stop_ids.empty()),
              "request {}: a grammar without a token table or stop id", spec.key);
  {
    const MutexLock lock(state_->mutex);
    if (state_->idle && state_->commands.empty()) state_->progress = state_->clock.Now();
    ++state_->held;
    state_->commands.emplace_back(std::move(spec));
  }
  state_->wake.notify_one();
}

void Executor::Cancel(RequestKey key) {
  state_->Give(CancelCommand{key});
}

void Executor::Stop(SequenceKey key) {
  state_->Give(StopCommand{key});
}

void Executor::Grow(SequenceKey key, BlockTable more) {
  state_->Give(GrowCommand{key, std::move(more)});
}

void Executor::Preempt(SequenceKey key, BlockTable slots) {
  state_->Give(PreemptCommand{key, std::move(slots)});
}

void Executor::Resume(SequenceKey key, BlockTable blocks, BlockTable slots) {
  state_->Give(ResumeCommand{key, std::move(blocks), std::move(slots)});
}

void Executor::Pause(SequenceKey key) {
  state_->Give(PauseCommand{key});
}

void Executor::Continue(SequenceKey key) {
  state_->Give(ContinueCommand{key});
}

void Executor::State::Give(Command command) {
  {
    const MutexLock lock(mutex);
    if (idle && commands.empty()) progress = clock.Now();
    commands.push_back(std::move(command));
  }
  wake.notify_one();
}

std::int64_t Executor::Sequences() const {
  const MutexLock lock(state_->mutex);
  return state_->held;
}

TimePoint Executor::LastProgress() const {
  const MutexLock lock(state_->mutex);
  // An idle executor has nothing to be late with.
  return state_->idle && state_->commands.empty() ? state_->clock.Now() : state_->progress;
}

void Executor::State::Run() {
  model.EnterThread();
  std::vector<Command> taken;
  for (;;) {
    bool stop = false;
    const bool can_run = AnyCanRun();
    {
      std::unique_lock lock(mutex);
      idle = !can_run;
      wake.wait(lock, [&] { return can_run || !commands.empty() || stopping; });
      idle = false;
      taken.swap(commands);
      stop = stopping;
    }
    Obey(taken);
    if (stop) CancelAll(std::nullopt);
    Retire();
    if (stop) return;
    if (!AnyCanRun()) continue;
    Step();
    Retire();
  }
}

void Executor::State::Obey(std::vector<Command>& taken) {
  for (Command& command : taken) {
    std::visit([this](auto& one) { ObeyOne(std::move(one)); }, command);
  }
  taken.clear();
}

void Executor::State::ObeyOne(SequenceSpec spec) {
  RunningSequence& sequence =
      running.emplace_back(std::move(spec), arrivals++, arena.Geometry().block_tokens);
  Constrain(sequence);
  if (sequence.answered >= sequence.spec.stop.max_tokens) sequence.finish = FinishReason::kLength;
}

void Executor::State::ObeyOne(const StopCommand& stop) {
  for (std::vector<RunningSequence>* sequences : {&running, &parked}) {
    const auto sequence = std::ranges::find(*sequences, stop.key, &RunningSequence::Key);
    if (sequence == sequences->end() || sequence->finish.has_value()) continue;
    sequence->finish = FinishReason::kCancelled;
    events.OnStopped(stop.key);
  }
}

void Executor::State::ObeyOne(GrowCommand grow) {
  const auto sequence = std::ranges::find(running, grow.key, &RunningSequence::Key);
  if (sequence == running.end()) return;
  sequence->spec.blocks.insert(sequence->spec.blocks.end(), grow.more.begin(), grow.more.end());
}

void Executor::State::ObeyOne(const PreemptCommand& preempt) {
  const auto sequence = std::ranges::find(running, preempt.key, &RunningSequence::Key);
  if (sequence == running.end() || sequence->finish.has_value()) return;
  events.OnPreempted(sequence->LeaveBlocks(arena, swap, preempt.slots, clock));
  parked.push_back(std::move(*sequence));
  running.erase(sequence);
}

void Executor::State::ObeyOne(ResumeCommand resume) {
  const auto sequence = std::ranges::find(parked, resume.key, &RunningSequence::Key);
  if (sequence == parked.end() || sequence->finish.has_value()) return;
  const auto resumed = sequence->EnterBlocks(arena, swap, std::move(resume.blocks), resume.slots, clock);
  if (resumed) events.OnResumed(*resumed);
  const auto place = std::ranges::upper_bound(running, sequence->arrival, {}, &RunningSequence::arrival);
  running.insert(place, std::move(*sequence));
  parked.erase(sequence);
}

void Executor::State::ObeyOne(const PauseCommand& pause) {
  const auto sequence = std::ranges::find(running, pause.key, &RunningSequence::Key);
  if (sequence == running.end() || sequence->finish.has_value()) return;
  sequence->paused = true;
  events.OnPaused(pause.key);
}

void Executor::State::ObeyOne(const ContinueCommand& go_on) {
  for (std::vector<RunningSequence>* sequences : {&running, &parked}) {
    const auto sequence = std::ranges::find(*sequences, go_on.key, &RunningSequence::Key);
    if (sequence != sequences->end()) sequence->paused = false;
  }
}

/// Where a sequence with a grammar stands: a worker that takes it over replays the answer so far.
void Executor::State::Constrain(RunningSequence& sequence) {
  const SequenceSpec& spec = sequence.spec;
  if (spec.grammar == nullptr) return;
  constexpr std::size_t kConstraintsMax = 16;  // some MiB each
  if (constraints.size() >= kConstraintsMax) {
    absl::erase_if(constraints, [](const auto& entry) { return entry.second.use_count() == 1; });
  }
  std::shared_ptr<Constraint>& constraint = constraints[spec.grammar];
  if (constraint == nullptr) constraint = std::make_shared<Constraint>(spec.grammar, tokens);
  sequence.constraint = constraint;
  sequence.stands = constraint->Start();
  for (std::int64_t i = std::ssize(spec.tokens) - sequence.answered; i < std::ssize(spec.tokens); ++i)
    sequence.stands =
        constraint->Advance(std::move(sequence.stands), spec.tokens[static_cast<std::size_t>(i)]);
}

/// What may come next: what the grammar says, and stop ids where the text may end, or is none of the
/// grammar's (a first token that another worker got wrong). A stop id that is text of the grammar's too may
/// come wherever that text may; the answer ends with it, as its client has asked.
std::span<const std::uint64_t> Executor::State::Allowed(const RunningSequence& sequence) {
  const std::span<const std::uint64_t> mask = sequence.constraint->Mask(sequence.stands);
  const auto vocabulary = static_cast<std::size_t>(model.Config().vocabulary);
  allowed.assign(mask.begin(), mask.end());
  allowed.resize((vocabulary + 63) / 64);
  if (sequence.stands.empty() || Constraint::IsComplete(sequence.stands)) {
    for (const TokenId id : sequence.spec.stop.stop_ids) {
      const auto token = static_cast<std::size_t>(id);
      if (id >= 0 && token < vocabulary) allowed[token / 64] |= std::uint64_t{1} << (token % 64);
    }
  }
  return allowed;
}

/// Ends the sequences of `key`, or all.
void Executor::State::CancelAll(std::optional<RequestKey> key) {
  for (std::vector<RunningSequence>* sequences : {&running, &parked}) {
    for (RunningSequence& sequence : *sequences) {
      if (!sequence.finish.has_value() && (!key.has_value() || sequence.spec.key == *key))
        sequence.finish = FinishReason::kCancelled;
    }
  }
}

bool Executor::State::AnyCanRun() const {
  return std::ranges::any_of(running, &RunningSequence::CanRun);
}

/// The plan's sequences are those of `running`; who waits for a block is not in it.
BatchPlan Executor::State::PlanStep() {
  queue.sequences.clear();
  runnable.clear();
  for (std::size_t i = 0; i < running.size(); ++i) {
    const RunningSequence& sequence = running[i];
    if (!sequence.CanRun()) continue;
    runnable.push_back(i);
    queue.sequences.push_back({.key = sequence.spec.key,
                               .prompt_tokens_left = sequence.PromptLeft(),
                               .keeps_place = sequence.recomputes});
  }
  BatchPlan plan = Plan(queue, limits);
  for (PlannedSlice& slice : plan.slices) slice.sequence = runnable[slice.sequence];
  return plan;
}

void Executor::State::Step() {
  step_begun = clock.Now();
  const BatchPlan plan = PlanStep();
  Build(plan);
  report.prompt_tokens = report.decode_tokens = 0;
  report.parts.clear();
  bool report_layers = false;
  for (const PlannedSlice& slice : plan.slices) {
    const RunningSequence& sequence = running[slice.sequence];
    (sequence.decoding ? report.decode_tokens : report.prompt_tokens) += slice.tokens;
    report.parts.push_back({.key = sequence.spec.key,
                            .tokens = slice.tokens,
                            .positions = sequence.computed + slice.tokens,
                            .decoding = sequence.decoding});
    report_layers |= sequence.spec.report_layers && !sequence.decoding;
  }
  const LayerDone layer_done = [&](int layer) { ReportLayer(plan, layer); };
  const kernels::Rows logits = model.Forward(batch, arena, report_layers ? layer_done : LayerDone());
  Publish(plan, logits);
  report.duration = clock.Now() - step_begun;
  for (const PlannedSlice& slice : plan.slices) {
    const Duration share = report.duration * slice.tokens / (report.prompt_tokens + report.decode_tokens);
    const auto resumed = running[slice.sequence].CountRecomputed(slice.tokens, share);
    if (resumed) events.OnResumed(*resumed);
  }
  events.OnStep(report);
}

/// What the sequence's next token depends on, others that begin with it included.
LogitsNeeded Executor::State::Needed(const RunningSequence& sequence) {
  const SequenceSpec& spec = sequence.spec;
  const bool masks = sequence.constraint != nullptr || sequence.answered < spec.stop.min_tokens;
  if (masks || spec.logprobs >= 0 || spec.sampling.Penalizes() || !spec.sampling.bias.empty()) return {};
  const LogitsNeeded needed = Sampler::Needed(spec.sampling);
  return needed.draw && spec.samples > 1 ? LogitsNeeded{} : needed;
}

/// Has the step tell what the sequence needs of its last row.
LogitsNeeded Executor::State::AskFor(const RunningSequence& sequence) {
  const LogitsNeeded needed = Needed(sequence);
  chosen.count = std::max(chosen.count, needed.candidates);
  if (!needed.draw) return needed;
  const SequenceSpec& spec = sequence.spec;
  chosen.draws.resize(batch.logit_rows.size());
  chosen.draws.back() = {.temperature = spec.sampling.temperature,
                         .min_p = spec.sampling.min_p,
                         .uniform = Sampler::UniformAt(spec.sampling, std::ssize(spec.tokens), spec.sample)};
  return needed;
}

void Executor::State::Build(const BatchPlan& plan) {
  batch.tokens.clear();
  batch.positions.clear();
  batch.slices.clear();
  batch.logit_rows.clear();
  chosen.count = 0;
  chosen.draws.clear();
  chosen.filled = false;
  read_row.reset();
  std::int64_t whole_rows = 0;  // that are needed
  for (const PlannedSlice& slice : plan.slices) {
    const RunningSequence& sequence = running[slice.sequence];
    const auto first_row = static_cast<std::int64_t>(batch.tokens.size());
    batch.slices.push_back({.blocks = sequence.spec.blocks,
                            .first_row = first_row,
                            .tokens = slice.tokens,
                            .first_position = sequence.computed});
    for (std::int64_t i = sequence.computed; i < sequence.computed + slice.tokens; ++i) {
      batch.tokens.push_back(sequence.spec.tokens[static_cast<std::size_t>(i)]);
      batch.positions.push_back(static_cast<std::int32_t>(i));
    }
    const std::int64_t shown = sequence.PromptToShow(slice.tokens);
    for (std::int64_t i = 0; i < shown; ++i) batch.logit_rows.push_back(first_row + i);
    whole_rows += shown;
    const bool samples = sequence.computed + slice.tokens == std::ssize(sequence.spec.tokens);
    if (!samples) continue;
    batch.logit_rows.push_back(first_row + slice.tokens - 1);
    whole_rows += AskFor(sequence).All() ? 1 : 0;
  }
  chosen.count = std::min<std::int64_t>(chosen.count, model.Config().vocabulary);
  if (!chosen.draws.empty()) chosen.draws.resize(batch.logit_rows.size());
  // Rows that are needed whole are read one by one; where they are many, all at once.
  batch.chosen = 2 * whole_rows >= std::ssize(batch.logit_rows) ? nullptr : &chosen;
}

void Executor::State::ReportLayer(const BatchPlan& plan, int layer) {
  for (const PlannedSlice& slice : plan.slices) {
    const RunningSequence& sequence = running[slice.sequence];
    if (sequence.decoding || !sequence.spec.report_layers) continue;
    events.OnLayerDone({.key = sequence.spec.key,
                        .layer = layer,
                        .first_position = sequence.computed,
                        .tokens = slice.tokens,
                        .last = slice.tokens == sequence.PromptLeft()});
  }
}

void Executor::State::Publish(const BatchPlan& plan, const kernels::Rows& logits) {
  std::int64_t row = 0;
  for (const PlannedSlice& slice : plan.slices) {
    RunningSequence& sequence = running[slice.sequence];
    const std::int64_t shown = sequence.PromptToShow(slice.tokens);
    PromptLogprobsEvent prompt{.key = sequence.spec.key, .first = sequence.computed + 1, .logprobs = {}};
    for (std::int64_t i = 0; i < shown; ++i) {
      const TokenId token = sequence.spec.tokens[static_cast<std::size_t>(prompt.first + i)];
      prompt.logprobs.push_back(LogprobsOf(LogitsOf(logits, row++), token, sequence.spec.logprobs));
    }
    if (shown > 0) events.OnPromptLogprobs(prompt);
    sequence.computed += slice.tokens;
    if (sequence.computed < std::ssize(sequence.spec.tokens)) continue;
    const TokenEvent event = Choose(sequence, logits, row, sequence.spec.sample);
    events.OnToken(event);
    for (std::int32_t other = 1; other < sequence.spec.samples; ++other) {
      events.OnToken(Choose(sequence, logits, row, other));
    }
    ++row;
    sequence.decoding = true;
    sequence.spec.tokens.push_back(event.token);
    if (sequence.spec.sampling.Penalizes()) sequence.history.AddAnswer(event.token);
    if (sequence.constraint != nullptr)
      sequence.stands = sequence.constraint->Advance(std::move(sequence.stands), event.token);
    ++sequence.answered;
    sequence.finish = event.finish;
  }
}

/// A row of what Forward has returned, until another one is read.
std::span<const float> Executor::State::LogitsOf(const kernels::Rows& logits, std::int64_t row) {
  if (!chosen.filled) return RowOf(logits, row);
  if (read_row != row) {
    kernels::Rows one = logits;
    one.data += row * logits.stride;
    one.rows = 1;
    read_logits = model.ReadLogits(one);
    read_row = row;
  }
  return RowOf(read_logits, 0);
}

TokenId Executor::State::SampleRow(const RunningSequence& sequence, const kernels::Rows& logits,
                                   std::int64_t row, std::int32_t sample) {
  const SequenceSpec& spec = sequence.spec;
  const auto position = std::ssize(spec.tokens);
  if (chosen.filled && !Needed(sequence).All()) {
    const auto count = static_cast<std::size_t>(chosen.count);
    const auto at = static_cast<std::size_t>(row);
    const kernels::DrawnRow drawn = chosen.drawn.empty() ? kernels::DrawnRow{} : chosen.drawn[at];
    const auto token = sampler.SampleKnown({.tokens = std::span(chosen.tokens).subspan(at * count, count),
                                            .logits = std::span(chosen.logits).subspan(at * count, count),
                                            .drawn = drawn.column,
                                            .total = drawn.total},
                                           spec.sampling, position, sample);
    if (token) return *token;
  }
  SamplingContext context{.history = &sequence.history, .sample = sample};
  if (sequence.answered < spec.stop.min_tokens) context.banned = spec.stop.stop_ids;
  if (sequence.constraint != nullptr) context.allowed = Allowed(sequence);
  return sampler.Sample(LogitsOf(logits, row), spec.sampling, position, context);
}

/// The next token of the sequence, or of another answer that begins where it does.
TokenEvent Executor::State::Choose(const RunningSequence& sequence, const kernels::Rows& logits,
                                   std::int64_t row, std::int32_t sample) {
  const SequenceSpec& spec = sequence.spec;
  const TokenId token = SampleRow(sequence, logits, row, sample);
  TokenEvent event{.key = spec.key,
                   .index = sequence.answered,
                   .token = token,
                   .finish = sequence.FinishAfter(sequence.answered + 1, token),
                   .at = clock.Now(),
                   .step_begun = step_begun,
                   .sample = sample};
  if (spec.logprobs >= 0) event.logprobs = LogprobsOf(LogitsOf(logits, row), token, spec.logprobs);
  return event;
}

/// Lets go of what has finished, after a step or after orders. Who hears that a sequence is released finds it
/// counted no more.
void Executor::State::Retire() {
  const auto ended = [](const RunningSequence& sequence) { return sequence.finish.has_value(); };
  const auto count = std::ranges::count_if(running, ended) + std::ranges::count_if(parked, ended);
  {
    const MutexLock lock(mutex);
    held -= count;
    progress = clock.Now();
  }
  if (count == 0) return;
  for (std::vector<RunningSequence>* some : {&running, &parked}) {
    for (const RunningSequence& sequence : *some) {
      if (ended(sequence)) events.OnReleased(sequence.spec.key, *sequence.finish);
    }
    std::erase_if(*some, ended);
  }
}

}  // namespace baton::engine
