# about: the mesh of built nodes: gaps of traffic when cables and nodes die, moves, loops outside, 30 nodes
# builds: vdenode vdecable
#
# Words: gaps, moves, loops, thirty; without one, all. A figure here is a time that somebody waits, so
# there is nobody beside us in the tables; for comparison, as their documentation and defaults have it:
# RSTP leaves a silent link after 6 s, Weave Net after 60 s, tinc after 65 s, vpncloud after 300 s.

# A wire of its own between two hosts: NUMBER names it, w0, w1, …, with 10.80.NUMBER.1 and .2.
numbered_wire() { # numbered_wire NUMBER HOST HOST
    local a=vdebench-$$-$2 b=vdebench-$$-$3
    ip link add "w$1" netns "$a" type veth peer name "w$1" netns "$b"
    ip -n "$a" addr add "10.80.$1.1/30" dev "w$1"
    ip -n "$b" addr add "10.80.$1.2/30" dev "w$1"
    ip -n "$a" link set "w$1" up
    ip -n "$b" link set "w$1" up
}

# A host with a node and a tap, tap0, with the address 10.99.0.NUMBER.
tapped() { # tapped NAME NUMBER
    host "$1"
    node "$1" --on "$1" --tap tap0
    on "$1" ip addr add "10.99.0.$2/24" dev tap0
    on "$1" ip link set tap0 up
}

in_reach() { # in_reach NODE COUNT: a node has a way to so many, itself included
    [ "$(of "$1" --json nodes | jq '[.nodes[] | select(.reachable)] | length')" = "$2" ]
}

in_use() { # in_use NODE COUNT: so many cables of a node carry frames
    [ "$(of "$1" --json cables | jq '[.cables[] | select(.in_use)] | length')" = "$2" ]
}

answers() { on "$1" ping -c 1 -W 1 "$2"; }

# The longest time without an answer in a log of `ping -D`, in seconds.
longest_gap() {
    awk '/bytes from/ {t = substr($1, 2) + 0; if (n++ && t - last > most) most = t - last; last = t}
        END {printf "%.3f\n", most}' "$1"
}

duplicates=0
count_duplicates() { # count_duplicates LOG
    duplicates=$((duplicates + $(grep -c 'DUP!' "$1" || true)))
}

# The first host on the way from a to b, and its cable's number at a.
middle() { of a --json trace b | jq -r '.traces[0].hops[1].node'; }

# Pings from a to b while COMMAND does its worst, and notes the longest gap.
gap_of() { # gap_of SUBJECT COMMAND…
    local subject=$1 log=$work/ping.log pinging
    shift
    on a ping -n -D -i 0.01 -w 4 10.99.0.2 >"$log" 2>&1 &
    pinging=$!
    sleep 0.8
    "$@"
    wait "$pinging" || true
    figure "$subject" "longest gap" "$(longest_gap "$log")" s
    count_duplicates "$log"
}

silence() { # silence HOST WIRE: nothing comes and nothing goes
    on "$1" nft -f - <<END
table inet hole {
    chain input { type filter hook input priority -10; iifname $2 drop; }
    chain output { type filter hook output priority -10; oifname $2 drop; }
}
END
}

# Two hosts, a and b, and two between them, x and y, which dial both. Wires: x has w0 and w1, y w2 and w3.
diamond() {
    tapped a 1; tapped b 2; tapped x 3; tapped y 4
    numbered_wire 0 a x; numbered_wire 1 b x; numbered_wire 2 a y; numbered_wire 3 b y
    cable x a 10.80.0.1; cable x b 10.80.1.1; cable y a 10.80.2.1; cable y b 10.80.3.1
    settled
}

settled() {
    until_true "all cables" in_use a 2
    until_true "all cables" in_use b 2
    until_true "all nodes" in_reach a 4
    until_true "answers of b" answers a 10.99.0.2
    # Costs and routes have settled by then; a gap is not to be that of the start.
    sleep 1
}

