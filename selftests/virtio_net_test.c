// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network device (virtio 1.2 §5.1), served by the kernel: the test plays the guest on the rings, and the wire by a
 * packet socket on the tap.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "virtio.h"

#define DOORBELL	0xd0000000UL
#define VECTOR		0x52
#define HDR		12
#define PROTO		0x88b5		/* for local experiments: nobody else uses it */
#define ETH		14

#define RX		0
#define TX		1
#define TX_DATA		VIRTIO_DATA
#define RX_DATA		(VIRTIO_DATA + 0x40000UL)
#define CTRL_DATA	(VIRTIO_DATA + 0x30000UL)

#define F(n)		BIT64(VIRTIO_NET_F_##n)
#define CONTROL		(F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR))
#define OFFLOADS	(F(GUEST_CSUM) | F(GUEST_TSO4) | F(CTRL_GUEST_OFFLOADS))

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t other_mac[6] = { 0x52, 0x54, 0, 9, 9, 9 };
static const uint8_t group_mac[6] = { 0x33, 0x33, 0, 0, 0, 7 };
static const uint8_t all_macs[6] = { 255, 255, 255, 255, 255, 255 };

struct hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

/* ---- the wire ---- */

struct wire {
	char name[IFNAMSIZ];
	int tap[2], n;
	int sock;	/* packets with a header of 10 bytes: PACKET_VNET_HDR */
};

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

static void set_up(const char *name, bool up)
{
	struct ifreq ifr = { .ifr_flags = up ? IFF_UP : 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("%s up: %s", name, strerror(errno));
	close(fd);
}

static bool kernel_has_taps(void)
{
	return !access("/dev/net/tun", F_OK) || !system("modprobe -q tun; modprobe -q af_packet");
}

/*
 * The tap with several queues is the same from the first test to the last, held by a queue that is not in use: it has
 * queueing disciplines for 256, which a kernel with lockdep takes seconds to make and to undo.
 */
static char many_queues[IFNAMSIZ] = "ktest%d";

__attribute__((constructor)) static void hold_many_queues(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_DETACH_QUEUE };
	int fd;

	if (!kernel_has_taps())
		return;
	fd = tap_open(many_queues, IFF_MULTI_QUEUE);
	if (fd >= 0 && ioctl(fd, TUNSETQUEUE, &ifr))
		die("a queue of %s: %s", many_queues, strerror(errno));
}

/* False if this kernel has no taps. */
static bool wire_open(struct wire *w, int n)
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
	set_up(w->name, true);
	w->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	addr.sll_ifindex = if_nametoindex(w->name);
	if (w->sock < 0 || setsockopt(w->sock, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(w->sock, (struct sockaddr *)&addr, sizeof(addr)))
		die("packet socket: %s", strerror(errno));
	return true;
}

static void wire_close(struct wire *w)
{
	for (int i = 0; i < w->n; i++)
		close(w->tap[i]);
	close(w->sock);
}

/* A frame to the guest, after its header. */
static void wire_send(struct wire *w, const struct hdr *h, const void *frame, size_t len)
{
	static const struct hdr none;
	uint8_t buf[70000];

	memcpy(buf, h ?: &none, 10);
	memcpy(buf + 10, frame, len);
	if (send(w->sock, buf, 10 + len, 0) != 10 + len)
		die("packet of %zu bytes: %s", len, strerror(errno));
}

/* The next frame the guest sent: its length, or 0 after @ms. Others are not the test's. */
static size_t wire_recv(struct wire *w, struct hdr *h, void *frame, size_t max, int ms)
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

/* ---- frames ---- */

static void put_eth(uint8_t *frame, const uint8_t *to, uint16_t proto)
{
	static const uint8_t from[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = proto >> 8;
	frame[13] = proto;
}

static void make_frame(uint8_t *frame, const uint8_t *to, size_t len, uint8_t seed)
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

/* TCP from the one end of the wire to the other, its checksum that of the pseudo-header, and the header for it. */
static void make_tcp(uint8_t *f, const uint8_t *to, size_t payload, uint16_t mss, uint16_t port, struct hdr *h)
{
	uint16_t len = 40 + payload, s;

	memset(f, 0, ETH + 40);
	put_eth(f, to, ETH_P_IP);
	f[14] = 0x45;
	f[16] = len >> 8;
	f[17] = len;
	f[22] = 64;
	f[23] = IPPROTO_TCP;
	memcpy(f + 26, (uint8_t[]) { 192, 0, 2, 1, 192, 0, 2, 2 }, 8);
	s = ~sum(f + 14, 20, 0);
	f[24] = s >> 8;
	f[25] = s;
	f[34] = port >> 8;
	f[35] = port;
	f[37] = 80;
	f[46] = 0x50;
	f[47] = 0x10;
	s = sum(f + 26, 8, IPPROTO_TCP + 20 + payload);
	f[50] = s >> 8;
	f[51] = s;
	for (size_t i = 0; i < payload; i++)
		f[ETH + 40 + i] = i * 13;
	*h = (struct hdr) { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16, .hdr_len = 54 };
	if (mss) {
		h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		h->gso_size = mss;
	}
}

static bool tcp_sum_right(const uint8_t *f, size_t len)
{
	return sum(f + 34, len - 34, sum(f + 26, 8, IPPROTO_TCP + len - 34)) == 0xffff;
}

/* ---- the guest ---- */

FIXTURE(net) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	struct wire wire;
	struct kiln_virtio_net args;
	uint8_t *ram;
	uint8_t frame[70000], seen[70000];
};

