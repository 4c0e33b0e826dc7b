// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ways out of the guest: one handler per exit reason (SDM vol. 3
 * appendix C), in one table; CPUID and the common cases of a few others are
 * over before they come here, see enter.c. Handlers run with IRQs on and may sleep; they
 * return KILN_RESUME, KILN_EXIT_USER with vcpu->run filled in, or an errno.
 */
#include <linux/kvm.h>
#include <linux/nospec.h>

#include "death.h"
#include "exits.h"
#include "io.h"
#include "run.h"
#include "state.h"
#include "trace.h"
#include "vmx.h"

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

/* §28.2.1 table 28-3 */
#define CR_NUM(q)	((q) & 0xf)
#define CR_TYPE(q)	(((q) >> 4) & 3)
#define CR_REG(q)	(((q) >> 8) & 0xf)
#define CR_LMSW(q)	(((q) >> 16) & 0xffff)

enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW_TYPE };

static int handle_cr(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);
	int cr = CR_NUM(qual), reg = CR_REG(qual);

	switch (CR_TYPE(qual)) {
	case CR_MOV_TO:
		return kiln_exit_mov_to_cr(vcpu, cr, kiln_reg_read(vcpu, reg));
	case CR_MOV_FROM:
		return kiln_exit_mov_from_cr(vcpu, cr, reg);
	case CR_CLTS:
		return kiln_exit_clts(vcpu);
	default:
		return kiln_exit_lmsw(vcpu, CR_LMSW(qual));
	}
}

static int handle_dr(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);

	return kiln_exit_mov_dr(vcpu, qual & DEBUG_REG_ACCESS_NUM,
				DEBUG_REG_ACCESS_REG(qual),
				qual & DEBUG_REG_ACCESS_TYPE);
}

static int handle_io(struct kiln_vcpu *vcpu)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);

	/* Bits as in §28.2.1 table 28-5. */
	return kiln_pio(vcpu, (qual >> 16) & 0xffff, (qual & 7) + 1,
			qual & BIT(3), qual & BIT(4));
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

static int handle_preemption_timer(struct kiln_vcpu *vcpu)
{
	vcpu->stats.preemption_timer++;
	lapic_timer_expire(vcpu, 0);
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
	[EXIT_REASON_HLT] = kiln_exit_hlt,
	[EXIT_REASON_INVD] = kiln_exit_cache_flush,
	[EXIT_REASON_RDPMC] = kiln_exit_rdpmc,
	[EXIT_REASON_VMCALL] = kiln_exit_hypercall,
	[EXIT_REASON_VMCLEAR] = kiln_exit_ud,
	[EXIT_REASON_VMLAUNCH] = kiln_exit_ud,
	[EXIT_REASON_VMPTRLD] = kiln_exit_ud,
	[EXIT_REASON_VMPTRST] = kiln_exit_ud,
	[EXIT_REASON_VMREAD] = kiln_exit_ud,
	[EXIT_REASON_VMRESUME] = kiln_exit_ud,
	[EXIT_REASON_VMWRITE] = kiln_exit_ud,
	[EXIT_REASON_VMOFF] = kiln_exit_ud,
	[EXIT_REASON_VMON] = kiln_exit_ud,
	[EXIT_REASON_CR_ACCESS] = handle_cr,
	[EXIT_REASON_DR_ACCESS] = handle_dr,
	[EXIT_REASON_IO_INSTRUCTION] = handle_io,
	[EXIT_REASON_MSR_READ] = kiln_exit_rdmsr,
	[EXIT_REASON_MSR_WRITE] = kiln_exit_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION] = kiln_exit_ud,
	[EXIT_REASON_MONITOR_INSTRUCTION] = kiln_exit_ud,
	[EXIT_REASON_PAUSE_INSTRUCTION] = kiln_exit_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = handle_tpr,
	[EXIT_REASON_EOI_INDUCED] = handle_eoi_induced,
	[EXIT_REASON_EPT_VIOLATION] = handle_ept_violation,
	[EXIT_REASON_EPT_MISCONFIG] = handle_ept_misconfig,
	[EXIT_REASON_INVEPT] = kiln_exit_ud,
	[EXIT_REASON_RDTSCP] = kiln_exit_ud,
	[EXIT_REASON_PREEMPTION_TIMER] = handle_preemption_timer,
	[EXIT_REASON_INVVPID] = kiln_exit_ud,
	[EXIT_REASON_WBINVD] = kiln_exit_cache_flush,
	[EXIT_REASON_XSETBV] = kiln_exit_xsetbv,
	[EXIT_REASON_APIC_WRITE] = handle_apic_write,
	[EXIT_REASON_INVPCID] = kiln_exit_ud,
	[EXIT_REASON_ENCLS] = kiln_exit_ud,
	[EXIT_REASON_VMFUNC] = kiln_exit_ud,
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
		return kiln_exit_rdmsr(vcpu);
	case EXIT_REASON_MSR_WRITE:
		return kiln_exit_wrmsr(vcpu);
	case EXIT_REASON_HLT:
		return kiln_exit_hlt(vcpu);
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
