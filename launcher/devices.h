/* SPDX-License-Identifier: GPL-2.0-only */
/* The virtio devices that the command line asks for. */
#ifndef KILN_DEVICES_H
#define KILN_DEVICES_H

#include "console.h"
#include "disk.h"
#include "loop.h"
#include "memory.h"
#include "net.h"
#include "pci.h"
#include "vconsole.h"
#include "virtio.h"
#include "vm.h"

enum choice { CHOICE_DEFAULT, CHOICE_ON, CHOICE_OFF };

struct devices_config {
	struct disk_config disks[DISKS_MAX];
	unsigned int nr_disks;
	struct net_config nets[NETS_MAX];
	unsigned int nr_nets;
	bool console;		/* a virtio console */
	bool balloon;
	enum choice rng;	/* default: where the kernel has one */
};

struct devices {
	const struct devices_config *config;
	struct disk disks[DISKS_MAX];
	struct net_tap taps[NETS_MAX];
	struct virtio *list[PCI_SLOTS];
	unsigned int count;
	struct vconsole vconsole;
	struct virtio *console;		/* in @list; NULL for none */
};

void devices_init(struct devices *devices, const struct devices_config *config);

/*
 * What can be refused without a VM: opens the disks and the taps. @name is the
 * guest's. -1 with a sentence.
 */
int devices_open(struct devices *devices, const char *name);

/* Makes them in @vm and puts them on the bus. -1 with a sentence. */
int devices_create(struct devices *devices, const struct vm *vm, struct pci_host *host,
		   const struct guest_memory *memory, struct loop *loop, struct console *console);

/* The window of the virtio console's peer has another size: @devices is the struct devices. */
void devices_resized(void *devices);

/* No vCPU runs any more; the console is still open. */
void devices_close(struct devices *devices);

#endif
