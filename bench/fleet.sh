#!/bin/sh
# A fleet of runners at one server, of Woodpecker and of Drone: pipelines a minute, calls of the
# server, memory of an idle runner; a third of the runners are killed on the way and started again.
# Server and steps are fake (bench/fleet): each pipeline has three steps of 50 ms without containers.
#
#   bench/fleet.sh [RUNNERS [CAPACITY [PIPELINES]]]
#
# 50 runners of 4 need about 1 GiB; 10 are enough for a look on a busy machine.
set -eu
cd "$(dirname "$0")/.."
export STEPEXEC_FLEET_AGENTS="${1:-50}" STEPEXEC_FLEET_CAPACITY="${2:-4}" STEPEXEC_FLEET_PIPELINES="${3:-2000}"
go test ./bench/fleet -count=1 -v -timeout 30m
