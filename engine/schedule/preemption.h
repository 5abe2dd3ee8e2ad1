#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

/// Which running answer makes room for an older one, and how: pure functions that daemons and simulator
/// share.
namespace baton::engine {

/// What becomes of the KV of a preempted sequence.
enum class Preemption {
  kRecompute,  // dropped; prompt and answer so far are computed again
  kSwap,       // copied to host memory, and back
};

/// How fast this machine is, as measured.
struct PreemptionRates {
  double swap_out_bytes_per_second = 0;  // 0: not known, as slow as can be
  double swap_in_bytes_per_second = 0;
  double prompt_tokens_per_second = 0;
};

/// A sequence that could make room.
struct VictimView {
  std::int64_t arrival = 0;       // rises; the younger has the greater
  std::int64_t tokens = 0;        // positions whose KV it has
  std::int64_t swap_bytes = 0;    // of that KV
  bool swap_has_room = false;     // in the host area, for all of it
  std::int64_t frees_blocks = 0;  // blocks that nobody else uses
};

struct PreemptionPlan {
  Preemption kind = Preemption::kRecompute;
  double seconds = 0;  // of the machine's time, until the sequence stands where it stood
};

/// What preempting costs: there and back at the measured bandwidth, or its tokens at the measured prefill
/// rate; the cheaper of the two (vLLM, SOSP 2023, section 4.5, has both and leaves the choice to the
/// operator). A rate that is not known is never the cheaper one. `forced` leaves no choice, but a swap
/// without room is a recomputation still.
[[nodiscard]] PreemptionPlan PreemptionCost(const VictimView& victim, const PreemptionRates& rates,
                                            std::optional<Preemption> forced = std::nullopt);

struct Victim {
  std::size_t index = 0;  // of the candidates
  PreemptionPlan plan;
};

/// The candidate that costs least for each block that it frees; of those within a quarter of it the youngest,
/// which has waited least. Nothing where no candidate frees a block. The caller leaves out whoever must not
/// be touched: the oldest sequence above all, else nobody might ever finish.
[[nodiscard]] std::optional<Victim> ChooseVictim(std::span<const VictimView> candidates,
                                                 const PreemptionRates& rates,
                                                 std::optional<Preemption> forced = std::nullopt);

}  // namespace baton::engine
