// SPDX-License-Identifier: GPL-2.0-only
/*
 * The radix-table engine, one rule per case. Host frames are numbers here:
 * nothing looks at the memory they stand for. Each case runs once for each kind
 * of entry there is; those of processors that keep no accessed and dirty flags,
 * which EPT has, only once.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/spinlock.h>

#include "mmu_test.h"
#include "pgtable.h"

/* A frame aligned to 1G, just below a boundary of the top level. */
#define GFN		((1ULL << 27) - (1ULL << 18))
#define PFN		(5ULL << 18)
#define PAGES_2M	512ULL
#define PAGES_1G	(512 * 512ULL)

struct tree {
	struct kiln_pt_format fmt;
	struct kiln_pt pt;
	struct kiln_pt_cache cache;
	struct kiln_pt_batch batch;
	u64 ro, rw, tracked;	/* bits of leaves */
};

/* What the engine told about removed leaves; cases run one at a time. */
static struct {
	int calls;
	u64 pfn;
	int level;
	bool accessed;
	bool dirty;
} last_gone;

static void note_gone(u64 pfn, int level, bool accessed, bool dirty)
{
	last_gone.calls++;
	last_gone.pfn = pfn;
	last_gone.level = level;
	last_gone.accessed = accessed;
	last_gone.dirty = dirty;
}

static void ept(struct kiln_pt_format *fmt)
{
	kiln_pt_format_ept(fmt, true, true, true);
}

static void npt(struct kiln_pt_format *fmt)
{
	kiln_pt_format_npt_of(fmt, 4, true, 48, 0, 0);
}

/* An address bit is missing from the frame numbers, and is in each entry. */
static void npt_encrypted(struct kiln_pt_format *fmt)
{
	kiln_pt_format_npt_of(fmt, 4, true, 43, BIT_ULL(47), BIT_ULL(47));
}

/* The marker is an entry that is not present. */
static void npt_5_levels_52_bits(struct kiln_pt_format *fmt)
{
	kiln_pt_format_npt_of(fmt, 5, true, 52, 0, 0);
}

static const struct format {
	const char *name;
	void (*describe)(struct kiln_pt_format *fmt);
} formats[] = {
	{ "EPT", ept },
	{ "NPT", npt },
	{ "NPT with memory encryption", npt_encrypted },
	{ "NPT of 5 levels and 52 bits", npt_5_levels_52_bits },
};

static void name_of_format(const struct format *format, char *desc)
{
	strscpy(desc, format->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(format, formats, name_of_format);

static void set_bits(struct tree *t)
{
	t->ro = t->fmt.leaf | t->fmt.exec | t->fmt.memtype[KILN_MEMTYPE_WB];
	t->rw = t->ro | t->fmt.write;
	t->tracked = t->fmt.sw_tracked;
}

static void set_ept_without_flags(struct tree *t)
{
	kiln_pt_format_ept(&t->fmt, false, true, true);
	set_bits(t);
}

static int tree_init(struct kunit *test)
{
	struct tree *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	const struct format *format = test->param_value ?: formats;

	if (!t)
		return -ENOMEM;
	memset(&last_gone, 0, sizeof(last_gone));
	format->describe(&t->fmt);
	set_bits(t);
	kiln_pt_batch_init(&t->batch);
	test->priv = t;
	return kiln_pt_init(&t->pt, &t->fmt, note_gone);
}

static void zap(struct tree *t, u64 start, u64 end)
{
	kiln_pt_batch_free(&t->batch);
	kiln_pt_zap(&t->pt, start, end, &t->batch);
}

static void tree_exit(struct kunit *test)
{
	struct tree *t = test->priv;

	if (!t)
		return;
	zap(t, 0, U64_MAX);
	kiln_pt_batch_free(&t->batch);
	kiln_pt_cache_drain(&t->cache);
	kiln_pt_destroy(&t->pt);
}

static int map(struct kunit *test, u64 gfn, u64 pfn, int level, u64 bits)
{
	struct tree *t = test->priv;

	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&t->cache,
						 t->fmt.max_level - 1), 0);
	return kiln_pt_map(&t->pt, &t->cache, gfn, pfn, level, bits);
}

