// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ways out of the guest: one handler per exit reason (SDM vol. 3
 * appendix C), in one table; CPUID and the common cases of a few others are
 * over before they come here, see enter.c. Handlers run with IRQs on and may sleep; they
 * return KILN_RESUME, KILN_EXIT_USER with vcpu->run filled in, or an errno.
 */
#include <linux/kvm.h>
#include <linux/nospec.h>

#include "cpuid.h"
#include "death.h"
#include "io.h"
#include "msr.h"
#include "run.h"
#include "state.h"
#include "trace.h"
#include "vmx.h"

#define DR7_GD	BIT(13)		/* general detect, §18.2.4 */

static int skip(struct kiln_vcpu *vcpu)
{
	vmx_skip_insn(vcpu);
	return KILN_RESUME;
}

static int gp_or_skip(struct kiln_vcpu *vcpu, int gp)
{
	if (gp) {
		kiln_inject_gp(vcpu, 0);
		return KILN_RESUME;
	}
	return skip(vcpu);
}

static int undefined(struct kiln_vcpu *vcpu)
{
	kiln_inject_ud(vcpu);
	return KILN_RESUME;
}

/* The host took its interrupt when IRQs were switched on. */
static int handle_external_interrupt(struct kiln_vcpu *vcpu)
{
	vcpu->stats.irq_exit++;
	return KILN_RESUME;
}

/*
 * #DB: what the CPU would have put into DR6 is in the exit qualification
 * (§28.2.1). #AC goes back as it came. NMI and #MC were the host's and are
 * done with. An IRET that faulted has unblocked NMIs too early (§28.2.3).
 */
static int handle_exception(struct kiln_vcpu *vcpu)
{
	u32 info = vmcs_read32(VM_EXIT_INTR_INFO);
	u8 vector = info & INTR_INFO_VECTOR_MASK;

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR ||
	    vector == X86_TRAP_MC)
		return KILN_RESUME;
	vcpu->stats.exception_exit++;
	if (info & INTR_INFO_UNBLOCK_NMI &&
	    !(to_vmx(vcpu)->idt_info & VECTORING_INFO_VALID_MASK))
		vmx_set_nmi_mask(vcpu, true);

	if (vector == X86_TRAP_DB) {
		u64 dr6 = vmcs_readl(EXIT_QUALIFICATION);
		u32 shadow = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);

		/* A #DB by ICEBP leaves the shadow; entry refuses TF with it. */
		if (shadow & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))
			vmx_set_shadow(vcpu, 0);
		if ((info & INTR_INFO_INTR_TYPE_MASK) ==
		    INTR_TYPE_PRIV_SW_EXCEPTION)
			vmx_skip_insn(vcpu);
		kiln_inject_db(vcpu, dr6 & (DR_TRAP_BITS | DR_STEP | BIT(13)));
		return KILN_RESUME;
	}
	if (vector == X86_TRAP_AC) {
		kiln_queue_exception(vcpu, vector, true,
				     vmcs_read32(VM_EXIT_INTR_ERROR_CODE));
		return KILN_RESUME;
	}
	return kiln_die(vcpu, KILN_DEATH_UNEXPECTED,
			"exit for exception %u, which was not asked for",
			vector);
}

static int handle_triple_fault(struct kiln_vcpu *vcpu)
{
	return kiln_die(vcpu, KILN_DEATH_TRIPLE_FAULT,
			"triple fault: an exception while delivering a double fault");
}

static int handle_irq_window(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->irq_window = false;
	vmx_set_cpu_ctl(vmx, 0, CPU_BASED_INTR_WINDOW_EXITING);
	vmx->vnmi_blocked = false;
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	vcpu->stats.irq_window++;
	return KILN_RESUME;
}

static int handle_nmi_window(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->nmi_window = false;
	vmx_set_cpu_ctl(vmx, 0, CPU_BASED_NMI_WINDOW_EXITING);
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	vcpu->stats.nmi_window++;
	return KILN_RESUME;
}

