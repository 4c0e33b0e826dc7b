// SPDX-License-Identifier: GPL-2.0-only
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "netlink.h"
#include "parse.h"
#include "util.h"

/* ---- the option ---- */

static int set_interface(const char *word, const char *value, char name[IFNAMSIZ])
{
	if (!*value || strlen(value) >= IFNAMSIZ || strpbrk(value, "/ %:"))
		return error_set("--net %s%s: no name of an interface; give 1 to %d letters and digits",
				 word, value, IFNAMSIZ - 1);
	snprintf(name, IFNAMSIZ, "%s", value);
	return 0;
}

static int set_tap(struct net_config *net, const char *value)
{
	return set_interface("tap=", value, net->tap);
}

static int set_bridge(struct net_config *net, const char *value)
{
	return set_interface("bridge=", value, net->bridge);
}

static int set_mac(struct net_config *net, const char *value)
{
	uint8_t *mac = net->mac;
	int end = 0;

	if (sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &end) != NET_MAC || value[end])
		return error_set("--net mac=%s: no MAC address; give six bytes like 52:4b:12:34:56:78",
				 value);
	if (mac[0] & 1)
		return error_set("--net mac=%s: the address of a group; give one whose first byte is even",
				 value);
	net->has_mac = true;
	return 0;
}

static int set_queues(struct net_config *net, const char *value)
{
	uint64_t queues;

	if (parse_number("--net queues", value, 1, NET_PAIRS_MAX, &queues))
		return -1;
	net->queues = (unsigned int)queues;
	return 0;
}

static int set_vhost(struct net_config *net, const char *value)
{
	if (strcmp(value, "kiln") && strcmp(value, "kernel"))
		return error_set("--net vhost=%s: unknown; give vhost=kiln or vhost=kernel", value);
	net->vhost = !strcmp(value, "kernel");
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct net_config *net, const char *value);
} words[] = {
	{ "tap", set_tap },	  { "bridge", set_bridge }, { "mac", set_mac },
	{ "queues", set_queues }, { "vhost", set_vhost },
};

static int take_word(struct net_config *net, char *word)
{
	char *equals = strchr(word, '=');

	if (equals) {
		*equals = '\0';
		for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
			if (!strcmp(word, words[i].name))
				return words[i].set(net, equals + 1);
	}
	return error_set("--net: %s%s is unknown; give bridge=, mac=, queues= or vhost=", word,
			 equals ? "=" : "");
}

int net_parse(struct net_config *net, const char *text)
{
	char copy[256], *rest = copy, *word;

	*net = (struct net_config){ .queues = 1 };
	if (strlen(text) >= sizeof(copy))
		return error_set("--net: %zu letters; give less than %zu", strlen(text),
				 sizeof(copy));
	snprintf(copy, sizeof(copy), "%s", text);
	word = strsep(&rest, ",");
	if (strcmp(word, "tap") && strncmp(word, "tap=", 4))
		return error_set("--net %s: unknown; give tap or tap=NAME", text);
	if (word[3] && take_word(net, word))
		return -1;
	while (rest)
		if (take_word(net, strsep(&rest, ",")))
			return -1;
	return 0;
}

void net_mac(const char *guest, unsigned int number, uint8_t mac[NET_MAC])
{
	uint32_t hash = 2166136261u;	/* FNV-1a */

	for (; *guest; guest++)
		hash = (hash ^ (uint8_t)*guest) * 16777619u;
	hash = (hash ^ (uint8_t)number) * 16777619u;
	mac[0] = 0x52;		/* locally administered, of one card */
	mac[1] = 'K';
	for (int i = 0; i < 4; i++)
		mac[2 + i] = (uint8_t)(hash >> (24 - 8 * i));
}

/* ---- the tap ---- */

static int explain_open(int err)
{
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set("--net: this kernel has no taps; load them with `modprobe tun`");
	case EACCES:
		return error_set("--net: /dev/net/tun: permission denied; run as root, or let your group use it");
	default:
		return error_set("--net: /dev/net/tun: %s; load the module tun", strerror(err));
	}
}

static int explain_attach(const struct net_config *net, const char *name, int err)
{
	switch (err) {
	case EPERM:
		return error_set("--net tap%s%s: permission denied; run as root, or have root make one that is yours: ip tuntap add NAME mode tap%s user %u",
				 *net->tap ? "=" : "", net->tap,
				 net->queues > 1 ? " multi_queue" : "", getuid());
	case EBUSY:
		return error_set("--net tap=%s: in use by another program; end that first, or name another one",
				 name);
	case EINVAL:
		return error_set("--net tap=%s: another kind of interface%s; name another one", name,
				 net->queues > 1 ? ", or a tap without multi_queue" : "");
	default:
		return error_set("--net tap=%s: %s; name another one", name, strerror(err));
	}
}

static int add_fd(const struct net_config *net, struct net_tap *tap)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct virtio_net_hdr_v1);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return explain_open(errno);
	tap->fds[tap->count++] = fd;
	if (net->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap->name);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return explain_attach(net, ifr.ifr_name, errno);
	snprintf(tap->name, sizeof(tap->name), "%s", ifr.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header))
		return error_set("--net tap=%s: its header cannot be set: %s; use a newer kernel",
				 tap->name, strerror(errno));
	return 0;
}

void net_tap_init(struct net_tap *tap)
{
	memset(tap, 0, sizeof(*tap));
}

int net_open(const struct net_config *net, const char *guest, unsigned int number,
	     struct net_tap *tap)
{
	/* The kernel numbers those without a name. */
	snprintf(tap->name, sizeof(tap->name), "%s", *net->tap ? net->tap : "kiln%d");
	if (net->has_mac)
		memcpy(tap->mac, net->mac, NET_MAC);
	else
		net_mac(guest, number, tap->mac);
	for (unsigned int i = 0; i < net->queues; i++)
		if (add_fd(net, tap))
			return -1;
	return netlink_tap_up(tap->name, net->bridge, tap->mac, &tap->mtu);
}

void net_tap_close(struct net_tap *tap)
{
	for (unsigned int i = 0; i < tap->count; i++)
		close(tap->fds[i]);
	tap->count = 0;
}

void net_back_end(const struct net_tap *tap, struct kiln_virtio_net *net)
{
	*net = (struct kiln_virtio_net){
		.nr_pairs = tap->count,
		.mtu = tap->mtu,
		.link = 1,
	};
	memcpy(net->mac, tap->mac, NET_MAC);
	for (unsigned int i = 0; i < NET_PAIRS_MAX; i++)
		net->fd[i] = i < tap->count ? tap->fds[i] : -1;
}
