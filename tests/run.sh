#!/usr/bin/env bash
# Installs what is needed, builds Baton and runs all its tests: what CI runs, and what to run before a commit.
#
#   tests/run.sh                   the release preset, every test
#   tests/run.sh --preset asan     the address and undefined-behaviour sanitizers (or: tsan, debug)
#   tests/run.sh -R kvtransfer     only the tests whose names match
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
filter=()
while [ $# -gt 0 ]; do
  case "$1" in
    --preset) preset=${2:?--preset needs a name}; shift 2 ;;
    -R) filter=(-R "${2:?-R needs a pattern}"); shift 2 ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done

deploy/install-packages.sh build run tests
begin=$(date +%s)
if [ "$preset" = release ] && [ ${#filter[@]} -eq 0 ]; then
  cmake --workflow --preset check
else
  cmake --preset "$preset"
  cmake --build --preset "$preset"
  ctest --preset "$preset" "${filter[@]}"
fi
echo "tests/run.sh: $preset built and tested in $(($(date +%s) - begin)) s"
