// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty logs: which pages of a slot were written since somebody asked last.
 *
 * A logged slot has a bit per page. Who writes sets it: a guest in the fault it
 * takes for the page's first write (fault.c), since pages whose bit is clear are
 * mapped without that permission and large pages not at all; the module after
 * each write of its own (guest_mem.c), back ends of devices when a request is
 * over (kiln_mmu_wrote()). That is the same on all processors: Intel's page
 * modification logging, which spares a fault per page, is not used.
 *
 * Who asks takes bits away first and permissions after that, under the write side
 * of the mmu lock, and gives the log out once the processors have been flushed.
 * A write comes either before the flush, then the page can be read with it by
 * whoever has the log, or faults and sets the bit once more. In between there may
 * be a page that is writable without a bit; but that page is in the log which is
 * about to be given out.
 *
 * A leaf is writable only where the bits of all its pages are set, or have been
 * taken by somebody who has not got as far as the permission. So where bits are set
 * from the start (KVM_DIRTY_LOG_INITIALLY_SET) large pages stay as they are until
 * part of their bits is cleared.
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "link.h"
#include "slots.h"

/*
 * Pages dealt with in one go: a page of memory for their bits, and no more than
 * the mmu lock should be held for.
 */
#define CHUNK		KILN_PT_BUDGET
#define CHUNK_WORDS	(CHUNK / BITS_PER_LONG)

/* ------------------------------------------------------------- permissions */

/**
 * struct watch - frames whose writes are to be seen from now on
 * @start: first guest frame
 * @bits: which of those that follow; NULL: all
 * @nr: how many follow
 * @at: how far it is
 * @cache: pages for tables, at first none: mostly no leaf has to be split
 * @zap: there are no pages to be had: what would have to be split goes
 */
struct watch {
	u64 start;
	const unsigned long *bits;
	unsigned int nr;
	unsigned int at;
	struct kiln_pt_cache cache;
	bool zap;
};

/* The next frames that follow each other: their end. */
static unsigned int next_run(struct watch *w)
{
	if (!w->bits)
		return w->nr;
	w->at = find_next_bit(w->bits, w->nr, w->at);
	return find_next_zero_bit(w->bits, w->nr, w->at);
}

/* Stops where it needs pages for tables. */
static void watch_runs(struct kiln_mmu *mmu, struct watch *w,
		       struct kiln_pt_batch *batch)
{
	unsigned int end;

	lockdep_assert_held_write(&mmu->link->lock);
	for (end = next_run(w); w->at < w->nr; end = next_run(w)) {
		if (w->zap)
			kiln_pt_zap(&mmu->pt, w->start + w->at, w->start + end,
				    batch);
		else if (kiln_pt_protect(&mmu->pt, &w->cache, w->start + w->at,
					 w->start + end, batch))
			return;
		w->at = end;
	}
}

/* @w->nr is at most CHUNK, which a batch's budget suffices for. */
static void watch(struct kiln_mmu *mmu, struct watch *w)
{
	struct kiln_pt_batch batch;

	kiln_pt_batch_init(&batch);
	for (;;) {
		write_lock(&mmu->link->lock);
		watch_runs(mmu, w, &batch);
		kiln_mmu_flush_batch(mmu, &batch);
		write_unlock(&mmu->link->lock);
		kiln_pt_batch_free(&batch);
		if (w->at >= w->nr)
			break;
		w->zap = kiln_pt_cache_fill(&w->cache, KILN_PT_CACHE_PAGES);
	}
	kiln_pt_cache_drain(&w->cache);
}

void kiln_mmu_watch(struct kiln_mmu *mmu, u64 start, u64 end)
{
	for (; start < end; start += CHUNK) {
		struct watch w = {
			.start = start,
			.nr = min_t(u64, end - start, CHUNK),
		};

		watch(mmu, &w);
		cond_resched();
	}
}

void kiln_mmu_make_way(struct kiln_mmu *mmu, struct kiln_pt_cache *cache,
		       u64 gfn)
{
	bool room = !kiln_pt_cache_fill(cache, KILN_PT_CACHE_PAGES);
	const struct kiln_slot *slot;
	struct kiln_pt_batch batch;

	kiln_pt_batch_init(&batch);
	write_lock(&mmu->link->lock);
	slot = kiln_slots_find(&mmu->slots, gfn);
	if (!room || !slot || !slot->dirty ||
	    !kiln_pt_split(&mmu->pt, cache, gfn, &batch))
		kiln_pt_zap(&mmu->pt, gfn, gfn + 1, &batch);
	kiln_mmu_flush_batch(mmu, &batch);
	write_unlock(&mmu->link->lock);
	kiln_pt_batch_free(&batch);
}

/* -------------------------------------------------------------------- bits */

