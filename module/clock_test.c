// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the arithmetic of guest time, and which TSC writes join.
 */
#include <kunit/test.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <asm/msr.h>

#include "clock.h"
#include "kunit.h"
#include "vcpu.h"

static const u32 frequencies[] = {
	1, 999, 1000, 32768, 500000, 999999, 1000000, 1000001, 1999999,
	2000000, 2000001, 2100000, 3500000, 3999999, 4000001, 100000000,
	U32_MAX,
};

static void the_multiplier_has_all_its_bits(struct kunit *test)
{
	u32 mul;
	s8 shift;
	int i;

	for (i = 0; i < ARRAY_SIZE(frequencies); i++) {
		kiln_clock_scale(frequencies[i], &mul, &shift);
		KUNIT_EXPECT_TRUE_MSG(test, mul & BIT(31), "%u kHz: %x, %d",
				      frequencies[i], mul, shift);
		KUNIT_EXPECT_GT(test, shift, -32);
		KUNIT_EXPECT_LT(test, shift, 32);
	}
}

/*
 * The multiplier's last bit is worth 2^-31 at most, a right shift loses up to
 * 2^-shift ticks: an hour is right to within two microseconds.
 */
static void an_hour_of_ticks_is_an_hour(struct kunit *test)
{
	const u64 hour = 3600 * (u64)NSEC_PER_SEC;
	int i;

	for (i = 0; i < ARRAY_SIZE(frequencies); i++) {
		u64 ticks = (u64)frequencies[i] * 1000 * 3600;
		u64 ns;
		u32 mul;
		s8 shift;

		kiln_clock_scale(frequencies[i], &mul, &shift);
		ns = kiln_clock_ticks_to_ns(ticks, mul, shift);
		KUNIT_EXPECT_LE_MSG(test, ns, hour, "%u kHz", frequencies[i]);
		KUNIT_EXPECT_GE_MSG(test, ns, hour - 2000, "%u kHz",
				    frequencies[i]);
	}
}

static void time_does_not_step_back_from_tick_to_tick(struct kunit *test)
{
	u64 last = 0, ns, tick;
	u32 mul;
	s8 shift;
	int i;

	for (i = 0; i < ARRAY_SIZE(frequencies); i++, last = 0) {
		kiln_clock_scale(frequencies[i], &mul, &shift);
		for (tick = BIT_ULL(40) - 1000; tick < BIT_ULL(40) + 1000;
		     tick++) {
			ns = kiln_clock_ticks_to_ns(tick, mul, shift);
			KUNIT_ASSERT_GE(test, ns, last);
			last = ns;
		}
	}
}

