// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entering the guest, and the exits that never leave this file.
 *
 * svm_enter() runs with IRQs off, and the guest is entered and left with GIF
 * clear. What VMRUN does not switch, VMLOAD brings in before the first entry
 * and VMSAVE takes out after the last exit of a stay: FS, GS, LDTR, TR and the
 * MSRs of SYSCALL and SYSENTER (§15.5.2). In between the host's code runs
 * with its own base of GS (entry.S) and the guest's of all others. That is
 * safe for as long as GIF is clear: NMIs, SMIs, INIT, interrupts and machine
 * checks wait (§15.17), so nothing asks for the TSS; the exit has disarmed the
 * breakpoints; and no way leads to user mode.
 *
 * An exit whose work is short, cannot sleep and touches no guest memory is
 * done right here and the guest entered again: neither requests nor kicks are
 * missed by that, since a kick is an IPI, which stays pending and ends the
 * next stay in the guest at once.
 */
#include <linux/entry-kvm.h>
#include <linux/hw_breakpoint.h>
#include <linux/kvm.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/spec-ctrl.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "fast.h"
#include "io.h"
#include "run.h"
#include "state.h"
#include "svm.h"
#include "trace.h"

/* In vcpu->regs[] after an exit; the rest is in the VMCB until asked for. */
#define REGS_AFTER_EXIT	((GENMASK(KILN_NR_GPRS - 1, 0) & ~BIT(KILN_RSP)) | \
			 BIT(KILN_RIP) | BIT(KILN_RFLAGS))

/* May find SVM gone, like clear_gif(), which then says so. */
static __always_inline void save_state(u64 pa)
{
	asm volatile("1: vmsave %0\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE(1b, 2b)
		     : : "a" (pa) : "memory");
}

static __always_inline void load_state(u64 pa)
{
	asm volatile("vmload %0" : : "a" (pa) : "memory");
}

static __always_inline void set_gif(void)
{
	asm volatile("stgi" : : : "memory");
}

/* Faults if a reboot took SVM away. */
static __always_inline bool clear_gif(void)
{
	asm volatile goto("1: clgi\n\t"
			  _ASM_EXTABLE(1b, %l[gone])
			  : : : "memory" : gone);
	return true;
gone:
	return false;
}

static __always_inline void write_back_regs(struct svm_vcpu *svm)
{
	struct vmcb_save_area *save = &svm->vmcb->save;
	struct kiln_vcpu *vcpu = &svm->vcpu;
	u32 dirty = vcpu->regs_dirty;

	save->rax = vcpu->regs[KILN_RAX];
	if (dirty & BIT(KILN_RIP))
		save->rip = vcpu->regs[KILN_RIP];
	if (unlikely(dirty & ~BIT(KILN_RIP))) {
		if (dirty & BIT(KILN_RSP))
			save->rsp = vcpu->regs[KILN_RSP];
		if (dirty & BIT(KILN_RFLAGS))
			save->rflags = vcpu->regs[KILN_RFLAGS];
	}
	vcpu->regs_dirty = 0;
}

/* V_TPR is the guest's CR8; the local APIC keeps the same in its TPR. */
static __always_inline void tpr_to_hw(struct svm_vcpu *svm)
{
	svm->tpr = kiln_get_cr8(&svm->vcpu);
	svm_int_ctl(svm, svm->tpr, V_TPR_MASK);
}

static __always_inline void tpr_from_hw(struct svm_vcpu *svm)
{
	u32 tpr = svm->vmcb->control.int_ctl & V_TPR_MASK;

	if (likely(tpr == svm->tpr))
		return;
	svm->tpr = tpr;
	kiln_set_cr8(&svm->vcpu, tpr);
}

/* TSC_AUX is of use to the host's user mode only. */
static void load_aux(struct svm_vcpu *svm)
{
	if (!svm_caps.rdtscp ||
	    (!kiln_guest_has(&svm->vcpu, X86_FEATURE_RDTSCP) &&
	     !kiln_guest_has(&svm->vcpu, X86_FEATURE_RDPID)))
		return;
	rdmsrl(MSR_TSC_AUX, svm->host_tsc_aux);
	if (svm->host_tsc_aux != svm->tsc_aux)
		wrmsrl(MSR_TSC_AUX, svm->tsc_aux);
	svm->aux_loaded = true;
}

