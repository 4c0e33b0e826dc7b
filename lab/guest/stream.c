// SPDX-License-Identifier: GPL-2.0-only
/*
 * In a guest of lab/bench: sends a stream of TCP to the host and receives one, says what each cost by the TSC, and ends
 * the machine. The other end is selftests/bench/stream.c.
 *
 *	stream ADDRESS PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MIB		(1024 * 1024)
#define CHUNK		(64 * 1024)
#define WARM_UP		4	/* MiB */
#define MEASURED	32
#define DEBUG_EXIT	0xf4

static char chunk[CHUNK];

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The host has its address a moment after the card's other end is there. */
static int reach(const struct sockaddr_in *host)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	for (int tries = 0; tries < 10000; tries++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		check(fd >= 0, "socket");
		if (!connect(fd, (const struct sockaddr *)host, sizeof(*host)))
			return fd;
		close(fd);
		nanosleep(&moment, NULL);
	}
	check(0, "connect");
	return -1;
}

/* Until the host has said that it has everything. */
static void send_mib(int fd, uint32_t mib)
{
	for (uint64_t left = (uint64_t)mib * MIB; left;) {
		ssize_t n = write(fd, chunk, left < CHUNK ? left : CHUNK);

		check(n > 0, "write");
		left -= n;
	}
	check(read(fd, chunk, 1) == 1, "answer");
}

static void receive_mib(int fd, uint32_t mib)
{
	for (uint64_t left = (uint64_t)mib * MIB; left;) {
		ssize_t n = read(fd, chunk, CHUNK);

		check(n > 0, "read");
		left -= n;
	}
}

static uint64_t stream(const struct sockaddr_in *host, char direction, uint32_t mib)
{
	struct { char direction; uint32_t mib; } __attribute__((packed)) request = { direction, mib };
	int fd = reach(host);
	uint64_t begin;

	begin = __rdtsc();
	check(write(fd, &request, sizeof(request)) == sizeof(request), "request");
	(direction == 's' ? send_mib : receive_mib)(fd, mib);
	begin = __rdtsc() - begin;
	close(fd);
	return begin;
}

int main(int argc, char **argv)
{
	struct sockaddr_in host = { .sin_family = AF_INET };
	static const char directions[] = "sr";

	check(argc == 3 && inet_pton(AF_INET, argv[1], &host.sin_addr) == 1, "usage: stream ADDRESS PORT");
	host.sin_port = htons(atoi(argv[2]));
	for (const char *direction = directions; *direction; direction++) {
		stream(&host, *direction, WARM_UP);
		printf("stream-%c: %llu / %u\n", *direction,
		       (unsigned long long)stream(&host, *direction, MEASURED), MEASURED);
	}
	fflush(stdout);
	fsync(1);
	check(!ioperm(DEBUG_EXIT, 1, 1), "ioperm");
	outb(0, DEBUG_EXIT);
	return 0;
}
