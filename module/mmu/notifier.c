// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host takes memory back, or asks whether it is used.
 *
 * Between invalidate_range_start and invalidate_range_end the host changes its
 * page table. The start removes what is mapped of the range and notes that the
 * range is in flux; faults there do not map anything until the end. As the fault
 * looks at that note, at the host's page table and installs its entry within one
 * read side of the mmu lock, and the start holds the write side, one of them
 * comes first as a whole: no stale entry can be left, and no sequence count or
 * page reference is needed.
 *
 * change_pte (gone in 6.10) is not provided: its callers are bracketed by an
 * invalidation.
 */
#include <linux/err.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "link.h"
#include "slots.h"

static struct kiln_mmu_link *to_link(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct kiln_mmu_link, notifier);
}

static struct kiln_slot *to_slot(struct interval_tree_node *node)
{
	return container_of(node, struct kiln_slot, hva);
}

/* The guest frames of [@start, @end) that are in @slot. */
static void slot_frames(const struct kiln_slot *slot, unsigned long start,
			unsigned long end, u64 *first, u64 *last)
{
	unsigned long lo = max(start, slot->hva.start);
	unsigned long hi = min(end - 1, slot->hva.last);

	*first = slot->gfn + ((lo - slot->base) >> PAGE_SHIFT);
	*last = slot->gfn + ((hi - slot->base) >> PAGE_SHIFT) + 1;
}

/* Returns false if the batch's budget did not suffice. */
static bool zap_hva(struct kiln_mmu *mmu, unsigned long start,
		    unsigned long end, struct kiln_pt_batch *batch)
{
	struct interval_tree_node *node;
	u64 first, last;

	for (node = interval_tree_iter_first(&mmu->slots.by_hva, start, end - 1);
	     node; node = interval_tree_iter_next(node, start, end - 1)) {
		slot_frames(to_slot(node), start, end, &first, &last);
		if (kiln_pt_zap(&mmu->pt, first, last, batch) < last)
			return false;
	}
	return true;
}

/* Note that a range is in flux; ranges that are so together become one. */
static void link_block(struct kiln_mmu_link *link, unsigned long start,
		       unsigned long end)
{
	lockdep_assert_held_write(&link->lock);
	if (link->invalidations++) {
		start = min(start, link->inval_start);
		end = max(end, link->inval_end);
	}
	link->inval_start = start;
	link->inval_end = end;
}

/*
 * Zap a range of host addresses in rounds, between which the lock is let go:
 * slots may come and go meanwhile, so each round begins anew. What earlier rounds
 * did is quickly skipped.
 */
static void link_zap(struct kiln_mmu_link *link, unsigned long start,
		     unsigned long end, bool block, bool may_sleep)
{
	struct kiln_pt_batch batch;
	bool done;

	kiln_pt_batch_init(&batch);
	do {
		done = true;
		write_lock(&link->lock);
		if (block)
			link_block(link, start, end);
		block = false;
		if (link->mmu) {
			done = zap_hva(link->mmu, start, end, &batch);
			kiln_mmu_flush_batch(link->mmu, &batch);
		}
		write_unlock(&link->lock);
		kiln_pt_batch_free(&batch);
		if (may_sleep)
			cond_resched();
	} while (!done);
}

static int link_invalidate_start(struct mmu_notifier *notifier,
				 const struct mmu_notifier_range *range)
{
	link_zap(to_link(notifier), range->start, range->end, true,
		 mmu_notifier_range_blockable(range));
	return 0;
}

void kiln_link_block(struct kiln_mmu_link *link, unsigned long start,
		     unsigned long end)
{
	link_zap(link, start, end, true, true);
}

void kiln_link_unblock(struct kiln_mmu_link *link)
{
	write_lock(&link->lock);
	/* registration excludes invalidations: each end has had its start */
	if (!WARN_ON_ONCE(!link->invalidations))
		link->invalidations--;
	write_unlock(&link->lock);
}

static void link_invalidate_end(struct mmu_notifier *notifier,
				const struct mmu_notifier_range *range)
{
	kiln_link_unblock(to_link(notifier));
}

/* The address space goes away: block all of it for good. */
static void link_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	link_zap(to_link(notifier), 0, ULONG_MAX, true, true);
}

static bool age_hva(struct kiln_mmu *mmu, unsigned long start,
		    unsigned long end, bool clear)
{
	struct interval_tree_node *node;
	bool young = false;
	u64 first, last;

	for (node = interval_tree_iter_first(&mmu->slots.by_hva, start, end - 1);
	     node; node = interval_tree_iter_next(node, start, end - 1)) {
		slot_frames(to_slot(node), start, end, &first, &last);
		young |= kiln_pt_age(&mmu->pt, first, last, clear);
	}
	return young;
}

/* Called with a page-table lock of the host held. */
static bool link_age(struct kiln_mmu_link *link, unsigned long start,
		     unsigned long end, bool clear)
{
	bool young = false;

	read_lock(&link->lock);
	if (link->mmu)
		young = age_hva(link->mmu, start, end, clear);
	read_unlock(&link->lock);
	return young;
}

/*
 * Without accessed flags, use is noticed by taking the page away: the next
 * access faults.
 */
static int link_young_clear(struct mmu_notifier *notifier,
			    struct mm_struct *mm, unsigned long start,
			    unsigned long end)
{
	struct kiln_mmu_link *link = to_link(notifier);
	bool young = link_age(link, start, end, true);

	if (young && !link->accessed_flags)
		link_zap(link, start, end, false, false);
	return young;
}

/*
 * As above, and a processor that has the accessed flag cached as set must look
 * again (SDM vol. 3 §28.3.5).
 */
static int link_young_clear_flush(struct mmu_notifier *notifier,
				  struct mm_struct *mm, unsigned long start,
				  unsigned long end)
{
	struct kiln_mmu_link *link = to_link(notifier);

	if (!link_young_clear(notifier, mm, start, end))
		return false;
	if (!link->accessed_flags)
		return true;
	write_lock(&link->lock);
	if (link->mmu) {
		link->mmu->flush(link->mmu);
		link->mmu->flushes++;
	}
	write_unlock(&link->lock);
	return true;
}

static int link_young_test(struct mmu_notifier *notifier, struct mm_struct *mm,
			   unsigned long address)
{
	return link_age(to_link(notifier), address, address + PAGE_SIZE, false);
}

static void link_free(struct mmu_notifier *notifier)
{
	kfree(to_link(notifier));
}

static const struct mmu_notifier_ops link_ops = {
	.release = link_release,
	.invalidate_range_start = link_invalidate_start,
	.invalidate_range_end = link_invalidate_end,
	.clear_flush_young = link_young_clear_flush,
	.clear_young = link_young_clear,
	.test_young = link_young_test,
	.free_notifier = link_free,
};

struct kiln_mmu_link *kiln_link_create(struct kiln_mmu *mmu)
{
	struct kiln_mmu_link *link = kzalloc(sizeof(*link), GFP_KERNEL_ACCOUNT);
	int r;

	if (!link)
		return ERR_PTR(-ENOMEM);
	rwlock_init(&link->lock);
	link->mmu = mmu;
	link->accessed_flags = mmu->pt.fmt->accessed;
	link->notifier.ops = &link_ops;
	r = mmu_notifier_register(&link->notifier, mmu->mm);
	if (r) {
		kfree(link);
		return ERR_PTR(r);
	}
	return link;
}

void kiln_link_put(struct kiln_mmu_link *link)
{
	mmu_notifier_put(&link->notifier);
}
