# about: links made worse: the emulator alone, wirefilter beside Debian's, wires on the ports of a node
# builds: vdenode vdecable wirefilter
# examples: emulator:emulator_cost
#
#   ./bench wire [core] [pipe] [tcp] [rate] [plugs]   some of its tables; default: all

measure() {
    [ $# -gt 0 ] || set -- core pipe tcp rate plugs
    local table hosts=no
    for table; do
        case $table in
            core) ;;
            pipe) need wirefilter vde-wirefilter; need dpipe vdeplug ;;
            tcp | rate | plugs) need_root; need ip iproute2; need iperf3 iperf3; hosts=yes ;;
            *) echo "bench: there is no table '$table'" >&2; return 1 ;;
        esac
    done
    [ $hosts = no ] || two_hosts
    for table; do "measure_$table"; done
}

measure_core() {
    local what line
    group "the emulator alone, one core, frames of 64 octets"
    for _ in $(seq "$RUNS"); do
        for what in speed jitter reorder; do
            line=$("$ours/examples/emulator_cost" $what)
            figure "${line%%: *}" through "$(field mfps <<<"$line")" "M frames/s"
        done
    done
    goal "delay 10 ms, loss 1 %, 10 Gbit/s" through '>= 5'
    figure "1 M frames in the delay line" "beside their own octets" \
        "$("$ours/examples/emulator_cost" memory | field octets)" "octets each"
    goal "1 M frames in the delay line" "beside their own octets" '<= 128'
}

# A program between two ends of a dpipe: the line of pipeblast's receiver, and the program's processor
# time for a frame in ns.
through() { # through PROGRAM SIZE PPS BURST [ARGUMENT…]
    local program=$1 size=$2 pps=$3 burst=$4 said=$work/said pid filter before spent
    shift 4
    rm -f "$said"
    dpipe "$work/pipeblast" send "$size" "$SECS" "$pps" "$burst" \
        = "$program" "$@" = sh -c "exec '$work/pipeblast' receive 2>'$said'" 2>/dev/null &
    pid=$!
    # While all of it runs, because ours ends with the sender.
    sleep "$(calc %.2f "$SECS * 0.2")"
    filter=$(pgrep -P $pid -x wirefilter)
    before=$(ticks "$filter")
    sleep "$(calc %.2f "$SECS * 0.6")"
    spent=$(($(ticks "$filter") - before))
    # Debian's never ends by itself.
    for _ in $(seq $((SECS * 20 + 200))); do
        [ -s "$said" ] && break
        sleep 0.05
    done
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    echo "$(cat "$said") cpu=$(calc %.0f "$spent * 1e4 / ($(field kpps <"$said") * $SECS * 0.6)")"
}

measure_pipe() {
    compile pipeblast
    local side burst line
    declare -A program=([Debian]=/usr/bin/wirefilter [ours]=$ours/wirefilter)
    for burst in 1 32; do
        group "wirefilter under dpipe, 200 octets, $burst to a write"
        for _ in $(seq "$RUNS"); do
            for side in Debian ours; do
                line=$(through "${program[$side]}" 200 0 $burst)
                figure $side received "$(field kpps <<<"$line")" kpps
                figure $side "processor time" "$(field cpu <<<"$line")" ns
            done
        done
        ratio ours Debian received '>= 3'
        ratio Debian ours "processor time"
    done
    group "wirefilter under dpipe, 10 ms, 200 octets, 2 kpps"
    for _ in $(seq "$RUNS"); do
        for side in Debian ours; do
            line=$(through "${program[$side]}" 200 2000 1 -d 10)
            figure $side p50 "$(field p50 <<<"$line")" us
            figure $side p99 "$(field p99 <<<"$line")" us
        done
    done
    group "wirefilter under dpipe, 10 ms, 1514 octets, 32 to a write, as fast as they go"
    for _ in $(seq "$RUNS"); do
        for side in Debian ours; do
            line=$(through "${program[$side]}" 1514 0 32 -d 10)
            figure $side received "$(field gbps <<<"$line")" Gbit/s
            figure $side "p50 from writing to reading" "$(field p50 <<<"$line")" us
        done
    done
    goal ours received '>= 1'
}

