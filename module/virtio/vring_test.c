// SPDX-License-Identifier: GPL-2.0-only
/* The vring engine: what is common to both kinds of ring. */
#include <kunit/test.h>
#include <linux/errno.h>

#include "vring_test.h"

static int ring_config(struct ring *r, u64 features, u32 num, u64 desc,
		       u64 avail, u64 used)
{
	r->config = (struct kiln_vring_config) {
		.features = features,
		.num = num,
		.desc = USER(desc),
		.avail = USER(avail),
		.used = USER(used),
	};
	return kiln_vring_setup(&r->vr, vring_memory_mmu(&r->memory),
				&r->config);
}

static struct ring *ring_create(struct kunit *test)
{
	struct ring *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, r);
	ring_memory_init(r);
	return r;
}

struct ring *ring_setup(struct kunit *test, u64 features, u32 num)
{
	struct ring *r = ring_create(test);

	KUNIT_ASSERT_EQ_MSG(test, ring_config(r, features, num, AT_DESC,
					      AT_AVAIL, AT_USED), 0,
			    "no ring");
	return r;
}

int ring_pop(struct kunit *test, struct ring *r)
{
	unsigned int i, again = 0;
	int ret;

	memset(r->reads, 0, sizeof(r->reads));
	ret = kiln_vring_pop(&r->vr, &r->chain);
	for (i = 0; ret > 0 && i < sizeof(r->reads); i++)
		again += r->reads[i] > 1;
	KUNIT_EXPECT_EQ_MSG(test, again, 0, "bytes read more than once");
	return ret;
}

void ring_is_broken(struct kunit *test, struct ring *r, int error,
		    const char *cause)
{
	struct kiln_vring_chain chain = { .nr = 1 };

	KUNIT_EXPECT_EQ(test, r->vr.broken, error);
	KUNIT_EXPECT_STREQ_MSG(test, r->vr.cause ?: "(none)", cause,
			       "another cause");
	memset(r->reads, 0, sizeof(r->reads));
	r->memory.last_write = SIZE_MAX;
	KUNIT_EXPECT_EQ(test, kiln_vring_pop(&r->vr, &r->chain), error);
	KUNIT_EXPECT_EQ(test, kiln_vring_push(&r->vr, &chain, 0), error);
	KUNIT_EXPECT_EQ(test, kiln_vring_break(&r->vr, -EIO, "later"), error);
	KUNIT_EXPECT_STREQ_MSG(test, r->vr.cause ?: "(none)", cause,
			       "the first cause is gone");
	KUNIT_EXPECT_FALSE(test, kiln_vring_should_signal(&r->vr));
	KUNIT_EXPECT_FALSE(test, kiln_vring_enable_kicks(&r->vr));
	kiln_vring_disable_kicks(&r->vr);
	KUNIT_EXPECT_TRUE(test, kiln_vring_empty(&r->vr));
	/* it is not touched any more */
	KUNIT_EXPECT_TRUE(test, r->memory.last_write == SIZE_MAX);
	KUNIT_EXPECT_EQ(test, r->reads[AT_AVAIL] + r->reads[AT_AVAIL + 2] +
			      r->reads[AT_DESC + 14], 0);
}

void ring_pop_broken(struct kunit *test, struct ring *r, int error,
		     const char *cause)
{
	KUNIT_EXPECT_EQ(test, ring_pop(test, r), error);
	ring_is_broken(test, r, error, cause);
}

void ring_piece(struct kunit *test, struct ring *r, unsigned int i,
		size_t offset, size_t len)
{
	KUNIT_EXPECT_EQ_MSG(test, (unsigned long)r->iov[i].iov_base,
			    USER(offset), "piece %u begins elsewhere", i);
	KUNIT_EXPECT_EQ_MSG(test, r->iov[i].iov_len, len,
			    "piece %u has another length", i);
}

void ring_counts(struct kunit *test, struct ring *r, u32 nr_out, u64 out_len,
		 u32 nr_in, u64 in_len)
{
	KUNIT_EXPECT_EQ(test, r->chain.nr_out, nr_out);
	KUNIT_EXPECT_EQ(test, r->chain.out_len, out_len);
	KUNIT_EXPECT_EQ(test, r->chain.nr_in, nr_in);
	KUNIT_EXPECT_EQ(test, r->chain.in_len, in_len);
}

/* A set-up that fails leaves the ring as it was. */
static void refused(struct kunit *test, int error, u64 features, u32 num,
		    u64 desc, u64 avail, u64 used)
{
	struct ring *r = ring_setup(test, SPLIT, 8);

	KUNIT_EXPECT_EQ_MSG(test, ring_config(r, features, num, desc, avail,
					      used), error,
			    "num %u desc %llx avail %llx used %llx", num,
			    (unsigned long long)desc,
			    (unsigned long long)avail,
			    (unsigned long long)used);
	KUNIT_EXPECT_EQ(test, r->vr.num, 8);
	KUNIT_EXPECT_TRUE(test, r->vr.desc == USER(AT_DESC));
	KUNIT_EXPECT_FALSE(test, r->vr.packed);
	kunit_kfree(test, r);
}

static void setup_wants_a_good_size(struct kunit *test)
{
	refused(test, -EINVAL, SPLIT, 0, AT_DESC, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, SPLIT, 3, AT_DESC, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, SPLIT, 65536, AT_DESC, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, PACKED, 0, AT_DESC, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, PACKED, 32769, AT_DESC, AT_AVAIL, AT_USED);
}

