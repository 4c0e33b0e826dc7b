// SPDX-License-Identifier: GPL-2.0-only
#include "netlink.h"

#include <arpa/inet.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <stdbool.h>
#include <string.h>

#include "error.h"

static struct nl_sock *connect_route(void)
{
	struct nl_sock *sock = nl_socket_alloc();
	int err = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;

	if (!err)
		return sock;
	nl_socket_free(sock);
	error_set("netlink: %s; this kernel's interfaces cannot be changed", nl_geterror(err));
	return NULL;
}

static bool is_bridge(struct rtnl_link *link)
{
	const char *type = rtnl_link_get_type(link);

	return type && !strcmp(type, "bridge");
}

static int explain(const char *name, const char *what, int err)
{
	if (err == -NLE_PERM || err == -NLE_NOACCESS)
		return error_set("%s: permission denied when it was %s; run as root", name, what);
	return error_set("%s: cannot be %s: %s; see `ip link show`", name, what,
			 nl_geterror(err));
}

static struct rtnl_link *get_link(struct nl_sock *sock, const char *name, const char *remedy)
{
	struct rtnl_link *link = NULL;

	if (!rtnl_link_get_kernel(sock, 0, name, &link))
		return link;
	error_set("%s: no such interface; %s", name, remedy);
	return NULL;
}

/* ---- taps ---- */

/*
 * A bridge without an address of its own takes the lowest of its ports'; a high
 * one leaves it as it is.
 */
static int set_host_address(struct rtnl_link *change, const uint8_t guest[6])
{
	uint8_t host[6] = { 0xfe };
	struct nl_addr *addr;

	memcpy(host + 1, guest + 1, 5);
	addr = nl_addr_build(AF_LLC, host, sizeof(host));
	if (!addr)
		return -1;
	rtnl_link_set_addr(change, addr);
	nl_addr_put(addr);
	return 0;
}

static int change_tap(struct nl_sock *sock, struct rtnl_link *link, int master,
		      const uint8_t guest[6])
{
	struct rtnl_link *change;
	int err;

	if (rtnl_link_get_flags(link) & IFF_UP && (!master || rtnl_link_get_master(link) == master))
		return 0;
	change = rtnl_link_alloc();
	if (!change || (master && set_host_address(change, guest))) {
		rtnl_link_put(change);
		return error_set("out of memory; free some");
	}
	if (master)
		rtnl_link_set_master(change, master);
	rtnl_link_set_flags(change, IFF_UP);
	err = rtnl_link_change(sock, link, change, 0);
	rtnl_link_put(change);
	return err ? explain(rtnl_link_get_name(link), master ? "put on its bridge" : "brought up",
			     err) : 0;
}

static int find_bridge(struct nl_sock *sock, const char *name, int *index)
{
	struct rtnl_link *link;
	int ret = 0;

	*index = 0;
	if (!*name)
		return 0;
	link = get_link(sock, name, "make it with `kiln net create NAME`");
	if (!link)
		return -1;
	if (is_bridge(link))
		*index = rtnl_link_get_ifindex(link);
	else
		ret = error_set("%s: no bridge; make one with `kiln net create NAME`", name);
	rtnl_link_put(link);
	return ret;
}

int netlink_tap_up(const char *name, const char *bridge, const uint8_t guest[6], uint32_t *mtu)
{
	struct nl_sock *sock = connect_route();
	struct rtnl_link *link = NULL;
	int master, ret = -1;

	if (!sock)
		return -1;
	if (!find_bridge(sock, bridge, &master))
		link = get_link(sock, name, "it has just been there");
	if (link) {
		ret = change_tap(sock, link, master, guest);
		*mtu = rtnl_link_get_mtu(link);
		rtnl_link_put(link);
	}
	nl_socket_free(sock);
	return ret;
}

/* ---- bridges ---- */

static int add_address(struct nl_sock *sock, const char *name, int index,
		       const struct subnet *subnet)
{
	uint32_t address = htonl(subnet->address), last = htonl(subnet->address | ~subnet_mask(subnet));
	struct nl_addr *local = nl_addr_build(AF_INET, &address, sizeof(address));
	struct nl_addr *broadcast = nl_addr_build(AF_INET, &last, sizeof(last));
	struct rtnl_addr *addr = rtnl_addr_alloc();
	int err = -NLE_NOMEM;

	if (local && broadcast && addr) {
		nl_addr_set_prefixlen(local, (int)subnet->bits);
		rtnl_addr_set_ifindex(addr, index);
		rtnl_addr_set_local(addr, local);
		rtnl_addr_set_broadcast(addr, broadcast);
		err = rtnl_addr_add(sock, addr, 0);
	}
	rtnl_addr_put(addr);
	nl_addr_put(local);
	nl_addr_put(broadcast);
	return err ? explain(name, "given its address", err) : 0;
}

