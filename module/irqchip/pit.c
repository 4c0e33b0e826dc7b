// SPDX-License-Identifier: GPL-2.0-only
/*
 * The timer chip (8254) and the system control port 0x61.
 *
 * A counter is not counted: its value is computed from the time since it was
 * loaded. Channel 0 has an hrtimer for the moments its OUT rises, which pulses
 * GSI 0 right from the timer interrupt; no thread is involved.
 *
 * A guest that could not take a tick must not lose it, or its clock falls
 * behind: a tick that comes before the guest acknowledged the last one is
 * counted, and sent after the acknowledgment (EOI of the PIC or the I/O
 * APIC). The count is bounded. A tick nobody listens to is dropped.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/bcd.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/timex.h>

#include "private.h"

#define PORT_PIT	0x40
#define PORT_CONTROL	3
#define PORT_SPEAKER	0x61

/* Ticks kept for a guest that does not acknowledge. */
#define MAX_MISSED	256

/* Control word and status. */
#define CW_CHANNEL	6	/* shift */
#define CW_READ_BACK	3
#define CW_RW		4	/* shift */
#define CW_MODE		1	/* shift */
#define CW_BCD		BIT(0)
#define RB_NO_COUNT	BIT(5)
#define RB_NO_STATUS	BIT(4)
#define STATUS_OUT	BIT(7)
#define STATUS_NULL	BIT(6)

/* Port 0x61. */
#define SPK_GATE2	BIT(0)
#define SPK_DATA	BIT(1)
#define SPK_REFRESH	BIT(4)
#define SPK_OUT2	BIT(5)
#define REFRESH_NS	15085	/* half a period of memory refresh */

/* ------------------------------------------------------------- counters */

static u64 pit_ticks_to_ns(u64 ticks)
{
	return mul_u64_u32_div(ticks, NSEC_PER_SEC, PIT_TICK_RATE);
}

static u64 pit_elapsed(const struct pit_channel *ch, u64 now)
{
	if (now <= ch->start)
		return 0;
	return mul_u64_u32_div(now - ch->start, PIT_TICK_RATE, NSEC_PER_SEC);
}

static bool pit_periodic(const struct pit_channel *ch)
{
	return ch->mode == 2 || ch->mode == 3;
}

/**
 * pit_count_at() - the counting element at a time
 * @ch: the counter; after RESET its count was never written and reads as 0
 * @now: CLOCK_MONOTONIC ns
 *
 * Modes 2 and 3 reload; the others go on through 0 (data sheet, "Mode
 * definitions"). Mode 3 counts by two, twice per period.
 *
 * Return: 0 to 0xffff, binary.
 */
u32 pit_count_at(const struct pit_channel *ch, u64 now)
{
	u64 ticks = pit_elapsed(ch, now);
	u32 modulus = ch->bcd ? 10000 : 0x10000;
	u32 rest;

	if (!ch->reload)
		return 0;
	if (pit_periodic(ch)) {
		div_u64_rem(ticks, ch->reload, &rest);
		if (ch->mode == 3)
			rest = (2 * rest) % ch->reload;
		return (ch->reload - rest) % modulus;
	}
	div_u64_rem(ticks, modulus, &rest);
	return (ch->reload + modulus - rest) % modulus;
}

KILN_EXPORT_FOR_KUNIT(pit_count_at);

/**
 * pit_out_at() - the OUT pin at a time
 * @ch: the counter
 * @now: CLOCK_MONOTONIC ns
 *
 * Return: its level.
 */
bool pit_out_at(const struct pit_channel *ch, u64 now)
{
	u64 ticks = pit_elapsed(ch, now);
	u32 rest;

	if (ch->null_count || !ch->reload)
		return ch->mode != 0;
	switch (ch->mode) {
	case 2:
		div_u64_rem(ticks, ch->reload, &rest);
		return !ch->gate || rest != ch->reload - 1;
	case 3:
		div_u64_rem(ticks, ch->reload, &rest);
		return !ch->gate || rest < (ch->reload + 1) / 2;
	case 4:
	case 5:
		return ticks != ch->reload;
	default:
		return ticks >= ch->reload;
	}
}

KILN_EXPORT_FOR_KUNIT(pit_out_at);

static u16 pit_encode(const struct pit_channel *ch, u32 count)
{
	if (!ch->bcd)
		return count;
	return bin2bcd(count / 100) << 8 | bin2bcd(count % 100);
}

