/* SPDX-License-Identifier: GPL-2.0-only */
/* A vCPU: its thread, its first state, and what is done with its exits. */
#ifndef KILN_VCPU_H
#define KILN_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "boot.h"
#include "bus.h"
#include "death.h"
#include "ending.h"
#include "memory.h"
#include "mmio.h"
#include "pause.h"
#include "vm.h"

struct vcpu {
	unsigned int id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	const struct bus *bus;
	struct mmio *mmio;
	const struct guest_memory *memory;
	struct ending *ending;
	struct gate *gate;
	bool tells_clock;		/* the device has KVM_KVMCLOCK_CTRL */
	pthread_t thread;
	bool running;			/* the thread was started and not yet joined */
	bool stop;			/* atomic; set by vcpu_stop() */
	bool died;			/* the thread's, read after joining it */
	struct death death;		/* likewise */
};

/* What all vCPUs of a run have in common. */
struct vcpu_config {
	const struct vm *vm;
	const struct guest_memory *memory;
	const struct bus *bus;
	struct mmio *mmio;
	struct ending *ending;
	struct gate *gate;
	const struct boot_state *boot;
	unsigned int cpus;
};

/* Creates vCPU @id; number 0 is set to the boot state, the others wait for INIT. */
int vcpu_create(struct vcpu *vcpu, const struct vcpu_config *config, unsigned int id);

/* The signal that gets a vCPU out of the kernel: blocked but in vCPU threads. */
void vcpu_prepare_signal(void);

int vcpu_start(struct vcpu *vcpu);

/* Asks it to stop; vcpu_join() waits until it has. Both may be called on one never started. */
void vcpu_stop(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);

/* Gets it out of the kernel, to the gate, which is closed. */
void vcpu_kick(struct vcpu *vcpu);

void vcpu_destroy(struct vcpu *vcpu);

/* Sets registers of the first vCPU (vcpu_boot.c). -1 with a sentence. */
int vcpu_set_boot_state(const struct vcpu *vcpu, const struct guest_memory *memory,
			const struct boot_state *boot);

/* MSRs and local APIC as PC firmware leaves them (vcpu_boot.c). -1 with a sentence. */
int vcpu_set_firmware_state(const struct vcpu *vcpu);

#endif