/* What stays in the CPU until the vCPU is put. IRQs off. */
static void load_guest(struct svm_vcpu *svm)
{
	save_state(svm_host_area_pa());
	load_aux(svm);
	if (svm_caps.tsc_ratio)
		svm_tsc_ratio_load(svm->vcpu.clock.tsc_ratio ?:
				   SVM_TSC_RATIO_DEFAULT);
	svm->guest_loaded = true;
}

/**
 * svm_load_host() - give the CPU back to the host's user mode
 * @svm: the vCPU
 *
 * Context: preemption off.
 */
void svm_load_host(struct svm_vcpu *svm)
{
	if (!svm->guest_loaded)
		return;
	if (svm->aux_loaded && svm->tsc_aux != svm->host_tsc_aux)
		wrmsrl(MSR_TSC_AUX, svm->host_tsc_aux);
	svm->aux_loaded = false;
	svm->guest_loaded = false;
}

/*
 * The LDT that the host save area remembers may be freed by now: another
 * thread has made a new one, and the IPI that loads it here came in between.
 */
static __always_inline void reload_ldt(void)
{
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	if (unlikely(READ_ONCE(current->mm->context.ldt)))
		asm volatile("1: lldt %w0\n\t"
			     "2:\n\t"
			     _ASM_EXTABLE(1b, 2b)
			     : : "r" (GDT_ENTRY_LDT * 8));
#endif
}

/* GIF is clear from here on, until leave(). */
static bool begin(struct svm_vcpu *svm)
{
	if (unlikely(!clear_gif()))
		return false;
	svm->gs_base = svm->vmcb->save.gs.base;
	svm_vmload_keep_gs(svm->vmcb_pa);
	return true;
}

static void end(struct svm_vcpu *svm)
{
	save_state(svm->vmcb_pa);
	svm->vmcb->save.gs.base = svm->gs_base;
	load_state(svm_host_area_pa());
	reload_ldt();
	set_gif();
}

static bool fast_cpuid(struct svm_vcpu *svm)
{
	kiln_fast_cpuid(&svm->vcpu);
	return true;
}

static bool fast_msr(struct svm_vcpu *svm)
{
	/* The guest may have moved to CR8 since: no exit has said so. */
	tpr_from_hw(svm);
	if (!svm->vmcb->control.exit_info_1)
		return kiln_fast_rdmsr(&svm->vcpu);
	if (!kiln_fast_wrmsr(&svm->vcpu))
		return false;
	tpr_to_hw(svm);
	return true;
}

#define IO_IN		BIT(0)
#define IO_STRING	BIT(2)
#define IO_SIZE(info)	(((info) >> SVM_IOIO_SIZE_SHIFT) & 7)
#define IO_PORT(info)	((info) >> 16)

static bool fast_io(struct svm_vcpu *svm)
{
	u32 info = svm->vmcb->control.exit_info_1;

	svm_next_rip_io(svm);
	return !(info & IO_STRING) &&
	       kiln_pio_kernel(&svm->vcpu, IO_PORT(info), IO_SIZE(info),
			       info & IO_IN);
}

/* A write of anything, anywhere, that an ioeventfd waits for. */
static bool fast_npf(struct svm_vcpu *svm)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;
	const u64 is = X86_PF_RSVD | X86_PF_WRITE | SVM_NPF_FINAL;

	return (ctl->exit_info_1 & (is | SVM_NPF_WALK)) == is &&
	       !(ctl->exit_int_info & SVM_EXITINTINFO_VALID) &&
	       svm_next_rip_fast(svm) &&
	       kiln_ioeventfd_fast(svm->vcpu.vm, KILN_BUS_MMIO, &svm->vcpu,
				   ctl->exit_info_2, 0, 0);
}

/* Something waits: true if it was nothing but events, seen to by then. */
static noinline bool stays(struct svm_vcpu *svm)
{
	if (!__xfer_to_guest_mode_work_pending()) {
		tpr_from_hw(svm);
		if (kiln_events_irqoff(&svm->vcpu))
			return true;
	}
	svm->exit_code = SVM_EXIT_HANDLED;
	return false;
}

/*
 * Return true if the exit is done with and the guest may be entered again.
 * Exits of instructions cannot come in the middle of an event's delivery, so
 * one that was being injected has been delivered.
 */
