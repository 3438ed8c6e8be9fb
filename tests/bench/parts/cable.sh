# about: tap to tap between two hosts over a wire of 1500 octets, beside quincy (QUIC) and VXLAN (no encryption)
# builds: vdenode vdecable
#
#   ./bench cable [PEER…]   the peers of tests/bench/peers.sh; default: ours quincy vxlan
#   OFFLOAD=1 ./bench cable   the wire's segmentation offload is left on

measure() {
    need_root
    need iperf3 iperf3; need ethtool ethtool; need ip iproute2; need openssl openssl
    local peers=("$@") peer line offload=${OFFLOAD:-0}
    [ ${#peers[@]} -gt 0 ] || peers=(ours quincy vxlan)
    if [[ " ${peers[*]} " == *" quincy "* ]] && [ ! -x "$target/peers/bin/quincy-server" ]; then
        echo "building quincy for comparison (once)"
        cargo install --quiet --root "$target/peers" quincy-server quincy-client
    fi
    if [ "$offload" = 0 ]; then
        group "inner TCP and round trip, wire of 1500 octets"
    else
        group "inner TCP and round trip, the wire's segmentation offload on"
    fi
    for _ in $(seq "$RUNS"); do
        for peer in "${peers[@]}"; do
            line=$(PEERS=$target/peers OURS=$ours SECS=$SECS OFFLOAD=$offload bash tests/bench/peers.sh "$peer") || true
            if [[ $line != *tcp1=* ]]; then
                echo "bench: $line" >&2
                continue
            fi
            figure "$peer" "1 stream" "$(field tcp1 <<<"$line")" Gbit/s
            figure "$peer" "4 streams" "$(field tcp4 <<<"$line")" Gbit/s
            figure "$peer" reverse "$(field tcpR <<<"$line")" Gbit/s
            figure "$peer" "idle round trip" "$(field rtt <<<"$line")" ms
            figure "$peer" "loaded round trip" "$(field loaded_rtt <<<"$line")" ms
            figure "$peer" processors "$(field cores <<<"$line")" cores
        done
    done
    local what
    for what in "1 stream" "4 streams" reverse; do
        ratio ours quincy "$what" "$([ "$offload" = 0 ] && echo '>= 2.2' || echo '>= 3.5')"
        ratio ours vxlan "$what" "$([ "$offload" = 0 ] && echo '>= 0.6' || true)"
    done
    goal ours "idle round trip" '<= 0.25'
    goal ours "loaded round trip" '<= 2'
}
