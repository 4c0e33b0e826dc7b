// SPDX-License-Identifier: GPL-2.0-only
/*
 * What every PCI device has. A write of the guest changes the bits that are
 * writable and no others; then what follows from command register and BARs is
 * brought up to date: which BARs answer, and where, and the interrupt pin.
 */
#include "pci.h"

#include <assert.h>
#include <string.h>

#include "loop.h"

#define CAPABILITIES 0x40	/* PCI 3.0 §6.1: the header ends here */

/* I/O space is not among them: no device here has ports in a BAR. */
#define COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

void pci_set16(struct pci_device *device, unsigned int at, uint16_t value)
{
	memcpy(device->config + at, &value, sizeof(value));
}

void pci_set32(struct pci_device *device, unsigned int at, uint32_t value)
{
	memcpy(device->config + at, &value, sizeof(value));
}

uint16_t pci_get16(const struct pci_device *device, unsigned int at)
{
	uint16_t value;

	memcpy(&value, device->config + at, sizeof(value));
	return value;
}

uint32_t pci_get32(const struct pci_device *device, unsigned int at)
{
	uint32_t value;

	memcpy(&value, device->config + at, sizeof(value));
	return value;
}

void pci_make_writable(struct pci_device *device, unsigned int at, unsigned int size)
{
	memset(device->writable + at, 0xff, size);
}

/* ---- the lock ---- */

void pci_lock(struct pci_device *device)
{
	pthread_mutex_lock(&device->lock);
}

/* Pairs with pci_unlock(): one of both sees what the other one wrote. */
bool pci_try_lock(struct pci_device *device)
{
	if (!pthread_mutex_trylock(&device->lock))
		return true;
	__atomic_store_n(&device->awaited, true, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !pthread_mutex_trylock(&device->lock);
}

void pci_unlock(struct pci_device *device)
{
	pthread_mutex_unlock(&device->lock);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&device->awaited, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&device->awaited, false, __ATOMIC_SEQ_CST))
		loop_wake(device->unlocked);
}

/* ---- BARs ---- */

uint64_t pci_bar_read(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size)
{
	return device->ops->read(device, bar, offset, size);
}

void pci_bar_write(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size,
		   uint64_t value)
{
	device->ops->write(device, bar, offset, size, value);
}

static uint64_t region_read(struct mmio_region *region, uint64_t offset, uint8_t size)
{
	struct pci_bar *bar = container_of(region, struct pci_bar, region);
	uint64_t value;

	pci_lock(bar->device);
	value = pci_bar_read(bar->device, bar->number, offset, size);
	pci_unlock(bar->device);
	return value;
}

static void region_write(struct mmio_region *region, uint64_t offset, uint8_t size, uint64_t value)
{
	struct pci_bar *bar = container_of(region, struct pci_bar, region);

	pci_lock(bar->device);
	pci_bar_write(bar->device, bar->number, offset, size, value);
	pci_unlock(bar->device);
}

static unsigned int bar_register(unsigned int number)
{
	return PCI_BASE_ADDRESS_0 + number * 4;
}

static uint64_t bar_address(const struct pci_bar *bar)
{
	unsigned int at = bar_register(bar->number);
	uint64_t low = pci_get32(bar->device, at) & PCI_BASE_ADDRESS_MEM_MASK & UINT32_MAX;

	return low | (uint64_t)pci_get32(bar->device, at + 4) << 32;
}

/* The bridge hands on what is in its window and nothing else: no BAR covers RAM or a local APIC. */
static bool in_window(uint64_t base, uint64_t size)
{
	return base >= PCI_WINDOW && base < PCI_WINDOW_END && size <= PCI_WINDOW_END - base;
}

static void update_bar(struct pci_bar *bar)
{
	uint64_t base = bar_address(bar);
	bool mapped = pci_get16(bar->device, PCI_COMMAND) & PCI_COMMAND_MEMORY &&
		      in_window(base, bar->region.len);

	if (mapped == bar->mapped && (!mapped || base == bar->base))
		return;
	bar->mapped = mapped;
	bar->base = base;
	if (mapped)
		mmio_map(bar->device->host->mmio, &bar->region, base);
	else
		mmio_unmap(bar->device->host->mmio, &bar->region);
	if (bar->device->ops->moved)
		bar->device->ops->moved(bar->device, bar->number);
}

/* ---- the pin ---- */

