#include "engine/worker/worker.h"
#include "prefill/prefill_service.h"

int main(int argc, char** argv) {
  using namespace baton;
  return engine::RunWorker(
      {.program = {.name = "baton-prefill",
                   .summary =
                       "A prefill worker of a Baton cluster: reads prompts and hands their KV state on.",
                   .examples = "baton-prefill --config deploy/examples/prefill.yaml\n"
                               "baton-prefill --config prefill.yaml --check-config"},
       .prefill = true,
       .create = prefill::CreatePrefillService},
      argc, argv);
}
