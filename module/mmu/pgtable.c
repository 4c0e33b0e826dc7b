// SPDX-License-Identifier: GPL-2.0-only
/*
 * The radix-table engine; pgtable.h says what its functions promise.
 *
 * Invariants that make parallel faults safe:
 *
 * - An entry that refers to a table does so until an exclusive operation takes
 *   it out, so a shared walker's pointers stay good.
 * - Shared operations change an entry with one cmpxchg from a value they have
 *   looked at, so none is lost, nor are flags that hardware sets meanwhile.
 * - A leaf that is taken out is taken out with xchg, also from a table that is
 *   out of the tree already: processors may still walk that table until they
 *   are flushed and must find nothing in it to set flags in.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>

#include "../compat.h"
#include "pgtable.h"

/*
 * Subtrees are taken out whole up to this level: what hangs under one entry is
 * then at most 1 GiB, which bounds how far a budget can be overdrawn.
 */
#define KILN_PT_DETACH_LEVEL	KILN_PT_1G

static unsigned int pt_index(u64 gfn, int level)
{
	return (gfn >> (9 * (level - 1))) & (KILN_PT_ENTRIES - 1);
}

static u64 *pt_table(const struct kiln_pt_format *fmt, u64 entry)
{
	return phys_to_virt(entry & fmt->addr);
}

static u64 pt_leaf(const struct kiln_pt_format *fmt, u64 pfn, int level,
		   u64 bits)
{
	pfn &= ~(kiln_pt_span(level) - 1);
	return bits | pfn << PAGE_SHIFT | (level > 1 ? fmt->large : 0);
}

static u64 *pt_alloc_table(void)
{
	return (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

static void pt_free_table(u64 *table)
{
	free_page((unsigned long)table);
}

int kiln_pt_init(struct kiln_pt *pt, const struct kiln_pt_format *fmt,
		 void (*gone)(u64 pfn, int level, bool accessed, bool dirty))
{
	pt->fmt = fmt;
	pt->gone = gone;
	pt->root = pt_alloc_table();
	return pt->root ? 0 : -ENOMEM;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_init);

static void pt_free_tables(const struct kiln_pt_format *fmt, u64 *table,
			   int level)
{
	unsigned int i;

	for (i = 0; i < KILN_PT_ENTRIES; i++)
		if (kiln_pt_is_table(fmt, table[i], level))
			pt_free_tables(fmt, pt_table(fmt, table[i]), level - 1);
	pt_free_table(table);
}

void kiln_pt_destroy(struct kiln_pt *pt)
{
	if (pt->root)
		pt_free_tables(pt->fmt, pt->root, pt->fmt->max_level);
	pt->root = NULL;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_destroy);

int kiln_pt_cache_fill(struct kiln_pt_cache *cache, unsigned int nr)
{
	while (cache->nr < nr) {
		u64 *table = pt_alloc_table();

		if (!table)
			return -ENOMEM;
		cache->page[cache->nr++] = table;
	}
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_cache_fill);

void kiln_pt_cache_drain(struct kiln_pt_cache *cache)
{
	while (cache->nr)
		pt_free_table(cache->page[--cache->nr]);
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_cache_drain);

void kiln_pt_batch_free(struct kiln_pt_batch *batch)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &batch->tables, lru) {
		list_del(&page->lru);
		pt_free_table(page_address(page));
	}
	kiln_pt_batch_init(batch);
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_batch_free);

/*
 * Put a table from the cache in place of @old, which is nothing or a marker.
 * Upon -EAGAIN somebody else has changed the entry.
 */
static int pt_add_table(struct kiln_pt *pt, struct kiln_pt_cache *cache,
			u64 *entry, u64 old)
{
	u64 *table;

	if (!cache->nr)
		return -ENOMEM;
	table = cache->page[cache->nr - 1];
	if (!try_cmpxchg64(entry, &old, virt_to_phys(table) | pt->fmt->table))
		return -EAGAIN;
	cache->nr--;
	return 0;
}

/*
 * Walk down to @level, adding tables; stop above it at a leaf, go below it if
 * there is a table in the leaf's place.
 */
static u64 *pt_descend(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		       int *level)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 *table = pt->root;
	int l = fmt->max_level;

	for (;;) {
		u64 *entry = &table[pt_index(gfn, l)];
		u64 e = READ_ONCE(*entry);

		if (likely(kiln_pt_is_table(fmt, e, l))) {
			table = pt_table(fmt, e);
			l--;
			continue;
		}
		if (l <= *level || kiln_pt_present(fmt, e)) {
			*level = l;
			return entry;
		}
		/* -EAGAIN: look at the entry again */
		if (pt_add_table(pt, cache, entry, e) == -ENOMEM)
			return NULL;
	}
}