static void update_pin(struct pci_device *device)
{
	uint16_t status = pci_get16(device, PCI_STATUS) & (uint16_t)~PCI_STATUS_INTERRUPT;
	bool disabled = pci_get16(device, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;

	/* The status bit is before the switch (§6.2.3). */
	pci_set16(device, PCI_STATUS, status | (device->interrupt ? PCI_STATUS_INTERRUPT : 0));
	pci_host_interrupt(device->host, device, device->interrupt && !disabled);
}

void pci_set_interrupt(struct pci_device *device, bool level)
{
	if (device->interrupt == level)
		return;
	device->interrupt = level;
	update_pin(device);
}

/* ---- configuration space ---- */

static bool touches(unsigned int at, unsigned int size, unsigned int reg, unsigned int len)
{
	return at < reg + len && reg < at + size;
}

static bool within(unsigned int at, uint8_t size)
{
	return at < PCI_CONFIG_SIZE && size <= PCI_CONFIG_SIZE - at;
}

uint32_t pci_config_read(struct pci_device *device, unsigned int at, uint8_t size)
{
	uint32_t value = 0;

	if (!within(at, size))
		return ~0u;
	pci_lock(device);
	if (device->ops->config_read)
		device->ops->config_read(device, at, size);
	memcpy(&value, device->config + at, size);
	pci_unlock(device);
	return value;
}

static void write_bits(struct pci_device *device, unsigned int at, uint8_t size, uint32_t value)
{
	for (unsigned int i = at; i < at + size; i++, value >>= 8) {
		uint8_t mask = device->writable[i];

		device->config[i] = (uint8_t)((device->config[i] & ~mask) | (value & mask));
	}
}

void pci_config_write(struct pci_device *device, unsigned int at, uint8_t size, uint32_t value)
{
	if (!within(at, size))
		return;
	pci_lock(device);
	write_bits(device, at, size, value);
	if (touches(at, size, PCI_COMMAND, 2) || touches(at, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS))
		for (unsigned int i = 0; i < PCI_BARS; i++)
			if (device->bars[i].region.len)
				update_bar(&device->bars[i]);
	if (touches(at, size, PCI_COMMAND, 2))
		update_pin(device);
	if (device->ops->config_written)
		device->ops->config_written(device, at, size);
	pci_unlock(device);
}

/* ---- making one ---- */

void pci_device_init(struct pci_device *device, const char *name, const struct pci_ops *ops,
		     const struct pci_identity *identity)
{
	memset(device, 0, sizeof(*device));
	device->name = name;
	device->ops = ops;
	device->capabilities_end = CAPABILITIES;
	pthread_mutex_init(&device->lock, NULL);
	device->unlocked = -1;
	pci_set16(device, PCI_VENDOR_ID, identity->vendor);
	pci_set16(device, PCI_DEVICE_ID, identity->device);
	pci_set16(device, PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
	pci_set16(device, PCI_SUBSYSTEM_ID, identity->subsystem);
	pci_set32(device, PCI_CLASS_REVISION, identity->class << 8 | identity->revision);
	device->writable[PCI_COMMAND] = COMMAND_WRITABLE & 0xff;
	device->writable[PCI_COMMAND + 1] = COMMAND_WRITABLE >> 8;
	/* Both are the guest's notes: nothing follows from them. */
	device->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	device->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_add_bar(struct pci_device *device, unsigned int number, uint64_t size)
{
	struct pci_bar *bar = &device->bars[number];
	uint64_t mask = ~(size - 1);

	assert(number + 1 < PCI_BARS && size >= GUEST_PAGE && !(size & (size - 1)));
	bar->device = device;
	bar->number = number;
	bar->region = (struct mmio_region){ .name = device->name, .len = size,
					    .read = region_read, .write = region_write };
	pci_set32(device, bar_register(number), PCI_BASE_ADDRESS_MEM_TYPE_64);
	memcpy(device->writable + bar_register(number), &mask, sizeof(mask));
}

void pci_add_pin(struct pci_device *device)
{
	device->config[PCI_INTERRUPT_PIN] = 1;
}

unsigned int pci_add_capability(struct pci_device *device, uint8_t id, unsigned int size)
{
	unsigned int at = device->capabilities_end;

	assert(at + size <= PCI_CONFIG_SIZE);
	device->config[at] = id;
	if (device->last_capability)
		device->config[device->last_capability + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	else
		device->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	pci_set16(device, PCI_STATUS, pci_get16(device, PCI_STATUS) | PCI_STATUS_CAP_LIST);
	device->last_capability = at;
	device->capabilities_end = (unsigned int)align_up(at + size, 4);
	return at;
}
