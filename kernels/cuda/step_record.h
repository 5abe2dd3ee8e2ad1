#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {

/// What a step enqueues, written down instead of done: launches with all their arguments, and copies. Two
/// equal records are the same work on the same memory, whatever lies there. One thread.
class StepRecord {
 public:
  /// For the queue's argument of RecordingLaunches.
  [[nodiscard]] Queue AsQueue() { return this; }
  template <auto member, typename... Arguments>
  void AddLaunch(const Arguments&... arguments) {
    calls_.push_back(std::make_unique<LaunchCall<member, Arguments...>>(arguments...));
  }
  void AddCopy(void* to, const void* from, std::size_t bytes) {
    calls_.push_back(std::make_unique<CopyCall>(to, from, bytes));
  }
  [[nodiscard]] bool Empty() const { return calls_.empty(); }
  /// Does all of it on the device's main queue.
  void Enqueue(Device& device) const {
    for (const auto& call : calls_) call->Enqueue(device);
  }
  friend bool operator==(const StepRecord& a, const StepRecord& b) {
    if (a.calls_.size() != b.calls_.size()) return false;
    for (std::size_t i = 0; i < a.calls_.size(); ++i) {
      if (!a.calls_[i]->Same(*b.calls_[i])) return false;
    }
    return true;
  }

 private:
  struct Call {
    virtual ~Call() = default;
    [[nodiscard]] virtual bool Same(const Call& other) const = 0;
    virtual void Enqueue(Device& device) const = 0;
  };
  template <auto member, typename... Arguments>
  struct LaunchCall final : Call {
    explicit LaunchCall(const Arguments&... all) : arguments(all...) {}
    bool Same(const Call& other) const override {
      const auto* same = dynamic_cast<const LaunchCall*>(&other);
      return same != nullptr && same->arguments == arguments;
    }
    void Enqueue(Device& device) const override {
      std::apply([&](const Arguments&... all) { (device.Kernels().*member)(device.MainQueue(), all...); },
                 arguments);
    }
    const std::tuple<Arguments...> arguments;
  };
  struct CopyCall final : Call {
    CopyCall(void* target, const void* source, std::size_t count) : to(target), from(source), bytes(count) {}
    bool Same(const Call& other) const override {
      const auto* same = dynamic_cast<const CopyCall*>(&other);
      return same != nullptr && same->to == to && same->from == from && same->bytes == bytes;
    }
    void Enqueue(Device& device) const override { device.Copy(to, from, bytes); }
    void* const to;
    const void* const from;
    const std::size_t bytes;
  };

  std::vector<std::unique_ptr<Call>> calls_;
};

/// Launches that are written into the StepRecord that stands for the queue.
[[nodiscard]] const Launches& RecordingLaunches();

}  // namespace baton::kernels::cuda
