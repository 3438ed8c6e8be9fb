# about: instructions that the cores spend on a frame, beside the last accepted counts: more than 5 % above is a failure
#
#   ./bench instructions            compares with tests/bench/instructions.tsv
#   ./bench instructions --accept   writes the counts there
#
# A count depends on the compiler and on the libraries, not on the machine's mood. Another compiler than
# the one of the accepted counts is told, and nothing fails then.

measure() {
    need valgrind valgrind
    local accepted=tests/bench/instructions.tsv program scenario rounds=200 once twice count before failed=()
    # Cargo tells its path, and those of the programs beside it.
    program=$(cargo bench --quiet --no-run --message-format=json -p system-tests --bench instructions |
        jq -r 'select(.target.name == "instructions") | .executable // empty' | tail -n 1)
    [ -n "$program" ] || { echo "bench: cargo built no program that counts" >&2; exit 1; }
    local compiler same=yes
    compiler=$(rustc --version)
    if [ -e "$accepted" ] && [ "$(head -n 1 "$accepted")" != "$compiler" ]; then
        echo "  accepted counts are of $(head -n 1 "$accepted"), this is $compiler: compare, but do not judge"
        same=no
    fi
    group "instructions"
    echo "$compiler" >"$work/counts"
    while read -r scenario; do
        once=$(instructions "$program" "$scenario" $rounds)
        twice=$(instructions "$program" "$scenario" $((2 * rounds)))
        count=$(((twice - once) / rounds))
        printf '%s\t%s\n' "$scenario" $count >>"$work/counts"
        figure "$scenario" now $count instructions
        before=$(awk -F'\t' -v name="$scenario" '$1 == name {print $2}' "$accepted" 2>/dev/null || true)
        [ -n "$before" ] || continue
        figure "$scenario" accepted "$before" instructions
        [ $((count * 100)) -le $((before * 105)) ] || failed+=("$scenario")
    done < <("$program")
    [ "$(wc -l <"$work/counts")" -gt 1 ] || { echo "bench: $program has no scenario" >&2; exit 1; }
    if [ "${1:-}" = --accept ]; then
        cp "$work/counts" "$accepted"
    elif [ ${#failed[@]} -gt 0 ] && [ $same = yes ]; then
        printf 'bench: more than 5 %% above the accepted count: %s\n' "${failed[@]}" >&2
        echo "bench: if that is worth it, ./bench instructions --accept" >&2
        exit 1
    fi
}

instructions() { # instructions PROGRAM SCENARIO ROUNDS
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null "$@" 2>&1 >/dev/null |
        awk '/I +refs/ {gsub(",", "", $NF); print $NF}'
}