FIXTURE_VARIANT(net) {
	uint64_t features;
	unsigned int pairs;
};

FIXTURE_VARIANT_ADD(net, split) { .features = V1 | F(CTRL_VQ), .pairs = 1 };
FIXTURE_VARIANT_ADD(net, split_event_idx) { .features = V1 | F(CTRL_VQ) | EVENT_IDX | INDIRECT, .pairs = 1 };
FIXTURE_VARIANT_ADD(net, packed) { .features = V1 | F(CTRL_VQ) | PACKED, .pairs = 1 };
FIXTURE_VARIANT_ADD(net, packed_event_idx) { .features = V1 | F(CTRL_VQ) | PACKED | EVENT_IDX | INDIRECT, .pairs = 1 };
FIXTURE_VARIANT_ADD(net, pairs) { .features = V1 | F(CTRL_VQ) | F(MQ), .pairs = 2 };

static uint32_t rounds __guest_data = 3;
static struct ring guest_ring __guest_data;

static __guest void sends_packets(void)
{
	struct ring_piece p = { TX_DATA, HDR + 60, false };
	uint32_t id = 0, len = 0;

	for (uint32_t i = 0; i < rounds; i++) {
		*(volatile uint8_t *)(TX_DATA + HDR + 14) = i;
		ring_add(&guest_ring, &p, 1);
		*(volatile uint16_t *)DOORBELL = 0;
		while (!ring_collect(&guest_ring, &id, &len))
			pause_cpu();
	}
	guest_done();
}

static __guest void receives_packets(void)
{
	struct ring_piece p = { RX_DATA, 2048, true };
	uint32_t id = 0, len = 0, n = 0;

	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	for (uint32_t i = 0; i < rounds; i++) {
		ring_add(&guest_ring, &p, 1);
		*(volatile uint16_t *)DOORBELL = 0;
		guest_sync(i);
		while (guest_count[VECTOR] == n) {
			cli();
			if (guest_count[VECTOR] == n)
				sti_hlt();
			sti();
		}
		cli();
		n = guest_count[VECTOR];
		guest_assert(ring_collect(&guest_ring, &id, &len));
		guest_expect(HDR + 60, len);
	}
	guest_done();
}

FIXTURE_SETUP(net)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	if (!wire_open(&self->wire, variant->pairs))
		SKIP(_exit(255), "this kernel has no taps");
	self->vcpu = vm_create_one(VM_IRQCHIP, sends_packets);
	self->vm = self->vcpu->vm;
	self->ram = self->vm->ram;
	self->v = virtio_create(self->vm, VIRTIO_ID_NET, 2 * variant->pairs + 1);
	self->args = (struct kiln_virtio_net) { .nr_pairs = variant->pairs, .mtu = 1500, .link = 1 };
	for (int i = 0; i < variant->pairs; i++)
		self->args.fd[i] = self->wire.tap[i];
	memcpy(self->args.mac, guest_mac, 6);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
}

FIXTURE_TEARDOWN(net)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
	wire_close(&self->wire);
}

/* Send from guest memory at TX_DATA. */
static void guest_send(struct virtio *v, unsigned int queue, const struct hdr *h, const void *frame, size_t len)
{
	static const struct hdr none;
	struct ring_piece p = { TX_DATA, HDR + len, false };

	memcpy(v->vm->ram + TX_DATA, h ?: &none, HDR);
	memcpy(v->vm->ram + TX_DATA + HDR, frame, len);
	ring_add(&v->ring[queue], &p, 1);
	virtio_finish(v, queue, NULL);
}

/* Buffer i is RX_DATA + i * @size. */
static void guest_add_buffers(struct virtio *v, unsigned int queue, unsigned int first, unsigned int n, uint32_t size)
{
	for (unsigned int i = first; i < first + n; i++) {
		struct ring_piece p = { RX_DATA + i * size, size, true };

		ring_add(&v->ring[queue], &p, 1);
	}
	virtio_kick(v, queue);
}

