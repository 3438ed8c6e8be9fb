# What the parts of ./bench share: starting nodes, noting figures, cleaning up. Sourced, not run.
#
# A part notes what it measures by
#   group TITLE                          a table; what follows goes into it
#   figure SUBJECT MEASURE VALUE UNIT    one sample; of several, the median counts
#   ratio SUBJECT BASE MEASURE [GOAL]    the medians' quotient, and what it should be: '>= 2.2'
#   goal SUBJECT MEASURE GOAL            what a median itself should be: '<= 15'
# in any order within its group.

ours=$target/release
work=$(mktemp -d /tmp/benchXXXX)
notes=$work/notes
: >"$notes"
pids=()
spaces=()

finish() {
    local pid space
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for space in "${spaces[@]}"; do
        for pid in $(ip netns pids "$space" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
        ip netns del "$space" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Ends what was started so far; the part goes on.
start_over() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}

need() { # need PROGRAM PACKAGE
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ||
        { echo "bench: $1 is missing: apt-get install $2" >&2; exit 1; }
}

need_root() {
    [ "$(id -u)" = 0 ] || { echo "bench: this part needs root (namespaces, taps)" >&2; exit 1; }
}

note() {
    local IFS=$'\t'
    echo "$*" >>"$notes"
}

group() { note group "$1"; }
figure() {
    note figure "$1" "$2" "$3" "$4"
    printf '  %s, %s: %s %s\n' "$1" "$2" "$3" "$4" >&2
}
ratio() { note ratio "$1" "$2" "$3" "${4:-}"; }
goal() { note goal "$1" "$2" "$3"; }

# The value after NAME= on standard input.
field() { sed -n "s/.*\b$1=\([0-9.]*\).*/\1/p"; }

# Processor time of a process in hundredths of a second.
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }

# Resident memory of a process in MB.
resident() { awk '/^VmRSS/ {printf "%.1f\n", $2 / 1024}' "/proc/$1/status"; }

# Evaluates an expression of awk's: calc '%.2f' '1 / 3'
calc() { awk "BEGIN {printf \"$1\", $2}"; }

# until_true WHAT COMMAND…: waits, ten seconds at most.
until_true() {
    local what=$1
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    echo "bench: in vain waited for: $what" >&2
    exit 1
}

# A host: a network namespace that goes when the part ends. The name is made unique.
host() { # host NAME
    local space=vdebench-$$-$1
    ip netns add "$space"
    spaces+=("$space")
    ip -n "$space" link set lo up
}

on() { # on HOST COMMAND…
    local space=vdebench-$$-$1
    shift
    ip netns exec "$space" "$@"
}

# A wire between two hosts, eth0 at both, 10.99.0.1 and 10.99.0.2. Without offloads it carries packets
# of at most its MTU, as a real one does.
wire() { # wire HOST HOST [offload] [MTU]
    local a=vdebench-$$-$1 b=vdebench-$$-$2 offload=${3:-} mtu=${4:-1500} space
    ip link add eth0 netns "$a" mtu "$mtu" type veth peer name eth0 netns "$b" mtu "$mtu"
    ip -n "$a" addr add 10.99.0.1/24 dev eth0
    ip -n "$b" addr add 10.99.0.2/24 dev eth0
    for space in "$a" "$b"; do
        ip -n "$space" link set eth0 up
        [ "$offload" = offload ] ||
            ip netns exec "$space" ethtool -K eth0 tso off gso off gro off tx off >/dev/null 2>&1
    done
}

# A node of ours in $work/NAME; its process is ${node_pid[NAME]}, its VDE socket $work/NAME/vde.
# START is what runs it: `on HOST`, or nothing.
declare -A node_pid
node() { # node NAME [--on HOST] [FLAG…]
    local name=$1 start=()
    shift
    if [ "${1:-}" = --on ]; then
        start=(ip netns exec "vdebench-$$-$2")
        shift 2
    fi
    mkdir -p "$work/$name"
    "${start[@]}" "$ours/vdenode" --name "$name" --sock "$work/$name/vde" --state "$work/$name/state" \
        --control "$work/$name/ctl" "$@" 2>"$work/$name/log" &
    node_pid[$name]=$!
    pids+=($!)
    for _ in $(seq 100); do
        of "$name" id >/dev/null 2>&1 && return
        sleep 0.05
    done
    echo "bench: the node did not start:" >&2
    cat "$work/$name/log" >&2
    exit 1
}

of() { # of NODE COMMAND…: vdecable at a node
    local name=$1
    shift
    "$ours/vdecable" --control "$work/$name/ctl" "$@"
}

# Makes two nodes trust each other and plugs a cable in.
cable() { # cable FROM TO ADDRESS
    of "$1" trust "$(of "$2" id)" >/dev/null
    of "$2" trust "$(of "$1" id)" >/dev/null
    of "$1" connect "$3" >/dev/null
}

# Compiles the C programs named into $work.
compile() { # compile PROGRAM…
    [ -e /usr/include/libvdeplug.h ] || { echo "bench: apt-get install libvdeplug-dev" >&2; exit 1; }
    local program
    for program; do
        cc -O2 -o "$work/$program" "tests/bench/$program.c" -lvdeplug -lpthread
    done
}

# Gives the taps t0 of two hosts addresses, 10.77.0.1 and 10.77.0.2, and waits until they meet.
inner() { # inner HOST HOST
    on "$1" ip addr add 10.77.0.1/24 dev t0
    on "$2" ip addr add 10.77.0.2/24 dev t0
    on "$1" ip link set t0 up
    on "$2" ip link set t0 up
    until_true "a ping from $1 to $2" on "$1" ping -c 1 -W 1 10.77.0.2
}
