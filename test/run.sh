#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-only
#
# run.sh [full] [PART...]: run the tests part by part and print the minutes of each. Without parts all of them run. A part
# that fails is shown, the others still run. "full" takes away the limits of time.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
GO=${GO:-go} CC=${CC:-gcc} BUILD=$PWD/build
export CGO_ENABLED=1
# A clone may belong to somebody else than root, who runs this.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2

full=""
if [ "${1:-}" = full ]; then
	full=1
	shift
	export VZ7CT_FULL=1
fi
[ $# -gt 0 ] || set -- lint unit race fuzz attacks fdhost lab e2e demo

lint() {
	local bad
	bad=$(git ls-files -z '*.go' | xargs -0 "$("$GO" env GOROOT)/bin/gofmt" -l) || return 1
	[ -z "$bad" ] || { echo "gofmt would change: $bad"; return 1; }
	"$GO" vet ./... || return 1
	"$GO" vet -tags inject ./cgo || return 1
	"$GO" run "$STATICCHECK" ./... || return 1
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck || return 1
	# What Go generates from the exports is included by the C files.
	local gen status=0
	gen=$(mktemp -d)
	(cd cgo && grep -l 'import "C"' ./*.go | xargs "$GO" tool cgo -objdir "$gen" --) || status=1
	for f in cgo/*.c; do
		"$CC" -std=gnu11 -O2 -Wall -Wextra -Werror -fsyntax-only -Icgo -I"$gen" \
			-DPLUGIN_VERSION='""' -DPLUGIN_DATE='""' "$f" || status=1
	done
	rm -rf "$gen"
	return $status
}

unit() { "$GO" test -count=1 -v ./...; }

race() { "$GO" test -count=1 -race ./fdplugin/ ./internal/... ./ploop/ ./prlctl/ ./restore/; }

# Every fuzz target for a short while. Counted, not timed: at the end of a time "context deadline exceeded" may be all
# that go says.
fuzz() {
	local t=50000x name file
	[ -z "$full" ] || t=3000000x
	local targets
	targets=$(git grep -o '^func Fuzz[A-Za-z]*(' -- '*_test.go') || return 1
	while IFS=: read -r file name; do
		name=${name#func }
		name=${name%%(*}
		"$GO" test -run '^$' -fuzz "^$name\$" -fuzztime "$t" -fuzzminimizetime 20x "./$(dirname "$file")" || return 1
	done <<<"$targets"
}

attacks() { make -s attacks; }

fdhost() { make -s -C test/fdhost fdhost-selftest; }

lab() { VZ7CT_ROOT_TESTS=1 "$GO" test -count=1 -timeout 30m -v ./test/lab/... ./internal/... ./ploop/ ./restore/ ./test/compare/ ./cmd/vz7ct/ ./packaging/...; }

e2e() { VZ7CT_ROOT_TESTS=1 "$GO" test -count=1 -timeout 60m -v ./test/e2e/ ./test/bench/ ./fileset-examples/; }

demo() { make -s demo; }

# failures LOG: the tests that failed, each with what it said, and packages that died.
failures() {
	awk '/^=== (RUN|NAME|CONT)/ { test = $3 }
		/_test\.go:[0-9]+: / && n[test]++ < 20 { said[test] = said[test] "\n" substr($0, 1, 600) }
		/^ *--- FAIL/ { print $0 said[$3] }
		/^(FAIL|panic:|fatal error:|WARNING: DATA RACE)/ { print }' "$1" | head -n 60
}

# report LOG: what is worth telling of a part that has passed, with the reason of every skipped test.
report() {
	awk '/^=== (RUN|NAME|CONT)/ { test = $3 }
		/^ +[^ ]*_test\.go:[0-9]+: / { why[test] = $0; sub(/^ *[^ ]*: /, "", why[test]) }
		/^ *--- SKIP/ { n[why[$3]]++; names[why[$3]] = names[why[$3]] " " $3 }
		/^(ok |demo: ok|attacks:|skipped:|fdhost selftest:|fidelity: |levels: changes=)/ { print }
		END { for (r in n) print "skipped " n[r] ": " r " (" (n[r] > 4 ? "see the log" : substr(names[r], 2)) ")" }' "$1"
}

"$BUILD/lab" clean >/dev/null 2>&1
failed="" times=""
mkdir -p "$BUILD/log"
for part in "$@"; do
	echo "== $part"
	begin=$SECONDS
	if "$part" >"$BUILD/log/$part.log" 2>&1; then
		report "$BUILD/log/$part.log"
	else
		failures "$BUILD/log/$part.log" >"$BUILD/log/$part.failures"
		tail -n 40 "$BUILD/log/$part.log"
		cat "$BUILD/log/$part.failures"
		echo "== $part FAILED; all that it printed: $BUILD/log/$part.log"
		failed="$failed $part"
	fi
	times="$times $part=$(awk -v s=$((SECONDS - begin)) 'BEGIN { printf "%.1f", s / 60 }')"
done
echo "minutes:$times all=$(awk -v s=$SECONDS 'BEGIN { printf "%.1f", s / 60 }')"
if [ -n "$failed" ]; then
	for part in $failed; do
		echo "== $part"
		cat "$BUILD/log/$part.failures"
	done
	echo "FAILED:$failed"
	exit 1
fi
echo "all tests passed"
