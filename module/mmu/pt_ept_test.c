// SPDX-License-Identifier: GPL-2.0-only
/*
 * The EPT format against the numbers of SDM vol. 3 §28.3.2, written out.
 */
#include <kunit/test.h>

#include "mmu_test.h"
#include "pgtable.h"

#define PFN		0x12345ULL

/* The leaf that stands for a page of PFN's alignment in a tree of @fmt. */
static u64 leaf_in_tree(struct kunit *test, const struct kiln_pt_format *fmt,
			int level, u64 bits, int *on_level)
{
	struct kiln_pt_cache cache = { };
	struct kiln_pt_batch batch;
	struct kiln_pt pt;
	u64 gfn = PFN, entry;

	KUNIT_ASSERT_EQ(test, kiln_pt_init(&pt, fmt, NULL), 0);
	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&cache, 3), 0);
	KUNIT_EXPECT_EQ(test, kiln_pt_map(&pt, &cache, gfn, PFN, level, bits),
			level);
	entry = kiln_pt_walk(&pt, gfn, on_level);
	kiln_pt_batch_init(&batch);
	kiln_pt_zap(&pt, 0, U64_MAX, &batch);
	kiln_pt_batch_free(&batch);
	kiln_pt_cache_drain(&cache);
	kiln_pt_destroy(&pt);
	return entry;
}

static void a_4k_leaf_of_ram_is_write_back_and_ignores_the_pat(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_ept(&fmt, true, true, true);
	/* R W X, type 6, ignore PAT, accessed, dirty */
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 1,
				     fmt.leaf | fmt.write | fmt.exec |
				     fmt.accessed | fmt.dirty |
				     fmt.memtype[KILN_MEMTYPE_WB], &level),
			PFN << 12 | 0x377);
	KUNIT_EXPECT_EQ(test, level, 1);
}

static void a_2m_leaf_has_bit_7(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_ept(&fmt, false, true, true);
	/* R X, type 6, ignore PAT, large */
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 2,
				     fmt.leaf | fmt.exec |
				     fmt.memtype[KILN_MEMTYPE_WB], &level),
			(PFN & ~0x1ffULL) << 12 | 0xf5);
	KUNIT_EXPECT_EQ(test, level, 2);
}

static void a_1g_leaf_has_bit_7(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_ept(&fmt, false, true, true);
	/* R W, type 0, large */
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 3,
				     fmt.leaf | fmt.write |
				     fmt.memtype[KILN_MEMTYPE_UC], &level),
			(PFN & ~0x3ffffULL) << 12 | 0x83);
	KUNIT_EXPECT_EQ(test, level, 3);
}

static void a_table_allows_everything(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_ept(&fmt, false, true, true);
	KUNIT_EXPECT_EQ(test, fmt.table, 0x7);
	kiln_pt_format_ept(&fmt, true, true, true);
	KUNIT_EXPECT_EQ(test, fmt.table, 0x107);
}

static void the_marker_is_a_misconfiguration_without_an_address(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_ept(&fmt, true, true, true);
	/* writable, not readable: §28.3.3.1 */
	KUNIT_EXPECT_EQ(test, fmt.mmio_value & 0x3, 0x2);
	KUNIT_EXPECT_EQ(test, fmt.mmio_value & fmt.addr, 0);
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&fmt, fmt.mmio_value));
	KUNIT_EXPECT_FALSE(test, kiln_pt_present(&fmt, fmt.mmio_value));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(&fmt, 0));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(&fmt, fmt.table));
}

static void without_ad_no_flag_is_used(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_ept(&fmt, false, true, true);
	KUNIT_EXPECT_EQ(test, fmt.accessed | fmt.dirty, 0);
	kiln_pt_format_ept(&fmt, true, true, true);
	KUNIT_EXPECT_EQ(test, fmt.accessed, 0x100);
	KUNIT_EXPECT_EQ(test, fmt.dirty, 0x200);
}

static void large_pages_stand_where_the_processor_has_them(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_ept(&fmt, true, false, false);
	KUNIT_EXPECT_EQ(test, fmt.leaf_levels, BIT(1));
	kiln_pt_format_ept(&fmt, true, true, false);
	KUNIT_EXPECT_EQ(test, fmt.leaf_levels, BIT(1) | BIT(2));
	kiln_pt_format_ept(&fmt, true, true, true);
	KUNIT_EXPECT_EQ(test, fmt.leaf_levels, BIT(1) | BIT(2) | BIT(3));
}

static void software_uses_a_bit_that_hardware_ignores(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_ept(&fmt, true, true, true);
	KUNIT_EXPECT_EQ(test, hweight64(fmt.sw_tracked), 1);
	KUNIT_EXPECT_EQ(test, fmt.sw_tracked & ~GENMASK_ULL(56, 52), 0);
}

static struct kunit_case ept_format_cases[] = {
	KUNIT_CASE(a_4k_leaf_of_ram_is_write_back_and_ignores_the_pat),
	KUNIT_CASE(a_2m_leaf_has_bit_7),
	KUNIT_CASE(a_1g_leaf_has_bit_7),
	KUNIT_CASE(a_table_allows_everything),
	KUNIT_CASE(the_marker_is_a_misconfiguration_without_an_address),
	KUNIT_CASE(without_ad_no_flag_is_used),
	KUNIT_CASE(large_pages_stand_where_the_processor_has_them),
	KUNIT_CASE(software_uses_a_bit_that_hardware_ignores),
	{ }
};

struct kunit_suite ept_format_suite = {
	.name = "kiln_ept_format",
	.test_cases = ept_format_cases,
};