static int handle_task_switch(struct kiln_vcpu *vcpu)
{
	return kiln_die(vcpu, KILN_DEATH_EMULATION,
			"hardware task switch to selector 0x%lx, which kiln does not emulate",
			vmcs_readl(EXIT_QUALIFICATION) & 0xffff);
}

static int handle_hlt(struct kiln_vcpu *vcpu)
{
	vmx_skip_insn(vcpu);
	return kiln_halt(vcpu);
}

/* Caches stay coherent on x86 and no device of ours bypasses them. */
static int handle_cache_flush(struct kiln_vcpu *vcpu)
{
	return skip(vcpu);
}

static int handle_rdpmc(struct kiln_vcpu *vcpu)
{
	/* No counters are offered, so no index is valid. */
	kiln_inject_gp(vcpu, 0);
	return KILN_RESUME;
}

static int handle_vmcall(struct kiln_vcpu *vcpu)
{
	kiln_hypercall(vcpu);
	return skip(vcpu);
}

/* §28.2.1 table 28-3 */
#define CR_NUM(q)	((q) & 0xf)
#define CR_TYPE(q)	(((q) >> 4) & 3)
#define CR_REG(q)	(((q) >> 8) & 0xf)
#define CR_LMSW(q)	(((q) >> 16) & 0xffff)

enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW_TYPE };

static int mov_to_cr(struct kiln_vcpu *vcpu, int cr, u64 val)
{
	u64 old;
	int gp;

	/* Outside 64-bit mode the operand is 32 bits wide. */
	if (!(vcpu->efer & EFER_LMA) ||
	    !(vmcs_read32(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK))
		val = (u32)val;
	switch (cr) {
	case 0:
		return gp_or_skip(vcpu, kiln_set_cr0(vcpu, val));
	case 3:
		return gp_or_skip(vcpu, kiln_set_cr3(vcpu, val));
	case 4:
		return gp_or_skip(vcpu, kiln_set_cr4(vcpu, val));
	case 8:
		old = kiln_get_cr8(vcpu);
		gp = kiln_set_cr8(vcpu, val);
		gp_or_skip(vcpu, gp);
		/* User space's APIC wants to know when the bar is lowered. */
		if (!gp && !vcpu->lapic && val < old) {
			vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
			return KILN_EXIT_USER;
		}
		return KILN_RESUME;
	}
	return undefined(vcpu);
}

static int handle_cr(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);
	int cr = CR_NUM(qual), reg = CR_REG(qual);
	u64 cr0 = vcpu->cr0;

	vcpu->stats.cr_access++;
	switch (CR_TYPE(qual)) {
	case CR_MOV_TO:
		return mov_to_cr(vcpu, cr, kiln_reg_read(vcpu, reg));
	case CR_MOV_FROM:
		if (cr == 3)
			kiln_reg_write(vcpu, reg, kiln_reg_read(vcpu, KILN_CR3));
		else
			kiln_reg_write(vcpu, reg, kiln_get_cr8(vcpu));
		return skip(vcpu);
	case CR_CLTS:
		kiln_set_cr0(vcpu, cr0 & ~X86_CR0_TS);
		return skip(vcpu);
	default:
		/* LMSW sets the low four bits and cannot clear PE. */
		cr0 = (cr0 & ~0xeull) | (CR_LMSW(qual) & 0xf);
		return gp_or_skip(vcpu, kiln_set_cr0(vcpu, cr0));
	}
}

