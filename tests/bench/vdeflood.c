/* vdeflood SWITCH PORTS RATE SECONDS: broadcasts of 100 octets from one plug at RATE a second, heard
 * by PORTS - 1 others. Prints one line: sent, copies. The switch's processor time is the caller's
 * to measure. */
#include <libvdeplug.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static VDECONN *plugs[256];
static int ports;
static volatile int stop;
static uint64_t copies;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void *listen_all(void *arg) {
    static struct pollfd fds[256];
    char frame[2000];
    (void)arg;
    for (int i = 1; i < ports; i++) fds[i] = (struct pollfd){vde_datafd(plugs[i]), POLLIN, 0};
    while (!stop) {
        poll(fds + 1, ports - 1, 100);
        for (int i = 1; i < ports; i++)
            if (fds[i].revents & POLLIN && vde_recv(plugs[i], frame, sizeof frame, 0) > 0) copies++;
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5 || (ports = atoi(argv[2])) < 2 || ports > 256) {
        fprintf(stderr, "usage: vdeflood SWITCH PORTS RATE SECONDS, with PORTS 2 to 256\n");
        return 2;
    }
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    for (int i = 0; i < ports; i++)
        if (!(plugs[i] = vde_open(argv[1], "vdeflood", NULL))) {
            perror(argv[1]);
            return 1;
        }
    pthread_t listener;
    pthread_create(&listener, NULL, listen_all, NULL);
    unsigned char frame[100] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0xa, 0x88, 0xb5};
    uint64_t sent = 0;
    double start = now();
    while (now() - start < seconds) {
        vde_send(plugs[0], (char *)frame, sizeof frame, 0);
        double ahead = ++sent / rate - (now() - start);
        if (ahead > 0) usleep(ahead * 1e6);
    }
    usleep(200000);
    stop = 1;
    pthread_join(listener, NULL);
    printf("ports=%d sent=%llu copies=%llu\n", ports, (unsigned long long)sent, (unsigned long long)copies);
    return 0;
}
