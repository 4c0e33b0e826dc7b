// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entropy device (virtio 1.2 §5.4), served by the kernel: from the host's side of the ring with eventfds, and from a
 * guest that kicks by a doorbell and is told by a message.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "virtio.h"

#define DOORBELL	0xd0000000UL
#define PORT		0x560
#define VECTOR		0x51
#define DATA		VIRTIO_DATA

/* ---- a guest: rings the doorbell, sleeps until the message comes ---- */

static struct ring ring __guest_data;
static uint32_t by_port __guest_data;
static uint32_t rounds __guest_data = 3;
static uint32_t may_repeat __guest_data;

static __guest void on_message(struct trap *t)
{
	if (!may_repeat || !is_repeated(t))
		count_trap_eoi(t);
}

static __guest void reads_entropy(void)
{
	struct ring_piece p = { DATA, 64, true };
	uint32_t id = 0, len = 0, n = 0;

	apic_enable();
	guest_handlers[VECTOR] = on_message;
	for (uint32_t i = 0; i < rounds; i++) {
		ring_add(&ring, &p, 1);
		if (by_port)
			outw(PORT, 0);
		else
			*(volatile uint16_t *)DOORBELL = 0;
		n = halt_until_counted(VECTOR, n);
		guest_assert(ring_collect(&ring, &id, &len));
		guest_expect(64, len);
		p.addr += 64;
	}
	guest_expect(rounds, n);
	guest_done();
}

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

FIXTURE(rng) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	uint8_t *data;
};

FIXTURE_VARIANT(rng) {
	uint64_t features;
};

FIXTURE_VARIANT_ADD(rng, split) { .features = V1 };
FIXTURE_VARIANT_ADD(rng, split_event_idx) { .features = V1 | EVENT_IDX | INDIRECT };
FIXTURE_VARIANT_ADD(rng, packed) { .features = V1 | PACKED };
FIXTURE_VARIANT_ADD(rng, packed_event_idx) { .features = V1 | PACKED | EVENT_IDX | INDIRECT };

FIXTURE_SETUP(rng)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, reads_entropy);
	self->vm = self->vcpu->vm;
	self->v = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
	self->data = self->vm->ram + DATA;
}

FIXTURE_TEARDOWN(rng)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
}

TEST_F(rng, fills_a_buffer_and_says_how_much)
{
	struct ring_piece p = { DATA, 100, true };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 3 * VIRTIO_NUM; i++) {
		memset(self->data, 0, 104);
		ring_add(&self->v.ring[0], &p, 1);
		ASSERT_EQ(100, virtio_finish(&self->v, 0, NULL));
		EXPECT_FALSE(all_zero(self->data, 100));
		EXPECT_TRUE(all_zero(self->data + 100, 4));
	}
}

TEST_F(rng, fills_pieces_in_their_order)
{
	struct ring_piece p[3] = { { DATA, 8, true }, { DATA + 0x100, 8, true }, { DATA + 0x200, 8, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], p, 3);
	ASSERT_EQ(24, virtio_finish(&self->v, 0, NULL));
	for (int i = 0; i < 3; i++)
		EXPECT_FALSE(all_zero(self->data + i * 0x100, 8));
	EXPECT_TRUE(all_zero(self->data + 8, 0xf8));
}

TEST_F(rng, buffers_made_available_before_it_starts_are_served)
{
	struct ring_piece p = { DATA, 16, true };
	uint32_t id, len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(0, xioctl(self->v.fd, VHOST_VDPA_SUSPEND, NULL));
	ring_add(&self->v.ring[0], &p, 1);
	EXPECT_FALSE(ring_collect(&self->v.ring[0], &id, &len));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	ASSERT_EQ(1, virtio_wait(&self->v, 0, 10000));
	ASSERT_TRUE(ring_collect(&self->v.ring[0], &id, &len));
	EXPECT_EQ(16, len);
}

TEST_F(rng, no_more_than_a_page_is_given)
{
	struct ring_piece p = { DATA, 0x10000, true };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], &p, 1);
	EXPECT_EQ(4096, virtio_finish(&self->v, 0, NULL));
}

static void start_guest(struct virtio *v, struct vm *vm, uint64_t features)
{
	if (virtio_start(v, features))
		die("the device does not start");
	ring_init(&GUEST(vm, ring), 0, VIRTIO_RING(0), VIRTIO_NUM, features & PACKED, features & EVENT_IDX);
	GUEST(vm, may_repeat) = host_is_tcg();
	if (virtio_msi(v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE))
		die("no message");
}

TEST_F(rng, a_guest_rings_by_memory_and_gets_the_message)
{
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, 0));
	start_guest(&self->v, self->vm, variant->features);
	ASSERT_DONE(self->vcpu);
	EXPECT_FALSE(all_zero(self->data, 64));
	EXPECT_FALSE(all_zero(self->data + 64, 64));
	EXPECT_FALSE(all_zero(self->data + 128, 64));
}

TEST_F(rng, a_guest_rings_by_port_and_gets_the_message)
{
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO));
	GUEST(self->vm, by_port) = 1;
	GUEST(self->vm, rounds) = 300;
	start_guest(&self->v, self->vm, variant->features);
	ASSERT_DONE(self->vcpu);
}

TEST_F(rng, a_buffer_the_device_may_not_write_breaks_it)
{
	struct ring_piece p[2] = { { DATA, 8, false }, { DATA + 64, 8, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], p, 2);
	virtio_kick(&self->v, 0);
	for (int i = 0; i < 5000 && !*virtio_broken(&self->v); i++)
		usleep(1000);
	EXPECT_STREQ("an entropy buffer has a part that the device may not write", virtio_broken(&self->v));
	EXPECT_EQ(RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET, virtio_get_status(&self->v));
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 10,000 bytes a second, of which the first thousand and one request more are there at once. */
TEST_F(rng, a_limit_holds)
{
	struct kiln_virtio_rng limit = { .bps = 10000 };
	struct ring_piece p = { DATA, 1000, true };
	long start;

	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_RNG, &limit);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	start = now_ms();
	for (int i = 0; i < 12; i++) {
		ring_add(&self->v.ring[0], &p, 1);
		ASSERT_EQ(1000, virtio_finish(&self->v, 0, NULL));
	}
	EXPECT_LE(950, now_ms() - start);
	limit.bps = 0;
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_RNG, &limit);
	limit.reserved[2] = 1;
	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_RNG, &limit);
	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_SET_RNG, NULL);
}

TEST_F(rng, a_limit_that_is_lifted_waits_no_more)
{
	struct kiln_virtio_rng limit = { .bps = 1 };
	struct ring_piece p = { DATA, 1000, true };
	uint32_t id, len;

	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_RNG, &limit);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], &p, 1);
	ASSERT_EQ(1000, virtio_finish(&self->v, 0, NULL));
	virtio_wait(&self->v, 0, 1000);
	ring_add(&self->v.ring[0], &p, 1);
	virtio_kick(&self->v, 0);
	EXPECT_EQ(0, virtio_wait(&self->v, 0, 100));
	limit.bps = 0;
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_RNG, &limit);
	EXPECT_EQ(1, virtio_wait(&self->v, 0, 10000));
	EXPECT_TRUE(ring_collect(&self->v.ring[0], &id, &len));
}

TEST_HARNESS_MAIN