static int handle_dr(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);
	int dr = qual & DEBUG_REG_ACCESS_NUM;
	int reg = DEBUG_REG_ACCESS_REG(qual);
	u64 val;
	int r;

	vcpu->stats.dr_access++;
	if ((dr == 4 || dr == 5) && (vcpu->cr4 & X86_CR4_DE))
		return undefined(vcpu);
	if (vmx_get_cpl(vcpu)) {
		kiln_inject_gp(vcpu, 0);
		return KILN_RESUME;
	}
	if (vcpu->dr7 & DR7_GD) {
		vcpu->dr7 &= ~DR7_GD;
		vmx_set_dr7(vcpu);
		kiln_inject_db(vcpu, BIT(13));
		return KILN_RESUME;
	}
	if (qual & DEBUG_REG_ACCESS_TYPE) {
		if (kiln_get_dr(vcpu, dr, &val))
			return undefined(vcpu);
		kiln_reg_write(vcpu, reg, val);
		return skip(vcpu);
	}
	r = kiln_set_dr(vcpu, dr, kiln_reg_read(vcpu, reg));
	if (r == KILN_DR_UD)
		return undefined(vcpu);
	return gp_or_skip(vcpu, r);
}

static int handle_io(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);

	/* Bits as in §28.2.1 table 28-5. */
	return kiln_pio(vcpu, (qual >> 16) & 0xffff, (qual & 7) + 1,
			qual & BIT(3), qual & BIT(4));
}

/* The fast path found nothing to read. */
static int handle_rdmsr(struct kiln_vcpu *vcpu)
{
	vcpu->stats.msr_read++;
	trace_kiln_msr(vcpu->id, false, vcpu->regs[KILN_RCX], 0, true);
	kiln_inject_gp(vcpu, 0);
	return KILN_RESUME;
}

static int handle_wrmsr(struct kiln_vcpu *vcpu)
{
	u32 index = vcpu->regs[KILN_RCX];
	u64 val = kiln_edx_eax(vcpu);
	int gp;

	vcpu->stats.msr_write++;
	gp = kiln_msr_set(vcpu, index, val, false);
	trace_kiln_msr(vcpu->id, true, index, val, gp);
	return gp_or_skip(vcpu, gp);
}

/* Not offered by CPUID, so the guest gets what a CPU without it does. */
static int handle_undefined(struct kiln_vcpu *vcpu)
{
	return undefined(vcpu);
}

static int handle_pause(struct kiln_vcpu *vcpu)
{
	vcpu->stats.pause++;
	kiln_spin(vcpu);
	return skip(vcpu);
}

/* The TPR fell below the priority of what waits: look again. */
static int handle_tpr(struct kiln_vcpu *vcpu)
{
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	return KILN_RESUME;
}

static int handle_eoi_induced(struct kiln_vcpu *vcpu)
{
	vcpu->stats.eoi_exit++;
	lapic_eoi_induced(vcpu, vmcs_readl(EXIT_QUALIFICATION) & 0xff);
	return KILN_RESUME;
}

static int handle_apic_write(struct kiln_vcpu *vcpu)
{
	vcpu->stats.apic_access++;
	lapic_write_trap(vcpu, vmcs_readl(EXIT_QUALIFICATION) & 0xff0);
	return KILN_RESUME;
}

static int handle_xsetbv(struct kiln_vcpu *vcpu)
{
	if (vmx_get_cpl(vcpu)) {
		kiln_inject_gp(vcpu, 0);
		return KILN_RESUME;
	}
	return gp_or_skip(vcpu, kiln_xcr_set(vcpu, vcpu->regs[KILN_RCX],
					     kiln_edx_eax(vcpu)));
}

static int handle_preemption_timer(struct kiln_vcpu *vcpu)
{
	vcpu->stats.preemption_timer++;
	lapic_timer_expire(vcpu);
	return KILN_RESUME;
}

/*
 * Memory or a device: the MMU room knows. An IRET that faulted on its way
 * out of an NMI handler has to keep NMIs blocked (§28.2.3).
 */
static int handle_ept_violation(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);
	u64 gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 access = qual & 7;

	if (unlikely(qual & INTR_INFO_UNBLOCK_NMI) &&
	    !(vmx->idt_info & VECTORING_INFO_VALID_MASK))
		vmx_set_nmi_mask(vcpu, true);
	/*
	 * An access to the guest's page tables that sets an A/D flag is a
	 * write as well, whatever the access it is for.
	 */
	return kiln_guest_fault(vcpu, gpa, access,
				vmx->idt_info & VECTORING_INFO_VALID_MASK,
				(qual & EPT_VIOLATION_GVA_IS_VALID) &&
				!(qual & EPT_VIOLATION_GVA_TRANSLATED));
}