/* A count of 0 is the largest one. */
static u32 pit_decode(const struct pit_channel *ch, u16 raw)
{
	if (!ch->bcd)
		return raw ?: 0x10000;
	return (bcd2bin(raw >> 8) * 100 + bcd2bin(raw & 0xff)) % 10000 ?: 10000;
}

/* ------------------------------------------------------------ channel 0 */

/* A pulse: edge-triggered inputs latch it. */
static void pit_tick(struct kiln_pit *pit)
{
	if (kiln_irq_pulse(pit->vm, KILN_IRQ_PIT, PIT_GSI) >= 0)
		return;
	atomic_set(&pit->missed, 0);
	atomic_set(&pit->may_inject, 1);
}

/* For a time when the guest has taken what came before. */
static void pit_keep(struct kiln_pit *pit, u64 ticks)
{
	int kept = atomic_read(&pit->missed);

	while (!atomic_try_cmpxchg(&pit->missed, &kept,
				   min_t(u64, kept + ticks, MAX_MISSED)))
		;
}

/* Ticks are due: one, or more if the host is late. */
static void pit_raise(struct kiln_pit *pit, u64 ticks)
{
	if (atomic_xchg(&pit->may_inject, 0)) {
		pit_keep(pit, ticks - 1);
		pit_tick(pit);
	} else {
		pit_keep(pit, ticks);
	}
}

void pit_ack(struct kiln_pit *pit)
{
	atomic_set(&pit->may_inject, 1);
	if (atomic_dec_if_positive(&pit->missed) >= 0)
		pit_raise(pit, 1);
}

/*
 * hrtimer_start() may come while the callback runs: it holds the lock and
 * leaves the timer queued, which the callback sees when it gets the lock.
 */
static enum hrtimer_restart pit_timer_fn(struct hrtimer *timer)
{
	struct kiln_pit *pit = container_of(timer, struct kiln_pit, timer);
	enum hrtimer_restart restart = HRTIMER_NORESTART;
	unsigned long flags;
	u64 ticks = 1;
	bool expired;

	spin_lock_irqsave(&pit->lock, flags);
	expired = pit->armed && !hrtimer_is_queued(timer);
	if (expired && pit->period) {
		ticks = hrtimer_forward_now(timer, ns_to_ktime(pit->period));
		restart = HRTIMER_RESTART;
	} else if (expired) {
		pit->armed = false;
	}
	spin_unlock_irqrestore(&pit->lock, flags);
	if (expired && ticks)
		pit_raise(pit, ticks);
	return restart;
}

/* A tick may be for all vCPUs, and tells them with the host's interrupts off. */
#define TICK_NS_PER_VCPU	2000

static u64 pit_clamp_period(struct kiln_pit *pit, u64 period)
{
	u64 least = max_t(u64, KILN_MIN_TIMER_PERIOD_NS,
			  (u64)READ_ONCE(pit->vm->nr_vcpus) *
			  TICK_NS_PER_VCPU);

	if (period >= least)
		return period;
	if (!pit->clamped)
		pr_info_ratelimited("PIT period of %llu ns stretched to %llu ns\n",
				    period, least);
	pit->clamped = true;
	return least;
}

static void pit_stop_timer(struct kiln_pit *pit)
{
	lockdep_assert_held(&pit->lock);
	pit->armed = false;
	pit->period = 0;
	hrtimer_try_to_cancel(&pit->timer);
}

/* Channel 0 was loaded. Modes 1 and 5 wait for a gate that never moves. */
static void pit_start_timer(struct kiln_pit *pit)
{
	struct pit_channel *ch = &pit->channel[0];
	u64 delay = pit_ticks_to_ns(ch->reload);

	pit_stop_timer(pit);
	atomic_set(&pit->missed, 0);
	atomic_set(&pit->may_inject, 1);
	if (ch->mode == 1 || ch->mode == 5)
		return;
	if (pit_periodic(ch)) {
		delay = pit_clamp_period(pit, delay);
		pit->period = delay;
	}
	pit->armed = true;
	hrtimer_start(&pit->timer, ns_to_ktime(ch->start + delay),
		      HRTIMER_MODE_ABS);
}

/* ------------------------------------------------------------ registers */