/* A used buffer: its length, or 0 after @ms. */
static uint32_t guest_recv(struct virtio *v, unsigned int queue, int ms)
{
	uint32_t id, len;

	while (!ring_collect(&v->ring[queue], &id, &len)) {
		if (ms-- <= 0 || *virtio_broken(v))
			return 0;
		usleep(1000);
	}
	return len;
}

/* A command: its answer. */
static uint8_t command(struct virtio *v, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct ring_piece p[2] = { { CTRL_DATA, 2 + len, false }, { CTRL_DATA + 0x8000, 1, true } };
	uint8_t *at = v->vm->ram + CTRL_DATA;

	at[0] = class;
	at[1] = cmd;
	memcpy(at + 2, data, len);
	at[0x8000] = 0xee;
	ring_add(&v->ring[v->n - 1], p, 2);
	if (virtio_finish(v, v->n - 1, NULL) != 1)
		return 0xed;
	return at[0x8000];
}

static uint8_t rx_mode(struct virtio *v, uint8_t cmd, uint8_t on)
{
	return command(v, VIRTIO_NET_CTRL_RX, cmd, &on, 1);
}

static struct virtio_net_config config(struct virtio *v)
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

static bool broken_soon(struct virtio *v)
{
	for (int i = 0; i < 5000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

/* The counter of that name. */
static uint64_t drops(struct vm *vm)
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

/* ---- to the wire ---- */

TEST_F(net, a_packet_is_sent)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 3 * VIRTIO_NUM; i++) {
		size_t len = 60 + i * 7;

		make_frame(self->frame, other_mac, len, i);
		guest_send(&self->v, TX, NULL, self->frame, len);
		ASSERT_EQ(len, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
		ASSERT_EQ(0, memcmp(self->frame, self->seen, len));
	}
}

TEST_F(net, a_packet_in_pieces_is_sent_whole)
{
	struct ring_piece p[4] = {
		{ TX_DATA, 5, false }, { TX_DATA + 0x100, 10, false }, { TX_DATA + 0x200, 30, false },
		{ TX_DATA + 0x300, 67, false },
	};
	uint8_t all[112] = { 0 };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	make_frame(all + HDR, other_mac, 100, 3);
	memcpy(self->ram + TX_DATA, all, 5);
	memcpy(self->ram + TX_DATA + 0x100, all + 5, 10);
	memcpy(self->ram + TX_DATA + 0x200, all + 15, 30);
	memcpy(self->ram + TX_DATA + 0x300, all + 45, 67);
	ring_add(&self->v.ring[TX], p, 4);
	virtio_finish(&self->v, TX, NULL);
	ASSERT_EQ(100, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
	EXPECT_EQ(0, memcmp(all + HDR, self->seen, 100));
}

TEST_F(net, packets_sent_at_once_keep_their_order)
{
	uint32_t id, len, used = 0;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < VIRTIO_NUM; i++) {
		struct ring_piece p = { TX_DATA + i * 128, HDR + 60, false };

		memset(self->ram + p.addr, 0, HDR);
		make_frame(self->ram + p.addr + HDR, other_mac, 60, i);
		ring_add(&self->v.ring[TX], &p, 1);
	}
	virtio_kick(&self->v, TX);
	for (int i = 0; i < VIRTIO_NUM; i++) {
		make_frame(self->frame, other_mac, 60, i);
		ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
		ASSERT_EQ(0, memcmp(self->frame, self->seen, 60));
	}
	for (int ms = 0; ms < 5000 && used < VIRTIO_NUM; ms++) {
		while (ring_collect(&self->v.ring[TX], &id, &len))
			used++;
		usleep(1000);
	}
	EXPECT_EQ(VIRTIO_NUM, used);
}

TEST_F(net, a_checksum_is_left_to_the_host)
{
	struct hdr h, seen;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CSUM)));
	make_tcp(self->frame, other_mac, 100, 0, 1000, &h);
	guest_send(&self->v, TX, &h, self->frame, 154);
	ASSERT_EQ(154, wire_recv(&self->wire, &seen, self->seen, sizeof(self->seen), 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_F_NEEDS_CSUM, seen.flags);
	EXPECT_EQ(34, seen.csum_start);
	EXPECT_EQ(16, seen.csum_offset);
}

TEST_F(net, segments_are_left_to_the_host)
{
	struct hdr h, seen;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CSUM) | F(HOST_TSO4)));
	make_tcp(self->frame, other_mac, 30000, 1000, 1000, &h);
	guest_send(&self->v, TX, &h, self->frame, 30054);
	ASSERT_EQ(30054, wire_recv(&self->wire, &seen, self->seen, sizeof(self->seen), 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_TCPV4, seen.gso_type);
	EXPECT_EQ(1000, seen.gso_size);
	EXPECT_EQ(0, memcmp(self->frame, self->seen, 30054));
}

