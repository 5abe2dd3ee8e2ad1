#!/usr/bin/env bash
# How long a client waits while its answer moves: one stream with a long prompt at a time, moved from one of two decode
# workers to the other, which has just started, by draining the one that writes it; the next move is of a new answer to
# the same prompt. Prints a Markdown table: each move's wait, beside the time of a step.
#
#   perf/migration_bench.sh                               the perf build, shape 15m, class bf16, 2,000 tokens of prompt
#   perf/migration_bench.sh --build build/release --shape 125m --tokens 1000 --repeat 5
#   perf/migration_bench.sh --warm                        the target answers a short request just before each move
#
# Needs baton-router, baton-prefill, baton-decode and baton-make-checkpoint in BUILD/bin, and curl.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/perf shape=15m compute=bf16 repeat=10 tokens=2000 warm=0
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?}; shift 2 ;;
    --shape) shape=${2:?}; shift 2 ;;
    --compute) compute=${2:?}; shift 2 ;;
    --repeat) repeat=${2:?}; shift 2 ;;
    --tokens) tokens=${2:?}; shift 2 ;;
    --warm) warm=1; shift ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "migration_bench: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done

kv="memory: 512MiB"
. perf/bench_cluster.sh

declare -A worker
# A decode worker of this number, and its metrics' port.
start() {
  local name=decode-$1
  rm -f "$run/$name.ports.json"
  sed -e "s/^name: .*/name: $name/; s|^ports_file: .*|ports_file: $run/$name.ports.json|" "$run/decode.yaml" >"$run/$name.yaml"
  "$build/bin/baton-decode" --config "$run/$name.yaml" 2>>"$run/$name.log" &
  worker[$1]=$!
  pids+=($!)
  await test -s "$run/$name.ports.json"
}
metric() { curl -s "$1/metrics" | awk -v name="$2" 'index($0, name) == 1 {sum += $NF} END {printf "%.9f", sum}'; }
of_worker() { metric "$(metrics_of "decode-$1")" "$2"; }
# By how many ms the sum of a worker's has grown since it was `$3`.
more() { echo "$(of_worker "$1" "$2") $3" | awk '{printf "%.3f", ($1 - $2) * 1000}'; }
# The last pause that a worker's log tells.
paused() { grep answer_moved "$run/decode-$1.log" | grep -oE 'pause_ms"?[:=] ?"?[0-9.]+' | tail -n 1 | grep -oE '[0-9.]+$'; }
decodes_ready() { [ "$(metric "$url" 'baton_workers{phase="decode",state="ready"}')" = 2.000000000 ]; }
has_moved() { [ "$(metric "$url" baton_migration_gap_seconds_count)" = "$1.000000000" ]; }
writes() { [ "$(of_worker "$1" baton_requests_in_flight)" = 1.000000000 ]; }

kill -TERM "${pids[2]}"  # the decode worker that bench_cluster.sh began has another name
wait "${pids[2]}" || true
unset 'pids[2]'
start 0
start 1
await decodes_ready
prompt=$(awk -v n="$tokens" 'BEGIN {for (i = 0; i < n; ++i) printf "%s%d", i ? "," : "", (i * 31) % 250}')
echo "{\"prompt\":[$prompt],\"max_tokens\":100000,\"ignore_eos\":true,\"stream\":true,\"seed\":1}" |
  sed "s/100000/$((8000 - tokens))/" >"$run/body"
# A new answer, on the worker that the router gives it: `from`.
begin() {
  rm -f "$run/stream"
  curl -sN "$url/v1/completions" -H 'Content-Type: application/json' -d "@$run/body" >"$run/stream" &
  stream=$!
  await grep -qs '"text"' "$run/stream"
  from=0
  writes 0 || from=1
}
rest() { for number in 0 1; do [ "$(of_worker $number baton_requests_in_flight)" = 0.000000000 ] || return 1; done; }
echo "shape $shape, class $compute, a prompt of $tokens tokens, $repeat moves; $(machine)"
echo
echo "| move | step before ms | client waits ms | longer by ms | of it stood still to first step begun ms | of it KV there to first step begun ms | source's pause ms |"
echo "|---|---|---|---|---|---|---|"
waits=()
for ((i = 1; i <= repeat; ++i)); do
  await decodes_ready
  await rest
  begin
  await writes "$from"
  kill -0 $stream 2>/dev/null || fail "the answer has ended after $((i - 1)) moves"
  gap=$(metric "$url" baton_migration_gap_seconds_sum)
  steps=$(of_worker "$from" baton_step_duration_seconds_count) busy=$(of_worker "$from" baton_step_duration_seconds_sum)
  read -rt 0.3 <> <(:) || true
  step=$(echo "$(of_worker "$from" baton_step_duration_seconds_sum) $busy $(of_worker "$from" baton_step_duration_seconds_count) $steps" |
    awk '{printf "%.3f", ($1 - $2) / ($3 - $4) * 1000}')
  whole=$(of_worker $((1 - from)) 'baton_handoff_seconds_sum{of="move"}') begun=$(of_worker $((1 - from)) 'baton_handoff_start_seconds_sum{of="move"}')
  if [ $warm = 1 ]; then  # the router places it on the worker that writes nothing
    before=$(of_worker $((1 - from)) baton_generated_tokens_total)
    curl -s "$url/v1/completions" -H 'Content-Type: application/json' -d '{"prompt":[1,2,3,4],"max_tokens":64,"ignore_eos":true}' >/dev/null
    [ "$(of_worker $((1 - from)) baton_generated_tokens_total)" != "$before" ] || fail "the short request went to the other worker"
  fi
  kill -TERM "${worker[$from]}"
  read -rt 1 <> <(:) || true  # two cores: whoever asks meanwhile is in the move's way
  await has_moved "$i"
  wait=$(echo "$(metric "$url" baton_migration_gap_seconds_sum) $gap" | awk '{printf "%.3f", ($1 - $2) * 1000}')
  longer=$(echo "$wait $step" | awk '{printf "%.3f", $1 - $2}')
  echo "| $i | $step | $wait | $longer | $(more $((1 - from)) 'baton_handoff_seconds_sum{of="move"}' "$whole") | $(more $((1 - from)) 'baton_handoff_start_seconds_sum{of="move"}' "$begun") | $(paused "$from") |"
  waits+=("$longer")
  wait "${worker[$from]}" 2>/dev/null || true
  kill $stream 2>/dev/null || true
  start "$from"
done
echo
printf '%s\n' "${waits[@]}" | sort -n | awk '{v[NR] = $1} END {printf "longer than a step by, ms: median %s, largest %s\n", v[int((NR + 1) / 2)], v[NR]}'
