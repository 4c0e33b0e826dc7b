/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Architectural state: the get and set ioctls, and the checks that both they
 * and the guest's own instructions go through.
 *
 * Functions that stand for a guest's instruction return 0, or 1 where the CPU
 * would raise #GP(0); they never inject it themselves, so that the emulator,
 * an exit handler and an ioctl can each do what fits. On 1 nothing changed.
 *
 * Unless said otherwise: vcpu->mutex is held, the vCPU is loaded, IRQs and
 * preemption are on, and functions may sleep.
 */
#ifndef KILN_STATE_H
#define KILN_STATE_H

#include <linux/kvm.h>
#include <linux/types.h>

#include "vcpu.h"

/* Ioctl bodies (state.c). All return 0 or the errno given. */

/**
 * kiln_regs_get() - body of KVM_GET_REGS
 * @vcpu: the vCPU
 * @regs: filled
 */
void kiln_regs_get(struct kiln_vcpu *vcpu, struct kvm_regs *regs);

/**
 * kiln_regs_set() - body of KVM_SET_REGS
 * @vcpu: the vCPU
 * @regs: new values; RFLAGS bit 1 is set whatever is given
 *
 * Drops an exception that was pending but not yet with the hardware, as KVM
 * does.
 */
void kiln_regs_set(struct kiln_vcpu *vcpu, const struct kvm_regs *regs);

/**
 * kiln_sregs_get() - body of KVM_GET_SREGS
 * @vcpu: the vCPU
 * @sregs: filled
 */
void kiln_sregs_get(struct kiln_vcpu *vcpu, struct kvm_sregs *sregs);

/**
 * kiln_sregs_set() - body of KVM_SET_SREGS
 * @vcpu: the vCPU
 * @sregs: new values
 *
 * Return: 0; -EINVAL, with nothing changed, for reserved bits in CR0, CR4,
 * EFER, CR3, CR8 or the APIC base, or for modes that exclude each other.
 */
int kiln_sregs_set(struct kiln_vcpu *vcpu, const struct kvm_sregs *sregs);

/**
 * kiln_mp_state_get() - body of KVM_GET_MP_STATE
 * @vcpu: the vCPU
 * @state: filled
 */
void kiln_mp_state_get(struct kiln_vcpu *vcpu, struct kvm_mp_state *state);

/**
 * kiln_mp_state_set() - body of KVM_SET_MP_STATE
 * @vcpu: the vCPU
 * @state: new state
 *
 * Return: 0; -EINVAL for a state that x86 has not, or one other than RUNNABLE
 * where the local APIC is not in the kernel.
 */
int kiln_mp_state_set(struct kiln_vcpu *vcpu, const struct kvm_mp_state *state);

/**
 * kiln_events_get() - body of KVM_GET_VCPU_EVENTS
 * @vcpu: the vCPU
 * @events: filled
 */
void kiln_events_get(struct kiln_vcpu *vcpu, struct kvm_vcpu_events *events);

/**
 * kiln_events_set() - body of KVM_SET_VCPU_EVENTS
 * @vcpu: the vCPU
 * @events: new state
 *
 * Return: 0; -EINVAL, with nothing changed, for an unknown flag (SMM, payload
 * and triple fault are capabilities kiln has not), a vector that is not an
 * exception, or a SIPI vector out of range.
 */
int kiln_events_set(struct kiln_vcpu *vcpu,
		    const struct kvm_vcpu_events *events);

/**
 * kiln_state_reset() - registers after power-up, RESET or INIT
 * @vcpu: the vCPU; the local APIC is not touched, nor is vcpu->mp_state
 * @init: INIT: CR0.CD and CR0.NW, the FPU and MSRs other than EFER stay (SDM
 *	vol. 3 table 9-1)
 *
 * Calls kiln_hw->vcpu_reset first, then writes general, segment, control and
 * debug registers through the backend. A SIPI then sets CS and RIP with
 * kiln_state_sipi().
 */
