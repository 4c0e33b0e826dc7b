/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control queue of a card that vhost-net serves, which has only receive and
 * transmit queues: a split ring (virtio 1.2 §2.7) that is read here, in the
 * thread of the vCPU that kicks. Commands are rare, one when a driver starts.
 */
#ifndef KILN_VHOST_CTRL_H
#define KILN_VHOST_CTRL_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/* The lock of all of it is the card's. */
struct vhost_ctrl {
	const struct guest_memory *memory;
	bool event_idx;			/* VIRTIO_RING_F_EVENT_IDX was agreed on */
	uint16_t size, next;		/* entries; commands answered, modulo 2^16 */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

/* VHOST_{SET_VRING_NUM,SET_VRING_ADDR,SET_VRING_BASE,GET_VRING_BASE}: ioctl()'s answers. */
int vhost_ctrl_call(struct vhost_ctrl *ctrl, unsigned long request, void *arg);

/*
 * Answers the commands there are as @obey says: it gets the first bytes of a
 * command, and how many it has. Those that come meanwhile are for the next kick,
 * so a guest that goes on adding does not keep the caller. Returns what the guest
 * did wrong, NULL for nothing; @notify is whether it waits for an interrupt.
 */
#define VHOST_CTRL_BYTES 8
const char *vhost_ctrl_serve(struct vhost_ctrl *ctrl,
			     bool (*obey)(void *opaque, const uint8_t bytes[VHOST_CTRL_BYTES], size_t len),
			     void *opaque, bool *notify);

#endif