static void pit_load(struct kiln_pit *pit, int n, u16 raw)
{
	struct pit_channel *ch = &pit->channel[n];

	ch->reload = pit_decode(ch, raw);
	ch->start = ktime_get_ns();
	ch->null_count = false;
	if (n == 0)
		pit_start_timer(pit);
}

static void pit_latch_count(struct pit_channel *ch, u64 now)
{
	if (ch->count_latched)
		return;
	ch->count_latch = pit_encode(ch, pit_count_at(ch, now));
	ch->count_latched = ch->rw;
}

static void pit_latch_status(struct pit_channel *ch, u64 now)
{
	if (ch->status_latched)
		return;
	ch->status_latch = (pit_out_at(ch, now) ? STATUS_OUT : 0) |
			   (ch->null_count ? STATUS_NULL : 0) |
			   ch->rw << CW_RW | ch->mode << CW_MODE |
			   (ch->bcd ? CW_BCD : 0);
	ch->status_latched = true;
}

static void pit_read_back(struct kiln_pit *pit, u8 val)
{
	u64 now = ktime_get_ns();
	int n;

	for (n = 0; n < PIT_NR_CHANNELS; n++) {
		if (!(val & BIT(n + 1)))
			continue;
		if (!(val & RB_NO_COUNT))
			pit_latch_count(&pit->channel[n], now);
		if (!(val & RB_NO_STATUS))
			pit_latch_status(&pit->channel[n], now);
	}
}

static void pit_write_control(struct kiln_pit *pit, u8 val)
{
	int n = val >> CW_CHANNEL;
	struct pit_channel *ch;

	if (n == CW_READ_BACK) {
		pit_read_back(pit, val);
		return;
	}
	n = array_index_nospec(n, PIT_NR_CHANNELS);
	ch = &pit->channel[n];
	if (!((val >> CW_RW) & PIT_RW_BOTH)) {
		pit_latch_count(ch, ktime_get_ns());
		return;
	}
	ch->rw = (val >> CW_RW) & PIT_RW_BOTH;
	ch->mode = (val >> CW_MODE) & 7;
	if (ch->mode > 5)	/* modes 2 and 3 ignore their top bit */
		ch->mode -= 4;
	ch->bcd = val & CW_BCD;
	ch->null_count = true;
	ch->write_msb = ch->rw == PIT_RW_MSB;
	ch->read_msb = ch->rw == PIT_RW_MSB;
	ch->count_latched = 0;
	ch->status_latched = false;
	if (n == 0)
		pit_stop_timer(pit);
}

static void pit_write_count(struct kiln_pit *pit, int n, u8 val)
{
	struct pit_channel *ch = &pit->channel[n];

	switch (ch->rw) {
	case PIT_RW_LSB:
		pit_load(pit, n, val);
		break;
	case PIT_RW_MSB:
		pit_load(pit, n, val << 8);
		break;
	case PIT_RW_BOTH:
		if (ch->write_msb)
			pit_load(pit, n, val << 8 | ch->write_lsb);
		else
			ch->write_lsb = val;
		ch->write_msb = !ch->write_msb;
		break;
	}
}

/* Status first, then the latched count, then the running one. */
static u8 pit_read_count(struct pit_channel *ch)
{
	u16 count = ch->count_latch;
	bool msb = ch->read_msb;

	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status_latch;
	}
	if (!ch->count_latched)
		count = pit_encode(ch, pit_count_at(ch, ktime_get_ns()));
	if (ch->rw == PIT_RW_BOTH) {
		ch->read_msb = !msb;
		ch->count_latched &= msb ? 0 : PIT_RW_MSB;
	} else {
		ch->count_latched = 0;
	}
	return msb ? count >> 8 : count;
}

/* The rising gate restarts the counter in modes 1, 2, 3 and 5. */
static void pit_set_gate2(struct kiln_pit *pit, bool gate)
{
	struct pit_channel *ch = &pit->channel[2];

	if (gate && !ch->gate && ch->mode != 0 && ch->mode != 4)
		ch->start = ktime_get_ns();
	ch->gate = gate;
}

static void pit_write_speaker(struct kiln_pit *pit, u8 val)
{
	pit->speaker = val & SPK_DATA;
	pit_set_gate2(pit, val & SPK_GATE2);
}

