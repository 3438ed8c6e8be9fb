/* Many plugs on one switch, by the stock libvdeplug, and one thread that listens at all but the first:
 * what growblast and vdeflood have in common. */
#include <libvdeplug.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PLUGS 256

static VDECONN *plugs[MAX_PLUGS];
static int ports;
/* Frames of type 0x88b5 that came to any plug but the first. */
static uint64_t heard;
static volatile int stop;
static pthread_t listener;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Plugs `count` plugs in; 0, or -1 with the reason told. */
static int plug_in(char *url, char *name, int count) {
    ports = count;
    for (int i = 0; i < ports; i++)
        if (!(plugs[i] = vde_open(url, name, NULL))) {
            perror(url);
            return -1;
        }
    return 0;
}

static void *listen_all(void *arg) {
    static struct pollfd fds[MAX_PLUGS];
    char frame[2000];
    (void)arg;
    for (int i = 1; i < ports; i++) fds[i] = (struct pollfd){vde_datafd(plugs[i]), POLLIN, 0};
    while (!stop) {
        poll(fds + 1, ports - 1, 100);
        for (int i = 1; i < ports; i++)
            while (fds[i].revents & POLLIN && recv(fds[i].fd, frame, sizeof frame, MSG_DONTWAIT) > 0)
                heard += (unsigned char)frame[13] == 0xb5;
    }
    return NULL;
}

static void start_listening(void) { pthread_create(&listener, NULL, listen_all, NULL); }

/* What is under way still counts. */
static void stop_listening(void) {
    usleep(200000);
    stop = 1;
    pthread_join(listener, NULL);
}