static bool mark(struct kunit *test, u64 gfn, int level)
{
	struct tree *t = test->priv;

	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&t->cache,
						 t->fmt.max_level - 1), 0);
	return kiln_pt_mark_mmio(&t->pt, &t->cache, gfn, level);
}

static int protect(struct kunit *test, u64 start, u64 end)
{
	struct tree *t = test->priv;

	kiln_pt_batch_free(&t->batch);
	KUNIT_ASSERT_EQ(test,
			kiln_pt_cache_fill(&t->cache, KILN_PT_CACHE_PAGES), 0);
	return kiln_pt_protect(&t->pt, &t->cache, start, end, &t->batch);
}

static u64 walk(struct kunit *test, u64 gfn)
{
	struct tree *t = test->priv;

	return kiln_pt_walk(&t->pt, gfn, NULL);
}

static void expect_leaf(struct kunit *test, u64 gfn, u64 pfn, int level,
			bool writable)
{
	struct tree *t = test->priv;
	int found;
	u64 e = kiln_pt_walk(&t->pt, gfn, &found);

	KUNIT_EXPECT_TRUE(test, kiln_pt_present(&t->fmt, e));
	KUNIT_EXPECT_EQ(test, found, level);
	KUNIT_EXPECT_EQ(test, kiln_pt_pfn(&t->fmt, e),
			pfn & ~(kiln_pt_span(level) - 1));
	KUNIT_EXPECT_EQ(test, !!(e & t->fmt.write), writable);
}

static void an_empty_tree_translates_nothing(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, walk(test, 0), 0);
	KUNIT_EXPECT_EQ(test, walk(test, GFN), 0);
	KUNIT_EXPECT_EQ(test, walk(test, (1ULL << 36) - 1), 0);
}

static void a_leaf_is_found_on_its_level(struct kunit *test)
{
	struct tree *t = test->priv;

	KUNIT_EXPECT_EQ(test, map(test, GFN + 7, PFN + 9, 1, t->ro), 1);
	expect_leaf(test, GFN + 7, PFN + 9, 1, false);
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 6), 0);
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 8), 0);

	KUNIT_EXPECT_EQ(test, map(test, GFN + PAGES_2M + 3,
				  PFN + 3, 2, t->rw), 2);
	expect_leaf(test, GFN + PAGES_2M, PFN, 2, true);
	expect_leaf(test, GFN + 2 * PAGES_2M - 1, PFN, 2, true);

	KUNIT_EXPECT_EQ(test, map(test, PAGES_1G + 12345,
				  PFN + 12345, 3, t->rw), 3);
	expect_leaf(test, PAGES_1G, PFN, 3, true);
	expect_leaf(test, 2 * PAGES_1G - 1, PFN, 3, true);
	KUNIT_EXPECT_EQ(test, walk(test, 2 * PAGES_1G), 0);
}

static void mapping_the_same_again_changes_nothing(struct kunit *test)
{
	struct tree *t = test->priv;

	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw), 1);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw), 0);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->ro), 0);
	expect_leaf(test, GFN, PFN, 1, true);
}

static void permissions_and_flags_are_added_to_a_leaf(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 1, t->ro);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw | t->fmt.dirty), 1);
	expect_leaf(test, GFN, PFN, 1, true);
	KUNIT_EXPECT_TRUE(test, walk(test, GFN) & t->fmt.dirty);
}

static void another_page_or_kind_must_be_zapped_first(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 uc = t->fmt.leaf | t->fmt.exec | t->fmt.memtype[KILN_MEMTYPE_UC];

	map(test, GFN, PFN, 1, t->ro);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN + 1, 1, t->ro), -EEXIST);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, uc), -EEXIST);
	expect_leaf(test, GFN, PFN, 1, false);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN + 1, 1, t->ro), 1);
}

static void a_larger_leaf_serves_if_it_says_the_same(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->ro);
	KUNIT_EXPECT_EQ(test, map(test, GFN + 5, PFN + 5, 1, t->ro), 0);
	KUNIT_EXPECT_EQ(test, map(test, GFN + 5, PFN + 6, 1, t->ro), -EEXIST);
	KUNIT_EXPECT_EQ(test, map(test, GFN + 5, PFN + 5, 1, t->rw), -EEXIST);
	expect_leaf(test, GFN + 5, PFN, 2, false);
}

