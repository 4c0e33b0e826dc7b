// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of net.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PROTO	0x88b5		/* for local experiments: nobody else uses it */

/* ---- the wire ---- */

static int tap_open(char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags };
	int size = HDR, fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &size))
		die("a tap: %s", strerror(errno));
	strcpy(name, ifr.ifr_name);
	return fd;
}

static void quiet(const char *name)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	fd = open(path, O_WRONLY);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

void wire_set_up(struct wire *w, bool up)
{
	struct ifreq ifr = { .ifr_flags = up ? IFF_UP : 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(ifr.ifr_name, w->name);
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("%s up: %s", w->name, strerror(errno));
	close(fd);
}

static bool kernel_has_taps(void)
{
	return !access("/dev/net/tun", F_OK) || !system("modprobe -q tun; modprobe -q af_packet");
}

static char many_queues[IFNAMSIZ] = "ktest%d";

void wire_hold_many_queues(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_DETACH_QUEUE };
	int fd;

	if (!kernel_has_taps())
		return;
	fd = tap_open(many_queues, IFF_MULTI_QUEUE);
	if (fd >= 0 && ioctl(fd, TUNSETQUEUE, &ifr))
		die("a queue of %s: %s", many_queues, strerror(errno));
}

bool wire_open(struct wire *w, int n)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1;

	if (!kernel_has_taps())
		return false;
	strcpy(w->name, n > 1 ? many_queues : "ktest%d");
	w->n = n;
	for (int i = 0; i < n; i++) {
		w->tap[i] = tap_open(w->name, n > 1 ? IFF_MULTI_QUEUE : 0);
		if (w->tap[i] < 0)
			return false;
	}
	quiet(w->name);
	wire_set_up(w, true);
	w->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	addr.sll_ifindex = if_nametoindex(w->name);
	if (w->sock < 0 || setsockopt(w->sock, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(w->sock, (struct sockaddr *)&addr, sizeof(addr)))
		die("packet socket: %s", strerror(errno));
	return true;
}

void wire_close(struct wire *w)
{
	for (int i = 0; i < w->n; i++)
		close(w->tap[i]);
	close(w->sock);
}

void wire_send(struct wire *w, const struct hdr *h, const void *frame, size_t len)
{
	static const struct hdr none;
	uint8_t buf[70000];

	memcpy(buf, h ?: &none, 10);
	memcpy(buf + 10, frame, len);
	if (send(w->sock, buf, 10 + len, 0) != 10 + len)
		die("packet of %zu bytes: %s", len, strerror(errno));
}

size_t wire_recv(struct wire *w, struct hdr *h, void *frame, size_t max, int ms)
{
	struct pollfd p = { .fd = w->sock, .events = POLLIN };
	struct sockaddr_ll from;
	socklen_t fromlen;
	uint8_t buf[70000];
	ssize_t n;

	while (poll(&p, 1, ms) > 0) {
		fromlen = sizeof(from);
		n = recvfrom(w->sock, buf, sizeof(buf), 0, (struct sockaddr *)&from, &fromlen);
		if (n < 10 + ETH || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		n -= 10;
		if (h)
			memcpy(h, buf, 10);
		memcpy(frame, buf + 10, n < max ? n : max);
		return n;
	}
	return 0;
}

void wire_delete(struct wire *w)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {
		.h = { sizeof(req), RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_index = if_nametoindex(w->name) },
	};
	char answer[4096];
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (send(fd, &req, sizeof(req), 0) != sizeof(req) || recv(fd, answer, sizeof(answer), 0) < 0 ||
	    ((struct nlmsgerr *)NLMSG_DATA(answer))->error)
		die("delete %s", w->name);
	close(fd);
}

/* ---- frames ---- */

static void put_eth(uint8_t *frame, const uint8_t *to, uint16_t proto)
{
	static const uint8_t from[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = proto >> 8;
	frame[13] = proto;
}

void make_frame(uint8_t *frame, const uint8_t *to, size_t len, uint8_t seed)
{
	put_eth(frame, to, PROTO);
	for (size_t i = ETH; i < len; i++)
		frame[i] = seed + i * 7;
}

static uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i < n; i++)
		s += p[i] << (i & 1 ? 0 : 8);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* The Ethernet and IPv4 headers, and the payload behind a header of @header bytes; returns the pseudo-header's sum. */
static uint16_t make_ip(uint8_t *f, const uint8_t *to, uint8_t proto, size_t header, size_t payload)
{
	uint16_t len = 20 + header + payload, s;

	memset(f, 0, ETH + 20 + header);
	put_eth(f, to, ETH_P_IP);
	f[14] = 0x45;
	f[16] = len >> 8;
	f[17] = len;
	f[22] = 64;
	f[23] = proto;
	memcpy(f + 26, (uint8_t[]) { 192, 0, 2, 1, 192, 0, 2, 2 }, 8);
	s = ~sum(f + 14, 20, 0);
	f[24] = s >> 8;
	f[25] = s;
	for (size_t i = 0; i < payload; i++)
		f[ETH + 20 + header + i] = i * 13;
	return sum(f + 26, 8, proto + header + payload);
}

