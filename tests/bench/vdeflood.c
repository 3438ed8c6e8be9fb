/* vdeflood SWITCH PORTS RATE SECONDS: broadcasts of 100 octets from one plug at RATE a second, heard
 * by PORTS - 1 others. Prints one line: sent, copies. The switch's processor time is the caller's
 * to measure. */
#include "plugs.h"
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 5 || atoi(argv[2]) < 2 || atoi(argv[2]) > MAX_PLUGS) {
        fprintf(stderr, "usage: vdeflood SWITCH PORTS RATE SECONDS, with PORTS 2 to %d\n", MAX_PLUGS);
        return 2;
    }
    if (plug_in(argv[1], "vdeflood", atoi(argv[2])) < 0) return 1;
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    start_listening();
    unsigned char frame[100] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0xa, 0x88, 0xb5};
    uint64_t sent = 0;
    double start = now();
    while (now() - start < seconds) {
        vde_send(plugs[0], (char *)frame, sizeof frame, 0);
        double ahead = ++sent / rate - (now() - start);
        if (ahead > 0) usleep(ahead * 1e6);
    }
    stop_listening();
    printf("ports=%d sent=%llu copies=%llu\n", ports, (unsigned long long)sent, (unsigned long long)heard);
    return 0;
}
