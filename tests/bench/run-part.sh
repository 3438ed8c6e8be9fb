#!/usr/bin/env bash
# Runs one part (for ./bench) and turns what it noted into target/bench/PART.json. Whatever the part
# started or left in $work is gone when this ends.
set -euo pipefail
part=$1
shift
# shellcheck source-path=SCRIPTDIR
source tests/bench/lib.sh
source "tests/bench/parts/$part.sh"
measure "$@"
machine=$(awk -F': ' '/^model name/ {n++; name = $2} END {print n " × " name}' /proc/cpuinfo)
jq -R -s -f tests/bench/figures.jq \
    --arg part "$part" \
    --arg about "$(sed -n 's/^# about: //p' "tests/bench/parts/$part.sh")" \
    --arg command "./bench $part${*:+ $*}" \
    --arg date "$(date -u +%F)" \
    --arg machine "$machine, Linux $(uname -r)" \
    --arg commit "$(git describe --always --dirty 2>/dev/null || echo unknown)" \
    --arg seconds "$SECS" --arg runs "$RUNS" \
    "$notes" >"$target/bench/$part.json"
