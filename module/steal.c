// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steal time: a guest that asks for it finds in its memory for how long its
 * vCPU was ready to run and did not, and whether it runs right now.
 */
#include <linux/kvm_para.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <linux/stddef.h>
#include <asm/barrier.h>

#include "clock.h"
#include "compat.h"
#include "vcpu.h"
#include "vm.h"

int kiln_steal_write(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_clock *clock = &vcpu->clock;

	if (!sched_info_on() || (val & KVM_STEAL_RESERVED_MASK))
		return 1;
	if (!(val & KVM_MSR_ENABLED)) {
		clock->steal_msr = val;
		return 0;
	}
	kiln_gpa_cache_init(&vcpu->vm->mmu, &clock->steal,
			    val & KVM_STEAL_VALID_BITS,
			    sizeof(struct kvm_steal_time));
	/* After it: the scheduler shall not write where the page once was. */
	barrier();
	clock->steal_msr = val;
	clock->steal_last = kiln_run_delay();
	set_bit(KILN_REQ_STEAL, &vcpu->requests);
	return 0;
}

/* The version is odd while the time is written, as in pvclock. */
void kiln_steal_update(struct kiln_vcpu *vcpu)
{
	struct kiln_clock *clock = &vcpu->clock;
	struct kiln_mmu *mmu = &vcpu->vm->mmu;
	struct kvm_steal_time st;
	u64 delay = kiln_run_delay();

	if (!kiln_steal_enabled(clock) ||
	    kiln_gpa_cache_read(mmu, &clock->steal, 0, &st, sizeof(st)))
		return;
	st.version |= 1;
	if (kiln_gpa_cache_write(mmu, &clock->steal,
				 offsetof(struct kvm_steal_time, version),
				 &st.version, sizeof(st.version)))
		return;
	smp_wmb();	/* odd version before data */
	/* Another thread may run the vCPU than did before. */
	if (delay > clock->steal_last)
		st.steal += delay - clock->steal_last;
	clock->steal_last = delay;
	kiln_gpa_cache_write(mmu, &clock->steal,
			     offsetof(struct kvm_steal_time, steal),
			     &st.steal, sizeof(st.steal));
	st.preempted = 0;
	kiln_gpa_cache_write(mmu, &clock->steal,
			     offsetof(struct kvm_steal_time, preempted),
			     &st.preempted, sizeof(st.preempted));
	smp_wmb();	/* data before even version */
	st.version++;
	kiln_gpa_cache_write(mmu, &clock->steal,
			     offsetof(struct kvm_steal_time, version),
			     &st.version, sizeof(st.version));
}

/* The scheduler calls with its locks held: if the memory is not there, so be it. */
void kiln_steal_preempted(struct kiln_vcpu *vcpu)
{
	struct kiln_clock *clock = &vcpu->clock;
	u8 preempted = KVM_VCPU_PREEMPTED;

	if (kiln_steal_enabled(clock))
		kiln_gpa_cache_write_atomic(&vcpu->vm->mmu, &clock->steal,
					    offsetof(struct kvm_steal_time,
						     preempted),
					    &preempted, sizeof(preempted));
}
