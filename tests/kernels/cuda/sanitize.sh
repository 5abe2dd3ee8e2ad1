#!/usr/bin/env bash
# The kernels' tests on a GPU under one of compute-sanitizer's tools; the CPU's and the emulated cases are left out.
#
#   sanitize.sh memcheck|racecheck|synccheck TEST_KERNELS COMPUTE_SANITIZER     exit 77: there is no GPU or no such program, said aloud
set -euo pipefail
tool=$1 program=$2 sanitizer=$3
if [[ ! -x $sanitizer ]]; then
  echo "SKIPPED: no compute-sanitizer to run $program under (it comes with the CUDA toolkit)"
  exit 77
fi
if ! gpus=$(nvidia-smi -L 2>&1); then
  echo "SKIPPED: no GPU to run $program on: nvidia-smi says: $gpus"
  exit 77
fi
BATON_TEST_BACKENDS=GPU exec "$sanitizer" --tool "$tool" --error-exitcode 1 "$program" -# \
  "[#attention_test],[#batch_invariance_test],[#conformance_test]"
