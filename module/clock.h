/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest time: TSC offset and frequency, pvclock, steal time.
 */
#ifndef KILN_CLOCK_H
#define KILN_CLOCK_H

#include <linux/kvm.h>
#include <linux/list.h>
#include <linux/seqlock.h>
#include <linux/types.h>
#include <asm/pvclock-abi.h>

#include "mmu/mmu.h"

struct kiln_vcpu;
struct kiln_vm;

/*
 * A vCPU's clock. [v] vcpu->mutex; [l] written under the VM clock's lock as
 * well, so readable under either.
 */
struct kiln_clock {
	u64 tsc_offset;			/* [l] guest TSC = host * ratio + this */
	u64 tsc_lost;			/* [v] in suspends, as the backend knows */
	u64 tsc_ratio;			/* [l] fixed point of the backend, 0: 1:1 */
	u32 tsc_khz;			/* [v] what KVM_GET_TSC_KHZ says */
	u32 hw_khz;			/* [v] at which the guest's TSC ticks */
	u64 tsc_adjust;			/* [v] IA32_TSC_ADJUST */
	u64 system_time_msr;		/* [v] MSR_KVM_SYSTEM_TIME(_NEW) */
	u64 steal_msr;			/* [v] MSR_KVM_STEAL_TIME */
	u64 steal_last;			/* [v] run delay accounted for, ns */
	struct kiln_gpa_cache system_time; /* [v] */
	struct kiln_gpa_cache steal;	/* [v] */
	struct pvclock_vcpu_time_info pvclock; /* [v] as last written */
	u32 epoch;			/* [v] the VM's, when it was written */
	bool stopped;			/* [v] the guest is to learn it stood still */
};

/*
 * A VM's clock. [l] written under .lock, read under it or by its sequence;
 * [g] the global list's lock.
 *
 * While .stable, every vCPU's pvclock page is computed from the one pair
 * (.master_tsc, .master_ns), which only KVM_SET_CLOCK changes: so all agree
 * and none ever steps back. Once the host's clock source is no longer the TSC
 * .stable is lost for good, and each page is stamped when it is written.
 */
struct kiln_vm_clock {
	seqlock_t lock;
	struct list_head node;		/* [g] */
	bool stable;			/* [l] host time is a function of its TSC */
	bool synced;			/* [l] all vCPUs have one TSC */
	u32 epoch;			/* [l] counts jumps of kvmclock */
	u64 master_tsc;			/* [l] host TSC + lost ones ... */
	u64 master_ns;			/* [l] ... at which kvmclock was this */
	s64 offset_ns;			/* [l] else: CLOCK_MONOTONIC_RAW + this */
	u64 wall_msr;			/* [l] MSR_KVM_WALL_CLOCK(_NEW) */
	u64 last_tsc;			/* [l] guest TSC as last set or joined */
	u64 last_tsc_ns;		/* [l] when */
	u64 last_tsc_offset;		/* [l] vCPUs that join get this offset */
	u32 last_tsc_khz;		/* [l] and have this; 0: none yet */
};

/**
 * kiln_clock_init() - watch the host's clock source
 *
 * Return: 0 or an errno. Once at module load.
 */
int kiln_clock_init(void);
void kiln_clock_exit(void);

/**
 * kiln_vm_clock_create() - kvmclock starts at 0
 * @vm: being created
 */
void kiln_vm_clock_create(struct kiln_vm *vm);
void kiln_vm_clock_destroy(struct kiln_vm *vm);

/**
 * kiln_clock_create() - a vCPU's TSC starts at 0, in step with its siblings
 * @vcpu: being created, not published; to be loaded first, as the backend is
 *	told its offset
 */
void kiln_clock_create(struct kiln_vcpu *vcpu);

/**
 * kiln_guest_tsc() - the guest's TSC now
 * @vcpu: any vCPU; its thread for an exact answer
 *
 * Context: any.
 */
u64 kiln_guest_tsc(struct kiln_vcpu *vcpu);

/**
 * kiln_tsc_hw_offset() - what the hardware is to add to its TSC
 * @vcpu: the vCPU
 *
 * .tsc_offset, and what the host's TSC lost in suspends.
 */
u64 kiln_tsc_hw_offset(const struct kiln_vcpu *vcpu);

/**
 * kiln_clock_load() - the backend learns of a suspend since the last load
 * @vcpu: the vCPU, loaded
 *
 * Context: preemption off.
 */
void kiln_clock_load(struct kiln_vcpu *vcpu);

/**
 * kiln_clock_suspend() - the CPUs may lose their power, and the TSC with it
 * @tsc: the host's, now
 *
 * Context: only this CPU runs, IRQs off, user space frozen; likewise
 * kiln_clock_resume(), after which guests' TSCs and kvmclocks go on from where
 * they were where the host's TSC began anew.
 */
void kiln_clock_suspend(u64 tsc);
void kiln_clock_resume(u64 tsc);

/**
 * kiln_tsc_to_ns() - a difference of guest TSC values as time
 * @vcpu: whose frequency
 * @delta: ticks
 *
 * Return: nanoseconds, U64_MAX where they do not fit.
 */
u64 kiln_tsc_to_ns(struct kiln_vcpu *vcpu, u64 delta);

/**
 * kiln_tsc_write() - IA32_TIME_STAMP_COUNTER
 * @vcpu: the vCPU
 * @val: new value
 * @host: written by user space: IA32_TSC_ADJUST stays, and a value within a
 *	second of what the VM's other TSCs have now is taken to mean just that
 *
 * Written by the guest, IA32_TSC_ADJUST moves by the same amount (SDM vol. 3
 * §17.17.3).
 *
 * Context: vcpu->mutex, the vCPU loaded.
 */
