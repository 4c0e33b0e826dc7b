/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of guest memory: what its page tables have at an address.
 */
#ifndef KILN_MMU_HOST_H
#define KILN_MMU_HOST_H

#include <linux/mm_types.h>

#include "mmu.h"

/**
 * struct kiln_host_page - what the host's page table says of an address
 * @pfn: of the 4K page at the address
 * @level: of the host's leaf, KILN_PT_*
 * @writable: user space may write without a fault
 * @tracked: has a struct page whose accessed and dirty state matters
 * @memtype: how it may be cached
 */
struct kiln_host_page {
	u64 pfn;
	int level;
	bool writable;
	bool tracked;
	enum kiln_memtype memtype;
};

/**
 * kiln_host_lookup() - look into the host's page table
 * @mm: whose; mm_users is held (by being current->mm, for one)
 * @hva: a user-space address
 * @page: filled in
 *
 * No reference is taken. The answer holds as long as the caller holds the mmu
 * lock and has seen that no invalidation covers the address: every change of the
 * host's entry to another page or to less permission starts with one.
 *
 * Return: whether user space may read there without a fault.
 */
bool kiln_host_lookup(struct mm_struct *mm, unsigned long hva,
		      struct kiln_host_page *page);

/**
 * kiln_host_fault_in() - have the host make a page as if user space touched it
 * @mm: current->mm
 * @hva: a user-space address
 * @write: touched for writing
 *
 * Return: 0 (it may be gone again); -EFAULT: there is none, or not for
 * writing; -EHWPOISON: it is poisoned, SIGBUS has been sent; -EINTR: fatal
 * signal; -ENOMEM.
 * Context: process; takes mmap_lock for reading.
 */
int kiln_host_fault_in(struct mm_struct *mm, unsigned long hva, bool write);

/**
 * kiln_host_page_gone() - hand a leaf's flags on to the host's page
 * @pfn: first page of the leaf
 * @level: of the leaf
 * @accessed: the guest has used it
 * @dirty: the guest has written it
 *
 * Context: the mmu lock held for writing. The leaf was in the tree until now,
 * so the host still has the page mapped: it cannot have been freed or truncated.
 */
void kiln_host_page_gone(u64 pfn, int level, bool accessed, bool dirty);

#endif /* KILN_MMU_HOST_H */
