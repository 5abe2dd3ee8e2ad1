#include "decode/decode_service.h"
#include "engine/worker/worker.h"

int main(int argc, char** argv) {
  using namespace baton;
  return engine::RunWorker(
      {.program = {.name = "baton-decode",
                   .summary = "A decode worker of a Baton cluster: receives KV state and writes answers.",
                   .examples = "baton-decode --config deploy/examples/decode.yaml\n"
                               "baton-decode --config decode.yaml --check-config"},
       .prefill = false,
       .create = decode::CreateDecodeService},
      argc, argv);
}