static void a_large_leaf_goes_below_a_table_in_its_place(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN + 1, PFN + 1, 1, t->rw);
	KUNIT_EXPECT_EQ(test, map(test, GFN + 9, PFN + 9, 2, t->rw), 1);
	expect_leaf(test, GFN + 9, PFN + 9, 1, true);
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 10), 0);
	KUNIT_EXPECT_EQ(test, map(test, GFN + PAGES_2M, PFN + PAGES_2M, 3,
				  t->rw), 2);
	expect_leaf(test, GFN + PAGES_2M, PFN + PAGES_2M, 2, true);
}

static void leaves_stand_only_on_levels_of_the_format(struct kunit *test)
{
	struct tree *t = test->priv;

	t->fmt.leaf_levels = BIT(1) | BIT(3);
	map(test, GFN, PFN, 1, t->rw);
	/* the 1G leaf meets a table and may not become a 2M leaf */
	KUNIT_EXPECT_EQ(test, map(test, GFN + PAGES_2M, PFN + PAGES_2M, 3,
				  t->rw), 1);
	expect_leaf(test, GFN + PAGES_2M, PFN + PAGES_2M, 1, true);
}

static void mapping_without_pages_for_tables_fails(struct kunit *test)
{
	struct tree *t = test->priv;

	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&t->cache,
						 t->fmt.max_level - 2), 0);
	KUNIT_EXPECT_EQ(test, kiln_pt_map(&t->pt, &t->cache, GFN, PFN, 1,
					  t->rw), -ENOMEM);
	KUNIT_EXPECT_EQ(test, walk(test, GFN), 0);
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw), 1);
}

static void a_marker_is_found_and_gives_way_to_a_leaf(struct kunit *test)
{
	struct tree *t = test->priv;

	KUNIT_EXPECT_TRUE(test, mark(test, GFN, 1));
	KUNIT_EXPECT_FALSE(test, mark(test, GFN, 1));
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&t->fmt, walk(test, GFN)));
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw), 1);
	expect_leaf(test, GFN, PFN, 1, true);
}

static void a_marker_on_top_covers_all_below(struct kunit *test)
{
	struct tree *t = test->priv;

	KUNIT_EXPECT_TRUE(test, mark(test, GFN, 4));
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&t->fmt, walk(test, 0)));
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&t->fmt,
						walk(test, (1ULL << 27) - 1)));
	KUNIT_EXPECT_EQ(test, walk(test, 1ULL << 27), 0);
	KUNIT_EXPECT_FALSE(test, mark(test, 77, 1));
	/* a leaf below replaces it by tables */
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 1, t->rw), 1);
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 1), 0);
}

static void a_marker_leaves_leaves_alone(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw);
	KUNIT_EXPECT_FALSE(test, mark(test, GFN + 1, 1));
	KUNIT_EXPECT_FALSE(test, mark(test, GFN + 1, 2));
	KUNIT_EXPECT_FALSE(test, mark(test, GFN + 1, 4));
	expect_leaf(test, GFN + 1, PFN, 2, true);
}

static void a_marker_goes_below_a_table_in_its_place(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 1, t->rw);
	KUNIT_EXPECT_TRUE(test, mark(test, GFN + 1, 3));
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&t->fmt, walk(test, GFN + 1)));
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 2), 0);
	expect_leaf(test, GFN, PFN, 1, true);
}

static void zapping_a_page_leaves_its_neighbours(struct kunit *test)
{
	struct tree *t = test->priv;
	int i;

	for (i = 0; i < 3; i++)
		map(test, GFN + i, PFN + i, 1, t->rw);
	zap(t, GFN + 1, GFN + 2);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 1);
	KUNIT_EXPECT_TRUE(test, t->batch.flush);
	expect_leaf(test, GFN, PFN, 1, true);
	KUNIT_EXPECT_EQ(test, walk(test, GFN + 1), 0);
	expect_leaf(test, GFN + 2, PFN + 2, 1, true);
}

static void zapping_part_of_a_large_leaf_removes_all_of_it(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw);
	zap(t, GFN + 100, GFN + 101);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 1);
	KUNIT_EXPECT_EQ(test, walk(test, GFN), 0);
}

static void zapping_2m_makes_room_for_a_large_leaf(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN + 3, PFN + 3, 1, t->rw);
	zap(t, GFN, GFN + PAGES_2M);
	KUNIT_EXPECT_FALSE(test, list_empty(&t->batch.tables));
	KUNIT_EXPECT_EQ(test, map(test, GFN, PFN, 2, t->rw), 2);
}