# A cable that was silent is tried for seconds before it is used; a new one is not.
replug() { # replug NODE: its cable to a
    local address=10.80.0.1
    [ "$1" = x ] || address=10.80.2.1
    of "$1" disconnect "$address" >/dev/null 2>&1 || true
    of "$1" connect "$address" >/dev/null 2>&1
    settled
}

gaps() {
    local way
    diamond
    group "a ping every 10 ms, when its way dies"
    for _ in $(seq "$RUNS"); do
        way=$(middle)
        gap_of "silent cable" silence a "$([ "$way" = x ] && echo w0 || echo w2)"
        on a nft delete table inet hole
        replug "$way"

        way=$(middle)
        gap_of "closed cable" of "$way" disconnect "$([ "$way" = x ] && echo 10.80.0.1 || echo 10.80.2.1)"
        replug "$way"

        way=$(middle)
        gap_of "kill -9 of the node between" kill -9 "${node_pid[$way]}"
        wait "${node_pid[$way]}" 2>/dev/null || true
        node "$way" --on "$way"
        settled
    done
    goal "silent cable" "longest gap" '<= 1.0'
    goal "closed cable" "longest gap" '<= 0.5'
    goal "kill -9 of the node between" "longest gap" '<= 0.5'
    group "frames that came twice in all of these"
    figure pings duplicates "$duplicates" ""
    goal pings duplicates '<= 0'
    leave a b x y
}

# Ends hosts and what runs in them.
leave() { # leave HOST…
    local space pid
    for space; do
        for pid in $(ip netns pids "vdebench-$$-$space"); do
            kill "$pid" 2>/dev/null || true
            wait "$pid" 2>/dev/null || true
        done
        ip netns del "vdebench-$$-$space"
        rm -rf "${work:?}/$space"
    done
}

moves() {
    compile vdemove
    local name number=0
    for name in a b c; do host "$name"; node "$name" --on "$name"; done
    for name in "a b" "b c" "c a"; do
        # shellcheck disable=SC2086
        numbered_wire $number $name
        number=$((number + 1))
    done
    cable a b 10.80.0.2; cable b c 10.80.1.2; cable c a 10.80.2.2
    for name in a b c; do until_true "three nodes" in_reach "$name" 3; done
    group "a station that announces itself at another node, 100 moves of 25 stations"
    "$work/vdemove" "$work/a/vde" "$work/b/vde" "$work/c/vde" >"$work/moves"
    local gap
    for gap in $(field gap_ms <"$work/moves"); do
        note figure station "from the old place to the new one" "$gap" ms
    done
    goal station "from the old place to the new one" '<= 200'
    group "of these, the worst"
    figure station "longest move" "$(field worst_ms <"$work/moves")" ms
    figure station duplicates "$(field duplicates <"$work/moves")" ""
    goal station duplicates '<= 0'
    leave a b c
}

is_blocked() { # is_blocked COUNT: so many ports of a and b are
    local blocked
    blocked=$({ of a --json ports; of b --json ports; } | jq -s '[.[].ports[] | select(.blocked)] | length')
    [ "$blocked" = "$1" ]
}

