// SPDX-License-Identifier: GPL-2.0-only
#include "bus.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void bus_add(struct bus *bus, struct port_device *device)
{
	assert(bus->count < BUS_DEVICES_MAX);
	bus->devices[bus->count++] = device;
}

static struct port_device *find(const struct bus *bus, uint16_t port)
{
	for (unsigned int i = 0; i < bus->count; i++) {
		struct port_device *device = bus->devices[i];

		if (port >= device->base && port - device->base < device->len)
			return device;
	}
	return NULL;
}

/* Whether @device takes the access in one piece. */
static bool whole(const struct port_device *device, uint16_t port, uint8_t size)
{
	return size == 1 || (!device->bytes && port - device->base + size <= device->len);
}

/* An access that nobody takes in one piece is one of bytes, each to its own port. */
void bus_read(const struct bus *bus, uint16_t port, uint8_t size, uint8_t *data)
{
	struct port_device *device = find(bus, port);
	uint32_t value;

	if (device && whole(device, port, size)) {
		value = device->read(device, (uint16_t)(port - device->base), size);
		memcpy(data, &value, size);
	} else if (size == 1) {
		*data = 0xff;
	} else {
		for (uint8_t i = 0; i < size; i++)
			bus_read(bus, (uint16_t)(port + i), 1, data + i);
	}
}

void bus_write(const struct bus *bus, uint16_t port, uint8_t size, const uint8_t *data)
{
	struct port_device *device = find(bus, port);
	uint32_t value = 0;

	if (device && whole(device, port, size)) {
		memcpy(&value, data, size);
		device->write(device, (uint16_t)(port - device->base), size, value);
	} else if (size > 1) {
		for (uint8_t i = 0; i < size; i++)
			bus_write(bus, (uint16_t)(port + i), 1, data + i);
	}
}
