// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control and debug registers: the checks the CPU makes when they are loaded,
 * for loads that left the guest. Reserved bits follow from the guest's CPUID.
 */
#include <linux/bits.h>
#include <linux/kernel.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <uapi/asm/debugreg.h>

#include "compat.h"
#include "control.h"
#include "cpuid.h"
#include "hw.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "vcpu.h"
#include "vm.h"

/* Bits that exist, SDM vol. 3 §2.5; the others read as zero. */
#define CR0_BITS							\
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | \
	 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | \
	 X86_CR0_PG)

/* A bit that exists where a feature does. */
struct gated_bit {
	u64 bit;
	u16 feature;
};

static const struct gated_bit cr4_bits[] = {
	{ X86_CR4_UMIP, X86_FEATURE_UMIP },
	{ X86_CR4_FSGSBASE, X86_FEATURE_FSGSBASE },
	{ X86_CR4_PCIDE, X86_FEATURE_PCID },
	{ X86_CR4_OSXSAVE, X86_FEATURE_XSAVE },
	{ X86_CR4_SMEP, X86_FEATURE_SMEP },
	{ X86_CR4_SMAP, X86_FEATURE_SMAP },
};

#define CR4_ALWAYS							\
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE |		\
	 X86_CR4_PSE | X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE |	\
	 X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

static const struct gated_bit efer_bits[] = {
	{ EFER_LME | EFER_LMA, X86_FEATURE_LM },
	{ EFER_NX, X86_FEATURE_NX },
	{ EFER_FFXSR, X86_FEATURE_FXSR_OPT },
};

/* Bits whose feature user space took, or may take while it has not chosen. */
static u64 gated(struct kiln_vcpu *vcpu, const struct gated_bit *row, int nr)
{
	u64 bits = 0;

	for (; nr; nr--, row++)
		if (vcpu->cpuid.given ? kiln_guest_has(vcpu, row->feature) :
					kiln_cpu_offers(row->feature))
			bits |= row->bit;
	return bits;
}

void kiln_control_refresh(struct kiln_vcpu *vcpu)
{
	vcpu->cr4_reserved = ~(CR4_ALWAYS |
			       gated(vcpu, cr4_bits, ARRAY_SIZE(cr4_bits)));
	vcpu->efer_reserved = ~(EFER_SCE |
				gated(vcpu, efer_bits, ARRAY_SIZE(efer_bits)));
}

KILN_EXPORT_FOR_KUNIT(kiln_control_refresh);

u64 kiln_efer_offered(void)
{
	u64 bits = EFER_SCE;
	int i;

	for (i = 0; i < ARRAY_SIZE(efer_bits); i++)
		if (kiln_cpu_offers(efer_bits[i].feature))
			bits |= efer_bits[i].bit;
	return bits;
}

bool kiln_cr0_valid(u64 cr0)
{
	if (cr0 >> 32)
		return false;
	if ((cr0 & X86_CR0_NW) && !(cr0 & X86_CR0_CD))
		return false;
	return !(cr0 & X86_CR0_PG) || (cr0 & X86_CR0_PE);
}

bool kiln_cr3_valid(struct kiln_vcpu *vcpu, u64 cr3)
{
	return !(cr3 >> min(vcpu->maxphyaddr, 63U));
}

static bool in_64bit_code(struct kiln_vcpu *vcpu)
{
	struct kvm_segment cs;

	if (!(vcpu->efer & EFER_LMA))
		return false;
	kiln_hw->get_segment(vcpu, KILN_CS, &cs);
	return cs.l;
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & EFER_LMA);
}

/* Present PDPTEs have reserved bits, SDM vol. 3 table 4-8. */
static bool pdpte_valid(struct kiln_vcpu *vcpu, u64 pdpte)
{
	if (!(pdpte & BIT(0)))
		return true;
	/* Bit 5 is let pass: see read_pdpte(). */
	return !(pdpte & (GENMASK(8, 6) | GENMASK(2, 1))) &&
	       !(pdpte >> min(vcpu->maxphyaddr, 63U));
}

int kiln_load_pdptrs(struct kiln_vcpu *vcpu, u64 cr3)
{
	u64 pdptrs[4];
	int i;

	if (kiln_mmu_read(&vcpu->vm->mmu, &vcpu->mmu, cr3 & GENMASK(31, 5),
			  pdptrs, sizeof(pdptrs)))
		return 1;
	for (i = 0; i < ARRAY_SIZE(pdptrs); i++)
		if (!pdpte_valid(vcpu, pdptrs[i]))
			return 1;
	memcpy(vcpu->pdptrs, pdptrs, sizeof(pdptrs));
	return 0;
}

