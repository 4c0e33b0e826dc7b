// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers and events as user space gets and sets them, and as RESET and INIT
 * leave them. A set ioctl checks everything before it changes anything.
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "control.h"
#include "cpuid.h"
#include "hw.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "vcpu.h"

/* struct kvm_regs begins with the general registers, in an order of its own. */
static const u8 regs_order[KILN_NR_GPRS] = {
	KILN_RAX, KILN_RBX, KILN_RCX, KILN_RDX,
	KILN_RSI, KILN_RDI, KILN_RSP, KILN_RBP,
	KILN_R8, KILN_R9, KILN_R10, KILN_R11,
	KILN_R12, KILN_R13, KILN_R14, KILN_R15,
};

static_assert(offsetof(struct kvm_regs, rip) == KILN_NR_GPRS * sizeof(u64));

void kiln_regs_get(struct kiln_vcpu *vcpu, struct kvm_regs *regs)
{
	__u64 *gpr = &regs->rax;
	int i;

	for (i = 0; i < KILN_NR_GPRS; i++)
		gpr[i] = kiln_reg_read(vcpu, regs_order[i]);
	regs->rip = kiln_reg_read(vcpu, KILN_RIP);
	regs->rflags = kiln_reg_read(vcpu, KILN_RFLAGS);
}

