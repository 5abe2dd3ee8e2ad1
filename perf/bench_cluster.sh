# Three processes on loopback for a benchmark script, which sources this file and sets `build`, `shape`, `compute` and
# `kv` (the inside of the workers' kv section); `backend` where it is not the CPU. Sets `url` and ends the processes when the script exits.
run=$(mktemp -d /tmp/baton-bench.XXXXXX)
pids=()
stop() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap stop EXIT
fail() {
  echo "$(basename "$0"): $1" >&2
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
# The port of a listener of the router's, or of another process that has said its ports.
port_of() { grep -oE "\"$1\": ?[0-9]+" "$run/${2:-router}.ports.json" | grep -oE '[0-9]+$'; }
metrics_of() { echo "http://127.0.0.1:$(port_of metrics "$1")"; }
machine() {
  echo "$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores, commit $(git rev-parse --short HEAD)"
}

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
compute: {backend: ${backend:-cpu}, class: $compute, threads: 1}
kv: {$kv}
transfer: {transport: ucx, net_device: lo}
ports_file: $run/$phase.ports.json
YAML
  "$build/bin/baton-$phase" --config "$run/$phase.yaml" 2>"$run/$phase.log" &
  pids+=($!)
done
url="http://127.0.0.1:$(port_of http)"
ready() {
  local status
  exec 3<>"/dev/tcp/127.0.0.1/$(port_of http)" && printf 'GET /ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n' >&3 &&
    read -r status <&3 && [[ $status == *" 200 "* ]]
} 2>/dev/null
await ready
