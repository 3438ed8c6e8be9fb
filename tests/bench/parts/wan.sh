# about: a path of 100 Mbit/s and 50 ms that loses 0.1 %, made by our wirefilter: TCP and round trip with and without a cable on it
# builds: vdenode vdecable wirefilter
#
#   ./bench wan [LOSS]   percent; default 0.1

measure() {
    need_root
    need iperf3 iperf3; need jq jq; need ip iproute2
    local loss=${1:-0.1} side way address reverse seconds=$((SECS < 8 ? 8 : SECS))
    declare -A address=([direct]=198.51.100.2 [cable]=10.77.0.2)
    host a; host b
    # The path: a tap at each end, a switch behind each, and wirefilter between them. Public addresses,
    # since a cable takes a private path for a LAN.
    for side in a b; do
        node "path-$side" --on $side --no-listen --no-storm-control --tap w0
        on $side ip link set w0 up
    done
    on a ip addr add 198.51.100.1/24 dev w0
    on b ip addr add 198.51.100.2/24 dev w0
    # It ends with its input.
    mkfifo "$work/open"
    "$ours/wirefilter" -v "$work/path-a/vde:$work/path-b/vde" -d 25 -l "$loss" -b 100Mbit -c "LR${BUFFER:-1250000}" \
        -c "RL${BUFFER:-1250000}" <>"$work/open" 2>"$work/wirefilter.log" &
    pids+=($!)
    until_true "the path" on a ping -c 1 -W 1 198.51.100.2
    node b --on b --listen 198.51.100.2:7667 --tap t0
    node a --on a --no-listen --tap t0
    cable a b 198.51.100.2
    inner a b
    sleep 2
    on b iperf3 -s -D >/dev/null
    until_true "iperf3" on b bash -c 'ss -ltn | grep -q :5201'

    group "100 Mbit/s, 50 ms, $loss % lost"
    for _ in $(seq "$RUNS"); do
        for way in direct cable; do
            for reverse in "" -R; do
                figure $way "TCP${reverse:+, reverse}" "$(on a iperf3 -J -t "$seconds" $reverse -c "${address[$way]}" |
                    jq '.end.sum_received.bits_per_second / 1e6 | round')" Mbit/s
            done
            figure $way "4 streams" "$(on a iperf3 -J -t "$seconds" -P 4 -c "${address[$way]}" |
                jq '.end.sum_received.bits_per_second / 1e6 | round')" Mbit/s
            figure $way "idle round trip" "$(on a ping -q -i 0.05 -c 40 "${address[$way]}" | awk -F/ '/^rtt/ {print $5}')" ms
            on a iperf3 -t "$((seconds + 2))" -P 4 -c "${address[$way]}" >/dev/null 2>&1 &
            sleep 3
            figure $way "loaded round trip" "$(on a ping -q -i 0.05 -c 80 "${address[$way]}" | awk -F/ '/^rtt/ {print $5}')" ms
            wait $!
        done
    done
    ratio cable direct TCP '>= 0.9'
    ratio cable direct "TCP, reverse" '>= 0.9'
    ratio cable direct "4 streams" '>= 0.9'
    goal cable "loaded round trip" '<= 60'
}
