#!/usr/bin/env bash
# Baton in one command: installs packages, builds, starts a router, a prefill and a decode daemon on this machine with
# the demo model, and streams an answer. Everything it started ends with it.
#
#   deploy/quickstart.sh                                one answer, then stop
#   deploy/quickstart.sh --prompt "And the LORD said"   your own words
#   deploy/quickstart.sh --port 8080 --keep             stay up for curl and any OpenAI client, until Ctrl-C
#
# Options:
#   --prompt TEXT   what to say to the model (it babbles in the style of the King James Bible)
#   --port N        port of the API on 127.0.0.1 (default: a free one)
#   --keep          keep serving until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."

prompt="In the beginning God created the heaven and the earth."
port=0
keep=false
while [ $# -gt 0 ]; do
  case "$1" in
    --prompt) prompt=${2:?--prompt needs a text}; shift 2 ;;
    --port) port=${2:?--port needs a number}; shift 2 ;;
    --keep) keep=true; shift ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
case "$port" in *[!0-9]* | '') echo "quickstart: --port wants a number, got '$port'" >&2; exit 2 ;; esac

step() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

build=build/quickstart
step "packages"
deploy/install-packages.sh build run
step "build ($build; minutes the first time, seconds after)"
mkdir -p build
if ! { cmake --preset quickstart && cmake --build --preset quickstart; } >build/quickstart.log 2>&1; then
  tail -n 40 build/quickstart.log >&2
  echo "quickstart: the build failed; all of it is in build/quickstart.log" >&2
  exit 1
fi

run=$(mktemp -d /tmp/baton-quickstart.XXXXXX)
pids=()
stop() {
  trap - EXIT INT TERM
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "quickstart: $1" >&2
  tail -n 15 "$run"/*.log >&2 || true
  exit 1
}

# Waits for a file that a daemon writes once it listens; gives up when the daemon has ended or after 60 s.
wait_for_file() {
  local file=$1 pid=$2 begin=$SECONDS
  until [ -s "$file" ]; do
    kill -0 "$pid" 2>/dev/null || fail "a daemon ended while starting (its log follows)"
    [ $((SECONDS - begin)) -lt 60 ] || fail "no $file after 60 s"
    read -rt 0.1 <> <(:) || true
  done
}
port_of() { grep -oE "\"$2\": ?[0-9]+" "$1" | grep -oE '[0-9]+$'; }

cat >"$run/router.yaml" <<EOF
model: $PWD/deploy/demo-model
model_name: baton-demo
http: {listen: "127.0.0.1:$port"}
control: {listen: "127.0.0.1:0"}
ports_file: $run/router.ports.json
EOF

step "start: router, prefill, decode"
"$build/bin/baton-router" --config "$run/router.yaml" 2>"$run/router.log" &
pids+=($!)
wait_for_file "$run/router.ports.json" "${pids[0]}"
http=$(port_of "$run/router.ports.json" http)
control=$(port_of "$run/router.ports.json" control)

for phase in prefill decode; do
  cat >"$run/$phase.yaml" <<EOF
name: $phase-0
model: $PWD/deploy/demo-model
model_name: baton-demo
router: "127.0.0.1:$control"
peer: {listen: "127.0.0.1:0"}
metrics: {listen: "127.0.0.1:0"}
compute: {class: bf16, threads: 1}
kv: {memory: 64MiB}
transfer: {transport: ucx, net_device: lo}
EOF
  "$build/bin/baton-$phase" --config "$run/$phase.yaml" 2>"$run/$phase.log" &
  pids+=($!)
done

begin=$SECONDS
until curl -sf -o /dev/null "http://127.0.0.1:$http/ready"; do
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || fail "a daemon ended while starting (its log follows)"; done
  [ $((SECONDS - begin)) -lt 60 ] || fail "not ready after 60 s: $(curl -s "http://127.0.0.1:$http/ready" || true)"
  read -rt 0.1 <> <(:) || true
done

step "ask: $prompt"
"$build/bin/baton-bench" chat --url "http://127.0.0.1:$http" --prompt "$prompt" || fail "no answer"

cat >&2 <<EOF

The API: http://127.0.0.1:$http/v1   (metrics: http://127.0.0.1:$http/metrics)
Go on with:
  curl -N http://127.0.0.1:$http/v1/chat/completions -H 'content-type: application/json' -d '{"model": "baton-demo", "stream": true, "max_tokens": 60, "messages": [{"role": "user", "content": "Let there be light"}]}'
EOF
if $keep; then
  echo "Serving until Ctrl-C; logs in $run" >&2
  wait -n "${pids[@]}" || true
  fail "a daemon ended"
fi
echo "(the daemons stop now; --keep leaves them up)" >&2
