// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks: read:DEPTH:DISKS:MIB and write:… time random requests of 4 KiB. So many are in flight all the time, on that
 * many disks in turn; their buffers are spread over that much of memory.
 */
#include "guest.h"

#define DISKS_MAX	32
#define DEPTH_MAX	128
#define REQUESTS	2048u
#define BYTES		4096u
#define SPREAD		0x1000000u	/* buffers lie beyond 16 MiB */
#define F_INDIRECT	28

#define T_IN	0
#define T_OUT	1

struct request {
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	uint8_t status;
	struct desc table[3];
} __attribute__((aligned(128)));

struct disk {
	struct device device;
	struct queue *queue;
	uint32_t pages;
	struct request *requests;
	uint32_t unused;		/* to be submitted */
};

static struct disk disks[DISKS_MAX];
static unsigned int nr_disks;
static uint32_t buffers;		/* pages they are chosen from */

static void disks_init(void)
{
	static struct device devices[DISKS_MAX];

	nr_disks = devices_start(VIRTIO_BLOCK, 1u << F_INDIRECT, devices, DISKS_MAX);
	for (unsigned int i = 0; i < nr_disks; i++) {
		struct disk *disk = &disks[i];

		disk->device = devices[i];
		disk->queue = &disk->device.queues[0];
		disk->pages = *(volatile uint32_t *)disk->device.config / (BYTES / 512);
		disk->requests = pages(DEPTH_MAX * sizeof(struct request));
	}
}

/* Each slot has a descriptor of the ring and a table (§2.7.5.3), as Linux makes them. */
static void submit(struct disk *disk, uint16_t slot, uint32_t type, uint32_t page, void *buffer)
{
	struct request *req = &disk->requests[slot];
	struct desc *table = req->table;

	req->header.type = type;
	req->header.sector = page * (BYTES / 512);
	req->status = 0xff;
	table[0] = (struct desc){ (uintptr_t)&req->header, sizeof(req->header), DESC_NEXT, 1 };
	table[1] = (struct desc){ (uintptr_t)buffer, BYTES, DESC_NEXT | (type == T_IN ? DESC_WRITE : 0), 2 };
	table[2] = (struct desc){ (uintptr_t)&req->status, 1, DESC_WRITE, 0 };
	disk->queue->desc[slot] = (struct desc){ (uintptr_t)table, sizeof(req->table), DESC_INDIRECT, 0 };
	queue_add(disk->queue, slot);
}

static void submit_random(struct disk *disk, uint16_t slot, uint32_t type)
{
	submit(disk, slot, type, noise() % disk->pages, (void *)(uintptr_t)(SPREAD + noise() % buffers * PAGE));
}

static uint16_t collect(struct disk *disk)
{
	uint16_t slot = queue_take(disk->queue, NULL);

	if (disk->requests[slot].status)
		fail("a disk request failed");
	return slot;
}

static void one(struct disk *disk, uint32_t type, uint32_t page, void *buffer)
{
	submit(disk, 0, type, page, buffer);
	queue_want(disk->queue, 1);
	queue_kick(disk->queue);
	wait_until(queue_has_used(disk->queue));
	collect(disk);
}

/* What is written is what is read. */
static void check(struct disk *disk)
{
	uint8_t *a = (uint8_t *)SPREAD, *b = a + PAGE;
	uint32_t page = noise() % disk->pages;

	for (uint32_t i = 0; i < BYTES; i++)
		a[i] = noise();
	fill(b, 0, BYTES);
	one(disk, T_OUT, page, a);
	one(disk, T_IN, page, b);
	for (uint32_t i = 0; i < BYTES; i++)
		if (a[i] != b[i])
			fail("a disk has lost what was written");
}

/* Takes back what is done and puts as many on their way. Returns how many were done. */
static uint32_t turn_around(struct disk *disk, uint32_t type)
{
	uint32_t done = 0;

	do {
		for (; queue_has_used(disk->queue); done++) {
			uint16_t slot = collect(disk);

			if (disk->unused) {
				disk->unused--;
				submit_random(disk, slot, type);
			}
		}
		queue_want(disk->queue, 1);
	} while (queue_has_used(disk->queue));
	queue_kick(disk->queue);
	return done;
}

static bool any_used(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (queue_has_used(disks[i].queue))
			return true;
	return false;
}

/* @total requests, as many on each disk. Returns the ticks they take. */
static uint32_t run(uint32_t type, uint32_t depth, unsigned int n, uint32_t total)
{
	uint32_t begin = ticks(), done = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct disk *disk = &disks[i];
		uint32_t first = depth < total / n ? depth : total / n;

		disk->unused = total / n - first;
		for (uint32_t slot = 0; slot < first; slot++)
			submit_random(disk, slot, type);
		queue_want(disk->queue, 1);
		queue_kick(disk->queue);
	}
	while (done < total / n * n) {
		wait_until(any_used(n));
		for (unsigned int i = 0; i < n; i++)
			if (queue_has_used(disks[i].queue))
				done += turn_around(&disks[i], type);
	}
	return ticks() - begin;
}

void measure_block(const struct words *w)
{
	uint32_t type = w->op == 'w' ? T_OUT : T_IN;
	uint32_t depth = w->numbers[0], n = w->numbers[1], mib = w->numbers[2];

	if (!nr_disks)
		disks_init();
	if (!depth || depth > DEPTH_MAX || !n || n > nr_disks || !mib)
		fail("no such disks");
	buffers = mib * 256;
	for (unsigned int i = 0; i < n; i++)
		check(&disks[i]);
	/* Each page is touched first, here and in the host. */
	for (uint32_t i = 0; i < buffers; i++)
		*(volatile uint32_t *)(uintptr_t)(SPREAD + i * PAGE) = i;
	run(type, depth, n, REQUESTS / 4);
	report(w, run(type, depth, n, REQUESTS), REQUESTS / n * n);
}
