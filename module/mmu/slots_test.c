// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: what is accepted, what is found, what is refused and with
 * which errno. Host addresses are numbers: nothing is there.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "mmu_test.h"
#include "slots.h"

#define MIB		BIT_ULL(20)
#define HVA		0x7f0000000000ULL
#define GPA_BITS	46

static int slots_init(struct kunit *test)
{
	struct kiln_slots *slots = kunit_kzalloc(test, sizeof(*slots),
						 GFP_KERNEL);

	if (!slots)
		return -ENOMEM;
	kiln_slots_init(slots, GPA_BITS);
	test->priv = slots;
	return 0;
}

static void slots_exit(struct kunit *test)
{
	if (test->priv)
		kiln_slots_destroy(test->priv);
}

static int set_region(struct kunit *test,
		      const struct kvm_userspace_memory_region *region)
{
	struct kiln_slots *slots = test->priv;
	struct kiln_slot_change change;
	int r;

	r = kiln_slots_prepare(slots, region, &change);
	if (r || (!change.old && !change.new))
		return r;
	kiln_slots_publish(slots, &change);
	kiln_slots_finish(&change);
	return 0;
}

static int set(struct kunit *test, u32 id, u64 gpa, u64 size, u64 hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = hva,
	};

	return set_region(test, &region);
}

/* The number of the slot that has @gpa, or -1. */
static int find(struct kunit *test, u64 gpa)
{
	const struct kiln_slot *slot = kiln_slots_find(test->priv,
						       gpa >> PAGE_SHIFT);

	return slot ? slot->id : -1;
}

static void no_slot_has_anything(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, find(test, 0), -1);
	KUNIT_EXPECT_EQ(test, find(test, ~0ULL), -1);
}

static void a_slot_has_its_first_and_last_page_and_no_more(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;
	const struct kiln_slot *slot;

	KUNIT_EXPECT_EQ(test, set(test, 5, MIB, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, find(test, MIB - 1), -1);
	KUNIT_EXPECT_EQ(test, find(test, MIB), 5);
	KUNIT_EXPECT_EQ(test, find(test, 2 * MIB - 1), 5);
	KUNIT_EXPECT_EQ(test, find(test, 2 * MIB), -1);
	slot = kiln_slots_find(slots, 257);
	KUNIT_ASSERT_NOT_NULL(test, slot);
	KUNIT_EXPECT_EQ(test, kiln_slot_hva(slot, 257), HVA + PAGE_SIZE);
}

static void slots_are_found_in_whatever_order_they_came(struct kunit *test)
{
	static const u8 order[] = { 3, 0, 7, 5, 1, 6, 2, 4 };
	int i;

	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, set(test, order[i], order[i] * 2 * MIB,
					  MIB, HVA), 0);
	for (i = 0; i < 8; i++) {
		KUNIT_EXPECT_EQ(test, find(test, i * 2 * MIB), i);
		KUNIT_EXPECT_EQ(test, find(test, (i * 2 + 1) * MIB), -1);
	}
}

static void slots_may_touch_but_not_overlap(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, set(test, 0, 4 * MIB, 4 * MIB, HVA), 0);
	/* inside, around, same, first page, last page */
	KUNIT_EXPECT_EQ(test, set(test, 1, 5 * MIB, MIB, HVA), -EEXIST);
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 16 * MIB, HVA), -EEXIST);
	KUNIT_EXPECT_EQ(test, set(test, 1, 4 * MIB, 4 * MIB, HVA), -EEXIST);
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 4 * MIB + PAGE_SIZE, HVA),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, set(test, 1, 8 * MIB - PAGE_SIZE, MIB, HVA),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, find(test, 0), -1);
	/* right before, right behind */
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 4 * MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 2, 8 * MIB, 4 * MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, find(test, 4 * MIB - 1), 1);
	KUNIT_EXPECT_EQ(test, find(test, 4 * MIB), 0);
	KUNIT_EXPECT_EQ(test, find(test, 8 * MIB), 2);
}

static void host_memory_may_serve_several_slots(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 1, MIB, MIB, HVA), 0);
}

