// SPDX-License-Identifier: GPL-2.0-only
/* The vring engine on split rings: the rules of virtio 1.2 §2.7. */
#include <kunit/test.h>
#include <linux/errno.h>

#include "vring_test.h"

#define NUM		8

static void nothing_is_available_at_first(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_empty(&r->vr));
	KUNIT_EXPECT_EQ(test, r->vr.broken, 0);
}

static void a_buffer_to_be_read(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 5, DATA + 0x10, 0x123, 0, 0);
	split_offer(r, 5);
	KUNIT_EXPECT_FALSE(test, kiln_vring_empty(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 0x123, 0, 0);
	ring_piece(test, r, 0, AT_DATA + 0x10, 0x123);
	KUNIT_EXPECT_EQ(test, r->chain.id, 5);
	KUNIT_EXPECT_EQ(test, r->chain.nr, 1);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
}

static void a_chain_to_be_read_then_written(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 7, DATA, 16, F_NEXT, 2);
	split_desc(r, 2, DATA + 0x100, 32, F_NEXT, 0);
	split_desc(r, 0, DATA + 0x200, 64, F_NEXT | F_WRITE, 4);
	split_desc(r, 4, DATA + 0x300, 1, F_WRITE, 7);
	split_offer(r, 7);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 2, 48, 2, 65);
	ring_piece(test, r, 0, AT_DATA, 16);
	ring_piece(test, r, 1, AT_DATA + 0x100, 32);
	ring_piece(test, r, 2, AT_DATA + 0x200, 64);
	ring_piece(test, r, 3, AT_DATA + 0x300, 1);
	KUNIT_EXPECT_EQ(test, r->chain.nr, 4);
}

static void an_empty_buffer_is_no_piece(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 0, ~0ULL, 0, F_NEXT, 1);
	split_desc(r, 1, DATA, 4, 0, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 4, 0, 0);
}

/* Twice the ring's size, so that a chain of all descriptors is no loop. */
static void a_chain_may_take_the_whole_ring(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	unsigned int round, i;

	for (i = 0; i < NUM; i++)
		split_desc(r, i, DATA + i, 1, i < NUM - 1 ? F_NEXT : 0, i + 1);
	for (round = 0; round < 2 * NUM; round++) {
		split_offer(r, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		ring_counts(test, r, NUM, NUM, 0, 0);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	}
}

static void a_buffer_may_span_slots(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 0, SECOND - 0x10, 0x30, F_WRITE, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 0, 0, 2, 0x30);
	ring_piece(test, r, 0, AT_ROM - 0x10, 0x10);
	ring_piece(test, r, 1, AT_SECOND, 0x20);
}

static void a_read_only_slot_may_be_read(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 0, ROM, ROM_SIZE, 0, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_piece(test, r, 0, AT_ROM, ROM_SIZE);
}

static void indices_wrap(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	unsigned int i;

	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0xfffe), 0);
	r->vr.used_idx = 0xfffe;
	r->avail = 0xfffe;
	for (i = 0; i < 4; i++) {
		split_desc(r, i, DATA, 4, F_WRITE, 0);
		split_offer(r, i);
	}
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		KUNIT_EXPECT_EQ(test, r->chain.id, i);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, i), 0);
	}
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 2);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2), 2);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 6 * 8, 8), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 7 * 8, 8),
			0x100000001ULL);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4, 8), 0x200000002ULL);
}

static void a_base_is_gone_on_from(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	ring_put(r, AT_AVAIL + 2, 0x1234, 2);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x1234), 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	r->avail = 0x1234;
	split_desc(r, 3, DATA, 4, 0, 0);
	split_offer(r, 3);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, r->chain.id, 3);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x1235);
}

/* Two chains, given back the other way round. */
static void chains_are_used_in_any_order(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	struct kiln_vring_chain first;

	split_desc(r, 3, DATA, 8, F_WRITE, 0);
	split_desc(r, 6, DATA, 8, F_WRITE, 0);
	split_offer(r, 3);
	split_offer(r, 6);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	first = r->chain;
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 8), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2), 1);
	KUNIT_EXPECT_EQ(test, r->memory.last_write, AT_USED + 2);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &first, 5), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2), 2);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4, 8), 0x800000006ULL);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 12, 8), 0x500000003ULL);
	KUNIT_EXPECT_EQ(test, r->vr.in_flight, 0);
}

