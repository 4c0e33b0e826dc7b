// SPDX-License-Identifier: GPL-2.0-only
/* The host's end of the TCP streams that lab/guest/stream.c asks for. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define MIB	(1024 * 1024)
#define CHUNK	(64 * 1024)

static char chunk[CHUNK];

static bool set_address(int fd, const char *name)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_in *addr = (struct sockaddr_in *)&ifr.ifr_addr;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	addr->sin_family = AF_INET;
	inet_pton(AF_INET, STREAM_HOST, &addr->sin_addr);
	if (ioctl(fd, SIOCSIFADDR, &ifr))
		return false;
	inet_pton(AF_INET, "255.255.255.0", &addr->sin_addr);
	return !ioctl(fd, SIOCSIFNETMASK, &ifr);
}

static void take(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = read(fd, chunk, CHUNK);

		if (n <= 0)
			return;
		left -= n;
	}
	if (write(fd, chunk, 1) != 1)
		perror("bench: the stream's end");
}

static void give(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = write(fd, chunk, left < CHUNK ? left : CHUNK);

		if (n <= 0)
			return;
		left -= n;
	}
}

static void serve(int fd)
{
	struct { char direction; uint32_t mib; } __attribute__((packed)) request;

	if (recv(fd, &request, sizeof(request), MSG_WAITALL) != sizeof(request))
		return;
	(request.direction == 's' ? take : give)(fd, (uint64_t)request.mib * MIB);
}

void bench_stream_peer(const char *name)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(STREAM_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, guest;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 4)) {
		perror("bench: the stream");
		return;
	}
	bench_wait_up(fd, name);
	if (!set_address(fd, name)) {
		perror("bench: the stream's address");
		return;
	}
	while ((guest = accept(fd, NULL, NULL)) >= 0) {
		serve(guest);
		close(guest);
	}
}
