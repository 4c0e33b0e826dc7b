// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest registers that live in the VMCS: general registers it switches,
 * segments, descriptor tables, control registers, MSRs; and the translations
 * the processor caches of them.
 */
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>

#include "compat.h"
#include "cpuid.h"
#include "spec.h"
#include "vmx.h"

void vmx_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg)
{
	static const u16 field[KILN_NR_REGS] = {
		[KILN_RSP] = GUEST_RSP,
		[KILN_RIP] = GUEST_RIP,
		[KILN_RFLAGS] = GUEST_RFLAGS,
		[KILN_CR3] = GUEST_CR3,
	};

	vcpu->regs[reg] = __vmcs_read(field[reg]);
}

struct seg_fields {
	u16 selector, base, limit, ar;
};

#define SEG(name) { GUEST_##name##_SELECTOR, GUEST_##name##_BASE, \
		    GUEST_##name##_LIMIT, GUEST_##name##_AR_BYTES }

static const struct seg_fields seg_fields[KILN_NR_SEGS] = {
	[KILN_ES] = SEG(ES),
	[KILN_CS] = SEG(CS),
	[KILN_SS] = SEG(SS),
	[KILN_DS] = SEG(DS),
	[KILN_FS] = SEG(FS),
	[KILN_GS] = SEG(GS),
	[KILN_LDTR] = SEG(LDTR),
	[KILN_TR] = SEG(TR),
};

void vmx_get_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     struct kvm_segment *val)
{
	const struct seg_fields *f = &seg_fields[seg];
	u32 ar = __vmcs_read(f->ar);

	*val = (struct kvm_segment) {
		.base = __vmcs_read(f->base),
		.limit = __vmcs_read(f->limit),
		.selector = __vmcs_read(f->selector),
		.type = ar & VMX_AR_TYPE_MASK,
		.s = !!(ar & VMX_AR_S_MASK),
		.dpl = VMX_AR_DPL(ar),
		/* What VMX calls unusable, KVM's users know as not present. */
		.present = !(ar & VMX_AR_UNUSABLE_MASK),
		.avl = (ar >> 12) & 1,
		.l = !!(ar & VMX_AR_L_MASK),
		.db = !!(ar & VMX_AR_DB_MASK),
		.g = !!(ar & VMX_AR_G_MASK),
		.unusable = !!(ar & VMX_AR_UNUSABLE_MASK),
	};
}

static u32 seg_ar(const struct kvm_segment *s)
{
	if (s->unusable || !s->present)
		return VMX_AR_UNUSABLE_MASK |
		       (s->type & VMX_AR_TYPE_MASK) |
		       (s->s & 1) << 4 | (s->dpl & 3) << VMX_AR_DPL_SHIFT;
	return (s->type & VMX_AR_TYPE_MASK) |
	       (s->s & 1) << 4 |
	       (s->dpl & 3) << VMX_AR_DPL_SHIFT |
	       VMX_AR_P_MASK |
	       (s->avl & 1) << 12 |
	       (s->l & 1) << 13 |
	       (s->db & 1) << 14 |
	       (s->g & 1) << 15;
}

/*
 * Unrestricted guest lets real mode run on its own segments; what VM entry
 * still insists on is the accessed bit of usable segments (§27.3.1.2), which
 * user space may not have set.
 */
void vmx_set_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     const struct kvm_segment *val)
{
	const struct seg_fields *f = &seg_fields[seg];
	u32 ar = seg_ar(val);

	if (seg < KILN_LDTR && !(ar & VMX_AR_UNUSABLE_MASK))
		ar |= VMX_AR_TYPE_ACCESSES_MASK;
	__vmcs_write(f->base, val->base);
	__vmcs_write(f->limit, val->limit);
	__vmcs_write(f->selector, val->selector);
	__vmcs_write(f->ar, ar);
}

void vmx_get_dtable(struct kiln_vcpu *vcpu, bool idt, struct kvm_dtable *val)
{
	val->base = idt ? vmcs_readl(GUEST_IDTR_BASE) :
			  vmcs_readl(GUEST_GDTR_BASE);
	val->limit = idt ? vmcs_read32(GUEST_IDTR_LIMIT) :
			   vmcs_read32(GUEST_GDTR_LIMIT);
}

void vmx_set_dtable(struct kiln_vcpu *vcpu, bool idt,
		    const struct kvm_dtable *val)
{
	if (idt) {
		vmcs_writel(GUEST_IDTR_BASE, val->base);
		vmcs_write32(GUEST_IDTR_LIMIT, val->limit);
	} else {
		vmcs_writel(GUEST_GDTR_BASE, val->base);
		vmcs_write32(GUEST_GDTR_LIMIT, val->limit);
	}
}

u32 vmx_get_cs_flags(struct kiln_vcpu *vcpu)
{
	u32 ar = vmcs_read32(GUEST_CS_AR_BYTES);

	return (ar & VMX_AR_L_MASK ? KILN_CS_L : 0) |
	       (ar & VMX_AR_DB_MASK ? KILN_CS_DB : 0);
}

