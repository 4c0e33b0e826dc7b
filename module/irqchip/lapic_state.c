// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC as a whole: creation, RESET and INIT, the modes of
 * IA32_APIC_BASE, and the state that user space saves and restores.
 */
#include <linux/mm.h>

#include "private.h"

#define MODE_BITS	(KILN_APIC_BASE_EN | KILN_APIC_BASE_EXTD)

/* SDM vol. 3 §10.12.10.2 */
static u32 x2apic_logical_id(u32 id)
{
	return (id >> 4) << 16 | BIT(id & 0xf);
}

void lapic_set_ids(struct kiln_lapic *lapic)
{
	u32 id = lapic->vcpu->id;

	if (lapic_x2apic_mode(lapic)) {
		lapic_set_reg(lapic, APIC_ID, id);
		lapic_set_reg(lapic, APIC_LDR, x2apic_logical_id(id));
	} else {
		lapic_set_reg(lapic, APIC_ID, id << 24);
	}
}

static void lapic_drop_posted(struct kiln_lapic *lapic)
{
	int i;

	clear_bit(KILN_PI_ON, &lapic->pi.control);
	smp_mb__after_atomic();	/* ON before the bits it covers */
	for (i = 0; i < ARRAY_SIZE(lapic->pi.pir); i++)
		xchg(&lapic->pi.pir[i], 0);
}

/* What an ioctl or MSR write changed concerns delivery and the backend. */
static void lapic_changed(struct kiln_lapic *lapic)
{
	unsigned long *requests = &lapic->vcpu->requests;

	set_bit(KILN_REQ_APIC_MODE, requests);
	set_bit(KILN_REQ_EOI_MAP, requests);
	set_bit(KILN_REQ_EVENT, requests);
}

/* SDM vol. 3 §10.4.7.1 */
static void lapic_reset_regs(struct kiln_lapic *lapic)
{
	static const u16 masked[] = {
		APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC, APIC_LVT0, APIC_LVT1,
		APIC_LVTERR,
	};
	int i;

	lapic_timer_stop(lapic);
	WRITE_ONCE(lapic->sw_enabled, false);
	memset(lapic->page, 0, PAGE_SIZE);
	lapic_drop_posted(lapic);
	lapic->irr_maybe = false;
	lapic->isr_maybe = false;
	atomic_set(&lapic->errors, 0);

	lapic_set_ids(lapic);
	lapic_set_reg(lapic, APIC_LVR, LAPIC_VERSION);
	lapic_set_reg(lapic, APIC_DFR, U32_MAX);
	lapic_set_reg(lapic, APIC_SPIV, 0xff);
	for (i = 0; i < ARRAY_SIZE(masked); i++)
		lapic_set_reg(lapic, masked[i], APIC_LVT_MASKED);
}

void lapic_reset(struct kiln_vcpu *vcpu, bool init)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	bool bsp = vcpu->id == 0;

	if (!init)
		WRITE_ONCE(lapic->base,
			   KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EN |
			   (bsp ? KILN_APIC_BASE_BSP : 0));
	lapic_reset_regs(lapic);
	if (!init && bsp)
		lapic_set_reg(lapic, APIC_LVT0, APIC_DM_EXTINT);
	lapic_changed(lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_reset);

int lapic_create(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic;

	/* kmalloc() aligns objects this large to what @pi asks for. */
	BUILD_BUG_ON(sizeof(*lapic) <= 192 || sizeof(*lapic) > 512);

	lapic = kzalloc(sizeof(*lapic), GFP_KERNEL_ACCOUNT);
	if (!lapic)
		return -ENOMEM;
	lapic->page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!lapic->page) {
		kfree(lapic);
		return -ENOMEM;
	}
	lapic->vcpu = vcpu;
	lapic_timer_init(lapic);
	vcpu->lapic = lapic;
	lapic_reset(vcpu, false);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_create);

