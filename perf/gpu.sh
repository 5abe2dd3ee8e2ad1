#!/usr/bin/env bash
# The CUDA backend on a machine with a GPU, nvcc, cmake and g++, and no network: builds it, runs the conformance suite, the golden
# models and pairs of workers on the GPU, measures, and writes perf/results/gpu-<name>.txt. Ends by itself within 8 minutes.
#
#   perf/gpu.sh carry OUT.tar.gz        on Debian 12 with deploy/packages.txt: packs what such a machine lacks (glibc 2.36 or later)
#   perf/gpu.sh run [LIBRARIES.tar.gz]  on the machine with the GPU; 25 GB of disk or /dev/shm, 60 GB of memory, 24 GB of the GPU's
#   perf/gpu.sh summary RESULT          what a result file says of each bar
#
# Figures are held against peaks that are measured in the same minutes: cuBLASLt's product, a copy within the GPU's memory.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the build finds on a Debian 12 and a bare machine lacks; each package's headers, archives, shared objects, programs and CMake files.
packages=(ninja-build pkgconf pkgconf-bin libpkgconf3 libabsl-dev libabsl20220623 libfmt-dev libfmt9 libspdlog-dev libspdlog1.10 catch2 libbenchmark-dev libbenchmark1debian
  libyaml-cpp-dev libyaml-cpp0.7 prometheus-cpp-dev libprometheus-cpp-core1.0 libprometheus-cpp-pull1.0 libprometheus-cpp-push1.0
  libcli11-dev libprotobuf-dev libprotobuf32 libprotoc32 protobuf-compiler libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2
  libucx-dev libucx0 libnuma1 libssl-dev libssl3 zlib1g-dev zlib1g libcurl4-openssl-dev libcurl4 civetweb libcivetweb-dev libcivetweb1 libboost1.81-dev libboost-json1.81-dev libboost-json1.81.0
  libboost-container1.81-dev libboost-container1.81.0 libboost-system1.81-dev libboost-system1.81.0)

carry() {
  local out=$1 list
  list=$(mktemp)
  trap 'rm -f "$list"' RETURN
  for package in "${packages[@]}"; do
    if ! dpkg -s "$package" >/dev/null 2>&1; then
      echo "gpu.sh: package $package is not installed here; left out" >&2
      continue
    fi
    local files bytes
    files=$(dpkg -L "$package" | grep -E '^/usr/(include|lib|bin|share/(cmake|pkgconfig))/|^/lib/' || true)
    # Boost's headers are 150 MB; these are the ones that this source includes, and what those include.
    if [[ $package == libboost1.81-dev ]]; then
      files=$(grep -E '^/usr/include/boost/(asio|beast|json|config|system|core|assert|static_assert|throw_exception|version|type_traits|mp11|describe|container|container_hash|align|intrusive|move|smart_ptr|utility|optional|logic|endian|bind|mem_fn|date_time|regex|detail|exception|predef|preprocessor|mpl|winapi|variant2|tuple|function|function_types|integer|iterator|concept|concept_check|range|numeric|lexical_cast|array|algorithm|cstdint|limits|type|ref|operators|swap|shared_ptr|make_shared|enable_shared_from_this|blank|current_function|get_pointer|checked_delete|unordered|io|none|pool|tti|vmd|type_index|token|tokenizer|noncopyable|cerrno|error_code|aligned_storage|next_prior|functional|compressed_pair|callable_traits|url|make_unique|static_string)|cmake/[Bb]oost' <<<"$files")
    fi
    bytes=$(while read -r f; do [[ ! -f $f ]] || stat -Lc %s "$f"; done <<<"$files" | awk '{s += $1} END {print s + 0}')
    printf '%10d  %s\n' "$bytes" "$package"
    while read -r f; do [[ ! -f $f && ! -L $f ]] || echo "${f#/}"; done <<<"$files" >>"$list"
  done
  tar -C / -czf "$out" --no-recursion --files-from="$list"
  local size
  size=$(stat -c %s "$out")
  printf '%10d  %s\n' "$size" "$out"
  if ((size > 60 << 20)); then
    echo "gpu.sh: $out is larger than 60 MB" >&2
    return 1
  fi
}

# What was asked for and what was measured, from the tables in a result file: one line a bar, "open" where it was not measured.
summary() {
  awk '
    function bar(what, value, wanted) {
      if (value == "") printf "open    %s: not measured; %s %% is wanted\n", what, wanted
      else printf "%s  %s: %.0f %%; %s %% is wanted\n", (value + 0 >= wanted ? "met   " : "missed"), what, value, wanted
    }
    /^== .*engine-bench/ {
      mode = /--compute fp8/ ? "fp8" : /--fast/ ? "library" : "order"
    }
    /^\| (decode|prefill) / {
      split($0, cell, "|"); gsub(/^ +| +$/, "", cell[2]); gsub(/[ %]/, "", cell[7])
      speed[mode, cell[2]] = cell[3] + 0; limit[mode, cell[2]] = cell[7]
      if (cell[2] ~ /^decode/ && (least[mode] == "" || cell[7] + 0 < least[mode])) least[mode] = cell[7] + 0
    }
    /^\| *[0-9]+ \|/ { n = split($0, cell, "|"); gsub(/[ %]/, "", cell[n - 2]); exposed = cell[n - 2] }
    /^== failed/ { failed = failed "\n        " $0 }
    /^left out/ { late = 1 }
    /SKIPPED/ { skipped = skipped "\n        " $0 }
    END {
      bar("decode of 1 to 64, bf16, fixed order, of the limit (the least of them)", least["order"], 80)
      bar("prefill of 4096, bf16, fixed order, of the limit", limit["order", "prefill 4096"], 65)
      bar("prefill of 4096, bf16, by the library, of the limit", limit["library", "prefill 4096"], 65)
      bar("hand-off of the longest prompt that is hidden behind its computation", exposed == "" ? "" : 100 - exposed, 90)
      for (key in speed) {
        split(key, part, SUBSEP)
        if (part[1] == "order" && speed["library", part[2]] > 0)
          price[part[2]] = 100 * (1 - speed[key] / speed["library", part[2]])
      }
      for (test in price) printf "price of the fixed order, %s: %.0f %% fewer tokens a second than the library\n", test, price[test] | "sort -V"
      close("sort -V")
      if (late) print "some steps were left out: the time was over"
      if (skipped != "") print "skipped:" skipped
      print failed != "" ? "failed:" failed : "no step failed"
    }' "$1"
}