/* What is wrong with it the tap knows; it is counted, the buffer comes back, and the next one passes. */
TEST_F(net, packets_no_tap_takes_are_dropped)
{
	static const struct hdr bad[] = {
		{ .flags = 1, .csum_start = 0xfff0, .csum_offset = 0xfff0 },
		{ .flags = 1, .csum_start = 59, .csum_offset = 2 },
		{ .gso_type = 0x7f, .gso_size = 1 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0xffff, .hdr_len = 0xffff },
	};
	uint64_t before;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CSUM) | F(HOST_TSO4)));
	before = drops(self->vm);
	make_frame(self->frame, other_mac, 60, 1);
	for (int i = 0; i < 5; i++)
		guest_send(&self->v, TX, &bad[i], self->frame, 60);
	guest_send(&self->v, TX, NULL, self->frame, 0);
	guest_send(&self->v, TX, NULL, self->frame, 13);
	EXPECT_EQ(before + 7, drops(self->vm));
	guest_send(&self->v, TX, NULL, self->frame, 60);
	ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->seen, 60));
}

TEST_F(net, an_interface_that_is_down_drops)
{
	uint64_t before;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	before = drops(self->vm);
	make_frame(self->frame, other_mac, 60, 1);
	set_up(self->wire.name, false);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
	set_up(self->wire.name, true);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
}

TEST_F(net, a_guest_sends_by_its_doorbell)
{
	ASSERT_EQ(0, virtio_doorbell(&self->v, TX, DOORBELL, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_init(&GUEST(self->vm, guest_ring), 0, VIRTIO_RING(TX), VIRTIO_NUM, variant->features & PACKED,
		  variant->features & EVENT_IDX);
	GUEST(self->vm, rounds) = 200;
	memset(self->ram + TX_DATA, 0, HDR);
	make_frame(self->ram + TX_DATA + HDR, other_mac, 60, 0);
	ASSERT_DONE(self->vcpu);
	for (int i = 0; i < 200; i++) {
		ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
		ASSERT_EQ(i, self->seen[14]);
	}
}

/* ---- from the wire ---- */

/* Pages of the guest's RAM that are in its dirty log: those two. */
static bool logged(struct vm *vm, uint64_t gpa, uint64_t not)
{
	static uint64_t log[VM_RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log args = { .slot = 0, .dirty_bitmap = log };

	if (xioctl(vm->fd, KVM_GET_DIRTY_LOG, &args))
		die("KVM_GET_DIRTY_LOG");
	return log[gpa / 4096 / 64] >> gpa / 4096 % 64 & 1 && !(log[not / 4096 / 64] >> not / 4096 % 64 & 1);
}

TEST_F(net, what_the_device_writes_is_in_the_dirty_log)
{
	uint8_t on = 1;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(0, vm_set_slot(self->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, self->vm->ram_size, self->ram));
	guest_add_buffers(&self->v, RX, 0, 1, 8192);
	make_frame(self->frame, guest_mac, 1000, 5);
	wire_send(&self->wire, NULL, self->frame, 1000);
	ASSERT_EQ(HDR + 1000, guest_recv(&self->v, RX, 5000));
	EXPECT_TRUE(logged(self->vm, RX_DATA, RX_DATA + 4096));
	ASSERT_NE(0xee, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, on));
	EXPECT_TRUE(logged(self->vm, CTRL_DATA + 0x8000, RX_DATA));
}

TEST_F(net, a_packet_is_received)
{
	const struct hdr *h = (const void *)(self->ram + RX_DATA);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 3 * VIRTIO_NUM; i++) {
		memset(self->ram + RX_DATA, 0xee, 2048);
		guest_add_buffers(&self->v, RX, 0, 1, 2048);
		make_frame(self->frame, guest_mac, 60 + i, i);
		wire_send(&self->wire, NULL, self->frame, 60 + i);
		ASSERT_EQ(HDR + 60 + i, guest_recv(&self->v, RX, 5000));
		ASSERT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 60 + i));
		ASSERT_EQ(0xee, self->ram[RX_DATA + HDR + 60 + i]);
		ASSERT_EQ(0, h->flags);
		ASSERT_EQ(0, h->gso_type);
		ASSERT_EQ(1, h->num_buffers);
	}
}

TEST_F(net, the_header_may_be_in_pieces)
{
	struct ring_piece p[3] = { { RX_DATA, 7, true }, { RX_DATA + 0x100, 4, true }, { RX_DATA + 0x200, 500, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->ram + RX_DATA, 0xee, 0x400);
	ring_add(&self->v.ring[RX], p, 3);
	virtio_kick(&self->v, RX);
	make_frame(self->frame, guest_mac, 60, 1);
	wire_send(&self->wire, NULL, self->frame, 60);
	ASSERT_EQ(HDR + 60, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(1, self->ram[RX_DATA + 0x103]);
	EXPECT_EQ(0, self->ram[RX_DATA + 0x200]);
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + 0x201, 60));
}

