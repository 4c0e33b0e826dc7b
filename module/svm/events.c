// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delivering events: what goes into EVENTINJ, what comes back in EXITINTINFO
 * when an exit cut the delivery short, and the windows in between (§15.20,
 * §15.7.2, §15.21).
 *
 * INT n, INT3 and INTO are not delivered again but executed again: RIP is
 * still at the instruction.
 */
#include <linux/hw_breakpoint.h>
#include <linux/kvm.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "svm.h"
#include "trace.h"

static bool nmi_masked(struct svm_vcpu *svm)
{
	return svm_caps.vnmi ? svm->vmcb->control.int_ctl &
			       SVM_INT_CTL_VNMI_MASK : svm->nmi_masked;
}

u32 svm_get_blocking(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* Hardware does not tell STI's shadow from MOV SS's. */
	return (svm->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ?
		KILN_BLOCK_SHADOW : 0) |
	       (nmi_masked(svm) ? KILN_BLOCK_NMI : 0);
}

KILN_EXPORT_FOR_KUNIT(svm_get_blocking);

/*
 * While NMIs are masked, the IRET that unmasks them is waited for. vNMI does
 * that by itself, unless another NMI waits: nmi_window().
 */
static void set_nmi_mask(struct svm_vcpu *svm, bool masked)
{
	svm->nmi_iret = false;
	if (svm_caps.vnmi) {
		svm_int_ctl(svm, masked ? SVM_INT_CTL_VNMI_MASK : 0,
			    masked ? 0 : SVM_INT_CTL_VNMI_MASK);
		return;
	}
	svm->nmi_masked = masked;
	svm_intercept(svm, INTERCEPT_IRET, masked);
}

/**
 * svm_step_done() - what was to be stepped is over, and was not
 * @svm: the vCPU
 *
 * The instruction has exited and was carried out here; the next one shall not
 * be stepped in its place. The guest never had our TF.
 */
void svm_step_done(struct svm_vcpu *svm)
{
	svm->step = false;
	svm->shadow_rip = 0;
	set_bit(KILN_REQ_EVENT, &svm->vcpu.requests);
}

void svm_set_blocking(struct kiln_vcpu *vcpu, u32 blocking)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* The emulator is past it, or user space wants all of this anew. */
	if (unlikely(svm->step))
		svm_step_done(svm);
	if (blocking & KILN_BLOCK_SHADOW)
		svm->vmcb->control.int_state |= SVM_INTERRUPT_SHADOW_MASK;
	else
		svm->vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	set_nmi_mask(svm, blocking & KILN_BLOCK_NMI);
}

KILN_EXPORT_FOR_KUNIT(svm_set_blocking);

/*
 * The guest goes elsewhere than to the instruction that was to be stepped, and
 * nobody shall find our TF on its stack. Whether the IRET has been executed is
 * to be found out again, for the sake of the NMI that waits for it: whoever
 * asked for the window does not ask again.
 */
static void leave_step(struct svm_vcpu *svm)
{
	if (svm->nmi_iret) {
		set_nmi_mask(svm, true);
		svm_intercept(svm, INTERCEPT_IRET, true);
	}
	svm->step = false;
	svm->shadow_rip = 0;
}

static void inject(struct svm_vcpu *svm, u32 info, u32 error)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	if (unlikely(svm->nmi_iret || svm->step))
		leave_step(svm);
	ctl->event_inj = info | SVM_EVTINJ_VALID;
	ctl->event_inj_err = error;
	svm->injected = true;
	trace_kiln_inject(svm->vcpu.id, info & SVM_EVTINJ_VEC_MASK,
			  (info & SVM_EVTINJ_TYPE_MASK) >> 8);
}

