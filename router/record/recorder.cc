#include "router/record/recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/units.h"

namespace baton::router {
namespace {

// What the end line takes, at most.
constexpr std::uint64_t kEndBytes = 64;
// Written at least so often, so that a router that is killed loses little.
constexpr std::chrono::milliseconds kWriteEvery{200};
// So much waits for the next time; more is written at once.
constexpr std::size_t kWriteAtBytes = 256U << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<Recorder>> Recorder::Open(RecorderOptions options,
                                                         const RecordingStart& start) {
  std::error_code error;
  // Nothing but a file is moved away: a device or a folder makes open() fail, with its reason.
  if (std::filesystem::symlink_status(options.file, error).type() == std::filesystem::file_type::regular) {
    std::filesystem::rename(options.file, options.file + ".old", error);
    if (error)
      return Error(kFailedPrecondition, "recording {}: cannot be renamed to {}.old: {}", options.file,
                   options.file, error.message());
  }
  const int descriptor = open(options.file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0)
    return Error(kFailedPrecondition, "recording {}: {}", options.file, std::strerror(errno));
  auto recorder = std::make_unique<Recorder>(std::move(options), descriptor);
  recorder->Add(start);
  LogInfo("recording_started",
          {{"file", recorder->options_.file}, {"limit", FormatBytes(recorder->options_.limit_bytes)}});
  return recorder;
}

Recorder::Recorder(RecorderOptions options, int descriptor)
    : options_(std::move(options)), descriptor_(descriptor), writer_([this] { WriteUntilClosed(); }) {}

Recorder::~Recorder() {
  if (Going()) End("closed");
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  writer_.join();
  close(descriptor_);
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
  if (bytes_ + line.size() + 1 + kEndBytes > options_.limit_bytes) return End("limit");
  if (Append(line) > options_.behind_bytes_max) End("slow disk");
}

void Recorder::End(const char* why) {
  const std::int64_t lines = lines_;
  ended_ = true;
  Append(FormatEntry(RecordingEnd{.why = why, .lines = lines}));
  const bool closed = std::string_view(why) == "closed";
  Log(closed ? LogLevel::kInfo : LogLevel::kWarning, "recording_ended",
      {{"file", options_.file}, {"reason", why}, {"lines", lines}, {"bytes", bytes_}});
}

std::size_t Recorder::Append(std::string_view line) {
  std::size_t waiting = 0;
  {
    const MutexLock lock(mutex_);
    pending_ += line;
    pending_ += '\n';
    waiting = pending_.size();
  }
  bytes_ += line.size() + 1;
  ++lines_;
  if (waiting > kWriteAtBytes) wake_.notify_one();
  return waiting;
}

void Recorder::WriteUntilClosed() {
  bool closing = false;
  while (!closing) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kWriteEvery, [this] { return closing_ || pending_.size() > kWriteAtBytes; });
      closing = closing_;
      text = std::exchange(pending_, {});
    }
    if (failed_ || WriteAll(text)) continue;
    failed_ = true;
    LogWarning("recording_failed", {{"file", options_.file}, {"error", std::strerror(errno)}});
  }
}

bool Recorder::WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace baton::router