void kiln_tsc_write(struct kiln_vcpu *vcpu, u64 val, bool host);

/**
 * kiln_tsc_adjust_write() - IA32_TSC_ADJUST
 * @vcpu: the vCPU
 * @val: new value
 * @host: written by user space: the TSC stays
 *
 * Context: vcpu->mutex, the vCPU loaded.
 */
void kiln_tsc_adjust_write(struct kiln_vcpu *vcpu, u64 val, bool host);

/**
 * kiln_tsc_set_khz() - body of KVM_SET_TSC_KHZ
 * @vcpu: the vCPU
 * @khz: wanted frequency in kHz, 0 for the host's
 *
 * Return: 0; -EINVAL where it is further than 250 ppm from the host's and the
 * backend cannot scale (or not that far).
 * Context: vcpu->mutex, the vCPU loaded.
 */
int kiln_tsc_set_khz(struct kiln_vcpu *vcpu, u32 khz);

/**
 * kiln_tsc_get_khz() - body of KVM_GET_TSC_KHZ
 * @vcpu: the vCPU
 *
 * Return: kHz; -EIO where the host's TSC is unstable.
 */
int kiln_tsc_get_khz(struct kiln_vcpu *vcpu);

/* What KVM_CHECK_EXTENSION(KVM_CAP_ADJUST_CLOCK) answers. */
#define KILN_CLOCK_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

/**
 * kiln_clock_get() - body of KVM_GET_CLOCK
 * @vm: the VM
 * @user: filled
 *
 * Return: 0 or -EFAULT.
 */
int kiln_clock_get(struct kiln_vm *vm, struct kvm_clock_data __user *user);

/**
 * kiln_clock_set() - body of KVM_SET_CLOCK
 * @vm: the VM
 * @user: new time; flags out of KILN_CLOCK_FLAGS, of which only
 *	KVM_CLOCK_REALTIME matters
 *
 * Return: 0, -EINVAL for another flag, -EFAULT.
 */
int kiln_clock_set(struct kiln_vm *vm, struct kvm_clock_data __user *user);

/**
 * kiln_clock_stopped() - body of KVM_KVMCLOCK_CTRL: the vCPU stood still
 * @vcpu: the vCPU
 *
 * The page says so until the guest takes that note away (api.rst 4.70, flag
 * PVCLOCK_GUEST_STOPPED).
 *
 * Return: 0, -EINVAL where the guest has no such page.
 * Context: vcpu->mutex.
 */
int kiln_clock_stopped(struct kiln_vcpu *vcpu);

/**
 * kiln_clock_update() - write the pvclock page: consumes KILN_REQ_CLOCK
 * @vcpu: the vCPU
 *
 * Context: the vCPU's thread, vcpu->mutex; may sleep.
 */
void kiln_clock_update(struct kiln_vcpu *vcpu);

/**
 * kiln_steal_update() - write steal time: consumes KILN_REQ_STEAL
 * @vcpu: the vCPU
 *
 * Post KILN_REQ_STEAL (if kiln_steal_enabled()) each time the vCPU is loaded.
 *
 * Context: the vCPU's thread, vcpu->mutex; may sleep.
 */
void kiln_steal_update(struct kiln_vcpu *vcpu);

static inline bool kiln_steal_enabled(const struct kiln_clock *clock)
{
	return clock->steal_msr & 1;
}

/**
 * kiln_steal_preempted() - tell the guest that the vCPU does not run
 * @vcpu: the vCPU
 *
 * From vcpu_put of a preempted thread. Never faults: if the page is not there
 * right now the guest is not told, which only costs it a wrong guess.
 *
 * Context: the vCPU's thread, preemption or IRQs may be off.
 */
void kiln_steal_preempted(struct kiln_vcpu *vcpu);

/* Writers of the paravirtual clock MSRs. Return: 0, or 1: #GP. [v] */
int kiln_system_time_write(struct kiln_vcpu *vcpu, u64 val);
int kiln_wall_clock_write(struct kiln_vcpu *vcpu, u64 val);
int kiln_steal_write(struct kiln_vcpu *vcpu, u64 val);

/* What was last written by any vCPU: the wall clock is the VM's. */
u64 kiln_wall_clock_msr(struct kiln_vcpu *vcpu);

/* Parts of the above that the test calls. */

/**
 * kiln_clock_scale() - multiplier and shift from a frequency
 * @khz: ticks per millisecond, not 0
 * @mul: out: of struct pvclock_vcpu_time_info
 * @shift: out: likewise
 */
void kiln_clock_scale(u32 khz, u32 *mul, s8 *shift);

/**
 * kiln_clock_ticks_to_ns() - as a guest does with its page
 * @ticks: TSC difference
 * @mul: of kiln_clock_scale()
 * @shift: likewise
 */
u64 kiln_clock_ticks_to_ns(u64 ticks, u32 mul, s8 shift);

/**
 * kiln_tsc_joins() - does user space mean the TSC the other vCPUs have?
 * @vc: the VM's clock, locked
 * @val: what it writes
 * @khz: frequency of the vCPU's TSC
 * @ns: CLOCK_MONOTONIC_RAW
 */
bool kiln_tsc_joins(const struct kiln_vm_clock *vc, u64 val, u32 khz, u64 ns);

#endif /* KILN_CLOCK_H */