static void what_is_not_wanted_is_given_back(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	struct kiln_vring_chain first;

	split_desc(r, 1, DATA, 8, 0, 0);
	split_desc(r, 2, DATA, 8, F_NEXT, 3);
	split_desc(r, 3, DATA, 8, 0, 0);
	split_offer(r, 1);
	split_offer(r, 2);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	first = r->chain;
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	kiln_vring_unpop(&r->vr, &r->chain);
	kiln_vring_unpop(&r->vr, &first);
	KUNIT_EXPECT_EQ(test, r->vr.in_flight, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, r->chain.id, 1);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, r->chain.id, 2);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
}

/* §2.7.5.3 */
static void a_table_holds_a_chain(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | INDIRECT, NUM);

	split_put(r, AT_TABLE, 0, DATA, 1, F_NEXT, 3);
	split_put(r, AT_TABLE, 3, DATA + 16, 2, F_NEXT | F_WRITE, 1);
	split_put(r, AT_TABLE, 1, DATA + 32, 4, F_WRITE, 2);
	/* the write flag of the descriptor itself is nothing */
	split_desc(r, 4, TABLE, 4 * 16, F_INDIRECT | F_WRITE, 0);
	split_offer(r, 4);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 1, 2, 6);
	ring_piece(test, r, 2, AT_DATA + 32, 4);
	KUNIT_EXPECT_EQ(test, r->chain.id, 4);
	KUNIT_EXPECT_EQ(test, r->chain.nr, 1);
}

static void a_table_may_be_longer_than_the_ring(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | INDIRECT, 2);
	unsigned int i;

	for (i = 0; i < 40; i++)
		split_put(r, AT_TABLE, i, DATA + i, 1, i < 39 ? F_NEXT : 0,
			  i + 1);
	split_desc(r, 0, TABLE, 40 * 16, F_INDIRECT, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 40, 40, 0, 0);
}

static void a_table_may_follow_descriptors(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | INDIRECT, NUM);

	split_desc(r, 0, DATA, 16, F_NEXT, 1);
	split_desc(r, 1, TABLE, 16, F_INDIRECT, 0);
	split_put(r, AT_TABLE, 0, DATA + 16, 16, F_WRITE, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 16, 1, 16);
	KUNIT_EXPECT_EQ(test, r->chain.nr, 2);
}

/* Tables need no alignment. */
static void a_table_may_span_slots(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | INDIRECT, NUM);
	u8 entry[16];

	split_put(r, AT_TABLE, 0, DATA, 7, 0, 0);
	memcpy(entry, r->bytes + AT_TABLE, 16);
	memcpy(r->bytes + AT_ROM - 5, entry, 5);
	memcpy(r->bytes + AT_SECOND, entry + 5, 11);
	split_desc(r, 0, SECOND - 5, 16, F_INDIRECT, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 7, 0, 0);
}

/*
 * What breaks a ring: descriptor 0 with these fields, the table's first two
 * with those, and what comes of it.
 */
