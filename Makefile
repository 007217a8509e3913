# SPDX-License-Identifier: AGPL-3.0-only
#
# make demo        the whole story on a node of its own: see README.md
# make test        everything is tested (needs root; at most an hour)
# make test-full   the same without a limit of time
# make fidelity    containers with all that a tree can have, saved and restored, judged entry by entry
# make levels      changes of every kind between full, incremental and differential backups, and what each must save
# make faults      jobs stopped at every call of ploop and prlctl, and what comes of it
# make bench       how fast the plugin is beside the daemon's own backup of the same tree: see docs/bench.md
# make attacks     a tenant with root, and hostile backups, against restores and backups (a part of make test)
# make build       build/vz7ct-fd.so, the plugin, and build/vz7ct, its companion
# make unit        unit tests alone: no root, under 30 seconds
# make lint        gofmt, vet, staticcheck, shellcheck, the C compiler's warnings
#
# Variables, each with an example:
#   GO=/usr/local/go/bin/go       the Go tool
#   CC=gcc-12                     the C compiler
#   VERSION=0.1.0                 what the plugin and vz7ct call themselves; default: git describe
#   E2E_BAREOS=/opt/bareos        run the e2e scenarios on the Bareos installed there
#   E2E_BAREOS_FD=/opt/fd/sbin/bareos-fd   with the File Daemon of another release
#   VZ7CT_FAULTS=backup/power     which points make faults plays: an operation, a kind, both; default: all
#   VZ7CT_FAULT_NODES=4           how many stand-in nodes are at work at the same time; default: 3
#   VZ7CT_RACE_TIME=1m            how long make attacks plays each racing attack, each way; default: 5s
#   BENCH_ROUNDS=1                how often make bench plays each contestant of a case; default: 5
#   BENCH_FILES=20000             regular files of its container; default: 200000
#   BENCH_SLOW_FILES=5000         those of the container on the slow disk, which is also the one restored; default: 20000
#   BENCH_LARGE=512               MiB of its large file; default: 4096
#   BENCH_CASES=full-cold,large   the cases that it plays; default: all
#   BENCH_TREE=/usr/share         the files that it multiplies, a folder or a tar file; default: build/tree.tar
#   BENCH_DIR=/srv                where it puts its node, some 12 GiB; default: /var/tmp
#   BENCH_PYTHON=/opt/python-fd   where Bareos' Python plugin is, python3-fd.so and all; default: among E2E_BAREOS' plugins
#   BENCH_KEEP=1                  its result becomes the kept one: docs/bench, docs/bench.md, README.md
#   BENCH_MEMORY=1                it compares only the peak memory with BENCH_FILES and with five times as many, empty files
#   VZ7CT_SEED=42                 the moments of the random kills, as they were in a run that has printed this

SHELL := /bin/bash
GO ?= go
CC ?= gcc
VERSION ?= $(shell git describe --always --dirty --tags 2>/dev/null || echo unversioned)
DATE ?= $(shell git log -1 --format=%cs 2>/dev/null || echo undated)
BUILD := build

export CGO_ENABLED := 1
# The version is told with -X; a clone that belongs to somebody else is no error.
export GOFLAGS := -buildvcs=false $(GOFLAGS)
export CC

.PHONY: build
build: $(BUILD)/vz7ct-fd.so $(BUILD)/vz7ct

# The oldest C library that the plugin must run with is CentOS 7's, 2.17: it is
# linked against stubs that have nothing newer. It exports two symbols. The second
# object panics where a test wants it to: nothing of that is in the first one.
$(BUILD)/vz7ct-fd.so $(BUILD)/inject/vz7ct-fd.so: FORCE $(BUILD)/glibc217/libc.so
	@mkdir -p $(@D)
	CGO_CFLAGS='-O2 -g -Wall -fvisibility=hidden -DPLUGIN_VERSION="\"$(VERSION)\"" -DPLUGIN_DATE="\"$(DATE)\""' \
	CGO_LDFLAGS='-L$(CURDIR)/$(BUILD)/glibc217' \
	$(GO) build -trimpath -buildmode=c-shared -tags '$(if $(findstring inject,$@),inject)' -o $@ \
	  -ldflags '-X main.version=$(VERSION) -linkmode external -extldflags "-Wl,-z,defs -Wl,--version-script=$(CURDIR)/cgo/exports.map -Wl,--no-as-needed -lpthread"' \
	  ./cgo
	@rm -f $(@D)/vz7ct-fd.h

# The companion command has no C in it and needs no library.
$(BUILD)/vz7ct: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/vz7ct

$(BUILD)/glibc217/libc.so: cgo/glibc217.sh
	cgo/glibc217.sh $(BUILD)/glibc217

