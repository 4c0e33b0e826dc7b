// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network device (virtio 1.2 §5.1), served by the kernel: its packets. What its driver may ask for is in
 * virtio_net_ctrl_test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "net_fixture.h"

#define DOORBELL	0xd0000000UL
#define VECTOR		0x52

/* ---- the guest ---- */

static uint32_t rounds __guest_data = 3;
static struct ring guest_ring __guest_data, guest_tx __guest_data;

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
		n = halt_until_counted(VECTOR, n);
		guest_assert(ring_collect(&guest_ring, &id, &len));
		guest_expect(HDR + 60, len);
	}
	guest_done();
}

/* Ask, and halt until the answer is there: @rounds times. */
static __guest void asks(void)
{
	struct ring_piece question = { TX_DATA, HDR + 60, false }, answer = { RX_DATA, 2048, true };
	uint32_t id = 0, len = 0, n = 0;

	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	for (uint32_t i = 0; i < rounds; i++) {
		ring_add(&guest_ring, &answer, 1);
		ring_add(&guest_tx, &question, 1);
		*(volatile uint16_t *)DOORBELL = 0;
		while (!ring_collect(&guest_tx, &id, &len))
			pause_cpu();
		n = halt_until_counted(VECTOR, n);
		guest_assert(ring_collect(&guest_ring, &id, &len));
		guest_expect(HDR + 60, len);
	}
	guest_done();
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

static bool has_uso(struct virtio *v)
{
	uint64_t features = 0;

	return !xioctl(v->fd, VHOST_GET_FEATURES, &features) && features & F(HOST_USO);
}

#define NEEDS_USO() if (!has_uso(&self->v)) SKIP(return, "the taps of this kernel do not split UDP: Linux 6.2 and later do")

TEST_F(net, large_udp_is_left_to_the_host)
{
	struct hdr h, seen;

	NEEDS_USO();
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CSUM) | F(HOST_USO)));
	make_udp(self->frame, other_mac, 30000, 1000, &h);
	guest_send(&self->v, TX, &h, self->frame, 30042);
	ASSERT_EQ(30042, wire_recv(&self->wire, &seen, self->seen, sizeof(self->seen), 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_UDP_L4, seen.gso_type);
	EXPECT_EQ(1000, seen.gso_size);
	EXPECT_EQ(0, memcmp(self->frame, self->seen, 30042));
}

/* What is wrong with it the tap knows; it is counted, the buffer comes back, and the next one passes. */
#define LONG_GPA	(1ULL << 32)
#define LONG_PIECE	(256U << 20)

/* A length that is 0 to who counts in 32 bits, and less than nothing without the header; and one of a few packets. */
TEST_F(net, packets_longer_than_any_are_dropped)
{
	void *mem = mmap(NULL, LONG_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct ring_piece p[16];
	uint64_t before;

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_slot(self->vm, 5, 0, LONG_GPA, LONG_PIECE, mem));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(CSUM) | F(HOST_TSO4)));
	before = drops(self->vm);
	for (int i = 0; i < 16; i++)
		p[i] = (struct ring_piece){ LONG_GPA, LONG_PIECE, false };
	ring_add(&self->v.ring[TX], p, 16);
	virtio_finish(&self->v, TX, NULL);
	p[0].len = 200000;
	ring_add(&self->v.ring[TX], p, 1);
	virtio_finish(&self->v, TX, NULL);
	EXPECT_EQ(before + 2, drops(self->vm));
	make_frame(self->frame, other_mac, 60, 1);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
	munmap(mem, LONG_PIECE);
}

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
	wire_set_up(&self->wire, false);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
	wire_set_up(&self->wire, true);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
}