static void a_table_taken_out_is_empty_and_needs_a_flush(struct kunit *test)
{
	struct tree *t = test->priv;
	struct page *page;

	map(test, GFN + 3, PFN + 3, 1, t->rw);
	zap(t, GFN + 3, GFN + 4);
	/* what is left is an empty table, which processors may have cached */
	zap(t, GFN, GFN + PAGES_2M);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 0);
	KUNIT_EXPECT_TRUE(test, t->batch.flush);
	map(test, GFN + 3, PFN + 3, 1, t->rw);
	zap(t, GFN, GFN + PAGES_1G);
	list_for_each_entry(page, &t->batch.tables, lru)
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0,
						   PAGE_SIZE));
}

static void zapping_nothing_or_markers_needs_no_flush(struct kunit *test)
{
	struct tree *t = test->priv;

	zap(t, 0, U64_MAX);
	KUNIT_EXPECT_FALSE(test, t->batch.flush);
	mark(test, GFN, 1);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_EQ(test, walk(test, GFN), 0);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 0);
	KUNIT_EXPECT_FALSE(test, t->batch.flush);
}

static void zapping_stops_when_the_budget_is_used_up(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 next, i;

	for (i = 0; i < 10; i++)
		map(test, GFN + i, PFN + i, 1, t->rw);
	kiln_pt_batch_free(&t->batch);
	t->batch.budget = 4;
	next = kiln_pt_zap(&t->pt, GFN, GFN + 100, &t->batch);
	KUNIT_EXPECT_EQ(test, next, GFN + 4);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 4);
	expect_leaf(test, GFN + 4, PFN + 4, 1, true);
	t->batch.budget = 100;
	KUNIT_EXPECT_EQ(test, kiln_pt_zap(&t->pt, next, GFN + 100, &t->batch),
			GFN + 100);
	KUNIT_EXPECT_EQ(test, t->batch.zapped, 10);
}

static void a_tracked_leaf_tells_its_flags_when_it_goes(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw | t->tracked | t->fmt.accessed);
	zap(t, GFN, GFN + PAGES_1G);
	KUNIT_EXPECT_EQ(test, last_gone.calls, 1);
	KUNIT_EXPECT_EQ(test, last_gone.pfn, PFN);
	KUNIT_EXPECT_EQ(test, last_gone.level, 2);
	KUNIT_EXPECT_TRUE(test, last_gone.accessed);
	KUNIT_EXPECT_FALSE(test, last_gone.dirty);

	map(test, GFN, PFN, 1, t->rw | t->tracked | t->fmt.dirty);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_EQ(test, last_gone.calls, 2);
	KUNIT_EXPECT_FALSE(test, last_gone.accessed);
	KUNIT_EXPECT_TRUE(test, last_gone.dirty);
}

static void an_untracked_leaf_goes_silently(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 1, t->rw | t->fmt.accessed | t->fmt.dirty);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_EQ(test, last_gone.calls, 0);
}

static void without_flags_what_was_writable_is_dirty(struct kunit *test)
{
	struct tree *t = test->priv;

	set_ept_without_flags(t);
	map(test, GFN, PFN, 1, t->rw | t->tracked);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_TRUE(test, last_gone.accessed);
	KUNIT_EXPECT_TRUE(test, last_gone.dirty);
	map(test, GFN, PFN, 1, t->ro | t->tracked);
	zap(t, GFN, GFN + 1);
	KUNIT_EXPECT_TRUE(test, last_gone.accessed);
	KUNIT_EXPECT_FALSE(test, last_gone.dirty);
}

static void age_is_seen_and_cleared_in_its_range(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 a = t->fmt.accessed;

	map(test, GFN, PFN, 1, t->rw | a);
	map(test, GFN + 1, PFN + 1, 1, t->rw | a);
	mark(test, GFN + 2, 1);
	KUNIT_EXPECT_FALSE(test, kiln_pt_age(&t->pt, GFN + 2, GFN + 9, true));
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, false));
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
	KUNIT_EXPECT_FALSE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
	expect_leaf(test, GFN, PFN, 1, true);
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN + 1, GFN + 2, false));
}

