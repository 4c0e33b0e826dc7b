// SPDX-License-Identifier: GPL-2.0-only
/*
 * The NPT format against the numbers of APM vol. 2 §5.3.3, §15.25.3 and
 * §15.25.5, written out.
 */
#include <kunit/test.h>

#include "mmu_test.h"
#include "pgtable.h"

#define PFN		0x12345ULL

/* A machine of 48 address bits whose bit 47 would mean encryption. */
#define C_BIT		BIT_ULL(47)

static struct kiln_pt_format plain(void)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_npt_of(&fmt, 4, true, 48, 0, 0);
	return fmt;
}

/* The leaf that stands for a page of PFN's alignment in a tree of @fmt. */
static u64 leaf_in_tree(struct kunit *test, const struct kiln_pt_format *fmt,
			int level, u64 bits, int *on_level)
{
	struct kiln_pt_cache cache = { };
	struct kiln_pt_batch batch;
	struct kiln_pt pt;
	u64 entry;

	KUNIT_ASSERT_EQ(test, kiln_pt_init(&pt, fmt, NULL), 0);
	KUNIT_ASSERT_EQ(test, kiln_pt_cache_fill(&cache, fmt->max_level - 1),
			0);
	KUNIT_EXPECT_EQ(test, kiln_pt_map(&pt, &cache, PFN, PFN, level, bits),
			level);
	entry = kiln_pt_walk(&pt, PFN, on_level);
	kiln_pt_batch_init(&batch);
	kiln_pt_zap(&pt, 0, U64_MAX, &batch);
	kiln_pt_batch_free(&batch);
	kiln_pt_cache_drain(&cache);
	kiln_pt_destroy(&pt);
	return entry;
}

static void a_4k_leaf_of_ram_is_a_write_back_user_page(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();
	int level;

	/* P, R/W, U/S, A, D; PAT entry 0 */
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 1,
				     fmt.leaf | fmt.write | fmt.exec |
				     fmt.accessed | fmt.dirty |
				     fmt.memtype[KILN_MEMTYPE_WB], &level),
			PFN << 12 | 0x67);
	KUNIT_EXPECT_EQ(test, level, 1);
}

static void a_leaf_that_is_not_ram_is_strongly_uncached(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();
	int level;

	/* P, U/S, PWT, PCD: PAT entry 3 */
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 1,
				     fmt.leaf | fmt.memtype[KILN_MEMTYPE_UC],
				     &level),
			PFN << 12 | 0x1d);
}

static void large_leaves_have_bit_7(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();
	int level;

	KUNIT_EXPECT_EQ(test, leaf_in_tree(test, &fmt, 2, fmt.leaf, &level),
			(PFN & ~0x1ffULL) << 12 | 0x85);
	KUNIT_EXPECT_EQ(test, level, 2);
	KUNIT_EXPECT_EQ(test, leaf_in_tree(test, &fmt, 3, fmt.leaf, &level),
			(PFN & ~0x3ffffULL) << 12 | 0x85);
	KUNIT_EXPECT_EQ(test, level, 3);
}

/* Nested walks are user accesses: U/S on each level (§15.25.5). */
static void a_table_allows_everything(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();

	KUNIT_EXPECT_EQ(test, fmt.table, 0x27);
	KUNIT_EXPECT_EQ(test, fmt.leaf & fmt.table, fmt.leaf);
}

/* There is a bit against execution and none for it. */
static void execution_is_forbidden_not_allowed(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();

	KUNIT_EXPECT_EQ(test, fmt.noexec, 1ULL << 63);
	KUNIT_EXPECT_EQ(test, fmt.exec, 0);
	KUNIT_EXPECT_EQ(test, (fmt.table | fmt.leaf | fmt.write) & fmt.noexec,
			0);
}

static void the_flags_are_the_processors(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();

	KUNIT_EXPECT_EQ(test, fmt.accessed, 0x20);
	KUNIT_EXPECT_EQ(test, fmt.dirty, 0x40);
}

static void expect_marker(struct kunit *test, const struct kiln_pt_format *fmt)
{
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(fmt, fmt->mmio_value));
	KUNIT_EXPECT_FALSE(test, kiln_pt_present(fmt, fmt->mmio_value));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(fmt, 0));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(fmt, fmt->table));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(fmt, fmt->leaf | fmt->addr));
	KUNIT_EXPECT_TRUE(test, kiln_pt_present(fmt, fmt->table));
	KUNIT_EXPECT_TRUE(test, kiln_pt_present(fmt, fmt->leaf | fmt->addr));
	/* L1TF: no address in what does not translate */
	KUNIT_EXPECT_EQ(test, fmt->mmio_value & fmt->addr, 0);
}

static void the_marker_has_an_address_bit_too_many(struct kunit *test)
{
	struct kiln_pt_format fmt;
	unsigned int bits;

	for (bits = 36; bits < 52; bits++) {
		kiln_pt_format_npt_of(&fmt, 4, true, bits, 0, 0);
		expect_marker(test, &fmt);
		/* P, R/W, U/S: what else faults is not to be found first */
		KUNIT_EXPECT_EQ(test, fmt.mmio_value, BIT_ULL(51) | 0x7);
		KUNIT_EXPECT_FALSE(test, fmt.addr & BIT_ULL(51));
		KUNIT_EXPECT_EQ(test, fmt.addr & GENMASK_ULL(bits - 1, 12),
				GENMASK_ULL(bits - 1, 12));
	}
}