TEST_F(net, a_guest_sends_by_its_doorbell)
{
	vcpu_long_mode(self->vcpu, sends_packets);
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

/* A buffer of pieces of a byte each, in a table. */
#define SMALL	31
#define TABLES	(VIRTIO_DATA + 0x100000UL)

static void add_small(struct virtio *v, unsigned int i)
{
	struct ring_piece p[SMALL];

	for (unsigned int j = 0; j < SMALL; j++)
		p[j] = (struct ring_piece) { RX_DATA + i * SMALL + j, 1, true };
	ring_add_indirect(&v->ring[RX], TABLES + i * 0x400, p, SMALL);
}

/* The buffers before are of 1,023 pieces together, the last one of three. */
TEST_F(net, the_last_buffer_of_a_packet_may_have_several_pieces)
{
	const uint64_t end = RX_DATA + 33 * SMALL;
	const struct ring_piece last[3] = { { end, 100, true }, { end + 100, 200, true }, { end + 300, 400, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF) | INDIRECT));
	for (int i = 0; i < 33; i++)
		add_small(&self->v, i);
	ring_add_indirect(&self->v.ring[RX], TABLES + 33 * 0x400, last, 3);
	virtio_kick(&self->v, RX);
	make_frame(self->frame, guest_mac, 1500, 1);
	wire_send(&self->wire, NULL, self->frame, 1500);
	for (int i = 0; i < 33; i++)
		ASSERT_EQ(SMALL, guest_recv(&self->v, RX, 5000));
	ASSERT_EQ(HDR + 1500 - 33 * SMALL, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 1500));
	EXPECT_STREQ("", virtio_broken(&self->v));
}

TEST_F(net, a_packet_of_too_many_pieces_is_dropped)
{
	uint64_t before;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF) | INDIRECT));
	before = drops(self->vm);
	for (int i = 0; i < VIRTIO_NUM; i++)
		add_small(&self->v, i);
	virtio_kick(&self->v, RX);
	make_frame(self->frame, guest_mac, 1500, 1);
	wire_send(&self->wire, NULL, self->frame, 1500);
	make_frame(self->frame, guest_mac, 60, 2);
	wire_send(&self->wire, NULL, self->frame, 60);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(SMALL, guest_recv(&self->v, RX, 5000));
	ASSERT_EQ(HDR + 60 - 2 * SMALL, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 60));
	EXPECT_EQ(before + 1, drops(self->vm));
}

TEST_F(net, a_packet_longer_than_all_buffers_of_a_full_ring_is_dropped)
{
	uint64_t before;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	before = drops(self->vm);
	guest_add_buffers(&self->v, RX, 0, VIRTIO_NUM, 16);
	make_frame(self->frame, guest_mac, 16 * VIRTIO_NUM, 1);
	wire_send(&self->wire, NULL, self->frame, 16 * VIRTIO_NUM);
	make_frame(self->frame, guest_mac, 16 * VIRTIO_NUM - HDR, 2);
	wire_send(&self->wire, NULL, self->frame, 16 * VIRTIO_NUM - HDR);
	for (int i = 0; i < VIRTIO_NUM; i++)
		ASSERT_EQ(16, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 16 * VIRTIO_NUM - HDR));
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

TEST_F(net, a_guest_without_offloads_gets_segments)
{
	struct hdr h;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	guest_add_buffers(&self->v, RX, 0, 5, 2048);
	make_tcp(self->frame, guest_mac, 5000, 1000, 1000, &h);
	wire_send(&self->wire, &h, self->frame, 5054);
	EXPECT_SEGMENTS(5);
}

TEST_F(net, large_udp_is_left_to_the_guest_that_can_take_it)
{
	uint64_t features = variant->features | F(MRG_RXBUF) | F(GUEST_CSUM);
	const struct hdr *got = (const void *)(self->ram + RX_DATA);
	struct hdr h;

	NEEDS_USO();
	make_udp(self->frame, guest_mac, 5000, 1000, &h);
	ASSERT_EQ(0, virtio_start(&self->v, features | F(GUEST_USO4) | F(GUEST_USO6)));
	guest_add_buffers(&self->v, RX, 0, 1, 8192);
	wire_send(&self->wire, &h, self->frame, 5042);
	ASSERT_EQ(HDR + 5042, guest_recv(&self->v, RX, 5000));
	EXPECT_EQ(VIRTIO_NET_HDR_GSO_UDP_L4, got->gso_type);
	EXPECT_EQ(1000, got->gso_size);
	EXPECT_EQ(VIRTIO_NET_HDR_F_NEEDS_CSUM, got->flags);
	EXPECT_EQ(0, memcmp(self->frame, self->ram + RX_DATA + HDR, 5042));
}

