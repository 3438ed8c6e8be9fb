# about: the gateway's DHCP server under Kea's perfdhcp behind a cable: rates, losses, a thousand kills
# builds: vdenode vdecable
#
#   ./bench dhcp          perfdhcp: steady rates, renewals, releases, a crowd at once
#   ./bench dhcp kills    the gateway is killed a thousand times under load (KILLS=N), some minutes

measure() {
    if [ "${1:-}" = kills ]; then
        kills
        return
    fi
    need_root
    need perfdhcp kea-admin; need jq jq; need ip iproute2; need nft nftables
    host inside; host machine
    wire inside machine offload
    # perfdhcp is ten thousands of machines behind one port.
    node gateway --on inside --gateway 10.77.0.1/16 --leases-per-port 65535
    node far --on machine --no-listen --tap vm0
    cable far gateway 10.99.0.1
    on machine ip link set vm0 up
    # perfdhcp is a relay agent; the address of one is nobody else's.
    of gateway lease add 10.77.255.254 "$(on machine cat /sys/class/net/vm0/address)" >/dev/null
    on machine ip addr add 10.77.255.254/16 dev vm0
    until_true "an answer of the gateway" on machine ping -c 1 -W 1 10.77.0.1

    group "perfdhcp: exchanges from DISCOVER to ACK"
    run "1000 clients, 500/s, 10 s" 01 -r 500 -R 1000 -p 10
    run "the same, renewing and releasing" 02 -r 500 -R 1000 -p 10 -f 150 -F 150
    local rate base=10
    for rate in 1000 2000 3000 4000; do
        base=$((base + 10))
        # It may send a few more than asked for, and they shall be new clients, too.
        run "new clients, $rate/s asked" $base -r $rate -R $((2 * rate * SECS)) -n $((rate * SECS)) -u
    done
    goal "new clients, 3000/s asked" "exchanges" '>= 2000'
    group "perfdhcp: 1000 clients at once"
    local run seconds
    for run in $(seq "$RUNS"); do
        perfdhcp_says "mac=00:0c:6$run:00:00:00" --scenario avalanche -R 1000
        # "It took 00:00:02.008425 to provision 1000 clients."
        seconds=$(awk -F '[: ]' '/^It took/ {print $3 * 3600 + $4 * 60 + $5}' "$work/report")
        [ -n "$seconds" ] || { cat "$work/report" >&2; echo "bench: not all were served" >&2; exit 1; }
        figure "1000 clients" "until all are served" "$seconds" s
        figure "1000 clients" "addresses given twice" "$(total 'non unique addresses' 2)" addresses
    done
    goal "1000 clients" "until all are served" '<= 5'
    goal "1000 clients" "addresses given twice" '<= 0'
    figure gateway "leases in the end" "$(of gateway --json leases | jq '[.leases[] | select(.state == "bound")] | length')" leases
    figure gateway "resident memory" "$(resident "${node_pid[gateway]}")" MB
}

run() { # run SUBJECT NUMBER WORD…: one run of perfdhcp with clients of its own
    local subject=$1 number=$2
    shift 2
    perfdhcp_says "mac=00:0c:$number:00:00:00" -W 500000 "$@"
    figure "$subject" exchanges "$(sed -n 's/^Rate: \([0-9.]*\).*/\1/p' "$work/report")" /s
    figure "$subject" lost "$(total drops 2)" messages
    [[ " $* " != *" -u "* ]] || figure "$subject" "given twice" "$(total 'non unique addresses' 2)" addresses
    figure "$subject" "to the ACK" "$(awk '/REQUEST-ACK\*/ {ack = 1} ack && /^avg delay/ {print $3; exit}' "$work/report")" ms
}

# Runs perfdhcp for clients from a MAC address on; what it says is in $work/report.
perfdhcp_says() { # perfdhcp_says BASE WORD…
    local base=$1 status=0
    shift
    on machine perfdhcp -4 -l vm0 -b "$base" "$@" 10.77.0.1 >"$work/report" 2>&1 || status=$?
    # 3 says that some exchanges were not completed: the figures say which. RELEASE has no answer ever.
    case $status in 0 | 3) ;; *)
        cat "$work/report" >&2
        echo "bench: perfdhcp $* ended with $status" >&2
        exit 1 ;;
    esac
}

# The sum of a counter of the first kinds of exchange in the report; RELEASE is not among them.
total() { # total COUNTER KINDS
    sed -n "s/^$1: \([0-9]*\)$/\1/p" "$work/report" | head -n "$2" | awk '{sum += $1} END {print sum + 0}'
}

kills() {
    local line
    VDE_KILLS=${KILLS:-1000} VDE_RINGS=4 VDE_STRICT=1 \
        cargo test --quiet -p system-tests --test netns -- no_kill_loses_a_lease --nocapture |
        tee "$work/kills" >&2
    line=$(grep ' kills, ' "$work/kills") || { echo "bench: a lease was lost or doubled" >&2; exit 1; }
    group "the gateway killed under load: no lease lost, none doubled"
    figure gateway kills "$(awk '{for (i = 2; i <= NF; i++) if ($i ~ /^kills/) print $(i - 1)}' <<<"$line")" times
}
