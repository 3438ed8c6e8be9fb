#!/bin/bash
# peers.sh [peer ...]: inner TCP/UDP/ping between two hosts (network namespaces
# pa and pb joined by a veth of MTU ${MTU:-1500}), carried by each peer in turn.
# The peer "ours" is a vdenode on each host with a tap and a cable between them; it needs
# vdenode and vdecable in $OURS (./bench sets it).
# Prints one line a peer: TCP Gbit/s (1 stream, 4 streams, reverse), ping RTT
# (idle and loaded), and machine CPU during the TCP run.
# Needs: vde2 tinc wireguard-go iperf3 socat openssh-server, cargo's vpncloud/boringtun/quincy in $PEERS/bin
set -u
PEERS=${PEERS:-/tmp/peers}; SECS=${SECS:-5}; W=$(mktemp -d /tmp/peersXXXX); PIDS=()
A="ip netns exec pa"; B="ip netns exec pb"
cleanup(){ for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; done; PIDS=(); sleep 0.3; for n in pa pb; do for p in $(ip netns pids $n 2>/dev/null); do kill -9 "$p" 2>/dev/null; done; done; ip netns del pa 2>/dev/null; ip netns del pb 2>/dev/null; sleep 0.2; }
trap 'cleanup; rm -rf "$W"' EXIT
underlay(){ cleanup; ip netns add pa; ip netns add pb; ip link add va netns pa mtu ${MTU:-1500} type veth peer name vb netns pb mtu ${MTU:-1500}
  $A ip addr add 10.99.0.1/24 dev va; $B ip addr add 10.99.0.2/24 dev vb
  for x in "$A" "$B"; do $x ip link set lo up; done; $A ip link set va up; $B ip link set vb up
  $A ip route add default via 10.99.0.2; $B ip route add default via 10.99.0.1 # vpncloud panics without one
  # no segmentation offload games on the wire: a real NIC carries 1500-byte packets
  if [ "${OFFLOAD:-0}" = 0 ]; then $A ethtool -K va tso off gso off gro off tx off >/dev/null 2>&1; $B ethtool -K vb tso off gso off gro off tx off >/dev/null 2>&1; fi; }
inner(){ # inner IFACE: give both ends inner addresses
  $A ip addr add 10.77.0.1/24 dev $1; $B ip addr add 10.77.0.2/24 dev $1; $A ip link set $1 up; $B ip link set $1 up; [ -n "${2:-}" ] && { $A ip link set $1 mtu $2; $B ip link set $1 mtu $2; }; sleep 1; }
cpu(){ awk '/^cpu /{print $2+$3+$4+$7+$8+$9, $5+$6}' /proc/stat; }
measure(){ name=$1; dst=${2:-10.77.0.2}
  ok=0; for i in 1 2 3 4 5 6 7 8 9 10; do $A ping -c1 -W1 $dst >/dev/null 2>&1 && { ok=1; break; }; sleep 0.5; done
  [ $ok = 1 ] || { echo "$name: NO CONNECTIVITY"; return; }
  rtt=$($A ping -q -i 0.002 -c 500 $dst | awk -F/ '/^rtt/{print $5}')
  $B iperf3 -s -D >/dev/null 2>&1; sleep 0.3
  c0=($(cpu)); t1=$($A iperf3 -J -t $SECS -c $dst | jq '.end.sum_received.bits_per_second/1e9*1000|round/1000'); c1=($(cpu))
  used=$(awk -v a=${c0[0]} -v b=${c1[0]} -v s=$SECS 'BEGIN{printf "%.2f",(b-a)/100/s}')
  t4=$($A iperf3 -J -t $SECS -P4 -c $dst | jq '.end.sum_received.bits_per_second/1e9*1000|round/1000')
  tr=$($A iperf3 -J -t $SECS -R -c $dst | jq '.end.sum_received.bits_per_second/1e9*1000|round/1000')
  $A iperf3 -t $((SECS)) -c $dst >/dev/null 2>&1 & sleep 1; lrtt=$($A ping -q -i 0.01 -c 200 $dst | awk -F/ '/^rtt/{print $5}'); wait $!
  echo "$name tcp1=$t1 tcp4=$t4 tcpR=$tr Gbit/s rtt=${rtt}ms loaded_rtt=${lrtt}ms cores=$used"; }
