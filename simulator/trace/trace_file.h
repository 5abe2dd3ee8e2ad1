#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "simulator/workload.h"

/// Traces as files. Four formats are known by what the file begins with:
///   reference  request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size
///   azure      TIMESTAMP,ContextTokens,GeneratedTokens (the Azure public dataset)
///   csv        arrival_s,prompt_tokens,output_tokens and, optional: id, prefix_id, prefix_tokens
///   jsonl      one object a line with the fields of csv
namespace baton::simulator {

enum class TraceFormat { kReference, kAzure, kCsv, kJsonl };

/// Bounds on what a file may hold; the error names the one that it breaks.
struct TraceLimits {
  std::uint64_t file_bytes = std::uint64_t{4} << 30;
  std::int64_t requests = 50'000'000;
  std::int64_t tokens = 16'777'216;  // of one prompt or output
};

/// "reference", "azure", "csv", "jsonl".
[[nodiscard]] std::string_view NameOf(TraceFormat format);
[[nodiscard]] absl::StatusOr<TraceFormat> TraceFormatOf(std::string_view name);

/// Reads `text`, `name` being the file's name for messages ("load.csv:17: prompt_size: -3: ..."). Arrivals
/// may be in any order; the workload is in theirs. The first arrival becomes 0 where it is Azure's, or a day
/// or more: seconds since 1970 and the like. Linear in the text, but for the sort of a file that is out of
/// order.
[[nodiscard]] absl::StatusOr<Workload> ParseTrace(std::string_view text, const std::string& name,
                                                  const TraceLimits& limits = {});
[[nodiscard]] absl::StatusOr<Workload> ReadTrace(const std::string& path, const TraceLimits& limits = {});

/// The workload as a file of `format`. Reference and Azure have no prefixes: these are lost.
[[nodiscard]] std::string FormatTrace(const Workload& workload, TraceFormat format);
/// Writes `text` to `path`; the error names it. "-" is the standard output.
[[nodiscard]] absl::Status WriteText(const std::string& path, std::string_view text);

}  // namespace baton::simulator
