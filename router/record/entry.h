#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/cluster/view.h"
#include "router/policy/admission.h"
#include "router/policy/placement.h"

/// The lines of a recording: what the router's view was told, and what was decided upon it. One JSON object a
/// line; docs/RECORDING.md has the format. Prompts, answers and clients are not in it.
namespace baton::router {

inline constexpr int kRecordingVersion = 2;

/// The first line: what decides beside the events.
struct RecordingStart {
  std::string router;  // its version
  std::string model;   // that requests ask for
  AdmissionLimits limits;
};

/// `RequestSize` that owns what it holds; the model is that of the start.
struct RecordedSize {
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens_max = 0;
  std::int64_t sequence_tokens = 0;
  std::vector<HeldPrefix> held;
  std::string numerics_class;  // empty: any
};
[[nodiscard]] RecordedSize Own(const RequestSize& size);
/// Lives no longer than its arguments.
[[nodiscard]] RequestSize Lend(const RecordedSize& size, std::string_view model);

/// `Admit` was called.
struct AdmitDecision {
  RequestId request;
  RecordedSize size;
  std::uint32_t view = 0;  // digest of the snapshot that it saw
  std::optional<Refusal> refusal;
};

/// `Place` was called for an attempt of a request.
struct PlaceDecision {
  RequestKey key;
  RecordedSize size;
  std::uint32_t view = 0;
  std::optional<Placement> placement;  // nothing: the request waits
  std::int64_t pairs = 0;              // that were looked at
  std::uint32_t scores = 0;            // digest of theirs
};

/// `WhyNotReady` was asked whether those that wait still may hope.
struct ReadyDecision {
  std::uint32_t view = 0;
  std::optional<Refusal> refusal;
};

/// The last line. A recording without it broke off.
struct RecordingEnd {
  std::string why;         // "closed", "limit", "slow disk"
  std::int64_t lines = 0;  // before this one
};

using Entry = std::variant<RecordingStart, cluster::ClusterEvent, AdmitDecision, PlaceDecision, ReadyDecision,
                           RecordingEnd>;

/// Bytes that a line may have, its end not counted.
inline constexpr std::size_t kRecordingLineMax = 1U << 20;

/// The entry as a line, without its end.
[[nodiscard]] std::string FormatEntry(const RecordingStart& entry);
[[nodiscard]] std::string FormatEntry(const cluster::ClusterEvent& entry);
[[nodiscard]] std::string FormatEntry(const AdmitDecision& entry);
[[nodiscard]] std::string FormatEntry(const PlaceDecision& entry);
[[nodiscard]] std::string FormatEntry(const ReadyDecision& entry);
[[nodiscard]] std::string FormatEntry(const RecordingEnd& entry);

/// Reads a line: every field there, in its range, and none that is unknown. The error names the field
/// ("links[2].peer: -1 is no whole number from 0 to 4294967295"), not the line's number.
[[nodiscard]] absl::StatusOr<Entry> ParseEntry(std::string_view line);

/// All that a policy sees, as 32 bits: two snapshots that differ have different ones, but for one case in
/// four billions.
[[nodiscard]] std::uint32_t Digest(const cluster::ClusterSnapshot& snapshot);
[[nodiscard]] std::uint32_t Digest(const std::vector<PairScore>& scores);

}  // namespace baton::router
