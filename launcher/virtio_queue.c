// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue between its registers and the kernel. The kernel takes the rings at
 * our addresses, so here is where a guest's address becomes one of ours, and
 * only where all of the ring lies in the guest's RAM.
 */
#include "virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

/* A packed ring starts at 0 with both wrap counters set (§2.8.1); a split one at 0. */
#define PACKED_BASE 0x80008000u

static const char *const area_names[VIRTIO_AREAS] = {
	[VIRTIO_DESC] = "descriptors", [VIRTIO_DRIVER] = "driver area", [VIRTIO_DEVICE] = "device area",
};

static bool negotiated(const struct virtio *virtio, unsigned int feature)
{
	return virtio->driver_features >> feature & 1;
}

/* Bytes of each area: §2.7 for split, §2.8.10.1 for packed rings. */
static uint64_t area_size(const struct virtio *virtio, uint64_t entries, unsigned int area)
{
	uint64_t event = negotiated(virtio, VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;

	if (area == VIRTIO_DESC)
		return 16 * entries;
	if (negotiated(virtio, VIRTIO_F_RING_PACKED))
		return 4;
	return area == VIRTIO_DRIVER ? 4 + 2 * entries + event : 4 + 8 * entries + event;
}

void virtio_queue_init(struct virtio *virtio, unsigned int index)
{
	struct virtio_queue *queue = &virtio->queues[index];

	queue->message.vector = VIRTIO_NO_VECTOR;
	queue->size = virtio->queue_max;
	queue->enabled = false;
	queue->doorbell = false;
	memset(queue->areas, 0, sizeof(queue->areas));
}

/* ---- the doorbell ---- */

static void drop_doorbell(struct virtio *virtio, unsigned int index)
{
	struct virtio_queue *queue = &virtio->queues[index];
	struct kiln_virtio_doorbell doorbell = {
		.index = index,
		.flags = KILN_VIRTIO_DOORBELL_DEASSIGN,
		.addr = queue->doorbell_at,
	};

	if (queue->doorbell)
		virtio->call(virtio->fd, KILN_VIRTIO_SET_DOORBELL, &doorbell);
	queue->doorbell = false;
}

void virtio_queue_move(struct virtio *virtio, unsigned int index)
{
	struct virtio_queue *queue = &virtio->queues[index];
	struct kiln_virtio_doorbell doorbell = { .index = index };

	drop_doorbell(virtio, index);
	doorbell.addr = virtio_pci_doorbell(virtio, index);
	if (!queue->enabled || !doorbell.addr)
		return;
	/* Where the guest put two BARs over each other the kernel has no second; kicks come here then. */
	queue->doorbell = !virtio->call(virtio->fd, KILN_VIRTIO_SET_DOORBELL, &doorbell);
	queue->doorbell_at = doorbell.addr;
}

void virtio_queue_kick(struct virtio *virtio, unsigned int index)
{
	const char *cause = NULL;

	if (!virtio->queues[index].enabled)
		return;
	loop_wake(virtio->queues[index].kick);
	if (virtio->kicked && !virtio->broken)
		cause = virtio->kicked(virtio->fd, index);
	if (cause)
		virtio_break(virtio, "queue %u: %s", index, cause);
}

/* ---- enabling ---- */

static int set_addresses(struct virtio *virtio, unsigned int index)
{
	const struct virtio_queue *queue = &virtio->queues[index];
	struct vhost_vring_addr addr = { .index = index };
	uint64_t at[VIRTIO_AREAS];

	for (unsigned int i = 0; i < VIRTIO_AREAS; i++) {
		uint64_t size = area_size(virtio, queue->size, i);

		at[i] = (uintptr_t)guest_ptr(virtio->memory, queue->areas[i], size);
		if (at[i])
			continue;
		virtio_break(virtio, "queue %u: its %s at 0x%" PRIx64 ", %" PRIu64 " bytes, are not in the guest's memory",
			     index, area_names[i], queue->areas[i], size);
		return -1;
	}
	addr.desc_user_addr = at[VIRTIO_DESC];
	addr.avail_user_addr = at[VIRTIO_DRIVER];
	addr.used_user_addr = at[VIRTIO_DEVICE];
	if (!virtio->call(virtio->fd, VHOST_SET_VRING_ADDR, &addr))
		return 0;
	virtio_break(virtio, "queue %u: its rings are refused (%s)", index, strerror(errno));
	return -1;
}

/* Everything the kernel forgets at a reset. */
static int set_up(struct virtio *virtio, unsigned int index)
{
	struct virtio_queue *queue = &virtio->queues[index];
	struct vhost_vring_state num = { index, queue->size };
	struct vhost_vring_state base = {
		index, negotiated(virtio, VIRTIO_F_RING_PACKED) ? PACKED_BASE : 0
	};
	struct vhost_vring_file kick = { index, queue->kick };
	struct vhost_vring_file used = { index, virtio->used.fd };
	struct vhost_vring_file broke = { index, virtio->broke.fd };
	const struct {
		unsigned long request;
		void *arg;
		const char *what;
	} steps[] = {
		{ VHOST_SET_VRING_BASE, &base, "its start" },
		{ VHOST_SET_VRING_KICK, &kick, "its kick" },
		{ VHOST_SET_VRING_CALL, &used, "its interrupt" },
		{ VHOST_SET_VRING_ERR, &broke, "its error event" },
	};

	if (virtio->call(virtio->fd, VHOST_SET_VRING_NUM, &num)) {
		virtio_break(virtio, "queue %u: its size of %u is refused (%s)", index, queue->size,
			     strerror(errno));
		return -1;
	}
	if (set_addresses(virtio, index))
		return -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		if (!virtio->call(virtio->fd, steps[i].request, steps[i].arg))
			continue;
		virtio_break(virtio, "queue %u: %s is refused (%s)", index, steps[i].what,
			     strerror(errno));
		return -1;
	}
	return 0;
}

