#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-only
#
# On a machine with a Docker engine: builds the image, runs the scenarios, then
# loads the plugin in CentOS 7's userland.
#
#   test.sh [PATTERN]    PATTERN chooses scenarios, as go test -run does; default: all
#
# Variables, each with an example:
#   BAREOS_REPO=https://download.bareos.org/next/Debian_12    packages of another release
#   BAREOS_TAG=next                                           the image's tag for it
#   GO_IMAGE=docker.io/library/golang:1.26-bookworm           a Debian 12 with Go
#   EL7_IMAGE=docker.io/library/centos:7                      the oldest userland
set -euo pipefail
cd "$(dirname "$0")"

docker compose build --pull e2e
docker compose run --rm e2e "$@"
docker compose run --rm el7
