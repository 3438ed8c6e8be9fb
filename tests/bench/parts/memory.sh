# about: resident memory and processor time: an idle node, one cable at full rate, 64 ports and 8 cables
# builds: vdenode vdecable

measure() {
    need_root
    need iperf3 iperf3; need ip iproute2; need ethtool ethtool
    compile vdeflood
    group "one node"
    node idle --no-listen
    local pid=${node_pid[idle]} before seconds=10 number flood
    before=$(ticks "$pid")
    sleep $seconds
    figure idle "processor time" "$(calc %.2f "($(ticks "$pid") - $before) / $seconds")" "% of a core"
    figure idle memory "$(resident "$pid")" MB
    goal idle memory '<= 15'
    start_over

    host a; host b; wire a b
    node b --on b --listen 10.99.0.2:7667 --tap t0
    node a --on a --no-listen --tap t0
    cable a b 10.99.0.2
    inner a b
    on b iperf3 -s -1 -D >/dev/null
    until_true "iperf3" on b bash -c 'ss -ltn | grep -q :5201'
    on a iperf3 -t "$SECS" -P 4 -c 10.77.0.2 >/dev/null
    figure "one cable at full rate, sending" memory "$(resident "${node_pid[a]}")" MB
    figure "one cable at full rate, receiving" memory "$(resident "${node_pid[b]}")" MB
    goal "one cable at full rate, sending" memory '<= 40'
    goal "one cable at full rate, receiving" memory '<= 40'
    start_over

    # Eight neighbours, and 64 plugs that all hear broadcasts, which also cross every cable.
    node hub --listen 127.0.0.1:7999 --no-storm-control
    for number in $(seq 8); do
        node "n$number" --no-listen --no-storm-control
        cable "n$number" hub 127.0.0.1:7999
    done
    "$work/vdeflood" "$work/hub/vde" 64 2000 "$SECS" >/dev/null &
    flood=$!
    sleep "$(calc %.1f "$SECS * 0.8")"
    figure "64 ports and 8 cables, 2000 broadcasts a second" memory "$(resident "${node_pid[hub]}")" MB
    goal "64 ports and 8 cables, 2000 broadcasts a second" memory '<= 80'
    wait $flood
}