static void setup_wants_aligned_rings(struct kunit *test)
{
	refused(test, -EINVAL, SPLIT, 8, AT_DESC + 8, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, SPLIT, 8, AT_DESC, AT_AVAIL + 1, AT_USED);
	refused(test, -EINVAL, SPLIT, 8, AT_DESC, AT_AVAIL, AT_USED + 2);
	refused(test, -EINVAL, PACKED, 8, AT_DESC + 8, AT_AVAIL, AT_USED);
	refused(test, -EINVAL, PACKED, 8, AT_DESC, AT_AVAIL + 2, AT_USED);
	refused(test, -EINVAL, PACKED, 8, AT_DESC, AT_AVAIL, AT_USED + 2);
}

/* One entry less would fit; the event index behind each ring counts, too. */
static void setup_wants_rings_in_memory(struct kunit *test)
{
	refused(test, -EFAULT, SPLIT, 8, MEMORY_SIZE - 112, AT_AVAIL, AT_USED);
	refused(test, -EFAULT, SPLIT, 8, AT_DESC, MEMORY_SIZE - 20, AT_USED);
	refused(test, -EFAULT, SPLIT, 8, AT_DESC, AT_AVAIL, MEMORY_SIZE - 68);
	refused(test, -EFAULT, PACKED, 8, MEMORY_SIZE - 112, AT_AVAIL, AT_USED);
	refused(test, -EFAULT, PACKED, 8, AT_DESC, MEMORY_SIZE, AT_USED);
	refused(test, -EFAULT, PACKED, 8, AT_DESC, AT_AVAIL, MEMORY_SIZE);
}

static void setup_reads_the_used_index(struct kunit *test)
{
	struct ring *r = ring_create(test);

	ring_put(r, AT_USED + 2, 0x1234, 2);
	KUNIT_EXPECT_EQ(test, ring_config(r, SPLIT, 8, AT_DESC, AT_AVAIL,
					  AT_USED), 0);
	KUNIT_EXPECT_EQ(test, r->vr.used_idx, 0x1234);
	r->memory.hole = AT_USED + 2;
	KUNIT_EXPECT_EQ(test, ring_config(r, SPLIT, 16, AT_DESC, AT_AVAIL,
					  AT_USED), -EFAULT);
	KUNIT_EXPECT_EQ(test, r->vr.num, 8);
}

/* The largest there are; but for the used index nothing is touched. */
static void setup_takes_the_largest(struct kunit *test)
{
	struct ring *r = ring_create(test);

	r->memory.size = 0x200000;
	KUNIT_EXPECT_EQ(test, ring_config(r, SPLIT, KILN_VRING_MAX_NUM,
					  0x100000, 0x80000, AT_USED), 0);
	KUNIT_EXPECT_EQ(test, ring_config(r, PACKED, KILN_VRING_MAX_NUM,
					  0x100000, AT_AVAIL, AT_USED), 0);
	KUNIT_EXPECT_EQ(test, ring_config(r, PACKED, 1, AT_DESC, AT_AVAIL,
					  AT_USED), 0);
	KUNIT_EXPECT_EQ(test, ring_config(r, SPLIT, 1, AT_DESC, AT_AVAIL,
					  AT_USED), 0);
}

static void base_is_what_it_was_set_to(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, 8);

	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0xffff), 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0xffff);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x10000), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0xffff);

	r = ring_setup(test, PACKED, 8);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x80008000);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x80070003), 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x80070003);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x00058002), 0);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x00058002);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x8), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_vring_set_base(&r->vr, 0x80000), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_vring_get_base(&r->vr), 0x00058002);
}

static void a_back_end_may_break_a_ring(struct kunit *test)
{
	struct ring *r = ring_setup(test, SPLIT, 8);

	KUNIT_EXPECT_EQ(test, kiln_vring_break(&r->vr, -EINVAL, "no header"),
			-EINVAL);
	ring_is_broken(test, r, -EINVAL, "no header");
	r = ring_setup(test, PACKED, 8);
	KUNIT_EXPECT_EQ(test, kiln_vring_break(&r->vr, -EIO, "no header"),
			-EIO);
	ring_is_broken(test, r, -EIO, "no header");
}

static void more_written_than_there_was_does_not_count(struct kunit *test)
{
	struct kiln_vring_chain chain = { .in_len = 100, .id = 7, .nr = 3 };
	struct kiln_vring_used used = kiln_vring_used(&chain, 99);

	KUNIT_EXPECT_EQ(test, used.id, 7);
	KUNIT_EXPECT_EQ(test, used.nr, 3);
	KUNIT_EXPECT_EQ(test, used.written, 99);
	KUNIT_EXPECT_FALSE(test, used.whole);
	used = kiln_vring_used(&chain, 100);
	KUNIT_EXPECT_EQ(test, used.written, 100);
	KUNIT_EXPECT_TRUE(test, used.whole);
	used = kiln_vring_used(&chain, 101);
	KUNIT_EXPECT_EQ(test, used.written, 100);
	KUNIT_EXPECT_TRUE(test, used.whole);
	/* as much as a chain can be, which the field cannot say */
	chain.in_len = BIT_ULL(32);
	used = kiln_vring_used(&chain, 0xffffffff);
	KUNIT_EXPECT_EQ(test, used.written, 0xffffffff);
	KUNIT_EXPECT_FALSE(test, used.whole);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(setup_wants_a_good_size),
	KUNIT_CASE(setup_wants_aligned_rings),
	KUNIT_CASE(setup_wants_rings_in_memory),
	KUNIT_CASE(setup_reads_the_used_index),
	KUNIT_CASE(setup_takes_the_largest),
	KUNIT_CASE(base_is_what_it_was_set_to),
	KUNIT_CASE(a_back_end_may_break_a_ring),
	KUNIT_CASE(more_written_than_there_was_does_not_count),
	{}
};

struct kunit_suite vring_suite = {
	.name = "kiln_vring",
	.test_cases = cases,
};