TEST_F(net, a_long_packet_fills_several_buffers)
{
	const struct hdr *h = (const void *)(self->ram + RX_DATA);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	for (int round = 0; round < 40; round++) {
		guest_add_buffers(&self->v, RX, 0, 4, 256);
		make_frame(self->frame, guest_mac, 1000, round);
		wire_send(&self->wire, NULL, self->frame, 1000);
		for (int i = 0; i < 3; i++)
			ASSERT_EQ(256, guest_recv(&self->v, RX, 5000));
		ASSERT_EQ(1012 - 3 * 256, guest_recv(&self->v, RX, 5000));
		ASSERT_EQ(4, h->num_buffers);
		ASSERT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 1000));
	}
}

TEST_F(net, a_packet_waits_for_buffers)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	make_frame(self->frame, guest_mac, 1000, 1);
	wire_send(&self->wire, NULL, self->frame, 1000);
	guest_add_buffers(&self->v, RX, 0, 2, 256);
	EXPECT_EQ(0, guest_recv(&self->v, RX, 100));
	guest_add_buffers(&self->v, RX, 2, 2, 256);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(256, guest_recv(&self->v, RX, 5000));
	ASSERT_EQ(1012 - 3 * 256, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 1000));
}

TEST_F(net, a_packet_too_long_for_a_buffer_is_dropped)
{
	uint64_t before;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	before = drops(self->vm);
	guest_add_buffers(&self->v, RX, 0, 1, 256);
	make_frame(self->frame, guest_mac, 1000, 1);
	wire_send(&self->wire, NULL, self->frame, 1000);
	make_frame(self->frame, guest_mac, 100, 2);
	wire_send(&self->wire, NULL, self->frame, 100);
	ASSERT_EQ(112, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 100));
	EXPECT_EQ(before + 1, drops(self->vm));
}

TEST_F(net, segments_and_checksums_are_left_to_the_guest)
{
	const struct hdr *got = (const void *)(self->ram + RX_DATA);
	struct hdr h;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4)));
	guest_add_buffers(&self->v, RX, 0, 10, 4096);
	make_tcp(self->frame, guest_mac, 30000, 1000, 1000, &h);
	wire_send(&self->wire, &h, self->frame, 30054);
	for (int i = 0; i < 7; i++)
		ASSERT_EQ(4096, guest_recv(&self->v, RX, 5000));
	ASSERT_EQ(30054 + HDR - 7 * 4096, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(8, got->num_buffers);
	EXPECT_EQ(VIRTIO_NET_HDR_F_NEEDS_CSUM, got->flags);
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_TCPV4, got->gso_type);
	EXPECT_EQ(1000, got->gso_size);
	EXPECT_EQ(34, got->csum_start);
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 30054));
}

/* Packets that took @n buffers of 2 KiB, each one segment with its checksum. */
#define EXPECT_SEGMENTS(n) do {							\
	for (int i__ = 0; i__ < (n); i__++) {					\
		uint8_t *at__ = self->ram + RX_DATA + i__ * 2048;		\
		ASSERT_EQ(HDR + 54 + 1000, guest_recv(&self->v, RX, 5000));	\
		EXPECT_EQ(0, at__[0]);						\
		EXPECT_EQ(0, at__[1]);						\
		EXPECT_TRUE(tcp_sum_right(at__ + HDR, 1054));			\
	}									\
} while (0)

TEST_F(net, a_guest_without_offloads_gets_segments)
{
	struct hdr h;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	guest_add_buffers(&self->v, RX, 0, 5, 2048);
	make_tcp(self->frame, guest_mac, 5000, 1000, 1000, &h);
	wire_send(&self->wire, &h, self->frame, 5054);
	EXPECT_SEGMENTS(5);
}

TEST_F(net, offloads_are_given_up_by_a_command)
{
	const struct hdr *got = (const void *)(self->ram + RX_DATA);
	uint64_t none = 0, all = F(GUEST_CSUM) | F(GUEST_TSO4), more = all | F(GUEST_TSO6);
	struct hdr h;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF) | F(CTRL_VQ) | OFFLOADS));
	make_tcp(self->frame, guest_mac, 5000, 1000, 1000, &h);
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 8));
	guest_add_buffers(&self->v, RX, 0, 5, 2048);
	wire_send(&self->wire, &h, self->frame, 5054);
	EXPECT_SEGMENTS(5);
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &all, 8));
	guest_add_buffers(&self->v, RX, 0, 1, 8192);
	wire_send(&self->wire, &h, self->frame, 5054);
	ASSERT_EQ(HDR + 5054, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_TCPV4, got->gso_type);
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &more, 8));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &all, 7));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, &all, 8));
}

