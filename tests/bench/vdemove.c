// vdemove SOCK-A SOCK-B SOCK-C: a station moves from node to node; how long is it out of reach?
//
// The station is one of two plugs at A and B at a time; a peer at C sends it a numbered frame every
// millisecond. A move begins when the station announces itself at its new place by a gratuitous ARP
// (RFC 5227 3), as a hypervisor does after a migration. Its gap is the time from the last frame that
// came at the old place to the first one at the new place. Each of 25 stations moves four times: a
// fifth move within three minutes would be taken for two stations with one address.
// Prints one line a move, then the worst and how many frames came twice.
#define _GNU_SOURCE
#include <libvdeplug.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STATIONS = 25, MOVES = 4, FRAMES = 1 << 20, PATIENCE = 5000 };

static VDECONN *place[2], *peer;
static const uint8_t peer_mac[6] = {2, 0xaa, 0, 0, 0, 0xff};
static uint8_t station[6] = {2, 0xaa, 0, 0, 0, 0};
static uint8_t seen[2][FRAMES]; // at each place
static uint32_t sequence;
static int duplicates;
static double last_at[2], sent_at;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static VDECONN *plug(char *at) {
    VDECONN *conn = vde_open(at, "vdemove", NULL);
    if (!conn) {
        perror(at);
        exit(1);
    }
    return conn;
}

// The gratuitous ARP of the station.
static void announce(VDECONN *at) {
    static const uint8_t fixed[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
    uint8_t frame[60] = {0}, ip[4] = {10, 1, 0, station[5]};
    memset(frame, 0xff, 6);
    memcpy(frame + 6, station, 6);
    memcpy(frame + 12, fixed, sizeof fixed);
    memcpy(frame + 22, station, 6);
    memcpy(frame + 28, ip, 4);
    memcpy(frame + 38, ip, 4);
    vde_send(at, frame, sizeof frame, 0);
}

static void send_next(void) {
    uint8_t frame[60] = {0};
    memcpy(frame, station, 6);
    memcpy(frame + 6, peer_mac, 6);
    frame[12] = 0x88;
    frame[13] = 0xb6;
    sequence = (sequence + 1) % FRAMES;
    memcpy(frame + 14, &sequence, sizeof sequence);
    vde_send(peer, frame, sizeof frame, 0);
}

// Sends and receives for a millisecond.
static void turn(void) {
    double next = sent_at + 1;
    struct pollfd fds[3] = {
        {vde_datafd(place[0]), POLLIN, 0}, {vde_datafd(place[1]), POLLIN, 0}, {vde_datafd(peer), POLLIN, 0}};
    uint8_t frame[2048];
    while (now() < next) {
        if (poll(fds, 3, 1) <= 0) continue;
        for (int i = 0; i < 3; i++) {
            if (!(fds[i].revents & POLLIN)) continue;
            ssize_t len = vde_recv(i < 2 ? place[i] : peer, frame, sizeof frame, 0);
            if (i == 2 || len < 18 || memcmp(frame, station, 6) || memcmp(frame + 6, peer_mac, 6)) continue;
            uint32_t number;
            memcpy(&number, frame + 14, sizeof number);
            duplicates += seen[i][number % FRAMES]++ > 0;
            last_at[i] = now();
        }
    }
    sent_at = now();
    send_next();
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "vdemove SOCK-A SOCK-B SOCK-C\n"), 2;
    double worst = 0;
    for (int i = 0; i < 2; i++) place[i] = plug(argv[1 + i]);
    peer = plug(argv[3]);
    for (int number = 0; number < STATIONS; number++) {
        station[5] = number;
        announce(place[0]);
        for (int i = 0; i < 200; i++) turn();
        for (int move = 1; move <= MOVES; move++) {
            int here = move % 2;
            last_at[here] = 0;
            announce(place[here]);
            double start = now();
            while (!last_at[here] && now() < start + PATIENCE) turn();
            double gap = last_at[here] ? last_at[here] - last_at[!here] : PATIENCE;
            // Until the announcement it was reached where it was.
            if (gap > worst) worst = gap;
            printf("station=%d move=%d gap_ms=%.2f\n", number, move, gap);
            for (int i = 0; i < 200; i++) turn();
        }
    }
    printf("worst_ms=%.2f duplicates=%d\n", worst, duplicates);
    return 0;
}
