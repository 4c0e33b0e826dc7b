// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest registers in the VMCB (§15.5.1, appendix B). It is memory: outside
 * svm_enter() it holds the truth of all but the general registers.
 */
#include <asm/msr.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>

#include "compat.h"
#include "irqchip/irqchip.h"
#include "spec.h"
#include "svm.h"

void svm_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg)
{
	struct vmcb_save_area *save = &to_svm(vcpu)->vmcb->save;

	switch (reg) {
	case KILN_RAX:
		vcpu->regs[reg] = save->rax;
		break;
	case KILN_RSP:
		vcpu->regs[reg] = save->rsp;
		break;
	case KILN_RIP:
		vcpu->regs[reg] = save->rip;
		break;
	case KILN_RFLAGS:
		vcpu->regs[reg] = save->rflags;
		break;
	case KILN_CR3:
		vcpu->regs[reg] = save->cr3;
		break;
	default:
		break;
	}
	vcpu->regs_avail |= BIT(reg);
}

static struct vmcb_seg *seg_of(struct svm_vcpu *svm, enum kiln_seg seg)
{
	struct vmcb_save_area *save = &svm->vmcb->save;

	switch (seg) {
	case KILN_ES:
		return &save->es;
	case KILN_CS:
		return &save->cs;
	case KILN_SS:
		return &save->ss;
	case KILN_DS:
		return &save->ds;
	case KILN_FS:
		return &save->fs;
	case KILN_GS:
		return &save->gs;
	case KILN_LDTR:
		return &save->ldtr;
	default:
		return &save->tr;
	}
}

/* The attributes as bits 8 to 15 and 20 to 23 of a descriptor, packed. */
void svm_get_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     struct kvm_segment *val)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	const struct vmcb_seg *s = seg_of(svm, seg);

	*val = (struct kvm_segment) {
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attrib & SVM_SELECTOR_TYPE_MASK,
		.s = (s->attrib >> SVM_SELECTOR_S_SHIFT) & 1,
		.dpl = (s->attrib >> SVM_SELECTOR_DPL_SHIFT) & 3,
		.present = (s->attrib >> SVM_SELECTOR_P_SHIFT) & 1,
		.avl = (s->attrib >> SVM_SELECTOR_AVL_SHIFT) & 1,
		.l = (s->attrib >> SVM_SELECTOR_L_SHIFT) & 1,
		.db = (s->attrib >> SVM_SELECTOR_DB_SHIFT) & 1,
		.g = (s->attrib >> SVM_SELECTOR_G_SHIFT) & 1,
		.unusable = !((s->attrib >> SVM_SELECTOR_P_SHIFT) & 1),
	};
	switch (seg) {
	case KILN_CS:
		/* Processors of before Zen keep no G here: the limit tells. */
		val->g = val->limit > 0xfffff;
		break;
	case KILN_SS:
		val->dpl = svm->vmcb->save.cpl;
		break;
	case KILN_TR:
		/* It is busy, also where the processor did not save that. */
		val->type |= 2;
		break;
	default:
		break;
	}
}

void svm_set_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     const struct kvm_segment *val)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	bool present = val->present && !val->unusable;

	*seg_of(svm, seg) = (struct vmcb_seg) {
		.selector = val->selector,
		.limit = val->limit,
		.base = val->base,
		.attrib = (val->type & SVM_SELECTOR_TYPE_MASK) |
			  (val->s & 1) << SVM_SELECTOR_S_SHIFT |
			  (val->dpl & 3) << SVM_SELECTOR_DPL_SHIFT |
			  present << SVM_SELECTOR_P_SHIFT |
			  (val->avl & 1) << SVM_SELECTOR_AVL_SHIFT |
			  (val->l & 1) << SVM_SELECTOR_L_SHIFT |
			  (val->db & 1) << SVM_SELECTOR_DB_SHIFT |
			  (val->g & 1) << SVM_SELECTOR_G_SHIFT,
	};
	/* The CPL has a place of its own; SS is where it comes from. */
	if (seg == KILN_SS)
		svm->vmcb->save.cpl = val->dpl & 3;
	svm_dirty(svm, SVM_CLEAN_SEG);
}

void svm_get_dtable(struct kiln_vcpu *vcpu, bool idt, struct kvm_dtable *val)
{
	struct vmcb_save_area *save = &to_svm(vcpu)->vmcb->save;
	const struct vmcb_seg *s = idt ? &save->idtr : &save->gdtr;

	val->base = s->base;
	val->limit = s->limit;
}

void svm_set_dtable(struct kiln_vcpu *vcpu, bool idt,
		    const struct kvm_dtable *val)
{
	struct vmcb_save_area *save = &to_svm(vcpu)->vmcb->save;
	struct vmcb_seg *s = idt ? &save->idtr : &save->gdtr;

	s->base = val->base;
	s->limit = val->limit;
	svm_dirty(to_svm(vcpu), SVM_CLEAN_DT);
}

u32 svm_get_cs_flags(struct kiln_vcpu *vcpu)
{
	u16 attrib = to_svm(vcpu)->vmcb->save.cs.attrib;

	return (attrib & SVM_SELECTOR_L_MASK ? KILN_CS_L : 0) |
	       (attrib & SVM_SELECTOR_DB_MASK ? KILN_CS_DB : 0);
}

int svm_get_cpl(struct kiln_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cpl;
}

/*
 * Caches stay on whatever the guest says: its memory is the host's write-back
 * memory. Where that makes a difference to what it wrote, reads exit, too.
 */