/* Entries that mark device memory are misconfigured on purpose. */
static int handle_ept_misconfig(struct kiln_vcpu *vcpu)
{
	u64 gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);

	return kiln_guest_mmio(vcpu, gpa, 0,
			       to_vmx(vcpu)->idt_info &
			       VECTORING_INFO_VALID_MASK);
}

static int (*const handlers[])(struct kiln_vcpu *vcpu) = {
	[EXIT_REASON_EXCEPTION_NMI] = handle_exception,
	[EXIT_REASON_EXTERNAL_INTERRUPT] = handle_external_interrupt,
	[EXIT_REASON_TRIPLE_FAULT] = handle_triple_fault,
	[EXIT_REASON_INTERRUPT_WINDOW] = handle_irq_window,
	[EXIT_REASON_NMI_WINDOW] = handle_nmi_window,
	[EXIT_REASON_TASK_SWITCH] = handle_task_switch,
	[EXIT_REASON_HLT] = handle_hlt,
	[EXIT_REASON_INVD] = handle_cache_flush,
	[EXIT_REASON_RDPMC] = handle_rdpmc,
	[EXIT_REASON_VMCALL] = handle_vmcall,
	[EXIT_REASON_VMCLEAR] = handle_undefined,
	[EXIT_REASON_VMLAUNCH] = handle_undefined,
	[EXIT_REASON_VMPTRLD] = handle_undefined,
	[EXIT_REASON_VMPTRST] = handle_undefined,
	[EXIT_REASON_VMREAD] = handle_undefined,
	[EXIT_REASON_VMRESUME] = handle_undefined,
	[EXIT_REASON_VMWRITE] = handle_undefined,
	[EXIT_REASON_VMOFF] = handle_undefined,
	[EXIT_REASON_VMON] = handle_undefined,
	[EXIT_REASON_CR_ACCESS] = handle_cr,
	[EXIT_REASON_DR_ACCESS] = handle_dr,
	[EXIT_REASON_IO_INSTRUCTION] = handle_io,
	[EXIT_REASON_MSR_READ] = handle_rdmsr,
	[EXIT_REASON_MSR_WRITE] = handle_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION] = handle_undefined,
	[EXIT_REASON_MONITOR_INSTRUCTION] = handle_undefined,
	[EXIT_REASON_PAUSE_INSTRUCTION] = handle_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = handle_tpr,
	[EXIT_REASON_EOI_INDUCED] = handle_eoi_induced,
	[EXIT_REASON_EPT_VIOLATION] = handle_ept_violation,
	[EXIT_REASON_EPT_MISCONFIG] = handle_ept_misconfig,
	[EXIT_REASON_INVEPT] = handle_undefined,
	[EXIT_REASON_RDTSCP] = handle_undefined,
	[EXIT_REASON_PREEMPTION_TIMER] = handle_preemption_timer,
	[EXIT_REASON_INVVPID] = handle_undefined,
	[EXIT_REASON_WBINVD] = handle_cache_flush,
	[EXIT_REASON_XSETBV] = handle_xsetbv,
	[EXIT_REASON_APIC_WRITE] = handle_apic_write,
	[EXIT_REASON_INVPCID] = handle_undefined,
	[EXIT_REASON_ENCLS] = handle_undefined,
	[EXIT_REASON_VMFUNC] = handle_undefined,
};

/*
 * The table's calls are indirect, which costs a retpoline where the host needs
 * those; the reasons that come often are called by name.
 */
