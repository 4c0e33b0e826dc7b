// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC timer: one-shot, periodic and TSC-deadline (SDM vol. 3
 * §10.5.4). Its input clock runs at 1 GHz, so a tick is a nanosecond times the
 * divisor.
 *
 * Somebody watches the next expiry: an hrtimer, or the backend, which can make
 * the CPU leave the guest at a TSC value (lapic_timer_use_hw()). With the
 * backend watching, a write to IA32_TSC_DEADLINE is a store.
 *
 * Only the vCPU's own thread starts the hrtimer, and it cancels it first,
 * which waits for a callback under way; so the callback needs no lock.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/ktime.h>
#include <linux/math64.h>

#include "private.h"

#define TIMER_MODE	HRTIMER_MODE_ABS_PINNED_HARD

/* No deadline is further away than this: additions cannot overflow. */
#define MAX_DELAY_NS	(365ull * 24 * 3600 * NSEC_PER_SEC)

static u32 timer_divisor(const struct kiln_lapic *lapic)
{
	u32 tdcr = lapic_reg(lapic, APIC_TDCR);
	u32 code = (tdcr & 3) | (tdcr & 8) >> 1;

	return 1u << ((code + 1) & 7);
}

static u64 timer_ticks_to_ns(const struct kiln_lapic *lapic, u32 ticks)
{
	return (u64)ticks * timer_divisor(lapic);
}

static u64 timer_ns_to_tsc(const struct kiln_lapic *lapic, u64 ns)
{
	return mul_u64_u32_div(ns, lapic->vcpu->clock.hw_khz, USEC_PER_SEC);
}

static enum hrtimer_restart timer_fn(struct hrtimer *hrtimer)
{
	struct kiln_lapic *lapic = container_of(hrtimer, struct kiln_lapic,
						timer.hrtimer);
	struct kiln_lapic_timer *timer = &lapic->timer;

	lapic_local_deliver(lapic->vcpu, APIC_LVTT);
	if (timer->period) {
		hrtimer_forward_now(hrtimer, ns_to_ktime(timer->period));
		WRITE_ONCE(timer->expires, hrtimer_get_expires_ns(hrtimer));
		return HRTIMER_RESTART;
	}
	WRITE_ONCE(timer->expires, 0);
	WRITE_ONCE(timer->deadline, 0);
	return HRTIMER_NORESTART;
}

void lapic_timer_init(struct kiln_lapic *lapic)
{
	hrtimer_init(&lapic->timer.hrtimer, CLOCK_MONOTONIC, TIMER_MODE);
	lapic->timer.hrtimer.function = timer_fn;
}

/* The callback is not running and will not run. */
static void timer_quiesce(struct kiln_lapic *lapic)
{
	hrtimer_cancel(&lapic->timer.hrtimer);
}

static void timer_disarm(struct kiln_lapic *lapic)
{
	timer_quiesce(lapic);
	lapic->timer.expires = 0;
	lapic->timer.period = 0;
	lapic->timer.deadline = 0;
}

void lapic_timer_stop(struct kiln_lapic *lapic)
{
	timer_disarm(lapic);
}

static bool timer_armed(const struct kiln_lapic *lapic)
{
	return lapic->timer.expires || lapic->timer.deadline;
}

/* Quiesced: let the hrtimer watch, if that is who shall. */
static void timer_start(struct kiln_lapic *lapic)
{
	struct kiln_lapic_timer *timer = &lapic->timer;
	u64 now_tsc, delay = 0;

	if (timer->hw || !timer_armed(lapic))
		return;
	if (timer->deadline) {
		now_tsc = kiln_guest_tsc(lapic->vcpu);
		if (timer->deadline > now_tsc)
			delay = kiln_tsc_to_ns(lapic->vcpu,
					       timer->deadline - now_tsc);
		timer->expires = ktime_get_ns() + min(delay, MAX_DELAY_NS);
	}
	hrtimer_start(&timer->hrtimer, ns_to_ktime(timer->expires), TIMER_MODE);
}

/* A guest's period that would keep the host busy is stretched. */
static u64 timer_clamp_period(struct kiln_lapic *lapic, u64 period)
{
	if (period >= KILN_MIN_TIMER_PERIOD_NS)
		return period;
	if (!lapic->timer.clamped)
		pr_info_ratelimited("vcpu %u: APIC timer period of %llu ns stretched to %u ns\n",
				    lapic->vcpu->id, period,
				    KILN_MIN_TIMER_PERIOD_NS);
	lapic->timer.clamped = true;
	return KILN_MIN_TIMER_PERIOD_NS;
}

/* Count down from @ticks, then, if periodic, from the initial count. */
static void timer_count_from(struct kiln_lapic *lapic, u32 ticks)
{
	struct kiln_lapic_timer *timer = &lapic->timer;
	u64 delay = timer_ticks_to_ns(lapic, ticks);

	timer_disarm(lapic);
	if (!ticks)
		return;
	if (lapic_reg(lapic, APIC_LVTT) & APIC_LVT_TIMER_PERIODIC) {
		u32 initial = lapic_reg(lapic, APIC_TMICT);

		timer->period = timer_clamp_period(lapic,
						   timer_ticks_to_ns(lapic,
								     initial));
		if (ticks == initial)
			delay = timer->period;
	}
	timer->expires = ktime_get_ns() + delay;
	timer_start(lapic);
}