void kiln_regs_set(struct kiln_vcpu *vcpu, const struct kvm_regs *regs)
{
	const __u64 *gpr = &regs->rax;
	int i;

	for (i = 0; i < KILN_NR_GPRS; i++)
		kiln_reg_write(vcpu, regs_order[i], gpr[i]);
	kiln_reg_write(vcpu, KILN_RIP, regs->rip);
	kiln_reg_write(vcpu, KILN_RFLAGS, regs->rflags | X86_EFLAGS_FIXED);
	/* It belonged to the instruction the vCPU was at. */
	vcpu->exception.pending = false;
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

/* Where struct kvm_sregs has each segment register. */
static const struct {
	u8 seg;
	u16 offset;
} segments[] = {
	{ KILN_CS, offsetof(struct kvm_sregs, cs) },
	{ KILN_DS, offsetof(struct kvm_sregs, ds) },
	{ KILN_ES, offsetof(struct kvm_sregs, es) },
	{ KILN_FS, offsetof(struct kvm_sregs, fs) },
	{ KILN_GS, offsetof(struct kvm_sregs, gs) },
	{ KILN_SS, offsetof(struct kvm_sregs, ss) },
	{ KILN_TR, offsetof(struct kvm_sregs, tr) },
	{ KILN_LDTR, offsetof(struct kvm_sregs, ldt) },
};

static_assert(ARRAY_SIZE(segments) == KILN_NR_SEGS);

static u64 apic_base(struct kiln_vcpu *vcpu)
{
	return vcpu->lapic ? lapic_base(vcpu) : vcpu->apic_base;
}

void kiln_sregs_get(struct kiln_vcpu *vcpu, struct kvm_sregs *sregs)
{
	int i;

	memset(sregs, 0, sizeof(*sregs));
	for (i = 0; i < ARRAY_SIZE(segments); i++)
		kiln_hw->get_segment(vcpu, segments[i].seg,
				     (void *)sregs + segments[i].offset);
	kiln_hw->get_dtable(vcpu, false, &sregs->gdt);
	kiln_hw->get_dtable(vcpu, true, &sregs->idt);
	sregs->cr0 = vcpu->cr0;
	sregs->cr2 = vcpu->cr2;
	sregs->cr3 = kiln_reg_read(vcpu, KILN_CR3);
	sregs->cr4 = vcpu->cr4;
	sregs->cr8 = kiln_get_cr8(vcpu);
	sregs->efer = vcpu->efer;
	sregs->apic_base = apic_base(vcpu);
	if (vcpu->irq_injected && !vcpu->irq_soft)
		__set_bit(vcpu->irq_vector,
			  (unsigned long *)sregs->interrupt_bitmap);
}

/*
 * Modes that exclude each other (SDM vol. 3 §9.8.5, §26.3.1.1). PCIDE without
 * IA-32e mode is let pass: user space may load CR4 before it loads EFER.
 */
static bool sregs_valid(struct kiln_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	bool lma = sregs->efer & EFER_LMA;

	if (!kiln_cr0_valid(sregs->cr0) || sregs->cr8 > 15 ||
	    (sregs->cr4 & vcpu->cr4_reserved) ||
	    (sregs->efer & ~kiln_efer_offered()) ||
	    !kiln_cr3_valid(vcpu, sregs->cr3))
		return false;
	if ((sregs->efer & EFER_LME) && (sregs->cr0 & X86_CR0_PG))
		return lma && (sregs->cr4 & X86_CR4_PAE);
	return !lma && !sregs->cs.l;
}

static void sregs_set_control(struct kiln_vcpu *vcpu,
			      const struct kvm_sregs *sregs)
{
	vcpu->cr2 = sregs->cr2;
	kiln_set_cr8(vcpu, sregs->cr8);

	vcpu->efer = sregs->efer;
	kiln_hw->set_efer(vcpu, sregs->efer);
	vcpu->cr0 = sregs->cr0 | X86_CR0_ET;
	kiln_hw->set_cr0(vcpu, vcpu->cr0);
	vcpu->cr4 = sregs->cr4;
	kiln_hw->set_cr4(vcpu, sregs->cr4);
	/*
	 * Under PAE paging the PDPTEs are part of the state, but not of this
	 * structure. Where memory does not hold them yet there are none: the
	 * guest will fault and not run away.
	 */
	if ((vcpu->cr0 & X86_CR0_PG) && (vcpu->cr4 & X86_CR4_PAE) &&
	    !(vcpu->efer & EFER_LMA) && kiln_load_pdptrs(vcpu, sregs->cr3))
		memset(vcpu->pdptrs, 0, sizeof(vcpu->pdptrs));
	kiln_write_cr3(vcpu, sregs->cr3);
	kiln_cpuid_refresh(vcpu);
}

static void sregs_set_interrupt(struct kiln_vcpu *vcpu,
				const struct kvm_sregs *sregs)
{
	unsigned long vector;

	vector = find_first_bit((const unsigned long *)sregs->interrupt_bitmap,
				KVM_NR_INTERRUPTS);
	if (vector >= KVM_NR_INTERRUPTS)
		return;
	vcpu->irq_injected = true;
	vcpu->irq_soft = false;
	vcpu->irq_vector = vector;
}

int kiln_apic_base_set(struct kiln_vcpu *vcpu, u64 val, bool host)
{
	u64 mode = val & (KILN_APIC_BASE_EN | KILN_APIC_BASE_EXTD);
	bool x2apic = vcpu->cpuid.given ?
		kiln_guest_has(vcpu, X86_FEATURE_X2APIC) :
		kiln_cpu_offers(X86_FEATURE_X2APIC);

	/* SDM vol. 3 §10.12.5: x2APIC mode of a disabled APIC is no state. */
	if ((mode & KILN_APIC_BASE_EXTD) &&
	    (!x2apic || !(mode & KILN_APIC_BASE_EN)))
		return 1;
	if (val & (0x2ff | ~GENMASK_ULL(min(vcpu->maxphyaddr, 63U) - 1, 0)))
		return 1;
	if (vcpu->lapic) {
		if (lapic_set_base(vcpu, val, host))
			return 1;
	} else {
		vcpu->apic_base = val;
	}
	kiln_cpuid_refresh(vcpu);
	return 0;
}

int kiln_sregs_set(struct kiln_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	int i;

	if (!sregs_valid(vcpu, sregs))
		return -EINVAL;
	/* The last check of all, since it takes effect at once. */
	if (sregs->apic_base != apic_base(vcpu) &&
	    kiln_apic_base_set(vcpu, sregs->apic_base, true))
		return -EINVAL;

	kiln_hw->set_dtable(vcpu, false, &sregs->gdt);
	kiln_hw->set_dtable(vcpu, true, &sregs->idt);
	sregs_set_control(vcpu, sregs);
	for (i = 0; i < ARRAY_SIZE(segments); i++)
		kiln_hw->set_segment(vcpu, segments[i].seg,
				     (const void *)sregs + segments[i].offset);
	sregs_set_interrupt(vcpu, sregs);
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	return 0;
}

void kiln_mp_state_get(struct kiln_vcpu *vcpu, struct kvm_mp_state *state)
{
	state->mp_state = vcpu->mp_state;
}

int kiln_mp_state_set(struct kiln_vcpu *vcpu, const struct kvm_mp_state *state)
{
	if (!vcpu->lapic && state->mp_state != KVM_MP_STATE_RUNNABLE)
		return -EINVAL;

	switch (state->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_HALTED:
		vcpu->mp_state = state->mp_state;
		break;
	case KVM_MP_STATE_SIPI_RECEIVED:
		/* Waiting for a SIPI, and one has come. */
		vcpu->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		atomic_or(KILN_LAPIC_SIPI, &vcpu->lapic->events);
		break;
	default:
		return -EINVAL;
	}
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	return 0;
}

/*
 * Exceptions of INT3 and INTO are left out: the length of the instruction has
 * no place in the structure, and as RIP is still at it, it will do it again.
 */
static void events_get_exception(struct kiln_vcpu *vcpu,
				 struct kvm_vcpu_events *events)
{
	const struct kiln_event *e = &vcpu->exception;

	if (e->soft)
		return;
	/* Without KVM_CAP_EXCEPTION_PAYLOAD pending is shown as injected. */
	events->exception.injected = e->injected || e->pending;
	events->exception.pending = e->pending;
	events->exception.nr = e->vector;
	events->exception.has_error_code = e->has_error;
	events->exception.error_code = e->error;
}

void kiln_events_get(struct kiln_vcpu *vcpu, struct kvm_vcpu_events *events)
{
	u32 blocking = kiln_hw->get_blocking(vcpu);

	memset(events, 0, sizeof(*events));
	events_get_exception(vcpu, events);

	events->interrupt.injected = vcpu->irq_injected && !vcpu->irq_soft;
	events->interrupt.nr = vcpu->irq_vector;
	events->interrupt.shadow = blocking & KILN_BLOCK_SHADOW;

	events->nmi.injected = vcpu->nmi_injected;
	events->nmi.pending = vcpu->nmi_pending || atomic_read(&vcpu->nmi_queued);
	events->nmi.masked = !!(blocking & KILN_BLOCK_NMI);

	events->flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
			KVM_VCPUEVENT_VALID_SHADOW;
}

static bool events_valid(const struct kvm_vcpu_events *events)
{
	if (events->flags & ~(KVM_VCPUEVENT_VALID_NMI_PENDING |
			      KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			      KVM_VCPUEVENT_VALID_SHADOW))
		return false;
	if (events->exception.injected &&
	    (events->exception.nr > 31 || events->exception.nr == X86_TRAP_NMI))
		return false;
	/* Both at once is how KVM shows AMD's one kind. */
	if ((events->flags & KVM_VCPUEVENT_VALID_SHADOW) &&
	    events->interrupt.shadow & ~KILN_BLOCK_SHADOW)
		return false;
	return !(events->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) ||
	       events->sipi_vector <= 0xff;
}

int kiln_events_set(struct kiln_vcpu *vcpu,
		    const struct kvm_vcpu_events *events)
{
	u32 blocking;

	if (!events_valid(events))
		return -EINVAL;

	vcpu->exception = (struct kiln_event) {
		.injected = !!events->exception.injected,
		.vector = events->exception.nr,
		.has_error = !!events->exception.has_error_code,
		.error = events->exception.error_code,
	};

	vcpu->irq_injected = !!events->interrupt.injected;
	vcpu->irq_vector = events->interrupt.nr;
	vcpu->irq_soft = !!events->interrupt.soft;
	blocking = kiln_hw->get_blocking(vcpu) & KILN_BLOCK_SHADOW;
	if (events->flags & KVM_VCPUEVENT_VALID_SHADOW)
		blocking = events->interrupt.shadow;
	if (events->nmi.masked)
		blocking |= KILN_BLOCK_NMI;
	kiln_hw->set_blocking(vcpu, blocking);

	vcpu->nmi_injected = !!events->nmi.injected;
	if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		atomic_set(&vcpu->nmi_queued, 0);
		vcpu->nmi_pending = !!events->nmi.pending;
	}

	if ((events->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) && vcpu->lapic)
		vcpu->lapic->sipi_vector = events->sipi_vector;
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	return 0;
}