# The test programs: the stand-in node, the comparer, the mini daemon, the demo, the
# plugin that panics.
.PHONY: tools
tools: $(BUILD)/inject/vz7ct-fd.so
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/lab ./test/lab/cmd/lab
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/compare ./test/compare/cmd/compare
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/nosys ./test/e2e/cmd/nosys
	CGO_ENABLED=0 $(GO) build -o $(BUILD)/demo ./test/e2e/cmd/demo
	CGO_ENABLED=0 $(GO) build -o $(BUILD)/bench ./test/bench/cmd/bench
	$(MAKE) -C test/fdhost fdhost fdhost-sanitize

# What comes from Debian: packages, and a root tree for containers.
.PHONY: packages
packages:
	test/install.sh

$(BUILD)/tree.tar: test/lab/tree.sh test/lab/nasty/nasty.go | tools
	LAB=$(CURDIR)/$(BUILD)/lab test/lab/tree.sh $@

.PHONY: demo
demo: packages
	$(MAKE) -s build tools $(BUILD)/tree.tar
	$(BUILD)/demo $(BUILD)/tree.tar

.PHONY: unit test test-full lint
unit:
	$(GO) test ./...

lint: packages
	test/run.sh lint

test: packages
	$(MAKE) -s build tools
	test/run.sh

# Saves and restores trees with everything that is hard, through the daemons and in every layout, and compares; what may
# differ stands in docs/fidelity.md. "fidelity: entries=..." is the last line.
.PHONY: fidelity
fidelity: packages
	$(MAKE) -s build tools
	mkdir -p $(BUILD)/log
	set -o pipefail; VZ7CT_ROOT_TESTS=1 $(GO) test -count=1 -timeout 30m -v -run '^TestFidelity$$' ./test/e2e/ | tee $(BUILD)/log/make-fidelity.log
	@grep '^fidelity: entries=' $(BUILD)/log/make-fidelity.log | tail -n 1

# Changes of every kind happen between jobs of every level, with Accurate and without: each job must save exactly what the
# daemon's rule says, and the jobs together the container. "levels: changes=..." is the last line. A part of make test.
.PHONY: levels
levels: packages
	$(MAKE) -s build tools
	mkdir -p $(BUILD)/log
	set -o pipefail; VZ7CT_ROOT_TESTS=1 $(GO) test -count=1 -timeout 30m -v -run '^TestLevels$$' ./test/e2e/ | tee $(BUILD)/log/make-levels.log
	@grep '^levels: changes=' $(BUILD)/log/make-levels.log | tail -n 1

# Stops jobs at every call of ploop and prlctl and every change of the journal, in every way. The table for
# docs/crash-safety.md is in build/log/faults.md; "faults: points=..." is the last line.
.PHONY: faults
faults: packages
	$(MAKE) -s build tools
	mkdir -p $(BUILD)/log
	set -o pipefail; VZ7CT_FAULTS=$${VZ7CT_FAULTS:-all} VZ7CT_FAULTS_TABLE=$(CURDIR)/$(BUILD)/log/faults.md VZ7CT_ROOT_TESTS=1 \
	  $(GO) test -count=1 -timeout 180m -v -run '^TestFaults$$' ./test/e2e/ | tee $(BUILD)/log/faults.log
	@grep -o 'faults: points=.*' $(BUILD)/log/faults.log | tail -n 1

# Ours, the daemon's own backup and others in turns, on one node. "bench: CASE ratio=N ours_s=N native_s=N" for each case at
# the end; this run's figures are in build/log. A quiet machine is needed, and half an hour or more: see BENCH_CASES.
.PHONY: bench
bench: packages
	$(MAKE) -s build tools $(if $(BENCH_TREE),,$(BUILD)/tree.tar)
	mkdir -p $(BUILD)/log
	set -o pipefail; $(BUILD)/bench 2>&1 | tee $(BUILD)/log/make-bench.log

# The last line is "attacks: tried=N escaped=0 controls=N/N".
.PHONY: attacks
attacks:
	mkdir -p $(BUILD)/log
	set -o pipefail; VZ7CT_ROOT_TESTS=1 $(GO) test -count=1 -timeout 30m -v ./test/attacks/ >$(BUILD)/log/make-attacks.log 2>&1 || \
	  { grep -v '^=== \|--- PASS\|control: \|told: ' $(BUILD)/log/make-attacks.log | tail -n 100; exit 1; }
	@grep 'named attacks, ' $(BUILD)/log/make-attacks.log
	@grep -o 'attacks: tried=.*' $(BUILD)/log/make-attacks.log

test-full: packages
	$(MAKE) -s build tools
	test/run.sh full

.PHONY: FORCE clean
FORCE:
clean:
	rm -rf $(BUILD)
