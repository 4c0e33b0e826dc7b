// SPDX-License-Identifier: GPL-2.0-only
/*
 * HLT: a vCPU with nothing to do polls for a moment, then sleeps until there is
 * an interrupt for it, and wakes up just in time for its own timer's.
 */
#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/moduleparam.h>
#include <linux/rcuwait.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>

#include "hw.h"
#include "irqchip/irqchip.h"
#include "run.h"
#include "vcpu.h"

static unsigned int halt_poll_ns_max = 200000;
module_param(halt_poll_ns_max, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns_max,
		 "Longest time in ns a vCPU polls in HLT before it sleeps");

#define HALT_POLL_START_NS	10000

/* How early at most a halted vCPU is woken for its timer: learn_wakeup(). */
#define WAKEUP_MAX_NS		50000

/* And its interrupt made ready: wait_for_deadline(). */
#define ENTRY_LEAD_MAX_NS	10000

int kiln_halt(struct kiln_vcpu *vcpu)
{
	vcpu->stats.hlt++;
	if (!vcpu->lapic) {
		vcpu->run->exit_reason = KVM_EXIT_HLT;
		return KILN_EXIT_USER;
	}
	vcpu->mp_state = KVM_MP_STATE_HALTED;
	return KILN_RESUME;
}

/* Is there an event that ends HLT? (SDM vol. 2 HLT) */
bool kiln_halt_ends(struct kiln_vcpu *vcpu)
{
	if (vcpu->exception.pending || vcpu->triple_fault)
		return true;
	if ((atomic_read(&vcpu->nmi_queued) || vcpu->nmi_pending) &&
	    !kiln_nmi_masked(vcpu))
		return true;
	return kiln_irq_allowed(vcpu) &&
	       (kiln_extint_pending(vcpu) || lapic_pending(vcpu) >= 0);
}

/*
 * The guest's timer while it is halted: block() watches it. Guest TSC ticks
 * until it is due; 0 if it is, and then its interrupt is posted; or S64_MAX
 * without a deadline.
 */
static s64 timer_left(struct kiln_vcpu *vcpu)
{
	u64 deadline, now;

	deadline = lapic_timer_deadline(vcpu);
	if (!deadline)
		return S64_MAX;
	now = kiln_guest_tsc(vcpu) + vcpu->entry_lead;
	/* A guest may write any deadline: one in a century is one as well. */
	if (deadline > now)
		return min_t(u64, deadline - now, S64_MAX);
	vcpu->wait_tsc = lapic_get_tscdeadline(vcpu);
	lapic_timer_expire(vcpu, vcpu->entry_lead);
	return 0;
}

static bool may_go_on(struct kiln_vcpu *vcpu)
{
	timer_left(vcpu);
	/* A device's queue waits for this thread. */
	if (test_bit(KILN_REQ_VIRTIO, &vcpu->requests))
		return true;
	if (lapic_init_sipi_pending(vcpu->lapic))
		return true;
	return vcpu->mp_state == KVM_MP_STATE_HALTED && kiln_halt_ends(vcpu);
}

/* Something for the thread rather than for the guest. */
static bool thread_has_work(struct kiln_vcpu *vcpu)
{
	return signal_pending(current) || need_resched();
}

/* Other tasks have more use for the CPU, among them those that are to end HLT. */
static bool poll(struct kiln_vcpu *vcpu)
{
	u64 end = local_clock() + vcpu->halt_poll_ns;

	while (single_task_running() && !thread_has_work(vcpu) &&
	       local_clock() < end) {
		if (may_go_on(vcpu)) {
			vcpu->stats.halt_poll_hit++;
			return true;
		}
		cpu_relax();
	}
	return false;
}

/*
 * The thread takes a while to come back from its sleep, so it is woken that
 * much before the guest's deadline and waits for the rest awake. How much is
 * learned: late wake-ups make it more, early ones less.
 */
static void learn_wakeup(struct kiln_vcpu *vcpu, s64 early_ns)
{
	s64 ns = vcpu->wakeup_ns;

	ns -= early_ns > 0 ? early_ns / 4 : early_ns;
	vcpu->wakeup_ns = clamp_t(s64, ns, 0, WAKEUP_MAX_NS);
}

/* Until the deadline, or until something else happens. */
static void sleep_until_deadline(struct kiln_vcpu *vcpu, u64 left_ns)
{
	u64 due = ktime_get_ns() + left_ns;
	ktime_t wake = ns_to_ktime(due - vcpu->wakeup_ns);

	if (left_ns > vcpu->wakeup_ns) {
		/* Runs into its time-out: 0; woken before: not 0. */
		if (schedule_hrtimeout(&wake, HRTIMER_MODE_ABS))
			return;
		learn_wakeup(vcpu, due - ktime_get_ns());
	}
	__set_current_state(TASK_RUNNING);
	while (!thread_has_work(vcpu) && !may_go_on(vcpu) &&
	       ktime_get_ns() < due)
		cpu_relax();
}

static void sleep(struct kiln_vcpu *vcpu)
{
	s64 left;

	vcpu->stats.halt_sleep++;
	prepare_to_rcuwait(&vcpu->wait);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current) || may_go_on(vcpu))
			break;
		left = timer_left(vcpu);
		if (left == S64_MAX)
			schedule();
		else if (left)
			sleep_until_deadline(vcpu,
					     min_t(u64, NSEC_PER_SEC,
						   kiln_tsc_to_ns(vcpu, left)));
		cond_resched();
	}
	finish_rcuwait(&vcpu->wait);
}

/*
 * Polling pays where the sleep would have been short: grow while it would,
 * give up once sleeps are long.
 */
static void adapt_polling(struct kiln_vcpu *vcpu, u64 slept)
{
	unsigned int max = READ_ONCE(halt_poll_ns_max);

	if (slept > max)
		vcpu->halt_poll_ns = 0;
	else if (!vcpu->halt_poll_ns)
		vcpu->halt_poll_ns = min(HALT_POLL_START_NS, max);
	else
		vcpu->halt_poll_ns = min_t(u64, vcpu->halt_poll_ns * 2, max);
}

void kiln_halt_wait(struct kiln_vcpu *vcpu)
{
	u64 start;

	/* No hrtimer interrupts the sleep: it ends a little before. */
	lapic_timer_use_hw(vcpu, true);
	if (may_go_on(vcpu) || (vcpu->halt_poll_ns && poll(vcpu)))
		return;
	start = local_clock();
	sleep(vcpu);
	adapt_polling(vcpu, local_clock() - start);
}

/*
 * The way from the end of a wait into the guest takes a while, too: the
 * interrupt of a TSC deadline is made ready that much before it, and what is
 * left of the time is spent at the door. The amount is learned.
 */
void kiln_wait_for_deadline(struct kiln_vcpu *vcpu)
{
	s64 max = vcpu->clock.hw_khz / (USEC_PER_SEC / ENTRY_LEAD_MAX_NS);
	u64 due = vcpu->wait_tsc;
	s64 early = due - kiln_guest_tsc(vcpu), lead;

	vcpu->wait_tsc = 0;
	/* It did not come straight from its wait: nothing to learn. */
	if (abs(early) > max)
		return;
	lead = vcpu->entry_lead - (early > 0 ? early / 8 : early / 2);
	vcpu->entry_lead = clamp_t(s64, lead, 0, max);
	/* Last: only what nobody can do ahead comes after the deadline. */
	while (kiln_guest_tsc(vcpu) < due)
		cpu_relax();
}
