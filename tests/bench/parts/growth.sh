# about: what a frame costs as ports, MAC addresses and nodes grow
# builds: vdenode vdecable
#
# One figure at each size and no goal: what matters is that it does not grow with the size.

measure() {
    compile vdeblast vdeflood growblast
    local ports macs nodes line before pid number

    group "processor time of the switch for a unicast frame of 64 octets, 20 kpps, among so many ports"
    node switch --no-listen --no-storm-control
    pid=${node_pid[switch]}
    for ports in 2 8 32 64; do
        before=$(ticks "$pid")
        line=$("$work/growblast" "$work/switch/vde" "$ports" 2 20000 "$SECS")
        figure "$ports ports" "processor time" "$(calc %.2f "($(ticks "$pid") - $before) * 1e4 / $(field received <<<"$line")")" us
    done

    # A port may hold 1024 addresses, so many ports share them.
    group "the same among 64 ports, to so many MAC addresses in turn"
    for macs in 63 1000 16000 64000; do
        before=$(ticks "$pid")
        line=$("$work/growblast" "$work/switch/vde" 64 "$macs" 20000 "$SECS")
        figure "$macs addresses" "processor time" "$(calc %.2f "($(ticks "$pid") - $before) * 1e4 / $(field received <<<"$line")")" us
        figure "$macs addresses" memory "$(resident "$pid")" MB
    done
    start_over

    group "nodes in a chain on one machine: one way of a frame of 64 octets from end to end, 1 kpps"
    node n1 --listen 127.0.0.1:7701 --no-storm-control
    nodes=1
    for number in 2 3 4 5 6 7 8; do
        node "n$number" --listen 127.0.0.1:770$number --no-storm-control
        cable "n$number" "n$nodes" 127.0.0.1:770$nodes
        nodes=$number
        case $nodes in 2 | 4 | 8)
            line=$("$work/vdeblast" "$work/n1/vde" "$work/n$nodes/vde" 64 "$SECS" 1000)
            figure "$nodes nodes" p50 "$(field p50 <<<"$line")" us
            figure "$nodes nodes" lost "$(field loss <<<"$line")" %
            ;;
        esac
    done
}