void virtio_queue_enable(struct virtio *virtio, unsigned int index)
{
	struct virtio_queue *queue = &virtio->queues[index];
	struct vhost_vring_state enable = { index, 1 };

	if (queue->enabled || virtio->broken)
		return;
	if (!(virtio->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		virtio_break(virtio, "queue %u was enabled before features were agreed on", index);
		return;
	}
	if (set_up(virtio, index))
		return;
	queue->enabled = true;
	virtio_pci_tell(virtio, index);
	virtio_queue_move(virtio, index);
	if (virtio->call(virtio->fd, VHOST_VDPA_SET_VRING_ENABLE, &enable)) {
		queue->enabled = false;
		drop_doorbell(virtio, index);
		virtio_break(virtio, "queue %u cannot be enabled (%s)", index, strerror(errno));
	}
}

/* ---- where it is ---- */

struct virtio_position virtio_queue_position(const struct virtio *virtio, unsigned int index)
{
	const struct virtio_queue *queue = &virtio->queues[index];
	uint64_t at = queue->areas[VIRTIO_DEVICE] + offsetof(struct vring_used, idx);
	struct virtio_position position = { .size = queue->size };
	struct vhost_vring_state base = { .index = index };
	const void *used;

	if (!queue->enabled || virtio->call(virtio->fd, VHOST_GET_VRING_BASE, &base))
		return (struct virtio_position){ 0 };
	position.avail = (uint16_t)base.num;
	position.used = (uint16_t)(base.num >> 16);
	if (negotiated(virtio, VIRTIO_F_RING_PACKED))
		return position;
	used = guest_ptr(virtio->memory, at, sizeof(position.used));
	if (!used)
		return (struct virtio_position){ 0 };
	memcpy(&position.used, used, sizeof(position.used));
	return position;
}

void virtio_queue_reset(struct virtio *virtio, unsigned int index)
{
	struct vhost_vring_state disable = { index, 0 };

	if (!negotiated(virtio, VIRTIO_F_RING_RESET))
		return;
	if (virtio->queues[index].enabled &&
	    virtio->call(virtio->fd, VHOST_VDPA_SET_VRING_ENABLE, &disable)) {
		virtio_break(virtio, "queue %u cannot be stopped (%s)", index, strerror(errno));
		return;
	}
	drop_doorbell(virtio, index);
	virtio_queue_init(virtio, index);
	virtio_pci_tell(virtio, index);
}