# Two hosts with a tap each on a node that is in neither.
two_hosts() {
    local name number=0
    node wires --no-listen --no-storm-control --tap vb$$l --tap vb$$r
    for name in l r; do
        number=$((number + 1))
        host $name
        ip link set "vb$$$name" netns "vdebench-$$-$name" name t0
        on $name ip addr add 10.96.0.$number/24 dev t0
        on $name ip link set t0 up
        # The window of 20 ms of 10 Gbit/s: the link is measured, not a limit of TCP.
        on $name sysctl -qw net.ipv4.tcp_rmem="4096 131072 50331648" net.ipv4.tcp_wmem="4096 131072 50331648"
    done
    until_true "the hosts to hear each other" on l ping -c 1 -W 1 10.96.0.2
}

# Taps between the same hosts on a program that holds each frame for so long and does nothing else. Ends
# what runs of it.
bare() { # bare MILLISECONDS
    local name number=0
    stop_bare
    "$work/hold" hb$$l hb$$r "$1" >"$work/held" &
    bare_pid=$!
    pids+=($!)
    until_true "the taps" test -s "$work/held"
    for name in l r; do
        number=$((number + 1))
        ip link set "hb$$$name" netns "vdebench-$$-$name" name t1
        on $name ip addr add 10.97.0.$number/24 dev t1
        on $name ip link set t1 up
    done
    until_true "the hosts to hear each other" on l ping -c 1 -W 1 10.97.0.2
}

stop_bare() {
    [ -n "${bare_pid:-}" ] || return 0
    kill "$bare_pid"
    wait "$bare_pid" 2>/dev/null || true
    bare_pid=
}

# What the node measured in a direction of the only wire.
achieved() { # achieved DIRECTION FIELD
    of wires --json wire | jq ".wires[0].directions[] | select(.direction == \"$1\").achieved.$2"
}

# TCP from one host to the other in Gbit/s; the first second, in which the window opens, does not count.
tcp() { # tcp ADDRESS [ARGUMENT OF IPERF3…]
    local address=$1 server
    shift
    on r iperf3 -s -1 -p 5300 >/dev/null 2>&1 &
    server=$!
    sleep 0.3
    on l iperf3 -J -O 1 -t $((SECS + 1)) -p 5300 -c "$address" "$@" | jq '.end.sum_received.bits_per_second / 1e9'
    wait $server 2>/dev/null || true
}

# With beside_bare=yes also what 10 ms cost where nothing is done but to wait: TCP's own share, and that of
# processors whose caches hold less than what is under way.
tcp_both_ways() { # tcp_both_ways TITLE [ARGUMENT OF IPERF3…]
    local direction
    group "TCP from tap to tap, $1"
    shift
    for _ in $(seq "$RUNS"); do
        figure "without a wire" received "$(tcp 10.96.0.2 "$@")" Gbit/s
        of wires wire 1 --delay 10ms >/dev/null
        on l ping -q -i 0.02 -c $((SECS * 50)) 10.96.0.2 >"$work/ping" &
        figure "10 ms each way" received "$(tcp 10.96.0.2 "$@")" Gbit/s
        wait $!
        for direction in in out; do
            figure "10 ms each way" "p50 $direction" "$(achieved $direction delay_p50_ms)" ms
            figure "10 ms each way" "p99 $direction" "$(achieved $direction delay_p99_ms)" ms
        done
        figure "10 ms each way" "round trip meanwhile" "$(awk -F/ '/^rtt/ {print $5}' "$work/ping")" ms
        of wires wire 1 --clear >/dev/null
        [ "${beside_bare:-}" = yes ] || continue
        bare 10
        figure "10 ms in a program that only waits" received "$(tcp 10.97.0.2 "$@")" Gbit/s
        stop_bare
    done
    if [ "${beside_bare:-}" = yes ]; then
        ratio "10 ms each way" "10 ms in a program that only waits" received '>= 0.95'
        ratio "10 ms each way" "without a wire" received
    else
        ratio "10 ms each way" "without a wire" received '>= 0.95'
    fi
    for direction in in out; do
        goal "10 ms each way" "p50 $direction" '<= 10.2'
        goal "10 ms each way" "p99 $direction" '<= 11'
    done
}