TEST_F(net, a_guest_without_offloads_gets_udp_in_packets)
{
	struct hdr h;

	NEEDS_USO();
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | F(MRG_RXBUF)));
	guest_add_buffers(&self->v, RX, 0, 5, 2048);
	make_udp(self->frame, guest_mac, 5000, 1000, &h);
	wire_send(&self->wire, &h, self->frame, 5042);
	for (int i = 0; i < 5; i++) {
		uint8_t *packet = self->ram + RX_DATA + i * 2048;

		ASSERT_EQ(HDR + 1042, guest_recv(&self->v, RX, 5000));
		EXPECT_EQ(0, packet[0]);
		EXPECT_EQ(0, packet[1]);
		EXPECT_TRUE(ip_sum_right(packet + HDR, 1042));
		EXPECT_EQ(0, memcmp(self->frame + 42 + i * 1000, packet + HDR + 42, 1000));
	}
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

/* What /proc/@task/status says of @what: of a number what it is, of a word its first letter. */
static long status_of(pid_t task, const char *what)
{
	char path[64], line[256];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", task);
	f = fopen(path, "r");
	while (f && value < 0 && fgets(line, sizeof(line), f)) {
		size_t n = strlen(what);

		if (!strncmp(line, what, n)) {
			n += strspn(line + n, "\t ");
			value = line[n] >= '0' && line[n] <= '9' ? atol(line + n) : line[n];
		}
	}
	if (f)
		fclose(f);
	return value;
}

struct asker {
	struct vcpu *vcpu;
	pthread_t thread;
	_Atomic pid_t tid;
	const char *outcome;
};

/* Signals make it leave: it comes back. */
static void *runs(void *arg)
{
	struct asker *a = arg;
	int r;

	a->tid = gettid();
	do {
		r = vcpu_run(a->vcpu);
	} while (r == -EINTR || r == -EAGAIN);
	a->outcome = r ? strerror(-r) : vcpu_describe(a->vcpu);
	return NULL;
}

static void nothing(int signal)
{
}

static void start_asker(struct asker *a, struct vcpu *vcpu, struct virtio *v, uint64_t features, uint32_t n)
{
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGUSR1, &action, NULL);
	vcpu_long_mode(vcpu, asks);
	if (virtio_doorbell(v, TX, DOORBELL, 0) || virtio_start(v, features) ||
	    virtio_msi(v, RX, VECTOR, KILN_VIRTIO_MSI_ENABLE))
		die("a device for who asks");
	ring_init(&GUEST(vcpu->vm, guest_ring), 0, VIRTIO_RING(RX), VIRTIO_NUM, features & PACKED, features & EVENT_IDX);
	ring_init(&GUEST(vcpu->vm, guest_tx), 0, VIRTIO_RING(TX), VIRTIO_NUM, features & PACKED, features & EVENT_IDX);
	GUEST(vcpu->vm, rounds) = n;
	memset(vcpu->vm->ram + TX_DATA, 0, HDR);
	make_frame(vcpu->vm->ram + TX_DATA + HDR, other_mac, 60, 0);
	*a = (struct asker) { .vcpu = vcpu };
	if (pthread_create(&a->thread, NULL, runs, a))
		die("pthread_create");
	while (!a->tid)
		sched_yield();
}

/* Its thread does what the worker would have to be woken for. */
TEST_F(net, a_halted_guest_that_asked_receives_by_itself)
{
	long before, after;
	struct asker a;
	pid_t worker;

	start_asker(&a, self->vcpu, &self->v, variant->features, 100);
	worker = virtio_thread("net", RX);
	ASSERT_LT(0, worker);
	make_frame(self->frame, guest_mac, 60, 0);
	before = status_of(worker, "voluntary_ctxt_switches:");
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
		while (status_of(a.tid, "State:") != 'S')
			sched_yield();
		wire_send(&self->wire, NULL, self->frame, 60);
	}
	pthread_join(a.thread, NULL);
	EXPECT_STREQ("done", a.outcome);
	after = status_of(worker, "voluntary_ctxt_switches:");
	EXPECT_LE(0, before);
	EXPECT_GE(before + 10, after);
}

