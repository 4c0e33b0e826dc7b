/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network cards: --net, and the tap behind each. The tap is made here, put on
 * its bridge and brought up; packets go between it and the guest without us.
 */
#ifndef KILN_NET_H
#define KILN_NET_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "../uapi/kiln.h"

#define NETS_MAX	8
#define NET_PAIRS_MAX	8
#define NET_MAC		6

struct net_config {
	char tap[IFNAMSIZ];	/* "": any name */
	char bridge[IFNAMSIZ];	/* "": none */
	uint8_t mac[NET_MAC];
	bool has_mac;		/* else it follows from the guest's name */
	unsigned int queues;	/* pairs */
	bool vhost;		/* the host's vhost-net serves it */
};

/* An open tap: what is given to the kernel, and what it is called. */
struct net_tap {
	int fds[NET_PAIRS_MAX];
	unsigned int count;
	char name[IFNAMSIZ];
	uint8_t mac[NET_MAC];
	uint32_t mtu;
};

/* tap[=NAME][,WORD]... -1 with a sentence. */
int net_parse(struct net_config *net, const char *text);

/*
 * The address of card @number of the guest called @guest: locally administered,
 * the same each time.
 */
void net_mac(const char *guest, unsigned int number, uint8_t mac[NET_MAC]);

/* As if nothing were open. */
void net_tap_init(struct net_tap *tap);

/* Makes the tap, or takes the one there is. -1 with a sentence. */
int net_open(const struct net_config *net, const char *guest, unsigned int number,
	     struct net_tap *tap);
void net_tap_close(struct net_tap *tap);

/* For KILN_VIRTIO_SET_NET. */
void net_back_end(const struct net_tap *tap, struct kiln_virtio_net *net);

#endif
