#!/bin/bash
# All benchmarks, unattended, and their tables in docs/benchmarks.md, between the two marks there, with machine,
# versions and date. On a busy machine nothing is measured: the figures would be those of the other work.
# Needs what the single benchmarks need; peers that are not installed are left out.
# usage: bench/all.sh [--quick] [--anyway]
#   --quick    few rounds, stepexec against runc alone
#   --anyway   measure on a busy machine too; the tables go to standard output and not into the document
set -eu -o pipefail
cd "$(dirname "$0")/.."
quick= anyway=
for word; do
	case $word in
	--quick) quick=1 ;;
	--anyway) anyway=1 ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done
document=docs/benchmarks.md
begin='<!-- bench/all.sh writes what is below -->' end='<!-- bench/all.sh writes what is above -->'
grep -qxF "$begin" $document && grep -qxF "$end" $document || { echo "all.sh: $document lacks the marks between which the tables go" >&2; exit 1; }

# busy: whether more than a quarter of one CPU is in use, over five seconds. The load average remembers minutes.
busy() {
	local before after
	before=$(awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 }' /proc/stat)
	sleep 5
	after=$(awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 }' /proc/stat)
	echo "$before $after $(nproc)" | awk '{ exit !(($3 - $1) / ($4 - $2) * $5 > 0.25) }'
}
if [ -z "$anyway" ] && busy; then
	echo "all.sh: the machine is busy: stop the other work, or look at figures that are not written with --anyway" >&2
	exit 1
fi

tables=$(mktemp)
trap 'rm -f "$tables" "$tables.new"' EXIT
failed=
measure() { # measure TITLE COMMAND...: a heading and what the command prints
	local began=$SECONDS
	printf '\n### %s\n\n```\n' "$1" >>"$tables"
	shift
	echo "all.sh: $*" >&2
	env "$@" >>"$tables" || { failed=1 && echo "all.sh: failed: $*" | tee -a "$tables" >&2; }
	printf '```\n' >>"$tables"
	echo "all.sh: $((SECONDS - began)) s" >&2
}
if [ -n "$quick" ]; then
	measure "Warm steps" PEERS=runc bench/warm.sh 3 start one chain boundary
	measure "Output" bench/logs.sh 1 64
	measure "Hook of GitHub Actions" bench/hooks.sh 5
else # in at most 20 minutes on a quiet machine with two cores
	measure "Warm steps" bench/warm.sh 3 start one chain boundary
	measure "Steps at once, many layers" PEERS='runc|ctr' bench/warm.sh 2 wide many
	measure "Cold start" bench/cold.sh 1
	measure "Output" bench/logs.sh 1 512
	measure "Hook of GitHub Actions" bench/hooks.sh 15
	measure "Keyed caches" bench/cache.sh 1
	measure "Networks" bench/network.sh 15
	measure "Growth" RUNS=500 bench/growth.sh
fi
if [ -z "$anyway" ] && busy; then
	echo "all.sh: the machine is busy by now: the figures are not written" >&2
	failed=1
fi
echo "all.sh: $((SECONDS / 60)) min in all" >&2
whole() {
	printf '\nMeasured by `bench/all.sh%s` on %s: %s × %s, %s MiB, %s.\n' "${quick:+ --quick}" "$(date -u +%Y-%m-%d)" "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" "$(uname -sr)"
	cat "$tables"
	echo
}
if [ -n "$anyway$failed" ]; then
	whole
	exit "${failed:-0}"
fi
whole >"$tables.new"
# The document is changed in place, so that its owner and mode stay.
awk -v begin="$begin" -v end="$end" -v tables="$tables.new" '
	$0 == end { inside = 0 }
	!inside
	$0 == begin { inside = 1; while ((getline line < tables) > 0) print line }
' $document >"$tables"
cat "$tables" >$document
