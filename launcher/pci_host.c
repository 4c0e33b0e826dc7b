// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host bridge. Configuration space is reached by configuration mechanism
 * #1 (PCI 3.0 §3.2.2.3.2), an address register and a data register in ports,
 * and as memory, 4 KiB a device (PCI Firmware Specification 3.2 §4.1.2). Both
 * end in pci_config_read() and pci_config_write().
 */
#include "pci.h"

#include <string.h>

#include "error.h"

#define ADDRESS_ENABLE	0x80000000u
#define ADDRESS_MASK	0x80fffffcu	/* reserved bits read as zero */
#define DATA		4		/* offset of the data register */

/* Bus, device and function as both mechanisms have them, bits 8 to 23. */
static struct pci_device *find(const struct pci_host *host, uint32_t bdf)
{
	if (bdf >> 8 || bdf & 7)
		return NULL;
	return host->slots[bdf >> 3 & (PCI_SLOTS - 1)];
}

static uint32_t config_read(const struct pci_host *host, uint32_t bdf, unsigned int at,
			    uint8_t size)
{
	struct pci_device *device = find(host, bdf);

	return device ? pci_config_read(device, at, size) : ~0u;
}

static void config_write(const struct pci_host *host, uint32_t bdf, unsigned int at, uint8_t size,
			 uint32_t value)
{
	struct pci_device *device = find(host, bdf);

	if (device)
		pci_config_write(device, at, size, value);
}

/* ---- ports ---- */

static uint32_t get_address(struct pci_host *host)
{
	uint32_t address;

	pthread_mutex_lock(&host->lock);
	address = host->address;
	pthread_mutex_unlock(&host->lock);
	return address;
}

static uint32_t ports_read(struct port_device *ports, uint16_t offset, uint8_t size)
{
	struct pci_host *host = container_of(ports, struct pci_host, ports);
	uint32_t address = get_address(host);

	if (offset < DATA)
		return !offset && size == 4 ? address : ~0u;
	if (!(address & ADDRESS_ENABLE))
		return ~0u;
	return config_read(host, address >> 8 & 0xffff, (address & 0xfc) + offset - DATA, size);
}

static void ports_write(struct port_device *ports, uint16_t offset, uint8_t size, uint32_t value)
{
	struct pci_host *host = container_of(ports, struct pci_host, ports);
	uint32_t address = get_address(host);

	if (offset >= DATA) {
		if (address & ADDRESS_ENABLE)
			config_write(host, address >> 8 & 0xffff, (address & 0xfc) + offset - DATA,
				     size, value);
		return;
	}
	/* Only a whole write is one to the address register: single bytes belong to others (0xcf9). */
	if (offset || size != 4)
		return;
	pthread_mutex_lock(&host->lock);
	host->address = value & ADDRESS_MASK;
	pthread_mutex_unlock(&host->lock);
}

/* ---- memory ---- */

static uint64_t mmconfig_read(struct mmio_region *region, uint64_t offset, uint8_t size)
{
	struct pci_host *host = container_of(region, struct pci_host, mmconfig);

	if (size > 4)
		return ~0ULL;
	return config_read(host, (uint32_t)(offset >> 12), offset & 0xfff, size);
}

static void mmconfig_write(struct mmio_region *region, uint64_t offset, uint8_t size,
			   uint64_t value)
{
	struct pci_host *host = container_of(region, struct pci_host, mmconfig);

	if (size <= 4)
		config_write(host, (uint32_t)(offset >> 12), offset & 0xfff, size, (uint32_t)value);
}

/* ---- interrupt lines ---- */

static unsigned int line_of(const struct pci_device *device)
{
	return device->slot % PCI_GSIS;
}

void pci_host_interrupt(struct pci_host *host, const struct pci_device *device, bool level)
{
	struct pci_line *line = &host->lines[line_of(device)];
	uint32_t bit = 1u << device->slot;

	pthread_mutex_lock(&line->lock);
	line->drivers = level ? line->drivers | bit : line->drivers & ~bit;
	irq_set(line->irq, line->drivers);
	pthread_mutex_unlock(&line->lock);
}

/* ---- making it ---- */

static int place_bars(struct pci_host *host, struct pci_device *device)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		uint64_t size = device->bars[i].region.len;
		uint64_t base = align_up(host->next_bar, size ? size : 1);
		unsigned int at = PCI_BASE_ADDRESS_0 + i * 4;

		if (!size)
			continue;
		if (base + size > PCI_WINDOW_END)
			return error_set("%s: no room left for PCI devices' memory; give fewer devices",
					 device->name);
		pci_set32(device, at, (uint32_t)base | pci_get32(device, at));
		host->next_bar = base + size;
		mmio_add(host->mmio, &device->bars[i].region);
	}
	return 0;
}

int pci_add(struct pci_host *host, struct pci_device *device)
{
	unsigned int slot = 0;

	while (slot < PCI_SLOTS && host->slots[slot])
		slot++;
	if (slot == PCI_SLOTS)
		return error_set("%s: the PCI bus has %d devices already; give fewer", device->name,
				 PCI_SLOTS);
	device->host = host;
	device->slot = slot;
	if (place_bars(host, device))
		return -1;
	/* What firmware would note for kernels that know no ACPI. */
	if (device->config[PCI_INTERRUPT_PIN])
		device->config[PCI_INTERRUPT_LINE] = (uint8_t)(PCI_GSI + line_of(device));
	host->slots[slot] = device;
	return 0;
}

void pci_host_init(struct pci_host *host, struct mmio *mmio, struct irq_line irqs[PCI_GSIS])
{
	static const struct pci_ops no_ops;
	static const struct pci_identity bridge = {
		.vendor = 0x1b36, .device = 0x0008,	/* Red Hat's generic host bridge */
		.class = 0x060000,
	};

	memset(host, 0, sizeof(*host));
	host->ports = (struct port_device){ "PCI configuration", PCI_PORT, 8, false, ports_read,
					    ports_write };
	host->mmconfig = (struct mmio_region){ .name = "PCI configuration",
					       .len = PCI_MMCONFIG_SIZE,
					       .read = mmconfig_read,
					       .write = mmconfig_write };
	host->mmio = mmio;
	host->next_bar = PCI_WINDOW;
	pthread_mutex_init(&host->lock, NULL);
	for (unsigned int i = 0; i < PCI_GSIS; i++) {
		host->lines[i].irq = &irqs[i];
		pthread_mutex_init(&host->lines[i].lock, NULL);
	}
	mmio_add(mmio, &host->mmconfig);
	mmio_map(mmio, &host->mmconfig, PCI_MMCONFIG);
	pci_device_init(&host->bridge, "PCI host bridge", &no_ops, &bridge);
	host->bridge.host = host;
	host->slots[0] = &host->bridge;
}
