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

metric() { curl -sf "$url/metrics" | awk -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }'; }
# One prompt, made by the seed: milliseconds from its arrival to its first token, and how many of its tokens were found. Both
# by the router: the random weights' first token may have no text, and then a client does not see it.
ask() {
  local time cached
  time=$(metric baton_time_to_first_token_seconds_sum) cached=$(metric baton_cached_prompt_tokens_total)
  "$build/bin/baton-bench" --url "$url" --seed "$1" --prompt-tokens "$tokens" --requests 1 --concurrency 1 --max-tokens 8 \
    --output json | jq -e '.complete == 1' >/dev/null || fail "no answer"
  echo "$(metric baton_time_to_first_token_seconds_sum) $time $(metric baton_cached_prompt_tokens_total) $cached" |
    awk '{ printf "%.3f %d\n", ($1 - $2) * 1000, $3 - $4 }'
}
median() { cut -d' ' -f1 | sort -g | sed -n "$(((prompts + 1) / 2))p"; }

ask 1000 >/dev/null # warms up
for seed in $(seq 1 "$prompts"); do
  ask "$seed" >>"$run/first"
  ask "$seed" >>"$run/again"
done
first=$(median <"$run/first") again=$(median <"$run/again")
echo "shape $shape, class $compute, $prompts prompts of $tokens tokens, each sent twice; $(machine)"
echo
echo "| TTFT ms | median | least | most | prompt tokens found |"
echo "|---|---|---|---|---|"
for times in first again; do
  sort -g "$run/$times" | awk -v name="$times" -v median="$(median <"$run/$times")" \
    'NR == 1 { least = $1 } { most = $1; found += $2 }
     END { printf "| %s | %.2f | %.2f | %.2f | %d of each |\n", name, median, least, most, found / NR }'
done
echo
awk -v first="$first" -v again="$again" 'BEGIN { printf "%.1f times sooner (medians)\n", first / again }'
