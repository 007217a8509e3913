#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
#
# install.sh: install from Debian what building, the demo and the tests need. Go, git and make are there already. Does
# nothing if all is there; needs root otherwise.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# The stand-in node's own list; the plugin's compiler; the daemons; the judges.
packages="$(cat "$here/lab/packages.txt")
gcc libc6-dev binutils
bacula-common bacula-common-sqlite3 bacula-director bacula-director-sqlite3 bacula-sd bacula-fd bacula-console
dbconfig-no-thanks sqlite3
libcap2-bin rsync quota xfsprogs openssl util-linux shellcheck ca-certificates
systemd mandoc man-db"

missing=""
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: needs root to install:$missing" >&2; exit 1; }

# Without a database of its own bacula-director's installation fails, unless it is told that it need not have one.
mkdir -p /etc/dbconfig-common
[ -e /etc/dbconfig-common/bacula-director-sqlite3.conf ] ||
	echo "dbc_install='false'" >/etc/dbconfig-common/bacula-director-sqlite3.conf

# Where /run is new and empty, as in some containers, the installation of ploop needs what /var/lock leads to.
mkdir -p /run/lock

# The tests start daemons of their own: Debian's stay stopped.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi

apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
