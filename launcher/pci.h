/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI (PCI Local Bus Specification 3.0): one bus, 32 devices of one function.
 *
 * pci_device.c is what every device has: configuration space with its
 * read-only and reserved bits, BARs that appear in the guest's memory where
 * it puts them, an interrupt pin. pci_host.c is the bridge: the two ways to
 * configuration space, and who drives which interrupt line. pci_msix.c is
 * MSI-X.
 *
 * Locks, in this order: a device's own, under which everything of it is called
 * and its configuration space lies; then that of an interrupt line, or of the
 * MMIO bus. The bridge's own, for the address register, is held alone.
 */
#ifndef KILN_PCI_H
#define KILN_PCI_H

#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "irq.h"
#include "memory.h"
#include "mmio.h"
#include "util.h"

/* acpi/dsdt.asl and acpi/mcfg.asl tell guests these numbers and PCI_MMCONFIG (memory.h). */
#define PCI_WINDOW		LOW_RAM_MAX	/* BARs lie from here ... */
#define PCI_WINDOW_END		PCI_MMCONFIG	/* ... to here */
#define PCI_PORT		0xcf8	/* address register, then data */
#define PCI_GSI			16	/* INTA of device N: PCI_GSI + N % PCI_GSIS */
#define PCI_GSIS		8

#define PCI_SLOTS		32
#define PCI_CONFIG_SIZE		256
#define PCI_BARS		6

struct pci_host;
struct pci_device;

struct pci_ops {
	/* An access to a BAR; @size is 1, 2, 4 or 8. */
	uint64_t (*read)(struct pci_device *device, unsigned int bar, uint64_t offset,
			 uint8_t size);
	void (*write)(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size,
		      uint64_t value);
	/* The BAR is at another place, or gone; NULL: no matter. */
	void (*moved)(struct pci_device *device, unsigned int bar);
	/* Some of [at, at + size) of the configuration space is about to be read; NULL: no matter. */
	void (*config_read)(struct pci_device *device, unsigned int at, unsigned int size);
	/* Some of it was written; NULL: no matter. */
	void (*config_written)(struct pci_device *device, unsigned int at, unsigned int size);
};

struct pci_bar {
	struct mmio_region region;	/* len is 0 where there is no such BAR */
	struct pci_device *device;
	unsigned int number;
	bool mapped;			/* [device's lock] */
	uint64_t base;			/* likewise; where, while mapped */
};

struct pci_device {
	const char *name;
	const struct pci_ops *ops;
	struct pci_host *host;		/* set by pci_add() */
	unsigned int slot;		/* likewise */
	pthread_mutex_t lock;
	int unlocked;			/* eventfd of whom pci_try_lock() refused; -1: it is not used */
	bool awaited;			/* atomic; it has to be told */
	/* All below: [lock], but for what is set before the guest runs. */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];	/* which bits a guest may change */
	struct pci_bar bars[PCI_BARS];
	unsigned int capabilities_end;	/* where the next one goes */
	unsigned int last_capability;	/* its address, 0 for none */
	bool interrupt;			/* what the device wants its pin to be */
};

/* An interrupt line, on while one of its devices drives it. */
struct pci_line {
	struct irq_line *irq;
	pthread_mutex_t lock;
	uint32_t drivers;		/* [lock] a bit for each slot */
};

struct pci_host {
	struct port_device ports;
	struct mmio_region mmconfig;
	struct mmio *mmio;
	struct pci_device bridge;
	struct pci_device *slots[PCI_SLOTS];
	struct pci_line lines[PCI_GSIS];
	uint64_t next_bar;		/* where the next one goes that is added */
	pthread_mutex_t lock;
	uint32_t address;		/* [lock] */
};

/* ---- the bridge ---- */

/* @irqs: the lines PCI_GSI and following. Maps the configuration space, adds the bridge as device 0. */
void pci_host_init(struct pci_host *host, struct mmio *mmio, struct irq_line irqs[PCI_GSIS]);

/*
 * Gives @device the next free slot and its BARs places in the window, as
 * firmware does. -1 with a sentence that names the device where all slots are
 * taken, or the window is full.
 */
int pci_add(struct pci_host *host, struct pci_device *device);

/* Sets what @device drives its line to. With the device's lock. */
void pci_host_interrupt(struct pci_host *host, const struct pci_device *device, bool level);

/* ---- a device ---- */

struct pci_identity {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint32_t class;			/* base class, subclass, interface */
	uint8_t revision;
};

void pci_device_init(struct pci_device *device, const char *name, const struct pci_ops *ops,
		     const struct pci_identity *identity);

/*
 * A reset of the guest's holds the lock while it waits for requests, which may
 * be for ever, so who serves others as well takes it only if it is free. If not
 * (false), @unlocked is signalled once it is.
 */
void pci_lock(struct pci_device *device);
bool pci_try_lock(struct pci_device *device);
void pci_unlock(struct pci_device *device);

/* A memory BAR of 64 bits in registers @number and @number + 1; @size is a power of two, 4 KiB or more. */
void pci_add_bar(struct pci_device *device, unsigned int number, uint64_t size);

/* Interrupts by pin INTA. */
void pci_add_pin(struct pci_device *device);

/* Appends a capability of @size bytes, zero and read-only but for its ID. Returns its address. */
unsigned int pci_add_capability(struct pci_device *device, uint8_t id, unsigned int size);

/* Registers, little-endian; with the lock, or before the guest runs. */
void pci_set16(struct pci_device *device, unsigned int at, uint16_t value);
void pci_set32(struct pci_device *device, unsigned int at, uint32_t value);
uint16_t pci_get16(const struct pci_device *device, unsigned int at);
uint32_t pci_get32(const struct pci_device *device, unsigned int at);
void pci_make_writable(struct pci_device *device, unsigned int at, unsigned int size);

/* The pin: what the device wants; goes out unless the guest disabled it. With the lock. */
void pci_set_interrupt(struct pci_device *device, bool level);

/* A guest's access, any @at and @size 1, 2 or 4; takes the lock. Beyond the 256 bytes: ones. */
uint32_t pci_config_read(struct pci_device *device, unsigned int at, uint8_t size);
void pci_config_write(struct pci_device *device, unsigned int at, uint8_t size, uint32_t value);

/* The same with the lock held, for devices that are asked for a BAR through configuration space. */
uint64_t pci_bar_read(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size);
void pci_bar_write(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size,
		   uint64_t value);

/* ---- MSI-X ---- */

#define MSIX_ENTRY		16	/* bytes of the table for each vector */
#define MSIX_VECTORS_MAX	64

struct msix {
	struct pci_device *device;
	unsigned int capability;
	unsigned int count;
	/* [device's lock] */
	uint32_t table[MSIX_VECTORS_MAX][MSIX_ENTRY / 4];
};

struct msix_message {
	uint64_t address;
	uint32_t data;
};

/* Adds the capability, with table and pending bits at these offsets of BAR @bar. */
void msix_init(struct msix *msix, struct pci_device *device, unsigned int count, unsigned int bar,
	       uint32_t table, uint32_t pending);

/* The table as the guest sees it; accesses other than of 4 and 8 aligned bytes have no effect. */
uint64_t msix_table_read(const struct msix *msix, uint64_t offset, uint8_t size);
/* Returns the vector that was changed, @count for none. */
unsigned int msix_table_write(struct msix *msix, uint64_t offset, uint8_t size, uint64_t value);

bool msix_enabled(const struct msix *msix);
bool msix_masked(const struct msix *msix, unsigned int vector);
struct msix_message msix_message(const struct msix *msix, unsigned int vector);

#endif
