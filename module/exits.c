// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kvm.h>

#include "exits.h"
#include "fast.h"
#include "hw.h"
#include "msr.h"
#include "run.h"
#include "state.h"
#include "trace.h"

#define DR7_GD	BIT(13)		/* general detect, SDM vol. 3 §18.2.4 */

static int skip(struct kiln_vcpu *vcpu)
{
	kiln_hw->skip_insn(vcpu);
	return KILN_RESUME;
}

static int gp(struct kiln_vcpu *vcpu)
{
	kiln_inject_gp(vcpu, 0);
	return KILN_RESUME;
}

int kiln_exit_cpuid(struct kiln_vcpu *vcpu)
{
	kiln_fast_cpuid(vcpu);
	return skip(vcpu);
}

int kiln_exit_hlt(struct kiln_vcpu *vcpu)
{
	kiln_hw->skip_insn(vcpu);
	return kiln_halt(vcpu);
}

int kiln_exit_cache_flush(struct kiln_vcpu *vcpu)
{
	return skip(vcpu);
}

int kiln_exit_rdpmc(struct kiln_vcpu *vcpu)
{
	return gp(vcpu);
}

int kiln_exit_hypercall(struct kiln_vcpu *vcpu)
{
	kiln_hypercall(vcpu);
	return skip(vcpu);
}

int kiln_exit_ud(struct kiln_vcpu *vcpu)
{
	kiln_inject_ud(vcpu);
	return KILN_RESUME;
}

int kiln_exit_rdmsr(struct kiln_vcpu *vcpu)
{
	u32 index = vcpu->regs[KILN_RCX];
	u64 val = 0;
	int bad = kiln_msr_get(vcpu, index, &val, false);

	vcpu->stats.msr_read++;
	trace_kiln_msr(vcpu->id, false, index, val, bad);
	if (bad)
		return gp(vcpu);
	vcpu->regs[KILN_RAX] = (u32)val;
	vcpu->regs[KILN_RDX] = val >> 32;
	return skip(vcpu);
}

int kiln_exit_wrmsr(struct kiln_vcpu *vcpu)
{
	u32 index = vcpu->regs[KILN_RCX];
	u64 val = kiln_edx_eax(vcpu);
	int bad = kiln_msr_set(vcpu, index, val, false);

	vcpu->stats.msr_write++;
	trace_kiln_msr(vcpu->id, true, index, val, bad);
	return bad ? gp(vcpu) : skip(vcpu);
}

int kiln_exit_pause(struct kiln_vcpu *vcpu)
{
	vcpu->stats.pause++;
	kiln_spin(vcpu);
	return skip(vcpu);
}

int kiln_exit_xsetbv(struct kiln_vcpu *vcpu)
{
	if (kiln_hw->get_cpl(vcpu) ||
	    kiln_xcr_set(vcpu, vcpu->regs[KILN_RCX], kiln_edx_eax(vcpu)))
		return gp(vcpu);
	return skip(vcpu);
}

static int set_cr8(struct kiln_vcpu *vcpu, u64 val)
{
	u64 old = kiln_get_cr8(vcpu);

	if (kiln_set_cr8(vcpu, val))
		return gp(vcpu);
	kiln_hw->skip_insn(vcpu);
	/* User space's APIC wants to know when the bar is lowered. */
	if (!vcpu->lapic && val < old) {
		vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
		return KILN_EXIT_USER;
	}
	return KILN_RESUME;
}

int kiln_exit_mov_to_cr(struct kiln_vcpu *vcpu, int cr, u64 val)
{
	int bad;

	vcpu->stats.cr_access++;
	/* Outside 64-bit mode the operand is 32 bits wide. */
	if (!(vcpu->efer & EFER_LMA) ||
	    !(kiln_hw->get_cs_flags(vcpu) & KILN_CS_L))
		val = (u32)val;
	switch (cr) {
	case 0:
		bad = kiln_set_cr0(vcpu, val);
		break;
	case 3:
		bad = kiln_set_cr3(vcpu, val);
		break;
	case 4:
		bad = kiln_set_cr4(vcpu, val);
		break;
	case 8:
		return set_cr8(vcpu, val);
	default:
		return kiln_exit_ud(vcpu);
	}
	return bad ? gp(vcpu) : skip(vcpu);
}

int kiln_exit_mov_from_cr(struct kiln_vcpu *vcpu, int cr, int reg)
{
	u64 val;

	vcpu->stats.cr_access++;
	switch (cr) {
	case 0:
		val = vcpu->cr0;
		break;
	case 3:
		val = kiln_reg_read(vcpu, KILN_CR3);
		break;
	case 4:
		val = vcpu->cr4;
		break;
	case 8:
		val = kiln_get_cr8(vcpu);
		break;
	default:
		return kiln_exit_ud(vcpu);
	}
	kiln_reg_write(vcpu, reg, val);
	return skip(vcpu);
}

int kiln_exit_clts(struct kiln_vcpu *vcpu)
{
	vcpu->stats.cr_access++;
	kiln_set_cr0(vcpu, vcpu->cr0 & ~X86_CR0_TS);
	return skip(vcpu);
}

int kiln_exit_lmsw(struct kiln_vcpu *vcpu, u16 msw)
{
	u64 cr0 = (vcpu->cr0 & ~0xeull) | (msw & 0xf);

	vcpu->stats.cr_access++;
	return kiln_set_cr0(vcpu, cr0) ? gp(vcpu) : skip(vcpu);
}

int kiln_exit_mov_dr(struct kiln_vcpu *vcpu, int dr, int reg, bool read)
{
	u64 val;
	int r;

	vcpu->stats.dr_access++;
	if ((dr == 4 || dr == 5) && (vcpu->cr4 & X86_CR4_DE))
		return kiln_exit_ud(vcpu);
	if (kiln_hw->get_cpl(vcpu))
		return gp(vcpu);
	if (vcpu->dr7 & DR7_GD) {
		vcpu->dr7 &= ~DR7_GD;
		kiln_hw->refresh(vcpu, KILN_REFRESH_DR7);
		kiln_inject_db(vcpu, BIT(13));
		return KILN_RESUME;
	}
	if (read) {
		if (kiln_get_dr(vcpu, dr, &val))
			return kiln_exit_ud(vcpu);
		kiln_reg_write(vcpu, reg, val);
		return skip(vcpu);
	}
	r = kiln_set_dr(vcpu, dr, kiln_reg_read(vcpu, reg));
	if (r == KILN_DR_UD)
		return kiln_exit_ud(vcpu);
	return r ? gp(vcpu) : skip(vcpu);
}
