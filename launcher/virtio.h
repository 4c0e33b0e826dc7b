/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio device (OASIS virtio 1.2): the launcher is its transport, virtio-pci
 * without the legacy interface (§4.1), and the kernel serves its queues
 * (uapi/kiln.h, "Virtio devices"). What a guest writes to the registers becomes
 * calls on the device's descriptor; data never passes through here, nor, once
 * a queue works, kicks and messages.
 *
 *   virtio.c		a device's life, its back end's events, its end by a rule broken
 *   virtio_pci.c	the PCI function: capabilities, the BAR, interrupts
 *   virtio_common.c	the common configuration registers (§4.1.4.3) and the status
 *   virtio_queue.c	a queue: its rings' addresses checked, its doorbell
 *
 * The lock of all of it is the PCI device's. Calls are made with it held, so
 * a reset waits for requests in flight with it held, and only this device's
 * registers wait with it: the loop does not, its events come again.
 */
#ifndef KILN_VIRTIO_H
#define KILN_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "../uapi/kiln.h"
#include "loop.h"
#include "memory.h"
#include "pci.h"

#define VIRTIO_QUEUES_MAX	(MSIX_VECTORS_MAX - 1)	/* each its vector, and one for the configuration */
#define VIRTIO_NO_VECTOR	0xffff
#define VIRTIO_CONFIG_MAX	256			/* bytes of a device's configuration */

/* Of the ISR status (§4.1.4.5). */
#define VIRTIO_ISR_QUEUE	1
#define VIRTIO_ISR_CONFIG	2

enum { VIRTIO_DESC, VIRTIO_DRIVER, VIRTIO_DEVICE, VIRTIO_AREAS };

/* Which message the kernel sends. */
struct virtio_message {
	uint16_t vector;		/* [lock] */
	struct kiln_virtio_msi told;	/* [lock] what the kernel knows of it */
};

struct virtio_queue {
	int kick;			/* eventfd for kicks that come here all the same */
	/* All below: [lock], reset with the device. */
	struct virtio_message message;
	uint16_t size;
	bool enabled;
	uint64_t areas[VIRTIO_AREAS];	/* guest addresses */
	bool doorbell;			/* the kernel has one at @doorbell_at */
	uint64_t doorbell_at;
};

/*
 * Where a queue that stands still is: which entry the device takes next, and
 * which it uses next. Equal where no request is with the device. Of a packed
 * ring with the wrap counter as bit 15.
 */
struct virtio_position {
	uint16_t size;			/* 0: it is not at work, or does not say */
	uint16_t avail, used;
};

struct virtio {
	struct pci_device pci;
	struct msix msix;
	const struct guest_memory *memory;
	char name[256];
	int fd, vm_fd;
	/* ioctl() but for tests; restarted after EINTR. */
	int (*call)(int fd, unsigned long request, void *arg);
	/* A kick came here, on the device's descriptor: what the guest did wrong. NULL: all queues are the kernel's. */
	const char *(*kicked)(int fd, unsigned int index);
	/* Events of the kernel, eventfds: a used buffer, a changed configuration, a broken queue. */
	struct loop_source used, changed, broke;
	struct loop_source unlocked;	/* or the lock is free again that kept from looking at them */
	unsigned int waiting;		/* which of them did; the loop's alone */
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
	unsigned int nr_queues;
	uint16_t queue_max;		/* entries of a queue */
	uint32_t config_size;
	uint64_t features;		/* offered */
	unsigned int cfg_access;	/* address of the PCI_CFG capability */
	/* All below: [lock], reset with the device but for the last three. */
	uint8_t status;
	bool broken;			/* by what the transport saw */
	bool reported;			/* what the kernel saw is on stderr */
	uint64_t driver_features;
	uint32_t device_select, driver_select;
	uint16_t queue_select;
	struct virtio_message message;	/* of the configuration */
	uint8_t isr;
	uint8_t generation;
	uint8_t config[VIRTIO_CONFIG_MAX];	/* as it was at @generation */
	unsigned int reports_left;	/* lines on stderr, so that no guest floods it */
};

/* ---- virtio.c ---- */

/* As if nothing were open. */
void virtio_init(struct virtio *virtio, const char *name);

/*
 * Makes a device of @type (VIRTIO_ID_*) in the kernel, owned by us, without a
 * back end. 0; -1 with errno set and no sentence, for the caller knows the option.
 */
int virtio_create(struct virtio *virtio, int vm_fd, uint32_t type, unsigned int nr_queues);

/*
 * After the back end was set: asks for its features and makes the PCI function
 * of @type. -1 with a sentence.
 */
int virtio_attach(struct virtio *virtio, struct pci_host *host, const struct guest_memory *memory,
		  struct loop *loop, uint32_t type);

/* No vCPU runs any more. */
void virtio_close(struct virtio *virtio);

/*
 * The guest broke a rule where the transport sees it: the device needs a reset,
 * the guest is told, and so is who reads stderr. With the lock.
 */
void virtio_break(struct virtio *virtio, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The configuration is not as it was: counts its generation up. With the lock. */
void virtio_refresh_config(struct virtio *virtio);

/* ---- virtio_pci.c ---- */

void virtio_pci_init(struct virtio *virtio, uint32_t type);

/* Interrupts the guest by its pin, unless it took MSI-X: @isr is VIRTIO_ISR_*. With the lock. */
void virtio_pci_raise(struct virtio *virtio, uint8_t isr);

/* Takes all of the interrupt back. With the lock. */
void virtio_pci_lower(struct virtio *virtio);

/* Tells the kernel the message of queue @index, or KILN_VIRTIO_CONFIG_INDEX. With the lock. */
void virtio_pci_tell(struct virtio *virtio, uint32_t index);

/* Where a write kicks queue @index, 0 while the BAR is nowhere. */
uint64_t virtio_pci_doorbell(const struct virtio *virtio, unsigned int index);

/* ---- virtio_common.c ---- */

uint64_t virtio_common_read(struct virtio *virtio, uint64_t offset, uint8_t size);
void virtio_common_write(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value);

/* Everything as at power-on, here and in the kernel. */
void virtio_reset(struct virtio *virtio);

/* ---- virtio_queue.c ---- */

/* Registers as at power-on; the kernel is told nothing. */
void virtio_queue_init(struct virtio *virtio, unsigned int index);

void virtio_queue_enable(struct virtio *virtio, unsigned int index);

/* Waits for requests in flight. */
void virtio_queue_reset(struct virtio *virtio, unsigned int index);

/* Of a device that is suspended; the rings in the guest's memory say it for split ones. With the lock. */
struct virtio_position virtio_queue_position(const struct virtio *virtio, unsigned int index);

/* Makes the kernel's doorbell be where the BAR is. */
void virtio_queue_move(struct virtio *virtio, unsigned int index);

/* A kick that came here. */
void virtio_queue_kick(struct virtio *virtio, unsigned int index);

#endif