static const struct {
	const char *cause;
	int error;
	u16 head;
	u64 addr;
	u32 len;
	u16 flags;
	u16 next;
	struct {
		u64 addr;
		u32 len;
		u16 flags;
		u16 next;
	} entry[2];
} bad[] = {
	{ "a chain begins beyond the descriptor table", -EINVAL, .head = NUM },
	{ "a chain begins beyond the descriptor table", -EINVAL,
	  .head = 0xffff },
	{ "a chain goes on beyond its table", -EINVAL, 0, DATA, 1, F_NEXT,
	  NUM },
	{ "a chain goes on beyond its table", -EINVAL, 0, DATA, 1, F_NEXT,
	  0xffff },
	{ "a chain is longer than its table, or loops", -EINVAL, 0, DATA, 1,
	  F_NEXT, 0 },
	{ "a chain is longer than its table, or loops", -EINVAL, 0, DATA, 0,
	  F_NEXT, 0 },
	{ "a buffer is where there is no memory", -EFAULT, 0, 0, 1 },
	{ "a buffer is where there is no memory", -EFAULT, 0, RAM - 1, 2 },
	{ "a buffer is where there is no memory", -EFAULT, 0,
	  SECOND + SECOND_SIZE - 1, 2 },
	{ "a buffer is where there is no memory", -EFAULT, 0, ~1ULL, 1 },
	{ "a buffer wraps around the address space", -EINVAL, 0, ~0ULL, 2 },
	{ "a buffer wraps around the address space", -EINVAL, 0,
	  0 - 0x10ULL, 0xffffffff },
	{ "a buffer to be written is in read-only memory", -EPERM, 0, ROM, 1,
	  F_WRITE },
	{ "an indirect table within another", -EINVAL, 0, TABLE, 32, F_INDIRECT,
	  0, { { TABLE, 32, F_INDIRECT } } },
	{ "an indirect table within another", -EINVAL, 0, TABLE, 32, F_INDIRECT,
	  0, { { DATA, 1, F_NEXT, 1 }, { TABLE, 32, F_INDIRECT } } },
	{ "a chain goes on after an indirect table", -EINVAL, 0, TABLE, 32,
	  F_INDIRECT | F_NEXT, 1 },
	{ "the size of an indirect table is no number of descriptors", -EINVAL,
	  0, TABLE, 0, F_INDIRECT },
	{ "the size of an indirect table is no number of descriptors", -EINVAL,
	  0, TABLE, 15, F_INDIRECT },
	{ "the size of an indirect table is no number of descriptors", -EINVAL,
	  0, TABLE, 33, F_INDIRECT },
	{ "an indirect table is longer than any queue", -EINVAL, 0, TABLE,
	  32769 * 16, F_INDIRECT },
	{ "an indirect table is longer than any queue", -EINVAL, 0, TABLE,
	  0xfffffff0, F_INDIRECT },
	{ "an indirect table wraps around the address space", -EINVAL, 0,
	  0 - 0x10ULL, 0x20, F_INDIRECT },
	{ "an indirect table is not in memory", -EFAULT, 0, 0, 32, F_INDIRECT },
	{ "an indirect table is not in memory", -EFAULT, 0,
	  SECOND + SECOND_SIZE - 16, 32, F_INDIRECT },
	{ "a chain goes on beyond its table", -EINVAL, 0, TABLE, 32,
	  F_INDIRECT, 0, { { DATA, 1, F_NEXT, 2 } } },
	{ "a chain is longer than its table, or loops", -EINVAL, 0, TABLE, 32,
	  F_INDIRECT, 0, { { DATA, 1, F_NEXT, 1 }, { DATA, 1, F_NEXT, 0 } } },
	{ "a chain is longer than its table, or loops", -EINVAL, 0, TABLE, 16,
	  F_INDIRECT, 0, { { DATA, 1, F_NEXT, 0 } } },
	{ "a buffer to be read comes after one to be written", -EINVAL, 0,
	  TABLE, 32, F_INDIRECT, 0,
	  { { DATA, 1, F_NEXT | F_WRITE, 1 }, { DATA, 1 } } },
	{ "a buffer to be read comes after one to be written", -EINVAL, 0,
	  TABLE, 32, F_INDIRECT, 0,
	  { { DATA, 0, F_NEXT | F_WRITE, 1 }, { DATA, 0 } } },
};

static void broken_rules_break_the_ring(struct kunit *test)
{
	struct ring *r;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r = ring_setup(test, SPLIT | INDIRECT, NUM);
		split_desc(r, 0, bad[i].addr, bad[i].len, bad[i].flags,
			   bad[i].next);
		/* where a table ends in memory that goes on nowhere */
		split_put(r, AT_SECOND, SECOND_SIZE / 16 - 1, DATA, 1, F_NEXT,
			  1);
		for (n = 0; n < 2; n++)
			split_put(r, AT_TABLE, n, bad[i].entry[n].addr,
				  bad[i].entry[n].len, bad[i].entry[n].flags,
				  bad[i].entry[n].next);
		split_offer(r, bad[i].head);
		ring_pop_broken(test, r, bad[i].error, bad[i].cause);
		kunit_kfree(test, r);
	}
}