static __always_inline bool fast_exit(struct svm_vcpu *svm)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;
	bool done;

	switch (svm->exit_code) {
	case SVM_EXIT_CPUID:
		done = svm_next_rip_fast(svm) && fast_cpuid(svm);
		break;
	case SVM_EXIT_MSR:
		done = svm_next_rip_fast(svm) && fast_msr(svm);
		break;
	case SVM_EXIT_IOIO:
		done = fast_io(svm);
		break;
	case SVM_EXIT_NPF:
		done = fast_npf(svm);
		if (done)
			vcpu->stats.mmio++;
		break;
	default:
		return false;
	}
	if (!done)
		return false;
	if (unlikely(svm->injected || svm->nmi_iret || svm->step))
		svm_complete_events(svm);
	svm_skip_insn(vcpu);
	svm->next_rip = 0;
	trace_kiln_fast_exit(vcpu->id, svm->exit_code);
	/* Whom the exit woke on this CPU no interrupt announces. */
	return likely(!(kiln_request_pending(vcpu) |
			__xfer_to_guest_mode_work_pending())) ||
	       stays(svm);
}

static __always_inline void run(struct svm_vcpu *svm)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;
	struct vmcb_save_area *save = &svm->vmcb->save;
	struct kiln_vcpu *vcpu = &svm->vcpu;

	if (unlikely(svm->step)) {
		svm->tf = save->rflags & X86_EFLAGS_TF;
		save->rflags |= X86_EFLAGS_TF;
	}
	if (unlikely(svm_caps.verify))
		svm_verify_before(svm);
	svm_enter_guest(svm, svm->vmcb_pa, &svm->gs_base);
	ctl->clean = SVM_CLEAN_ALL;
	if (unlikely(svm_caps.verify))
		svm_verify_after(svm);
	/* Not yet past the instruction: nobody shall see the flag. */
	if (unlikely(svm->step) && save->rip == svm->step_rip && !svm->tf)
		save->rflags &= ~(u64)X86_EFLAGS_TF;
	ctl->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	vcpu->regs[KILN_RAX] = save->rax;
	vcpu->regs[KILN_RIP] = save->rip;
	vcpu->regs[KILN_RFLAGS] = save->rflags;
	vcpu->regs_avail = REGS_AFTER_EXIT;
	vcpu->stats.exits++;
	svm->exit_rip = save->rip;
	svm->exit_code = ctl->exit_code;
	svm->next_rip = 0;
}

/**
 * svm_own_drs() - who moves to and from debug registers?
 * @svm: the vCPU
 * @own: the guest; else each such instruction exits
 */
void svm_own_drs(struct svm_vcpu *svm, bool own)
{
	int i;

	svm->drs_owned = own;
	for (i = 0; i < 8; i++) {
		svm_intercept(svm, INTERCEPT_DR0_READ + i, !own);
		svm_intercept(svm, INTERCEPT_DR0_WRITE + i, !own);
	}
}

/*
 * DR6 and DR7 are in the VMCB, DR0 to DR3 are loaded for a guest that uses
 * them. Nothing in the host breaks on what they say: DR7 is clear.
 */
static void load_guest_drs(struct svm_vcpu *svm)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;

	set_debugreg(vcpu->dr[0], 0);
	set_debugreg(vcpu->dr[1], 1);
	set_debugreg(vcpu->dr[2], 2);
	set_debugreg(vcpu->dr[3], 3);
	svm->vmcb->save.dr6 = vcpu->dr6;
	svm_dirty(svm, SVM_CLEAN_DR);
}

static void save_guest_drs(struct svm_vcpu *svm)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;

	get_debugreg(vcpu->dr[0], 0);
	get_debugreg(vcpu->dr[1], 1);
	get_debugreg(vcpu->dr[2], 2);
	get_debugreg(vcpu->dr[3], 3);
	vcpu->dr6 = svm->vmcb->save.dr6;
	vcpu->dr7 = svm->vmcb->save.dr7;
	svm_own_drs(svm, false);
}

/*
 * VMRUN has loaded the guest's DR6, and no exit puts another in its place: the
 * host would find it at its next #DB. What the VMCB has of it handle_db() has
 * yet to see; anybody else's is in vcpu->dr6.
 */
static void reset_dr6(struct svm_vcpu *svm)
{
	set_debugreg(DR6_RESERVED, 6);
	if (svm->exit_code == SVM_EXIT_EXCP_BASE + X86_TRAP_DB)
		return;
	svm->vmcb->save.dr6 = DR6_RESERVED;
	svm_dirty(svm, SVM_CLEAN_DR);
}

