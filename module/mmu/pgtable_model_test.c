// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on a radix tree and on a plain model of it: one record per
 * page. Whatever the tree does with tables, both must always say the same.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "mmu_test.h"
#include "pgtable.h"

/* Astride a boundary of the top level; 16 MiB. */
#define PAGES		4096
#define GFN		((1ULL << 27) - PAGES / 2)
#define PFN_A		(7ULL << 18)
#define PFN_B		(9ULL << 18)
#define STEPS		20000
#define SEEDS		4

struct page_model {
	u64 pfn;
	u64 span;	/* of the leaf that maps it; 0: not mapped */
	bool writable;
	bool mmio;
};

struct model {
	struct kiln_pt_format fmt;
	struct kiln_pt pt;
	struct kiln_pt_cache cache;
	struct kiln_pt_batch batch;
	struct rnd_state rnd;
	struct page_model page[PAGES];
};

static u32 pick(struct model *m, u32 below)
{
	return prandom_u32_state(&m->rnd) % below;
}

/* Forget the leaf that maps page @i, all of it. */
static void model_unmap(struct model *m, u32 i)
{
	u64 span = m->page[i].span, j;
	u32 first;

	if (!span)
		return;
	first = ((GFN + i) & ~(span - 1)) - GFN;
	for (j = 0; j < span; j++)
		m->page[first + j] = (struct page_model) { };
}

/*
 * Host frames are congruent to guest frames, in one of two places, so that
 * mapping sometimes meets another page.
 */
static void step_map(struct kunit *test, struct model *m)
{
	int level = pick(m, 4) ? 1 : 2;
	bool write = pick(m, 2);
	u32 i = pick(m, PAGES);
	u64 pfn = (pick(m, 20) ? PFN_A : PFN_B) + i;
	struct page_model *p = &m->page[i];
	u64 bits = m->fmt.leaf | (write ? m->fmt.write : 0);
	u64 span, first, old, j;
	int r;

	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&m->cache,
						 m->fmt.max_level - 1), 0);
	r = kiln_pt_map(&m->pt, &m->cache, GFN + i, pfn, level, bits);
	if (p->span && p->pfn != pfn) {
		KUNIT_EXPECT_EQ(test, r, -EEXIST);
		return;
	}
	if (p->span && (p->writable || !write)) {
		KUNIT_EXPECT_EQ(test, r, 0);
		return;
	}
	if (p->span && p->span > kiln_pt_span(level)) {
		KUNIT_EXPECT_EQ(test, r, -EEXIST);
		return;
	}
	KUNIT_ASSERT_GT(test, r, 0);
	KUNIT_EXPECT_LE(test, r, level);
	if (p->span)
		KUNIT_EXPECT_EQ(test, kiln_pt_span(r), p->span);
	span = kiln_pt_span(r);
	first = i & ~(span - 1);
	for (j = 0; j < span; j++) {
		/* nothing else may have been there */
		old = m->page[first + j].span;
		KUNIT_EXPECT_TRUE(test, !old || old == span);
		m->page[first + j] = (struct page_model) {
			.pfn = (pfn & ~(span - 1)) + j,
			.span = span,
			.writable = write,
		};
	}
}

static void step_mark(struct kunit *test, struct model *m)
{
	u32 i = pick(m, PAGES);
	bool added;

	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&m->cache,
						 m->fmt.max_level - 1), 0);
	added = kiln_pt_mark_mmio(&m->pt, &m->cache, GFN + i, 1);
	KUNIT_EXPECT_EQ(test, added, !m->page[i].span && !m->page[i].mmio);
	if (added)
		m->page[i].mmio = true;
}

static void pick_range(struct model *m, u32 *first, u32 *end)
{
	*first = pick(m, PAGES);
	switch (pick(m, 4)) {
	case 0:
		*end = *first + 1;
		break;
	case 1:
		*first &= ~511;
		*end = *first + 512;
		break;
	default:
		*end = *first + 1 + pick(m, PAGES - *first);
		break;
	}
}