void kiln_state_reset(struct kiln_vcpu *vcpu, bool init);

/**
 * kiln_state_sipi() - start at the page a start-up IPI names
 * @vcpu: the vCPU, after INIT
 * @vector: page number, 0 to 255
 */
void kiln_state_sipi(struct kiln_vcpu *vcpu, u8 vector);

/* Control and debug registers (control.c). */

/**
 * kiln_control_refresh() - what is reserved in CR4 and EFER follows CPUID
 * @vcpu: the vCPU whose CPUID was set
 */
void kiln_control_refresh(struct kiln_vcpu *vcpu);

/**
 * kiln_set_cr0() - MOV to CR0, LMSW, CLTS
 * @vcpu: the vCPU
 * @val: new value
 *
 * SDM vol. 3 §2.5, §4.1.2; enters and leaves IA-32e mode, loads PDPTEs.
 *
 * Return: 0 or 1.
 */
int kiln_set_cr0(struct kiln_vcpu *vcpu, u64 val);

/**
 * kiln_set_cr3() - MOV to CR3
 * @vcpu: the vCPU
 * @val: new value; bit 63 (keep translations) may be set if CR4.PCIDE is, but
 *	they are dropped nevertheless
 *
 * Loads PDPTEs.
 *
 * Return: 0 or 1.
 */
int kiln_set_cr3(struct kiln_vcpu *vcpu, u64 val);

/**
 * kiln_set_cr4() - MOV to CR4
 * @vcpu: the vCPU
 * @val: new value
 *
 * Return: 0 or 1.
 */
int kiln_set_cr4(struct kiln_vcpu *vcpu, u64 val);

/**
 * kiln_set_cr8() - MOV to CR8: the task priority
 * @vcpu: the vCPU
 * @val: 0 to 15
 *
 * Return: 0 or 1.
 */
int kiln_set_cr8(struct kiln_vcpu *vcpu, u64 val);

/**
 * kiln_get_cr8() - MOV from CR8
 * @vcpu: the vCPU
 */
u64 kiln_get_cr8(struct kiln_vcpu *vcpu);

/**
 * kiln_set_efer() - WRMSR to IA32_EFER
 * @vcpu: the vCPU
 * @val: new value; LMA is ignored, it follows LME and CR0.PG
 * @host: user space writes: bits that are offered but not in the guest's CPUID
 *	and a change of LME while paging are let through
 *
 * Return: 0 or 1.
 */
int kiln_set_efer(struct kiln_vcpu *vcpu, u64 val, bool host);

/**
 * kiln_apic_base_set() - WRMSR to IA32_APIC_BASE
 * @vcpu: the vCPU, with or without an APIC in the kernel
 * @val: new value
 * @host: user space writes: any legal state may be entered from any other
 *
 * Return: 0 or 1.
 */
int kiln_apic_base_set(struct kiln_vcpu *vcpu, u64 val, bool host);

/**
 * kiln_load_pdptrs() - read the four PDPTEs of PAE paging
 * @vcpu: the vCPU
 * @cr3: where from
 *
 * Into vcpu->pdptrs (SDM vol. 3 §4.4.1).
 *
 * Return: 0, or 1 for a reserved bit in a present entry or no memory there.
 */
int kiln_load_pdptrs(struct kiln_vcpu *vcpu, u64 cr3);

/* Results of kiln_get_dr() and kiln_set_dr() beside 0. */
#define KILN_DR_GP	1
#define KILN_DR_UD	2

/**
 * kiln_get_dr() - MOV from a debug register
 * @vcpu: the vCPU
 * @n: 0 to 7
 * @val: out
 *
 * Return: 0; KILN_DR_UD for DR4 and DR5 under CR4.DE.
 * Checks of the CPL and of DR7.GD are the caller's.
 */
int kiln_get_dr(struct kiln_vcpu *vcpu, int n, u64 *val);

