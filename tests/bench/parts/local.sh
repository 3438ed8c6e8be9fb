# about: plugs on one switch, streams, broadcasts: vdenode beside vde_switch
# builds: vdenode vdecable

measure() {
    need vde_switch vde-switch
    compile vdeblast vdeflood streamblast relay
    node switch --no-listen --no-storm-control --stream "$work/stream"
    vde_switch -s "$work/theirs" -n 300 -d -p "$work/pid"
    until_true "vde_switch" test -s "$work/pid"
    local theirs ours_pid=${node_pid[switch]} line side size before
    theirs=$(cat "$work/pid")
    pids+=("$theirs")
    # What can be had at all between two such clients: it passes on and looks at nothing.
    "$work/relay" "$work/relay.sock" &
    pids+=($!)
    declare -A socket=([vde_switch]=$work/theirs [vdenode]=$work/switch/vde [relay]=$work/relay.sock)
    declare -A process=([vde_switch]=$theirs [vdenode]=$ours_pid [relay]=$!)

    for size in 64 1514; do
        group "two plugs, $size octets, as fast as they go"
        for _ in $(seq "$RUNS"); do
            for side in vde_switch vdenode relay; do
                before=$(ticks "${process[$side]}")
                line=$("$work/vdeblast" "${socket[$side]}" "${socket[$side]}" $size "$SECS")
                figure $side received "$(field rx_kpps <<<"$line")" kpps
                figure $side lost "$(field loss <<<"$line")" %
                figure $side p99 "$(field p99 <<<"$line")" us
                figure $side "processor time" \
                    "$(calc %.2f "($(ticks "${process[$side]}") - $before) * 1e4 / $(field rx <<<"$line")")" us
            done
        done
        ratio vdenode vde_switch received '>= 1.35'
        ratio vdenode vde_switch "processor time" '<= 0.65'
        ratio relay vde_switch received
        goal vdenode lost '<= 1'
        goal vdenode p99 '<= 5000'
    done

    group "two plugs, 64 octets, 10 kpps"
    for _ in $(seq "$RUNS"); do
        for side in vde_switch vdenode relay; do
            before=$(ticks "${process[$side]}")
            line=$("$work/vdeblast" "${socket[$side]}" "${socket[$side]}" 64 "$SECS" 10000)
            figure $side p50 "$(field p50 <<<"$line")" us
            figure $side p99 "$(field p99 <<<"$line")" us
            figure $side "processor time" \
                "$(calc %.2f "($(ticks "${process[$side]}") - $before) * 1e4 / $(field rx <<<"$line")")" us
        done
    done
    ratio vdenode vde_switch p50 '<= 1'
    ratio vdenode vde_switch p99 '<= 1'

    group "two clients of 1514 octets: vdenode's stream socket, vde_switch's own"
    for _ in $(seq "$RUNS"); do
        line=$("$work/vdeblast" "$work/theirs" "$work/theirs" 1514 "$SECS")
        figure vde_switch received "$(calc %.2f "$(field rx_kpps <<<"$line") * 1514 * 8 / 1e6")" Gbit/s
        figure vdenode received "$("$work/streamblast" "$work/stream" 1514 "$SECS" | field rx_gbps)" Gbit/s
    done
    ratio vdenode vde_switch received

    group "broadcasts of 100 octets, 2000 a second: the switch's processor time for each copy"
    local ports copies
    for ports in 2 8 64 128; do
        for side in vde_switch vdenode; do
            before=$(ticks "${process[$side]}")
            copies=$("$work/vdeflood" "${socket[$side]}" $ports 2000 "$SECS" | field copies)
            figure $side "$ports ports" \
                "$(calc %.2f "($(ticks "${process[$side]}") - $before) * 1e4 / $copies")" us
        done
        ratio vdenode vde_switch "$ports ports"
    done
}