void kiln_mmu_log_write(struct kiln_mmu *mmu, unsigned long hva, u64 len)
{
	struct interval_tree_node *node;
	unsigned long last = hva + len - 1;

	if (!len)
		return;
	read_lock(&mmu->link->lock);
	for (node = interval_tree_iter_first(&mmu->slots.by_hva, hva, last);
	     node; node = interval_tree_iter_next(node, hva, last)) {
		const struct kiln_slot *slot;
		unsigned long from, to;

		slot = container_of(node, struct kiln_slot, hva);
		from = max(hva, node->start) - slot->base;
		to = min(last, node->last) - slot->base;
		kiln_slot_wrote(slot, (slot->gfn << PAGE_SHIFT) + from,
				to - from + 1);
	}
	read_unlock(&mmu->link->lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_log_write);

/* The slot of that number if it has a log, or an ERR_PTR; then unlocked. */
static struct kiln_slot *lock_log(struct kiln_mmu *mmu, u32 id)
{
	struct kiln_slot *slot;

	if (id >= KILN_NR_SLOTS)
		return ERR_PTR(-EINVAL);
	if (down_read_killable(&mmu->slots_lock))
		return ERR_PTR(-EINTR);
	slot = xa_load(&mmu->slots.by_id, id);
	if (slot && slot->dirty)
		return slot;
	up_read(&mmu->slots_lock);
	return ERR_PTR(-ENOENT);
}

int kiln_mmu_set_manual(struct kiln_mmu *mmu, u64 manual)
{
	if (manual & ~KILN_DIRTY_LOG_FLAGS ||
	    manual == KVM_DIRTY_LOG_INITIALLY_SET)
		return -EINVAL;
	if (down_write_killable(&mmu->slots_lock))
		return -EINTR;
	mmu->slots.manual = manual;
	up_write(&mmu->slots_lock);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_set_manual);

static void take_bits(struct kiln_slot *slot, u64 first, unsigned long *bits,
		      unsigned int words)
{
	unsigned long *log = slot->dirty + first / BITS_PER_LONG;
	unsigned int i;

	for (i = 0; i < words; i++)
		bits[i] = READ_ONCE(log[i]) ? xchg(&log[i], 0) : 0;
}

/* Pages whose bits nobody has seen; they are watched already, which is no harm. */
static void put_back(struct kiln_slot *slot, u64 first,
		     const unsigned long *bits, unsigned int words)
{
	unsigned long *log = slot->dirty + first / BITS_PER_LONG;
	unsigned int i;

	for (i = 0; i < words; i++)
		if (bits[i])
			atomic_long_or(bits[i], (atomic_long_t *)&log[i]);
}

static void watch_bits(struct kiln_mmu *mmu, const struct kiln_slot *slot,
		       u64 first, const unsigned long *bits, unsigned int nr)
{
	struct watch w = {
		.start = slot->gfn + first,
		.bits = bits,
		.nr = nr,
	};

	if (!bitmap_empty(bits, nr))
		watch(mmu, &w);
}

/* @nr pages from @first on, a chunk at most. */
static int get_chunk(struct kiln_mmu *mmu, struct kiln_slot *slot, u64 first,
		     unsigned int nr, unsigned long *bits, void __user *to)
{
	unsigned int words = BITS_TO_LONGS(nr);
	size_t size = words * sizeof(*bits);

	to += first / BITS_PER_BYTE;
	/* clearing is up to the caller, who will be told of each write till then */
	if (mmu->slots.manual)
		return copy_to_user(to, slot->dirty + first / BITS_PER_LONG,
				    size) ? -EFAULT : 0;
	take_bits(slot, first, bits, words);
	watch_bits(mmu, slot, first, bits, nr);
	if (!copy_to_user(to, bits, size))
		return 0;
	put_back(slot, first, bits, words);
	return -EFAULT;
}

int kiln_mmu_get_dirty(struct kiln_mmu *mmu, u32 id, void __user *to)
{
	struct kiln_slot *slot;
	unsigned long *bits;
	u64 first;
	int r = 0;

	slot = lock_log(mmu, id);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	bits = kmalloc_array(CHUNK_WORDS, sizeof(*bits), GFP_KERNEL_ACCOUNT);
	if (!bits)
		r = -ENOMEM;
	for (first = 0; first < slot->npages && !r; first += CHUNK) {
		r = get_chunk(mmu, slot, first,
			      min_t(u64, slot->npages - first, CHUNK), bits,
			      to);
		cond_resched();
		if (fatal_signal_pending(current))
			r = r ?: -EINTR;
	}
	up_read(&mmu->slots_lock);
	kfree(bits);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_get_dirty);

static bool valid_range(const struct kiln_slot *slot, u64 first, u64 nr)
{
	return first <= slot->npages && nr <= slot->npages - first &&
	       (IS_ALIGNED(nr, BITS_PER_LONG) || first + nr == slot->npages);
}

/* Of those in @bits, clear what is set, and leave there what was. */
static void clear_chunk(struct kiln_mmu *mmu, struct kiln_slot *slot,
			u64 first, unsigned int nr, unsigned long *bits)
{
	unsigned long *log = slot->dirty + first / BITS_PER_LONG;
	unsigned int i;

	for (i = 0; i < BITS_TO_LONGS(nr); i++)
		if (bits[i])
			bits[i] &= atomic_long_fetch_andnot(bits[i],
						(atomic_long_t *)&log[i]);
	watch_bits(mmu, slot, first, bits, nr);
}

static int clear_pages(struct kiln_mmu *mmu, struct kiln_slot *slot, u64 first,
		       u64 nr, const void __user *from)
{
	size_t size = BITS_TO_LONGS(nr) * sizeof(long);
	unsigned long *bits;
	u64 done;

	if (!valid_range(slot, first, nr))
		return -EINVAL;
	if (!nr)
		return 0;
	bits = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!bits)
		return -ENOMEM;
	if (copy_from_user(bits, from, size)) {
		kvfree(bits);
		return -EFAULT;
	}
	for (done = 0; done < nr; done += CHUNK) {
		clear_chunk(mmu, slot, first + done,
			    min_t(u64, nr - done, CHUNK),
			    bits + done / BITS_PER_LONG);
		cond_resched();
	}
	kvfree(bits);
	return 0;
}

int kiln_mmu_clear_dirty(struct kiln_mmu *mmu, u32 id, u64 first, u64 nr,
			 const void __user *from)
{
	struct kiln_slot *slot;
	int r;

	if (!IS_ALIGNED(first, BITS_PER_LONG))
		return -EINVAL;
	slot = lock_log(mmu, id);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	r = clear_pages(mmu, slot, first, nr, from);
	up_read(&mmu->slots_lock);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_clear_dirty);