TEST_F(net, a_guest_is_told_by_a_message)
{
	vcpu_long_mode(self->vcpu, receives_packets);
	ASSERT_EQ(0, virtio_doorbell(&self->v, RX, DOORBELL, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_init(&GUEST(self->vm, guest_ring), 0, VIRTIO_RING(RX), VIRTIO_NUM, variant->features & PACKED,
		  variant->features & EVENT_IDX);
	ASSERT_EQ(0, virtio_msi(&self->v, RX, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	make_frame(self->frame, guest_mac, 60, 0);
	for (int i = 0; i < 3; i++) {
		char expected[16];

		snprintf(expected, sizeof(expected), "sync %d", i);
		ASSERT_OUTCOME(expected, self->vcpu);
		wire_send(&self->wire, NULL, self->frame, 60);
	}
	ASSERT_DONE(self->vcpu);
}

/* ---- the control queue ---- */

/* Does a frame to @to come through? A broadcast after it is the end of waiting. */
static bool passes(struct virtio *v, struct wire *w, const uint8_t *to)
{
	uint8_t frame[60];
	bool seen = false;

	guest_add_buffers(v, RX, 0, 2, 2048);
	make_frame(frame, to, 60, 1);
	wire_send(w, NULL, frame, 60);
	make_frame(frame, all_macs, 60, 2);
	wire_send(w, NULL, frame, 60);
	if (!guest_recv(v, RX, 5000))
		die("nothing comes through");
	if (!memcmp(v->vm->ram + RX_DATA + HDR, to, 6)) {
		seen = true;
		guest_recv(v, RX, 5000);
		return seen;
	}
	/* Its buffer is used up by one more. */
	wire_send(w, NULL, frame, 60);
	guest_recv(v, RX, 5000);
	return seen;
}

TEST_F(net, a_filter_lets_through_what_the_guest_wants)
{
	uint8_t table[4 + 6 + 4 + 6] = { 1 };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	EXPECT_FALSE(passes(&self->v, &self->wire, other_mac));
	EXPECT_FALSE(passes(&self->v, &self->wire, group_mac));
	EXPECT_TRUE(passes(&self->v, &self->wire, guest_mac));

	memcpy(table + 4, other_mac, 6);
	table[10] = 1;
	memcpy(table + 14, group_mac, 6);
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
	EXPECT_TRUE(passes(&self->v, &self->wire, group_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_NOMULTI, 1));
	EXPECT_FALSE(passes(&self->v, &self->wire, group_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_NOUNI, 1));
	EXPECT_FALSE(passes(&self->v, &self->wire, guest_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_NOMULTI, 0));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_NOUNI, 0));

	memset(table, 0, 8);
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 8));
	EXPECT_FALSE(passes(&self->v, &self->wire, group_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_ALLMULTI, 1));
	EXPECT_TRUE(passes(&self->v, &self->wire, group_mac));
	EXPECT_FALSE(passes(&self->v, &self->wire, other_mac));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_ALLUNI, 1));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
}

TEST_F(net, a_table_too_long_lets_all_of_its_kind_through)
{
	static uint8_t table[4 + 65 * 6 + 4] = { 65 };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	EXPECT_FALSE(passes(&self->v, &self->wire, other_mac));
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
	EXPECT_FALSE(passes(&self->v, &self->wire, group_mac));
}

TEST_F(net, vlans_are_filtered)
{
	uint16_t id = 42;
	uint8_t *f = self->frame;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	guest_add_buffers(&self->v, RX, 0, 2, 2048);
	make_frame(f, guest_mac, 64, 1);
	memcpy(f + 12, (uint8_t[]) { 0x81, 0, 0x20, 42, 0x88, 0xb5 }, 6);
	wire_send(&self->wire, NULL, f, 64);
	EXPECT_EQ(0, guest_recv(&self->v, RX, 100));
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2));
	wire_send(&self->wire, NULL, f, 64);
	ASSERT_EQ(HDR + 64, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(f, self->ram + RX_DATA + HDR, 64));
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &id, 2));
	wire_send(&self->wire, NULL, f, 64);
	EXPECT_EQ(0, guest_recv(&self->v, RX, 100));
	id = 4096;
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2));
}

TEST_F(net, the_address_is_set_by_a_command_until_reset)
{
	struct virtio_net_config c;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	c = config(&self->v);
	EXPECT_EQ(0, memcmp(c.mac, guest_mac, 6));
	EXPECT_EQ(VIRTIO_NET_S_LINK_UP, c.status);
	EXPECT_EQ(1500, c.mtu);
	EXPECT_EQ(variant->pairs, c.max_virtqueue_pairs);
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other_mac, 6));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
	EXPECT_FALSE(passes(&self->v, &self->wire, guest_mac));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group_mac, 6));
	c = config(&self->v);
	EXPECT_EQ(0, memcmp(c.mac, other_mac, 6));
	EXPECT_EQ(0, virtio_status(&self->v, 0));
	c = config(&self->v);
	EXPECT_EQ(0, memcmp(c.mac, guest_mac, 6));
}

