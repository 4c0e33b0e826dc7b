// SPDX-License-Identifier: GPL-2.0-only
/*
 * The common configuration structure (virtio 1.2 §4.1.4.3), one row for each
 * field. A driver accesses fields by their own width, and those of 64 bits by
 * halves as well (§4.1.3.1): other writes have no effect.
 */
#include "virtio.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>

/* ---- features ---- */

static uint64_t half(uint64_t features, uint32_t select)
{
	return select < 2 ? features >> (select * 32) & UINT32_MAX : 0;
}

static uint64_t get_device_select(struct virtio *virtio)
{
	return virtio->device_select;
}

static void set_device_select(struct virtio *virtio, uint64_t value)
{
	virtio->device_select = (uint32_t)value;
}

static uint64_t get_device_features(struct virtio *virtio)
{
	return half(virtio->features, virtio->device_select);
}

static uint64_t get_driver_select(struct virtio *virtio)
{
	return virtio->driver_select;
}

static void set_driver_select(struct virtio *virtio, uint64_t value)
{
	virtio->driver_select = (uint32_t)value;
}

static uint64_t get_driver_features(struct virtio *virtio)
{
	return half(virtio->driver_features, virtio->driver_select);
}

static void set_driver_features(struct virtio *virtio, uint64_t value)
{
	unsigned int shift = virtio->driver_select * 32;

	/* What was agreed on stays (§3.1.1); of bits from 64 on none is offered. */
	if (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK || virtio->driver_select > 1)
		return;
	virtio->driver_features &= ~((uint64_t)UINT32_MAX << shift);
	virtio->driver_features |= value << shift;
}

static bool agree(struct virtio *virtio)
{
	uint64_t features = virtio->driver_features;

	if (features & ~virtio->features || !(features >> VIRTIO_F_VERSION_1 & 1))
		return false;
	return !virtio->call(virtio->fd, VHOST_SET_FEATURES, &features);
}

/* ---- status ---- */

