#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
#
# tree.sh OUT.tar: make a container's root tree from Debian's packages, with every kind of metadata added (`lab nasty`).
# If OUT.tar is there and was made by this very script and list of kinds, nothing is done. Needs root.
#
# LAB names the lab program; without it the program is built from the source beside this script.
set -eu

out=${1:?usage: tree.sh OUT.tar}
here=$(cd "$(dirname "$0")" && pwd)
stamp=$(cat "$here/tree.sh" "$here"/nasty/nasty.go | sha256sum | cut -d' ' -f1)
if [ -s "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$stamp" ]; then
	exit 0
fi
[ "$(id -u)" = 0 ] || { echo "tree.sh: needs root" >&2; exit 1; }

if ! command -v debootstrap >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi

# The mirror of this machine: the first of its sources.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
	sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)
if [ -z "$mirror" ]; then
	mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p' | head -n 1)
fi
: "${mirror:?tree.sh: no mirror in /etc/apt}"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/vz7ct-tree.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

lab=${LAB:-}
if [ -z "$lab" ]; then
	lab=$work/lab
	(cd "$here" && CGO_ENABLED=0 go build -o "$lab" ./cmd/lab)
fi

# Few and small packages with many files: an interpreter, time zones, manuals.
debootstrap --variant=minbase --include=tzdata,perl-modules-5.36,perl,python3-minimal,libpython3.11-stdlib,less,netbase \
	bookworm "$work/root" "$mirror" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
"$lab" nasty "$work/root"

entries=$(find "$work/root" | wc -l)
[ "$entries" -ge 11000 ] || { echo "tree.sh: $entries entries only" >&2; exit 1; }
tar --format=posix --xattrs --xattrs-include='*' --acls --numeric-owner --sparse --sort=name \
	--warning=no-file-ignored -C "$work/root" -cf "$work/out.tar" .
mv "$work/out.tar" "$out"
echo "$stamp" >"$out.stamp"
echo "tree.sh: $out has $entries entries"
