// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the driver of a network device may ask for (virtio 1.2 §5.1.6.5): filters, offloads, pairs of queues.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "net_fixture.h"

#define CONTROL		(F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR))
#define OFFLOADS	(F(GUEST_CSUM) | F(GUEST_TSO4) | F(CTRL_GUEST_OFFLOADS))

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
	c = net_config(&self->v);
	EXPECT_EQ(0, memcmp(c.mac, guest_mac, 6));
	EXPECT_EQ(VIRTIO_NET_S_LINK_UP, c.status);
	EXPECT_EQ(1500, c.mtu);
	EXPECT_EQ(variant->pairs, c.max_virtqueue_pairs);
	EXPECT_EQ(0, rx_mode(&self->v, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	EXPECT_EQ(0, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other_mac, 6));
	EXPECT_TRUE(passes(&self->v, &self->wire, other_mac));
	EXPECT_FALSE(passes(&self->v, &self->wire, guest_mac));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group_mac, 6));
	c = net_config(&self->v);
	EXPECT_EQ(0, memcmp(c.mac, other_mac, 6));
	EXPECT_EQ(0, virtio_status(&self->v, 0));
	c = net_config(&self->v);
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

/* ---- offloads ---- */

TEST_F(net, offloads_are_given_up_by_a_command)
{
	const struct hdr *got = (const void *)(self->ram + RX_DATA);
	uint64_t all = F(GUEST_CSUM) | F(GUEST_TSO4);
	struct hdr h;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF) | F(CTRL_VQ) | OFFLOADS));
	make_tcp(self->frame, guest_mac, 5000, 1000, 1000, &h);
	EXPECT_EQ(0, set_offloads(&self->v, 0));
	guest_add_buffers(&self->v, RX, 0, 5, 2048);
	wire_send(&self->wire, &h, self->frame, 5054);
	EXPECT_SEGMENTS(5);
	EXPECT_EQ(0, set_offloads(&self->v, all));
	guest_add_buffers(&self->v, RX, 0, 1, 8192);
	wire_send(&self->wire, &h, self->frame, 5054);
	ASSERT_EQ(HDR + 5054, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_TCPV4, got->gso_type);
	EXPECT_EQ(1, set_offloads(&self->v, all | F(GUEST_TSO6)));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &all, 7));
	EXPECT_EQ(1, command(&self->v, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, &all, 8));
}

/* The host's network configuration is locked for each: who changes them without end is refused after a while. */
TEST_F(net, offloads_are_not_changed_without_end)
{
	int done = 0;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CTRL_VQ) | OFFLOADS));
	for (int i = 0; i < 1000; i++)
		done += !set_offloads(&self->v, i % 2 ? F(GUEST_CSUM) : 0);
	EXPECT_LE(200, done);
	EXPECT_GT(1000, done);
	EXPECT_STREQ("", virtio_broken(&self->v));
}

TEST_F(net, offloads_that_could_not_be_set_are_not_the_ones_that_are)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CTRL_VQ) | OFFLOADS));
	wire_delete(&self->wire);
	EXPECT_EQ(1, set_offloads(&self->v, 0));
	EXPECT_EQ(1, set_offloads(&self->v, 0));
	/* These have not changed. */
	EXPECT_EQ(0, set_offloads(&self->v, F(GUEST_CSUM) | F(GUEST_TSO4)));
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
	unsigned int first, second;

	if (variant->pairs < 2)
		SKIP(return, "one pair");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	guest_add_buffers(&self->v, 0, 0, VIRTIO_NUM, 2048);
	send_flows(&self->wire, self->frame);
	EXPECT_EQ(64, count_received(&self->v, 0, 300));
	EXPECT_EQ(0, count_received(&self->v, 2, 0));

	ASSERT_EQ(0, set_pairs(&self->v, 2));
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
	EXPECT_EQ(1, set_pairs(&self->v, 0));
	EXPECT_EQ(1, set_pairs(&self->v, 3));
}

/* Memory of the guest's that is there once it is given; its userfaultfd, or -1. */
#define LATE	0x40000000UL

static int add_late_page(struct vm *vm, void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg) || vm_set_slot(vm, 1, 0, LATE, 4096, page))
		die("userfaultfd: %s", strerror(errno));
	return fd;
}

static bool is_waited_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&p, 1, 5000) == 1 && read(fd, &msg, sizeof(msg)) == sizeof(msg);
}

/* The second pair is in the middle of a packet when it is given up. */
TEST_F(net, a_pair_that_is_given_up_receives_nothing_once_that_is_answered)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, 4096 } };
	struct ring_piece late = { LATE, 2048, true };
	volatile uint8_t *answer;
	uint16_t one = 1;
	uint32_t id, len;
	int fd;

	if (variant->pairs < 2)
		SKIP(return, "one pair");
	fd = add_late_page(self->vm, page);
	if (fd < 0)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(0, set_pairs(&self->v, 2));
	ring_add(&self->v.ring[2], &late, 1);
	virtio_kick(&self->v, 2);
	send_flows(&self->wire, self->frame);
	EXPECT_TRUE(is_waited_for(fd));
	answer = put_command(&self->v, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &one, 2);
	virtio_kick(&self->v, self->v.n - 1);
	usleep(100000);
	EXPECT_EQ(0xee, *answer);
	EXPECT_EQ(0, ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	EXPECT_EQ(1, guest_recv(&self->v, self->v.n - 1, 5000));
	EXPECT_EQ(0, *answer);
	EXPECT_TRUE(ring_collect(&self->v.ring[2], &id, &len));
	guest_add_buffers(&self->v, 2, 0, 32, 2048);
	send_flows(&self->wire, self->frame);
	EXPECT_EQ(0, guest_recv(&self->v, 2, 100));
	guest_add_buffers(&self->v, 0, 0, VIRTIO_NUM, 2048);
	EXPECT_EQ(VIRTIO_NUM, count_received(&self->v, 0, 300));
	close(fd);
}

TEST_HARNESS_MAIN
