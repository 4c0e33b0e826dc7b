// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ways out of the guest: one handler per exit code (appendix C), in one
 * table; the common cases of a few are over before they come here, see
 * enter.c. Handlers run with IRQs on and may sleep; they return KILN_RESUME,
 * KILN_EXIT_USER with vcpu->run filled in, or an errno.
 */
#include <linux/kvm.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>

#include "death.h"
#include "exits.h"
#include "io.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "svm.h"
#include "trace.h"

#define DR6_BD	BIT(13)

/* The host took its interrupt, or its NMI, when it was let to. */
static int handle_interrupt(struct kiln_vcpu *vcpu)
{
	vcpu->stats.irq_exit++;
	return KILN_RESUME;
}

static int handle_host(struct kiln_vcpu *vcpu)
{
	return KILN_RESUME;
}

/* The bits of DR6 for breakpoints that DR7 has switched on (§13.1.1.4). */
static u64 breakpoints_on(u64 dr7)
{
	u64 bits = 0;
	int i;

	for (i = 0; i < 4; i++)
		if (dr7 >> (2 * i) & 3)
			bits |= DR_TRAP0 << i;
	return bits;
}

/*
 * DR6 is in the VMCB as the guest's handler would have found it (§15.12.2), and
 * in the CPU, which gets its own back. A step taken for an NMI's sake is none
 * of the guest's affair; nor what it met in DR0 to DR3, which match without
 * being switched on and may be left from somebody else.
 */
static int handle_db(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 dr6 = svm->vmcb->save.dr6 ^ DR6_RESERVED;

	vcpu->stats.exception_exit++;
	svm->vmcb->save.dr6 = DR6_RESERVED;
	svm_dirty(svm, SVM_CLEAN_DR);
	set_debugreg(DR6_RESERVED, 6);
	dr6 &= DR_TRAP_BITS | DR_STEP | DR6_BD;
	if (svm->stepped || !svm->drs_owned)
		dr6 &= breakpoints_on(vcpu->dr7) | DR_STEP | DR6_BD;
	if (svm->stepped) {
		dr6 &= ~(u64)DR_STEP;
		if (!dr6)
			return KILN_RESUME;
	}
	/* DR7.GD is cleared by the delivery (§13.1.1.3). */
	if (dr6 & DR6_BD) {
		vcpu->dr7 &= ~DR6_BD;
		svm_refresh(vcpu, KILN_REFRESH_DR7);
	}
	kiln_inject_db(vcpu, dr6);
	return KILN_RESUME;
}

static int handle_ac(struct kiln_vcpu *vcpu)
{
	vcpu->stats.exception_exit++;
	kiln_queue_exception(vcpu, X86_TRAP_AC, true,
			     to_svm(vcpu)->vmcb->control.exit_info_1);
	return KILN_RESUME;
}

/* What the VMCB holds of the guest is not defined any more (§15.14.3). */
static int handle_shutdown(struct kiln_vcpu *vcpu)
{
	to_svm(vcpu)->vmcb->control.clean = 0;
	return kiln_die(vcpu, KILN_DEATH_TRIPLE_FAULT,
			"triple fault: an exception while delivering a double fault");
}

static int handle_vintr(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->irq_window = false;
	svm_int_ctl(svm, 0, V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK);
	svm_intercept(svm, INTERCEPT_VINTR, false);
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	vcpu->stats.irq_window++;
	return KILN_RESUME;
}

/* The IRET that ends an NMI's handler is about to be executed. */
static int handle_iret(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm_intercept(svm, INTERCEPT_IRET, false);
	svm->nmi_iret = true;
	svm->step_rip = svm->exit_rip;
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	vcpu->stats.nmi_window++;
	return KILN_RESUME;
}

static int handle_task_switch(struct kiln_vcpu *vcpu)
{
	return kiln_die(vcpu, KILN_DEATH_EMULATION,
			"hardware task switch to selector 0x%llx, which kiln does not emulate",
			to_svm(vcpu)->vmcb->control.exit_info_1 & 0xffff);
}

static int handle_msr(struct kiln_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->control.exit_info_1 ?
	       kiln_exit_wrmsr(vcpu) : kiln_exit_rdmsr(vcpu);
}

/* Bits of exit_info_1: §15.10.2. The fast path has noted the next RIP. */
static int handle_io(struct kiln_vcpu *vcpu)
{
	u32 info = to_svm(vcpu)->vmcb->control.exit_info_1;

	return kiln_pio(vcpu, info >> 16, (info >> SVM_IOIO_SIZE_SHIFT) & 7,
			info & SVM_IOIO_TYPE_MASK, info & SVM_IOIO_STR_MASK);
}

/* exit_info_1 with decode assists (§15.33.1) */
#define CR_IS_MOV	BIT_ULL(63)
#define CR_REG		0xf

static int not_emulated(struct kiln_vcpu *vcpu)
{
	return kiln_die(vcpu, KILN_DEATH_EMULATION,
			"an access to a control register by an instruction that kiln does not emulate");
}

