/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One slot as others may remember it. A header of its own, because the vring
 * engine needs it where nothing else of this room exists: in user space.
 */
#ifndef KILN_MMU_SPAN_H
#define KILN_MMU_SPAN_H

#include <linux/types.h>

struct kiln_mmu;

/**
 * struct kiln_mmu_span - guest memory that lies in one slot
 * @generation: of the slots when this was found; 0: never
 * @gpa: guest-physical address it begins at
 * @len: bytes
 * @hva: where user space has @gpa
 * @writable: the guest may write there
 *
 * Zeroed memory is an initialised struct: it has no address.
 */
struct kiln_mmu_span {
	unsigned long generation;
	u64 gpa;
	u64 len;
	unsigned long hva;
	bool writable;
};

/**
 * kiln_mmu_find_span() - the slot a guest address lies in
 * @mmu: the VM's
 * @gpa: guest-physical address; any value
 * @span: filled in
 *
 * As with kiln_mmu_gpa_to_hva() the answer is a hint, unless the caller holds
 * slots_lock. It stands while kiln_mmu_generation() is @span->generation.
 *
 * Return: true; false: no slot has @gpa, @span is empty.
 * Context: any.
 */
bool kiln_mmu_find_span(struct kiln_mmu *mmu, u64 gpa,
			struct kiln_mmu_span *span);

#endif /* KILN_MMU_SPAN_H */