static const struct bad_region {
	const char *what;
	struct kvm_userspace_memory_region region;
} bad_regions[] = {
	{ "misaligned guest address", { 0, 0, 0x800, MIB, HVA } },
	{ "misaligned size", { 0, 0, 0, 0x1001, HVA } },
	{ "misaligned host address", { 0, 0, 0, MIB, HVA + 8 } },
	{ "kernel address", { 0, 0, 0, MIB, 0xffff888000000000ULL } },
	{ "not an address", { 0, 0, 0, MIB, 0x8000000000000000ULL } },
	{ "end of user space", { 0, 0, 0, MIB, BIT_ULL(56) - 2 * PAGE_SIZE } },
	{ "wrapping host address", { 0, 0, 0, MIB, ~0ULL & PAGE_MASK } },
	{ "slot number too large", { KILN_NR_SLOTS, 0, 0, MIB, HVA } },
	{ "address space 1", { 1 << 16, 0, 0, MIB, HVA } },
	{ "unknown flag", { 0, 1 << 2, 0, MIB, HVA } },
	{ "wrapping guest address", { 0, 0, ~0ULL & PAGE_MASK, MIB, HVA } },
	{ "end beyond physical addresses",
	  { 0, 0, (1ULL << GPA_BITS) - PAGE_SIZE, MIB, HVA } },
	{ "beyond physical addresses",
	  { 0, 0, 1ULL << GPA_BITS, MIB, HVA } },
	{ "more than 2^31 - 1 pages", { 0, 0, 0, 1ULL << 43, 0 } },
	{ "delete what is not there", { 0, 0, 0, 0, HVA } },
};

static void bad_regions_are_refused(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;
	unsigned long generation = slots->generation;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad_regions); i++)
		KUNIT_EXPECT_EQ_MSG(test,
				    set_region(test, &bad_regions[i].region),
				    -EINVAL, "%s", bad_regions[i].what);
	KUNIT_EXPECT_EQ(test, slots->generation, generation);
	/* the last page there is */
	KUNIT_EXPECT_EQ(test, set(test, KILN_NR_SLOTS - 1,
				  (1ULL << GPA_BITS) - PAGE_SIZE, PAGE_SIZE,
				  TASK_SIZE_MAX - PAGE_SIZE), 0);
}

static void a_slot_set_again_stays_as_it_is(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;
	unsigned long generation;

	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	generation = slots->generation;
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, slots->generation, generation);
}

static void size_host_address_and_readonly_cannot_change(struct kunit *test)
{
	struct kvm_userspace_memory_region ro = {
		.flags = KVM_MEM_READONLY,
		.memory_size = MIB,
		.userspace_addr = HVA,
	};

	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, 2 * MIB, HVA), -EINVAL);
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA + MIB), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_region(test, &ro), -EINVAL);
	KUNIT_EXPECT_EQ(test, set(test, 0, MIB, 2 * MIB, HVA), -EINVAL);
	KUNIT_EXPECT_EQ(test, find(test, 0), 0);
	KUNIT_EXPECT_EQ(test, find(test, MIB), -1);
}

