// SPDX-License-Identifier: GPL-2.0-only
/* The vring engine on packed rings: the rules of virtio 1.2 §2.8. */
#include <kunit/test.h>
#include <linux/errno.h>

#include "vring_test.h"

/* A packed ring's size need not be a power of two. */
#define NUM		5

#define AVAIL		BIT_ULL(VRING_PACKED_DESC_F_AVAIL)
#define USED		BIT_ULL(VRING_PACKED_DESC_F_USED)

/* What a used descriptor says, as the quadword behind its address. */
static u64 used_rest(u32 written, u16 id, bool wrap)
{
	u64 flags = (wrap ? AVAIL | USED : 0) | (written ? F_WRITE : 0);

	return written | (u64)id << 32 | flags << 48;
}

static u64 rest_at(const struct ring *r, u16 index)
{
	return ring_get(r, AT_DESC + index * 16 + 8, 8);
}

static void expect_pop(struct kunit *test, struct ring *r, u16 id, u16 nr)
{
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, r->chain.id, id);
	KUNIT_EXPECT_EQ(test, r->chain.nr, nr);
}

static void nothing_is_available_at_first(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);

	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_empty(&r->vr));
	/* available in the lap before, or used */
	packed_put(r, AT_DESC, 0, DATA, 1, 0, USED);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	packed_put(r, AT_DESC, 0, DATA, 1, 0, AVAIL | USED);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	packed_put(r, AT_DESC, 0, DATA, 1, 0, AVAIL);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
}

static void a_buffer_to_be_written(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);

	/* an id is the driver's affair: any will do */
	packed_desc(r, DATA, 0x80, 0xbeef, F_WRITE);
	KUNIT_EXPECT_FALSE(test, kiln_vring_empty(&r->vr));
	expect_pop(test, r, 0xbeef, 1);
	ring_counts(test, r, 0, 0, 1, 0x80);
	ring_piece(test, r, 0, AT_DATA, 0x80);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0x7f), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 0) == used_rest(0x7f, 0xbeef, true));
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	packed_desc(r, DATA, 0x80, 1, 0);
	expect_pop(test, r, 1, 1);
	ring_counts(test, r, 1, 0x80, 0, 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 1) == used_rest(0, 1, true));
}

/* §2.8.6; round and round, so that chains lie across the ring's end. */
static void a_chain_has_its_id_at_its_end(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	unsigned int i, at = 0;
	bool wrap = true;

	for (i = 0; i < 4 * NUM; i++) {
		packed_desc(r, DATA, 1, 0x1111, F_NEXT);
		packed_desc(r, DATA + 1, 2, 0x2222, F_NEXT);
		packed_desc(r, DATA + 3, 4, i, F_WRITE);
		expect_pop(test, r, i, 3);
		ring_counts(test, r, 2, 3, 1, 4);
		ring_piece(test, r, 2, AT_DATA + 3, 4);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 4), 0);
		KUNIT_EXPECT_TRUE(test, rest_at(r, at) == used_rest(4, i, wrap));
		at += 3;
		if (at >= NUM) {
			at -= NUM;
			wrap = !wrap;
		}
		KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr),
				(at | wrap << 15) * 0x10001U);
	}
}

static void a_chain_may_take_the_whole_ring(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	unsigned int round, i;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < NUM; i++)
			packed_desc(r, DATA + i, 1, 9, i < NUM - 1 ? F_NEXT : 0);
		expect_pop(test, r, 9, NUM);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	}
	r = ring_setup(test, PACKED, 1);
	for (i = 0; i < 3; i++) {
		packed_desc(r, DATA, 1, i, 0);
		expect_pop(test, r, i, 1);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	}
}

/* What is used last is written last, wherever it was made available. */
static void chains_are_used_in_any_order(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	struct kiln_vring_chain first;

	packed_desc(r, DATA, 1, 7, 0);
	packed_desc(r, DATA, 8, 8, F_NEXT | F_WRITE);
	packed_desc(r, DATA, 8, 8, F_NEXT | F_WRITE);
	packed_desc(r, DATA, 8, 8, F_WRITE);
	expect_pop(test, r, 7, 1);
	first = r->chain;
	expect_pop(test, r, 8, 3);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 24), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 0) == used_rest(24, 8, true));
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &first, 0), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 3) == used_rest(0, 7, true));
	KUNIT_EXPECT_EQ(test, r->vr.in_flight, 0);
}

