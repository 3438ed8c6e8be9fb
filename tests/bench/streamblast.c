/* streamblast SOCKET SIZE SECONDS: octets per second through a switch between two clients of a
 * unix stream socket, each frame behind its length in 32 bits (QEMU's -netdev stream).
 * Prints one line: sent, rx, rx_kpps, rx_gbps. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (64 * 1024)

static const unsigned char mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};
static volatile int stop;
static uint64_t frames;
static int size;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int dial(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static size_t put(unsigned char *at, const unsigned char *to, const unsigned char *from, int len) {
    uint32_t prefix = htonl(len);
    memcpy(at, &prefix, 4);
    memset(at + 4, 0, len);
    memcpy(at + 4, to, 6);
    memcpy(at + 10, from, 6);
    at[16] = 0x88;
    at[17] = 0xb5;
    return 4 + len;
}

static void write_all(int fd, const unsigned char *octets, size_t len) {
    while (len > 0) {
        ssize_t count = write(fd, octets, len);
        if (count <= 0) exit(1);
        octets += count;
        len -= count;
    }
}

static void *receive(void *arg) {
    static unsigned char buffer[CHUNK];
    int fd = *(int *)arg;
    uint64_t octets = 0;
    ssize_t count;
    while (!stop && (count = read(fd, buffer, sizeof buffer)) > 0) {
        octets += count;
        /* Only frames of one size come, but for the greeting. */
        frames = octets / (size + 4);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: streamblast SOCKET SIZE SECONDS\n");
        return 2;
    }
    size = atoi(argv[2]);
    double seconds = atof(argv[3]);
    int a = dial(argv[1]), b = dial(argv[1]);
    static unsigned char chunk[CHUNK];
    /* B is known from here on, so that what A sends goes there alone. */
    write_all(b, chunk, put(chunk, mac_a, mac_b, 60));
    usleep(200000);
    pthread_t receiver;
    pthread_create(&receiver, NULL, receive, &b);
    size_t filled = 0, count = 0;
    while (filled + 4 + size <= CHUNK) {
        filled += put(chunk + filled, mac_b, mac_a, size);
        count++;
    }
    uint64_t sent = 0;
    double start = now(), end = start;
    while (end - start < seconds) {
        write_all(a, chunk, filled);
        sent += count;
        end = now();
    }
    uint64_t received = frames;
    stop = 1;
    double took = end - start;
    printf("size=%d sent=%llu rx=%llu rx_kpps=%.1f rx_gbps=%.3f\n", size, (unsigned long long)sent,
           (unsigned long long)received, received / took / 1e3, received * 8.0 * size / took / 1e9);
    return 0;
}