/*
 * VM entry to IA-32e mode wants a 64-bit busy TSS (SDM vol. 3 §26.3.1.2), but
 * the CPU lets a guest get there with the 16-bit one it may have had.
 */
static void fix_tr(struct kiln_vcpu *vcpu)
{
	struct kvm_segment tr;

	kiln_hw->get_segment(vcpu, KILN_TR, &tr);
	if (tr.type == 0xb)
		return;
	tr.type = 0xb;
	kiln_hw->set_segment(vcpu, KILN_TR, &tr);
}

/* SDM vol. 3 §9.8.5: with LME set, PG switches IA-32e mode on and off. */
static int efer_after_paging(struct kiln_vcpu *vcpu, u64 cr0, u64 *efer)
{
	bool on = (cr0 & X86_CR0_PG) && !(vcpu->cr0 & X86_CR0_PG);
	struct kvm_segment cs;

	*efer = vcpu->efer;
	if (!(cr0 & X86_CR0_PG)) {
		*efer &= ~EFER_LMA;
	} else if (on && (vcpu->efer & EFER_LME)) {
		kiln_hw->get_segment(vcpu, KILN_CS, &cs);
		if (!(vcpu->cr4 & X86_CR4_PAE) || cs.l)
			return 1;
		*efer |= EFER_LMA;
	}
	return 0;
}

int kiln_set_cr0(struct kiln_vcpu *vcpu, u64 val)
{
	u64 changed, efer;
	bool pae;

	if (!kiln_cr0_valid(val))
		return 1;
	val = (val & CR0_BITS) | X86_CR0_ET;
	changed = val ^ vcpu->cr0;
	if (!changed)
		return 0;

	if ((changed & X86_CR0_PG) && !(val & X86_CR0_PG) &&
	    ((vcpu->cr4 & X86_CR4_PCIDE) || in_64bit_code(vcpu)))
		return 1;
	if (efer_after_paging(vcpu, val, &efer))
		return 1;
	/* Else they stay what the guest's last MOV to CR3 made them. */
	pae = pae_paging(val, vcpu->cr4, efer) &&
	      (changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW));
	if (pae && kiln_load_pdptrs(vcpu, kiln_reg_read(vcpu, KILN_CR3)))
		return 1;

	if (efer != vcpu->efer) {
		vcpu->efer = efer;
		kiln_hw->set_efer(vcpu, efer);
		if (efer & EFER_LMA)
			fix_tr(vcpu);
	}
	vcpu->cr0 = val;
	kiln_hw->set_cr0(vcpu, val);
	if (pae)
		kiln_hw->set_cr3(vcpu, kiln_reg_read(vcpu, KILN_CR3));
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_cr0);

void kiln_write_cr3(struct kiln_vcpu *vcpu, u64 val)
{
	vcpu->cr3 = val;
	vcpu->regs[KILN_CR3] = val;
	vcpu->regs_avail |= BIT(KILN_CR3);
	vcpu->regs_dirty &= ~BIT(KILN_CR3);
	kiln_hw->set_cr3(vcpu, val);
}

int kiln_set_cr3(struct kiln_vcpu *vcpu, u64 val)
{
	if (vcpu->cr4 & X86_CR4_PCIDE)
		val &= ~X86_CR3_PCID_NOFLUSH;
	if ((vcpu->efer & EFER_LMA) && !kiln_cr3_valid(vcpu, val))
		return 1;
	if (pae_paging(vcpu->cr0, vcpu->cr4, vcpu->efer) &&
	    kiln_load_pdptrs(vcpu, val))
		return 1;
	kiln_write_cr3(vcpu, val);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_cr3);

/* SDM vol. 3 §4.4.1: changing these loads the PDPTEs. */
#define CR4_LOADS_PDPTES	(X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | \
				 X86_CR4_SMEP)