/**
 * kiln_set_dr() - MOV to a debug register
 * @vcpu: the vCPU
 * @n: 0 to 7
 * @val: new value
 *
 * Return: 0; KILN_DR_GP for upper halves of DR6 and DR7 that are not 0;
 * KILN_DR_UD for DR4 and DR5 under CR4.DE.
 */
int kiln_set_dr(struct kiln_vcpu *vcpu, int n, u64 val);

/* Exceptions (inject.c). Context: the vCPU's thread, IRQs may be off. */

/**
 * kiln_queue_exception() - raise an exception in the guest
 * @vcpu: the vCPU
 * @vector: 0 to 31
 * @has_error: it pushes @error (never does in real mode)
 * @error: error code
 *
 * Together with one that is pending or being delivered it may become #DF, and
 * that shuts the vCPU down (SDM vol. 3 table 6-5): vcpu->triple_fault and
 * KILN_REQ_SHUTDOWN are set.
 */
void kiln_queue_exception(struct kiln_vcpu *vcpu, u8 vector, bool has_error,
			  u32 error);

void kiln_inject_gp(struct kiln_vcpu *vcpu, u32 error);
void kiln_inject_ud(struct kiln_vcpu *vcpu);

/**
 * kiln_inject_pf() - raise #PF
 * @vcpu: the vCPU
 * @error: error code
 * @cr2: linear address, which CR2 holds even where this ends in a #DF
 */
void kiln_inject_pf(struct kiln_vcpu *vcpu, u32 error, u64 cr2);

/**
 * kiln_inject_db() - raise #DB
 * @vcpu: the vCPU
 * @dr6: bits to set in DR6, active high (B0 to B3, BD, BS)
 */
void kiln_inject_db(struct kiln_vcpu *vcpu, u64 dr6);

/* FPU and extended state (xstate.c). */

/**
 * kiln_xstate_create() - allocate a vCPU's FPU state, as after RESET
 * @vcpu: being created
 *
 * INIT changes nothing of it (SDM vol. 3 table 9-1).
 *
 * Return: 0 or -ENOMEM.
 */
int kiln_xstate_create(struct kiln_vcpu *vcpu);
void kiln_xstate_free(struct kiln_vcpu *vcpu);

/**
 * kiln_xstate_init() - learn the host's components; part of kiln_cpuid_init()
 */
void kiln_xstate_init(void);

/**
 * kiln_xstate_size() - bytes that XSAVE writes
 * @features: of XCR0 (and IA32_XSS, for the compacted form)
 * @compacted: form of XSAVEC and XSAVES
 *
 * Return: 576 or more (SDM vol. 1 §13.4).
 */
u32 kiln_xstate_size(u64 features, bool compacted);

/**
 * kiln_xstate_supported() - bits that XCR0 of a guest may have
 */
u64 kiln_xstate_supported(void);

/**
 * kiln_xcr_set() - XSETBV
 * @vcpu: the vCPU
 * @xcr: number; only 0 exists
 * @val: new value
 *
 * Return: 0 or 1 (SDM vol. 1 §13.3). CPL and CR4.OSXSAVE are the caller's
 * (hardware checks both before the exit).
 */
int kiln_xcr_set(struct kiln_vcpu *vcpu, u32 xcr, u64 val);

/*
 * Bodies of the FPU ioctls; the state is not in the registers. SET refuses
 * reserved MXCSR bits and components that guests cannot have with -EINVAL.
 */
int kiln_fpu_get(struct kiln_vcpu *vcpu, struct kvm_fpu *fpu);
int kiln_fpu_set(struct kiln_vcpu *vcpu, const struct kvm_fpu *fpu);
int kiln_xsave_get(struct kiln_vcpu *vcpu, struct kvm_xsave __user *user);
int kiln_xsave_set(struct kiln_vcpu *vcpu, struct kvm_xsave __user *user);
void kiln_xcrs_get(struct kiln_vcpu *vcpu, struct kvm_xcrs *xcrs);
int kiln_xcrs_set(struct kiln_vcpu *vcpu, const struct kvm_xcrs *xcrs);

#endif /* KILN_STATE_H */