/* The DPL of SS is the CPL, in every mode (§25.4.1). */
int vmx_get_cpl(struct kiln_vcpu *vcpu)
{
	if (!(vcpu->cr0 & X86_CR0_PE))
		return 0;
	return VMX_AR_DPL(vmcs_read32(GUEST_SS_AR_BYTES));
}

/*
 * With unrestricted guest PE and PG are the guest's; of the other bits VMX
 * operation fixes, NE stays set behind the guest's back (§24.8).
 */
void vmx_set_cr0(struct kiln_vcpu *vcpu, u64 val)
{
	u64 fixed = vmx_caps.cr0_fixed0 & ~(X86_CR0_PE | X86_CR0_PG);

	vmcs_writel(CR0_READ_SHADOW, val);
	vmcs_writel(GUEST_CR0, (val | fixed) & vmx_caps.cr0_fixed1);
	vmx_flush_tlb_guest(vcpu);
}

static bool pae_paging(struct kiln_vcpu *vcpu)
{
	return (vcpu->cr0 & X86_CR0_PG) && (vcpu->cr4 & X86_CR4_PAE) &&
	       !(vcpu->efer & EFER_LMA);
}

static void load_pdptrs(struct kiln_vcpu *vcpu)
{
	if (!pae_paging(vcpu))
		return;
	vmcs_write64(GUEST_PDPTR0, vcpu->pdptrs[0]);
	vmcs_write64(GUEST_PDPTR1, vcpu->pdptrs[1]);
	vmcs_write64(GUEST_PDPTR2, vcpu->pdptrs[2]);
	vmcs_write64(GUEST_PDPTR3, vcpu->pdptrs[3]);
}

/* After a change of CR0 or CR4 too: that is when PAE paging may begin. */
void vmx_set_cr3(struct kiln_vcpu *vcpu, u64 val)
{
	vmcs_writel(GUEST_CR3, val);
	load_pdptrs(vcpu);
	vmx_flush_tlb_guest(vcpu);
}

/**
 * vmx_hw_cr4() - what the CPU has in CR4 while the guest has something else
 * @caps: which bits VMX operation fixes (§24.8)
 * @val: the guest's CR4
 * @host: the host's
 *
 * Machine checks are the host's: one that meets CR4.MCE clear, in a guest too,
 * shuts the machine down (§6.15, interrupt 18).
 *
 * Return: the value for GUEST_CR4. The guest sees its own in the read shadow.
 */
u64 vmx_hw_cr4(const struct vmx_caps *caps, u64 val, u64 host)
{
	return (val | (host & X86_CR4_MCE) | caps->cr4_fixed0) &
	       caps->cr4_fixed1;
}

KILN_EXPORT_FOR_KUNIT(vmx_hw_cr4);

void vmx_set_cr4(struct kiln_vcpu *vcpu, u64 val)
{
	vmcs_writel(CR4_READ_SHADOW, val);
	vmcs_writel(GUEST_CR4, vmx_hw_cr4(&vmx_caps, val, cr4_read_shadow()));
	vmx_flush_tlb_guest(vcpu);
}

void vmx_set_efer(struct kiln_vcpu *vcpu, u64 val)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 entry = vmx->entry_ctl & ~VM_ENTRY_IA32E_MODE;

	if (val & EFER_LMA)
		entry |= VM_ENTRY_IA32E_MODE;
	if (entry != vmx->entry_ctl) {
		vmx->entry_ctl = entry;
		vmcs_write32(VM_ENTRY_CONTROLS, entry);
	}
	vmcs_write64(GUEST_IA32_EFER, val);
	vmx_uret_reload(vmx);
	vmx_flush_tlb_guest(vcpu);
}

void vmx_set_dr7(struct kiln_vcpu *vcpu)
{
	vmcs_writel(GUEST_DR7, vcpu->dr7);
}

static int uret_index(u32 msr)
{
	switch (msr) {
	case MSR_STAR:
		return VMX_URET_STAR;
	case MSR_LSTAR:
		return VMX_URET_LSTAR;
	case MSR_CSTAR:
		return VMX_URET_CSTAR;
	case MSR_SYSCALL_MASK:
		return VMX_URET_SYSCALL_MASK;
	case MSR_TSC_AUX:
		return vmx_caps.rdtscp ? VMX_URET_TSC_AUX : -1;
	default:
		return -1;
	}
}

