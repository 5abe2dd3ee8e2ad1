#!/usr/bin/env bash
# Installs the Debian packages of the named groups (deploy/packages.txt). Does nothing where all are there.
#
#   deploy/install-packages.sh build run          what the quickstart needs
#   deploy/install-packages.sh build run tests    what the tests need
#
# apt is called with --no-remove: it never takes a package away from this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -eq 0 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 0
fi

wanted=()
for group in "$@"; do
  mapfile -t of_group < <(awk -v g="$group" '$1 == g { print $2 }' "$here/packages.txt")
  [ ${#of_group[@]} -gt 0 ] || { echo "install-packages: no group '$group' in deploy/packages.txt" >&2; exit 2; }
  wanted+=("${of_group[@]}")
done

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install-packages: this is no Debian; please install: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "install-packages: neither root nor sudo; please install as root: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

echo "installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${as_root[@]}" apt-get update -q >"$log" 2>&1 || { tail -n 20 "$log" >&2; echo "apt-get update failed (above)" >&2; exit 1; }
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-remove --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  if grep -qE 'boost1\.74|[Rr]emove' "$log"; then
    cat >&2 <<'EOF'

apt refused, because installing would remove packages of this machine. The usual reason: Baton needs Boost 1.81
(libboost1.81-dev), which Debian cannot hold beside Boost 1.74 (libboost-dev, and with it python3-pythran, python3-scipy
and python3-sklearn). Either
  - build Baton in a chroot or container (debootstrap bookworm), or
  - remove Boost 1.74 yourself, if nothing here needs it:  apt-get remove libboost1.74-dev
EOF
  fi
  exit 1
fi
