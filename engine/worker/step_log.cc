#include "engine/worker/step_log.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/units.h"

namespace baton::engine {
namespace {

// As common/hardware/step_rows.h reads it.
constexpr std::string_view kHeader =
    "model,hardware,tensor_parallel,prompts,prompt_tokens,cached_tokens,decodes,context_tokens,seconds";
constexpr std::size_t kBehindBytesMax = 1U << 20;  // that may wait for the disk: 15,000 steps or more

/// A name as a cell: what would end the cell or the line is replaced.
std::string Cell(std::string name) {
  for (char& c : name) {
    if (c == ',' || static_cast<unsigned char>(c) < 0x20) c = '_';
  }
  return name;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepLog>> StepLog::Open(const StepLogConfig& config,
                                                       const StepLogSubject& subject) {
  auto file = daemon::LineFile::Open(config.file, "steps_file");
  if (!file.ok()) return Annotate(file.status(), "telemetry.steps_file");
  LogInfo("steps_file_started", {{"file", config.file}, {"limit", FormatBytes(config.limit_bytes)}});
  return std::make_unique<StepLog>(*std::move(file), config.limit_bytes, subject);
}

StepLog::StepLog(std::unique_ptr<daemon::LineFile> file, std::uint64_t limit_bytes,
                 const StepLogSubject& subject)
    : file_(std::move(file)),
      limit_bytes_(limit_bytes),
      subject_(fmt::format("{},{},{}", Cell(subject.model), Cell(subject.hardware), subject.ranks)) {
  file_->Append(kHeader);
}

void StepLog::Add(const StepReport& step) {
  if (ended_ || file_->Failed()) return;
  std::int64_t prompts = 0;
  std::int64_t cached = 0;
  std::int64_t decodes = 0;
  std::int64_t context = 0;
  for (const StepPart& part : step.parts) {
    if (part.decoding) {
      ++decodes;
      context += part.positions;
    } else {
      ++prompts;
      cached += part.positions - part.tokens;
    }
  }
  const std::string row = fmt::format("{},{},{},{},{},{},{:.9f}", subject_, prompts, step.prompt_tokens,
                                      cached, decodes, context, Seconds(step.duration));
  if (file_->Bytes() + row.size() + 1 > limit_bytes_) return End("limit");
  if (file_->Append(row) > kBehindBytesMax) End("slow disk");
}

void StepLog::End(const char* why) {
  ended_ = true;
  LogWarning(
      "steps_file_ended",
      {{"file", file_->Name()}, {"reason", why}, {"lines", file_->Lines()}, {"bytes", file_->Bytes()}});
}

}  // namespace baton::engine