static u64 to_ns(struct kunit *test, u32 khz, u64 delta)
{
	struct kiln_vcpu *vcpu;

	vcpu = kunit_kzalloc(test, sizeof(*vcpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	vcpu->clock.hw_khz = khz;
	return kiln_tsc_to_ns(vcpu, delta);
}

static void tsc_differences_become_time(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, to_ns(test, 2000000, 0));
	KUNIT_EXPECT_EQ(test, 0, to_ns(test, 2000000, 1));
	KUNIT_EXPECT_EQ(test, 1, to_ns(test, 2000000, 2));
	KUNIT_EXPECT_EQ(test, NSEC_PER_SEC, to_ns(test, 2000000, 2000000000));
	KUNIT_EXPECT_EQ(test, NSEC_PER_MSEC, to_ns(test, 1, 1));
}

/* A guest may set any deadline: it must neither wrap nor trap. */
static void far_deadlines_saturate(struct kunit *test)
{
	u64 most = div_u64(U64_MAX, NSEC_PER_MSEC);

	KUNIT_EXPECT_EQ(test, U64_MAX, to_ns(test, 1, U64_MAX));
	KUNIT_EXPECT_EQ(test, U64_MAX, to_ns(test, 1, most + 1));
	KUNIT_EXPECT_EQ(test, most * NSEC_PER_MSEC, to_ns(test, 1, most));
	KUNIT_EXPECT_EQ(test, div_u64(U64_MAX, 2000000) * NSEC_PER_MSEC,
			to_ns(test, 2000000, U64_MAX));
}

#define KHZ	2000000

/* One TSC was set to 5e9 when the raw clock said 100 s. */
static const struct kiln_vm_clock after_one_write = {
	.last_tsc = 5000000000,
	.last_tsc_ns = 100 * (u64)NSEC_PER_SEC,
	.last_tsc_khz = KHZ,
};

static bool joins(u64 val, u32 khz, u64 seconds_later)
{
	return kiln_tsc_joins(&after_one_write, val, khz,
			      (100 + seconds_later) * NSEC_PER_SEC);
}

static void a_value_within_a_second_joins(struct kunit *test)
{
	u64 second = KHZ * 1000ULL;
	u64 expected = 5000000000 + 3 * second;

	KUNIT_EXPECT_TRUE(test, joins(expected, KHZ, 3));
	KUNIT_EXPECT_TRUE(test, joins(expected + second - 1, KHZ, 3));
	KUNIT_EXPECT_TRUE(test, joins(expected - second, KHZ, 3));
	KUNIT_EXPECT_FALSE(test, joins(expected + second, KHZ, 3));
	KUNIT_EXPECT_FALSE(test, joins(expected - second - 1, KHZ, 3));
}

static void zero_joins_at_any_time(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, joins(0, KHZ, 0));
	KUNIT_EXPECT_TRUE(test, joins(0, KHZ, 100000));
}

static void another_frequency_does_not_join(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, joins(0, KHZ + 1, 0));
	KUNIT_EXPECT_FALSE(test, joins(5000000000, KHZ + 1, 0));
}

static void the_first_has_nothing_to_join(struct kunit *test)
{
	static const struct kiln_vm_clock fresh;

	KUNIT_EXPECT_FALSE(test, kiln_tsc_joins(&fresh, 0, KHZ, 1));
}

/* What a TSC that begins anew lost is added to every guest's from then on. */
static void a_tsc_that_begins_anew_goes_on_for_guests(struct kunit *test)
{
	const u64 lost = BIT_ULL(44), soon = BIT_ULL(40);
	struct kiln_vcpu *vcpu;
	u64 tsc, offset, now;

	vcpu = kunit_kzalloc(test, sizeof(*vcpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	vcpu->clock.tsc_offset = 1000;
	offset = kiln_tsc_hw_offset(vcpu);
	tsc = kiln_guest_tsc(vcpu);
	now = rdtsc();
	kiln_clock_suspend(now + lost);
	kiln_clock_resume(now);
	KUNIT_EXPECT_EQ(test, lost, kiln_tsc_hw_offset(vcpu) - offset);
	KUNIT_EXPECT_GE(test, kiln_guest_tsc(vcpu), tsc + lost);
	KUNIT_EXPECT_LT(test, kiln_guest_tsc(vcpu), tsc + lost + soon);

	/* One that counted on lost nothing. */
	kiln_clock_suspend(now);
	kiln_clock_resume(now + 1);
	KUNIT_EXPECT_EQ(test, lost, kiln_tsc_hw_offset(vcpu) - offset);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(the_multiplier_has_all_its_bits),
	KUNIT_CASE(an_hour_of_ticks_is_an_hour),
	KUNIT_CASE(time_does_not_step_back_from_tick_to_tick),
	KUNIT_CASE(tsc_differences_become_time),
	KUNIT_CASE(far_deadlines_saturate),
	KUNIT_CASE(a_value_within_a_second_joins),
	KUNIT_CASE(zero_joins_at_any_time),
	KUNIT_CASE(another_frequency_does_not_join),
	KUNIT_CASE(the_first_has_nothing_to_join),
	KUNIT_CASE(a_tsc_that_begins_anew_goes_on_for_guests),
	{}
};

struct kunit_suite clock_suite = {
	.name = "kiln-clock",
	.test_cases = cases,
};