static u8 pit_read_speaker(struct kiln_pit *pit)
{
	const struct pit_channel *ch = &pit->channel[2];
	u64 now = ktime_get_ns();

	return (ch->gate ? SPK_GATE2 : 0) |
	       (pit->speaker ? SPK_DATA : 0) |
	       (div_u64(now, REFRESH_NS) & 1 ? SPK_REFRESH : 0) |
	       (pit_out_at(ch, now) ? SPK_OUT2 : 0);
}

int pit_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		 int len, void *val)
{
	struct kiln_pit *pit = container_of(dev, struct kiln_pit, dev);
	unsigned long flags;
	u8 data = 0;	/* the control word cannot be read */
	int n;

	if (len != 1)
		return -EOPNOTSUPP;
	spin_lock_irqsave(&pit->lock, flags);
	if (addr == PORT_SPEAKER) {
		data = pit_read_speaker(pit);
	} else if (addr - PORT_PIT < PIT_NR_CHANNELS) {
		n = array_index_nospec(addr - PORT_PIT, PIT_NR_CHANNELS);
		data = pit_read_count(&pit->channel[n]);
	}
	spin_unlock_irqrestore(&pit->lock, flags);
	*(u8 *)val = data;
	return 0;
}

int pit_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		  int len, const void *val)
{
	struct kiln_pit *pit = container_of(dev, struct kiln_pit, dev);
	u8 data = *(const u8 *)val;
	unsigned long flags;

	if (len != 1)
		return -EOPNOTSUPP;
	spin_lock_irqsave(&pit->lock, flags);
	if (addr == PORT_SPEAKER)
		pit_write_speaker(pit, data);
	else if (addr - PORT_PIT == PORT_CONTROL)
		pit_write_control(pit, data);
	else
		pit_write_count(pit, array_index_nospec(addr - PORT_PIT,
							PIT_NR_CHANNELS), data);
	spin_unlock_irqrestore(&pit->lock, flags);
	return 0;
}

static const struct kiln_bus_ops pit_ops = {
	.read = pit_bus_read,
	.write = pit_bus_write,
};

/* ----------------------------------------------------- creation and end */

/* Gates 0 and 1 are wired high; RESET leaves the counters undefined. */
static void pit_init_channels(struct kiln_pit *pit)
{
	int n;

	for (n = 0; n < PIT_NR_CHANNELS; n++) {
		pit->channel[n].mode = 3;
		pit->channel[n].rw = PIT_RW_BOTH;
		pit->channel[n].gate = n != 2;
		pit->channel[n].null_count = true;
	}
}

static int pit_attach(struct kiln_vm *vm, struct kiln_pit *pit, bool speaker)
{
	int r = kiln_bus_add(vm, KILN_BUS_PIO, PORT_PIT, 4, &pit->dev);

	if (r || !speaker)
		return r;
	r = kiln_bus_add(vm, KILN_BUS_PIO, PORT_SPEAKER, 1, &pit->dev);
	if (r)
		kiln_bus_remove(vm, KILN_BUS_PIO, &pit->dev);
	return r;
}

int kiln_pit_create(struct kiln_vm *vm, const struct kvm_pit_config *config)
{
	struct kiln_pit *pit;
	int r;

	lockdep_assert_held(&vm->lock);
	if (config->flags & ~KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	if (!kiln_irqchip_present(&vm->irq))
		return -ENOENT;
	if (vm->irq.pit)
		return -EEXIST;
	pit = kzalloc(sizeof(*pit), GFP_KERNEL_ACCOUNT);
	if (!pit)
		return -ENOMEM;
	spin_lock_init(&pit->lock);
	pit->vm = vm;
	pit->dev.ops = &pit_ops;
	atomic_set(&pit->may_inject, 1);
	hrtimer_init(&pit->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	pit->timer.function = pit_timer_fn;
	pit_init_channels(pit);

	r = pit_attach(vm, pit, config->flags & KVM_PIT_SPEAKER_DUMMY);
	if (r) {
		kfree(pit);
		return r;
	}
	/* Its EOIs count from now on. */
	smp_store_release(&vm->irq.pit, pit);
	kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_pit_create);

void pit_destroy(struct kiln_vm *vm)
{
	struct kiln_pit *pit = vm->irq.pit;

	if (!pit)
		return;
	spin_lock_irq(&pit->lock);
	pit->armed = false;
	spin_unlock_irq(&pit->lock);
	hrtimer_cancel(&pit->timer);
	kfree(pit);
	vm->irq.pit = NULL;
}