static void inject_exception(struct svm_vcpu *svm)
{
	struct kiln_event *e = &svm->vcpu.exception;
	u32 info = e->vector | SVM_EVTINJ_TYPE_EXEPT;

	if (e->soft) {
		e->injected = false;
		return;
	}
	/* In real mode no exception pushes an error code. */
	if (e->has_error && (svm->vcpu.cr0 & X86_CR0_PE))
		info |= SVM_EVTINJ_VALID_ERR;
	inject(svm, info, e->error);
	svm->vcpu.stats.exception_injected++;
}

void svm_inject(struct kiln_vcpu *vcpu, enum kiln_inject what)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	switch (what) {
	case KILN_INJECT_EXCEPTION:
		return inject_exception(svm);
	case KILN_INJECT_NMI:
		inject(svm, X86_TRAP_NMI | SVM_EVTINJ_TYPE_NMI, 0);
		set_nmi_mask(svm, true);
		vcpu->stats.nmi_injected++;
		return;
	case KILN_INJECT_IRQ:
		if (vcpu->irq_soft) {
			vcpu->irq_injected = false;
			return;
		}
		inject(svm, vcpu->irq_vector | SVM_EVTINJ_TYPE_INTR, 0);
		vcpu->stats.irq_injected++;
		return;
	}
}

KILN_EXPORT_FOR_KUNIT(svm_inject);

static void forget_injected(struct kiln_vcpu *vcpu)
{
	vcpu->exception.injected = false;
	vcpu->nmi_injected = false;
	vcpu->irq_injected = false;
}

/* EVENTINJ and EXITINTINFO have the same layout. */
static void take_back(struct svm_vcpu *svm, u32 info, u32 error, bool ours)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;
	u8 vector = info & SVM_EXITINTINFO_VEC_MASK;

	switch (info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_NMI:
		vcpu->nmi_injected = true;
		/* It is blocked again only once it is delivered. */
		set_nmi_mask(svm, false);
		break;
	case SVM_EXITINTINFO_TYPE_INTR:
		vcpu->irq_injected = true;
		vcpu->irq_soft = false;
		vcpu->irq_vector = vector;
		break;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		if (!ours && (vector == X86_TRAP_BP || vector == X86_TRAP_OF))
			return;
		vcpu->exception = (struct kiln_event) {
			.injected = true,
			.vector = vector,
			.has_error = info & SVM_EXITINTINFO_VALID_ERR,
			.error = error,
		};
		break;
	default:
		return;
	}
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

/* A loop of one instruction, or one with REP, comes back to its RIP. */
static bool past_step(struct svm_vcpu *svm)
{
	struct vmcb_save_area *save = &svm->vmcb->save;

	return save->rip != svm->step_rip ||
	       (svm->step && save->dr6 & DR_STEP &&
		svm->exit_code == SVM_EXIT_EXCP_BASE + X86_TRAP_DB);
}

/*
 * Is the guest past the instruction that was stepped? NMIs are open once it is
 * past the IRET that ends their handler. TF is the guest's own again: an IRET
 * has loaded it, any other instruction has left ours.
 */
static void stepped(struct svm_vcpu *svm)
{
	bool iret = svm->nmi_iret;

	if (!past_step(svm))
		return;
	svm->shadow_rip = 0;
	if (iret)
		set_nmi_mask(svm, false);
	if (!svm->step)
		return;
	svm->step = false;
	svm->stepped = !svm->tf;
	if (!iret && !svm->tf) {
		svm->vmcb->save.rflags &= ~(u64)X86_EFLAGS_TF;
		svm->vcpu.regs[KILN_RFLAGS] &= ~(u64)X86_EFLAGS_TF;
	}
	set_bit(KILN_REQ_EVENT, &svm->vcpu.requests);
}

/*
 * TCG forgets at VMRUN that the guest is in a shadow: an interrupt would come
 * between STI and HLT, and HLT then wait for another. So it is remembered here
 * until the guest has moved on, or has been stepped by irq_window().
 */
