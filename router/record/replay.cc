#include "router/record/replay.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>
#include <optional>
#include <set>
#include <utility>

#include "common/base/error.h"

namespace baton::router {
namespace {

enum class LineRead { kLine, kCut, kTooLong, kEnd };

/// A line without its end; memory stays within the bound however long it is.
LineRead ReadLine(std::istream& in, std::string& line) {
  line.clear();
  for (int c = in.get(); c != std::istream::traits_type::eof(); c = in.get()) {
    if (c == '\n') return LineRead::kLine;
    if (line.size() == kRecordingLineMax) return LineRead::kTooLong;
    line.push_back(static_cast<char>(c));
  }
  return line.empty() ? LineRead::kEnd : LineRead::kCut;
}

std::string Words(const std::optional<Refusal>& refusal) {
  return refusal ? fmt::format("refused, {}", Name(*refusal)) : "let in";
}

std::string Words(const std::optional<Placement>& placement) {
  if (!placement) return "no place now";
  return fmt::format("prefill {}, decode {}", placement->prefill, placement->decode);
}

bool Equal(const std::optional<Placement>& a, const std::optional<Placement>& b) {
  if (!a || !b) return !a && !b;
  return a->prefill == b->prefill && a->decode == b->decode;
}

class Player {
 public:
  Player(std::string name, const ReplayOptions& options) : name_(std::move(name)), options_(options) {}

  absl::StatusOr<ReplayReport> Play(std::istream& in) {
    std::string text;
    while (true) {
      const LineRead read = ReadLine(in, text);
      if (read == LineRead::kEnd) break;
      ++report_.lines;
      if (read == LineRead::kTooLong) return Wrong("a line of more than {} bytes", kRecordingLineMax);
      if (read == LineRead::kCut && options_.broken_off) {
        --report_.lines;
        break;
      }
      if (read == LineRead::kCut) return BrokenOff("inside this line");
      if (report_.lines > options_.limits.lines) return Wrong("more than {} lines", options_.limits.lines);
      auto entry = ParseEntry(text);
      if (!entry.ok()) return Wrong("{}", Message(entry.status()));
      BATON_RETURN_IF_ERROR(std::visit([this](auto& each) { return On(each); }, *entry));
    }
    if (report_.lines == 0) return Error(kInvalidArgument, "{}: no recording: the file is empty", name_);
    if (!ended_ && !options_.broken_off) return BrokenOff("after this line");
    return std::move(report_);
  }

 private:
  template <typename... Args>
  absl::Status Wrong(fmt::format_string<Args...> format, Args&&... args) const {
    return Error(kInvalidArgument, "{}:{}: {}", name_, report_.lines,
                 fmt::format(format, std::forward<Args>(args)...));
  }
  absl::Status BrokenOff(std::string_view where) const {
    return Wrong(
        "the recording breaks off {}: the router was killed, or the file was cut; --broken-off replays what "
        "is there",
        where);
  }

  /// Every other line lies between the start and the end.
  absl::Status CheckInside() const {
    if (ended_) return Wrong("a line after the end of the recording");
    if (!started_) return Wrong("the recording does not begin with its 'recording' line");
    return absl::OkStatus();
  }

  absl::Status On(RecordingStart& start) {
    if (report_.lines != 1) return Wrong("a second beginning");
    started_ = true;
    report_.start = std::move(start);
    report_.end = "broken off";
    return absl::OkStatus();
  }

  absl::Status On(const RecordingEnd& end) {
    BATON_RETURN_IF_ERROR(CheckInside());
    if (end.lines != report_.lines - 1)
      return Wrong("{} lines were recorded, {} are here", end.lines, report_.lines - 1);
    ended_ = true;
    report_.end = end.why;
    return absl::OkStatus();
  }

