/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The radix-table engine: one tree of second-stage page tables in a given
 * format. It knows frame numbers and entries, nothing of slots, of the host's
 * page tables or of processors.
 *
 * The caller provides the lock, a reader/writer lock. "Shared" functions may
 * run in parallel under its read side; they only add entries or permissions,
 * with cmpxchg, and never free a table. "Exclusive" ones need the write side;
 * they gather in a struct kiln_pt_batch what must not be freed before the
 * processors have been flushed.
 */
#ifndef KILN_MMU_PGTABLE_H
#define KILN_MMU_PGTABLE_H

#include <linux/list.h>
#include <linux/mm.h>

#include "mmu.h"

#define KILN_PT_ENTRIES		512

/* Pages of 4K under one entry of a level. */
static inline u64 kiln_pt_span(int level)
{
	return 1ULL << (9 * (level - 1));
}

/* One past the last frame number a tree can translate. */
static inline u64 kiln_pt_end(const struct kiln_pt_format *fmt)
{
	return 1ULL << (9 * fmt->max_level);
}

static inline bool kiln_pt_present(const struct kiln_pt_format *fmt, u64 entry)
{
	return (entry & fmt->present_mask) == fmt->present_value;
}

static inline bool kiln_pt_is_mmio(const struct kiln_pt_format *fmt, u64 entry)
{
	return (entry & fmt->mmio_mask) == fmt->mmio_value;
}

static inline bool kiln_pt_is_table(const struct kiln_pt_format *fmt, u64 entry,
				    int level)
{
	return level > 1 && kiln_pt_present(fmt, entry) &&
	       !(entry & fmt->large);
}

static inline u64 kiln_pt_pfn(const struct kiln_pt_format *fmt, u64 entry)
{
	return (entry & fmt->addr) >> PAGE_SHIFT;
}

/**
 * struct kiln_pt_batch - what exclusive operations did since the last flush
 * @tables: tables taken out of the tree
 * @zapped: leaves removed
 * @budget: entries that may still be removed before the lock should be let go
 * @flush: processors may hold translations that are no longer in the tree
 */
struct kiln_pt_batch {
	struct list_head tables;
	u64 zapped;
	long budget;
	bool flush;
};

/* A millisecond or so of work. */
#define KILN_PT_BUDGET		32768

static inline void kiln_pt_batch_init(struct kiln_pt_batch *batch)
{
	INIT_LIST_HEAD(&batch->tables);
	batch->zapped = 0;
	batch->budget = KILN_PT_BUDGET;
	batch->flush = false;
}

/**
 * kiln_pt_batch_free() - free the tables of a batch
 * @batch: initialised again upon return
 *
 * The processors have been flushed if @batch->flush was set.
 */
void kiln_pt_batch_free(struct kiln_pt_batch *batch);

/**
 * kiln_pt_init() - make an empty tree
 * @pt: to be initialised
 * @fmt: format of its entries
 * @gone: see struct kiln_pt
 *
 * Return: 0 or -ENOMEM.
 * Context: may sleep.
 */
int kiln_pt_init(struct kiln_pt *pt, const struct kiln_pt_format *fmt,
		 void (*gone)(u64 pfn, int level, bool accessed, bool dirty));

/**
 * kiln_pt_destroy() - free a tree that no processor uses
 * @pt: holds no leaves any more
 */
void kiln_pt_destroy(struct kiln_pt *pt);

/**
 * kiln_pt_cache_fill() - have pages ready
 * @cache: the cache
 * @nr: to be there upon success, at most KILN_PT_CACHE_PAGES
 *
 * Return: 0 or -ENOMEM.
 * Context: may sleep.
 */
int kiln_pt_cache_fill(struct kiln_pt_cache *cache, unsigned int nr);

/**
 * kiln_pt_cache_drain() - give the pages back
 * @cache: empty upon return
 */
void kiln_pt_cache_drain(struct kiln_pt_cache *cache);

/**
 * kiln_pt_map() - shared: add a leaf, or permissions to the one that is there
 * @pt: the tree
 * @cache: holds at least @pt->fmt->max_level - 1 pages
 * @gfn: guest frame
 * @pfn: host frame behind exactly @gfn; congruent to it on @level
 * @level: on which the leaf should stand, one of @pt->fmt->leaf_levels. It
 *	stands lower if a table is in its place.
 * @bits: of the entry, but for the address and the large-page bit
 *
 * Return: level on which an entry changed; 0: @gfn was mapped so already;
 * -EEXIST: what is there must be zapped first; -ENOMEM: @cache is too small.
 */
int kiln_pt_map(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		u64 pfn, int level, u64 bits);

/**
 * kiln_pt_mark_mmio() - shared: mark device addresses
 * @pt: the tree
 * @cache: holds at least @pt->fmt->max_level - 1 pages
 * @gfn: guest frame
 * @level: on which the marker should stand, 1 to @pt->fmt->max_level; lower if
 *	a table is in its place
 *
 * A leaf in its place is left alone.
 *
 * Return: whether a marker was added.
 */
bool kiln_pt_mark_mmio(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		       int level);

/**
 * kiln_pt_walk() - shared: find the entry that decides about a frame
 * @pt: the tree
 * @gfn: guest frame
 * @level: set: the level it stands on
 *
 * Return: a leaf, a marker, or 0.
 */
u64 kiln_pt_walk(const struct kiln_pt *pt, u64 gfn, int *level);

/**
 * kiln_pt_age() - shared: has the guest used it?
 * @pt: the tree
 * @start: first guest frame
 * @end: one past the last
 * @clear: ask for later use; processors may hold the old state until flushed
 *
 * Without accessed flags every present leaf counts as used, and @clear does
 * nothing.
 *
 * Return: whether any leaf in the range has been accessed.
 */
bool kiln_pt_age(struct kiln_pt *pt, u64 start, u64 end, bool clear);

/**
 * kiln_pt_zap() - exclusive: remove leaves, markers and tables
 * @pt: the tree
 * @start: first guest frame
 * @end: one past the last; may be beyond the tree
 * @batch: adds up what was done
 *
 * Entries that reach beyond the range go as a whole.
 *
 * Return: @end, or where it stopped because @batch->budget was used up.
 */
u64 kiln_pt_zap(struct kiln_pt *pt, u64 start, u64 end,
		struct kiln_pt_batch *batch);

/**
 * kiln_pt_protect() - exclusive: take away the permission to write
 * @pt: the tree
 * @cache: holds KILN_PT_CACHE_PAGES pages
 * @start: first guest frame
 * @end: one past the last; may be beyond the tree
 * @batch: adds up what was done
 *
 * Large leaves that reach beyond the range are split, the others are not.
 *
 * Return: 0, or -ENOMEM: @cache is too small.
 */
int kiln_pt_protect(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 start,
		    u64 end, struct kiln_pt_batch *batch);

/**
 * kiln_pt_split() - exclusive: bring a frame down to a leaf of 4K
 * @pt: the tree
 * @cache: holds KILN_PT_CACHE_PAGES pages
 * @gfn: guest frame
 * @batch: adds up what was done
 *
 * The leaves that come allow what the large one did.
 *
 * Return: whether there was a large leaf and all of it could be done.
 */
bool kiln_pt_split(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		   struct kiln_pt_batch *batch);

#endif /* KILN_MMU_PGTABLE_H */