static void keep_shadow(struct svm_vcpu *svm)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	if (ctl->int_state & SVM_INTERRUPT_SHADOW_MASK)
		svm->shadow_rip = svm->exit_rip;
	else if (svm->shadow_rip && svm->shadow_rip == svm->exit_rip &&
		 !(ctl->exit_int_info & SVM_EXITINTINFO_VALID))
		ctl->int_state |= SVM_INTERRUPT_SHADOW_MASK;
	else
		svm->shadow_rip = 0;
}

/**
 * svm_complete_events() - see what became of the event being delivered
 * @svm: vCPU that just exited
 *
 * Whatever delivery the exit interrupted, ours or one the guest started by
 * itself, has to be started again by the next entry.
 */
void svm_complete_events(struct svm_vcpu *svm)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;
	u32 info = ctl->exit_int_info;
	bool ours = svm->injected;

	svm->stepped = false;
	if (unlikely(svm->nmi_iret || svm->step))
		stepped(svm);
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR))
		keep_shadow(svm);
	if (ours) {
		if (unlikely(svm->look_again))
			set_bit(KILN_REQ_EVENT, &svm->vcpu.requests);
		svm->look_again = false;
		svm->injected = false;
		ctl->event_inj = 0;
		forget_injected(&svm->vcpu);
	}
	/* A shutdown ends what was being delivered. */
	if (unlikely(info & SVM_EXITINTINFO_VALID &&
		     svm->exit_code != SVM_EXIT_SHUTDOWN))
		take_back(svm, info, ctl->exit_int_info_err, ours);
}

KILN_EXPORT_FOR_KUNIT(svm_complete_events);

void svm_cancel_injection(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *ctl = &svm->vmcb->control;
	u32 info = ctl->event_inj;

	if (!svm->injected)
		return;
	svm->injected = false;
	svm->look_again = false;
	ctl->event_inj = 0;
	forget_injected(vcpu);
	take_back(svm, info, ctl->event_inj_err, true);
}

/*
 * A virtual interrupt of the highest priority exits in the place where it
 * would be taken (§15.21.4); its vector is never delivered. There is none
 * while AVIC is on.
 */
static void irq_window(struct svm_vcpu *svm)
{
	if (unlikely(svm->shadow_rip && !svm->nmi_iret &&
		     svm->shadow_rip == kiln_rip(&svm->vcpu))) {
		svm->step_rip = svm->shadow_rip;
		svm->step = true;
		return;
	}
	if (svm->irq_window)
		return;
	svm->irq_window = true;
	svm_avic_update(&svm->vcpu);
	svm_int_ctl(svm, V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK, 0);
	svm_intercept(svm, INTERCEPT_VINTR, true);
}

/*
 * Nothing tells when a shadow ends, or when an IRET has: the instruction is
 * stepped, see svm_enter(). Before that IRET there is its intercept.
 */
static void nmi_window(struct svm_vcpu *svm)
{
	if (nmi_masked(svm) && !svm->nmi_iret) {
		svm_intercept(svm, INTERCEPT_IRET, true);
		return;
	}
	/* Its delivery would take the step's TF along, onto the guest's stack. */
	if (svm->injected) {
		svm->look_again = true;
		return;
	}
	if (!svm->nmi_iret)
		svm->step_rip = kiln_rip(&svm->vcpu);
	svm->step = true;
}

void svm_window(struct kiln_vcpu *vcpu, bool nmi)
{
	if (nmi)
		nmi_window(to_svm(vcpu));
	else
		irq_window(to_svm(vcpu));
}

KILN_EXPORT_FOR_KUNIT(svm_window);

/*
 * The task priority is with the hardware, which lets the guest write it. Only
 * where something waits for it to fall does that have to exit.
 */
void svm_apic_sync(struct kiln_vcpu *vcpu, int max_irr)
{
	svm_avic_update(vcpu);
	svm_intercept(to_svm(vcpu), INTERCEPT_CR8_WRITE,
		      !vcpu->lapic->hw_vid && lapic_tpr_threshold(vcpu));
}
