// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest time. A guest has two clocks: its TSC, which is the host's with an
 * offset (and a ratio, where the backend scales), and kvmclock, nanoseconds
 * since the VM was created, which it computes from its TSC with what it finds
 * in a page of its memory. Steal time, the third thing here, tells it how long
 * its vCPU waited for a CPU.
 *
 * kvmclock runs at the rate of CLOCK_MONOTONIC_RAW, as the TSC does: what NTP
 * does to the host's clocks it must not do to the guest's, whose own NTP would
 * fight it.
 */
#include <linux/clocksource.h>
#include <linux/errno.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/kvm_para.h>
#include <linux/math64.h>
#include <linux/mutex.h>
#include <linux/pvclock_gtod.h>
#include <linux/sched/stat.h>
#include <linux/string.h>
#include <linux/timekeeper_internal.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <asm/barrier.h>
#include <asm/cpufeature.h>
#include <asm/tsc.h>

#include "clock.h"
#include "compat.h"
#include "hw.h"
#include "irqchip/irqchip.h"
#include "vcpu.h"
#include "vm.h"

/* A TSC may be off by this much and pass for the one asked for. */
#define TSC_TOLERANCE_PPM	250

/* Ratios of TSC frequencies that any backend can express. */
#define TSC_MAX_RATIO		256

/* VMs that live, for the day the host's clock source changes. */
static LIST_HEAD(clocks);
static DEFINE_MUTEX(clocks_lock);

/* Is the host's clock source its TSC? Written by the timekeeper. */
static bool host_clock_is_tsc;

/*
 * What the host's TSC lost when a suspend took the CPUs' power and it began
 * anew: every use of it here goes by host_tsc(), which never steps back. Both
 * are written while one CPU runs, IRQs off, and user space is frozen.
 */
static u64 tsc_lost;
static u64 tsc_suspended;

static u64 host_tsc(void)
{
	return rdtsc_ordered() + READ_ONCE(tsc_lost);
}

void kiln_clock_suspend(u64 tsc)
{
	tsc_suspended = tsc;
}

KILN_EXPORT_FOR_KUNIT(kiln_clock_suspend);

void kiln_clock_resume(u64 tsc)
{
	if (tsc < tsc_suspended)
		WRITE_ONCE(tsc_lost, tsc_lost + tsc_suspended - tsc);
}

KILN_EXPORT_FOR_KUNIT(kiln_clock_resume);

void kiln_clock_scale(u32 khz, u32 *mul, s8 *shift)
{
	u64 hz = (u64)khz * 1000;
	int s = 0;

	/* Bring the frequency into (1, 2] GHz, the factor into [0.5, 1). */
	while (hz >> -min(s, 0) > 2 * NSEC_PER_SEC)
		s--;
	while (hz << max(s, 0) <= NSEC_PER_SEC)
		s++;
	*shift = s;
	*mul = s < 0 ?
	       mul_u64_u64_div_u64((u64)NSEC_PER_SEC << 32, 1ULL << -s, hz) :
	       div64_u64((u64)NSEC_PER_SEC << 32, hz << s);
}

KILN_EXPORT_FOR_KUNIT(kiln_clock_scale);

u64 kiln_clock_ticks_to_ns(u64 ticks, u32 mul, s8 shift)
{
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return mul_u64_u32_shr(ticks, mul, 32);
}

KILN_EXPORT_FOR_KUNIT(kiln_clock_ticks_to_ns);

/* What a guest computes from a page at a value of its TSC. */
static u64 pvclock_at(const struct pvclock_vcpu_time_info *page, u64 tsc)
{
	return page->system_time +
	       kiln_clock_ticks_to_ns(tsc - page->tsc_timestamp,
				      page->tsc_to_system_mul,
				      page->tsc_shift);
}