static uint64_t get_status(struct virtio *virtio)
{
	uint8_t kernel = 0;

	virtio->call(virtio->fd, VHOST_VDPA_GET_STATUS, &kernel);
	if (virtio->broken)
		kernel |= VIRTIO_CONFIG_S_NEEDS_RESET;
	return virtio->status | (kernel & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void virtio_reset(struct virtio *virtio)
{
	uint8_t zero = 0;

	if (virtio->call(virtio->fd, VHOST_VDPA_SET_STATUS, &zero))
		virtio_break(virtio, "it cannot be reset (%s)", strerror(errno));
	else
		virtio->broken = false;
	virtio->reported = false;
	virtio->status = 0;
	virtio->driver_features = 0;
	virtio->device_select = virtio->driver_select = 0;
	virtio->queue_select = 0;
	virtio->message.vector = VIRTIO_NO_VECTOR;
	virtio_pci_tell(virtio, KILN_VIRTIO_CONFIG_INDEX);
	for (unsigned int i = 0; i < virtio->nr_queues; i++) {
		virtio_queue_init(virtio, i);
		virtio_pci_tell(virtio, i);
	}
	virtio_pci_lower(virtio);
}

static void set_status(struct virtio *virtio, uint64_t value)
{
	uint8_t status = (uint8_t)value & ~VIRTIO_CONFIG_S_NEEDS_RESET;
	uint8_t fresh;

	if (!value) {
		virtio_reset(virtio);
		return;
	}
	/* Bits are set, never taken away but by a reset (§2.1.1). */
	fresh = status & ~virtio->status;
	status |= virtio->status;
	if (fresh & VIRTIO_CONFIG_S_FEATURES_OK && !agree(virtio))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (fresh & VIRTIO_CONFIG_S_DRIVER_OK && !(status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
		virtio_break(virtio, "its driver went to work before features were agreed on");
	}
	if (virtio->call(virtio->fd, VHOST_VDPA_SET_STATUS, &status))
		virtio_break(virtio, "status 0x%x is refused (%s)", status, strerror(errno));
	else
		virtio->status = status;
}

static uint64_t get_generation(struct virtio *virtio)
{
	virtio_refresh_config(virtio);
	return virtio->generation;
}

/* ---- vectors ---- */

static uint16_t usable_vector(const struct virtio *virtio, uint64_t value)
{
	return value < virtio->msix.count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static uint64_t get_config_vector(struct virtio *virtio)
{
	return virtio->message.vector;
}

static void set_config_vector(struct virtio *virtio, uint64_t value)
{
	virtio->message.vector = usable_vector(virtio, value);
	virtio_pci_tell(virtio, KILN_VIRTIO_CONFIG_INDEX);
}

/* ---- the selected queue; one that is not there reads as zero ---- */

static uint64_t get_queue_count(struct virtio *virtio)
{
	return virtio->nr_queues;
}

static uint64_t get_queue_select(struct virtio *virtio)
{
	return virtio->queue_select;
}

static void set_queue_select(struct virtio *virtio, uint64_t value)
{
	virtio->queue_select = (uint16_t)value;
}

static struct virtio_queue *selected(struct virtio *virtio)
{
	return virtio->queue_select < virtio->nr_queues ? &virtio->queues[virtio->queue_select]
							: NULL;
}

/* What may be changed of it: nothing while it is enabled. */
static struct virtio_queue *changeable(struct virtio *virtio)
{
	struct virtio_queue *queue = selected(virtio);

	return queue && !queue->enabled ? queue : NULL;
}

static uint64_t get_queue_size(struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);

	return queue ? queue->size : 0;
}

static void set_queue_size(struct virtio *virtio, uint64_t value)
{
	struct virtio_queue *queue = changeable(virtio);

	if (queue)
		queue->size = (uint16_t)value;
}

static uint64_t get_queue_vector(struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);

	return queue ? queue->message.vector : VIRTIO_NO_VECTOR;
}

static void set_queue_vector(struct virtio *virtio, uint64_t value)
{
	struct virtio_queue *queue = selected(virtio);

	if (!queue)
		return;
	queue->message.vector = usable_vector(virtio, value);
	virtio_pci_tell(virtio, virtio->queue_select);
}

static uint64_t get_queue_enable(struct virtio *virtio)
{
	const struct virtio_queue *queue = selected(virtio);

	return queue && queue->enabled;
}

static void set_queue_enable(struct virtio *virtio, uint64_t value)
{
	/* Of 0 nothing follows: queue_reset and the status take queues away. */
	if (selected(virtio) && value == 1)
		virtio_queue_enable(virtio, virtio->queue_select);
}

static uint64_t get_queue_notify(struct virtio *virtio)
{
	return selected(virtio) ? virtio->queue_select : 0;
}

static uint64_t get_area(struct virtio *virtio, unsigned int area)
{
	const struct virtio_queue *queue = selected(virtio);

	return queue ? queue->areas[area] : 0;
}

static void set_area(struct virtio *virtio, unsigned int area, uint64_t value)
{
	struct virtio_queue *queue = changeable(virtio);

	if (queue)
		queue->areas[area] = value;
}

static uint64_t get_queue_desc(struct virtio *virtio)
{
	return get_area(virtio, VIRTIO_DESC);
}

static void set_queue_desc(struct virtio *virtio, uint64_t value)
{
	set_area(virtio, VIRTIO_DESC, value);
}

static uint64_t get_queue_driver(struct virtio *virtio)
{
	return get_area(virtio, VIRTIO_DRIVER);
}

static void set_queue_driver(struct virtio *virtio, uint64_t value)
{
	set_area(virtio, VIRTIO_DRIVER, value);
}

static uint64_t get_queue_device(struct virtio *virtio)
{
	return get_area(virtio, VIRTIO_DEVICE);
}

static void set_queue_device(struct virtio *virtio, uint64_t value)
{
	set_area(virtio, VIRTIO_DEVICE, value);
}

/* By the time a write of 1 is done, so is the reset. */
static uint64_t get_queue_reset(struct virtio *virtio)
{
	(void)virtio;
	return 0;
}

static void set_queue_reset(struct virtio *virtio, uint64_t value)
{
	if (selected(virtio) && value == 1)
		virtio_queue_reset(virtio, virtio->queue_select);
}

/* ---- the structure ---- */

static const struct field {
	uint8_t at, size;
	uint64_t (*get)(struct virtio *virtio);
	void (*set)(struct virtio *virtio, uint64_t value);	/* NULL: read-only */
} fields[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, get_device_select, set_device_select },
	{ VIRTIO_PCI_COMMON_DF, 4, get_device_features, NULL },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, get_driver_select, set_driver_select },
	{ VIRTIO_PCI_COMMON_GF, 4, get_driver_features, set_driver_features },
	{ VIRTIO_PCI_COMMON_MSIX, 2, get_config_vector, set_config_vector },
	{ VIRTIO_PCI_COMMON_NUMQ, 2, get_queue_count, NULL },
	{ VIRTIO_PCI_COMMON_STATUS, 1, get_status, set_status },
	{ VIRTIO_PCI_COMMON_CFGGENERATION, 1, get_generation, NULL },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, get_queue_select, set_queue_select },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, get_queue_size, set_queue_size },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, get_queue_vector, set_queue_vector },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, get_queue_enable, set_queue_enable },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, get_queue_notify, NULL },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 8, get_queue_desc, set_queue_desc },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 8, get_queue_driver, set_queue_driver },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 8, get_queue_device, set_queue_device },
	{ VIRTIO_PCI_COMMON_Q_NDATA, 2, get_queue_notify, NULL },
	{ VIRTIO_PCI_COMMON_Q_RESET, 2, get_queue_reset, set_queue_reset },
};

/* The field that has all of the access. */
static const struct field *find(uint64_t offset, uint8_t size)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++)
		if (offset >= fields[i].at && offset + size <= (uint64_t)fields[i].at + fields[i].size)
			return &fields[i];
	return NULL;
}

uint64_t virtio_common_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	const struct field *field = find(offset, size);

	return field ? field->get(virtio) >> (offset - field->at) * 8 : 0;
}

void virtio_common_write(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value)
{
	const struct field *field = find(offset, size);
	unsigned int shift;

	if (!field || !field->set)
		return;
	if (size == field->size) {
		field->set(virtio, value);
	} else if (field->size == 8 && size == 4 && !(offset % 4)) {
		shift = (unsigned int)(offset - field->at) * 8;
		field->set(virtio, (field->get(virtio) & ~((uint64_t)UINT32_MAX << shift)) |
					   (value & UINT32_MAX) << shift);
	}
}
