/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The thin layer over the KVM ABI (kernel documentation, virt/kvm/api.rst):
 * opening the device, seeing that it can do what we need, and a VM with
 * memory, interrupt controllers and PIT in the kernel.
 */
#ifndef KILN_VM_H
#define KILN_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

#include "../uapi/kiln.h"
#include "irq.h"
#include "memory.h"

struct vm {
	const char *device;
	int device_fd, fd;
	size_t run_size;		/* of struct kvm_run's mapping */
	bool tsc_deadline;
	bool kvmclock_ctrl;
	struct kvm_cpuid2 *cpuid;	/* what the device supports */
	struct kiln_version version;	/* of kiln; on stock KVM only the name, "KVM" */
};

/* A capability without which nothing runs. */
struct vm_need {
	int capability;
	const char *name;
	const char *what;
};

/* Ends with a NULL name. */
extern const struct vm_need vm_needs[];

/* Who is behind the device: fills in @version. */
void vm_get_version(int device_fd, struct kiln_version *version);

/* ioctl() that begins again after EINTR. */
int vm_ioctl(int fd, unsigned long request, void *arg);

/* Opens the device and asks what it can do. -1 with a sentence. */
int vm_open(struct vm *vm, const char *device, unsigned int cpus);

/* Creates the VM over @memory. -1 with a sentence. */
int vm_create(struct vm *vm, const struct guest_memory *memory);

void vm_close(struct vm *vm);

/* A line of the VM's interrupt controllers. */
void vm_irq_init(const struct vm *vm, struct irq_line *line, uint32_t gsi);

#endif
