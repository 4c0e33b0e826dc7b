/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exits that are over before IRQs are switched on again, but for moving RIP,
 * which is the backend's.
 *
 * All: the vCPU's thread, IRQs off. Their work is short, cannot sleep and
 * touches no guest memory. They return false where the exit has to take the
 * long way; nothing has changed then.
 */
#ifndef KILN_FAST_H
#define KILN_FAST_H

#include <asm/apicdef.h>

#include "cpuid.h"
#include "irqchip/irqchip.h"
#include "msr.h"
#include "trace.h"
#include "vcpu.h"

static inline void kiln_fast_cpuid(struct kiln_vcpu *vcpu)
{
	u32 eax = vcpu->regs[KILN_RAX], ecx = vcpu->regs[KILN_RCX], ebx, edx;

	kiln_cpuid(vcpu, &eax, &ebx, &ecx, &edx);
	vcpu->regs[KILN_RAX] = eax;
	vcpu->regs[KILN_RBX] = ebx;
	vcpu->regs[KILN_RCX] = ecx;
	vcpu->regs[KILN_RDX] = edx;
	vcpu->stats.cpuid++;
}

static inline bool kiln_fast_rdmsr(struct kiln_vcpu *vcpu)
{
	u32 index = vcpu->regs[KILN_RCX];
	u64 val;

	if (kiln_msr_get(vcpu, index, &val, false))
		return false;
	trace_kiln_msr(vcpu->id, false, index, val, false);
	vcpu->regs[KILN_RAX] = (u32)val;
	vcpu->regs[KILN_RDX] = val >> 32;
	vcpu->stats.msr_read++;
	return true;
}

static inline bool kiln_fast_wrmsr(struct kiln_vcpu *vcpu)
{
	u64 val = kiln_edx_eax(vcpu);

	if (!vcpu->lapic)
		return false;
	switch ((u32)vcpu->regs[KILN_RCX]) {
	case APIC_BASE_MSR + (APIC_ICR >> 4):
		if (lapic_x2apic_icr_fast(vcpu, val))
			return false;
		break;
	case APIC_BASE_MSR + (APIC_EOI >> 4):
		if (val || !lapic_x2apic_mode(vcpu->lapic))
			return false;
		lapic_eoi(vcpu);
		break;
	case APIC_BASE_MSR + (APIC_TASKPRI >> 4):
	case APIC_BASE_MSR + (APIC_SELF_IPI >> 4):
		/* Neither takes a lock; a refusal changes nothing. */
		if (lapic_x2apic_write(vcpu, vcpu->regs[KILN_RCX], val))
			return false;
		break;
	case MSR_IA32_TSC_DEADLINE:
		if (!kiln_guest_has(vcpu, X86_FEATURE_TSC_DEADLINE_TIMER))
			return false;
		lapic_set_tscdeadline(vcpu, val);
		break;
	default:
		return false;
	}
	vcpu->stats.msr_write++;
	return true;
}

#endif /* KILN_FAST_H */
