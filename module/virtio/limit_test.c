// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rate limits, with a clock that the test sets.
 */
#include <kunit/test.h>
#include <linux/ktime.h>
#include <linux/math64.h>

#include "limit_test.h"
#include "private.h"

/* Where clocks start; far from 0, as after a long time up. */
#define START	BIT_ULL(60)

static struct kiln_limit limited(u64 rate)
{
	struct kiln_limit limit = { 0 };

	kiln_limit_init(&limit);
	kiln_limit_set_at(&limit, rate, START);
	return limit;
}

/* Requests of @cost that begin at @now at once. */
static u64 burst(struct kiln_limit *limit, u64 cost, u64 now)
{
	u64 n = 0;

	while (n < 100000 && !kiln_limit_delay_at(limit, now)) {
		kiln_limit_charge(limit, cost);
		n++;
	}
	return n;
}

static void rate_0_is_no_limit(struct kunit *test)
{
	struct kiln_limit limit = limited(0);

	kiln_limit_charge(&limit, U64_MAX);
	KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, START), 0ULL);
	KUNIT_EXPECT_EQ(test, limit.balance, 1LL);
}

static void a_tenth_of_a_second_goes_at_once(struct kunit *test)
{
	struct kiln_limit limit = limited(1000);

	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START), 100ULL);
	/* However long it has been idle. */
	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START + 3600 * NSEC_PER_SEC),
			100ULL);
}

static void a_slow_limit_lets_one_begin(struct kunit *test)
{
	struct kiln_limit limit = limited(1);

	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START), 1ULL);
	KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, START),
			NSEC_PER_SEC + 1ULL);
}

static void it_may_begin_after_the_delay_and_not_before(struct kunit *test)
{
	static const u64 rates[] = { 1, 3, 7, 100, 999983, BIT_ULL(30) };
	struct kiln_limit limit;
	u64 now, ns;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		limit = limited(rates[i]);
		kiln_limit_charge(&limit, 12 * rates[i]);
		ns = kiln_limit_delay_at(&limit, START);
		KUNIT_EXPECT_GT(test, ns, 11 * (u64)NSEC_PER_SEC);
		now = START + ns;
		KUNIT_EXPECT_GT(test, kiln_limit_delay_at(&limit, now - 2),
				0ULL);
		KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, now), 0ULL);
	}
}

/* One that is late is not paid for: a debt delays the next by all of it. */
static void debts_are_paid_in_full(struct kunit *test)
{
	struct kiln_limit limit = limited(1000);
	u64 ns;

	kiln_limit_charge(&limit, 100 + 5000);
	ns = kiln_limit_delay_at(&limit, START);
	KUNIT_EXPECT_EQ(test, ns, 5001 * (u64)NSEC_PER_MSEC + 1);
}

/* Over a long time the rate is the rate, in spite of all rounding. */
static void nothing_is_lost_to_rounding(struct kunit *test)
{
	static const u64 rates[] = { 3, 7, 1000, 33333, 999983 };
	u64 now, units, seconds;
	struct kiln_limit limit;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		limit = limited(rates[i]);
		units = 0;
		for (now = START; units < 20000;
		     now += kiln_limit_delay_at(&limit, now)) {
			kiln_limit_charge(&limit, 3);
			units += 3;
		}
		seconds = div64_u64((now - START) * rates[i], NSEC_PER_SEC);
		/* The bucket was full at first, and the last has begun. */
		KUNIT_EXPECT_LE(test, units, seconds + rates[i] / 10 + 4);
		KUNIT_EXPECT_GE(test, units + 1, seconds);
	}
}

/* Nor is anything gained or lost by asking all the time. */
static void asking_changes_nothing(struct kunit *test)
{
	struct kiln_limit limit = limited(7);
	u64 end = START + 2 * (u64)NSEC_PER_SEC, now;

	kiln_limit_charge(&limit, 14);
	for (now = START; now < end; now += 9973)
		KUNIT_ASSERT_GT(test, kiln_limit_delay_at(&limit, now), 0ULL);
	KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, end + 1), 0ULL);
}

