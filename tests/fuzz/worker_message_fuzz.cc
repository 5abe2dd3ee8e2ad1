#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/cluster/view.h"
#include "common/cluster/wire.h"
#include "common/cluster/wire.pb.h"
#include "router/policy/admission.h"
#include "router/policy/placement.h"
#include "router/wire_values.h"

/// Any frame from a worker: it is refused, or what comes out is in its ranges and the cluster's accounts
/// stand it.
namespace {

using namespace baton;

void CheckLoad(const cluster::LoadReport& load) {
  cluster::ClusterView view;
  cluster::WorkerDescription about;
  about.id = WorkerId{1};
  about.kv_blocks = 64;
  about.context_tokens = 512;
  view.Apply({TimePoint(), cluster::WorkerJoined{about}});
  view.Apply({TimePoint(), cluster::LoadReported{WorkerId{1}, load}});
  const cluster::ClusterSnapshot snapshot = view.Snapshot();
  BATON_CHECK(snapshot.workers.size() == 1);
  BATON_CHECK(snapshot.workers[0].kv_blocks_free >= 0 && snapshot.workers[0].kv_blocks_free <= 64);
  BATON_CHECK(snapshot.workers[0].queued_prompt_tokens >= 0);
  const cluster::PowerReport& power = snapshot.workers[0].power;
  for (const double watts : {power.watts, power.step_watts, power.idle_watts, power.cap_watts})
    BATON_CHECK(watts >= 0 && watts <= 1e6);
  static_cast<void>(router::Admit(snapshot, {.model = "", .prompt_tokens = 1, .tokens_max = 2}, {}));
  static_cast<void>(router::Place(snapshot, {.model = "", .prompt_tokens = 1, .tokens_max = 2}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  wire::Envelope envelope;
  if (!wire::Decode({reinterpret_cast<const char*>(data), size}, envelope).ok()) return 0;
  if (envelope.has_register_()) {
    const auto about =
        router::ReadRegister(envelope.register_(), {.model_name = envelope.register_().model()});
    BATON_CHECK(!about.ok() || (!about->name.empty() && about->kv_blocks > 0 && about->block_tokens > 0));
  }
  if (envelope.has_load()) {
    if (const auto load = router::ReadLoad(envelope.load()); load.ok()) CheckLoad(*load);
  }
  if (envelope.has_token()) {
    const auto token = router::ReadToken(envelope.token());
    BATON_CHECK(!token.ok() || (token->index >= 0 && token->token >= 0));
  }
  if (envelope.has_released()) {
    const auto release = router::ReadReleased(envelope.released());
    BATON_CHECK(!release.ok() ||
                (release->transfer.wire >= Duration(0) && release->error_message.size() <= 512));
  }
  return 0;
}