static void a_moved_slot_is_where_it_moved(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, 2 * MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 1, 8 * MIB, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 0, 7 * MIB, 2 * MIB, HVA), -EEXIST);
	KUNIT_EXPECT_EQ(test, find(test, 0), 0);
	KUNIT_EXPECT_EQ(test, set(test, 0, 16 * MIB, 2 * MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, find(test, 0), -1);
	KUNIT_EXPECT_EQ(test, find(test, 16 * MIB), 0);
	/* it does not stand in its own way */
	KUNIT_EXPECT_EQ(test, set(test, 0, 17 * MIB, 2 * MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, find(test, 16 * MIB), -1);
	KUNIT_EXPECT_EQ(test, find(test, 19 * MIB - 1), 0);
	KUNIT_EXPECT_EQ(test, find(test, 8 * MIB), 1);
}

static void a_deleted_slot_is_gone_and_its_place_is_free(struct kunit *test)
{
	int i;

	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, set(test, i, i * MIB, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, find(test, MIB), -1);
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, set(test, 3, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, find(test, 3 * MIB), -1);
	KUNIT_EXPECT_EQ(test, find(test, 0), 0);
	KUNIT_EXPECT_EQ(test, find(test, 2 * MIB), 2);
	KUNIT_EXPECT_EQ(test, set(test, 9, MIB, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, find(test, MIB), 9);
}

static void a_remembered_slot_is_forgotten_with_any_change(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;
	struct kiln_mmu_cpu cpu = { };
	const struct kiln_slot *slot;

	KUNIT_EXPECT_NULL(test, kiln_slots_find_cached(slots, &cpu, 0));
	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	slot = kiln_slots_find_cached(slots, &cpu, 3);
	KUNIT_ASSERT_NOT_NULL(test, slot);
	KUNIT_EXPECT_PTR_EQ(test, cpu.slot, slot);
	KUNIT_EXPECT_EQ(test, cpu.generation, slots->generation);
	/* outside of what is remembered */
	KUNIT_EXPECT_NULL(test, kiln_slots_find_cached(slots, &cpu, 256));

	KUNIT_EXPECT_EQ(test, set(test, 0, 0, 0, 0), 0);
	KUNIT_EXPECT_NE(test, cpu.generation, slots->generation);
	KUNIT_EXPECT_NULL(test, kiln_slots_find_cached(slots, &cpu, 3));
}

static void a_hole_ends_at_its_neighbours(struct kunit *test)
{
	u64 start, end;

	kiln_slots_hole(test->priv, 77, &start, &end);
	KUNIT_EXPECT_EQ(test, start, 0);
	KUNIT_EXPECT_EQ(test, end, U64_MAX);
	KUNIT_EXPECT_EQ(test, set(test, 0, MIB, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 1, 4 * MIB, MIB, HVA), 0);
	kiln_slots_hole(test->priv, 0, &start, &end);
	KUNIT_EXPECT_EQ(test, start, 0);
	KUNIT_EXPECT_EQ(test, end, 256);
	kiln_slots_hole(test->priv, 600, &start, &end);
	KUNIT_EXPECT_EQ(test, start, 512);
	KUNIT_EXPECT_EQ(test, end, 1024);
	kiln_slots_hole(test->priv, 1280, &start, &end);
	KUNIT_EXPECT_EQ(test, start, 1280);
	KUNIT_EXPECT_EQ(test, end, U64_MAX);
}

static void slots_are_found_by_host_address(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;
	struct interval_tree_node *node;

	KUNIT_EXPECT_EQ(test, set(test, 0, 0, MIB, HVA), 0);
	KUNIT_EXPECT_EQ(test, set(test, 1, 8 * MIB, MIB, HVA + MIB), 0);
	node = interval_tree_iter_first(&slots->by_hva, HVA + MIB,
					HVA + MIB);
	KUNIT_ASSERT_NOT_NULL(test, node);
	KUNIT_EXPECT_EQ(test, container_of(node, struct kiln_slot, hva)->id, 1);
	KUNIT_EXPECT_NULL(test, interval_tree_iter_next(node, HVA + MIB,
							HVA + MIB));
	KUNIT_EXPECT_EQ(test, set(test, 1, 0, 0, 0), 0);
	KUNIT_EXPECT_NULL(test, interval_tree_iter_first(&slots->by_hva,
							 HVA + MIB, ~0UL));
}

static void alignment_says_how_large_leaves_can_be(struct kunit *test)
{
	struct kiln_slots *slots = test->priv;

	set(test, 0, 0, 2 * MIB, HVA);
	set(test, 1, 4 * MIB, 2 * MIB, HVA + 2 * MIB);
	set(test, 2, 8 * MIB, 2 * MIB, HVA + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kiln_slots_find(slots, 0)->max_level, 3);
	KUNIT_EXPECT_EQ(test, kiln_slots_find(slots, 1024)->max_level, 2);
	KUNIT_EXPECT_EQ(test, kiln_slots_find(slots, 2048)->max_level, 1);
}

static void fill(struct kunit *test, int nr, bool down)
{
	int i, missing = 0, refused = 0;

	for (i = 0; i < nr; i++) {
		int id = down ? nr - 1 - i : i;

		refused += set(test, id, id * 2 * PAGE_SIZE, PAGE_SIZE,
			       HVA) != 0;
		cond_resched();
	}
	for (i = 0; i < nr; i++)
		missing += find(test, i * 2 * PAGE_SIZE) != i ||
			   find(test, (i * 2 + 1) * PAGE_SIZE) != -1;
	KUNIT_EXPECT_EQ(test, refused, 0);
	KUNIT_EXPECT_EQ(test, missing, 0);
}

static void all_slots_can_be_used_upwards(struct kunit *test)
{
	fill(test, KILN_NR_SLOTS, false);
}

/* Fewer: each is a copy of the array. */
static void many_slots_can_be_used_downwards(struct kunit *test)
{
	fill(test, 4096, true);
}

#define MODEL_SLOTS	64
#define MODEL_PAGES	512

/* Create, move and delete at random; @owner says who has each page. */
static void random_changes_agree_with_a_plain_model(struct kunit *test)
{
	struct { u32 first, n; } slot[MODEL_SLOTS] = { };
	s16 *owner = kunit_kmalloc_array(test, MODEL_PAGES, sizeof(*owner),
					 GFP_KERNEL);
	struct rnd_state rnd;
	int i, j;

	KUNIT_ASSERT_NOT_NULL(test, owner);
	memset(owner, 0xff, MODEL_PAGES * sizeof(*owner));
	prandom_seed_state(&rnd, 2026);
	for (i = 0; i < 20000; i++) {
		u32 id = prandom_u32_state(&rnd) % MODEL_SLOTS;
		u32 n = slot[id].n ?: 1 + prandom_u32_state(&rnd) % 16;
		u32 first = prandom_u32_state(&rnd) % (MODEL_PAGES - n);
		bool delete = slot[id].n && prandom_u32_state(&rnd) % 2;
		bool clash = false;

		for (j = first; j < first + n; j++)
			clash |= owner[j] != -1 && owner[j] != id;
		KUNIT_EXPECT_EQ(test, set(test, id, first << PAGE_SHIFT,
					  delete ? 0 : n << PAGE_SHIFT, HVA),
				!delete && clash ? -EEXIST : 0);
		if (clash && !delete)
			continue;
		for (j = 0; j < MODEL_PAGES; j++)
			if (owner[j] == id)
				owner[j] = -1;
		slot[id].first = first;
		slot[id].n = delete ? 0 : n;
		for (j = first; j < first + slot[id].n; j++)
			owner[j] = id;
		for (j = 0; i % 16 == 0 && j < MODEL_PAGES; j++)
			KUNIT_ASSERT_EQ(test, find(test, (u64)j << PAGE_SHIFT),
					owner[j]);
	}
}

static struct kunit_case slots_cases[] = {
	KUNIT_CASE(no_slot_has_anything),
	KUNIT_CASE(a_slot_has_its_first_and_last_page_and_no_more),
	KUNIT_CASE(slots_are_found_in_whatever_order_they_came),
	KUNIT_CASE(slots_may_touch_but_not_overlap),
	KUNIT_CASE(host_memory_may_serve_several_slots),
	KUNIT_CASE(bad_regions_are_refused),
	KUNIT_CASE(a_slot_set_again_stays_as_it_is),
	KUNIT_CASE(size_host_address_and_readonly_cannot_change),
	KUNIT_CASE(a_moved_slot_is_where_it_moved),
	KUNIT_CASE(a_deleted_slot_is_gone_and_its_place_is_free),
	KUNIT_CASE(a_remembered_slot_is_forgotten_with_any_change),
	KUNIT_CASE(a_hole_ends_at_its_neighbours),
	KUNIT_CASE(slots_are_found_by_host_address),
	KUNIT_CASE(alignment_says_how_large_leaves_can_be),
	KUNIT_CASE(all_slots_can_be_used_upwards),
	KUNIT_CASE(many_slots_can_be_used_downwards),
	KUNIT_CASE(random_changes_agree_with_a_plain_model),
	{ }
};

struct kunit_suite slots_suite = {
	.name = "kiln_slots",
	.init = slots_init,
	.exit = slots_exit,
	.test_cases = slots_cases,
};