run() {
  local libraries=${1:-} end=$((SECONDS + ${GPU_SECONDS:-450})) build=build/gpu name result
  if ! command -v nvidia-smi >/dev/null; then
    echo "gpu.sh: there is no nvidia-smi here, hence no driver and no GPU to run on" >&2
    return 1
  fi
  name=$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0 | tr ' /' '--' | tr -d '\n')
  result=perf/results/gpu-${name:-unknown}.txt
  local prefix=()
  if [[ -n $libraries ]]; then
    mkdir -p "$build/libraries"
    tar -C "$build/libraries" -xzf "$libraries"
    local root=$PWD/$build/libraries
    # UCX's file says where Debian has it; the others look beside themselves.
    sed -i "s#^set(prefix .*#set(prefix \"$root/usr\")#" "$root/usr/lib/x86_64-linux-gnu/cmake/ucx/ucx-targets.cmake"
    prefix=(-DCMAKE_PREFIX_PATH="$root/usr;$root/usr/lib/x86_64-linux-gnu" -DCMAKE_FIND_ROOT_PATH="$root"
      -DCMAKE_CXX_FLAGS="-isystem $root/usr/include -isystem $root/usr/include/x86_64-linux-gnu")
    export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
    export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/usr/lib/x86_64-linux-gnu/pkgconfig
    export PATH=$PATH:$root/usr/bin
  fi
  # The 8 B shape has 16 GB: in memory, where there is room for it, else beside the build.
  local models=$build
  if (($(df --output=avail -k /dev/shm 2>/dev/null | tail -1 || echo 0) > 24 << 20)); then
    models=$(mktemp -d /dev/shm/baton-gpu.XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$models'" EXIT
  fi
  # Steps that fail are told and do not hide the others' results; a step that takes too long is ended.
  step() {
    local left=$((end - SECONDS))
    echo "== $* ($left s left)"
    if ((left < 5)); then
      echo "left out: no time"
      return 0
    fi
    timeout "$left" "$@" 2>&1 || echo "== failed, exit $?: $*"
  }
  {
    date -u
    nvidia-smi --query-gpu=name,driver_version,power.limit,clocks.max.sm,memory.total --format=csv
    nvcc --version 2>/dev/null | tail -1 || /usr/local/cuda/bin/nvcc --version | tail -1
    git log -1 --format='%H %s' 2>/dev/null || true
    # What the bars need comes first; the daemons are built when that is measured.
    step cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBATON_CUDA=ON -DBATON_CUDA_ARCHITECTURES="${GPU_ARCHITECTURES:-90}" \
      "-DBATON_TEST_MODULES=common/sensors;kernels;engine;decode" "${prefix[@]}" | tail -15
    step cmake --build "$build" --target test_kernels test_engine_model test_common_sensors baton-engine-bench baton-make-checkpoint | tail -15
    BATON_TEST_BACKENDS=GPU step "$build/tests/kernels/test_kernels" -# "[#attention_test],[#batch_invariance_test],[#conformance_test],[#backends]"
    step "$build/tests/kernels/test_kernels" "*GPU*"
    step "$build/tests/engine/test_engine_model" "a GPU*"
    step "$build/tests/common/sensors/test_common_sensors" "this machine*"
    # An 8 B shape, random weights. In our fixed order, by cuBLASLt (the difference is the order's price), in fp8.
    step "$build/bin/baton-make-checkpoint" --shape 8b --out "$models/model-8b" | tail -1
    local mode
    for mode in "--compute bf16" "--compute bf16 --fast" "--compute fp8 --fast"; do
      # shellcheck disable=SC2086
      step "$build/bin/baton-engine-bench" --backend cuda --model "$models/model-8b" $mode --repeats 3 --chunk 4096 \
        --prompts 512,4096 --batches 1,2,4,8,16,32,64
    done
    rm -rf "$models/model-8b"
    step cmake --build "$build" --target test_decode baton-router baton-prefill baton-decode baton-bench | tail -15
    # From the GPU's memory through the host's into the GPU's; "of wire" is what was not hidden behind the computation.
    step perf/handoff_bench.sh --build "$build" --backend cuda --shape 1.1b --repeat 5
    step "$build/tests/decode/test_decode" "workers on a real GPU*"
    step cmake --build "$build" --target compute-sanitizer
  } | tee "$result"
  { echo "== summary" && summary "$result"; } | tee -a "$result"
  echo "written: $result"
  ! grep -q '^== failed' "$result"
}

case ${1:-} in
carry) carry "${2:?gpu.sh: carry where? perf/gpu.sh carry OUT.tar.gz}" ;;
run) run "${2:-}" ;;
summary) summary "${2:?gpu.sh: of which result file?}" ;;
*)
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
  ;;
esac