static void what_is_not_wanted_is_given_back(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	struct kiln_vring_chain first;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		packed_desc(r, DATA, 1, 7, F_NEXT);
		packed_desc(r, DATA, 1, 7, 0);
		packed_desc(r, DATA, 1, 8, 0);
		expect_pop(test, r, 7, 2);
		first = r->chain;
		expect_pop(test, r, 8, 1);
		kiln_vring_unpop(&r->vr, &r->chain);
		kiln_vring_unpop(&r->vr, &first);
		KUNIT_EXPECT_EQ(test, r->vr.in_flight, 0);
		expect_pop(test, r, 7, 2);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
		expect_pop(test, r, 8, 1);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	}
}

static void a_base_is_gone_on_from(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);

	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x00030003), 0);
	r->avail = 3;
	r->wrap = false;
	packed_desc(r, DATA, 1, 7, F_NEXT);
	packed_desc(r, DATA, 1, 7, F_NEXT);
	packed_desc(r, DATA, 1, 7, F_WRITE);
	expect_pop(test, r, 7, 3);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 1), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 3) == used_rest(1, 7, false));
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x80018001);
}

/* §2.8.7: one after the other, whatever the other flags and ids say. */
static void a_table_is_taken_as_a_whole(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED | INDIRECT, NUM);

	packed_put(r, AT_TABLE, 0, DATA, 1, 0x1234, 0);
	packed_put(r, AT_TABLE, 1, DATA + 16, 2, 0, F_NEXT | F_INDIRECT);
	packed_put(r, AT_TABLE, 2, DATA + 32, 4, 0, F_WRITE | AVAIL | USED);
	packed_desc(r, TABLE, 3 * 16, 6, F_INDIRECT | F_WRITE);
	expect_pop(test, r, 6, 1);
	ring_counts(test, r, 2, 3, 1, 4);
	ring_piece(test, r, 1, AT_DATA + 16, 2);
	ring_piece(test, r, 2, AT_DATA + 32, 4);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
}

static void a_table_does_not_follow_descriptors(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED | INDIRECT, NUM);

	packed_desc(r, DATA, 16, 6, F_NEXT);
	packed_desc(r, TABLE, 16, 6, F_INDIRECT);
	ring_pop_broken(test, r, -EINVAL,
			"an indirect table at the end of a packed chain");
}

static void broken_rules_break_the_ring(struct kunit *test)
{
	static const struct {
		const char *cause;
		u64 features;
		u64 addr;
		u32 len;
		u16 flags;
	} bad[] = {
		{ "an indirect table, though none were negotiated", 0, TABLE,
		  16, F_INDIRECT },
		{ "a chain goes on after an indirect table", INDIRECT, TABLE,
		  16, F_INDIRECT | F_NEXT },
		{ "the size of an indirect table is no number of descriptors",
		  INDIRECT, TABLE, 0, F_INDIRECT },
		{ "the size of an indirect table is no number of descriptors",
		  INDIRECT, TABLE, 17, F_INDIRECT },
		{ "an indirect table is longer than any queue", INDIRECT, TABLE,
		  32769 * 16, F_INDIRECT },
		{ "a buffer wraps around the address space", 0, ~0ULL, 2, 0 },
		{ "a chain goes on in a descriptor that is not available", 0,
		  DATA, 1, F_NEXT },
	};
	struct ring *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r = ring_setup(test, PACKED | bad[i].features, NUM);
		packed_desc(r, bad[i].addr, bad[i].len, 0, bad[i].flags);
		ring_pop_broken(test, r, -EINVAL, bad[i].cause);
		kunit_kfree(test, r);
	}
}

/* All descriptors available in the next lap, too, and no end to it. */
static void a_chain_is_no_longer_than_the_ring(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	unsigned int i;

	for (i = 0; i < NUM; i++)
		packed_desc(r, DATA, 0, 0, F_NEXT);
	ring_pop_broken(test, r, -EINVAL, "a chain is longer than the ring");
}

/* Overwriting what is in flight, as no driver does. */
static void no_more_are_in_flight_than_there_are(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	unsigned int i;

	for (i = 0; i < NUM; i++) {
		packed_desc(r, DATA, 1, 3, 0);
		expect_pop(test, r, 3, 1);
	}
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 0);
	packed_desc(r, DATA, 1, 3, 0);
	ring_pop_broken(test, r, -EINVAL,
			"more descriptors are available and in use than the ring has");
}