TEST_F(net, a_filter_outlives_a_stop_and_ends_with_a_reset)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_FALSE(passes(&self->v, &self->wire, other_mac));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONTROL));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
}

TEST_F(net, commands_that_are_none_are_refused)
{
	uint8_t table[20] = { 0xff, 0xff, 0xff, 0xff }, on = 2;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CTRL_VQ) | F(CTRL_RX)));
	EXPECT_EQ(1, command(&self->v, 99, 0, table, 8));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_RX, 0, &on, 1));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_RX, 0, table, 0));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_RX, 6, table + 4, 1));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 20));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table + 4, 9));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, 5, table, 8));
	/* Not negotiated */
	EXPECT_EQ(1, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_NOBCAST, 1));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other_mac, 6));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_VLAN, 0, table + 4, 2));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, table + 4, 8));
	EXPECT_STREQ("", virtio_broken(&self->v));
}

/* ---- several pairs ---- */

/* Frames of 64 connections, which hash differently. */
static void send_flows(struct wire *w, uint8_t *frame)
{
	struct hdr h;

	for (int i = 0; i < 64; i++) {
		make_tcp(frame, guest_mac, 10, 0, 1000 + i, &h);
		wire_send(w, &h, frame, 64);
	}
}

static unsigned int count_received(struct virtio *v, unsigned int queue, int ms)
{
	unsigned int n = 0;

	while (guest_recv(v, queue, ms))
		n++;
	return n;
}

TEST_F(net, unused_pairs_packets_come_to_those_in_use)
{
	uint16_t pairs = 2;
	unsigned int first, second;

	if (variant->pairs < 2)
		SKIP(return, "one pair");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	guest_add_buffers(&self->v, 0, 0, VIRTIO_NUM, 2048);
	send_flows(&self->wire, self->frame);
	EXPECT_EQ(64, count_received(&self->v, 0, 300));
	EXPECT_EQ(0, count_received(&self->v, 2, 0));

	ASSERT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2));
	guest_add_buffers(&self->v, 0, 0, VIRTIO_NUM, 2048);
	guest_add_buffers(&self->v, 2, 0, VIRTIO_NUM, 2048);
	send_flows(&self->wire, self->frame);
	first = count_received(&self->v, 0, 300);
	second = count_received(&self->v, 2, 300);
	EXPECT_EQ(64, first + second);
	EXPECT_NE(0, first);
	EXPECT_NE(0, second);
	make_frame(self->frame, other_mac, 60, 1);
	guest_send(&self->v, 3, NULL, self->frame, 60);
	for (pairs = 0; pairs < 5; pairs += 3)
		EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2));
}

/* ---- the link ---- */

TEST_F(net, a_link_that_is_down_is_told_and_drops)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0, before;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(STATUS)));
	before = drops(self->vm);
	self->args.link = 0;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	EXPECT_EQ(8, read(fd, &n, 8));
	EXPECT_EQ(0, config(&self->v).status);
	make_frame(self->frame, other_mac, 60, 1);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	EXPECT_EQ(-1, read(fd, &n, 8));
	self->args.link = 1;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	EXPECT_EQ(8, read(fd, &n, 8));
	EXPECT_EQ(VIRTIO_NET_S_LINK_UP, config(&self->v).status);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
	close(fd);
}

static void delete_link(const char *name)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {
		.h = { sizeof(req), RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_index = if_nametoindex(name) },
	};
	char answer[4096];
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (send(fd, &req, sizeof(req), 0) != sizeof(req) || recv(fd, answer, sizeof(answer), 0) < 0 ||
	    ((struct nlmsgerr *)NLMSG_DATA(answer))->error)
		die("delete %s", name);
	close(fd);
}

static void *keeps_sending(void *arg)
{
	struct virtio *v = arg;
	uint8_t frame[60];

	make_frame(frame, other_mac, 60, 1);
	for (int i = 0; i < 300; i++)
		guest_send(v, TX, NULL, frame, 60);
	return NULL;
}

