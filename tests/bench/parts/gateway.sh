# about: TCP from a machine behind a cable out by the gateway, beside tap to tap over the same cable
# builds: vdenode vdecable
#
# The wire between the hosts carries packets of 1500 octets without offloads, as between real hosts; the
# gateway's way out has a card that segments, as real ones have. `masquerade of one's own` is the same way
# out with a plain tap, iptables and an address given by hand.

measure() {
    need_root
    need iperf3 iperf3; need ethtool ethtool; need ip iproute2; need nft nftables; need jq jq
    need iptables iptables
    host inside; host machine; host world
    wire inside machine
    # The gateway's host is on the Ethernet twice. Each of its interfaces answers for its own addresses
    # alone: else what is for the plain tap may come in by the gateway's, whose rules refuse it.
    on inside sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
    ip link add away netns "vdebench-$$-inside" type veth peer name net netns "vdebench-$$-world"
    on inside ip addr add 192.0.2.1/24 dev away; on inside ip link set away up
    on world ip addr add 192.0.2.2/24 dev net; on world ip link set net up
    on inside ip route add default via 192.0.2.2

    node gateway --on inside --gateway 10.77.0.1/24 --tap plain
    node far --on machine --no-listen --tap vm0
    cable far gateway 10.99.0.1
    # The machine has an address in either network: that of the gateway, and that of the plain tap.
    on machine ip addr add 10.77.0.2/24 dev vm0
    on machine ip addr add 10.88.0.2/24 dev vm0
    on machine ip link set vm0 up
    on machine ip route add 192.0.2.2 via 10.77.0.1 src 10.77.0.2
    on inside ip addr add 10.88.0.1/24 dev plain
    on inside ip link set plain up
    on inside sysctl -qw net.ipv4.conf.plain.forwarding=1
    on inside iptables -t nat -A POSTROUTING -s 10.88.0.0/24 -o away -j MASQUERADE
    on world ip addr add 192.0.2.3/24 dev net
    on machine ip route add 192.0.2.3 via 10.88.0.1 src 10.88.0.2
    local to
    for to in 10.88.0.1 192.0.2.2 192.0.2.3; do
        until_true "an answer of $to" on machine ping -c 1 -W 1 "$to"
    done

    group "TCP with one stream, wire of 1500 octets"
    local subject
    for _ in $(seq "$RUNS"); do
        while read -r subject where to; do
            subject=${subject//_/ }
            figure "$subject" "from the machine" "$(transfer "$where" "$to")" Gbit/s
            figure "$subject" "to the machine" "$(transfer "$where" "$to" -R)" Gbit/s
        done <<END
tap_to_tap inside 10.88.0.1
out_by_the_gateway world 192.0.2.2
masquerade_of_one's_own world 192.0.2.3
END
    done
    local direction
    for direction in "from the machine" "to the machine"; do
        ratio "out by the gateway" "tap to tap" "$direction" '>= 0.8'
        ratio "out by the gateway" "masquerade of one's own" "$direction" '>= 0.95'
    done
}

transfer() { # transfer HOST ADDRESS [-R]: Gbit/s of payload from the machine to a server there
    local where=$1 to=$2
    shift 2
    on "$where" iperf3 -s -1 -B "$to" -D -I "$work/iperf3.pid"
    until_true "iperf3 at $to" on "$where" sh -c "ss -ltn | grep -q '$to:5201'"
    on machine iperf3 -J -t "$SECS" -c "$to" "$@" | jq '.end.sum_received.bits_per_second / 1e9 * 1000 | round / 1000'
}
