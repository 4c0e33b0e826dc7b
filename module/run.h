/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The run loop, and what exit handlers ask of it.
 */
#ifndef KILN_RUN_H
#define KILN_RUN_H

#include "vcpu.h"

/* XCR0 of the host, as it was when the module was loaded. */
extern u64 kiln_host_xcr0;
/* IA32_XSS likewise; 0 where there is none. */
extern u64 kiln_host_xss;

/**
 * kiln_vcpu_run() - body of KVM_RUN (api.rst 4.10)
 * @vcpu: the vCPU
 *
 * Return: 0 with vcpu->run filled in; -EINTR on a signal or immediate_exit;
 * -EINVAL for a bad kvm_run; -EFAULT, -ENOMEM, -EHWPOISON where guest memory
 * is not to be had.
 * Context: vcpu->mutex, vCPU loaded.
 */
int kiln_vcpu_run(struct kiln_vcpu *vcpu);

/**
 * kiln_events_irqoff() - deliver events without leaving the fast path
 * @vcpu: the vCPU, between an exit and the next entry
 *
 * Return: true if nothing else is requested of it any more.
 * Context: the vCPU's thread, IRQs off.
 */
bool kiln_events_irqoff(struct kiln_vcpu *vcpu);

/**
 * kiln_halt() - the guest executed HLT, RIP is past it
 * @vcpu: the vCPU
 *
 * Return: KILN_RESUME, or KILN_EXIT_USER without an in-kernel APIC.
 */
int kiln_halt(struct kiln_vcpu *vcpu);

/**
 * kiln_halt_wait() - wait for what ends HLT, or for something else to do
 * @vcpu: a vCPU with an in-kernel APIC that is not runnable
 *
 * Context: may sleep.
 */
void kiln_halt_wait(struct kiln_vcpu *vcpu);

/**
 * kiln_halt_ends() - is there an event that ends HLT?
 * @vcpu: the vCPU
 */
bool kiln_halt_ends(struct kiln_vcpu *vcpu);

/**
 * kiln_wait_for_deadline() - spend what is left until vcpu->wait_tsc
 * @vcpu: the vCPU, about to be entered
 *
 * Context: IRQs off.
 */
void kiln_wait_for_deadline(struct kiln_vcpu *vcpu);

/**
 * kiln_spin() - the guest spins on PAUSE: let another vCPU of it run
 * @vcpu: the vCPU
 */
void kiln_spin(struct kiln_vcpu *vcpu);

/**
 * kiln_hypercall() - VMCALL: no hypercall is offered, each says so
 * @vcpu: the vCPU; RAX is set, RIP stays
 */
void kiln_hypercall(struct kiln_vcpu *vcpu);

/**
 * kiln_vcpu_nmi() - an NMI for a vCPU
 * @vcpu: any vCPU
 *
 * Two are kept: one in service, one pending; more merge.
 *
 * Context: any.
 */
void kiln_vcpu_nmi(struct kiln_vcpu *vcpu);

/**
 * kiln_vcpu_load() - bring a vCPU's state to this CPU and keep it there
 * @vcpu: the vCPU
 *
 * Until kiln_vcpu_put() a preempt notifier follows the thread.
 *
 * Context: vcpu->mutex.
 */
void kiln_vcpu_load(struct kiln_vcpu *vcpu);
void kiln_vcpu_put(struct kiln_vcpu *vcpu);

/* Preempt notifier operations of every vCPU. */
extern struct preempt_ops kiln_preempt_ops;

int kiln_run_init(void);
void kiln_run_exit(void);

struct kiln_mmu;

/**
 * kiln_vm_flush() - second-stage tables changed: the flush of kiln_mmu_init()
 * @mmu: the VM's
 *
 * Returns when no vCPU runs on old translations any more.
 *
 * Context: IRQs on, does not sleep.
 */
void kiln_vm_flush(struct kiln_mmu *mmu);

#endif /* KILN_RUN_H */
