// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other end of the devices' guest's wire: answers each request with the packets that it asks for (guest/wire.h).
 * They go past the interface's queue, so that what is measured is the card and not a queueing discipline.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "guest/wire.h"

#define WAIT_US	1000

static bool is_up(int fd, const char *name)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return !ioctl(fd, SIOCGIFFLAGS, &ifr) && ifr.ifr_flags & IFF_UP;
}

void bench_wait_up(int fd, const char *name)
{
	while (!is_up(fd, name))
		usleep(WAIT_US);
}

/* The interface comes and goes with a launcher. */
static int open_wire(const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(WIRE_REQUEST) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (fd < 0)
		return -1;
	bench_wait_up(fd, name);
	addr.sll_ifindex = if_nametoindex(name);
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void answer(int fd, const struct wire_request *r)
{
	static uint8_t packet[WIRE_BYTES_MAX] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x4b, 0, 0, 0, 2,
						  WIRE_ANSWER >> 8, WIRE_ANSWER & 0xff };
	struct iovec iov = { packet, r->bytes };
	struct mmsghdr messages[WIRE_BURST_MAX] = { 0 };

	if (r->bytes > WIRE_BYTES_MAX || r->packets > WIRE_BURST_MAX)
		return;
	for (int i = 0; i < r->packets; i++) {
		messages[i].msg_hdr.msg_iov = &iov;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (int i = 0; i < r->packets;) {
		int n = sendmmsg(fd, messages + i, r->packets - i, 0);

		if (n <= 0)
			return;
		i += n;
	}
}

void bench_peer(const char *name)
{
	uint8_t frame[ETH_FRAME_LEN];
	int fd = open_wire(name);
	ssize_t n;

	if (fd < 0) {
		perror("bench: the wire");
		return;
	}
	while ((n = recv(fd, frame, sizeof(frame), 0)) > 0 || errno == ENETDOWN)
		if (n >= (ssize_t)(ETH_HLEN + sizeof(struct wire_request)))
			answer(fd, (const struct wire_request *)(frame + ETH_HLEN));
}