static void memory_that_is_gone_breaks_the_ring(struct kunit *test)
{
	static const struct {
		size_t hole;
		const char *cause;
	} holes[] = {
		{ AT_DESC + 15, "the descriptor ring is not in memory" },
		{ AT_DESC, "the descriptor ring is not in memory" },
		{ AT_DESC + 16, "the descriptor ring is not in memory" },
	};
	struct ring *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		r = ring_setup(test, PACKED, NUM);
		packed_desc(r, DATA, 1, 1, F_NEXT);
		packed_desc(r, DATA, 1, 1, 0);
		r->memory.hole = holes[i].hole;
		ring_pop_broken(test, r, -EFAULT, holes[i].cause);
		kunit_kfree(test, r);
	}
}

static void pop_all(struct kunit *test, struct ring *r,
		    struct kiln_vring_used *used, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		packed_desc(r, DATA, 4, i + 1, F_WRITE);
		expect_pop(test, r, i + 1, 1);
		used[i] = kiln_vring_used(&r->chain, 4);
	}
}

static void a_ring_that_cannot_be_written(struct kunit *test)
{
	struct kiln_vring_used used[2];
	struct ring *r;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		r = ring_setup(test, PACKED, NUM);
		pop_all(test, r, used, 2);
		r->memory.readonly = AT_DESC + i * 16 + 15;
		KUNIT_EXPECT_EQ(test, kiln_vring_push_batch(&r->vr, used, 2),
				-EFAULT);
		ring_is_broken(test, r, -EFAULT,
			       "the used ring is not in writable memory");
		kunit_kfree(test, r);
	}
}

/* §2.8.9: the first is written last, as it is what the driver looks at. */
static void a_batch_is_seen_as_one(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);
	struct kiln_vring_used used[3];
	unsigned int i;

	pop_all(test, r, used, 3);
	KUNIT_EXPECT_EQ(test, kiln_vring_push_batch(&r->vr, used, 3), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_TRUE(test, rest_at(r, i) ==
					used_rest(4, i + 1, true));
	KUNIT_EXPECT_EQ(test, r->memory.last_write, AT_DESC + 8);
}

/* §2.8.8 */
static void in_order_one_entry_stands_for_several(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED | IN_ORDER, NUM);
	struct kiln_vring_used used[5];
	u64 before;

	pop_all(test, r, used, 5);
	before = rest_at(r, 1);
	used[2].written = 3;
	used[2].whole = false;
	KUNIT_EXPECT_EQ(test, kiln_vring_push_batch(&r->vr, used, 5), 0);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 0) == used_rest(3, 3, true));
	KUNIT_EXPECT_TRUE(test, rest_at(r, 1) == before);
	KUNIT_EXPECT_TRUE(test, rest_at(r, 3) == used_rest(4, 5, true));
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0);
}

static void set_event(struct ring *r, u16 index, bool wrap, u16 flags)
{
	ring_put(r, AT_AVAIL, index | wrap << 15, 2);
	ring_put(r, AT_AVAIL + 2, flags, 2);
}

static struct ring *ring_with_one_used(struct kunit *test, u64 features)
{
	struct ring *r = ring_setup(test, features, NUM);

	packed_desc(r, DATA, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	return r;
}

/* §2.8.10 */
static void flags_say_whether_to_signal(struct kunit *test)
{
	struct ring *r = ring_with_one_used(test, PACKED);

	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, PACKED | EVENT_IDX);
	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, PACKED);
	set_event(r, 0, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	r = ring_with_one_used(test, PACKED);
	set_event(r, 0, 0, 3);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	ring_is_broken(test, r, -EINVAL,
		       "reserved flags of event suppression");
	r = ring_with_one_used(test, PACKED);
	set_event(r, 0, 0, VRING_PACKED_EVENT_FLAG_DESC);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	ring_is_broken(test, r, -EINVAL,
		       "an event index, though none were negotiated");
	r = ring_with_one_used(test, PACKED | EVENT_IDX);
	r->memory.hole = AT_AVAIL;
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	ring_is_broken(test, r, -EFAULT,
		       "the driver's event suppression is not in memory");
}

/*
 * The driver names each descriptor of this lap and of the next in its turn, from
 * each position there is: the signal comes when that one is used.
 */
