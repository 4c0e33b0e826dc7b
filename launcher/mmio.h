/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device memory. A device embeds a struct mmio_region per range and finds
 * itself with container_of(). The set is fixed before the first vCPU runs;
 * where a region lies, and whether it is there at all, changes while they run,
 * since guests move the BARs of PCI devices.
 */
#ifndef KILN_MMIO_H
#define KILN_MMIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct mmio_region {
	const char *name;
	uint64_t len;
	/*
	 * @size is 1, 2, 4 or 8, the access lies within the range. Called
	 * without the lock of the bus, so they may map and unmap; a region that
	 * moves just then is still asked for what came to its old place.
	 */
	uint64_t (*read)(struct mmio_region *region, uint64_t offset, uint8_t size);
	void (*write)(struct mmio_region *region, uint64_t offset, uint8_t size, uint64_t value);
	bool mapped;		/* [lock of the bus] */
	uint64_t base;		/* likewise */
};

#define MMIO_REGIONS_MAX 200	/* six for each PCI device, and the configuration space */

struct mmio {
	pthread_rwlock_t lock;
	struct mmio_region *regions[MMIO_REGIONS_MAX];
	unsigned int count;
};

void mmio_init(struct mmio *mmio);

/* A region of the set, not mapped yet. */
void mmio_add(struct mmio *mmio, struct mmio_region *region);

/* @base: [base, base + len) wraps around nowhere. Of two that overlap the first added answers. */
void mmio_map(struct mmio *mmio, struct mmio_region *region, uint64_t base);
void mmio_unmap(struct mmio *mmio, struct mmio_region *region);

/*
 * One access. What no region has as a whole reads as ones and swallows writes,
 * as on an empty bus. Any @gpa; @size is 1 to 8; @data has @size bytes.
 */
void mmio_read(struct mmio *mmio, uint64_t gpa, uint8_t size, uint8_t *data);
void mmio_write(struct mmio *mmio, uint64_t gpa, uint8_t size, const uint8_t *data);

#endif
