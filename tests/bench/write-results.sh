#!/usr/bin/env bash
# write-results.sh FIGURES.json: puts a part's tables into RESULTS.md, in place of its old section.
set -euo pipefail
results=tests/bench/RESULTS.md
figures=$1
part=$(jq -r .part "$figures")
[ -e $results ] || cat >$results <<'END'
# Figures

Written by `./bench --write`. Only ratios within one section mean something: a section is one run, in
which those that are compared took turns; medians of other runs on the same machine differ by a quarter.
END
section=$(mktemp)
trap 'rm -f "$section"' EXIT
{
    jq -r '"## \(.part)\n\n\(.about)\n\n`\(.command)`, \(.date), commit \(.commit); \(.machine); medians of \(.runs) runs of \(.seconds) s"' "$figures"
    jq -r -f tests/bench/table.jq "$figures"
    echo
} >"$section"
# Sections are in alphabetical order, so that two branches that add one each merge.
awk -v part="$part" -v section="$section" '
    function put(  line) {
        if (!done) { print ""; while ((getline line < section) > 0) print line }
        done = 1
    }
    /^## / { skip = $2 == part; if ($2 > part) put() }
    !skip
    END { put() }
' $results | cat -s >$results.new
mv $results.new $results
