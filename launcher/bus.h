/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O ports. A device embeds a struct port_device per range and finds itself
 * with container_of(). The set is fixed before the first vCPU runs, so that
 * vCPU threads look it up without a lock; devices lock themselves.
 */
#ifndef KILN_BUS_H
#define KILN_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct port_device {
	const char *name;
	uint16_t base, len;
	bool bytes;	/* has 8-bit registers: wider accesses are cut up */
	/* @offset from @base; @size is 1, 2 or 4, and the access lies within the range. */
	uint32_t (*read)(struct port_device *device, uint16_t offset, uint8_t size);
	void (*write)(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value);
};

#define BUS_DEVICES_MAX 16

struct bus {
	struct port_device *devices[BUS_DEVICES_MAX];
	unsigned int count;
};

void bus_add(struct bus *bus, struct port_device *device);

/*
 * One access. Ports that nobody claims read as ones and swallow writes, as on
 * a PC. Any @port; @size is 1, 2 or 4; @data has @size bytes.
 */
void bus_read(const struct bus *bus, uint16_t port, uint8_t size, uint8_t *data);
void bus_write(const struct bus *bus, uint16_t port, uint8_t size, const uint8_t *data);

#endif
