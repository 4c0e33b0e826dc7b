/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters. A new one is a field here and a row in stats.c.
 */
#ifndef KILN_STATS_H
#define KILN_STATS_H

#include <linux/atomic.h>
#include <linux/types.h>

struct kiln_counters;
struct kiln_vcpu;
struct kiln_vm;

/*
 * Per vCPU: written by its thread only (plain ++), read by anyone, who may see
 * them lag. Exits are counted by cause; @exits is their sum.
 */
struct kiln_vcpu_stats {
	u64 exits;
	u64 cpuid;
	u64 hlt;
	u64 msr_read;
	u64 msr_write;
	u64 pio;
	u64 mmio;
	u64 fault;		/* second-stage faults on memory */
	u64 cr_access;
	u64 dr_access;
	u64 pause;
	u64 irq_exit;		/* host interrupts */
	u64 nmi_exit;		/* host NMIs */
	u64 irq_window;
	u64 nmi_window;
	u64 preemption_timer;
	u64 apic_access;
	u64 eoi_exit;
	u64 exception_exit;
	/* not exits */
	u64 halt_poll_hit;	/* woken while polling for an event */
	u64 halt_sleep;		/* slept in HLT */
	u64 halt_wakeup;	/* woken from that sleep */
	u64 irq_injected;
	u64 nmi_injected;
	u64 exception_injected;
	u64 tlb_flush;
	u64 insn_emulated;
	u64 user_exits;		/* KVM_RUN returned 0 */
	u64 signal_exits;	/* KVM_RUN returned -EINTR */
	u64 fpu_loads;
};

/* Per VM: events that belong to no particular vCPU. */
struct kiln_vm_stats {
	atomic64_t irqfd;	/* interrupts raised by irqfds */
	atomic64_t msi;		/* MSIs from any source */
	atomic64_t irq_line;	/* KVM_IRQ_LINE(_STATUS) */
	atomic64_t ioeventfd;	/* eventfds signalled by guest writes */
	atomic64_t remote_flush; /* TLB flushes of all vCPUs */
	atomic64_t virtio_kick;	/* doorbells and kick eventfds rung */
	atomic64_t virtio_request; /* chains taken from rings */
	atomic64_t virtio_signal; /* interrupts of virtio devices */
	atomic64_t virtio_drop;	/* packets the tap or the guest would not have */
};

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
 * @vm: the VM; its own counters, then those of its page tables, then the sums
 *	of its vCPUs'
 * @user: header with room for nr counters
 *
 * Return, context: as kiln_vcpu_counters().
 */
int kiln_vm_counters(struct kiln_vm *vm, struct kiln_counters __user *user);

#endif /* KILN_STATS_H */