/* Not reserved, however many address bits there are: no fault. */
static void the_marker_is_not_the_encryption_bit(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_npt_of(&fmt, 4, true, 43, BIT_ULL(51), 0);
	expect_marker(test, &fmt);
	KUNIT_EXPECT_EQ(test, fmt.mmio_value, BIT_ULL(50) | 0x7);
	kiln_pt_format_npt_of(&fmt, 4, true, 43, BIT_ULL(47), 0);
	expect_marker(test, &fmt);
	KUNIT_EXPECT_EQ(test, fmt.mmio_value, BIT_ULL(51) | 0x7);
	/* the only bit beyond the address */
	kiln_pt_format_npt_of(&fmt, 4, true, 51, BIT_ULL(51), BIT_ULL(51));
	expect_marker(test, &fmt);
	KUNIT_EXPECT_FALSE(test, fmt.mmio_value & 1);
}

static void without_a_reserved_bit_the_marker_is_not_present(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_npt_of(&fmt, 4, true, 52, 0, 0);
	expect_marker(test, &fmt);
	KUNIT_EXPECT_EQ(test, fmt.mmio_value, 0x400);
	KUNIT_EXPECT_EQ(test, fmt.addr, GENMASK_ULL(51, 12));
}

static void encrypted_memory_has_the_bit_in_each_entry(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_npt_of(&fmt, 4, true, 43, C_BIT, C_BIT);
	KUNIT_EXPECT_EQ(test, fmt.table, C_BIT | 0x27);
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 1,
				     fmt.leaf | fmt.memtype[KILN_MEMTYPE_WB],
				     &level),
			C_BIT | PFN << 12 | 0x5);
	KUNIT_EXPECT_EQ(test, kiln_pt_pfn(&fmt, C_BIT | PFN << 12 | 0x5), PFN);
	KUNIT_EXPECT_FALSE(test, fmt.mmio_value & C_BIT);
}

static void what_is_not_ram_is_not_encrypted(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_npt_of(&fmt, 4, true, 43, C_BIT, C_BIT);
	KUNIT_EXPECT_EQ(test,
			leaf_in_tree(test, &fmt, 1,
				     fmt.leaf | fmt.memtype[KILN_MEMTYPE_UC],
				     &level),
			PFN << 12 | 0x1d);
}

static void encryption_that_is_off_leaves_no_trace(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_npt_of(&fmt, 4, true, 43, C_BIT, 0);
	KUNIT_EXPECT_EQ(test, fmt.table, 0x27);
	KUNIT_EXPECT_EQ(test, fmt.leaf, 0x5);
	KUNIT_EXPECT_EQ(test, fmt.memtype[KILN_MEMTYPE_WB], 0);
	KUNIT_EXPECT_FALSE(test, fmt.addr & C_BIT);
}

static void the_tree_has_as_many_levels_as_the_hosts(struct kunit *test)
{
	struct kiln_pt_format fmt;
	int level;

	kiln_pt_format_npt_of(&fmt, 5, true, 52, 0, 0);
	KUNIT_EXPECT_EQ(test, fmt.max_level, 5);
	KUNIT_EXPECT_EQ(test, kiln_pt_end(&fmt), 1ULL << 45);
	KUNIT_EXPECT_EQ(test, leaf_in_tree(test, &fmt, 1, fmt.leaf, &level),
			PFN << 12 | 0x5);
	kiln_pt_format_npt_of(&fmt, 4, true, 52, 0, 0);
	KUNIT_EXPECT_EQ(test, fmt.max_level, 4);
	KUNIT_EXPECT_EQ(test, kiln_pt_end(&fmt), 1ULL << 36);
}

static void large_pages_stand_where_the_processor_has_them(struct kunit *test)
{
	struct kiln_pt_format fmt;

	kiln_pt_format_npt_of(&fmt, 4, false, 48, 0, 0);
	KUNIT_EXPECT_EQ(test, fmt.leaf_levels, BIT(1) | BIT(2));
	kiln_pt_format_npt_of(&fmt, 4, true, 48, 0, 0);
	KUNIT_EXPECT_EQ(test, fmt.leaf_levels, BIT(1) | BIT(2) | BIT(3));
}

/* Bits 11:9 are for software; 62:52 may mean protection keys. */
static void software_uses_a_bit_that_hardware_ignores(struct kunit *test)
{
	struct kiln_pt_format fmt = plain();

	KUNIT_EXPECT_EQ(test, hweight64(fmt.sw_tracked), 1);
	KUNIT_EXPECT_EQ(test, fmt.sw_tracked & ~GENMASK_ULL(11, 9), 0);
}

static struct kunit_case npt_format_cases[] = {
	KUNIT_CASE(a_4k_leaf_of_ram_is_a_write_back_user_page),
	KUNIT_CASE(a_leaf_that_is_not_ram_is_strongly_uncached),
	KUNIT_CASE(large_leaves_have_bit_7),
	KUNIT_CASE(a_table_allows_everything),
	KUNIT_CASE(execution_is_forbidden_not_allowed),
	KUNIT_CASE(the_flags_are_the_processors),
	KUNIT_CASE(the_marker_has_an_address_bit_too_many),
	KUNIT_CASE(the_marker_is_not_the_encryption_bit),
	KUNIT_CASE(without_a_reserved_bit_the_marker_is_not_present),
	KUNIT_CASE(encrypted_memory_has_the_bit_in_each_entry),
	KUNIT_CASE(what_is_not_ram_is_not_encrypted),
	KUNIT_CASE(encryption_that_is_off_leaves_no_trace),
	KUNIT_CASE(the_tree_has_as_many_levels_as_the_hosts),
	KUNIT_CASE(large_pages_stand_where_the_processor_has_them),
	KUNIT_CASE(software_uses_a_bit_that_hardware_ignores),
	{ }
};

struct kunit_suite npt_format_suite = {
	.name = "kiln_npt_format",
	.test_cases = npt_format_cases,
};