int vmx_get_msr(struct kiln_vcpu *vcpu, u32 msr, u64 *val)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int i;

	switch (msr) {
	case MSR_FS_BASE:
		*val = vmcs_readl(GUEST_FS_BASE);
		return 0;
	case MSR_GS_BASE:
		*val = vmcs_readl(GUEST_GS_BASE);
		return 0;
	case MSR_KERNEL_GS_BASE:
		*val = vmx_read_kernel_gs_base(vmx);
		return 0;
	case MSR_IA32_SYSENTER_CS:
		*val = vmcs_read32(GUEST_SYSENTER_CS);
		return 0;
	case MSR_IA32_SYSENTER_ESP:
		*val = vmcs_readl(GUEST_SYSENTER_ESP);
		return 0;
	case MSR_IA32_SYSENTER_EIP:
		*val = vmcs_readl(GUEST_SYSENTER_EIP);
		return 0;
	case MSR_IA32_CR_PAT:
		*val = vmcs_read64(GUEST_IA32_PAT);
		return 0;
	}
	i = uret_index(msr);
	if (i < 0)
		return 1;
	*val = vmx->uret[i];
	return 0;
}

int vmx_set_msr(struct kiln_vcpu *vcpu, u32 msr, u64 val)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int i;

	switch (msr) {
	case MSR_FS_BASE:
		vmcs_writel(GUEST_FS_BASE, val);
		return 0;
	case MSR_GS_BASE:
		vmcs_writel(GUEST_GS_BASE, val);
		return 0;
	case MSR_KERNEL_GS_BASE:
		vmx_write_kernel_gs_base(vmx, val);
		return 0;
	case MSR_IA32_SYSENTER_CS:
		vmcs_write32(GUEST_SYSENTER_CS, val);
		return 0;
	case MSR_IA32_SYSENTER_ESP:
		vmcs_writel(GUEST_SYSENTER_ESP, val);
		return 0;
	case MSR_IA32_SYSENTER_EIP:
		vmcs_writel(GUEST_SYSENTER_EIP, val);
		return 0;
	case MSR_IA32_CR_PAT:
		vmcs_write64(GUEST_IA32_PAT, val);
		return 0;
	}
	i = uret_index(msr);
	if (i < 0)
		return 1;
	/* Upper halves the CPU would refuse when vmx_load_guest() loads them. */
	if (i == VMX_URET_TSC_AUX && val >> 32)
		return 1;
	vmx_uret_set(vmx, i, val);
	return 0;
}

/* Instructions behind a secondary control are #UD while it is clear. */
static void cpuid_changed(struct kiln_vcpu *vcpu)
{
	const struct {
		bool has;
		u32 bit;
	} gated[] = {
		{ kiln_guest_has(vcpu, X86_FEATURE_RDTSCP) ||
		  kiln_guest_has(vcpu, X86_FEATURE_RDPID),
		  SECONDARY_EXEC_ENABLE_RDTSCP },
		{ kiln_guest_has(vcpu, X86_FEATURE_INVPCID),
		  SECONDARY_EXEC_ENABLE_INVPCID },
		{ kiln_guest_has(vcpu, X86_FEATURE_XSAVES),
		  VMX_CPU2_XSAVES },
	};
	int i;

	vmx_msr_passthrough(to_vmx(vcpu), MSR_IA32_PRED_CMD, false,
			    kiln_guest_has_pred_cmd(vcpu));
	for (i = 0; i < ARRAY_SIZE(gated); i++)
		vmx_set_cpu2_ctl(to_vmx(vcpu),
				 gated[i].has ? gated[i].bit & vmx_caps.cpu2 : 0,
				 gated[i].has ? 0 : gated[i].bit);
}

void vmx_flush_tlb_guest(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	/* Without a VPID every entry and exit flushes (§29.4.1). */
	if (vmx->vpid)
		vmx_invvpid(vmx->vpid);
}

void vmx_flush_tlb(struct kiln_vcpu *vcpu, bool guest)
{
	/* INVEPT drops combined mappings, too, whatever their VPID (§29.4.3.1). */
	if (guest)
		vmx_flush_tlb_guest(vcpu);
	else
		vmx_invept(vmx_eptp(vcpu->vm));
}

static void set_tsc(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_write64(TSC_OFFSET, kiln_tsc_hw_offset(vcpu));
	if (!vmx_caps.tsc_scaling)
		return;
	if (vcpu->clock.tsc_ratio) {
		vmcs_write64(TSC_MULTIPLIER, vcpu->clock.tsc_ratio);
		vmx_set_cpu2_ctl(vmx, SECONDARY_EXEC_TSC_SCALING, 0);
	} else {
		vmx_set_cpu2_ctl(vmx, 0, SECONDARY_EXEC_TSC_SCALING);
	}
}

void vmx_refresh(struct kiln_vcpu *vcpu, enum kiln_refresh what)
{
	switch (what) {
	case KILN_REFRESH_DR7:
		return vmx_set_dr7(vcpu);
	case KILN_REFRESH_TSC:
		return set_tsc(vcpu);
	case KILN_REFRESH_CPUID:
		return cpuid_changed(vcpu);
	case KILN_REFRESH_APIC:
		return vmx_apic_mode(vcpu);
	case KILN_REFRESH_SPEC:
		return vmx_msr_passthrough(to_vmx(vcpu), MSR_IA32_SPEC_CTRL,
					   vcpu->spec_ctrl_live,
					   vcpu->spec_ctrl_live);
	}
}