/* LMSW and SMSW with their operand in memory, 16 bits whatever the operand size. */
static int msw_in_memory(struct kiln_vcpu *vcpu, bool load)
{
	u32 access = load ? EMU_ACCESS_READ : EMU_ACCESS_WRITE;
	u16 msw = vcpu->cr0;
	enum emulate_result r;
	struct kiln_emul e;
	u64 linear;

	kiln_emul_init(&e, vcpu);
	r = kiln_emul_fetch(&e);
	if (r == EMU_DONE)
		r = emulate_operand(&e.ctxt, sizeof(msw), access, &linear);
	if (r == EMU_DONE && load)
		r = e.ctxt.ops->read(&e.ctxt, linear, &msw, sizeof(msw),
				     access);
	else if (r == EMU_DONE)
		r = e.ctxt.ops->write(&e.ctxt, linear, &msw, sizeof(msw));
	/* A device of user space's, EMU_IO, is one of the failures. */
	if (r != EMU_DONE)
		return kiln_emul_failed(&e, r);
	if (load)
		return kiln_exit_lmsw(vcpu, msw);
	svm_skip_insn(vcpu);
	return KILN_RESUME;
}

/* CR0 is also written by CLTS and LMSW. */
static int other_cr(struct kiln_vcpu *vcpu, const struct kiln_insn *insn)
{
	int op = (insn->modrm >> 3) & 7;

	if (insn->map != EMU_MAP_0F)
		return not_emulated(vcpu);
	if (insn->opcode == 0x06)
		return kiln_exit_clts(vcpu);
	if (insn->opcode == 0x01 && (op == 6 || op == 4) && insn->has_mem)
		return msw_in_memory(vcpu, op == 6);
	if (insn->opcode == 0x01 && op == 6)
		return kiln_exit_lmsw(vcpu, kiln_reg_read(vcpu, insn->rm));
	if (insn->opcode == 0x01 && op == 4) {
		/* SMSW: how much of it is the operand size's affair. */
		if (insn->size == 2)
			kiln_reg_write(vcpu, insn->rm,
				       (kiln_reg_read(vcpu, insn->rm) &
					~0xffffull) | (u16)vcpu->cr0);
		else
			kiln_reg_write(vcpu, insn->rm, (u32)vcpu->cr0);
		svm_skip_insn(vcpu);
		return KILN_RESUME;
	}
	return not_emulated(vcpu);
}

static int handle_cr(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 info = svm->vmcb->control.exit_info_1;
	u32 cr = svm->exit_code - SVM_EXIT_READ_CR0;
	struct kiln_insn insn;
	int reg = info & CR_REG, r;

	if (!svm_caps.decode || !(info & CR_IS_MOV)) {
		if (!svm_decode(svm, &insn, &r))
			return r;
		if (insn.map != EMU_MAP_0F || (insn.opcode & ~3) != 0x20)
			return other_cr(vcpu, &insn);
		reg = insn.rm;
	}
	if (cr >= 16)
		return kiln_exit_mov_to_cr(vcpu, cr - 16,
					   kiln_reg_read(vcpu, reg));
	return kiln_exit_mov_from_cr(vcpu, cr, reg);
}

/*
 * A guest that uses its debug registers gets them for the rest of this stay:
 * it comes back for the instruction, with all of them loaded.
 */
static int handle_dr(struct kiln_vcpu *vcpu)
{
	vcpu->stats.dr_access++;
	svm_own_drs(to_svm(vcpu), true);
	return KILN_RESUME;
}

/*
 * Memory or a device. The walk of the guest's page tables counts as a write,
 * whatever the access it is for (§15.25.5).
 */
static int handle_npf(struct kiln_vcpu *vcpu)
{
	struct vmcb_control_area *ctl = &to_svm(vcpu)->vmcb->control;
	bool vectoring = ctl->exit_int_info & SVM_EXITINTINFO_VALID;
	bool walk = ctl->exit_info_1 & SVM_NPF_WALK;
	u64 info = ctl->exit_info_1;
	u32 access = info & X86_PF_WRITE ? KILN_ACCESS_WRITE :
		     info & X86_PF_INSTR ? KILN_ACCESS_EXEC : KILN_ACCESS_READ;

	if (info & X86_PF_RSVD && !walk)
		return kiln_guest_mmio(vcpu, ctl->exit_info_2, access,
				       vectoring);
	return kiln_guest_fault(vcpu, ctl->exit_info_2, access, vectoring,
				walk);
}

