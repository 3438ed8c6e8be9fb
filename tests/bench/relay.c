/* relay DIR [SNDBUF [drop|wait]]: the least that can be done between two VDE plugs, as a yardstick:
 * what comes from one goes to the other, 64 frames a call, without looking at any. SNDBUF are octets
 * as SO_SNDBUF takes them (default 262144). With `wait` (the default) a full queue is waited for,
 * with `drop` what finds no room is lost. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 64
#define SLOT 9300

static struct mmsghdr headers[BATCH];
static struct iovec vectors[BATCH];
static char slots[BATCH][SLOT];

/* One request of version 3 and its answer; the data socket, or -1. */
static int admit(int control, const char *dir, int number, int sndbuf) {
    char request[512];
    struct sockaddr_un client, own = {.sun_family = AF_UNIX};
    if (read(control, request, sizeof request) < 122) return -1;
    memcpy(&client, request + 12, sizeof client);
    int data = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(data, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    if (connect(data, (struct sockaddr *)&client, sizeof client) < 0) return -1;
    snprintf(own.sun_path, sizeof own.sun_path, "%s/%03d", dir, number);
    unlink(own.sun_path);
    if (bind(data, (struct sockaddr *)&own, sizeof own) < 0) return -1;
    if (write(control, &own, sizeof own) != sizeof own) return -1;
    return data;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: relay DIR [SNDBUF [drop|wait]]\n");
        return 2;
    }
    int sndbuf = argc > 2 ? atoi(argv[2]) : 262144, waits = argc < 4 || strcmp(argv[3], "drop");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    mkdir(argv[1], 0700);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/ctl", argv[1]);
    unlink(at.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 8) < 0) {
        perror(at.sun_path);
        return 1;
    }
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){slots[i], SLOT};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    for (;;) {
        int control[2], data[2];
        for (int i = 0; i < 2; i++) {
            control[i] = accept(listener, NULL, NULL);
            data[i] = admit(control[i], argv[1], i, sndbuf);
        }
        struct pollfd fds[4] = {{data[0], POLLIN, 0}, {data[1], POLLIN, 0}, {control[0], POLLIN, 0}, {control[1], POLLIN, 0}};
        while (poll(fds, 4, -1) > 0 && !fds[2].revents && !fds[3].revents) {
            for (int i = 0; i < 2; i++) {
                if (!fds[i].revents) continue;
                int count = recvmmsg(data[i], headers, BATCH, MSG_DONTWAIT, NULL);
                if (count <= 0) continue;
                for (int j = 0; j < count; j++) vectors[j].iov_len = headers[j].msg_len;
                for (int done = 0; done < count;) {
                    int sent = sendmmsg(data[1 - i], headers + done, count - done, MSG_DONTWAIT);
                    if (sent > 0) {
                        done += sent;
                    } else if (errno == EAGAIN && waits) {
                        struct pollfd room = {data[1 - i], POLLOUT, 0};
                        poll(&room, 1, 1000);
                    } else {
                        break;
                    }
                }
                for (int j = 0; j < count; j++) vectors[j].iov_len = SLOT;
            }
        }
        for (int i = 0; i < 2; i++) close(control[i]), close(data[i]);
    }
}
