#!/usr/bin/env bash
# The KV hand-off between three processes on loopback: one request at a time, prompts of growing length: from the end
# of the prompt's last step to the answer's first one, split into wire and other. Prints a Markdown table.
#
#   perf/handoff_bench.sh                               the perf build, shape 15m, class bf16
#   perf/handoff_bench.sh --build build/release --shape 125m --compute f32 --repeat 10
#   perf/handoff_bench.sh --backend cuda --shape 1.1b    both workers on GPU 0: from its memory through the host's into it
#
# Needs baton-router, baton-prefill, baton-decode, baton-bench and baton-make-checkpoint in BUILD/bin.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/perf shape=15m compute=bf16 repeat=20 backend=cpu
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?}; shift 2 ;;
    --shape) shape=${2:?}; shift 2 ;;
    --compute) compute=${2:?}; shift 2 ;;
    --backend) backend=${2:?}; shift 2 ;;
    --repeat) repeat=${2:?}; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "handoff_bench: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done

# Without the prefix cache: a prompt that begins like an earlier one would not be computed.
kv="memory: 512MiB, prefix_cache: false"
. perf/bench_cluster.sh

sweep=("$build/bin/baton-bench" handoff --url "$url" --prefill "$(metrics_of prefill)" --decode "$(metrics_of decode)")
"${sweep[@]}" --lengths 128 --repeat 2 >/dev/null || fail "no answer"  # warms up
echo "shape $shape, $backend, class $compute, $repeat requests of each length; $(machine), load $(cut -d' ' -f1 /proc/loadavg)"
echo
"${sweep[@]}" --repeat "$repeat" || fail "no answer"