void make_tcp(uint8_t *f, const uint8_t *to, size_t payload, uint16_t mss, uint16_t port, struct hdr *h)
{
	uint16_t s = make_ip(f, to, IPPROTO_TCP, 20, payload);

	f[34] = port >> 8;
	f[35] = port;
	f[37] = 80;
	f[46] = 0x50;
	f[47] = 0x10;
	f[50] = s >> 8;
	f[51] = s;
	*h = (struct hdr) { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16, .hdr_len = 54 };
	if (mss) {
		h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		h->gso_size = mss;
	}
}

void make_udp(uint8_t *f, const uint8_t *to, size_t payload, uint16_t mss, struct hdr *h)
{
	uint16_t s = make_ip(f, to, IPPROTO_UDP, 8, payload), len = 8 + payload;

	f[34] = 4;
	f[36] = 4;
	f[38] = len >> 8;
	f[39] = len;
	f[40] = s >> 8;
	f[41] = s;
	*h = (struct hdr) { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6, .hdr_len = 42,
			    .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4, .gso_size = mss };
}

bool ip_sum_right(const uint8_t *f, size_t len)
{
	return sum(f + 34, len - 34, sum(f + 26, 8, f[23] + len - 34)) == 0xffff;
}

/* ---- the guest ---- */

struct kiln_virtio_net net_args(const struct wire *w)
{
	struct kiln_virtio_net args = { .nr_pairs = w->n, .mtu = 1500, .link = 1 };

	for (int i = 0; i < w->n; i++)
		args.fd[i] = w->tap[i];
	memcpy(args.mac, guest_mac, 6);
	return args;
}

void guest_send(struct virtio *v, unsigned int queue, const struct hdr *h, const void *frame, size_t len)
{
	static const struct hdr none;
	struct ring_piece p = { TX_DATA, HDR + len, false };

	memcpy(v->vm->ram + TX_DATA, h ?: &none, HDR);
	memcpy(v->vm->ram + TX_DATA + HDR, frame, len);
	ring_add(&v->ring[queue], &p, 1);
	virtio_finish(v, queue, NULL);
}

void guest_add_buffers(struct virtio *v, unsigned int queue, unsigned int first, unsigned int n, uint32_t size)
{
	for (unsigned int i = first; i < first + n; i++) {
		struct ring_piece p = { RX_DATA + i * size, size, true };

		ring_add(&v->ring[queue], &p, 1);
	}
	virtio_kick(v, queue);
}

uint32_t guest_recv(struct virtio *v, unsigned int queue, int ms)
{
	uint32_t id, len;

	while (!ring_collect(&v->ring[queue], &id, &len)) {
		if (ms-- <= 0 || *virtio_broken(v))
			return 0;
		usleep(1000);
	}
	return len;
}

volatile uint8_t *put_command(struct virtio *v, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct ring_piece p[2] = { { CTRL_DATA, 2 + len, false }, { CTRL_DATA + 0x8000, 1, true } };
	uint8_t *at = v->vm->ram + CTRL_DATA;

	at[0] = class;
	at[1] = cmd;
	memcpy(at + 2, data, len);
	at[0x8000] = 0xee;
	ring_add(&v->ring[v->n - 1], p, 2);
	return at + 0x8000;
}

uint8_t command(struct virtio *v, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	volatile uint8_t *answer = put_command(v, class, cmd, data, len);

	return virtio_finish(v, v->n - 1, NULL) == 1 ? *answer : 0xed;
}

uint8_t rx_mode(struct virtio *v, uint8_t cmd, uint8_t on)
{
	return command(v, VIRTIO_NET_CTRL_RX, cmd, &on, 1);
}

uint8_t set_pairs(struct virtio *v, uint16_t pairs)
{
	return command(v, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2);
}

uint8_t set_offloads(struct virtio *v, uint64_t offloads)
{
	return command(v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &offloads, 8);
}

struct virtio_net_config net_config(struct virtio *v)
{
	static char room[sizeof(struct vhost_vdpa_config) + sizeof(struct virtio_net_config)];
	struct vhost_vdpa_config *c = (void *)room;
	struct virtio_net_config config;

	*c = (struct vhost_vdpa_config) { .len = offsetof(struct virtio_net_config, speed) };
	if (xioctl(v->fd, VHOST_VDPA_GET_CONFIG, c))
		die("VHOST_VDPA_GET_CONFIG");
	memcpy(&config, c->buf, offsetof(struct virtio_net_config, speed));
	return config;
}

bool broken_soon(struct virtio *v)
{
	for (int i = 0; i < 5000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

uint64_t drops(struct vm *vm)
{
	static char room[sizeof(struct kiln_counters) + 200 * sizeof(struct kiln_counter)];
	struct kiln_counters *c = (void *)room;

	c->nr = 200;
	if (xioctl(vm->fd, KILN_GET_COUNTERS, c))
		die("KILN_GET_COUNTERS");
	for (int i = 0; i < c->nr; i++)
		if (!strcmp(c->counters[i].name, "virtio_drop"))
			return c->counters[i].value;
	die("no counter virtio_drop");
}