/* The same moment on the TSC and on other clocks; false without a TSC clock. */
static bool snapshot(struct system_time_snapshot *snap)
{
	if (!READ_ONCE(host_clock_is_tsc))
		return false;
	ktime_get_snapshot(snap);
	snap->cycles += READ_ONCE(tsc_lost);
	/* The timekeeper says so before anyone sees the new clock source. */
	return READ_ONCE(host_clock_is_tsc);
}

static u64 master_at(const struct kiln_vm_clock *clock, u64 tsc)
{
	u32 mul;
	s8 shift;

	kiln_clock_scale(tsc_khz, &mul, &shift);
	return clock->master_ns +
	       kiln_clock_ticks_to_ns(tsc - clock->master_tsc, mul, shift);
}

/* Context: [l] */
static u64 clock_now(const struct kiln_vm_clock *clock)
{
	return clock->stable ? master_at(clock, host_tsc()) :
			       ktime_get_raw_ns() + clock->offset_ns;
}

static u64 clock_read(struct kiln_vm_clock *clock)
{
	unsigned int seq;
	u64 ns;

	do {
		seq = read_seqbegin(&clock->lock);
		ns = clock_now(clock);
	} while (read_seqretry(&clock->lock, seq));
	return ns;
}

/* Context: [l]. kvmclock is @ns at this moment. */
static void clock_set(struct kiln_vm_clock *clock, u64 ns)
{
	struct system_time_snapshot snap;

	if (clock->stable && snapshot(&snap)) {
		clock->master_tsc = snap.cycles;
		clock->master_ns = ns;
	} else {
		clock->stable = false;
		clock->offset_ns = ns - ktime_get_raw_ns();
	}
}

void kiln_vm_clock_create(struct kiln_vm *vm)
{
	struct kiln_vm_clock *clock = &vm->clock;

	seqlock_init(&clock->lock);
	clock->stable = !check_tsc_unstable();
	clock->synced = true;
	write_seqlock_irq(&clock->lock);
	clock_set(clock, 0);
	write_sequnlock_irq(&clock->lock);
	mutex_lock(&clocks_lock);
	list_add(&clock->node, &clocks);
	mutex_unlock(&clocks_lock);
}

void kiln_vm_clock_destroy(struct kiln_vm *vm)
{
	mutex_lock(&clocks_lock);
	list_del(&vm->clock.node);
	mutex_unlock(&clocks_lock);
}

/* The clock goes on from where it is, without the TSC. */
static void clock_lose_tsc(struct kiln_vm_clock *clock)
{
	u64 ns;

	write_seqlock_irq(&clock->lock);
	if (clock->stable) {
		ns = clock_now(clock);
		clock->stable = false;
		clock->offset_ns = ns - ktime_get_raw_ns();
	}
	write_sequnlock_irq(&clock->lock);
}

static void lose_tsc(struct work_struct *work)
{
	struct kiln_vm_clock *clock;

	mutex_lock(&clocks_lock);
	list_for_each_entry(clock, &clocks, node) {
		clock_lose_tsc(clock);
		kiln_vm_request_all(container_of(clock, struct kiln_vm, clock),
				    KILN_REQ_CLOCK);
	}
	mutex_unlock(&clocks_lock);
}

static DECLARE_WORK(lose_tsc_work, lose_tsc);

/* The notifier runs under the timekeeper's locks, where no work may be queued. */
static void queue_lose_tsc(struct irq_work *work)
{
	schedule_work(&lose_tsc_work);
}

static DEFINE_IRQ_WORK(lose_tsc_irq_work, queue_lose_tsc);

static int timekeeper_changed(struct notifier_block *nb, unsigned long unused,
			      void *priv)
{
	struct timekeeper *tk = priv;
	bool tsc = tk->tkr_mono.clock->vdso_clock_mode == VDSO_CLOCKMODE_TSC;

	if (host_clock_is_tsc && !tsc)
		irq_work_queue(&lose_tsc_irq_work);
	WRITE_ONCE(host_clock_is_tsc, tsc);
	return 0;
}

static struct notifier_block timekeeper_nb = {
	.notifier_call = timekeeper_changed,
};

