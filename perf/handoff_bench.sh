#!/usr/bin/env bash
# The KV hand-off between three processes on loopback: one request at a time, prompts of growing length, the time split
# into wire and other. Prints a Markdown table.
#
#   perf/handoff_bench.sh                               the perf build, shape 15m, class bf16
#   perf/handoff_bench.sh --build build/release --shape 125m --compute f32 --repeat 10
#
# Needs baton-router, baton-prefill, baton-decode, baton-bench and baton-make-checkpoint in BUILD/bin.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/perf shape=15m compute=bf16 repeat=5
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?}; shift 2 ;;
    --shape) shape=${2:?}; shift 2 ;;
    --compute) compute=${2:?}; shift 2 ;;
    --repeat) repeat=${2:?}; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "handoff_bench: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done

run=$(mktemp -d /tmp/baton-handoff.XXXXXX)
pids=()
stop() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap stop EXIT
fail() {
  echo "handoff_bench: $1" >&2
  tail -n 15 "$run"/*.log >&2 || true
  exit 1
}
# Waits, at most 60 s, until the rest of the line succeeds as a command.
await() {
  local begin=$SECONDS
  until "$@"; do
    [ $((SECONDS - begin)) -lt 60 ] || fail "waited too long for: $*"
    read -rt 0.1 <> <(:) || true
  done
}
port_of() { grep -oE "\"$1\": ?[0-9]+" "$run/router.ports.json" | grep -oE '[0-9]+$'; }

"$build/bin/baton-make-checkpoint" --shape "$shape" --tokenizer deploy/demo-model --out "$run/model" >&2
cat >"$run/router.yaml" <<YAML
model: $run/model
model_name: bench
http: {listen: "127.0.0.1:0"}
control: {listen: "127.0.0.1:0"}
ports_file: $run/router.ports.json
YAML
"$build/bin/baton-router" --config "$run/router.yaml" 2>"$run/router.log" &
pids+=($!)
await test -s "$run/router.ports.json"
for phase in prefill decode; do
  cat >"$run/$phase.yaml" <<YAML
name: $phase-0
model: $run/model
model_name: bench
router: "127.0.0.1:$(port_of control)"
peer: {listen: "127.0.0.1:0"}
metrics: {listen: "127.0.0.1:0"}
compute: {class: $compute, threads: 1}
kv: {memory: 512MiB}
transfer: {transport: ucx, net_device: lo}
YAML
  "$build/bin/baton-$phase" --config "$run/$phase.yaml" 2>"$run/$phase.log" &
  pids+=($!)
done
url="http://127.0.0.1:$(port_of http)"
await curl -sf -o /dev/null "$url/ready"

"$build/bin/baton-bench" handoff --url "$url" --lengths 128 --repeat 2 >/dev/null || fail "no answer"  # warms up
echo "shape $shape, class $compute, $repeat requests of each length, means; $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores, commit $(git rev-parse --short HEAD)"
echo
"$build/bin/baton-bench" handoff --url "$url" --repeat "$repeat" || fail "no answer"