static int (*const handlers[])(struct kiln_vcpu *vcpu) = {
	[SVM_EXIT_READ_CR0 ... SVM_EXIT_READ_CR0 + 15] = handle_cr,
	[SVM_EXIT_WRITE_CR0 ... SVM_EXIT_WRITE_CR0 + 15] = handle_cr,
	[SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR7] = handle_dr,
	[SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR7] = handle_dr,
	[SVM_EXIT_EXCP_BASE + X86_TRAP_DB] = handle_db,
	[SVM_EXIT_EXCP_BASE + X86_TRAP_AC] = handle_ac,
	[SVM_EXIT_EXCP_BASE + X86_TRAP_MC] = handle_host,
	[SVM_EXIT_INTR] = handle_interrupt,
	[SVM_EXIT_NMI] = handle_host,
	[SVM_EXIT_INIT] = handle_host,
	[SVM_EXIT_VINTR] = handle_vintr,
	[SVM_EXIT_RDPMC] = kiln_exit_rdpmc,
	[SVM_EXIT_CPUID] = kiln_exit_cpuid,
	[SVM_EXIT_IRET] = handle_iret,
	[SVM_EXIT_INVD] = kiln_exit_cache_flush,
	[SVM_EXIT_PAUSE] = kiln_exit_pause,
	[SVM_EXIT_HLT] = kiln_exit_hlt,
	[SVM_EXIT_INVLPGA] = kiln_exit_ud,
	[SVM_EXIT_IOIO] = handle_io,
	[SVM_EXIT_MSR] = handle_msr,
	[SVM_EXIT_TASK_SWITCH] = handle_task_switch,
	[SVM_EXIT_SHUTDOWN] = handle_shutdown,
	[SVM_EXIT_VMRUN] = kiln_exit_ud,
	[SVM_EXIT_VMMCALL] = kiln_exit_hypercall,
	[SVM_EXIT_VMLOAD] = kiln_exit_ud,
	[SVM_EXIT_VMSAVE] = kiln_exit_ud,
	[SVM_EXIT_STGI] = kiln_exit_ud,
	[SVM_EXIT_CLGI] = kiln_exit_ud,
	[SVM_EXIT_SKINIT] = kiln_exit_ud,
	[SVM_EXIT_RDTSCP] = kiln_exit_ud,
	[SVM_EXIT_WBINVD] = kiln_exit_cache_flush,
	[SVM_EXIT_MONITOR] = kiln_exit_ud,
	[SVM_EXIT_MWAIT] = kiln_exit_ud,
	[SVM_EXIT_XSETBV] = kiln_exit_xsetbv,
	[SVM_EXIT_RDPRU] = kiln_exit_ud,
	[SVM_EXIT_INVPCID] = kiln_exit_ud,
};

/*
 * The table's calls are indirect, which costs a retpoline where the host needs
 * those; the codes that come often are called by name.
 */
static int dispatch(struct kiln_vcpu *vcpu, u32 code)
{
	switch (code) {
	case SVM_EXIT_INTR:
		return handle_interrupt(vcpu);
	case SVM_EXIT_NPF:
		return handle_npf(vcpu);
	case SVM_EXIT_IOIO:
		return handle_io(vcpu);
	case SVM_EXIT_MSR:
		return handle_msr(vcpu);
	case SVM_EXIT_HLT:
		return kiln_exit_hlt(vcpu);
	case SVM_EXIT_AVIC_UNACCELERATED_ACCESS:
		return svm_avic_noaccel(vcpu);
	}
	if (likely(code < ARRAY_SIZE(handlers))) {
		code = array_index_nospec(code, ARRAY_SIZE(handlers));
		if (handlers[code])
			return handlers[code](vcpu);
	}
	return kiln_die(vcpu, KILN_DEATH_UNEXPECTED,
			"unexpected VM exit, code 0x%x", code);
}

static int failed_entry(struct kiln_vcpu *vcpu, const char *cause)
{
	kiln_die(vcpu, KILN_DEATH_FAIL_ENTRY, "VM entry failed: %s", cause);
	/* What was to be injected is still there, also in the record. */
	svm_cancel_injection(vcpu);
	vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	vcpu->run->fail_entry.hardware_entry_failure_reason =
		to_svm(vcpu)->exit_code;
	vcpu->run->fail_entry.cpu = vcpu->cpu;
	return KILN_EXIT_USER;
}

/**
 * svm_handle_exit() - handle what svm_enter() came back with
 * @vcpu: the vCPU
 *
 * Return: see struct kiln_hw.
 */
int svm_handle_exit(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u32 code = svm->exit_code;

	if (unlikely(svm->fail)) {
		svm->exit_code = SVM_EXIT_ERR;
		return failed_entry(vcpu, "SVM is switched off on this CPU");
	}
	if (code == SVM_EXIT_HANDLED)
		return KILN_RESUME;
	if (unlikely(code == (u32)SVM_EXIT_ERR))
		return failed_entry(vcpu, "the processor refused the guest state (APM §15.5.1)");
	svm_complete_events(svm);
	trace_kiln_exit(vcpu->id, code, kiln_rip(vcpu));

	return dispatch(vcpu, code);
}

/* The exit fields of struct kiln_death; see there. */
void svm_death(struct kiln_vcpu *vcpu, struct kiln_death *d)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	d->exit_reason = svm->exit_code;
	d->entry_info = ctl->event_inj;
	if (svm->fail)
		return;
	d->qualification = ctl->exit_info_1;
	d->idt_info = ctl->exit_int_info;
	if (ctl->exit_int_info & SVM_EXITINTINFO_VALID_ERR)
		d->idt_error = ctl->exit_int_info_err;
	if (svm->exit_code == SVM_EXIT_NPF)
		d->gpa = ctl->exit_info_2;
}
