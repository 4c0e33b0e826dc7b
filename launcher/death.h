/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Why a guest died, for the reader of stderr: a sentence, the exit, the
 * registers and the bytes at RIP. On kiln the module keeps the record
 * (KILN_GET_DEATH); on stock KVM it is put together from what the run
 * structure and the registers tell.
 */
#ifndef KILN_DEATH_H
#define KILN_DEATH_H

#include <stdio.h>

#include "../uapi/kiln.h"
#include "memory.h"

struct death {
	unsigned int vcpu;
	int from_kiln;		/* the exit fields are the hardware's */
	uint32_t vendor;	/* then: KILN_VENDOR_*, whose */
	struct kiln_death record;
};

struct vcpu;

/* After KVM_RUN ended in a way that cannot go on; @err is its errno, 0 for an exit. */
void death_collect(struct death *death, const struct vcpu *vcpu, int err);

void death_print(const struct death *death, FILE *out);

/* The sentence for stock KVM, from its run structure (for tests on their own). */
void death_describe(struct kiln_death *record, const struct kvm_run *run, int err);

/*
 * The guest's bytes at linear @address, as its page tables map it: at most
 * @size, stops at what is not RAM. Returns the count.
 */
unsigned int death_read_code(const struct guest_memory *memory, const struct kvm_sregs *sregs,
			     uint64_t address, uint8_t *bytes, unsigned int size);

#endif