/* What it was asked to do while it left the kernel is done all the same. */
TEST_F(net, a_guest_that_leaves_while_it_is_asked_receives)
{
	struct asker a;

	start_asker(&a, self->vcpu, &self->v, variant->features, 500);
	make_frame(self->frame, guest_mac, 60, 0);
	for (int i = 0; i < 500; i++) {
		ASSERT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000))
			TH_LOG("round %d", i);
		for (int j = 0; j < i % 50 * 20; j++)
			pause_cpu();
		if (i % 2)
			pthread_kill(a.thread, SIGUSR1);
		wire_send(&self->wire, NULL, self->frame, 60);
		if (!(i % 2))
			pthread_kill(a.thread, SIGUSR1);
	}
	pthread_join(a.thread, NULL);
	EXPECT_STREQ("done", a.outcome);
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
	EXPECT_EQ(0, net_config(&self->v).status);
	make_frame(self->frame, other_mac, 60, 1);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(before + 1, drops(self->vm));
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	EXPECT_EQ(-1, read(fd, &n, 8));
	self->args.link = 1;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
	EXPECT_EQ(8, read(fd, &n, 8));
	EXPECT_EQ(VIRTIO_NET_S_LINK_UP, net_config(&self->v).status);
	guest_send(&self->v, TX, NULL, self->frame, 60);
	EXPECT_EQ(60, wire_recv(&self->wire, NULL, self->seen, sizeof(self->seen), 5000));
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
	wire_delete(&self->wire);
	pthread_join(thread, NULL);
	for (int i = 0; i < 5000 && net_config(&self->v).status; i++)
		usleep(1000);
	EXPECT_EQ(0, net_config(&self->v).status);
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

/* ---- memory ---- */

#define ROOM_GPA	0x40000000UL
#define PAGE		4096UL
#define ROOM		(1UL << 20)	/* in a buffer */
#define ROOMS		32
#define TOLERANCE_KIB	4096

/* The header has its place, and some of the packet; the rest is told of no less than they are. */
TEST_F(net, a_buffer_whose_memory_goes_breaks)
{
	uint8_t *room = vm_map(self->vm, 1, ROOM_GPA, 2 * PAGE);
	struct ring_piece p = { ROOM_GPA + PAGE - 500, 2048, true };
	uint64_t before = drops(self->vm);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	munmap(room + PAGE, PAGE);
	ring_add(&self->v.ring[RX], &p, 1);
	virtio_kick(&self->v, RX);
	make_frame(self->frame, guest_mac, 1000, 3);
	wire_send(&self->wire, NULL, self->frame, 1000);
	ASSERT_TRUE(broken_soon(&self->v));
	EXPECT_STREQ("a receive buffer cannot be written", virtio_broken(&self->v));
	EXPECT_FALSE(ring_has_used(&self->v.ring[RX]));
	EXPECT_EQ(before + 1, drops(self->vm));
	munmap(room, PAGE);
}

/*
 * Buffers that wait are addresses and no more, and those that were used are the guest's: their memory may go, and a packet
 * is in what is there when it comes.
 */
TEST_F(net, no_buffer_keeps_memory)
{
	uint8_t *room = vm_map(self->vm, 1, ROOM_GPA, ROOMS * ROOM);
	long before, after;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(room, 0xa5, ROOMS * ROOM);
	for (int i = 0; i < ROOMS; i++) {
		struct ring_piece p = { ROOM_GPA + i * ROOM, ROOM, true };

		ring_add(&self->v.ring[RX], &p, 1);
	}
	virtio_kick(&self->v, RX);
	for (int i = 0; i < ROOMS; i++) {
		uint8_t *at = room + i * ROOM;

		/* With a packet in some of them the device has seen them all. */
		if (i == ROOMS / 2) {
			before = used_kib();
			ASSERT_EQ(0, madvise(room, ROOMS * ROOM, MADV_DONTNEED));
			after = used_kib();
			printf("# %lu KiB are dropped; used: %ld KiB before, %ld after\n", ROOMS * ROOM / 1024, before,
			       after);
			fflush(stdout);
			EXPECT_LE((long)(ROOMS * ROOM / 1024) - TOLERANCE_KIB, before - after);
		}
		make_frame(self->frame, guest_mac, 60, i);
		wire_send(&self->wire, NULL, self->frame, 60);
		ASSERT_EQ(HDR + 60, guest_recv(&self->v, RX, 5000));
		EXPECT_EQ(0, memcmp(self->frame, at + HDR, 60));
		EXPECT_EQ(i < ROOMS / 2 ? 0xa5 : 0, at[HDR + 60]);
		EXPECT_EQ(0, memcmp(at + HDR + 60, at + HDR + 61, ROOM - HDR - 61));
	}
	munmap(room, ROOMS * ROOM);
}

TEST_HARNESS_MAIN