static void step_zap(struct kunit *test, struct model *m)
{
	u32 first, end, i;
	u64 next;

	pick_range(m, &first, &end);
	next = GFN + first;
	do {
		m->batch.budget = 1 + pick(m, 100);
		next = kiln_pt_zap(&m->pt, next, GFN + end, &m->batch);
		kiln_pt_batch_free(&m->batch);
	} while (next < GFN + end);
	for (i = first; i < end; i++) {
		model_unmap(m, i);
		m->page[i].mmio = false;
	}
}

static void step_protect(struct kunit *test, struct model *m)
{
	u32 first, end, i;

	pick_range(m, &first, &end);
	KUNIT_ASSERT_EQ(test,
			kiln_pt_cache_fill(&m->cache, KILN_PT_CACHE_PAGES), 0);
	KUNIT_EXPECT_EQ(test, kiln_pt_protect(&m->pt, &m->cache, GFN + first,
					      GFN + end, &m->batch), 0);
	kiln_pt_batch_free(&m->batch);
	for (i = first; i < end; i++) {
		u64 span = m->page[i].span;
		u64 leaf = span ? i & ~(span - 1) : i;
		u64 j;

		if (span > 1 && (leaf < first || leaf + span > end))
			for (j = leaf; j < leaf + span; j++)
				m->page[j].span = 1;
		m->page[i].writable = false;
	}
}

static void compare(struct kunit *test, struct model *m)
{
	u32 i, wrong = 0;

	for (i = 0; i < PAGES; i++) {
		struct page_model *p = &m->page[i];
		u64 e, pfn;
		int level;

		e = kiln_pt_walk(&m->pt, GFN + i, &level);
		if (kiln_pt_is_mmio(&m->fmt, e) != p->mmio ||
		    kiln_pt_present(&m->fmt, e) != !!p->span) {
			wrong++;
			continue;
		}
		if (!p->span)
			continue;
		pfn = kiln_pt_pfn(&m->fmt, e) + (i & (kiln_pt_span(level) - 1));
		wrong += kiln_pt_span(level) != p->span || pfn != p->pfn ||
			 !!(e & m->fmt.write) != p->writable;
	}
	KUNIT_ASSERT_EQ(test, wrong, 0);
}

static void run_random(struct kunit *test, struct model *m)
{
	int i;

	for (i = 0; i < STEPS; i++) {
		u32 what = pick(m, 100);

		if (what < 80)
			step_map(test, m);
		else if (what < 90)
			step_mark(test, m);
		else if (what < 97)
			step_zap(test, m);
		else
			step_protect(test, m);
		if (i % 500 == 0)
			compare(test, m);
	}
	compare(test, m);
}

/* EPT without and with flags; NPT with either kind of marker. */
static void set_format(struct kiln_pt_format *fmt, u64 seed)
{
	if (seed % 4 < 2)
		kiln_pt_format_ept(fmt, seed % 2, true, true);
	else
		kiln_pt_format_npt_of(fmt, seed % 2 ? 5 : 4, true,
				      seed % 2 ? 52 : 48, 0, 0);
}

static void random_operations_agree_with_a_plain_model(struct kunit *test)
{
	u64 seed;

	for (seed = 1; seed <= SEEDS; seed++) {
		struct model *m = kvzalloc(sizeof(*m), GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, m);
		set_format(&m->fmt, seed);
		KUNIT_ASSERT_EQ(test, kiln_pt_init(&m->pt, &m->fmt, NULL), 0);
		kiln_pt_batch_init(&m->batch);
		prandom_seed_state(&m->rnd, seed);
		run_random(test, m);
		kiln_pt_batch_free(&m->batch);
		kiln_pt_zap(&m->pt, 0, U64_MAX, &m->batch);
		kiln_pt_batch_free(&m->batch);
		kiln_pt_cache_drain(&m->cache);
		kiln_pt_destroy(&m->pt);
		kvfree(m);
	}
}

static struct kunit_case pgtable_model_cases[] = {
	KUNIT_CASE(random_operations_agree_with_a_plain_model),
	{ }
};

struct kunit_suite pgtable_model_suite = {
	.name = "kiln_pgtable_model",
	.test_cases = pgtable_model_cases,
};
