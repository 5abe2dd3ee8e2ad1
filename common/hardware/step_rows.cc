#include "common/hardware/step_rows.h"

#include <array>

#include "common/base/error.h"
#include "common/hardware/csv_table.h"

namespace baton::hardware {
namespace {

enum Column : std::size_t {
  kModel,  // StartRow reads the first three
  kHardware,
  kDegree,
  kPrompts,
  kPromptTokens,
  kCached,
  kDecodes,
  kContext,
  kSeconds
};
constexpr std::array<std::string_view, 9> kNames = {"model",   "hardware",       "tensor_parallel",
                                                    "prompts", "prompt_tokens",  "cached_tokens",
                                                    "decodes", "context_tokens", "seconds"};
constexpr std::int64_t kTokensMax = 1'000'000'000;
constexpr std::int64_t kSequencesMax = 100'000;

StepRow RowOf(CsvTable& table) {
  auto row = StartRow<StepRow>(table);
  row.prompts = table.Number<std::int64_t>(kPrompts, 0, kSequencesMax);
  row.prompt_tokens = table.Number<std::int64_t>(kPromptTokens, 0, kTokensMax);
  row.cached_tokens = table.Number<std::int64_t>(kCached, 0, kTokensMax);
  row.decodes = table.Number<std::int64_t>(kDecodes, 0, kSequencesMax);
  row.context_tokens = table.Number<std::int64_t>(kContext, 0, kTokensMax);
  row.seconds = table.Number(kSeconds, 1e-9, 1e6);
  if (row.prompt_tokens < row.prompts)
    table.Problem("prompt_tokens",
                  fmt::format("{} are fewer than {} prompts", row.prompt_tokens, row.prompts));
  if (row.prompts == 0 && row.prompt_tokens + row.cached_tokens > 0)
    table.Problem("prompts", "is 0 beside tokens of prompts");
  if (row.context_tokens < row.decodes)
    table.Problem("context_tokens",
                  fmt::format("{} are fewer than {} decodes", row.context_tokens, row.decodes));
  if (row.prompts == 0 && row.decodes == 0) table.Problem("decodes", "and prompts are 0: a step has one");
  return row;
}

}  // namespace

bool IsStepCsv(std::string_view text) {
  const std::string_view header = text.substr(0, text.find('\n'));
  return header.find(kNames[kContext]) != std::string_view::npos &&
         header.find("prompt_time") == std::string_view::npos;
}

absl::StatusOr<std::vector<StepRow>> ParseStepCsv(std::string_view text, std::string_view name) {
  CsvTable table(name, kNames, kNames.size());
  std::vector<StepRow> rows;
  BATON_RETURN_IF_ERROR(table.Read(text, [&] { rows.push_back(RowOf(table)); }));
  return rows;
}

}  // namespace baton::hardware
