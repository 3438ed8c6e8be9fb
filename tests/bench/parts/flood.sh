# about: what strangers cost a node whose cable is in use: forged first packets, handshakes with strange keys
# builds: vdenode vdecable system-tests
#
#   ./bench flood   FORGED (default 50000) first packets a second from forged addresses for TIME (default
#                   10) seconds, then HANDSHAKES (default 500) a second with keys that nobody trusts

measure() {
    need_root
    need iperf3 iperf3; need jq jq; need ip iproute2; need ethtool ethtool
    local forged=${FORGED:-50000} handshakes=${HANDSHAKES:-500} time=${TIME:-10}
    host a; host b; host x
    wire a b
    # The strangers' own wire, and everything that claims to be from them.
    ip link add out netns "vdebench-$$-b" type veth peer name out netns "vdebench-$$-x"
    on b ip addr add 10.66.0.1/24 dev out; on b ip link set out up
    on x ip addr add 10.66.0.2/24 dev out; on x ip link set out up
    on b ip route add 10.128.0.0/9 via 10.66.0.2
    on b sh -c 'for f in all out; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done'
    local sources=() network
    for network in $(seq 0 63); do
        on x ip addr add "10.200.$network.1/32" dev lo
        sources+=("10.200.$network.1")
    done
    node a --on a --tap tap0
    node b --on b --tap tap0
    cable a b 10.99.0.2
    on a ip addr add 10.98.0.1/24 dev tap0; on a ip link set tap0 up
    on b ip addr add 10.98.0.2/24 dev tap0; on b ip link set tap0 up
    until_true "a ping over the cable" on a ping -c 1 -W 1 10.98.0.2
    local key
    key=$(of b id)
    group "a cable in use while strangers flood one of its nodes, one TCP stream"
    throughput "$time" | note_rate quiet
    besiege forged "$time" forged 10.66.0.1:7667 "$forged" "$time"
    besiege handshakes "$time" handshakes 10.66.0.1:7667 "$handshakes" "$time" "$key" "${sources[@]}"
    ratio forged quiet throughput '>= 0.8'
    ratio handshakes quiet throughput '>= 0.8'
    local kind
    for kind in forged handshakes; do
        goal $kind "memory more" '<= 50'
        goal $kind "octets out for one in" '<= 3'
        goal $kind "cables that went down" '<= 0'
        goal $kind "log lines a second" '<= 10'
    done
    # What one handshake costs, with nothing else to do.
    local before begun accepted
    accepted=$(strangers .accepted)
    before=$(ticks "${node_pid[b]}")
    begun=$(on x "$ours/strangers" handshakes 10.66.0.1:7667 "$handshakes" "$time" "$key" "${sources[@]}")
    accepted=$(($(strangers .accepted) - accepted))
    figure "a handshake refused" "processor time, with what its flood costs" \
        "$(calc %.0f "($(ticks "${node_pid[b]}") - $before) * 1e4 / $accepted")" us
    echo "  $begun, $accepted let in" >&2
}

throughput() { # throughput SECONDS: Gbit/s from a to b
    on b iperf3 -s -1 -p 5202 >/dev/null 2>&1 &
    until_true "iperf3" on b sh -c 'ss -Hltn sport = :5202 | grep -q .'
    on a iperf3 -J -c 10.98.0.2 -p 5202 -t "$1" | jq '.end.sum_received.bits_per_second / 1e9'
}

note_rate() {
    local rate
    read -r rate
    figure "$1" throughput "$(calc %.2f "$rate")" Gbit/s
}

strangers() { of b --json status | jq ".strangers | $1"; }
times_up() { of b --json status | jq '[.cables[].times_up] | add'; }
wire_octets() { on b cat "/sys/class/net/out/statistics/$1_bytes"; }

besiege() { # besiege NAME SECONDS WORDS FOR STRANGERS…
    local name=$1 time=$2 rss ups rx tx lines said
    shift 2
    rss=$(resident "${node_pid[b]}") ups=$(times_up)
    rx=$(wire_octets rx) tx=$(wire_octets tx) lines=$(wc -l <"$work/b/log")
    on x "$ours/strangers" "$@" >"$work/said" & pids+=($!)
    said=$!
    throughput "$((time - 1))" | note_rate "$name"
    wait $said || true
    echo "  strangers: $(cat "$work/said")" >&2
    echo "  node: $(strangers "del(.under_way)" | jq -c .)" >&2
    figure "$name" "memory more" "$(calc %.1f "$(resident "${node_pid[b]}") - $rss")" MB
    figure "$name" "octets out for one in" \
        "$(calc %.3f "($(wire_octets tx) - $tx) / ($(wire_octets rx) - $rx)")" ""
    figure "$name" "cables that went down" "$(($(times_up) - ups))" ""
    figure "$name" "log lines a second" "$(calc %.1f "($(wc -l <"$work/b/log") - $lines) / $time")" ""
}
