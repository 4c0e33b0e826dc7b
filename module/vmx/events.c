// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delivering events: what goes into the VM-entry interruption information,
 * what comes back in the IDT-vectoring information when an exit cut the
 * delivery short, and the windows in between (SDM vol. 3 §25.8.3, §28.2.4).
 */
#include <linux/kvm.h>

#include "state.h"
#include "trace.h"
#include "vmx.h"

/*
 * NMIs reach the guest by injection only, so that a mask nobody set is none.
 * Bochs enters a guest with the mask of the one that ran there before.
 */
static bool nmi_masked(struct vmx_vcpu *vmx, u32 info)
{
	if (!vmx_caps.vnmi)
		return vmx->vnmi_blocked;
	if (!(info & GUEST_INTR_STATE_NMI))
		vmx->nmi_seen = false;
	return vmx->nmi_seen;
}

u32 vmx_get_blocking(struct kiln_vcpu *vcpu)
{
	u32 info = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);

	return (info & GUEST_INTR_STATE_STI ? KILN_BLOCK_STI : 0) |
	       (info & GUEST_INTR_STATE_MOV_SS ? KILN_BLOCK_MOV_SS : 0) |
	       (nmi_masked(to_vmx(vcpu), info) ? KILN_BLOCK_NMI : 0);
}

void vmx_set_shadow(struct kiln_vcpu *vcpu, u32 shadow)
{
	u32 old = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);
	u32 new = old & ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);

	/* Both at once fail the entry (SDM vol. 3 §27.3.1.5). */
	if (shadow & KVM_X86_SHADOW_INT_MOV_SS)
		new |= GUEST_INTR_STATE_MOV_SS;
	else if (shadow & KVM_X86_SHADOW_INT_STI)
		new |= GUEST_INTR_STATE_STI;
	if (new != old)
		vmcs_write32(GUEST_INTERRUPTIBILITY_INFO, new);
}

void vmx_set_nmi_mask(struct kiln_vcpu *vcpu, bool masked)
{
	u32 info;

	if (!vmx_caps.vnmi) {
		to_vmx(vcpu)->vnmi_blocked = masked;
		return;
	}
	to_vmx(vcpu)->nmi_seen = masked;
	info = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);
	if (masked)
		info |= GUEST_INTR_STATE_NMI;
	else
		info &= ~GUEST_INTR_STATE_NMI;
	vmcs_write32(GUEST_INTERRUPTIBILITY_INFO, info);
}

void vmx_set_blocking(struct kiln_vcpu *vcpu, u32 blocking)
{
	vmx_set_shadow(vcpu, blocking & KILN_BLOCK_SHADOW);
	vmx_set_nmi_mask(vcpu, blocking & KILN_BLOCK_NMI);
}

static void inject(struct kiln_vcpu *vcpu, u32 info)
{
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, info | INTR_INFO_VALID_MASK);
	to_vmx(vcpu)->injected = true;
	trace_kiln_inject(vcpu->id, info & INTR_INFO_VECTOR_MASK,
			  (info & INTR_INFO_INTR_TYPE_MASK) >> 8);
}

static void inject_irq(struct kiln_vcpu *vcpu)
{
	u32 info = vcpu->irq_vector;

	if (vcpu->irq_soft) {
		info |= INTR_TYPE_SOFT_INTR;
		vmcs_write32(VM_ENTRY_INSTRUCTION_LEN, vcpu->irq_insn_len);
	} else {
		info |= INTR_TYPE_EXT_INTR;
	}
	inject(vcpu, info);
	vcpu->stats.irq_injected++;
}

static void inject_nmi(struct kiln_vcpu *vcpu)
{
	if (!vmx_caps.vnmi)
		to_vmx(vcpu)->vnmi_blocked = true;
	else
		vmx_set_nmi_mask(vcpu, false);
	to_vmx(vcpu)->nmi_seen = true;
	inject(vcpu, X86_TRAP_NMI | INTR_TYPE_NMI_INTR);
	vcpu->stats.nmi_injected++;
}

static void inject_exception(struct kiln_vcpu *vcpu)
{
	struct kiln_event *e = &vcpu->exception;
	u32 info = e->vector;

	/* In real mode no exception pushes an error code (§27.2.1.3). */
	if (e->has_error && (vcpu->cr0 & X86_CR0_PE)) {
		vmcs_write32(VM_ENTRY_EXCEPTION_ERROR_CODE, e->error & 0xffff);
		info |= INTR_INFO_DELIVER_CODE_MASK;
	}
	if (e->soft) {
		info |= INTR_TYPE_SOFT_EXCEPTION;
		vmcs_write32(VM_ENTRY_INSTRUCTION_LEN, e->insn_len);
	} else {
		info |= INTR_TYPE_HARD_EXCEPTION;
	}
	inject(vcpu, info);
	vcpu->stats.exception_injected++;
}

