#!/bin/busybox sh
# The first process of a guest: brings up what the kernel's command line asks for, then obeys
# the serial console, one command a line. The other end is qemu.rs.
#   vde.ip=10.0.0.1/24   address of eth0
#   vde.mtu=1500         its MTU

/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp

for module in $(cat /modules/order); do
    insmod "/modules/$module"
done

ip link set lo up
for word in $(cat /proc/cmdline); do
    case $word in
        vde.mtu=*) ip link set eth0 mtu "${word#vde.mtu=}" ;;
        vde.ip=*) ip address add "${word#vde.ip=}" dev eth0 ;;
    esac
done
ip link set eth0 up

# Without echo and translation, what the host reads is what commands print.
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
echo "guest ready"
while read -r line; do
    eval "$line"
done
poweroff -f