int kiln_clock_init(void)
{
	/* Calls back at once. */
	return pvclock_gtod_register_notifier(&timekeeper_nb);
}

void kiln_clock_exit(void)
{
	pvclock_gtod_unregister_notifier(&timekeeper_nb);
	irq_work_sync(&lose_tsc_irq_work);
	cancel_work_sync(&lose_tsc_work);
}

/* Guest TSC without its offset. */
static u64 scaled(const struct kiln_clock *clock, u64 tsc)
{
	return clock->tsc_ratio ?
	       mul_u64_u64_shr(tsc, clock->tsc_ratio, kiln_hw->tsc_ratio_bits) :
	       tsc;
}

u64 kiln_guest_tsc(struct kiln_vcpu *vcpu)
{
	return scaled(&vcpu->clock, host_tsc()) + vcpu->clock.tsc_offset;
}

KILN_EXPORT_FOR_KUNIT(kiln_guest_tsc);

u64 kiln_tsc_hw_offset(const struct kiln_vcpu *vcpu)
{
	return vcpu->clock.tsc_offset +
	       scaled(&vcpu->clock, READ_ONCE(tsc_lost));
}

KILN_EXPORT_FOR_KUNIT(kiln_tsc_hw_offset);

void kiln_clock_load(struct kiln_vcpu *vcpu)
{
	u64 lost = READ_ONCE(tsc_lost);

	if (likely(vcpu->clock.tsc_lost == lost))
		return;
	vcpu->clock.tsc_lost = lost;
	kiln_hw->refresh(vcpu, KILN_REFRESH_TSC);
}

u64 kiln_tsc_to_ns(struct kiln_vcpu *vcpu, u64 delta)
{
	u32 khz = vcpu->clock.hw_khz;

	if (delta <= div_u64(U64_MAX, NSEC_PER_MSEC))
		return div_u64(delta * NSEC_PER_MSEC, khz);
	delta = div_u64(delta, khz);
	return delta <= div_u64(U64_MAX, NSEC_PER_MSEC) ?
	       delta * NSEC_PER_MSEC : U64_MAX;
}

KILN_EXPORT_FOR_KUNIT(kiln_tsc_to_ns);

/* Context: [l]. Do all vCPUs, @vcpu among them, see one TSC? */
static bool tscs_synced(struct kiln_vcpu *vcpu)
{
	const struct kiln_clock *mine = &vcpu->clock;
	struct kiln_vcpu *other;
	int i;

	kiln_for_each_vcpu(i, other, vcpu->vm)
		if (other->clock.tsc_offset != mine->tsc_offset ||
		    other->clock.tsc_ratio != mine->tsc_ratio)
			return false;
	return true;
}

/* Context: [l]. Returns whether this changes what other vCPUs' pages say. */
static bool tsc_set_offset(struct kiln_vcpu *vcpu, u64 offset)
{
	struct kiln_vm_clock *vc = &vcpu->vm->clock;
	bool synced;

	vcpu->clock.tsc_offset = offset;
	synced = tscs_synced(vcpu);
	if (synced == vc->synced)
		return false;
	vc->synced = synced;
	return true;
}

/* What follows from a new offset or ratio, once the lock is dropped. */
static void tsc_changed(struct kiln_vcpu *vcpu, bool all)
{
	kiln_hw->refresh(vcpu, KILN_REFRESH_TSC);
	if (vcpu->lapic)
		lapic_timer_tsc_changed(vcpu);
	/* The page was for another TSC: what it says now is no lower bound. */
	vcpu->clock.epoch = vcpu->vm->clock.epoch - 1;
	set_bit(KILN_REQ_CLOCK, &vcpu->requests);
	if (all)
		kiln_vm_request_all(vcpu->vm, KILN_REQ_CLOCK);
}

/*
 * Context: [l]. User space that restores or creates vCPUs writes their TSCs one
 * after the other, each a little late: a value close to what the others have
 * by now, or 0, which vCPUs start with, is taken to mean just that.
 */