/* Does a large leaf map @gfn to @pfn and allow what @bits allow? */
static bool pt_covers(const struct kiln_pt_format *fmt, u64 old, u64 gfn,
		      u64 pfn, int level, u64 bits)
{
	u64 offset = gfn & (kiln_pt_span(level) - 1);

	return kiln_pt_present(fmt, old) &&
	       kiln_pt_pfn(fmt, old) + offset == pfn &&
	       !(bits & ~old & (fmt->write | fmt->exec));
}

int kiln_pt_map(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		u64 pfn, int level, u64 bits)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 more = fmt->write | fmt->accessed | fmt->dirty;
	u64 *entry, old, new;
	int l;

again:
	l = level;
	entry = pt_descend(pt, cache, gfn, &l);
	if (unlikely(!entry))
		return -ENOMEM;
	if (unlikely(l < level && !(fmt->leaf_levels & BIT(l)))) {
		level = l - 1;
		goto again;
	}
	old = READ_ONCE(*entry);
	/* a larger leaf than asked for will do, but says nothing of this one */
	if (unlikely(l > level))
		return pt_covers(fmt, old, gfn, pfn, l, bits) ? 0 : -EEXIST;
	do {
		new = pt_leaf(fmt, pfn, l, bits);
		if (kiln_pt_present(fmt, old)) {
			/* a table: somebody was faster with smaller pages */
			if (kiln_pt_is_table(fmt, old, l))
				goto again;
			/* another page, or a page of another kind */
			if ((old ^ new) & ~more)
				return -EEXIST;
			new = old | (new & more);
			if (new == old)
				return 0;
		}
	} while (!try_cmpxchg64(entry, &old, new));
	return l;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_map);

bool kiln_pt_mark_mmio(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		       int level)
{
	u64 *entry, old;

	/* a marker higher up would be taken for a place to put a table */
	old = kiln_pt_walk(pt, gfn, NULL);
	if (old)
		return false;
	entry = pt_descend(pt, cache, gfn, &level);
	if (!entry)
		return false;
	old = 0;
	return try_cmpxchg64(entry, &old, pt->fmt->mmio_value);
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_mark_mmio);

u64 kiln_pt_walk(const struct kiln_pt *pt, u64 gfn, int *level)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 *table = pt->root;
	int l = fmt->max_level;
	u64 e;

	for (;;) {
		e = READ_ONCE(table[pt_index(gfn, l)]);
		if (!kiln_pt_is_table(fmt, e, l))
			break;
		table = pt_table(fmt, e);
		l--;
	}
	if (level)
		*level = l;
	return e;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_walk);

/* Move @gfn to the first entry of @table in use, if there is one before @end. */
static u64 *pt_skip_empty(u64 *table, u64 *gfn, u64 end, int level)
{
	u64 span = kiln_pt_span(level);
	unsigned int i = pt_index(*gfn, level);

	for (; i < KILN_PT_ENTRIES && *gfn < end; i++) {
		if (READ_ONCE(table[i]))
			return &table[i];
		*gfn = (*gfn & ~(span - 1)) + span;
	}
	return NULL;
}

/*
 * Find the next leaf or marker in [@gfn, @end), or, if @tables, a table of up
 * to KILN_PT_DETACH_LEVEL which is wholly in the range. @gfn is moved to it.
 */
static u64 *pt_next(const struct kiln_pt *pt, u64 *gfn, u64 end, bool tables,
		    int *level)
{
	const struct kiln_pt_format *fmt = pt->fmt;

	while (*gfn < end) {
		u64 *table = pt->root, *entry;
		int l = fmt->max_level;

		for (;; l--) {
			u64 span = kiln_pt_span(l);

			entry = pt_skip_empty(table, gfn, end, l);
			if (!entry)
				break;
			*level = l;
			if (!kiln_pt_is_table(fmt, *entry, l))
				return entry;
			if (tables && l <= KILN_PT_DETACH_LEVEL &&
			    !(*gfn & (span - 1)) && end - *gfn >= span)
				return entry;
			table = pt_table(fmt, *entry);
		}
	}
	return NULL;
}

static u64 pt_after(u64 gfn, int level)
{
	u64 span = kiln_pt_span(level);

	return (gfn & ~(span - 1)) + span;
}

bool kiln_pt_age(struct kiln_pt *pt, u64 start, u64 end, bool clear)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	bool young = false;
	u64 *entry, e;
	int level;

	end = min(end, kiln_pt_end(fmt));
	while ((entry = pt_next(pt, &start, end, false, &level))) {
		e = READ_ONCE(*entry);
		start = pt_after(start, level);
		if (!kiln_pt_present(fmt, e))
			continue;
		if (fmt->accessed && !(e & fmt->accessed))
			continue;
		young = true;
		if (!clear)
			break;
		if (fmt->accessed)
			clear_bit(__ffs64(fmt->accessed),
				  (unsigned long *)entry);
	}
	return young;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_age);

