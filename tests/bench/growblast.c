/* growblast SWITCH PORTS STATIONS RATE SECONDS: one plug sends unicast frames of 64 octets at RATE a
 * second to STATIONS addresses in turn, which are spread over PORTS - 1 other plugs. Prints one line:
 * sent, received. The switch's processor time is the caller's to measure. */
#include <libvdeplug.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static VDECONN *plugs[256];
static int ports;
static volatile int stop;
static uint64_t received;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void address(unsigned char *mac, uint32_t station) {
    unsigned char octets[6] = {2, 1, station >> 24, station >> 16, station >> 8, station};
    memcpy(mac, octets, 6);
}

static void *listen_all(void *arg) {
    static struct pollfd fds[256];
    char frame[2000];
    (void)arg;
    for (int i = 1; i < ports; i++) fds[i] = (struct pollfd){vde_datafd(plugs[i]), POLLIN, 0};
    while (!stop) {
        poll(fds + 1, ports - 1, 100);
        for (int i = 1; i < ports; i++)
            while (fds[i].revents & POLLIN && recv(vde_datafd(plugs[i]), frame, sizeof frame, MSG_DONTWAIT) > 0)
                received += (unsigned char)frame[13] == 0xb5;
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 6 || (ports = atoi(argv[2])) < 2 || ports > 256) {
        fprintf(stderr, "usage: growblast SWITCH PORTS STATIONS RATE SECONDS, with PORTS 2 to 256\n");
        return 2;
    }
    uint32_t stations = atoi(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    for (int i = 0; i < ports; i++)
        if (!(plugs[i] = vde_open(argv[1], "growblast", NULL))) {
            perror(argv[1]);
            return 1;
        }
    /* Each station says one word to the sender, so that the switch knows it. */
    unsigned char frame[64] = {2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xa, 0x88, 0xb6};
    memset(frame, 0xff, 6);
    vde_send(plugs[0], (char *)frame, sizeof frame, 0);
    unsigned char teach[64] = {2, 0, 0, 0, 0, 0xa, 0, 0, 0, 0, 0, 0, 0x88, 0xb6};
    char waste[2000];
    for (uint32_t station = 0; station < stations; station++) {
        address(teach + 6, station);
        vde_send(plugs[1 + station % (ports - 1)], (char *)teach, sizeof teach, 0);
        while (recv(vde_datafd(plugs[0]), waste, sizeof waste, MSG_DONTWAIT) > 0) {}
        if (station % 50 == 0) usleep(1000);
    }
    usleep(200000);
    pthread_t listener;
    pthread_create(&listener, NULL, listen_all, NULL);
    frame[13] = 0xb5;
    frame[6] = 2;
    uint64_t sent = 0;
    double start = now();
    while (now() - start < seconds) {
        address(frame, sent % stations);
        vde_send(plugs[0], (char *)frame, sizeof frame, 0);
        double ahead = ++sent / rate - (now() - start);
        if (ahead > 0.0005) usleep(ahead * 1e6);
    }
    usleep(200000);
    stop = 1;
    pthread_join(listener, NULL);
    printf("sent=%llu received=%llu\n", (unsigned long long)sent, (unsigned long long)received);
    return 0;
}