void vmx_inject(struct kiln_vcpu *vcpu, enum kiln_inject what)
{
	switch (what) {
	case KILN_INJECT_EXCEPTION:
		return inject_exception(vcpu);
	case KILN_INJECT_NMI:
		return inject_nmi(vcpu);
	case KILN_INJECT_IRQ:
		return inject_irq(vcpu);
	}
}

/* The same fields mean the same in both directions, but for bit 12. */
static void take_back(struct kiln_vcpu *vcpu, u32 info, u32 error, u8 len)
{
	u8 vector = info & VECTORING_INFO_VECTOR_MASK;

	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_NMI_INTR:
		vcpu->nmi_injected = true;
		/* It is blocked again only once it is delivered. */
		vmx_set_nmi_mask(vcpu, false);
		break;
	case INTR_TYPE_EXT_INTR:
	case INTR_TYPE_SOFT_INTR:
		vcpu->irq_injected = true;
		vcpu->irq_vector = vector;
		vcpu->irq_soft = (info & VECTORING_INFO_TYPE_MASK) ==
				 INTR_TYPE_SOFT_INTR;
		vcpu->irq_insn_len = len;
		break;
	case INTR_TYPE_HARD_EXCEPTION:
	case INTR_TYPE_SOFT_EXCEPTION:
	case INTR_TYPE_PRIV_SW_EXCEPTION:
		vcpu->exception = (struct kiln_event) {
			.injected = true,
			.vector = vector,
			.has_error = info & VECTORING_INFO_DELIVER_CODE_MASK,
			.error = error,
			.soft = (info & VECTORING_INFO_TYPE_MASK) !=
				INTR_TYPE_HARD_EXCEPTION,
			.insn_len = len,
		};
		break;
	default:
		return;
	}
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

static void forget_injected(struct kiln_vcpu *vcpu)
{
	vcpu->exception.injected = false;
	vcpu->nmi_injected = false;
	vcpu->irq_injected = false;
}

/*
 * Was it an interrupt the hardware took from the virtual APIC? Bochs then
 * leaves the type and vector of another event in the IDT-vectoring
 * information; the one in question is in service by now (SDM vol. 3 §30.2.2).
 * NMIs reach the guest by injection only, so one nobody injected is none.
 */
static bool virtual_interrupt(struct vmx_vcpu *vmx, u32 info)
{
	const u32 type = info & VECTORING_INFO_TYPE_MASK;
	struct kiln_vcpu *vcpu = &vmx->vcpu;

	return info & VECTORING_INFO_VALID_MASK &&
	       (type == INTR_TYPE_EXT_INTR || type == INTR_TYPE_NMI_INTR) &&
	       !vmx->injected && vcpu->lapic && vcpu->lapic->hw_vid &&
	       lapic_max_isr(vcpu) >= 0;
}

/**
 * vmx_complete_events() - see what became of the event being delivered
 * @vmx: vCPU that just exited
 *
 * Whatever delivery the exit interrupted, ours or one the guest's own
 * instruction started, has to be started again by the next entry.
 */
void vmx_complete_events(struct vmx_vcpu *vmx)
{
	struct kiln_vcpu *vcpu = &vmx->vcpu;
	u32 info = vmcs_read32(IDT_VECTORING_INFO_FIELD);

	if (virtual_interrupt(vmx, info))
		info = VECTORING_INFO_VALID_MASK | INTR_TYPE_EXT_INTR |
		       lapic_max_isr(vcpu);
	vmx->idt_info = info;
	if (vmx->injected) {
		vmx->injected = false;
		forget_injected(vcpu);
	}
	if (likely(!(info & VECTORING_INFO_VALID_MASK)))
		return;
	take_back(vcpu, info,
		  info & VECTORING_INFO_DELIVER_CODE_MASK ?
			vmcs_read32(IDT_VECTORING_ERROR_CODE) : 0,
		  vmcs_read32(VM_EXIT_INSTRUCTION_LEN));
}

void vmx_cancel_injection(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 info;

	if (!vmx->injected)
		return;
	vmx->injected = false;
	info = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD);
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, 0);
	forget_injected(vcpu);
	take_back(vcpu, info, vmcs_read32(VM_ENTRY_EXCEPTION_ERROR_CODE),
		  vmcs_read32(VM_ENTRY_INSTRUCTION_LEN));
}

static void irq_window(struct vmx_vcpu *vmx)
{
	if (vmx->irq_window)
		return;
	vmx->irq_window = true;
	vmx_set_cpu_ctl(vmx, CPU_BASED_INTR_WINDOW_EXITING, 0);
}

