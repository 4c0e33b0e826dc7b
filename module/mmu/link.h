/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of a struct kiln_mmu that the MMU notifier needs, and what the
 * room's own files share.
 */
#ifndef KILN_MMU_LINK_H
#define KILN_MMU_LINK_H

#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>

#include "mmu.h"
#include "pgtable.h"

/**
 * struct kiln_mmu_link - ties a struct kiln_mmu to the mm it takes memory from
 * @lock: the mmu lock
 * @mmu: [l] the other end; NULL once that is destroyed
 * @invalidations: [l] in progress, between start and end
 * @inval_start: [l] host addresses they cover together, while there are any
 * @inval_end: [l] see @inval_start
 * @accessed_flags: [c] the entry format has them
 * @notifier: [c] registered with the mm
 *
 * Initialised by kiln_link_create(). Callbacks of the notifier may run until an
 * SRCU grace period after mmu_notifier_put(). So that nobody has to wait for
 * that, what they touch before they have seen that @mmu is NULL is in a piece of
 * memory of its own, freed by the notifier (free_notifier).
 */
struct kiln_mmu_link {
	rwlock_t lock;
	struct kiln_mmu *mmu;
	unsigned int invalidations;
	unsigned long inval_start;
	unsigned long inval_end;
	bool accessed_flags;
	struct mmu_notifier notifier;
};

/**
 * kiln_link_create() - begin to follow the host's page tables
 * @mmu: has no slots yet
 *
 * Return: the link or an ERR_PTR: -ENOMEM, -EINTR.
 */
struct kiln_mmu_link *kiln_link_create(struct kiln_mmu *mmu);

/**
 * kiln_link_put() - follow them no more
 * @link: its mmu has no leaves any more; not to be touched again
 */
void kiln_link_put(struct kiln_mmu_link *link);

/**
 * kiln_link_block() - take a range from the guest, as an invalidation does
 * @link: of a struct kiln_mmu that is not destroyed meanwhile
 * @start: host address, of a page
 * @end: one past the last
 *
 * Upon return no processor uses the range for the guest, and faults there are
 * tried again and again until kiln_link_unblock().
 *
 * Context: process, the mmu lock not held; may sleep.
 */
void kiln_link_block(struct kiln_mmu_link *link, unsigned long start,
		     unsigned long end);
void kiln_link_unblock(struct kiln_mmu_link *link);

/* Is an invalidation of [@start, @end) in progress? */
static inline bool kiln_link_invalidating(const struct kiln_mmu_link *link,
					  unsigned long start,
					  unsigned long end)
{
	return unlikely(link->invalidations) &&
	       start < link->inval_end && link->inval_start < end;
}

/**
 * kiln_mmu_flush_batch() - make what was zapped gone for the processors, too
 * @mmu: the VM's
 * @batch: of exclusive operations; its tables may be freed upon return
 *
 * Before the lock is let go: who takes it next and finds an entry empty must be
 * able to conclude that no processor uses it.
 *
 * Context: the mmu lock held for writing.
 */
void kiln_mmu_flush_batch(struct kiln_mmu *mmu, struct kiln_pt_batch *batch);

/**
 * kiln_mmu_zap() - remove all that is mapped in a range of guest frames
 * @mmu: the VM's
 * @start: first guest frame
 * @end: one past the last
 *
 * Lets the lock go from time to time. Whatever made the range invalid has been
 * published before, or it will be filled again.
 *
 * Context: process, the mmu lock not held; may sleep.
 */
void kiln_mmu_zap(struct kiln_mmu *mmu, u64 start, u64 end);

/**
 * kiln_mmu_make_way() - remove what prevents a 4K leaf, or other bits of one
 * @mmu: the VM's
 * @cache: pages for tables
 * @gfn: guest frame
 *
 * A large leaf is split if it is a logged slot's, so that its other pages stay
 * mapped: there each page is written for a first time. Otherwise, or if nothing can
 * be split, it goes.
 *
 * Context: process, the mmu lock not held; may sleep.
 */
void kiln_mmu_make_way(struct kiln_mmu *mmu, struct kiln_pt_cache *cache,
		       u64 gfn);

/**
 * kiln_mmu_watch() - take the permission to write from a logged slot's pages
 * @mmu: the VM's
 * @start: first guest frame
 * @end: one past the last
 *
 * Upon return no processor writes there without a fault.
 *
 * Context: process, the mmu lock not held; may sleep.
 */
void kiln_mmu_watch(struct kiln_mmu *mmu, u64 start, u64 end);

#endif /* KILN_MMU_LINK_H */