/* Without flags of the hardware, what could be used or written counts as such. */
static void pt_tell_gone(struct kiln_pt *pt, u64 old, int level)
{
	const struct kiln_pt_format *fmt = pt->fmt;

	if (!pt->gone || !(old & fmt->sw_tracked))
		return;
	pt->gone(kiln_pt_pfn(fmt, old), level,
		 !fmt->accessed || (old & fmt->accessed),
		 old & (fmt->dirty ?: fmt->write));
}

static void pt_zap_leaf(struct kiln_pt *pt, u64 *entry, int level,
			struct kiln_pt_batch *batch)
{
	u64 old = xchg(entry, 0);

	batch->budget--;
	/* Markers are never cached (SDM vol. 3 §28.4.2): no flush for them. */
	if (!kiln_pt_present(pt->fmt, old))
		return;
	batch->zapped++;
	batch->flush = true;
	pt_tell_gone(pt, old, level);
}

/* Empty a table that has left the tree, and all below. Depth: two levels. */
static void pt_zap_table(struct kiln_pt *pt, u64 *table, int level,
			 struct kiln_pt_batch *batch)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	unsigned int i;

	for (i = 0; i < KILN_PT_ENTRIES; i++) {
		u64 e = READ_ONCE(table[i]);

		if (!e)
			continue;
		if (!kiln_pt_is_table(fmt, e, level)) {
			pt_zap_leaf(pt, &table[i], level, batch);
			continue;
		}
		WRITE_ONCE(table[i], 0);
		pt_zap_table(pt, pt_table(fmt, e), level - 1, batch);
	}
	list_add(&virt_to_page(table)->lru, &batch->tables);
	batch->flush = true;
}

u64 kiln_pt_zap(struct kiln_pt *pt, u64 start, u64 end,
		struct kiln_pt_batch *batch)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 last = min(end, kiln_pt_end(fmt));
	u64 *entry;
	int level;

	while ((entry = pt_next(pt, &start, last, true, &level))) {
		u64 e = READ_ONCE(*entry);

		if (batch->budget <= 0)
			return start;
		if (kiln_pt_is_table(fmt, e, level)) {
			WRITE_ONCE(*entry, 0);
			pt_zap_table(pt, pt_table(fmt, e), level - 1, batch);
		} else {
			pt_zap_leaf(pt, entry, level, batch);
		}
		start = pt_after(start, level);
	}
	return end;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_zap);

/*
 * Replace a large leaf by a table of smaller ones that allow the same. Hardware
 * may set flags in the old leaf until the moment it is replaced.
 */
static int pt_split(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 *entry,
		    int level, struct kiln_pt_batch *batch)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 old = READ_ONCE(*entry);
	u64 *table;

	if (!cache->nr)
		return -ENOMEM;
	table = cache->page[cache->nr - 1];
	do {
		u64 bits = old & ~(fmt->addr | fmt->large);
		u64 pfn = kiln_pt_pfn(fmt, old);
		unsigned int i;

		for (i = 0; i < KILN_PT_ENTRIES; i++) {
			table[i] = pt_leaf(fmt, pfn, level - 1, bits);
			pfn += kiln_pt_span(level - 1);
		}
	} while (!try_cmpxchg64(entry, &old, virt_to_phys(table) | fmt->table));
	cache->nr--;
	batch->flush = true;
	return 0;
}

static void pt_write_protect(struct kiln_pt *pt, u64 *entry, int level,
			     struct kiln_pt_batch *batch)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 old = READ_ONCE(*entry);

	do {
		if (!kiln_pt_present(fmt, old) || !(old & fmt->write))
			return;
	} while (!try_cmpxchg64(entry, &old, old & ~fmt->write));
	batch->flush = true;
	/* the last trace of a write, where hardware keeps none */
	if (!fmt->dirty)
		pt_tell_gone(pt, old, level);
}

int kiln_pt_protect(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 start,
		    u64 end, struct kiln_pt_batch *batch)
{
	const struct kiln_pt_format *fmt = pt->fmt;
	u64 *entry;
	int level;

	end = min(end, kiln_pt_end(fmt));
	while ((entry = pt_next(pt, &start, end, false, &level))) {
		u64 first = start & ~(kiln_pt_span(level) - 1);
		u64 next = pt_after(start, level);
		bool partial = first < start || next > end;

		if (level > 1 && partial && kiln_pt_present(fmt, *entry)) {
			int r = pt_split(pt, cache, entry, level, batch);

			if (r)
				return r;
			continue;
		}
		pt_write_protect(pt, entry, level, batch);
		start = next;
	}
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_protect);

bool kiln_pt_split(struct kiln_pt *pt, struct kiln_pt_cache *cache, u64 gfn,
		   struct kiln_pt_batch *batch)
{
	u64 at = gfn, *entry;
	bool any = false;
	int level;

	while ((entry = pt_next(pt, &at, gfn + 1, false, &level)) &&
	       level > KILN_PT_4K && kiln_pt_present(pt->fmt, *entry)) {
		if (pt_split(pt, cache, entry, level, batch))
			return false;
		any = true;
	}
	return any;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_split);