static void tables_have_to_be_negotiated(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	split_desc(r, 0, TABLE, 16, F_INDIRECT, 0);
	split_offer(r, 0);
	ring_pop_broken(test, r, -EINVAL,
			"an indirect table, though none were negotiated");
}

static void the_index_goes_on_by_what_there_is(struct kunit *test)
{
	static const char cause[] =
		"the available index went on by more than the ring has entries";
	struct ring *r = ring_setup(test, SPLIT, NUM);

	ring_put(r, AT_AVAIL + 2, NUM, 2);
	split_desc(r, 0, DATA, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	r = ring_setup(test, SPLIT, NUM);
	ring_put(r, AT_AVAIL + 2, NUM + 1, 2);
	ring_pop_broken(test, r, -EINVAL, cause);
	r = ring_setup(test, SPLIT, NUM);
	ring_put(r, AT_AVAIL + 2, 0xffff, 2);
	KUNIT_EXPECT_TRUE(test, kiln_vring_empty(&r->vr));
	ring_is_broken(test, r, -EINVAL, cause);
	r = ring_setup(test, SPLIT, NUM);
	ring_put(r, AT_AVAIL + 2, NUM + 1, 2);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	ring_is_broken(test, r, -EINVAL, cause);
}

/* The same head again and again: a device has room for as many as there are. */
static void no_more_are_in_flight_than_there_are(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	unsigned int i;

	split_desc(r, 0, DATA, 1, F_NEXT, 1);
	split_desc(r, 1, DATA, 1, 0, 0);
	for (i = 0; i < NUM / 2; i++) {
		split_offer(r, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	}
	KUNIT_EXPECT_EQ(test, r->vr.in_flight, NUM);
	split_offer(r, 0);
	ring_pop_broken(test, r, -EINVAL,
			"more descriptors are available and in use than the ring has");
}

/* 2^32 bytes are all right, one more is not. */
static void a_chain_has_a_longest_length(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	r->memory.slots[0].len = 0x200000000ULL;
	split_desc(r, 0, RAM, 0xffffffff, F_NEXT, 1);
	split_desc(r, 1, RAM, 1, F_WRITE, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 1, 0xffffffff, 1, 1);
	split_desc(r, 1, RAM, 2, F_WRITE, 0);
	split_offer(r, 0);
	ring_pop_broken(test, r, -EINVAL, "a chain is longer than 4 GiB");
}

static void a_chain_has_as_many_pieces_as_fit(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	r->chain.iov_max = 2;
	split_desc(r, 0, SECOND - 1, 2, 0, 1);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	ring_counts(test, r, 2, 2, 0, 0);
	split_desc(r, 0, SECOND - 1, 2, F_NEXT, 1);
	split_desc(r, 1, DATA, 1, 0, 1);
	split_offer(r, 0);
	ring_pop_broken(test, r, -E2BIG,
			"a chain has more pieces than the device can take");
}

static void memory_that_is_gone_breaks_the_ring(struct kunit *test)
{
	static const struct {
		size_t hole;
		const char *cause;
	} holes[] = {
		{ AT_AVAIL + 2, "the available ring is not in memory" },
		{ AT_AVAIL + 4, "the available ring is not in memory" },
		{ AT_DESC + 7, "the descriptor ring is not in memory" },
		{ AT_DESC + 31, "the descriptor ring is not in memory" },
		{ AT_TABLE, "an indirect table is not in memory" },
		{ AT_TABLE + 16, "an indirect table is not in memory" },
	};
	struct ring *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		r = ring_setup(test, SPLIT | INDIRECT, NUM);
		split_desc(r, 0, DATA, 1, F_NEXT, 1);
		split_desc(r, 1, TABLE, 32, F_INDIRECT, 0);
		split_put(r, AT_TABLE, 0, DATA, 1, F_NEXT, 1);
		split_offer(r, 0);
		r->memory.hole = holes[i].hole;
		ring_pop_broken(test, r, -EFAULT, holes[i].cause);
		kunit_kfree(test, r);
	}
}

static void a_used_ring_that_is_gone(struct kunit *test)
{
	static const size_t readonly[] = { AT_USED + 2, AT_USED + 4 };
	struct ring *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(readonly); i++) {
		r = ring_setup(test, SPLIT, NUM);
		split_desc(r, 0, DATA, 1, 0, 0);
		split_offer(r, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		r->memory.readonly = readonly[i];
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0),
				-EFAULT);
		ring_is_broken(test, r, -EFAULT,
			       "the used ring is not in writable memory");
		kunit_kfree(test, r);
	}
}