p_raw(){ underlay; measure raw 10.99.0.2; }
p_vxlan(){ underlay; $A ip link add t0 type vxlan id 7 dstport 4789 local 10.99.0.1 remote 10.99.0.2; $B ip link add t0 type vxlan id 7 dstport 4789 local 10.99.0.2 remote 10.99.0.1; inner t0; measure vxlan; }
p_vde_tcp(){ underlay; $A vde_switch -s $W/sa -t t0 -d; $B vde_switch -s $W/sb -t t0 -d; sleep 0.5
  $B socat TCP-LISTEN:9999,nodelay,reuseaddr EXEC:"vde_plug $W/sb" & PIDS+=($!); sleep 0.5
  $A socat TCP:10.99.0.2:9999,nodelay EXEC:"vde_plug $W/sa" & PIDS+=($!); sleep 1; inner t0; measure vde_plain_tcp; }
p_vde_ssh(){ underlay; mkdir -p /run/sshd; [ -f $W/k ] || ssh-keygen -q -t ed25519 -N '' -f $W/k; [ -f $W/hk ] || ssh-keygen -q -t ed25519 -N '' -f $W/hk
  printf 'HostKey %s\nAuthorizedKeysFile %s\nPermitRootLogin yes\nStrictModes no\nPidFile none\nUsePAM no\n' $W/hk $W/k.pub > $W/sshd.conf
  $B /usr/sbin/sshd -f $W/sshd.conf -D & PIDS+=($!)
  $A vde_switch -s $W/sa -t t0 -d; $B vde_switch -s $W/sb -t t0 -d; sleep 1
  $A dpipe vde_plug $W/sa = ssh -i $W/k -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -c aes128-gcm@openssh.com root@10.99.0.2 vde_plug $W/sb & PIDS+=($!); sleep 2; inner t0; measure vde_over_ssh; }
p_tinc(){ underlay; for n in a b; do mkdir -p $W/tinc$n/hosts; echo -e "Name=$n\nMode=switch\nInterface=t0\nDeviceType=tap" > $W/tinc$n/tinc.conf; [ $n = a ] && echo "ConnectTo=b" >> $W/tinc$n/tinc.conf; [ -f $W/tinc$n/rsa_key.priv ] || tincd -c $W/tinc$n -K2048 </dev/null >/dev/null 2>&1; done
  echo "Address=10.99.0.1" | cat - $W/tinca/hosts/a > $W/x; cp $W/x $W/tinca/hosts/a; cp $W/x $W/tincb/hosts/a; echo "Address=10.99.0.2" | cat - $W/tincb/hosts/b > $W/x; cp $W/x $W/tincb/hosts/b; cp $W/x $W/tinca/hosts/b
  $B tincd -c $W/tincb -D --pidfile=$W/tb.pid & PIDS+=($!); $A tincd -c $W/tinca -D --pidfile=$W/ta.pid & PIDS+=($!); sleep 2; inner t0; sleep 2; measure tinc_switch; }
p_n2n(){ underlay; $B supernode -l 7777 >/dev/null 2>&1 & PIDS+=($!); sleep 0.5; $A edge -d t0 -a 10.77.0.1 -c x -k y -l 10.99.0.2:7777 -f >/dev/null 2>&1 & PIDS+=($!); $B edge -d t0 -a 10.77.0.2 -c x -k y -l 10.99.0.2:7777 -f >/dev/null 2>&1 & PIDS+=($!); sleep 4; measure n2n; }
p_vpncloud(){ underlay; for n in a b; do [ $n = a ] && peer=10.99.0.2 || peer=10.99.0.1; cat > $W/vc$n.yaml <<Y
device: {type: tap, name: t0}
crypto: {password: test}
listen: "3210"
peers: ["$peer:3210"]
mode: switch
port-forwarding: false
Y
 done; $B $PEERS/bin/vpncloud --config $W/vcb.yaml >/dev/null 2>&1 & PIDS+=($!); $A $PEERS/bin/vpncloud --config $W/vca.yaml >/dev/null 2>&1 & PIDS+=($!); sleep 3; inner t0 1400; measure vpncloud_tap; }