static void the_age_of_a_large_leaf_is_that_of_each_page(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw | t->fmt.accessed);
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN + 9, GFN + 10, true));
	KUNIT_EXPECT_FALSE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
}

static void without_flags_what_is_present_is_young(struct kunit *test)
{
	struct tree *t = test->priv;

	set_ept_without_flags(t);
	KUNIT_EXPECT_FALSE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
	map(test, GFN, PFN, 1, t->ro);
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
	KUNIT_EXPECT_TRUE(test, kiln_pt_age(&t->pt, GFN, GFN + 1, true));
}

static void protecting_takes_away_writes_and_nothing_else(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 before, dirty = t->fmt.dirty | t->fmt.accessed;

	map(test, GFN, PFN, 1, t->rw | dirty);
	map(test, GFN + 1, PFN + 1, 1, t->ro);
	map(test, GFN + 2, PFN + 2, 1, t->rw);
	before = walk(test, GFN);
	KUNIT_EXPECT_EQ(test, protect(test, GFN, GFN + 2), 0);
	KUNIT_EXPECT_TRUE(test, t->batch.flush);
	KUNIT_EXPECT_EQ(test, walk(test, GFN), before & ~t->fmt.write);
	expect_leaf(test, GFN + 1, PFN + 1, 1, false);
	expect_leaf(test, GFN + 2, PFN + 2, 1, true);
	KUNIT_EXPECT_EQ(test, protect(test, GFN, GFN + 2), 0);
	KUNIT_EXPECT_FALSE(test, t->batch.flush);
}

static void protecting_all_of_a_large_leaf_keeps_it_large(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw);
	KUNIT_EXPECT_EQ(test, protect(test, GFN, GFN + PAGES_2M), 0);
	expect_leaf(test, GFN, PFN, 2, false);
}

static void protecting_part_of_a_large_leaf_splits_it(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 flags = t->fmt.accessed | t->fmt.dirty;
	u64 gfn = GFN + 3 * PAGES_2M, pfn = PFN + 3 * PAGES_2M;

	map(test, GFN, PFN, 3, t->rw | flags);
	KUNIT_EXPECT_EQ(test, protect(test, gfn - 1, gfn + PAGES_2M + 1), 0);
	KUNIT_EXPECT_TRUE(test, t->batch.flush);
	expect_leaf(test, GFN, PFN, 2, true);
	expect_leaf(test, gfn - 2, pfn - 2, 1, true);
	expect_leaf(test, gfn - 1, pfn - 1, 1, false);
	expect_leaf(test, gfn, pfn, 2, false);
	expect_leaf(test, gfn + PAGES_2M, pfn + PAGES_2M, 1, false);
	expect_leaf(test, gfn + PAGES_2M + 1, pfn + PAGES_2M + 1, 1, true);
	expect_leaf(test, GFN + PAGES_1G - 1, PFN + PAGES_1G - 1, 2, true);
	KUNIT_EXPECT_EQ(test, walk(test, gfn - 1) & flags, flags);
}

static void splitting_without_pages_fails_and_changes_nothing(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 2, t->rw);
	kiln_pt_cache_drain(&t->cache);
	KUNIT_EXPECT_EQ(test, kiln_pt_protect(&t->pt, &t->cache, GFN, GFN + 1,
					      &t->batch), -ENOMEM);
	expect_leaf(test, GFN, PFN, 2, true);
}

static void without_flags_protecting_tells_that_it_was_dirty(struct kunit *test)
{
	struct tree *t = test->priv;

	set_ept_without_flags(t);
	map(test, GFN, PFN, 1, t->rw | t->tracked);
	KUNIT_EXPECT_EQ(test, protect(test, GFN, GFN + 1), 0);
	KUNIT_EXPECT_EQ(test, last_gone.calls, 1);
	KUNIT_EXPECT_TRUE(test, last_gone.dirty);
}

/* kiln_pt_split(), with the pages it wants. */
static bool split(struct kunit *test, u64 gfn)
{
	struct tree *t = test->priv;

	KUNIT_EXPECT_EQ(test, kiln_pt_cache_fill(&t->cache,
						 KILN_PT_CACHE_PAGES), 0);
	kiln_pt_batch_free(&t->batch);
	return kiln_pt_split(&t->pt, &t->cache, gfn, &t->batch);
}