bool kiln_tsc_joins(const struct kiln_vm_clock *vc, u64 val, u32 khz, u64 ns)
{
	u64 second = (u64)khz * 1000;
	u64 expected;

	if (vc->last_tsc_khz != khz || check_tsc_unstable())
		return false;
	if (!val)
		return true;
	expected = vc->last_tsc + mul_u64_u32_div(ns - vc->last_tsc_ns, khz,
						  NSEC_PER_MSEC);
	return val - expected + second < 2 * second;
}

KILN_EXPORT_FOR_KUNIT(kiln_tsc_joins);

/* Context: [l] */
static u64 tsc_host_offset(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_vm_clock *vc = &vcpu->vm->clock;
	u64 now = scaled(&vcpu->clock, host_tsc());
	u64 ns = ktime_get_raw_ns();

	if (!kiln_tsc_joins(vc, val, vcpu->clock.tsc_khz, ns))
		vc->last_tsc_offset = val - now;
	vc->last_tsc = now + vc->last_tsc_offset;
	vc->last_tsc_ns = ns;
	vc->last_tsc_khz = vcpu->clock.tsc_khz;
	return vc->last_tsc_offset;
}

static void tsc_write_host(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_vm_clock *vc = &vcpu->vm->clock;
	unsigned long flags;
	bool all;

	write_seqlock_irqsave(&vc->lock, flags);
	all = tsc_set_offset(vcpu, tsc_host_offset(vcpu, val));
	write_sequnlock_irqrestore(&vc->lock, flags);
	tsc_changed(vcpu, all);
}

static void tsc_move(struct kiln_vcpu *vcpu, u64 by)
{
	struct kiln_vm_clock *vc = &vcpu->vm->clock;
	unsigned long flags;
	bool all;

	write_seqlock_irqsave(&vc->lock, flags);
	all = tsc_set_offset(vcpu, vcpu->clock.tsc_offset + by);
	write_sequnlock_irqrestore(&vc->lock, flags);
	tsc_changed(vcpu, all);
}

void kiln_tsc_write(struct kiln_vcpu *vcpu, u64 val, bool host)
{
	u64 by;

	if (host) {
		tsc_write_host(vcpu, val);
		return;
	}
	by = val - kiln_guest_tsc(vcpu);
	vcpu->clock.tsc_adjust += by;
	tsc_move(vcpu, by);
}

void kiln_tsc_adjust_write(struct kiln_vcpu *vcpu, u64 val, bool host)
{
	u64 by = val - vcpu->clock.tsc_adjust;

	vcpu->clock.tsc_adjust = val;
	if (!host && by)
		tsc_move(vcpu, by);
}

static bool within_tolerance(u32 khz)
{
	u64 slack = div_u64((u64)tsc_khz * TSC_TOLERANCE_PPM, 1000000);

	return khz >= tsc_khz - slack && khz <= tsc_khz + slack;
}

int kiln_tsc_set_khz(struct kiln_vcpu *vcpu, u32 khz)
{
	struct kiln_clock *clock = &vcpu->clock;
	u64 ratio = 0, tsc;

	if (!khz)
		khz = tsc_khz;
	if (!within_tolerance(khz)) {
		if (!kiln_hw->has_tsc_scaling || khz / tsc_khz >= TSC_MAX_RATIO)
			return -EINVAL;
		ratio = mul_u64_u64_div_u64(khz,
					    1ULL << kiln_hw->tsc_ratio_bits,
					    tsc_khz);
		if (!ratio)
			return -EINVAL;
	}

	/* The TSC goes on from where it is, together with the others'. */
	tsc = kiln_guest_tsc(vcpu);
	clock->tsc_khz = khz;
	if (ratio == clock->tsc_ratio) {
		set_bit(KILN_REQ_CLOCK, &vcpu->requests);
		return 0;
	}
	write_seqlock_irq(&vcpu->vm->clock.lock);
	clock->tsc_ratio = ratio;
	write_sequnlock_irq(&vcpu->vm->clock.lock);
	clock->hw_khz = ratio ? khz : tsc_khz;
	tsc_write_host(vcpu, tsc);
	return 0;
}