wgconf(){ ka=$(wg genkey); kb=$(wg genkey); echo $ka >$W/ka; echo $kb >$W/kb; $A wg set t0 listen-port 51820 private-key $W/ka peer $(echo $kb|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.2:51820; $B wg set t0 listen-port 51820 private-key $W/kb peer $(echo $ka|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.1:51820; }
p_wireguard_go(){ underlay; $A wireguard-go -f t0 & PIDS+=($!); sleep 0.7; ka=$(wg genkey); kb=$(wg genkey); echo $ka >$W/ka; echo $kb >$W/kb
  $A wg set t0 listen-port 51820 private-key $W/ka peer $(echo $kb|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.2:51820
  mv /var/run/wireguard/t0.sock $W/t0a.sock 2>/dev/null; $B wireguard-go -f t0 & PIDS+=($!); sleep 0.7
  $B wg set t0 listen-port 51820 private-key $W/kb peer $(echo $ka|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.1:51820; inner t0 1420; measure wireguard_go_L3; }
p_boringtun(){ underlay; $A $PEERS/bin/boringtun-cli -f --disable-drop-privileges t0 >/dev/null 2>&1 & PIDS+=($!); sleep 0.7; ka=$(wg genkey); kb=$(wg genkey); echo $ka >$W/ka; echo $kb >$W/kb
  $A wg set t0 listen-port 51820 private-key $W/ka peer $(echo $kb|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.2:51820
  mv /var/run/wireguard/t0.sock $W/t0a.sock 2>/dev/null; $B $PEERS/bin/boringtun-cli -f --disable-drop-privileges t0 >/dev/null 2>&1 & PIDS+=($!); sleep 0.7
  $B wg set t0 listen-port 51820 private-key $W/kb peer $(echo $ka|wg pubkey) allowed-ips 0.0.0.0/0 endpoint 10.99.0.1:51820; inner t0 1420; measure boringtun_L3; }
p_quincy(){ underlay; for n in server client; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $W/$n.key -out $W/$n.crt -subj /CN=$n -days 30 -addext subjectAltName=IP:10.99.0.2,DNS:$n -addext basicConstraints=critical,CA:FALSE >/dev/null 2>&1; done
  fp=$(openssl x509 -in $W/client.crt -outform DER | sha256sum | cut -d' ' -f1); printf '[users.u]\nauthorized_keys=[]\nauthorized_certs=["sha256:%s"]\n' $fp > $W/users.toml
  printf 'name="t0"\ntunnel_network="10.77.0.2/24"\nbind_address="0.0.0.0"\nbind_port=55555\nusers_file="%s/users.toml"\n[protocol]\nmode="tls"\nkey_exchange="standard"\ncertificate_file="%s/server.crt"\ncertificate_key_file="%s/server.key"\n[connection]\nmtu=1400\n[log]\nlevel="info"\n' $W $W $W > $W/server.toml
  printf 'connection_string="10.99.0.2:55555"\n[protocol]\nmode="tls"\nkey_exchange="standard"\ntrusted_certificate_paths=["%s/server.crt"]\nclient_certificate_file="%s/client.crt"\nclient_certificate_key_file="%s/client.key"\n[connection]\nmtu=1400\n[network]\nroutes=[]\n[log]\nlevel="info"\n' $W $W $W > $W/client.toml
  $B $PEERS/bin/quincy-server --config-path $W/server.toml >$W/qs.log 2>&1 & PIDS+=($!); sleep 1; $A $PEERS/bin/quincy-client --config-path $W/client.toml >$W/qc.log 2>&1 & PIDS+=($!); sleep 2; measure quincy_L3_quic; [ -n "${DEBUG:-}" ] && for f in $W/q?.log; do tail -n 5 $f; done; }
p_ours(){ underlay; for n in a b; do mkdir -p $W/st$n; done
  $B $OURS/vdenode --name b --sock $W/nb --state $W/stb --control $W/b.ctl --listen 10.99.0.2:7667 --tap t0 2>$W/nb.log & PIDS+=($!)
  $A $OURS/vdenode --name a --sock $W/na --state $W/sta --control $W/a.ctl --no-listen --tap t0 2>$W/na.log & PIDS+=($!); sleep 1
  local ka kb; ka=$($OURS/vdecable --control $W/a.ctl id); kb=$($OURS/vdecable --control $W/b.ctl id)
  $OURS/vdecable --control $W/a.ctl trust $kb >/dev/null; $OURS/vdecable --control $W/b.ctl trust $ka >/dev/null
  $OURS/vdecable --control $W/a.ctl connect 10.99.0.2 >/dev/null 2>&1; inner t0; measure ours
  [ -n "${DEBUG:-}" ] && for n in a b; do $OURS/vdecable --control $W/$n.ctl status; $OURS/vdecable --control $W/$n.ctl ports; cat $W/n$n.log; done; }
[ $# = 0 ] && set -- ours raw vxlan vde_tcp vde_ssh tinc n2n vpncloud wireguard_go boringtun quincy
for p in "$@"; do p_$p; done
