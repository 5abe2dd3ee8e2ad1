#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simulator/event_heap.h"
#include "simulator/splitwise_state.h"

/// The world of kSplitwise, inside.
namespace baton::simulator::splitwise {

enum Kind : std::uint32_t { kArrival, kStep, kFlow, kRetry };

/// The run itself. Its parts are in splitwise_world.cc (requests, transfers, ends) and splitwise_batch.cc
/// (what each step holds).
class World {
 public:
  World(const SplitwiseSetup& setup, const Workload& workload, router::Placer& placer,
        const RunOptions& options)
      : setup_(setup), workload_(workload), placer_(placer), options_(options) {
    for (const StepTable& table : setup.tables) times_.emplace_back(table);
    for (const SplitwiseMachine& machine : setup.machines) AddMachine(machine);
    AddRequests();
  }

  RunResult Run();

 private:
  void AddMachine(const SplitwiseMachine& machine);
  void AddRequests();
  void Arrive(std::uint32_t request);
  void TaskArrives(std::size_t machine, Task task);
  void BecomesHead(Machine& m, Task task);
  void AddPending(std::size_t machine, Task task);
  void RemovePending(std::size_t machine, Task task);
  void StartStep(std::size_t machine);
  void SelectBatch(Machine& m);
  bool TryAdd(const Machine& m, Task task);
  void SelectStarved(Machine& m);
  void SelectPrompts(const Machine& m);
  bool SelectBlocked(const Machine& m);
  bool SelectRunning(const Machine& m);
  void SelectWaiting(const Machine& m);
  void ApplySelection(std::size_t machine);
  void Enter(std::size_t machine, Task task);
  bool Begin(std::size_t machine);
  void Pause(std::size_t machine);
  void CompleteStep(std::size_t machine);
  void FinishPrompt(std::size_t machine, Task task);
  void FinishAnswer(std::size_t machine, Task task);
  void TryFlow(std::uint32_t request);
  void FlowDone(std::uint32_t request);
  void NoteUse(std::size_t machine, double end_s);
  void Push(double time_s, Kind kind, std::uint32_t subject, std::uint32_t version = 0) {
    events_.Push({time_s, kind, subject, version});
  }

  Request& Of(Task task) { return requests_[task >> 1U]; }
  const Request& Of(Task task) const { return requests_[task >> 1U]; }
  TaskInfo& Info(Task task) { return Of(task).tasks[task & 1U]; }
  const TaskInfo& Info(Task task) const { return Of(task).tasks[task & 1U]; }
  std::int64_t Bytes(Task task) const {
    return IsPrompt(task) ? Of(task).prompt_bytes : Of(task).answer_bytes;
  }
  std::int64_t TokensOfStep(Task task) const { return IsPrompt(task) ? Of(task).prompt_tokens : 1; }
  std::int64_t Preemptions(const Machine& m, Task task) const {
    const TaskInfo& info = Info(task);
    return info.preemptions + (info.counting ? m.starts - info.since : 0);
  }
  void StopCounting(const Machine& m, Task task) {
    TaskInfo& info = Info(task);
    info.preemptions = Preemptions(m, task);
    info.counting = false;
  }
  auto Chunks() {
    return [this](Task task) -> std::uint32_t& { return Info(task).chunk; };
  }

  const SplitwiseSetup& setup_;
  const Workload& workload_;
  router::Placer& placer_;
  const RunOptions& options_;
  std::vector<StepTimes> times_;
  std::vector<Machine> machines_;
  std::vector<Request> requests_;
  EventHeap events_;
  double now_s_ = 0;
  RunResult result_;
  std::int64_t pool_order_ = 0;
  std::int64_t selections_ = 0;
  std::int64_t done_ = 0;  // requests

  // The selection that is being made.
  std::vector<Task> new_tasks_;
  std::size_t kept_ = 0;  // of the machine's decodes
  std::int64_t size_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t memory_ = 0;
};

}  // namespace baton::simulator::splitwise