static void extremes_neither_trap_nor_wrap(struct kunit *test)
{
	static const u64 rates[] = { 1, BIT_ULL(40), U64_MAX };
	static const u64 costs[] = { 1, BIT_ULL(40), U64_MAX };
	u64 hour = 3600 * (u64)NSEC_PER_SEC, ns;
	struct kiln_limit limit;
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		for (k = 0; k < ARRAY_SIZE(costs); k++) {
			limit = limited(rates[i]);
			kiln_limit_charge(&limit, costs[k]);
			ns = kiln_limit_delay_at(&limit, START);
			KUNIT_EXPECT_LE(test, ns, hour);
			/* The longest times: the bucket is full, not below 0. */
			ns = kiln_limit_delay_at(&limit, U64_MAX);
			KUNIT_EXPECT_TRUE(test, !ns || rates[i] == 1);
			kiln_limit_set_at(&limit, rates[i], 0);
			ns = kiln_limit_delay_at(&limit, U64_MAX);
			KUNIT_EXPECT_EQ(test, ns, 0ULL);
		}
	}
}

/* Far away is asked for again after an hour, and comes. */
static void a_long_debt_is_asked_for_again(struct kunit *test)
{
	struct kiln_limit limit = limited(1);
	u64 now = START, ns, asked = 0;

	kiln_limit_charge(&limit, 3 * 3600);
	while ((ns = kiln_limit_delay_at(&limit, now))) {
		KUNIT_ASSERT_LE(test, ns, 3600 * (u64)NSEC_PER_SEC);
		KUNIT_ASSERT_LT(test, asked++, 10ULL);
		now += ns;
	}
	KUNIT_EXPECT_GE(test, asked, 3ULL);
	KUNIT_EXPECT_GE(test, now - START, 3 * 3600 * (u64)NSEC_PER_SEC);
	KUNIT_EXPECT_LE(test, now - START, 3 * 3600 * (u64)NSEC_PER_SEC + 10);
}

static void a_change_forgives_what_is_owed(struct kunit *test)
{
	struct kiln_limit limit = limited(10);

	kiln_limit_charge(&limit, 1000);
	KUNIT_EXPECT_GT(test, kiln_limit_delay_at(&limit, START), 0ULL);
	kiln_limit_set_at(&limit, 20, START + 5);
	KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, START + 5), 0ULL);
	/* From here the new rate counts, with a full bucket of its own. */
	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START + 5), 2ULL);
	KUNIT_EXPECT_EQ(test, kiln_limit_delay_at(&limit, START + 5),
			NSEC_PER_SEC / 20 + 1ULL);
	kiln_limit_set_at(&limit, 0, START + 6);
	KUNIT_EXPECT_EQ(test, burst(&limit, 1000, START + 6), 100000ULL);
}

static void what_is_refunded_may_be_spent_and_no_more(struct kunit *test)
{
	struct kiln_limit limit = limited(1000);

	kiln_limit_charge(&limit, 5000);
	KUNIT_EXPECT_GT(test, kiln_limit_delay_at(&limit, START), 0ULL);
	kiln_limit_refund(&limit, 4950);
	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START), 50ULL);
	/* The rate may have changed in between, which forgives what is owed. */
	kiln_limit_refund(&limit, U64_MAX);
	KUNIT_EXPECT_EQ(test, burst(&limit, 1, START), 100ULL);
	limit = limited(0);
	kiln_limit_refund(&limit, U64_MAX);
	KUNIT_EXPECT_EQ(test, limit.balance, 1LL);
}

/* Two CPUs look at the clock and come in the other order. */
static void a_clock_that_was_read_before_is_no_time(struct kunit *test)
{
	struct kiln_limit limit = limited(1000);

	kiln_limit_charge(&limit, 200);
	kiln_limit_delay_at(&limit, START + 50 * (u64)NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, limit.balance, -50LL);
	KUNIT_EXPECT_GT(test, kiln_limit_delay_at(&limit, START), 0ULL);
	KUNIT_EXPECT_EQ(test, limit.balance, -50LL);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(rate_0_is_no_limit),
	KUNIT_CASE(a_tenth_of_a_second_goes_at_once),
	KUNIT_CASE(a_slow_limit_lets_one_begin),
	KUNIT_CASE(it_may_begin_after_the_delay_and_not_before),
	KUNIT_CASE(debts_are_paid_in_full),
	KUNIT_CASE(nothing_is_lost_to_rounding),
	KUNIT_CASE(asking_changes_nothing),
	KUNIT_CASE(extremes_neither_trap_nor_wrap),
	KUNIT_CASE(a_long_debt_is_asked_for_again),
	KUNIT_CASE(a_change_forgives_what_is_owed),
	KUNIT_CASE(what_is_refunded_may_be_spent_and_no_more),
	KUNIT_CASE(a_clock_that_was_read_before_is_no_time),
	{}
};

struct kunit_suite limit_suite = {
	.name = "kiln_virtio_limit",
	.test_cases = cases,
};
