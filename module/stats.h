/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters. One row per counter; the row's first word is both the field and
 * the name that KILN_GET_COUNTERS shows.
 */
#ifndef KILN_STATS_H
#define KILN_STATS_H

#include <linux/atomic.h>
#include <linux/types.h>

struct kiln_counters;
struct kiln_vcpu;
struct kiln_vm;

/* Per vCPU: written by its thread only (plain ++), read by anyone. */
#define KILN_VCPU_COUNTERS(X)						\
	X(exits)		/* from the guest, all causes */	\
	X(cpuid)							\
	X(hlt)								\
	X(msr_read)							\
	X(msr_write)							\
	X(pio)								\
	X(mmio)								\
	X(fault)		/* second-stage faults on memory */	\
	X(cr_access)							\
	X(dr_access)							\
	X(pause)							\
	X(irq_exit)		/* host interrupts */			\
	X(nmi_exit)		/* host NMIs */				\
	X(irq_window)							\
	X(nmi_window)							\
	X(preemption_timer)						\
	X(apic_access)							\
	X(eoi_exit)							\
	X(exception_exit)						\
	X(halt_poll_hit)	/* woken while polling */		\
	X(halt_sleep)		/* slept in HLT */			\
	X(halt_wakeup)		/* woken from it */			\
	X(irq_injected)							\
	X(nmi_injected)							\
	X(exception_injected)						\
	X(kicks)							\
	X(tlb_flush)							\
	X(insn_emulated)						\
	X(user_exits)		/* to the launcher */			\
	X(signal_exits)							\
	X(fpu_loads)

/* Per VM: events of no particular vCPU. */
#define KILN_VM_COUNTERS(X)						\
	X(irqfd)		/* interrupts from irqfds */		\
	X(msi)			/* MSIs from any source */		\
	X(irq_line)		/* KVM_IRQ_LINE(_STATUS) */		\
	X(ioeventfd)							\
	X(notifier)		/* MMU notifier invalidations */	\
	X(remote_flush)		/* TLB flushes of all vCPUs */		\
	X(slot_change)

#define KILN_VCPU_COUNTER_FIELD(name)	u64 name;
#define KILN_VM_COUNTER_FIELD(name)	atomic64_t name;

struct kiln_vcpu_stats {
	KILN_VCPU_COUNTERS(KILN_VCPU_COUNTER_FIELD)
};

struct kiln_vm_stats {
	KILN_VM_COUNTERS(KILN_VM_COUNTER_FIELD)
};

#undef KILN_VCPU_COUNTER_FIELD
#undef KILN_VM_COUNTER_FIELD

/**
 * kiln_vcpu_counters() - body of KILN_GET_COUNTERS on a vCPU
 * @vcpu: the vCPU
 * @user: header with room for nr counters
 *
 * Return: 0, -E2BIG with nr set where there is too little room, -EINVAL for a
 * non-zero reserved field, -EFAULT, -ENOMEM.
 * Context: process context; needs no lock, the vCPU may run.
 */
int kiln_vcpu_counters(struct kiln_vcpu *vcpu,
		       struct kiln_counters __user *user);

/**
 * kiln_vm_counters() - body of KILN_GET_COUNTERS on a VM
 * @vm: the VM; its own counters, then the sums of its vCPUs'
 * @user: header with room for nr counters
 *
 * Return, context: as kiln_vcpu_counters().
 */
int kiln_vm_counters(struct kiln_vm *vm, struct kiln_counters __user *user);

#endif /* KILN_STATS_H */
