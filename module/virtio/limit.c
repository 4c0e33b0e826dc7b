// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rate limits: token buckets that may run into debt.
 */
#include <linux/ktime.h>
#include <linux/math64.h>

#include "../compat.h"
#include "private.h"

/*
 * x86 divides 128 bits by 64 with an instruction that traps where the quotient
 * has more than 64, so each factor has a bound; and what comes of both is to
 * have a sign. No device is faster.
 */
#define RATE_MAX	BIT_ULL(40)	/* units per second */
#define ELAPSED_MAX	BIT_ULL(52)	/* ns: 52 days */
#define COST_MAX	BIT_ULL(40)	/* units of one request */
#define DELAY_MAX	3600		/* s; then it is asked again */

void kiln_limit_init(struct kiln_limit *limit)
{
	spin_lock_init(&limit->lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_limit_init);

static s64 room(const struct kiln_limit *limit)
{
	return max_t(u64, limit->rate / 10, 1);
}

void kiln_limit_set_at(struct kiln_limit *limit, u64 rate, u64 now)
{
	spin_lock(&limit->lock);
	WRITE_ONCE(limit->rate, min(rate, RATE_MAX));
	limit->last = now;
	/* What is owed at the old rate is forgiven. */
	limit->balance = room(limit);
	spin_unlock(&limit->lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_limit_set_at);

void kiln_limit_set(struct kiln_limit *limit, u64 rate)
{
	kiln_limit_set_at(limit, rate, ktime_get_ns());
}

/*
 * Time is consumed only as far as it was worth whole units, so that none is
 * lost to rounding however often one asks.
 */
static void pay_in(struct kiln_limit *limit, u64 now)
{
	u64 elapsed = 0, units;

	/* Whoever asks may have looked at the clock before somebody else did. */
	if (now > limit->last)
		elapsed = min(now - limit->last, ELAPSED_MAX);
	units = mul_u64_u64_div_u64(elapsed, limit->rate, NSEC_PER_SEC);
	if (!units)
		return;
	if (limit->balance + (s64)units >= room(limit)) {
		limit->balance = room(limit);
		limit->last = now;
		return;
	}
	limit->balance += units;
	limit->last += mul_u64_u64_div_u64(units, NSEC_PER_SEC, limit->rate);
}

/* Until nothing is owed any more. */
static u64 delay(const struct kiln_limit *limit)
{
	u64 debt = 1 - limit->balance;

	if (div64_u64(debt, limit->rate) >= DELAY_MAX)
		return DELAY_MAX * NSEC_PER_SEC;
	return mul_u64_u64_div_u64(debt, NSEC_PER_SEC, limit->rate) + 1;
}

u64 kiln_limit_delay_at(struct kiln_limit *limit, u64 now)
{
	u64 ns = 0;

	spin_lock(&limit->lock);
	if (limit->rate) {
		pay_in(limit, now);
		if (limit->balance <= 0)
			ns = delay(limit);
	}
	spin_unlock(&limit->lock);
	return ns;
}

KILN_EXPORT_FOR_KUNIT(kiln_limit_delay_at);

u64 kiln_limit_delay(struct kiln_limit *limit)
{
	if (!READ_ONCE(limit->rate))
		return 0;
	return kiln_limit_delay_at(limit, ktime_get_ns());
}

void kiln_limit_charge(struct kiln_limit *limit, u64 units)
{
	if (!READ_ONCE(limit->rate))
		return;
	spin_lock(&limit->lock);
	limit->balance -= min(units, COST_MAX);
	spin_unlock(&limit->lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_limit_charge);

void kiln_limit_refund(struct kiln_limit *limit, u64 units)
{
	if (!READ_ONCE(limit->rate))
		return;
	spin_lock(&limit->lock);
	limit->balance = min_t(s64, limit->balance + min(units, COST_MAX),
			       room(limit));
	spin_unlock(&limit->lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_limit_refund);