TEST_F(net, a_tap_that_goes_away_is_a_link_that_is_down)
{
	uint64_t n = 0;
	int fd = eventfd(0, EFD_NONBLOCK);
	pthread_t thread;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(STATUS)));
	guest_add_buffers(&self->v, RX, 0, 4, 2048);
	pthread_create(&thread, NULL, keeps_sending, &self->v);
	for (int i = 0; i < 10; i++) {
		make_frame(self->frame, guest_mac, 60, i);
		wire_send(&self->wire, NULL, self->frame, 60);
	}
	delete_link(self->wire.name);
	pthread_join(thread, NULL);
	for (int i = 0; i < 5000 && config(&self->v).status; i++)
		usleep(1000);
	EXPECT_EQ(0, config(&self->v).status);
	EXPECT_EQ(8, read(fd, &n, 8));
	EXPECT_STREQ("", virtio_broken(&self->v));
	EXPECT_EQ(0, virtio_status(&self->v, 0));
	/* And there is none to start with. */
	EXPECT_EQ(-EBADFD, virtio_start(&self->v, variant->features));
	close(fd);
}

/* ---- bad input ---- */

TEST_F(net, bad_back_ends_are_refused)
{
	struct kiln_virtio_net a = self->args;
	int bare = open("/dev/net/tun", O_RDWR), null = open("/dev/null", O_RDWR), fd = self->v.fd;

	a.fd[0] = null;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a.fd[0] = bare;
	EXPECT_IOCTL(-EBADFD, fd, KILN_VIRTIO_SET_NET, &a);
	a.fd[0] = -1;
	EXPECT_IOCTL(-EBADF, fd, KILN_VIRTIO_SET_NET, &a);
	a = self->args;
	a.nr_pairs = variant->pairs + 1;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a.nr_pairs = 9;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a = self->args;
	a.mtu = 67;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a.mtu = 65536;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a = self->args;
	a.link = 2;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a = self->args;
	a.mac[0] = 1;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	a = self->args;
	a.reserved[16] = 1;
	EXPECT_IOCTL(-EINVAL, fd, KILN_VIRTIO_SET_NET, &a);
	EXPECT_IOCTL(-EFAULT, fd, KILN_VIRTIO_SET_NET, NULL);
	EXPECT_IOCTL(-ENOTTY, fd, KILN_VIRTIO_SET_RNG, &a);
	/* The one there was is still there. */
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	make_frame(self->frame, other_mac, 60, 1);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
	a = self->args;
	a.mtu = 9000;
	EXPECT_IOCTL(-EBUSY, fd, KILN_VIRTIO_SET_NET, &a);
	EXPECT_EQ(0, virtio_status(&self->v, 0));
	a.nr_pairs = 0;
	EXPECT_IOCTL(0, fd, KILN_VIRTIO_SET_NET, &a);
	EXPECT_EQ(-ENXIO, virtio_start(&self->v, variant->features & ~F(MQ)));
	close(bare);
	close(null);
}

TEST_F(net, queues_of_a_network_device_are_3_to_17)
{
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_NET, 2));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_NET, 18));
}

TEST_F(net, a_queue_without_a_purpose_is_refused)
{
	EXPECT_EQ(-EINVAL, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_enable(&self->v, self->v.n - 1, 0));
	EXPECT_EQ(variant->pairs == 1 ? 0 : -EINVAL, virtio_status(&self->v, RUNNING));
}

static const struct broken_row {
	unsigned int queue;
	unsigned int n;
	struct ring_piece p[2];
	const char *cause;
} broken_rows[] = {
	{ TX, 1, { { TX_DATA, 11, false } }, "a packet to be sent has no header" },
	{ TX, 2, { { TX_DATA, 72, false }, { TX_DATA + 0x100, 1, true } },
	  "a packet to be sent has a part that the device may write" },
	{ RX, 2, { { RX_DATA, 12, false }, { RX_DATA + 0x100, 2000, true } },
	  "a receive buffer has a part that the device may not write" },
	{ RX, 1, { { RX_DATA, 11, true } }, "a receive buffer has no room for the header" },
	{ 2, 1, { { CTRL_DATA, 100, false } }, "a network command has no room for its answer" },
	{ 2, 2, { { CTRL_DATA, 1, false }, { CTRL_DATA + 0x100, 1, true } }, "a network command has no header" },
};

TEST_F(net, buffers_against_the_rules_break_the_device)
{
	uint64_t features = variant->features | F(CTRL_VQ) | F(MRG_RXBUF);

	make_frame(self->frame, guest_mac, 60, 1);
	for (int i = 0; i < sizeof(broken_rows) / sizeof(broken_rows[0]); i++) {
		const struct broken_row *row = &broken_rows[i];
		unsigned int queue = row->queue == 2 ? self->v.n - 1 : row->queue;

		ASSERT_EQ(0, virtio_start(&self->v, features));
		ring_add(&self->v.ring[queue], row->p, row->n);
		virtio_kick(&self->v, queue);
		wire_send(&self->wire, NULL, self->frame, 60);
		ASSERT_TRUE(broken_soon(&self->v));
		EXPECT_STREQ(row->cause, virtio_broken(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	}
}

TEST_HARNESS_MAIN