static void splitting_brings_one_page_down_and_keeps_what_is_allowed(struct kunit *test)
{
	struct tree *t = test->priv;
	u64 flags = t->fmt.accessed | t->fmt.dirty;
	u64 gfn = GFN + 5 * PAGES_2M + 7, pfn = PFN + 5 * PAGES_2M + 7;

	map(test, GFN, PFN, 3, t->ro | flags);
	KUNIT_EXPECT_TRUE(test, split(test, gfn));
	KUNIT_EXPECT_TRUE(test, t->batch.flush);
	expect_leaf(test, gfn, pfn, 1, false);
	expect_leaf(test, gfn - 7, pfn - 7, 1, false);
	expect_leaf(test, gfn + PAGES_2M, pfn + PAGES_2M, 2, false);
	expect_leaf(test, GFN, PFN, 2, false);
	KUNIT_EXPECT_EQ(test, walk(test, gfn) & flags, flags);
	/* which is what a write of a page that is watched goes on with */
	KUNIT_EXPECT_EQ(test, kiln_pt_map(&t->pt, &t->cache, gfn, pfn, 1,
					  t->rw | flags), 1);
	expect_leaf(test, gfn, pfn, 1, true);
	expect_leaf(test, gfn + 1, pfn + 1, 1, false);
}

static void what_is_small_or_not_there_is_not_split(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 1, t->rw);
	KUNIT_EXPECT_FALSE(test, split(test, GFN));
	KUNIT_EXPECT_FALSE(test, split(test, GFN + 1));
	KUNIT_EXPECT_TRUE(test, kiln_pt_mark_mmio(&t->pt, &t->cache,
						  GFN + PAGES_2M, 2));
	KUNIT_EXPECT_FALSE(test, split(test, GFN + PAGES_2M));
	KUNIT_EXPECT_FALSE(test, t->batch.flush);
	expect_leaf(test, GFN, PFN, 1, true);
}

static void splitting_stops_where_there_are_no_pages_left(struct kunit *test)
{
	struct tree *t = test->priv;

	map(test, GFN, PFN, 3, t->rw);
	kiln_pt_cache_drain(&t->cache);
	KUNIT_EXPECT_EQ(test, kiln_pt_cache_fill(&t->cache, 1), 0);
	KUNIT_EXPECT_FALSE(test, kiln_pt_split(&t->pt, &t->cache, GFN,
					       &t->batch));
	expect_leaf(test, GFN, PFN, 2, true);
	expect_leaf(test, GFN + PAGES_1G - 1, PFN + PAGES_1G - 1, 2, true);
}

#define MAPPERS		4
#define MAPPED_PAGES	(4 * PAGES_2M)

struct mapper {
	struct tree *tree;
	struct completion *start;
	struct completion done;
	rwlock_t *lock;
	u64 mapped;
	int error;
};

static int map_all(void *arg)
{
	struct mapper *m = arg;
	struct kiln_pt_cache cache = { };
	u64 i;
	int r = 0;

	wait_for_completion(m->start);
	for (i = 0; i < MAPPED_PAGES && r >= 0; i++) {
		r = kiln_pt_cache_fill(&cache, m->tree->fmt.max_level - 1);
		if (r)
			break;
		read_lock(m->lock);
		r = kiln_pt_map(&m->tree->pt, &cache, GFN + i, PFN + i, 1,
				m->tree->rw);
		read_unlock(m->lock);
		if (r > 0)
			m->mapped++;
		cond_resched();
	}
	m->error = min(r, 0);
	kiln_pt_cache_drain(&cache);
	complete(&m->done);
	return 0;
}