void svm_set_cr0(struct kiln_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 hw = (val & ~(X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;

	svm->vmcb->save.cr0 = hw;
	svm_intercept(svm, INTERCEPT_CR0_READ, hw != val);
	svm_dirty(svm, SVM_CLEAN_CR);
	svm->flush = true;
}

/* PDPTEs of PAE paging the processor reads where CR3 says (§15.25.9). */
void svm_set_cr3(struct kiln_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.cr3 = val;
	svm_dirty(svm, SVM_CLEAN_CR);
	svm->flush = true;
}

/*
 * Machine checks are the host's: one that meets CR4.MCE clear, in a guest too,
 * shuts the machine down (§8.2.18). A guest that has it clear is not shown it.
 */
void svm_set_cr4(struct kiln_vcpu *vcpu, u64 val)
{
	u64 hw = val | (cr4_read_shadow() & X86_CR4_MCE);
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.cr4 = hw;
	svm_intercept(svm, INTERCEPT_CR4_READ, hw != val);
	svm_dirty(svm, SVM_CLEAN_CR);
	svm->flush = true;
}

KILN_EXPORT_FOR_KUNIT(svm_set_cr4);

/* VMRUN insists on SVME (§15.5.1); a guest does not see it. */
void svm_set_efer(struct kiln_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.efer = val | EFER_SVME;
	svm_dirty(svm, SVM_CLEAN_CR);
	svm->flush = true;
}

static u64 *msr_slot(struct svm_vcpu *svm, u32 msr)
{
	struct vmcb_save_area *save = &svm->vmcb->save;

	switch (msr) {
	case MSR_FS_BASE:
		return &save->fs.base;
	case MSR_GS_BASE:
		return &save->gs.base;
	case MSR_KERNEL_GS_BASE:
		return &save->kernel_gs_base;
	case MSR_STAR:
		return &save->star;
	case MSR_LSTAR:
		return &save->lstar;
	case MSR_CSTAR:
		return &save->cstar;
	case MSR_SYSCALL_MASK:
		return &save->sfmask;
	case MSR_IA32_SYSENTER_CS:
		return &save->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &save->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &save->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &save->g_pat;
	case MSR_TSC_AUX:
		return svm_caps.rdtscp ? &svm->tsc_aux : NULL;
	default:
		return NULL;
	}
}

/*
 * No clean bit covers it. How wide the field is, is not the same in each
 * kernel's header, so there is no slot for it.
 */
static bool is_v_spec_ctrl(u32 msr)
{
	return msr == MSR_IA32_SPEC_CTRL && svm_caps.v_spec_ctrl;
}

int svm_get_msr(struct kiln_vcpu *vcpu, u32 msr, u64 *val)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 *slot = msr_slot(svm, msr);

	if (is_v_spec_ctrl(msr)) {
		*val = svm->vmcb->save.spec_ctrl;
		return 0;
	}
	if (!slot)
		return 1;
	*val = *slot;
	return 0;
}

int svm_set_msr(struct kiln_vcpu *vcpu, u32 msr, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 *slot = msr_slot(svm, msr);

	if (is_v_spec_ctrl(msr)) {
		svm->vmcb->save.spec_ctrl = val;
		return 0;
	}
	if (!slot || (msr == MSR_TSC_AUX && val >> 32))
		return 1;
	*slot = val;
	if (msr == MSR_IA32_CR_PAT)
		svm_dirty(svm, SVM_CLEAN_NPT);
	if (msr == MSR_TSC_AUX) {
		preempt_disable();
		if (svm->aux_loaded)
			wrmsrl(MSR_TSC_AUX, val);
		preempt_enable();
	}
	return 0;
}

/* Instructions that a guest's CPUID does not have are #UD by way of an exit. */
static void cpuid_changed(struct svm_vcpu *svm)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;

	svm_msr_passthrough(svm, MSR_IA32_PRED_CMD, false,
			    kiln_guest_has_pred_cmd(vcpu));
	svm_intercept(svm, INTERCEPT_RDTSCP,
		      !kiln_guest_has(vcpu, X86_FEATURE_RDTSCP));
	if (svm_caps.invpcid)
		svm_intercept(svm, INTERCEPT_INVPCID,
			      !kiln_guest_has(vcpu, X86_FEATURE_INVPCID));
}

static void set_tsc(struct svm_vcpu *svm)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;

	svm->vmcb->control.tsc_offset = kiln_tsc_hw_offset(vcpu);
	svm_dirty(svm, SVM_CLEAN_INTERCEPTS);
	if (!svm_caps.tsc_ratio)
		return;
	preempt_disable();
	if (svm->guest_loaded)
		svm_tsc_ratio_load(vcpu->clock.tsc_ratio ?:
				   SVM_TSC_RATIO_DEFAULT);
	preempt_enable();
}

void svm_refresh(struct kiln_vcpu *vcpu, enum kiln_refresh what)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	switch (what) {
	case KILN_REFRESH_DR7:
		svm->vmcb->save.dr7 = vcpu->dr7;
		svm_dirty(svm, SVM_CLEAN_DR);
		break;
	case KILN_REFRESH_TSC:
		set_tsc(svm);
		break;
	case KILN_REFRESH_CPUID:
		cpuid_changed(svm);
		break;
	case KILN_REFRESH_APIC:
		svm_avic_update(vcpu);
		break;
	case KILN_REFRESH_SPEC:
		svm_msr_passthrough(svm, MSR_IA32_SPEC_CTRL,
				    vcpu->spec_ctrl_live, vcpu->spec_ctrl_live);
		break;
	}
}

/* An ASID tags both the guest's translations and what combines them. */
void svm_flush_tlb(struct kiln_vcpu *vcpu, bool guest)
{
	to_svm(vcpu)->flush = true;
}
