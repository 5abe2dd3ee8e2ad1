#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::simulator {

/// Transfers between machines that share their network cards: each flow takes of the sender's outgoing and
/// the receiver's incoming bandwidth, and rates are max-min fair (Bertsekas and Gallager, Data
/// Networks, 6.5.2): no flow can have more but at the cost of one that has no more than it. Fluid: no
/// packets, no latency.
class FairNetwork {
 public:
  /// `bandwidth`: of each machine's card, bytes/s in each direction.
  explicit FairNetwork(std::vector<double> bandwidth) : bandwidth_(std::move(bandwidth)) {}

  struct Flow {
    std::uint32_t id = 0;
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    double bytes = 0;  // left
    double rate = 0;
  };

  /// Times do not go back from call to call.
  void Start(double now_s, const Flow& flow);
  /// Forgets a flow, if it is there.
  void Cancel(double now_s, std::uint32_t id);
  /// When the next flow ends, as rates are now; infinite without flows.
  [[nodiscard]] double NextEnd() const;
  /// The flows that have ended at `now_s`, in order of their start.
  [[nodiscard]] std::vector<std::uint32_t> Finish(double now_s);
  [[nodiscard]] const std::vector<Flow>& Flows() const { return flows_; }

 private:
  void Advance(double now_s);
  void Share();

  std::vector<double> bandwidth_;
  std::vector<Flow> flows_;
  double now_s_ = 0;
  // Of Share: outgoing cards first, then incoming.
  std::vector<double> left_;
  std::vector<std::int32_t> sharing_;
};

}  // namespace baton::simulator
