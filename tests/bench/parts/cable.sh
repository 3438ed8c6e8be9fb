# about: tap to tap between two hosts over a wire of 1500 octets, beside quincy (QUIC) and VXLAN (no encryption)
# builds: vdenode vdecable
#
#   ./bench cable [PEER…]   the peers of tests/bench/peers.sh; default: ours quincy vxlan
#   OFFLOAD=1 ./bench cable   the wire's segmentation offload is left on
#   MTU=9000 ./bench cable    the wire carries packets of that length

measure() {
    need_root
    need iperf3 iperf3; need ethtool ethtool; need ip iproute2; need openssl openssl
    local peers=("$@") peer line offload=${OFFLOAD:-0} mtu=${MTU:-1500}
    [ ${#peers[@]} -gt 0 ] || peers=(ours quincy vxlan)
    if [[ " ${peers[*]} " == *" quincy "* ]] && [ ! -x "$target/peers/bin/quincy-server" ]; then
        echo "building quincy for comparison (once)"
        cargo install --quiet --root "$target/peers" quincy-server quincy-client
    fi
    local times='>= 3.5'
    [ "$offload" != 0 ] || [ "$mtu" != 1500 ] || times='>= 2.2'
    if [ "$offload" = 0 ]; then
        group "inner TCP and round trip, wire of $mtu octets"
    else
        group "inner TCP and round trip, wire of $mtu octets, its segmentation offload on"
    fi
    for _ in $(seq "$RUNS"); do
        for peer in "${peers[@]}"; do
            line=$(PEERS=$target/peers OURS=$ours SECS=$SECS OFFLOAD=$offload MTU=$mtu bash tests/bench/peers.sh "$peer") || true
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
        ratio ours quincy "$what" "$times"
        ratio ours vxlan "$what" "$([ "$times" = '>= 3.5' ] || echo '>= 0.6')"
    done
    goal ours "idle round trip" '<= 0.25'
    goal ours "loaded round trip" '<= 2'
}