static void nmi_window(struct vmx_vcpu *vmx)
{
	/*
	 * Without virtual NMIs nothing tells when the guest is done with its
	 * handler; the next chance is when it opens for interrupts.
	 */
	if (!vmx_caps.vnmi) {
		irq_window(vmx);
		return;
	}
	if (vmx->nmi_window)
		return;
	vmx->nmi_window = true;
	vmx_set_cpu_ctl(vmx, CPU_BASED_NMI_WINDOW_EXITING, 0);
}

void vmx_window(struct kiln_vcpu *vcpu, bool nmi)
{
	if (nmi)
		nmi_window(to_vmx(vcpu));
	else
		irq_window(to_vmx(vcpu));
}

/**
 * vmx_skip_insn() - the instruction that exited is done
 * @vcpu: the vCPU
 *
 * As the processor does at the end of an instruction: RIP moves on, the
 * shadow of STI and MOV SS ends, TF raises #DB.
 */
void vmx_skip_insn(struct kiln_vcpu *vcpu)
{
	u64 old = kiln_rip(vcpu);
	u64 rip = old + vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
	u32 info;

	/* Code that is not 64-bit wraps at 4 GiB. */
	if (unlikely((rip ^ old) >> 32) &&
	    (!(to_vmx(vcpu)->entry_ctl & VM_ENTRY_IA32E_MODE) ||
	     !(vmcs_read32(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK)))
		rip = (u32)rip;
	kiln_reg_write(vcpu, KILN_RIP, rip);

	info = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);
	if (unlikely(info & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))) {
		info &= ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
		vmcs_write32(GUEST_INTERRUPTIBILITY_INFO, info);
	}
	if (unlikely((vcpu->regs_avail & BIT(KILN_RFLAGS) ?
		      vcpu->regs[KILN_RFLAGS] : vmcs_readl(GUEST_RFLAGS)) &
		     X86_EFLAGS_TF))
		kiln_inject_db(vcpu, DR_STEP);
}

/*
 * The virtual-APIC page serves the TPR shadow in every mode; register
 * virtualisation and virtual-interrupt delivery are on while the APIC is,
 * which x2APIC mode needs MSR passthrough for (SDM vol. 3 §30.5).
 */
void vmx_apic_mode(struct kiln_vcpu *vcpu)
{
	const u32 vid = SECONDARY_EXEC_APIC_REGISTER_VIRT |
			SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY;
	const u32 all = vid | SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool x2apic, on;
	u32 set = 0, msr;

	if (!vcpu->lapic || !vmx_caps.vid)
		return;
	x2apic = (lapic_base(vcpu) & KILN_APIC_BASE_EXTD) &&
		 (lapic_base(vcpu) & KILN_APIC_BASE_EN);
	on = lapic_base(vcpu) & KILN_APIC_BASE_EN;
	if (on)
		set |= vid;
	if (x2apic)
		set |= SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
	vmx_set_cpu2_ctl(vmx, set, all & ~set);

	/*
	 * Reads come from the page, where it has the answer: hardware does not
	 * fault for registers that cannot be read (SDM vol. 3 §30.5). Writes
	 * of TPR, EOI and SELF_IPI are the hardware's.
	 */
	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + 0x100; msr++)
		vmx_msr_passthrough(vmx, msr,
				    x2apic && lapic_x2apic_in_page(msr), false);
	vmx_msr_passthrough(vmx, APIC_BASE_MSR + (APIC_TASKPRI >> 4),
			    x2apic, x2apic);
	vmx_msr_passthrough(vmx, APIC_BASE_MSR + (APIC_EOI >> 4),
			    false, x2apic);
	vmx_msr_passthrough(vmx, APIC_BASE_MSR + (APIC_SELF_IPI >> 4),
			    false, x2apic);
}

void vmx_apic_sync(struct kiln_vcpu *vcpu, int max_irr)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int max_isr = lapic_max_isr(vcpu);
	u16 status = (max_irr < 0 ? 0 : max_irr) |
		     (max_isr < 0 ? 0 : max_isr) << 8;

	if (!vmx_caps.vid) {
		u32 threshold = lapic_tpr_threshold(vcpu);

		if (threshold != vmx->tpr_threshold) {
			vmx->tpr_threshold = threshold;
			vmcs_write32(TPR_THRESHOLD, threshold);
		}
		return;
	}
	if (vmcs_read16(GUEST_INTR_STATUS) != status)
		vmcs_write16(GUEST_INTR_STATUS, status);
}

void vmx_eoi_map(struct kiln_vcpu *vcpu, const u64 map[4])
{
	vmcs_write64(EOI_EXIT_BITMAP0, map[0]);
	vmcs_write64(EOI_EXIT_BITMAP1, map[1]);
	vmcs_write64(EOI_EXIT_BITMAP2, map[2]);
	vmcs_write64(EOI_EXIT_BITMAP3, map[3]);
}
