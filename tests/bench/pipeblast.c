/* pipeblast send SIZE SECONDS [PPS [BURST]]   frames in VDE's stream form on standard output
 * pipeblast receive                           counts them on standard input until none has come
 *                                             for a second (Debian's wirefilter never ends)
 *
 * For `dpipe pipeblast send 200 3 = wirefilter -d 10 = pipeblast receive`. A frame is 2 octets of
 * length (big endian) and the frame, written BURST at a time (default 1, as vde_plug writes). The
 * receiver prints one line on standard error: frames, rate, and the delay from writing to reading. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CAP (1 << 22)

/* Without a pace the clock is read for so many frames at a time: it is a tenth of the cost of a write. */
#define SAME_TIME 32

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int write_all(const unsigned char *octets, size_t len) {
    while (len > 0) {
        ssize_t count = write(1, octets, len);
        if (count <= 0) return -1;
        octets += count;
        len -= count;
    }
    return 0;
}

static int send_frames(int size, double seconds, double pps, int burst) {
    static unsigned char buffer[1 << 20];
    uint64_t sent = 0, writes = 0, start = now_ns(), end = start + seconds * 1e9, now = start;
    /* The more a pipe holds, the less often its writer sleeps. */
    fcntl(1, F_SETPIPE_SZ, 1 << 20);
    for (unsigned char *at = buffer; at < buffer + burst * (2 + size); at += 2 + size) {
        at[0] = size >> 8;
        at[1] = size & 0xff;
        memset(at + 2, 2, 12);
        at[14] = 0x88;
        at[15] = 0xb5;
    }
    while (now < end) {
        if (pps > 0 || burst >= SAME_TIME || writes++ % (SAME_TIME / burst) == 0) now = now_ns();
        if (pps > 0) {
            uint64_t due = start + sent * 1e9 / pps;
            if (now < due) {
                struct timespec wait = {0, due - now};
                nanosleep(&wait, NULL);
                continue;
            }
        }
        for (int i = 0; i < burst; i++) memcpy(buffer + i * (2 + size) + 16, &now, 8);
        if (write_all(buffer, burst * (2 + size)) < 0) break;
        sent += burst;
    }
    fprintf(stderr, "sent=%llu\n", (unsigned long long)sent);
    return 0;
}

static int receive_frames(void) {
    static unsigned char buffer[1 << 17];
    uint64_t *delays = malloc(CAP * sizeof *delays), frames = 0, octets = 0, first = 0, last = 0;
    size_t filled = 0, kept = 0;
    ssize_t count;
    struct pollfd input = {0, POLLIN, 0};
    while (poll(&input, 1, first ? 1000 : -1) > 0 &&
           (count = read(0, buffer + filled, sizeof buffer - filled)) > 0) {
        uint64_t now = now_ns();
        unsigned char *at = buffer, *end = buffer + filled + count;
        while (end - at >= 2 && end - at >= 2 + (at[0] << 8 | at[1])) {
            size_t size = at[0] << 8 | at[1];
            uint64_t written;
            if (!first) first = now;
            last = now;
            frames++;
            octets += size;
            memcpy(&written, at + 16, 8);
            if (kept < CAP) delays[kept++] = now - written;
            at += 2 + size;
        }
        filled = end - at;
        memmove(buffer, at, filled);
    }
    double took = (last - first) / 1e9;
    qsort(delays, kept, sizeof *delays, compare);
    fprintf(stderr, "frames=%llu kpps=%.1f gbps=%.3f p50=%.1f p99=%.1f\n", (unsigned long long)frames,
            frames / took / 1e3, octets * 8 / took / 1e9, kept ? delays[kept / 2] / 1e3 : 0,
            kept ? delays[kept * 99 / 100] / 1e3 : 0);
    return 0;
}

int main(int argc, char **argv) {
    if (argc >= 4 && !strcmp(argv[1], "send"))
        return send_frames(atoi(argv[2]), atof(argv[3]), argc > 4 ? atof(argv[4]) : 0,
                           argc > 5 ? atoi(argv[5]) : 1);
    if (argc == 2 && !strcmp(argv[1], "receive")) return receive_frames();
    fprintf(stderr, "usage: pipeblast send SIZE SECONDS [PPS [BURST]] | pipeblast receive\n");
    return 2;
}
