/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's interfaces, through libnl-3. All: -1 with a sentence. */
#ifndef KILN_NETLINK_H
#define KILN_NETLINK_H

#include <net/if.h>
#include <stdint.h>

/* An IPv4 network: the host's address in it, and how many bits name the network. */
struct subnet {
	uint32_t address;
	unsigned int bits;
};

static inline uint32_t subnet_mask(const struct subnet *subnet)
{
	return subnet->bits ? ~0u << (32 - subnet->bits) : 0;
}

/*
 * Puts the tap @name on @bridge, unless that is "", and brings it up; what is so
 * already needs no rights. @guest is the address of its other end. *@mtu is
 * that of the interface.
 */
int netlink_tap_up(const char *name, const char *bridge, const uint8_t guest[6], uint32_t *mtu);

/*
 * A bridge with an address, up, and marked as ours by @alias. @mac stays its own
 * whatever ports it gets.
 */
int netlink_bridge_create(const char *name, const uint8_t mac[6], const struct subnet *subnet,
			  const char *alias);
int netlink_bridge_delete(const char *name);

/* Of which interface is an address in @subnet? *@name is "" if of none. */
int netlink_find_subnet(const struct subnet *subnet, char name[IFNAMSIZ]);

/* What netlink_bridge_create() marked: calls @found for each. */
int netlink_bridge_list(void (*found)(const char *name, const char *alias, unsigned int ports,
				      void *context),
			void *context);

#endif