static __always_inline bool uses_xsave(struct kiln_vcpu *vcpu)
{
	return vcpu->cr4 & X86_CR4_OSXSAVE;
}

static void load_guest_xsave(struct kiln_vcpu *vcpu)
{
	if (vcpu->xcr0 != kiln_host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);
	if (svm_hw.has_xsaves && vcpu->xss != kiln_host_xss)
		wrmsrl(MSR_IA32_XSS, vcpu->xss);
}

/*
 * XSETBV is intercepted. TCG does not do that: what it let the guest write is
 * taken over if the guest may have it, and undone if not. With XCR0 out of our
 * hands the guest may have loaded PKRU meanwhile, whatever XCR0 is by now.
 */
static void load_host_xsave(struct kiln_vcpu *vcpu, u32 pkru)
{
	u64 now = xgetbv(XCR_XFEATURE_ENABLED_MASK);

	if (unlikely(now != vcpu->xcr0))
		kiln_xcr_set(vcpu, 0, now);
	if (boot_cpu_has(X86_FEATURE_OSPKE) && unlikely(rdpkru() != pkru))
		wrpkru(pkru);
	if (now != kiln_host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, kiln_host_xcr0);
	if (svm_hw.has_xsaves && vcpu->xss != kiln_host_xss)
		wrmsrl(MSR_IA32_XSS, kiln_host_xss);
}

/* NMIs were taken by the host when GIF was set; machine checks are not. */
static void host_exceptions(struct svm_vcpu *svm)
{
	if (svm->exit_code == SVM_EXIT_NMI)
		svm->vcpu.stats.nmi_exit++;
	if (svm->exit_code == SVM_EXIT_EXCP_BASE + X86_TRAP_MC)
		asm volatile("int %0" : : "i" (X86_TRAP_MC) : "memory");
}

void svm_enter(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	bool drs = svm->drs_owned ||
		   vcpu->dr7 & (DR_GLOBAL_ENABLE_MASK | DR_LOCAL_ENABLE_MASK);
	bool xsave = uses_xsave(vcpu);
	u32 pkru = 0;

	if (!svm->guest_loaded)
		load_guest(svm);
	svm_asid_prepare(svm);
	if (vcpu->cr2 != svm->vmcb->save.cr2) {
		svm->vmcb->save.cr2 = vcpu->cr2;
		svm_dirty(svm, SVM_CLEAN_CR2);
	}
	tpr_to_hw(svm);
	/* Nothing of SVM watches the timer, so an hrtimer does. */
	if (vcpu->lapic)
		lapic_timer_use_hw(vcpu, false);
	/* VMRUN loads another DR7. TCG has to be told that these are off. */
	if (unlikely(drs || hw_breakpoint_active()))
		set_debugreg(0, 7);
	if (unlikely(drs))
		load_guest_drs(svm);
	if (xsave) {
		if (boot_cpu_has(X86_FEATURE_OSPKE))
			pkru = rdpkru();
		load_guest_xsave(vcpu);
	}

	if (unlikely(vcpu->virt_spec_ctrl))
		x86_virt_spec_ctrl(vcpu->virt_spec_ctrl, true);
	if (unlikely(vcpu->wait_tsc))
		kiln_wait_for_deadline(vcpu);
	/* Pending until the event of this entry has been delivered. */
	if (unlikely(svm->look_again))
		kiln_send_reschedule(raw_smp_processor_id());
	svm->fail = !begin(svm);
	if (likely(!svm->fail)) {
		do {
			write_back_regs(svm);
			run(svm);
		} while (fast_exit(svm));
		end(svm);
		if (unlikely(svm->exit_code == (u32)SVM_EXIT_ERR))
			svm_asid_refused(svm);
	}
	if (unlikely(vcpu->virt_spec_ctrl))
		x86_virt_spec_ctrl(vcpu->virt_spec_ctrl, false);

	vcpu->cr2 = svm->vmcb->save.cr2;
	tpr_from_hw(svm);
	if (xsave)
		load_host_xsave(vcpu, pkru);
	if (unlikely(svm->drs_owned))
		save_guest_drs(svm);
	if (unlikely(svm->vmcb->save.dr6 != DR6_RESERVED))
		reset_dr6(svm);
	/* The exit has cleared DR7 (§15.6). */
	if (unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
	if (likely(!svm->fail))
		host_exceptions(svm);
}