static struct ring *ring_with_one_used(struct kunit *test, u64 features)
{
	struct ring *r = ring_setup(test, features, NUM);

	split_desc(r, 0, DATA, 1, 0, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	return r;
}

/* §2.7.7 without VIRTIO_RING_F_EVENT_IDX */
static void a_flag_says_whether_to_signal(struct kunit *test)
{
	struct ring *r = ring_with_one_used(test, SPLIT);

	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, SPLIT);
	ring_put(r, AT_AVAIL, VRING_AVAIL_F_NO_INTERRUPT, 2);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, SPLIT);
	r->memory.hole = AT_AVAIL;
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	ring_is_broken(test, r, -EFAULT,
		       "the available ring is not in memory");
}

/* The same with it: when the index named by the driver is passed. */
static void an_index_says_when_to_signal(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | EVENT_IDX, NUM);
	unsigned int i;

	/* the flag is to be ignored then */
	ring_put(r, AT_AVAIL, VRING_AVAIL_F_NO_INTERRUPT, 2);
	split_desc(r, 0, DATA, 1, 0, 0);
	for (i = 0; i < 20; i++) {
		if (i % 5 == 0)
			ring_put(r, AT_AVAIL + 4 + NUM * 2, i + 3, 2);
		split_offer(r, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
		KUNIT_EXPECT_EQ(test, kiln_vring_should_signal(&r->vr),
				i % 5 == 3);
	}
	/* several at once */
	ring_put(r, AT_AVAIL + 4 + NUM * 2, i + 1, 2);
	for (i = 0; i < 3; i++) {
		split_offer(r, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	}
	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, SPLIT | EVENT_IDX);
	r->memory.hole = AT_AVAIL + 4 + NUM * 2;
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	ring_is_broken(test, r, -EFAULT,
		       "the available ring is not in memory");
}

/* Not asked for longer than the index needs to come round: nothing is lost. */
static void a_signal_may_be_late(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | EVENT_IDX, NUM);
	unsigned int i;

	split_desc(r, 0, DATA, 1, 0, 0);
	for (i = 0; i < 0x10000; i++) {
		split_offer(r, 0);
		if (kiln_vring_pop(&r->vr, &r->chain) != 1 ||
		    kiln_vring_push(&r->vr, &r->chain, 0))
			break;
	}
	KUNIT_EXPECT_EQ(test, i, 0x10000);
	/* the driver has seen all but what the ring holds */
	ring_put(r, AT_AVAIL + 4 + NUM * 2, 0 - NUM, 2);
	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
}

/* §2.7.10 without VIRTIO_RING_F_EVENT_IDX */
static void a_flag_asks_for_kicks(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 2), VRING_USED_F_NO_NOTIFY);
	r->memory.last_write = 0;
	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_EQ(test, r->memory.last_write, 0);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 2), 0);
	r->memory.last_write = 0;
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, r->memory.last_write, 0);
	split_desc(r, 0, DATA, 1, 0, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_enable_kicks(&r->vr));
	r->memory.readonly = AT_USED;
	kiln_vring_disable_kicks(&r->vr);
	ring_is_broken(test, r, -EFAULT,
		       "the used ring is not in writable memory");
}

/* Whatever whoever had the ring before has left there. */
static void the_flag_is_written_at_first(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);

	ring_put(r, AT_USED, VRING_USED_F_NO_NOTIFY, 2);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 2), 0);
}

