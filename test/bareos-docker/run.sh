#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-only
#
# Inside the container: builds the plugin from the source tree mounted at /src and
# runs the end-to-end scenarios on the Bareos packages installed.
#
#   run.sh [PATTERN]     PATTERN chooses scenarios as go test -run does; default: all
set -euo pipefail

pattern=${1:-.}
work=$(mktemp -d /var/tmp/src-XXXXXX)
trap 'rm -rf "$work"' EXIT

# The source tree of the host is left as it is.
cp -a /src/. "$work"
cd "$work"
git config --global --add safe.directory '*'
rm -rf build

for node in /dev/fuse /dev/loop-control; do
	if [ ! -e "$node" ]; then
		echo "no $node: load the module on the host (modprobe fuse loop overlay) and run the container privileged" >&2
		exit 1
	fi
done

make build tools
cp build/vz7ct-fd.so /out/

dpkg-query -W -f '${Package} ${Version}\n' bareos-director bareos-storage bareos-filedaemon

log=$(mktemp)
E2E_BAREOS=/usr VZ7CT_ROOT_TESTS=1 go test -count=1 -timeout 60m -v -run "$pattern" ./test/e2e 2>&1 | tee "$log"
passed=$(grep -c '^--- PASS: ' "$log" || true)
if [ "$passed" -eq 0 ]; then
	echo "bareos-docker: no scenario has run" >&2
	exit 1
fi
echo "bareos-docker: ok, $passed scenarios on bareos-filedaemon $(dpkg-query -W -f '${Version}' bareos-filedaemon)"