static void parallel_faults_map_each_page_once(struct kunit *test)
{
	struct tree *t = test->priv;
	DECLARE_COMPLETION_ONSTACK(start);
	struct mapper *m;
	rwlock_t lock;
	u64 mapped = 0, i;
	int running = 0;

	m = kunit_kcalloc(test, MAPPERS, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	rwlock_init(&lock);
	for (i = 0; i < MAPPERS; i++) {
		m[i].tree = t;
		m[i].start = &start;
		m[i].lock = &lock;
		init_completion(&m[i].done);
		if (IS_ERR(kthread_run(map_all, &m[i], "kiln-map-%llu", i)))
			break;
		running++;
	}
	complete_all(&start);
	for (i = 0; i < running; i++) {
		wait_for_completion(&m[i].done);
		KUNIT_EXPECT_EQ(test, m[i].error, 0);
		mapped += m[i].mapped;
	}
	KUNIT_EXPECT_EQ(test, running, MAPPERS);
	KUNIT_EXPECT_EQ(test, mapped, MAPPED_PAGES);
	for (i = 0; i < MAPPED_PAGES; i++)
		expect_leaf(test, GFN + i, PFN + i, 1, true);
}

static struct kunit_case pgtable_cases[] = {
	KUNIT_CASE_PARAM(an_empty_tree_translates_nothing, format_gen_params),
	KUNIT_CASE_PARAM(a_leaf_is_found_on_its_level, format_gen_params),
	KUNIT_CASE_PARAM(mapping_the_same_again_changes_nothing,
			 format_gen_params),
	KUNIT_CASE_PARAM(permissions_and_flags_are_added_to_a_leaf,
			 format_gen_params),
	KUNIT_CASE_PARAM(another_page_or_kind_must_be_zapped_first,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_larger_leaf_serves_if_it_says_the_same,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_large_leaf_goes_below_a_table_in_its_place,
			 format_gen_params),
	KUNIT_CASE_PARAM(leaves_stand_only_on_levels_of_the_format,
			 format_gen_params),
	KUNIT_CASE_PARAM(mapping_without_pages_for_tables_fails,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_marker_is_found_and_gives_way_to_a_leaf,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_marker_on_top_covers_all_below, format_gen_params),
	KUNIT_CASE_PARAM(a_marker_leaves_leaves_alone, format_gen_params),
	KUNIT_CASE_PARAM(a_marker_goes_below_a_table_in_its_place,
			 format_gen_params),
	KUNIT_CASE_PARAM(zapping_a_page_leaves_its_neighbours,
			 format_gen_params),
	KUNIT_CASE_PARAM(zapping_part_of_a_large_leaf_removes_all_of_it,
			 format_gen_params),
	KUNIT_CASE_PARAM(zapping_2m_makes_room_for_a_large_leaf,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_table_taken_out_is_empty_and_needs_a_flush,
			 format_gen_params),
	KUNIT_CASE_PARAM(zapping_nothing_or_markers_needs_no_flush,
			 format_gen_params),
	KUNIT_CASE_PARAM(zapping_stops_when_the_budget_is_used_up,
			 format_gen_params),
	KUNIT_CASE_PARAM(a_tracked_leaf_tells_its_flags_when_it_goes,
			 format_gen_params),
	KUNIT_CASE_PARAM(an_untracked_leaf_goes_silently, format_gen_params),
	KUNIT_CASE(without_flags_what_was_writable_is_dirty),
	KUNIT_CASE_PARAM(age_is_seen_and_cleared_in_its_range,
			 format_gen_params),
	KUNIT_CASE_PARAM(the_age_of_a_large_leaf_is_that_of_each_page,
			 format_gen_params),
	KUNIT_CASE(without_flags_what_is_present_is_young),
	KUNIT_CASE_PARAM(protecting_takes_away_writes_and_nothing_else,
			 format_gen_params),
	KUNIT_CASE_PARAM(protecting_all_of_a_large_leaf_keeps_it_large,
			 format_gen_params),
	KUNIT_CASE_PARAM(protecting_part_of_a_large_leaf_splits_it,
			 format_gen_params),
	KUNIT_CASE_PARAM(splitting_without_pages_fails_and_changes_nothing,
			 format_gen_params),
	KUNIT_CASE_PARAM(splitting_brings_one_page_down_and_keeps_what_is_allowed,
			 format_gen_params),
	KUNIT_CASE_PARAM(what_is_small_or_not_there_is_not_split,
			 format_gen_params),
	KUNIT_CASE_PARAM(splitting_stops_where_there_are_no_pages_left,
			 format_gen_params),
	KUNIT_CASE(without_flags_protecting_tells_that_it_was_dirty),
	KUNIT_CASE_PARAM(parallel_faults_map_each_page_once, format_gen_params),
	{ }
};

struct kunit_suite pgtable_suite = {
	.name = "kiln_pgtable",
	.init = tree_init,
	.exit = tree_exit,
	.test_cases = pgtable_cases,
};