/* The same with it: the flags stay 0. */
static void an_index_asks_for_kicks(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | EVENT_IDX, NUM);

	split_desc(r, 0, DATA, 1, 0, 0);
	split_offer(r, 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + NUM * 8, 2), 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + NUM * 8, 2), 1);
	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 2), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + NUM * 8, 2), 1);
	r->memory.readonly = AT_USED + 4 + NUM * 8;
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	ring_is_broken(test, r, -EFAULT,
		       "the used ring is not in writable memory");
}

static void pop_all(struct kunit *test, struct ring *r,
		    struct kiln_vring_used *used, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		split_desc(r, i, DATA, 4, F_WRITE, 0);
		split_offer(r, i);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		used[i] = kiln_vring_used(&r->chain, 4);
	}
}

static void a_batch_is_seen_as_one(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, NUM);
	struct kiln_vring_used used[3];
	unsigned int i;

	pop_all(test, r, used, 3);
	KUNIT_EXPECT_EQ(test, kiln_vring_push_batch(&r->vr, used, 3), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + i * 8, 8),
				0x400000000ULL | i);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2), 3);
	KUNIT_EXPECT_EQ(test, r->memory.last_write, AT_USED + 2);
}

/* §2.7.9: the last of those that were written as a whole stands for all. */
static void in_order_one_entry_stands_for_several(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT | IN_ORDER, NUM);
	struct kiln_vring_used used[5];

	pop_all(test, r, used, 5);
	used[2].written = 3;
	used[2].whole = false;
	KUNIT_EXPECT_EQ(test, kiln_vring_push_batch(&r->vr, used, 5), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2), 5);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4, 8), 0x300000002ULL);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 1 * 8, 8), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 2 * 8, 8), 0);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 3 * 8, 8),
			0x400000004ULL);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 4 + 4 * 8, 8), 0);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(nothing_is_available_at_first),
	KUNIT_CASE(a_buffer_to_be_read),
	KUNIT_CASE(a_chain_to_be_read_then_written),
	KUNIT_CASE(an_empty_buffer_is_no_piece),
	KUNIT_CASE(a_chain_may_take_the_whole_ring),
	KUNIT_CASE(a_buffer_may_span_slots),
	KUNIT_CASE(a_read_only_slot_may_be_read),
	KUNIT_CASE(indices_wrap),
	KUNIT_CASE(a_base_is_gone_on_from),
	KUNIT_CASE(chains_are_used_in_any_order),
	KUNIT_CASE(what_is_not_wanted_is_given_back),
	KUNIT_CASE(a_table_holds_a_chain),
	KUNIT_CASE(a_table_may_be_longer_than_the_ring),
	KUNIT_CASE(a_table_may_follow_descriptors),
	KUNIT_CASE(a_table_may_span_slots),
	KUNIT_CASE(broken_rules_break_the_ring),
	KUNIT_CASE(tables_have_to_be_negotiated),
	KUNIT_CASE(the_index_goes_on_by_what_there_is),
	KUNIT_CASE(no_more_are_in_flight_than_there_are),
	KUNIT_CASE(a_chain_has_a_longest_length),
	KUNIT_CASE(a_chain_has_as_many_pieces_as_fit),
	KUNIT_CASE(memory_that_is_gone_breaks_the_ring),
	KUNIT_CASE(a_used_ring_that_is_gone),
	KUNIT_CASE(a_flag_says_whether_to_signal),
	KUNIT_CASE(an_index_says_when_to_signal),
	KUNIT_CASE(a_signal_may_be_late),
	KUNIT_CASE(a_flag_asks_for_kicks),
	KUNIT_CASE(the_flag_is_written_at_first),
	KUNIT_CASE(an_index_asks_for_kicks),
	KUNIT_CASE(a_batch_is_seen_as_one),
	KUNIT_CASE(in_order_one_entry_stands_for_several),
	{}
};

struct kunit_suite vring_split_suite = {
	.name = "kiln_vring_split",
	.test_cases = cases,
};
