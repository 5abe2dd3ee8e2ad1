#!/usr/bin/env bash
# clang-format over every tracked source: lists what differs (default), or mends it.
#
#   tests/tidy/format.sh          exit 1 and name the files that are not formatted
#   tests/tidy/format.sh --fix    format them
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=$(command -v clang-format-14 || command -v clang-format) || {
  echo "SKIPPED: clang-format is not installed (deploy/install-packages.sh tests)"; exit 77; }
version=$("$tool" --version | grep -oE 'version [0-9]+' | cut -d' ' -f2)
[ "$version" = 14 ] || { echo "SKIPPED: clang-format $version; the tree is formatted by version 14"; exit 77; }
mapfile -t files < <(git -c safe.directory="$PWD" ls-files --cached --others --exclude-standard '*.h' '*.cc' '*.cu' '*.cuh')
if [ "${1:-}" = --fix ]; then
  "$tool" -i "${files[@]}"
  exit 0
fi
"$tool" --dry-run --Werror "${files[@]}"
