#!/usr/bin/env bash
# How much sooner a prompt's answer begins when the prefill worker knows the prompt: three processes on loopback, each
# prompt of random tokens sent twice, one request at a time. Prints a Markdown table.
#
#   perf/prefix_bench.sh                               the perf build, shape 15m, class bf16, 2,000 tokens
#   perf/prefix_bench.sh --build build/release --tokens 4000 --prompts 9
#
# Needs baton-router, baton-prefill, baton-decode, baton-bench and baton-make-checkpoint in BUILD/bin, and jq.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/perf shape=15m compute=bf16 tokens=2000 prompts=5
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?}; shift 2 ;;
    --shape) shape=${2:?}; shift 2 ;;
    --compute) compute=${2:?}; shift 2 ;;
    --tokens) tokens=${2:?}; shift 2 ;;
    --prompts) prompts=${2:?}; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "prefix_bench: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
kv="memory: 512MiB"
. perf/bench_cluster.sh