static int add_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6])
{
	struct nl_addr *addr = nl_addr_build(AF_LLC, mac, 6);
	struct rtnl_link *link = rtnl_link_alloc();
	int err = link && addr ? rtnl_link_set_type(link, "bridge") : -NLE_NOMEM;

	if (!err) {
		rtnl_link_set_name(link, name);
		rtnl_link_set_addr(link, addr);
		rtnl_link_set_flags(link, IFF_UP);
		err = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	}
	rtnl_link_put(link);
	nl_addr_put(addr);
	if (err == -NLE_EXIST)
		return error_set("%s: there is an interface of that name; give another one", name);
	if (err == -NLE_OPNOTSUPP)
		return error_set("%s: this kernel has no bridges; load them with `modprobe bridge`",
				 name);
	return err ? explain(name, "made", err) : 0;
}

/* The kernel takes it of an interface there is, not of one it makes. */
static int set_alias(struct nl_sock *sock, struct rtnl_link *link, const char *alias)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int err = -NLE_NOMEM;

	if (change) {
		rtnl_link_set_ifalias(change, alias);
		err = rtnl_link_change(sock, link, change, 0);
	}
	rtnl_link_put(change);
	return err ? explain(rtnl_link_get_name(link), "marked", err) : 0;
}

static int remove_bridge(struct nl_sock *sock, const char *name)
{
	struct rtnl_link *link = get_link(sock, name, "`kiln net list` says what there is");
	int err;

	if (!link)
		return -1;
	err = rtnl_link_delete(sock, link);
	rtnl_link_put(link);
	return err ? explain(name, "deleted", err) : 0;
}

int netlink_bridge_create(const char *name, const uint8_t mac[6], const struct subnet *subnet,
			  const char *alias)
{
	struct nl_sock *sock = connect_route();
	struct rtnl_link *link = NULL;
	int ret = -1;

	if (!sock)
		return -1;
	if (!add_bridge(sock, name, mac)) {
		link = get_link(sock, name, "it has just been made");
		if (link)
			ret = set_alias(sock, link, alias) ?:
			      add_address(sock, name, rtnl_link_get_ifindex(link), subnet);
		rtnl_link_put(link);
		if (ret)
			netlink_bridge_delete(name);
	}
	nl_socket_free(sock);
	return ret;
}

int netlink_bridge_delete(const char *name)
{
	struct nl_sock *sock = connect_route();
	int ret;

	if (!sock)
		return -1;
	ret = remove_bridge(sock, name);
	nl_socket_free(sock);
	return ret;
}

/* ---- what there is ---- */

static bool in_subnet(struct rtnl_addr *addr, const struct subnet *subnet)
{
	struct nl_addr *local = rtnl_addr_get_local(addr);
	struct subnet other;
	uint32_t raw, mask;

	if (!local || nl_addr_get_family(local) != AF_INET)
		return false;
	memcpy(&raw, nl_addr_get_binary_addr(local), sizeof(raw));
	other = (struct subnet){ ntohl(raw), nl_addr_get_prefixlen(local) };
	mask = subnet_mask(subnet) & subnet_mask(&other);
	return (other.address & mask) == (subnet->address & mask);
}

int netlink_find_subnet(const struct subnet *subnet, char name[IFNAMSIZ])
{
	struct nl_sock *sock = connect_route();
	struct nl_cache *cache = NULL;
	int err;

	name[0] = '\0';
	if (!sock)
		return -1;
	err = rtnl_addr_alloc_cache(sock, &cache);
	for (struct nl_object *o = err ? NULL : nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *addr = (struct rtnl_addr *)o;

		if (in_subnet(addr, subnet) &&
		    !if_indextoname((unsigned int)rtnl_addr_get_ifindex(addr), name))
			name[0] = '\0';
	}
	nl_cache_free(cache);
	nl_socket_free(sock);
	return err ? error_set("netlink: %s; addresses cannot be listed", nl_geterror(err)) : 0;
}

static unsigned int count_ports(struct nl_cache *cache, int master)
{
	unsigned int count = 0;

	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
		count += rtnl_link_get_master((struct rtnl_link *)o) == master;
	return count;
}

int netlink_bridge_list(void (*found)(const char *name, const char *alias, unsigned int ports,
				      void *context),
			void *context)
{
	struct nl_sock *sock = connect_route();
	struct nl_cache *cache = NULL;
	int err;

	if (!sock)
		return -1;
	err = rtnl_link_alloc_cache(sock, AF_UNSPEC, &cache);
	for (struct nl_object *o = err ? NULL : nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;
		const char *alias = rtnl_link_get_ifalias(link);

		if (alias && is_bridge(link))
			found(rtnl_link_get_name(link), alias,
			      count_ports(cache, rtnl_link_get_ifindex(link)), context);
	}
	nl_cache_free(cache);
	nl_socket_free(sock);
	return err ? error_set("netlink: %s; interfaces cannot be listed", nl_geterror(err)) : 0;
}
