/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A network device that is ready to be started, on each kind of ring and with one pair of queues or two. Included after the
 * harness, once in a suite.
 */
#ifndef KILN_SELFTESTS_NET_FIXTURE_H
#define KILN_SELFTESTS_NET_FIXTURE_H

#include "net.h"

__attribute__((constructor)) static void hold_many_queues(void)
{
	wire_hold_many_queues();
}

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

FIXTURE_SETUP(net)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	if (!wire_open(&self->wire, variant->pairs))
		SKIP(_exit(255), "this kernel has no taps");
	self->vcpu = vm_create_one(VM_IRQCHIP, NULL);
	self->vm = self->vcpu->vm;
	self->ram = self->vm->ram;
	self->v = virtio_create(self->vm, VIRTIO_ID_NET, 2 * variant->pairs + 1);
	self->args = net_args(&self->wire);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &self->args);
}

FIXTURE_TEARDOWN(net)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
	wire_close(&self->wire);
}

/* Packets that took @n buffers of 2 KiB, each one segment with its checksum. */
#define EXPECT_SEGMENTS(n) do {							\
	for (int i__ = 0; i__ < (n); i__++) {					\
		uint8_t *at__ = self->ram + RX_DATA + i__ * 2048;		\
		ASSERT_EQ(HDR + 54 + 1000, guest_recv(&self->v, RX, 5000));	\
		EXPECT_EQ(0, at__[0]);						\
		EXPECT_EQ(0, at__[1]);						\
		EXPECT_TRUE(ip_sum_right(at__ + HDR, 1054));			\
	}									\
} while (0)

#endif