int kiln_tsc_get_khz(struct kiln_vcpu *vcpu)
{
	return check_tsc_unstable() ? -EIO : vcpu->clock.tsc_khz;
}

void kiln_clock_create(struct kiln_vcpu *vcpu)
{
	vcpu->clock.tsc_khz = tsc_khz;
	vcpu->clock.hw_khz = tsc_khz;
	tsc_write_host(vcpu, 0);
}

int kiln_clock_get(struct kiln_vm *vm, struct kvm_clock_data __user *user)
{
	struct kiln_vm_clock *clock = &vm->clock;
	struct system_time_snapshot snap;
	struct kvm_clock_data data;
	unsigned int seq;

	do {
		seq = read_seqbegin(&clock->lock);
		memset(&data, 0, sizeof(data));
		if (clock->stable && snapshot(&snap)) {
			data.flags = KILN_CLOCK_FLAGS;
			data.host_tsc = snap.cycles - READ_ONCE(tsc_lost);
			data.realtime = ktime_to_ns(snap.real);
			data.clock = master_at(clock, snap.cycles);
		} else {
			data.clock = clock_now(clock);
		}
	} while (read_seqretry(&clock->lock, seq));

	return copy_to_user(user, &data, sizeof(data)) ? -EFAULT : 0;
}

int kiln_clock_set(struct kiln_vm *vm, struct kvm_clock_data __user *user)
{
	struct kiln_vm_clock *clock = &vm->clock;
	struct kvm_clock_data data;

	if (copy_from_user(&data, user, sizeof(data)))
		return -EFAULT;
	if (data.flags & ~KILN_CLOCK_FLAGS)
		return -EINVAL;

	write_seqlock_irq(&clock->lock);
	if (data.flags & KVM_CLOCK_REALTIME) {
		u64 real = ktime_get_real_ns();

		/* A host clock that is behind does not turn back the guest's. */
		if (real > data.realtime)
			data.clock += real - data.realtime;
	}
	clock_set(clock, data.clock);
	clock->epoch++;
	write_sequnlock_irq(&clock->lock);
	kiln_vm_request_all(vm, KILN_REQ_CLOCK);
	return 0;
}

/* What the page is to say, and the epoch of kvmclock it was said in. */
static void pvclock_fill(struct kiln_vcpu *vcpu,
			 struct pvclock_vcpu_time_info *page, u32 *epoch)
{
	struct kiln_vm_clock *vc = &vcpu->vm->clock;
	struct kiln_clock *clock = &vcpu->clock;
	unsigned long flags;
	unsigned int seq;
	u64 tsc;

	memset(page, 0, sizeof(*page));
	kiln_clock_scale(clock->hw_khz, &page->tsc_to_system_mul,
			 &page->tsc_shift);
	do {
		seq = read_seqbegin(&vc->lock);
		*epoch = vc->epoch;
		page->flags = 0;
		if (vc->stable) {
			tsc = vc->master_tsc;
			page->system_time = vc->master_ns;
			if (vc->synced)
				page->flags = PVCLOCK_TSC_STABLE_BIT;
		} else {
			local_irq_save(flags);
			tsc = host_tsc();
			page->system_time = clock_now(vc);
			local_irq_restore(flags);
		}
	} while (read_seqretry(&vc->lock, seq));
	page->tsc_timestamp = scaled(clock, tsc) + clock->tsc_offset;
}

/*
 * Readers retry while the version is odd or has changed (pvclock-abi.h). The
 * guest's own copy counts on, as it may have been written by another host. A
 * note that it stood still is the guest's to take away.
 */
static void pvclock_write(struct kiln_vcpu *vcpu,
			  struct pvclock_vcpu_time_info *page)
{
	struct kiln_mmu *mmu = &vcpu->vm->mmu;
	struct kiln_gpa_cache *cache = &vcpu->clock.system_time;
	struct pvclock_vcpu_time_info old;
	const size_t version = sizeof(old.version);