void lapic_free(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	if (!lapic)
		return;
	lapic_timer_stop(lapic);
	vcpu->lapic = NULL;
	free_page((unsigned long)lapic->page);
	kfree(lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_free);

/* ------------------------------------------------------ IA32_APIC_BASE */

u64 lapic_base(struct kiln_vcpu *vcpu)
{
	return READ_ONCE(vcpu->lapic->base);
}

KILN_EXPORT_FOR_KUNIT(lapic_base);

/* A vCPU without CPUID yet has the 32 bits every APIC address fits in. */
static u64 lapic_base_reserved(const struct kiln_vcpu *vcpu)
{
	u32 width = clamp(vcpu->maxphyaddr, 32u, 52u);

	return GENMASK_ULL(63, width) | BIT_ULL(9) | GENMASK_ULL(7, 0);
}

/* SDM vol. 3 figure 10-27 */
static bool lapic_transition_allowed(u64 old, u64 new)
{
	bool was_x2apic = old & KILN_APIC_BASE_EXTD;
	bool is_x2apic = new & KILN_APIC_BASE_EXTD;

	if (is_x2apic)
		return old & KILN_APIC_BASE_EN;
	return !(was_x2apic && (new & KILN_APIC_BASE_EN));
}

/* The ICR is two registers in xAPIC mode, one in x2APIC mode. */
static u64 lapic_icr(const struct kiln_lapic *lapic, bool x2apic)
{
	if (x2apic)
		return *(u64 *)(lapic->page + APIC_ICR);
	return lapic_reg(lapic, APIC_ICR) |
	       (u64)lapic_reg(lapic, APIC_ICR2) << 32;
}

static void lapic_set_icr(struct kiln_lapic *lapic, bool x2apic, u64 icr)
{
	lapic_set_reg(lapic, APIC_ICR, icr);
	lapic_set_reg(lapic, APIC_ICR + 4, x2apic ? icr >> 32 : 0);
	lapic_set_reg(lapic, APIC_ICR2, x2apic ? 0 : icr >> 32);
}

static void lapic_enter_mode(struct kiln_lapic *lapic, u64 old, u64 new)
{
	u64 icr = lapic_icr(lapic, old & KILN_APIC_BASE_EXTD);

	if (!(new & KILN_APIC_BASE_EN)) {
		lapic_reset_regs(lapic);
		return;
	}
	if (!((old ^ new) & KILN_APIC_BASE_EXTD))
		return;
	lapic_set_icr(lapic, new & KILN_APIC_BASE_EXTD, icr);
	lapic_set_reg(lapic, APIC_LDR, 0);
	lapic_set_ids(lapic);
}

int lapic_set_base(struct kiln_vcpu *vcpu, u64 val, bool host)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u64 old = lapic->base;

	if ((val & lapic_base_reserved(vcpu)) ||
	    (val & MODE_BITS) == KILN_APIC_BASE_EXTD)
		return 1;
	if (!host && !lapic_transition_allowed(old, val))
		return 1;
	if (val == old)
		return 0;
	WRITE_ONCE(lapic->base, val);
	if ((old ^ val) & MODE_BITS)
		lapic_enter_mode(lapic, old, val);
	lapic_changed(lapic);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_set_base);

/* --------------------------------------------- KVM_GET_LAPIC, _SET_LAPIC */

static u32 state_reg(const struct kvm_lapic_state *state, u32 offset)
{
	u32 val;

	memcpy(&val, state->regs + offset, sizeof(val));
	return val;
}

static void state_set_reg(struct kvm_lapic_state *state, u32 offset, u32 val)
{
	memcpy(state->regs + offset, &val, sizeof(val));
}

void lapic_get_state(struct kiln_vcpu *vcpu, struct kvm_lapic_state *state)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u64 icr = lapic_icr(lapic, lapic_x2apic_mode(lapic));
	u32 val;

	lapic_sync(vcpu);
	lapic_mmio_read(vcpu, APIC_PROCPRI, &val);
	memcpy(state->regs, lapic->page, sizeof(state->regs));
	state_set_reg(state, APIC_ID, vcpu->id << 24);
	state_set_reg(state, APIC_ICR, icr);
	state_set_reg(state, APIC_ICR + 4, 0);
	state_set_reg(state, APIC_ICR2, icr >> 32);
	state_set_reg(state, APIC_TMCCT, lapic_timer_current(lapic));
}

KILN_EXPORT_FOR_KUNIT(lapic_get_state);

static bool is_vector_reg(u32 offset)
{
	return offset >= APIC_ISR && offset < APIC_IRR + 0x80;
}

int lapic_set_state(struct kiln_vcpu *vcpu,
		    const struct kvm_lapic_state *state)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u64 deadline = lapic_get_tscdeadline(vcpu);
	bool x2apic = lapic_x2apic_mode(lapic);
	u32 offset, val, dest = state_reg(state, APIC_ICR2);

	if (state_reg(state, APIC_ID) >> 24 != (vcpu->id & 0xff))
		return -EINVAL;

	lapic_timer_stop(lapic);
	lapic_drop_posted(lapic);
	for (offset = 0; offset < KVM_APIC_REG_SIZE; offset += 16) {
		val = state_reg(state, offset);
		if (!is_vector_reg(offset))
			val &= lapic_writable_bits(offset);
		lapic_set_reg(lapic, offset, val);
	}
	lapic_set_reg(lapic, APIC_LVR, LAPIC_VERSION);
	lapic_set_reg(lapic, APIC_DFR,
		      lapic_reg(lapic, APIC_DFR) | ~APIC_DFR_BITS);
	lapic_set_reg(lapic, APIC_ESR, state_reg(state, APIC_ESR) & 0xff);
	if (!x2apic)
		dest &= lapic_writable_bits(APIC_ICR2);
	lapic_set_icr(lapic, x2apic,
		      lapic_reg(lapic, APIC_ICR) | (u64)dest << 32);
	lapic_set_ids(lapic);
	WRITE_ONCE(lapic->sw_enabled,
		   lapic_reg(lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED);
	lapic->irr_maybe = true;
	lapic->isr_maybe = true;
	/* Follows from TPR and ISR, whatever the state has there. */
	lapic_mmio_read(vcpu, APIC_PROCPRI, &val);
	lapic_timer_resume(lapic, state_reg(state, APIC_TMCCT));
	lapic_set_tscdeadline(vcpu, deadline);
	lapic_changed(lapic);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_set_state);
