// Holds what comes by one tap for some milliseconds and passes it on by the other, both ways, with
// nothing else to it: what a delay costs TCP on this machine when no switch and no emulator is in
// the way.
//
//   hold TAP TAP MILLISECONDS
//
// Frames stay where they were received, up to 64 MiB a direction; those beyond are dropped.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PLACE (65536 + 64) // the longest super-frame with its virtio-net header
#define PLACES 1024

struct frame {
    uint64_t due; // ns
    ssize_t len;
};

struct direction {
    int from, to;
    char *octets;
    struct frame frames[PLACES];
    unsigned first, count;
} directions[2];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int attach(const char *name) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (fd < 0) err(1, "/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) err(1, "%s", name);
    unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (ioctl(fd, TUNSETOFFLOAD, offloads) < 0) err(1, "%s: offloads", name);
    return fd;
}

// Takes in one frame; 0 when there is none.
static int take(struct direction *d, uint64_t hold) {
    unsigned place = (d->first + d->count) % PLACES;
    static char lost[PLACE];
    int full = d->count == PLACES;
    ssize_t len = read(d->from, full ? lost : d->octets + (size_t)place * PLACE, PLACE);
    if (len < 0) return 0;
    if (!full) {
        d->frames[place] = (struct frame){now() + hold, len};
        d->count++;
    }
    return 1;
}

// Passes on one frame that is due; 0 when none is.
static int pass(struct direction *d) {
    struct frame *frame = &d->frames[d->first];
    if (!d->count || frame->due > now()) return 0;
    if (write(d->to, d->octets + (size_t)d->first * PLACE, frame->len) < 0 && errno != EAGAIN && errno != EIO)
        warn("write");
    d->first = (d->first + 1) % PLACES;
    d->count--;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) errx(2, "usage: hold TAP TAP MILLISECONDS");
    int a = attach(argv[1]), b = attach(argv[2]);
    uint64_t hold = strtoull(argv[3], NULL, 10) * 1000000;
    for (int i = 0; i < 2; i++) {
        directions[i].from = i ? b : a;
        directions[i].to = i ? a : b;
        // Touched once, so that no measurement pays for the first use of a page.
        directions[i].octets = calloc(PLACES, PLACE);
        memset(directions[i].octets, 1, (size_t)PLACES * PLACE);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int busy = 0;
        for (int i = 0; i < 2; i++)
            for (int turn = 0; turn < 4; turn++) busy |= pass(&directions[i]) | take(&directions[i], hold);
        if (busy) continue;
        uint64_t due = UINT64_MAX, at = now();
        for (int i = 0; i < 2; i++)
            if (directions[i].count && directions[i].frames[directions[i].first].due < due)
                due = directions[i].frames[directions[i].first].due;
        struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
        uint64_t wait = due <= at ? 0 : due - at;
        struct timespec timeout = {wait / 1000000000, wait % 1000000000};
        if (ppoll(fds, 2, due == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR) err(1, "poll");
    }
}
