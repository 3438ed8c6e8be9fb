/* growblast SWITCH PORTS STATIONS RATE SECONDS: one plug sends unicast frames of 64 octets at RATE a
 * second to STATIONS addresses in turn, which are spread over PORTS - 1 other plugs. Prints one line:
 * sent, received. The switch's processor time is the caller's to measure. */
#include "plugs.h"
#include <stdlib.h>
#include <string.h>

static void address(unsigned char *mac, uint32_t station) {
    unsigned char octets[6] = {2, 1, station >> 24, station >> 16, station >> 8, station};
    memcpy(mac, octets, 6);
}

int main(int argc, char **argv) {
    if (argc != 6 || atoi(argv[2]) < 2 || atoi(argv[2]) > MAX_PLUGS) {
        fprintf(stderr, "usage: growblast SWITCH PORTS STATIONS RATE SECONDS, with PORTS 2 to %d\n", MAX_PLUGS);
        return 2;
    }
    if (plug_in(argv[1], "growblast", atoi(argv[2])) < 0) return 1;
    uint32_t stations = atoi(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
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
    start_listening();
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
    stop_listening();
    printf("sent=%llu received=%llu\n", (unsigned long long)sent, (unsigned long long)heard);
    return 0;
}
