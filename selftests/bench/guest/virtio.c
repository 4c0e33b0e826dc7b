// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver of virtio-pci devices (virtio 1.2 §4.1) with split rings (§2.7).
 */
#include "guest.h"

#define CONFIG_ADDRESS	0xcf8
#define CONFIG_DATA	0xcfc

#define VENDOR_VIRTIO	0x1af4
#define DEVICE_MODERN	0x1040

#define F_EVENT_IDX	29
#define F_VERSION_1	32

/* ---- PCI ---- */

static uint32_t config_read(uint16_t where, uint8_t at)
{
	outl(CONFIG_ADDRESS, 0x80000000u | (uint32_t)where << 8 | (at & 0xfc));
	return inl(CONFIG_DATA) >> (at & 3) * 8;
}

static void config_write(uint16_t where, uint8_t at, uint32_t value)
{
	outl(CONFIG_ADDRESS, 0x80000000u | (uint32_t)where << 8 | (at & 0xfc));
	outl(CONFIG_DATA, value);
}

static volatile uint8_t *bar(uint16_t where, uint8_t number)
{
	uint32_t low = config_read(where, 0x10 + 4 * number);

	if (!low || (low & 1) || ((low & 4) && config_read(where, 0x14 + 4 * number)))
		fail("a BAR is not below 4 GiB");
	return (volatile uint8_t *)(uintptr_t)(low & ~15u);
}

/* All interrupts of the device are one message to this CPU. */
static void msix_init(uint16_t where, uint8_t cap)
{
	uint32_t table = config_read(where, cap + 4);
	volatile uint32_t *entry = (volatile uint32_t *)(bar(where, table & 7) + (table & ~7u));

	config_write(where, cap, config_read(where, cap) | 1u << 31);
	entry[0] = 0xfee00000u;
	entry[1] = 0;
	entry[2] = MSI_VECTOR;
	entry[3] = 0;
}

/* §4.1.4: the capabilities say where the structures are. */
static void find_structures(struct device *d)
{
	uint8_t cap = config_read(d->where, 0x34);

	for (; cap; cap = config_read(d->where, cap + 1)) {
		uint8_t id = config_read(d->where, cap), type = config_read(d->where, cap + 3);
		volatile uint8_t *at;

		if (id == 0x11)
			msix_init(d->where, cap);
		if (id != 9 || type < 1 || type > 4)
			continue;
		at = bar(d->where, config_read(d->where, cap + 4)) + config_read(d->where, cap + 8);
		if (type == 1)
			d->common = at;
		if (type == 4)
			d->config = at;
		if (type == 2) {
			d->notify = at;
			d->multiplier = config_read(d->where, cap + 16);
		}
	}
	if (!d->common || !d->config || !d->notify)
		fail("a virtio device lacks structures");
}

/* ---- set-up (§3.1.1) ---- */

static volatile uint32_t *common32(struct device *d, unsigned int at)
{
	return (volatile uint32_t *)(d->common + at);
}

static volatile uint16_t *common16(struct device *d, unsigned int at)
{
	return (volatile uint16_t *)(d->common + at);
}

static void negotiate(struct device *d, uint32_t features)
{
	uint32_t offered, wanted = features | 1u << F_EVENT_IDX;

	d->common[20] = 0;
	while (d->common[20])
		;
	d->common[20] = 1;
	d->common[20] = 3;
	*common32(d, 0) = 0;
	offered = *common32(d, 4);
	if ((offered & wanted) != wanted)
		fail("a feature is not offered");
	*common32(d, 8) = 0;
	*common32(d, 12) = wanted;
	*common32(d, 8) = 1;
	*common32(d, 12) = 1u << (F_VERSION_1 - 32);
	d->common[20] = 11;
	if (!(d->common[20] & 8))
		fail("the features are refused");
}

static void queue_init(struct device *d, uint16_t number)
{
	struct queue *q = &d->queues[number];
	uint32_t size;

	*common16(d, 22) = number;
	size = *common16(d, 24);
	if (size < NUM)
		fail("a queue is too short");
	*common16(d, 24) = NUM;
	q->num = NUM;
	q->number = number;
	q->desc = pages(NUM * sizeof(struct desc));
	q->avail = pages(6 + 2 * NUM);
	q->used = pages(6 + 8 * NUM);
	q->doorbell = (volatile uint16_t *)(d->notify + *common16(d, 30) * d->multiplier);
	*common16(d, 26) = 0;
	if (*common16(d, 26))
		fail("no message for a queue");
	*common32(d, 32) = (uintptr_t)q->desc;
	*common32(d, 36) = 0;
	*common32(d, 40) = (uintptr_t)q->avail;
	*common32(d, 44) = 0;
	*common32(d, 48) = (uintptr_t)q->used;
	*common32(d, 52) = 0;
	*common16(d, 28) = 1;
}

static void device_start(struct device *d, uint16_t where, uint32_t features)
{
	d->where = where;
	config_write(where, 4, (config_read(where, 4) & 0xffff) | 6);
	find_structures(d);
	negotiate(d, features);
	for (uint16_t i = 0; i < QUEUES && i < *common16(d, 18); i++)
		queue_init(d, i);
	d->common[20] = 15;
}

static bool is_there(uint16_t where, uint32_t type)
{
	return config_read(where, 0) == (VENDOR_VIRTIO | (DEVICE_MODERN + type) << 16);
}

unsigned int devices_start(uint32_t type, uint32_t features, struct device *devices, unsigned int max)
{
	unsigned int n = 0;

	for (uint16_t where = 0; where < 256 && n < max; where++)
		if (is_there(where, type))
			device_start(&devices[n++], where, features);
	return n;
}

/* ---- rings ---- */

void queue_add(struct queue *q, uint16_t head)
{
	q->avail[2 + q->added % NUM] = head;
	q->added++;
}

/* §2.7.10: does an index the other side waits for lie between old and new? */
static bool passes(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void queue_kick(struct queue *q)
{
	barrier();
	q->avail[1] = q->added;
	full_barrier();
	if (passes(q->used[2 + 4 * NUM], q->added, q->kicked))
		*q->doorbell = q->number;
	q->kicked = q->added;
}

uint16_t queue_take(struct queue *q, uint32_t *len)
{
	volatile struct used_elem *elem = (volatile struct used_elem *)(q->used + 2) + q->seen % NUM;

	barrier();
	q->seen++;
	if (len)
		*len = elem->len;
	return elem->id;
}

void queue_want(struct queue *q, uint16_t nr)
{
	q->avail[2 + NUM] = q->seen + nr - 1;
	full_barrier();
}