  absl::Status On(const cluster::ClusterEvent& event) {
    BATON_RETURN_IF_ERROR(CheckInside());
    if (const auto* joined = std::get_if<cluster::WorkerJoined>(&event.what)) {
      workers_.insert(joined->worker.id);
      ++report_.workers;
    } else if (const auto* left = std::get_if<cluster::WorkerLeft>(&event.what)) {
      workers_.erase(left->worker);
    }
    if (workers_.size() > options_.limits.workers)
      return Wrong("more than {} workers at once", options_.limits.workers);
    view_.Apply(event);
    if (view_.LiveRequests() > options_.limits.requests)
      return Wrong("more than {} requests at once", options_.limits.requests);
    if (report_.events++ == 0) first_ = event.at;
    report_.span = std::max(report_.span, event.at - first_);
    return absl::OkStatus();
  }

  absl::Status On(const AdmitDecision& recorded) {
    BATON_RETURN_IF_ERROR(CheckInside());
    const cluster::ClusterSnapshot snapshot = view_.Snapshot();
    const auto refusal = Admit(snapshot, Lend(recorded.size, report_.start.model), report_.start.limits);
    Compare(report_.admit, fmt::format("admit {:x}", recorded.request.value),
            {{recorded.refusal == refusal, Words(recorded.refusal), Words(refusal)},
             View(recorded.view, snapshot)});
    return absl::OkStatus();
  }

  absl::Status On(const PlaceDecision& recorded) {
    BATON_RETURN_IF_ERROR(CheckInside());
    const cluster::ClusterSnapshot snapshot = view_.Snapshot();
    const PlacementResult result = Place(snapshot, Lend(recorded.size, report_.start.model));
    const std::uint32_t scores = Digest(result.scores);
    Compare(
        report_.place, fmt::format("place {}", recorded.key),
        {{Equal(recorded.placement, result.placement), Words(recorded.placement), Words(result.placement)},
         {recorded.pairs == std::ssize(result.scores), fmt::format("{} pairs looked at", recorded.pairs),
          fmt::format("{}", result.scores.size())},
         {recorded.scores == scores, fmt::format("scores {:08x}", recorded.scores),
          fmt::format("{:08x}", scores)},
         View(recorded.view, snapshot)});
    return absl::OkStatus();
  }

  absl::Status On(const ReadyDecision& recorded) {
    BATON_RETURN_IF_ERROR(CheckInside());
    const cluster::ClusterSnapshot snapshot = view_.Snapshot();
    const auto refusal = WhyNotReady(snapshot, report_.start.model);
    Compare(report_.ready, "ready",
            {{recorded.refusal == refusal, Words(recorded.refusal), Words(refusal)},
             View(recorded.view, snapshot)});
    return absl::OkStatus();
  }

  /// One thing that a decision is compared by.
  struct Aspect {
    bool same = true;
    std::string recorded;
    std::string replayed;
  };
  static Aspect View(std::uint32_t recorded, const cluster::ClusterSnapshot& snapshot) {
    const std::uint32_t replayed = Digest(snapshot);
    return {recorded == replayed, fmt::format("cluster as seen {:08x}", recorded),
            fmt::format("{:08x}", replayed)};
  }
  /// The first aspect that differs, the decision itself before what led to it, is put into words.
  void Compare(DecisionCount& count, const std::string& decision, std::initializer_list<Aspect> aspects) {
    ++count.made;
    for (const Aspect& aspect : aspects) {
      if (aspect.same) continue;
      if (report_.differences.size() < options_.differences_max) {
        report_.differences.push_back({report_.lines, fmt::format("{}: recorded {}; replayed {}", decision,
                                                                  aspect.recorded, aspect.replayed)});
      }
      return;
    }
    ++count.same;
  }

  const std::string name_;
  const ReplayOptions options_;
  cluster::ClusterView view_;
  std::set<WorkerId> workers_;
  ReplayReport report_;
  TimePoint first_;
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace

absl::StatusOr<ReplayReport> Replay(std::istream& in, const std::string& name, const ReplayOptions& options) {
  return Player(name, options).Play(in);
}

absl::StatusOr<ReplayReport> ReplayFile(const std::string& path, const ReplayOptions& options) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(kNotFound, "{}: {}", path, std::strerror(errno));
  return Replay(in, path, options);
}

}  // namespace baton::router