	if (kiln_gpa_cache_read(mmu, cache, 0, &old, sizeof(old)))
		return;
	page->flags |= old.flags & PVCLOCK_GUEST_STOPPED;
	page->version = old.version | 1;
	if (kiln_gpa_cache_write(mmu, cache, 0, &page->version,
				 sizeof(page->version)))
		return;
	smp_wmb();	/* odd version before data */
	kiln_gpa_cache_write(mmu, cache, version, (void *)page + version,
			     sizeof(*page) - version);
	smp_wmb();	/* data before even version */
	page->version++;
	kiln_gpa_cache_write(mmu, cache, 0, &page->version,
			     sizeof(page->version));
}

void kiln_clock_update(struct kiln_vcpu *vcpu)
{
	struct kiln_clock *clock = &vcpu->clock;
	struct pvclock_vcpu_time_info page;
	u32 epoch;
	u64 old;

	if (!(clock->system_time_msr & KVM_MSR_ENABLED))
		return;
	pvclock_fill(vcpu, &page, &epoch);
	/* Stamped anew, it must not fall behind what the guest has read. */
	if (!READ_ONCE(vcpu->vm->clock.stable) && clock->epoch == epoch) {
		old = pvclock_at(&clock->pvclock, page.tsc_timestamp);
		page.system_time = max(page.system_time, old);
	}
	if (clock->stopped)
		page.flags |= PVCLOCK_GUEST_STOPPED;
	clock->stopped = false;
	pvclock_write(vcpu, &page);
	clock->pvclock = page;
	clock->epoch = epoch;
}

int kiln_clock_stopped(struct kiln_vcpu *vcpu)
{
	if (!(vcpu->clock.system_time_msr & KVM_MSR_ENABLED))
		return -EINVAL;
	vcpu->clock.stopped = true;
	set_bit(KILN_REQ_CLOCK, &vcpu->requests);
	return 0;
}

int kiln_system_time_write(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_clock *clock = &vcpu->clock;

	clock->system_time_msr = val;
	if (!(val & KVM_MSR_ENABLED))
		return 0;
	/* Memory that is not there now may be there when it is written. */
	kiln_gpa_cache_init(&vcpu->vm->mmu, &clock->system_time,
			    val & ~(u64)KVM_MSR_ENABLED,
			    sizeof(struct pvclock_vcpu_time_info));
	clock->epoch = vcpu->vm->clock.epoch - 1;
	set_bit(KILN_REQ_CLOCK, &vcpu->requests);
	return 0;
}

u64 kiln_wall_clock_msr(struct kiln_vcpu *vcpu)
{
	return READ_ONCE(vcpu->vm->clock.wall_msr);
}

/* The guest asks once: when was kvmclock zero? */
int kiln_wall_clock_write(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_mmu *mmu = &vcpu->vm->mmu;
	struct pvclock_wall_clock wall = {};
	u64 ns;

	WRITE_ONCE(vcpu->vm->clock.wall_msr, val);
	if (!val || kiln_mmu_read(mmu, &vcpu->mmu, val, &wall.version,
				  sizeof(wall.version)))
		return 0;
	wall.version |= 1;
	if (kiln_mmu_write(mmu, &vcpu->mmu, val, &wall.version,
			   sizeof(wall.version)))
		return 0;
	smp_wmb();	/* odd version before data */
	ns = ktime_get_real_ns() - clock_read(&vcpu->vm->clock);
	wall.sec = div_u64_rem(ns, NSEC_PER_SEC, &wall.nsec);
	kiln_mmu_write(mmu, &vcpu->mmu, val, &wall, sizeof(wall));
	smp_wmb();	/* data before even version */
	wall.version++;
	kiln_mmu_write(mmu, &vcpu->mmu, val, &wall.version,
		       sizeof(wall.version));
	return 0;
}