u32 lapic_timer_current(struct kiln_lapic *lapic)
{
	u64 expires = READ_ONCE(lapic->timer.expires);
	u64 now = ktime_get_ns();
	u64 left;

	if (!expires || lapic_timer_is_tscdeadline(lapic))
		return 0;
	if (expires > now)
		left = expires - now;
	else if (lapic->timer.period)
		left = lapic->timer.period -
		       (now - expires) % lapic->timer.period;
	else
		left = 0;
	return min_t(u64, div_u64(left, timer_divisor(lapic)),
		     lapic_reg(lapic, APIC_TMICT));
}

/*
 * Entering or leaving TSC-deadline mode disarms the timer; between the other
 * two the count goes on (§10.5.4.1 and figure 10-8 leave that open).
 */
void lapic_timer_write_lvt(struct kiln_lapic *lapic, u32 val)
{
	u32 changed = lapic_reg(lapic, APIC_LVTT) ^ val;
	u32 left;

	if (!(changed & (LAPIC_LVT_TSCDEADLINE | APIC_LVT_TIMER_PERIODIC)) ||
	    !timer_armed(lapic)) {
		lapic_set_reg(lapic, APIC_LVTT, val);
		return;
	}
	left = lapic_timer_current(lapic);
	timer_disarm(lapic);
	lapic_set_reg(lapic, APIC_LVTT, val);
	if (!(changed & LAPIC_LVT_TSCDEADLINE) &&
	    !lapic_timer_is_tscdeadline(lapic))
		timer_count_from(lapic, left);
}

/* §10.5.4.1: no initial count in TSC-deadline mode. */
void lapic_timer_write_initial(struct kiln_lapic *lapic, u32 val)
{
	if (lapic_timer_is_tscdeadline(lapic))
		val = 0;
	lapic_set_reg(lapic, APIC_TMICT, val);
	if (!lapic_timer_is_tscdeadline(lapic))
		timer_count_from(lapic, val);
}

void lapic_timer_write_divide(struct kiln_lapic *lapic, u32 val)
{
	u32 left = lapic_timer_current(lapic);

	lapic_set_reg(lapic, APIC_TDCR, val);
	if (left)
		timer_count_from(lapic, left);
}

/* KVM_SET_LAPIC: a TSC deadline is none of its business. */
void lapic_timer_resume(struct kiln_lapic *lapic, u32 current_count)
{
	u32 initial = lapic_reg(lapic, APIC_TMICT);
	bool periodic = lapic_reg(lapic, APIC_LVTT) & APIC_LVT_TIMER_PERIODIC;

	if (lapic_timer_is_tscdeadline(lapic))
		return;
	current_count = min(current_count, initial);
	if (periodic && !current_count)
		current_count = initial;
	timer_count_from(lapic, current_count);
}

u64 lapic_get_tscdeadline(struct kiln_vcpu *vcpu)
{
	return READ_ONCE(vcpu->lapic->timer.deadline);
}

KILN_EXPORT_FOR_KUNIT(lapic_get_tscdeadline);

void lapic_set_tscdeadline(struct kiln_vcpu *vcpu, u64 tsc)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	if (!lapic_timer_is_tscdeadline(lapic))
		return;
	if (!lapic->timer.hw)
		timer_quiesce(lapic);
	lapic->timer.expires = 0;
	lapic->timer.deadline = tsc;
	if (!lapic->timer.hw)
		timer_start(lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_set_tscdeadline);

u64 lapic_timer_deadline(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u64 expires, now, tsc;

	if (lapic->timer.deadline)
		return lapic->timer.deadline;
	expires = READ_ONCE(lapic->timer.expires);
	if (!expires)
		return 0;
	now = ktime_get_ns();
	tsc = kiln_guest_tsc(vcpu);
	if (expires > now)
		tsc += timer_ns_to_tsc(lapic, expires - now);
	return tsc ?: 1;
}

KILN_EXPORT_FOR_KUNIT(lapic_timer_deadline);

void lapic_timer_use_hw(struct kiln_vcpu *vcpu, bool hw)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	if (lapic->timer.hw == hw)
		return;
	lapic->timer.hw = hw;
	if (hw)
		timer_quiesce(lapic);
	else
		timer_start(lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_timer_use_hw);

/* The next expiry of a periodic timer, missed ones left out. */
static void timer_next_period(struct kiln_lapic_timer *timer, u64 now)
{
	u64 missed = div64_u64(now - timer->expires, timer->period);

	timer->expires += (missed + 1) * timer->period;
}

void lapic_timer_expire(struct kiln_vcpu *vcpu, u64 lead)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	struct kiln_lapic_timer *timer = &lapic->timer;
	u64 now;

	if (!timer->hw)
		return;
	if (timer->deadline) {
		if (kiln_guest_tsc(vcpu) + lead < timer->deadline)
			return;
		timer->deadline = 0;
		timer->expires = 0;
	} else {
		now = ktime_get_ns();
		if (!timer->expires || now < timer->expires)
			return;
		if (timer->period)
			timer_next_period(timer, now);
		else
			timer->expires = 0;
	}
	lapic_local_deliver(vcpu, APIC_LVTT);
}

KILN_EXPORT_FOR_KUNIT(lapic_timer_expire);

void lapic_timer_migrate(struct kiln_vcpu *vcpu)
{
	struct hrtimer *hrtimer = &vcpu->lapic->timer.hrtimer;

	if (!vcpu->lapic->timer.hw && hrtimer_cancel(hrtimer))
		hrtimer_start_expires(hrtimer, TIMER_MODE);
}

KILN_EXPORT_FOR_KUNIT(lapic_timer_migrate);

void lapic_timer_tsc_changed(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	if (lapic->timer.hw || !READ_ONCE(lapic->timer.deadline))
		return;
	timer_quiesce(lapic);
	timer_start(lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_timer_tsc_changed);
