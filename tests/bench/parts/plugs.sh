# about: VDE plugs on two hosts, by two switches and what links them: a cable of ours, VDE over plain TCP (no encryption)
# builds: vdenode vdecable

measure() {
    need_root
    need vde_switch vde-switch; need vde_plug vdeplug; need socat socat; need ip iproute2; need ethtool ethtool
    compile vdeblast
    host a; host b; wire a b
    node b --on b --no-storm-control --listen 10.99.0.2:7667
    node a --on a --no-storm-control --no-listen
    cable a b 10.99.0.2
    local side line size
    for side in a b; do
        on $side vde_switch -s "$work/vde-$side" -d -p "$work/vde-$side.pid"
        until_true "vde_switch" test -s "$work/vde-$side.pid"
        pids+=("$(cat "$work/vde-$side.pid")")
    done
    on b socat TCP-LISTEN:9999,nodelay,reuseaddr EXEC:"vde_plug $work/vde-b" 2>/dev/null &
    pids+=($!)
    until_true "socat" on b bash -c 'ss -ltn | grep -q :9999'
    on a socat TCP:10.99.0.2:9999,nodelay EXEC:"vde_plug $work/vde-a" 2>/dev/null &
    pids+=($!)
    declare -A from=([cable]=$work/a/vde [tcp]=$work/vde-a) to=([cable]=$work/b/vde [tcp]=$work/vde-b)

    for size in 64 1514; do
        group "from plug to plug, $size octets, as fast as they go"
        for _ in $(seq "$RUNS"); do
            for side in tcp cable; do
                line=$("$work/vdeblast" "${from[$side]}" "${to[$side]}" $size "$SECS")
                figure $side received "$(field rx_kpps <<<"$line")" kpps
                figure $side lost "$(field loss <<<"$line")" %
                figure $side reordered "$(field reorder <<<"$line")" frames
                figure $side p99 "$(field p99 <<<"$line")" us
            done
        done
        ratio cable tcp received '>= 3'
        goal cable reordered '<= 0'
    done

    # Half of what the cable carried.
    local half
    for size in 64 1514; do
        half=$("$work/vdeblast" "${from[cable]}" "${to[cable]}" $size "$SECS" | field rx_kpps)
        half=$(calc %d "$half * 450")
        group "$size octets at $half a second, just below half of the cable's capacity"
        for _ in $(seq "$RUNS"); do
            line=$("$work/vdeblast" "${from[cable]}" "${to[cable]}" $size "$SECS" "$half")
            figure cable lost "$(field loss <<<"$line")" %
            figure cable p50 "$(field p50 <<<"$line")" us
            figure cable p99 "$(field p99 <<<"$line")" us
        done
        goal cable lost '<= 0'
    done
}