int kiln_set_cr4(struct kiln_vcpu *vcpu, u64 val)
{
	u64 changed = val ^ vcpu->cr4;
	u64 cr3 = kiln_reg_read(vcpu, KILN_CR3);
	bool pae;

	if (val & vcpu->cr4_reserved)
		return 1;
	if (!changed)
		return 0;
	if ((vcpu->efer & EFER_LMA) && !(val & X86_CR4_PAE))
		return 1;
	/* SDM vol. 3 §4.10.1 */
	if ((changed & val & X86_CR4_PCIDE) &&
	    (!(vcpu->efer & EFER_LMA) || (cr3 & X86_CR3_PCID_MASK)))
		return 1;
	pae = pae_paging(vcpu->cr0, val, vcpu->efer) &&
	      (changed & CR4_LOADS_PDPTES);
	if (pae && kiln_load_pdptrs(vcpu, cr3))
		return 1;

	vcpu->cr4 = val;
	kiln_hw->set_cr4(vcpu, val);
	if (pae)
		kiln_hw->set_cr3(vcpu, cr3);
	if (changed & (X86_CR4_OSXSAVE | X86_CR4_PKE))
		kiln_cpuid_refresh(vcpu);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_cr4);

int kiln_set_cr8(struct kiln_vcpu *vcpu, u64 val)
{
	if (val > 15)
		return 1;
	if (vcpu->lapic)
		lapic_set_cr8(vcpu, val);
	else
		vcpu->cr8 = val;
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_cr8);

u64 kiln_get_cr8(struct kiln_vcpu *vcpu)
{
	return vcpu->lapic ? lapic_get_cr8(vcpu) : vcpu->cr8;
}

KILN_EXPORT_FOR_KUNIT(kiln_get_cr8);

int kiln_set_efer(struct kiln_vcpu *vcpu, u64 val, bool host)
{
	if (val & (host ? ~kiln_efer_offered() : vcpu->efer_reserved))
		return 1;
	if (!host && (vcpu->cr0 & X86_CR0_PG) &&
	    ((val ^ vcpu->efer) & EFER_LME))
		return 1;
	val = (val & ~EFER_LMA) | (vcpu->efer & EFER_LMA);
	if (val == vcpu->efer)
		return 0;
	vcpu->efer = val;
	kiln_hw->set_efer(vcpu, val);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_efer);

/* Bits 63:32 of DR6 and DR7 are reserved, bits that are 1 read as 1. */
#define DR6_ONES	0xffff0ff0ULL
#define DR7_ONES	0x00000400ULL
#define DR6_WRITABLE	(DR_TRAP_BITS | DR6_BD_BS_BT)
#define DR6_BD_BS_BT	0x0000e000ULL
#define DR7_WRITABLE	0xffff23ffULL
#define DR6_RTM_OFF	BIT_ULL(16)	/* 0: inside a transaction */
#define DR7_RTM_ON	BIT_ULL(11)

u64 kiln_dr6_fixed(struct kiln_vcpu *vcpu, u64 val)
{
	u64 writable = DR6_WRITABLE;

	if (kiln_guest_has(vcpu, X86_FEATURE_RTM))
		writable |= DR6_RTM_OFF;
	return (val & writable) | (DR6_ONES & ~writable);
}

u64 kiln_dr7_fixed(struct kiln_vcpu *vcpu, u64 val)
{
	u64 writable = DR7_WRITABLE;

	if (kiln_guest_has(vcpu, X86_FEATURE_RTM))
		writable |= DR7_RTM_ON;
	return (val & writable) | DR7_ONES;
}

/* DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE is set. */
static int dr_alias(struct kiln_vcpu *vcpu, int n)
{
	if (n != 4 && n != 5)
		return n;
	return vcpu->cr4 & X86_CR4_DE ? -1 : n + 2;
}

int kiln_get_dr(struct kiln_vcpu *vcpu, int n, u64 *val)
{
	switch (dr_alias(vcpu, n)) {
	case 0 ... 3:
		*val = vcpu->dr[n];
		return 0;
	case 6:
		*val = vcpu->dr6;
		return 0;
	case 7:
		*val = vcpu->dr7;
		return 0;
	default:
		return KILN_DR_UD;
	}
}

KILN_EXPORT_FOR_KUNIT(kiln_get_dr);

int kiln_set_dr(struct kiln_vcpu *vcpu, int n, u64 val)
{
	n = dr_alias(vcpu, n);
	if (n < 0)
		return KILN_DR_UD;
	if (n >= 6 && val >> 32)
		return KILN_DR_GP;
	switch (n) {
	case 0 ... 3:
		vcpu->dr[n] = val;
		break;
	case 6:
		vcpu->dr6 = kiln_dr6_fixed(vcpu, val);
		break;
	case 7:
		vcpu->dr7 = kiln_dr7_fixed(vcpu, val);
		kiln_hw->refresh(vcpu, KILN_REFRESH_DR7);
		break;
	}
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_set_dr);