static int dispatch(struct kiln_vcpu *vcpu, u32 reason)
{
	switch (reason) {
	case EXIT_REASON_EXTERNAL_INTERRUPT:
		return handle_external_interrupt(vcpu);
	case EXIT_REASON_EPT_MISCONFIG:
		return handle_ept_misconfig(vcpu);
	case EXIT_REASON_EPT_VIOLATION:
		return handle_ept_violation(vcpu);
	case EXIT_REASON_IO_INSTRUCTION:
		return handle_io(vcpu);
	case EXIT_REASON_MSR_READ:
		return handle_rdmsr(vcpu);
	case EXIT_REASON_MSR_WRITE:
		return handle_wrmsr(vcpu);
	case EXIT_REASON_HLT:
		return handle_hlt(vcpu);
	}
	if (likely(reason < ARRAY_SIZE(handlers))) {
		reason = array_index_nospec(reason, ARRAY_SIZE(handlers));
		if (handlers[reason])
			return handlers[reason](vcpu);
	}
	return kiln_die(vcpu, KILN_DEATH_UNEXPECTED,
			"unexpected VM exit, reason %u", reason);
}

static const char *failed_entry_cause(u32 reason)
{
	switch (reason & 0xffff) {
	case EXIT_REASON_INVALID_STATE:
		return "the processor refused the guest state (SDM vol. 3 §27.3.1)";
	case EXIT_REASON_MSR_LOAD_FAIL:
		return "the processor refused to load an MSR at entry";
	default:
		return "a machine check ended the entry";
	}
}

static int failed_entry(struct kiln_vcpu *vcpu, u64 reason, const char *cause)
{
	kiln_die(vcpu, KILN_DEATH_FAIL_ENTRY, "VM entry failed: %s", cause);
	/* What was to be injected is still there, also in the record. */
	vmx_cancel_injection(vcpu);
	vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	vcpu->run->fail_entry.hardware_entry_failure_reason = reason;
	vcpu->run->fail_entry.cpu = vcpu->cpu;
	return KILN_EXIT_USER;
}

/**
 * vmx_handle_exit() - handle what vmx_enter() came back with
 * @vcpu: the vCPU
 *
 * Return: see struct kiln_hw.
 */
int vmx_handle_exit(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 reason = vmx->exit_reason;

	if (unlikely(vmx->fail)) {
		return failed_entry(vcpu, vmcs_read32(VM_INSTRUCTION_ERROR),
				    "VMLAUNCH or VMRESUME was refused");
	}
	if (reason == VMX_EXIT_HANDLED)
		return KILN_RESUME;
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		return failed_entry(vcpu, reason, failed_entry_cause(reason));
	vmx_complete_events(vmx);
	trace_kiln_exit(vcpu->id, reason, kiln_rip(vcpu));

	return dispatch(vcpu, reason);
}

/* The exit fields of struct kiln_death; see there. */
void vmx_death(struct kiln_vcpu *vcpu, struct kiln_death *d)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->fail) {
		d->insn_error = vmcs_read32(VM_INSTRUCTION_ERROR);
		d->entry_info = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD);
		return;
	}
	d->exit_reason = vmx->exit_reason;
	d->qualification = vmcs_readl(EXIT_QUALIFICATION);
	d->intr_info = vmcs_read32(VM_EXIT_INTR_INFO);
	if (d->intr_info & INTR_INFO_DELIVER_CODE_MASK)
		d->intr_error = vmcs_read32(VM_EXIT_INTR_ERROR_CODE);
	d->idt_info = vmcs_read32(IDT_VECTORING_INFO_FIELD);
	if (d->idt_info & VECTORING_INFO_DELIVER_CODE_MASK)
		d->idt_error = vmcs_read32(IDT_VECTORING_ERROR_CODE);
	d->entry_info = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD);
	if (vmx->exit_reason == EXIT_REASON_EPT_VIOLATION ||
	    vmx->exit_reason == EXIT_REASON_EPT_MISCONFIG) {
		d->gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
		if (d->qualification & EPT_VIOLATION_GVA_IS_VALID &&
		    vmx->exit_reason == EXIT_REASON_EPT_VIOLATION)
			d->linear = vmcs_readl(GUEST_LINEAR_ADDRESS);
	}
}
