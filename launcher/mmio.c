// SPDX-License-Identifier: GPL-2.0-only
#include "mmio.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void mmio_init(struct mmio *mmio)
{
	mmio->count = 0;
	pthread_rwlock_init(&mmio->lock, NULL);
}

void mmio_add(struct mmio *mmio, struct mmio_region *region)
{
	assert(mmio->count < MMIO_REGIONS_MAX);
	region->mapped = false;
	mmio->regions[mmio->count++] = region;
}

void mmio_map(struct mmio *mmio, struct mmio_region *region, uint64_t base)
{
	pthread_rwlock_wrlock(&mmio->lock);
	region->mapped = true;
	region->base = base;
	pthread_rwlock_unlock(&mmio->lock);
}

void mmio_unmap(struct mmio *mmio, struct mmio_region *region)
{
	pthread_rwlock_wrlock(&mmio->lock);
	region->mapped = false;
	pthread_rwlock_unlock(&mmio->lock);
}

/* The region that has all of the access; @gpa becomes the offset in it. */
static struct mmio_region *find(struct mmio *mmio, uint64_t *gpa, uint8_t size)
{
	struct mmio_region *found = NULL;

	pthread_rwlock_rdlock(&mmio->lock);
	for (unsigned int i = 0; !found && i < mmio->count; i++) {
		struct mmio_region *region = mmio->regions[i];
		uint64_t offset = *gpa - region->base;

		if (!region->mapped || offset >= region->len || size > region->len - offset)
			continue;
		found = region;
		*gpa = offset;
	}
	pthread_rwlock_unlock(&mmio->lock);
	return found;
}

/* The largest piece of @size bytes that is a power of two: others come from accesses over a page's end. */
static uint8_t piece(uint8_t size)
{
	return size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
}

void mmio_read(struct mmio *mmio, uint64_t gpa, uint8_t size, uint8_t *data)
{
	struct mmio_region *region;
	uint64_t offset, value;
	uint8_t len;

	for (; size; size = (uint8_t)(size - len), gpa += len, data += len) {
		len = piece(size);
		offset = gpa;
		region = find(mmio, &offset, len);
		value = region ? region->read(region, offset, len) : ~0ULL;
		memcpy(data, &value, len);
	}
}

void mmio_write(struct mmio *mmio, uint64_t gpa, uint8_t size, const uint8_t *data)
{
	struct mmio_region *region;
	uint64_t offset, value;
	uint8_t len;

	for (; size; size = (uint8_t)(size - len), gpa += len, data += len) {
		len = piece(size);
		offset = gpa;
		value = 0;
		memcpy(&value, data, len);
		region = find(mmio, &offset, len);
		if (region)
			region->write(region, offset, len, value);
	}
}
