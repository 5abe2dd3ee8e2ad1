#include "router/record/recorder.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/units.h"

namespace baton::router {
namespace {

// What the end line takes, at most.
constexpr std::uint64_t kEndBytes = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Recorder>> Recorder::Open(RecorderOptions options,
                                                         const RecordingStart& start) {
  auto file = daemon::LineFile::Open(options.file, "recording");
  if (!file.ok()) return Annotate(file.status(), "recording");
  auto recorder = std::make_unique<Recorder>(std::move(options), *std::move(file));
  recorder->Add(start);
  LogInfo("recording_started",
          {{"file", recorder->file_->Name()}, {"limit", FormatBytes(recorder->options_.limit_bytes)}});
  return recorder;
}

Recorder::Recorder(RecorderOptions options, std::unique_ptr<daemon::LineFile> file)
    : options_(std::move(options)), file_(std::move(file)) {}

Recorder::~Recorder() {
  if (Going()) End("closed");
}

void Recorder::Event(const cluster::ClusterEvent& event) {
  if (Going()) Add(event);
}

void Recorder::Admitted(RequestId request, const RequestSize& size, const cluster::ClusterSnapshot& seen,
                        std::optional<Refusal> refusal) {
  if (!Going()) return;
  Add(AdmitDecision{.request = request, .size = Own(size), .view = Digest(seen), .refusal = refusal});
}

void Recorder::Placed(RequestKey key, const RequestSize& size, const cluster::ClusterSnapshot& seen,
                      const PlacementResult& result) {
  if (!Going()) return;
  Add(PlaceDecision{.key = key,
                    .size = Own(size),
                    .view = Digest(seen),
                    .placement = result.placement,
                    .pairs = std::ssize(result.scores),
                    .scores = Digest(result.scores)});
}

void Recorder::Ready(const cluster::ClusterSnapshot& seen, std::optional<Refusal> refusal) {
  if (Going()) Add(ReadyDecision{.view = Digest(seen), .refusal = refusal});
}

template <typename T>
void Recorder::Add(const T& entry) {
  const std::string line = FormatEntry(entry);
  if (file_->Bytes() + line.size() + 1 + kEndBytes > options_.limit_bytes) return End("limit");
  if (file_->Append(line) > options_.behind_bytes_max) End("slow disk");
}

void Recorder::End(const char* why) {
  const std::int64_t lines = file_->Lines();
  ended_ = true;
  file_->Append(FormatEntry(RecordingEnd{.why = why, .lines = lines}));
  const bool closed = std::string_view(why) == "closed";
  Log(closed ? LogLevel::kInfo : LogLevel::kWarning, "recording_ended",
      {{"file", file_->Name()}, {"reason", why}, {"lines", lines}, {"bytes", file_->Bytes()}});
}

}  // namespace baton::router