measure_tcp() {
    compile hold
    tcp_both_ways "held to 1 Gbit/s" -b 1G
    tcp_both_ways "held to 2 Gbit/s" -b 2G
    tcp_both_ways "held to 5 Gbit/s" -b 5G
    beside_bare=yes
    tcp_both_ways "1 stream at full rate"
    tcp_both_ways "4 streams at full rate" -P 4
}

measure_rate() {
    local back load
    group "a bottleneck of 20 Mbit/s, offered 40 of UDP"
    for _ in $(seq "$RUNS"); do
        for back in 0 100M 1G; do
            # A tenth of a second of frames may wait.
            of wires wire 1 --in --rate 20mbit --queue 250000 >/dev/null
            load=
            if [ $back != 0 ]; then
                on l iperf3 -s -1 -p 5301 >/dev/null 2>&1 &
                sleep 0.3
                on r iperf3 -u -b $back -l 1400 -t $((SECS + 2)) -p 5301 -c 10.96.0.1 >/dev/null 2>&1 &
                load=$!
            fi
            on r iperf3 -s -1 -p 5300 >/dev/null 2>&1 &
            sleep 0.3
            # 1442 octets of frame for 1400 of payload.
            figure "$back back" "arrives" "$(on l iperf3 -J -u -b 40M -l 1400 -t "$SECS" -p 5300 -c 10.96.0.2 |
                jq '.end.sum_received.bytes * 8 / .end.sum_received.seconds * 1442 / 1400 / 1e6')" Mbit/s
            [ -z "$load" ] || wait $load || true
            figure "$back back" "the node's own measure" "$(calc %.3f "$(achieved in peak_rate_bps) / 1e6")" Mbit/s
            of wires wire 1 --clear >/dev/null
        done
    done
    for back in 0 100M 1G; do
        goal "$back back" "the node's own measure" '>= 19.6'
        goal "$back back" "the node's own measure" '<= 20.4'
    done
}

# vdeblast, with a wire on its sender's port if there are arguments.
blast() { # blast PPS [ARGUMENT OF VDECABLE WIRE…]
    local pps=$1
    shift
    "$work/vdeblast" "$work/wires/vde" "$work/wires/vde" 64 "$SECS" "$pps" >"$work/blast" &
    local pid=$!
    [ $# = 0 ] || until_true "the plug" of wires wire vdeblast-tx --in "$@"
    wait $pid
    cat "$work/blast"
}

measure_plugs() {
    compile vdeblast
    local pps line
    for pps in 2000 50000; do
        group "between two VDE plugs, 64 octets, $pps a second"
        for _ in $(seq "$RUNS"); do
            line=$(blast $pps)
            figure "without a wire" p50 "$(field p50 <<<"$line")" us
            figure "without a wire" p99 "$(field p99 <<<"$line")" us
            line=$(blast $pps --delay 10ms)
            figure "10 ms" p50 "$(field p50 <<<"$line")" us
            figure "10 ms" p99 "$(field p99 <<<"$line")" us
        done
        goal "10 ms" p50 '<= 10200'
        goal "10 ms" p99 '<= 11000'
    done
    group "between two VDE plugs, 64 octets, 100 kpps"
    for _ in $(seq "$RUNS"); do figure "1 % of loss" lost "$(blast 100000 --loss 1% | field loss)" %; done
    goal "1 % of loss" lost '>= 0.9'
    goal "1 % of loss" lost '<= 1.1'
}
