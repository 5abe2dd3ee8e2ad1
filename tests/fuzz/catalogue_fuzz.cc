#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/hardware/catalogue.h"
#include "common/hardware/perf_model.h"

/// Any text as a user's catalogue: reading survives, every problem names the file, and what is accepted gives
/// models of time whose steps are neither negative nor endless.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton::hardware;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto catalogue = Catalogue::FromText(text, "f");
  if (!catalogue.ok()) {
    BATON_CHECK(baton::Message(catalogue.status()).starts_with("f:"));
    return 0;
  }
  const PromptPiece piece{.tokens = 1000, .cached = 24};
  const StepWork work{.prompts = {&piece, 1}, .decodes = 3, .decode_context = 3000};
  for (const auto& [name, machine] : catalogue->Machines()) {
    for (const PerfKind kind : {PerfKind::kBest, PerfKind::kTable, PerfKind::kReference}) {
      const auto model = MakePerfModel(*catalogue, {.model = "llama2-70b", .machine = name}, kind);
      if (!model.ok()) continue;
      const StepTime time = (*model)->Time(work);
      BATON_CHECK(std::isfinite(time.seconds) && time.sigma >= 0, "{}: {} s", name, time.seconds);
      BATON_CHECK(time.seconds >= 0 || kind == PerfKind::kReference, "{}: {} s", name, time.seconds);
    }
  }
  return 0;
}