static void reset_segments(struct kiln_vcpu *vcpu)
{
	const struct kvm_segment cs = {
		.selector = 0xf000, .base = 0xffff0000, .limit = 0xffff,
		.type = 0xb, .s = 1, .present = 1,
	};
	const struct kvm_segment data = {
		.limit = 0xffff, .type = 0x3, .s = 1, .present = 1,
	};
	const struct kvm_segment ldtr = {
		.limit = 0xffff, .type = 0x2, .present = 1,
	};
	const struct kvm_segment tr = {
		.limit = 0xffff, .type = 0xb, .present = 1,
	};
	const struct kvm_dtable table = { .limit = 0xffff };
	int seg;

	for (seg = KILN_ES; seg <= KILN_GS; seg++)
		kiln_hw->set_segment(vcpu, seg, seg == KILN_CS ? &cs : &data);
	kiln_hw->set_segment(vcpu, KILN_LDTR, &ldtr);
	kiln_hw->set_segment(vcpu, KILN_TR, &tr);
	kiln_hw->set_dtable(vcpu, false, &table);
	kiln_hw->set_dtable(vcpu, true, &table);
}

/* EDX holds the processor's signature; family 6 where user space set none. */
static u32 reset_edx(struct kiln_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *entry = kiln_cpuid_find(vcpu, 1, 0);

	return entry ? entry->eax : 0x600;
}

