/*
 * What call.c needs of clock, chance and network.
 */
#ifndef EFFIGY_UDP_H
#define EFFIGY_UDP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Milliseconds of a clock that never jumps. */
static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static double chance(unsigned long *seed)
{
    *seed = (*seed * 1103515245UL + 12345UL) & 0x7fffffffUL;
    return (double)(*seed >> 8) / (double)(1UL << 23);
}

static void put32(unsigned char *to, unsigned long value)
{
    int at;

    for (at = 0; at < 4; at++) {
        to[at] = (unsigned char)(value >> (24 - 8 * at));
    }
}

/* A socket on a port of the system's choice; -1 and errno without one. */
static int open_socket(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int opened = socket(AF_INET, SOCK_DGRAM, 0);

    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (opened < 0 || bind(opened, (struct sockaddr *)address, size) != 0 ||
        getsockname(opened, (struct sockaddr *)address, &size) != 0) {
        return -1;
    }
    return opened;
}

#endif