# Four hosts in a ring; the taps of a and b are in bridges, which a third one joins.
loops() {
    local number=0 pair pinging asking start
    tapped a 1; tapped b 2; tapped c 3; tapped d 4
    for pair in "a b" "b c" "c d" "d a"; do
        # shellcheck disable=SC2086
        numbered_wire $number $pair
        number=$((number + 1))
    done
    cable a b 10.80.0.2; cable b c 10.80.1.2; cable c d 10.80.2.2; cable d a 10.80.3.2
    host outside
    on outside ip link add name lan0 type bridge
    on outside ip link set lan0 up
    for pair in a b; do
        ip link add ext netns "vdebench-$$-$pair" type veth peer name "to-$pair" netns "vdebench-$$-outside"
        on "$pair" ip link add name lan0 type bridge
        on "$pair" ip link set lan0 up
        on "$pair" ip link set tap0 master lan0
        on "$pair" ip link set ext master lan0 up
        on outside ip link set "to-$pair" master lan0
    done
    on outside ip link set to-a up
    for pair in a b c d; do until_true "four nodes" in_reach "$pair" 4; done
    until_true "answers of d" answers c 10.99.0.4
    # The probes of the start are over.
    sleep 7
    group "two taps of two nodes joined outside"
    for _ in $(seq "$RUNS"); do
        on c ping -n -D -i 0.01 -w 5 10.99.0.4 >"$work/ping.log" 2>&1 &
        pinging=$!
        sleep 0.5
        start=$EPOCHREALTIME
        on outside ip link set to-b up
        # It speaks to all as well, for nobody has that address: this goes around.
        on c ping -n -i 0.3 -c 5 -W 1 10.99.0.77 >"$work/asks.log" 2>&1 &
        asking=$!
        until_true "one end to be blocked" is_blocked 1
        figure loop "until one end is blocked" "$(calc %.2f "$EPOCHREALTIME - $start")" s
        wait "$pinging" "$asking" || true
        figure loop "loss of others' pings" "$(sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' "$work/ping.log")" %
        on outside ip link set to-b down
        until is_blocked 0; do sleep 0.1; done
        # Not always at the same point of the pace of probes.
        sleep "$(calc %.1f "5 + $RANDOM % 20 / 10")"
    done
    goal loop "until one end is blocked" '<= 3'
    goal loop "loss of others' pings" '<= 1'
    leave a b c d outside
}

# Thirty nodes on one host: each dials the next one and the one seven further.
thirty() {
    local count=30 i j pid start
    host many
    name_of() { echo "n$1"; }
    launch() { # launch NUMBER
        mkdir -p "$work/n$1"
        ip netns exec "vdebench-$$-many" "$ours/vdenode" --name "n$1" --sock "$work/n$1/vde" --state "$work/n$1/state" \
            --control "$work/n$1/ctl" --listen "127.0.0.1:$((7700 + $1))" 2>>"$work/n$1/log" &
        node_pid[n$1]=$!
        pids+=($!)
    }
    for i in $(seq 0 $((count - 1))); do launch "$i"; done
    for i in $(seq 0 $((count - 1))); do until_true "node $i" of "n$i" id; done
    for i in $(seq 0 $((count - 1))); do
        for j in $(((i + 1) % count)) $(((i + 7) % count)); do
            of "n$i" trust "$(of "n$j" id)" >/dev/null
            of "n$j" trust "$(of "n$i" id)" >/dev/null
            of "n$i" connect --wait 0 "127.0.0.1:$((7700 + j))" >/dev/null 2>&1 || true
        done
    done
    group "thirty nodes with sixty cables on this machine, all started at once"
    for _ in $(seq "$RUNS"); do
        for i in $(seq 0 $((count - 1))); do kill "${node_pid[n$i]}"; done
        for i in $(seq 0 $((count - 1))); do wait "${node_pid[n$i]}" 2>/dev/null || true; done
        start=$EPOCHREALTIME
        for i in $(seq 0 $((count - 1))); do launch "$i"; done
        for i in $(seq 0 $((count - 1))); do
            until in_reach "n$i" $count 2>/dev/null; do sleep 0.05; done
        done
        figure mesh "until each knows all" "$(calc %.2f "$EPOCHREALTIME - $start")" s
        for i in $(seq 0 $((count - 1))); do resident "${node_pid[n$i]}"; done | sort -g | tail -n 1 >"$work/rss"
        figure mesh "memory of the largest" "$(cat "$work/rss")" MB
    done
    goal mesh "until each knows all" '<= 10'
    goal mesh "memory of the largest" '<= 30'
    leave many
}

measure() {
    need_root
    need nft nftables; need jq jq; need ping iputils-ping
    local what
    [ $# -gt 0 ] || set -- gaps moves loops thirty
    for what; do
        case $what in
            gaps | moves | loops | thirty) "$what" ;;
            *) echo "bench mesh: gaps, moves, loops or thirty, not $what" >&2; exit 2 ;;
        esac
    done
}