static void a_descriptor_says_when_to_signal(struct kunit *test)
{
	unsigned int start, ahead, i;
	struct ring *r;
	u32 at;

	for (start = 0; start < 2 * NUM; start++) {
		for (ahead = 0; ahead < NUM; ahead++) {
			r = ring_setup(test, PACKED | EVENT_IDX, NUM);
			at = start % NUM | (start < NUM) << 15;
			kiln_vring_set_base(&r->vr, at * 0x10001U);
			r->avail = start % NUM;
			r->wrap = start < NUM;
			at = (start + ahead) % (2 * NUM);
			set_event(r, at % NUM, at < NUM,
				  VRING_PACKED_EVENT_FLAG_DESC);
			for (i = 0; i < NUM; i++) {
				packed_desc(r, DATA, 1, i, 0);
				KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
				KUNIT_EXPECT_EQ(test,
						kiln_vring_push(&r->vr,
								&r->chain, 0),
						0);
				KUNIT_EXPECT_EQ_MSG(test,
						    kiln_vring_should_signal(&r->vr),
						    i == ahead,
						    "start %u ahead %u at %u",
						    start, ahead, i);
			}
			kunit_kfree(test, r);
		}
	}
}

static void several_may_be_used_before_a_signal(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED | EVENT_IDX, NUM);
	unsigned int i;

	set_event(r, 1, false, VRING_PACKED_EVENT_FLAG_DESC);
	for (i = 0; i < NUM + 2; i++) {
		packed_desc(r, DATA, 1, i, 0);
		KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
		KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	}
	KUNIT_EXPECT_TRUE(test, kiln_vring_should_signal(&r->vr));
	set_event(r, 4, false, VRING_PACKED_EVENT_FLAG_DESC);
	packed_desc(r, DATA, 1, i, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &r->chain, 0), 0);
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
}

static void flags_ask_for_kicks(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED, NUM);

	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2),
			VRING_PACKED_EVENT_FLAG_DISABLE);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2),
			VRING_PACKED_EVENT_FLAG_ENABLE);
	packed_desc(r, DATA, 1, 0, 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_enable_kicks(&r->vr));
	r->memory.readonly = AT_USED + 2;
	kiln_vring_disable_kicks(&r->vr);
	ring_is_broken(test, r, -EFAULT,
		       "the used ring is not in writable memory");
}

static void a_descriptor_asks_for_kicks(struct kunit *test)
{
	struct ring *r = ring_setup(test, PACKED | EVENT_IDX, 2);

	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 4),
			0x8000 | VRING_PACKED_EVENT_FLAG_DESC << 16);
	packed_desc(r, DATA, 1, 0, 0);
	KUNIT_EXPECT_TRUE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 4),
			0x8001 | VRING_PACKED_EVENT_FLAG_DESC << 16);
	packed_desc(r, DATA, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), 1);
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED, 4),
			VRING_PACKED_EVENT_FLAG_DESC << 16);
	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_EQ(test, ring_get(r, AT_USED + 2, 2),
			VRING_PACKED_EVENT_FLAG_DISABLE);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(nothing_is_available_at_first),
	KUNIT_CASE(a_buffer_to_be_written),
	KUNIT_CASE(a_chain_has_its_id_at_its_end),
	KUNIT_CASE(a_chain_may_take_the_whole_ring),
	KUNIT_CASE(chains_are_used_in_any_order),
	KUNIT_CASE(what_is_not_wanted_is_given_back),
	KUNIT_CASE(a_base_is_gone_on_from),
	KUNIT_CASE(a_table_is_taken_as_a_whole),
	KUNIT_CASE(a_table_does_not_follow_descriptors),
	KUNIT_CASE(broken_rules_break_the_ring),
	KUNIT_CASE(a_chain_is_no_longer_than_the_ring),
	KUNIT_CASE(no_more_are_in_flight_than_there_are),
	KUNIT_CASE(memory_that_is_gone_breaks_the_ring),
	KUNIT_CASE(a_ring_that_cannot_be_written),
	KUNIT_CASE(a_batch_is_seen_as_one),
	KUNIT_CASE(in_order_one_entry_stands_for_several),
	KUNIT_CASE(flags_say_whether_to_signal),
	KUNIT_CASE(a_descriptor_says_when_to_signal),
	KUNIT_CASE(several_may_be_used_before_a_signal),
	KUNIT_CASE(flags_ask_for_kicks),
	KUNIT_CASE(a_descriptor_asks_for_kicks),
	{}
};

struct kunit_suite vring_packed_suite = {
	.name = "kiln_vring_packed",
	.test_cases = cases,
};