static void reset_control(struct kiln_vcpu *vcpu, bool init)
{
	u64 caches = init ? vcpu->cr0 & (X86_CR0_CD | X86_CR0_NW) :
			    X86_CR0_CD | X86_CR0_NW;
	int i;

	vcpu->efer = 0;
	kiln_hw->set_efer(vcpu, 0);
	vcpu->cr0 = X86_CR0_ET | caches;
	kiln_hw->set_cr0(vcpu, vcpu->cr0);
	vcpu->cr4 = 0;
	kiln_hw->set_cr4(vcpu, 0);
	vcpu->cr2 = 0;
	kiln_write_cr3(vcpu, 0);
	vcpu->cr8 = 0;

	for (i = 0; i < ARRAY_SIZE(vcpu->dr); i++)
		vcpu->dr[i] = 0;
	vcpu->dr6 = kiln_dr6_fixed(vcpu, BIT(16));
	vcpu->dr7 = kiln_dr7_fixed(vcpu, 0);
	kiln_hw->refresh(vcpu, KILN_REFRESH_DR7);
}

static void reset_events(struct kiln_vcpu *vcpu)
{
	vcpu->exception = (struct kiln_event) {};
	vcpu->irq_injected = false;
	vcpu->nmi_injected = false;
	vcpu->nmi_pending = 0;
	vcpu->triple_fault = false;
	clear_bit(KILN_REQ_SHUTDOWN, &vcpu->requests);
	clear_bit(KILN_REQ_SYSTEM_EVENT, &vcpu->requests);
	kiln_hw->set_blocking(vcpu, 0);
}

void kiln_state_reset(struct kiln_vcpu *vcpu, bool init)
{
	int reg;

	kiln_hw->vcpu_reset(vcpu, init);
	for (reg = 0; reg < KILN_NR_GPRS; reg++)
		kiln_reg_write(vcpu, reg, 0);
	kiln_reg_write(vcpu, KILN_RDX, reset_edx(vcpu));
	kiln_reg_write(vcpu, KILN_RIP, 0xfff0);
	kiln_reg_write(vcpu, KILN_RFLAGS, X86_EFLAGS_FIXED);
	reset_segments(vcpu);
	reset_control(vcpu, init);
	reset_events(vcpu);
	kiln_cpuid_refresh(vcpu);
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

void kiln_state_sipi(struct kiln_vcpu *vcpu, u8 vector)
{
	struct kvm_segment cs;

	kiln_hw->get_segment(vcpu, KILN_CS, &cs);
	cs.selector = vector << 8;
	cs.base = (u64)vector << 12;
	kiln_hw->set_segment(vcpu, KILN_CS, &cs);
	kiln_reg_write(vcpu, KILN_RIP, 0);
}
