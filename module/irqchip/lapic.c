// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC: its registers, priorities, and the life of an interrupt
 * from IRR to ISR to EOI (SDM vol. 3 chapter 10).
 *
 * The registers live in a page that hardware may use as virtual-APIC page, so
 * what is there is the truth: nothing but bits that change how it is read
 * (irr_maybe, isr_maybe, sw_enabled) is kept beside it. One table says for
 * each register who may do what; both ways to reach it, MMIO and MSR, go by
 * that table. Modes, reset and the state ioctls are in lapic_state.c, messages
 * between APICs in lapic_ipi.c, the timer in lapic_timer.c.
 */
#include "private.h"

#define LVT_COMMON	(APIC_VECTOR_MASK | APIC_LVT_MASKED)
#define LVT_MODE	(LVT_COMMON | APIC_MODE_MASK)
#define LVT_PIN		(LVT_MODE | APIC_INPUT_POLARITY | APIC_LVT_LEVEL_TRIGGER)
#define LVT_TIMER	(LVT_COMMON | APIC_LVT_TIMER_PERIODIC | \
			 LAPIC_LVT_TSCDEADLINE)
/* Read-only bits of LVT entries: writing them is no error. */
#define LVT_READ_ONLY	(APIC_SEND_PENDING | APIC_LVT_REMOTE_IRR)

#define SVR_BITS	(APIC_VECTOR_MASK | APIC_SPIV_APIC_ENABLED | \
			 APIC_SPIV_FOCUS_DISABLED | APIC_SPIV_DIRECTED_EOI)

static const u16 lvt_entries[] = {
	APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC, APIC_LVT0, APIC_LVT1, APIC_LVTERR,
};

/* ------------------------------------------------------------ vectors */

static int vec_find_highest(const struct kiln_lapic *lapic, u32 array)
{
	u32 word;
	int i;

	for (i = 7; i >= 0; i--) {
		word = lapic_reg(lapic, array + i * 16);
		if (word)
			return i * 32 + __fls(word);
	}
	return -1;
}

static void lapic_collect_posted(struct kiln_lapic *lapic)
{
	unsigned long word;
	int i;

	clear_bit(KILN_PI_ON, &lapic->pi.control);
	smp_mb__after_atomic();	/* ON before the bits it covers */
	for (i = 0; i < 4; i++) {
		if (!READ_ONCE(lapic->pi.pir[i]))
			continue;
		word = xchg(&lapic->pi.pir[i], 0);
		*lapic_vec_reg(lapic, APIC_IRR, i * 64) |= word;
		*lapic_vec_reg(lapic, APIC_IRR, i * 64 + 32) |= word >> 32;
	}
	lapic->irr_maybe = true;
}

static int __lapic_sync(struct kiln_lapic *lapic)
{
	int vector;

	if (lapic_posted(lapic))
		lapic_collect_posted(lapic);
	/* Hardware sets a bit itself when the guest writes SELF_IPI. */
	if (!lapic->irr_maybe && !lapic->hw_vid)
		return -1;
	vector = vec_find_highest(lapic, APIC_IRR);
	lapic->irr_maybe = vector >= 0;
	return vector;
}

int lapic_sync(struct kiln_vcpu *vcpu)
{
	return __lapic_sync(vcpu->lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_sync);

static int __lapic_max_isr(struct kiln_lapic *lapic)
{
	int vector;

	if (!lapic->isr_maybe && !lapic->hw_vid)
		return -1;
	vector = vec_find_highest(lapic, APIC_ISR);
	lapic->isr_maybe = vector >= 0;
	return vector;
}

void lapic_set_hw_vid(struct kiln_vcpu *vcpu, bool on)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	lapic->hw_vid = on;
	lapic->irr_maybe = true;
	lapic->isr_maybe = true;
}

KILN_EXPORT_FOR_KUNIT(lapic_set_hw_vid);

int lapic_max_isr(struct kiln_vcpu *vcpu)
{
	return __lapic_max_isr(vcpu->lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_max_isr);

/* SDM vol. 3 §10.8.3.1 */
static u32 lapic_update_ppr(struct kiln_lapic *lapic)
{
	u32 tpr = lapic_reg(lapic, APIC_TASKPRI) & APIC_TPRI_MASK;
	int isr = __lapic_max_isr(lapic);
	u32 ppr = tpr;

	if (isr >= 0 && (isr & 0xf0) > (tpr & 0xf0))
		ppr = isr & 0xf0;
	lapic_set_reg(lapic, APIC_PROCPRI, ppr);
	return ppr;
}

int lapic_pending(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	int vector = __lapic_sync(lapic);

	if (vector < 0 || !(lapic->base & KILN_APIC_BASE_EN))
		return -1;
	return (vector & 0xf0) > (lapic_update_ppr(lapic) & 0xf0) ? vector : -1;
}

KILN_EXPORT_FOR_KUNIT(lapic_pending);

void lapic_accept(struct kiln_vcpu *vcpu, int vector)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	lapic_vec_clear(lapic, APIC_IRR, vector);
	lapic_vec_set(lapic, APIC_ISR, vector);
	lapic->isr_maybe = true;
	/* Its class is above the TPR's and above those in service. */
	lapic_set_reg(lapic, APIC_PROCPRI, vector & 0xf0);
}

KILN_EXPORT_FOR_KUNIT(lapic_accept);

/*
 * Level-triggered vectors are broadcast to the I/O APIC unless the guest
 * chose directed EOI (§10.8.5). The map adds edge-triggered ones somebody in
 * the kernel waits for.
 */
static void lapic_eoi_done(struct kiln_lapic *lapic, u8 vector)
{
	bool level = lapic_vec_test(lapic, APIC_TMR, vector);

	if (!level && !(lapic->eoi_map[vector / 64] & BIT_ULL(vector % 64)))
		return;
	if (level && (lapic_reg(lapic, APIC_SPIV) & APIC_SPIV_DIRECTED_EOI))
		return;
	ioapic_eoi(lapic->vcpu->vm->irq.ioapic, vector);
}

static void __lapic_eoi(struct kiln_lapic *lapic)
{
	int vector = __lapic_max_isr(lapic);

	if (vector < 0)
		return;
	lapic_vec_clear(lapic, APIC_ISR, vector);
	lapic_update_ppr(lapic);
	if (lapic->irr_maybe)
		lapic_self_event(lapic);
	lapic_eoi_done(lapic, vector);
}

void lapic_eoi(struct kiln_vcpu *vcpu)
{
	__lapic_eoi(vcpu->lapic);
}

KILN_EXPORT_FOR_KUNIT(lapic_eoi);

void lapic_eoi_induced(struct kiln_vcpu *vcpu, u8 vector)
{
	lapic_eoi_done(vcpu->lapic, vector);
}

KILN_EXPORT_FOR_KUNIT(lapic_eoi_induced);

/*
 * Beside what the I/O APIC is programmed to send, level-triggered vectors on
 * their way or in service count: the table may have changed since they left.
 */
void lapic_eoi_exit_map(struct kiln_vcpu *vcpu, u64 map[4])
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u32 active;
	int i;

	__lapic_sync(lapic);
	memset(map, 0, sizeof(lapic->eoi_map));
	for (i = 0; i < 8; i++) {
		active = lapic_reg(lapic, APIC_TMR + i * 16) &
			 (lapic_reg(lapic, APIC_IRR + i * 16) |
			  lapic_reg(lapic, APIC_ISR + i * 16));
		map[i / 2] |= (u64)active << (i % 2 * 32);
	}
	lapic->eoi_edge = ioapic_eoi_map(vcpu->vm->irq.ioapic, lapic, map);
	memcpy(lapic->eoi_map, map, sizeof(lapic->eoi_map));
}

KILN_EXPORT_FOR_KUNIT(lapic_eoi_exit_map);

/* ---------------------------------------------------- local interrupts */

int lapic_local_deliver(struct kiln_vcpu *vcpu, u32 lvt)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u32 entry = lapic_reg(lapic, lvt);

	if (entry & APIC_LVT_MASKED)
		return 0;
	switch (entry & APIC_MODE_MASK) {
	case APIC_DM_FIXED:
		lapic_post(lapic, entry & APIC_VECTOR_MASK, false);
		return 1;
	case APIC_DM_NMI:
		kiln_vcpu_nmi(vcpu);
		return 1;
	default:
		return 0;
	}
}

KILN_EXPORT_FOR_KUNIT(lapic_local_deliver);

/*
 * One interrupt per kind of error until the ESR is written (§10.5.3), so an
 * illegal vector in the LVT error entry itself ends here.
 */
void lapic_error(struct kiln_lapic *lapic, u32 esr_bit)
{
	if (!(atomic_fetch_or(esr_bit, &lapic->errors) & esr_bit))
		lapic_local_deliver(lapic->vcpu, APIC_LVTERR);
}

bool lapic_listens_to_pic(const struct kiln_lapic *lapic)
{
	u32 lvt0;

	if (!(READ_ONCE(lapic->base) & KILN_APIC_BASE_EN))
		return true;
	lvt0 = lapic_reg(lapic, APIC_LVT0);
	return (lvt0 & (APIC_LVT_MASKED | APIC_MODE_MASK)) == APIC_DM_EXTINT;
}

int lapic_take_init_sipi(struct kiln_vcpu *vcpu, u8 *vector)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	int events = atomic_xchg(&lapic->events, 0);

	if (events & KILN_LAPIC_SIPI)
		*vector = READ_ONCE(lapic->sipi_vector);
	return events;
}

KILN_EXPORT_FOR_KUNIT(lapic_take_init_sipi);

/* ----------------------------------------------------------- registers */

enum {
	R = BIT(0),	/* readable by MMIO */
	W = BIT(1),	/* writable by MMIO */
	X2R = BIT(2),	/* RDMSR in x2APIC mode */
	X2W = BIT(3),	/* WRMSR in x2APIC mode */
};

/**
 * struct lapic_reg_desc - a register
 * @access: R, W, X2R, X2W; 0: reserved
 * @mask: bits that can be written
 * @ignored: further bits that do not make WRMSR fault
 * @write: what a write causes; NULL: the masked value is stored
 */
struct lapic_reg_desc {
	u8 access;
	u32 mask;
	u32 ignored;
	void (*write)(struct kiln_lapic *lapic, u32 offset, u32 val);
};

/* The ID is read-only; a trapped write has changed the page already. */
static void write_id(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_set_ids(lapic);
}

static void write_tpr(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_set_reg(lapic, APIC_TASKPRI, val);
	lapic_update_ppr(lapic);
	if (lapic->irr_maybe)
		lapic_self_event(lapic);
}

static void write_eoi(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	__lapic_eoi(lapic);
}

/* A logical id decides which I/O APIC pins are ours. */
static void write_logical(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	if (offset == APIC_DFR)
		val |= ~APIC_DFR_BITS;
	lapic_set_reg(lapic, offset, val);
	set_bit(KILN_REQ_EOI_MAP, &lapic->vcpu->requests);
}

/* Software-disabling masks all LVT entries (§10.4.7.2). */
static void write_svr(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	int i;

	lapic_set_reg(lapic, APIC_SPIV, val);
	WRITE_ONCE(lapic->sw_enabled, !!(val & APIC_SPIV_APIC_ENABLED));
	if (lapic->sw_enabled)
		return;
	for (i = 0; i < ARRAY_SIZE(lvt_entries); i++)
		lapic_set_reg(lapic, lvt_entries[i],
			      lapic_reg(lapic, lvt_entries[i]) |
			      APIC_LVT_MASKED);
}

static void write_esr(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_set_reg(lapic, APIC_ESR, atomic_xchg(&lapic->errors, 0));
}

static void write_icr(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_set_reg(lapic, APIC_ICR, val);
	lapic_send_ipi(lapic, val, lapic_reg(lapic, APIC_ICR2) >> 24);
}

static void write_self_ipi(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_send_ipi(lapic, APIC_DEST_SELF | val, 0);
}

static void write_lvt(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	if (!lapic->sw_enabled)
		val |= APIC_LVT_MASKED;
	if (offset == APIC_LVTT)
		lapic_timer_write_lvt(lapic, val);
	else
		lapic_set_reg(lapic, offset, val);
	/* LINT0 may have become the PIC's way in. */
	if (offset == APIC_LVT0)
		lapic_self_event(lapic);
}

static void write_timer_initial(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_timer_write_initial(lapic, val);
}

static void write_timer_divide(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	lapic_timer_write_divide(lapic, val);
}

#define LVT(reg, bits) \
	[(reg) >> 4] = { R | W | X2R | X2W, bits, LVT_READ_ONLY, write_lvt }

/*
 * SDM vol. 3 tables 10-1 and 10-6. All bits of the xAPIC ICR but Delivery
 * Status can be read back: KVM lets guests see what they wrote there.
 */
static const struct lapic_reg_desc lapic_regs[LAPIC_NR_REGS] = {
	[APIC_ID >> 4]		= { R | W | X2R, 0, 0, write_id },
	[APIC_LVR >> 4]		= { R | X2R },
	[APIC_TASKPRI >> 4]	= { R | W | X2R | X2W, APIC_TPRI_MASK, 0,
				    write_tpr },
	[APIC_ARBPRI >> 4]	= { R },
	[APIC_PROCPRI >> 4]	= { R | X2R },
	[APIC_EOI >> 4]		= { W | X2W, 0, 0, write_eoi },
	[APIC_RRR >> 4]		= { R },
	[APIC_LDR >> 4]		= { R | W | X2R, APIC_LDR_MASK, 0,
				    write_logical },
	[APIC_DFR >> 4]		= { R | W, APIC_DFR_BITS, 0, write_logical },
	[APIC_SPIV >> 4]	= { R | W | X2R | X2W, SVR_BITS, 0, write_svr },
	/* ISR, TMR, IRR */
	[APIC_ISR >> 4 ... (APIC_IRR >> 4) + 7] = { R | X2R },
	[APIC_ESR >> 4]		= { R | W | X2R | X2W, 0, 0, write_esr },
	[APIC_ICR >> 4]		= { R | W | X2R | X2W, (u32)~APIC_ICR_BUSY, 0,
				    write_icr },
	[APIC_ICR2 >> 4]	= { R | W, APIC_LDR_MASK },
	LVT(APIC_LVTT, LVT_TIMER),
	LVT(APIC_LVTTHMR, LVT_MODE),
	LVT(APIC_LVTPC, LVT_MODE),
	LVT(APIC_LVT0, LVT_PIN),
	LVT(APIC_LVT1, LVT_PIN),
	LVT(APIC_LVTERR, LVT_COMMON),
	[APIC_TMICT >> 4]	= { R | W | X2R | X2W, U32_MAX, 0,
				    write_timer_initial },
	[APIC_TMCCT >> 4]	= { R | X2R },
	[APIC_TDCR >> 4]	= { R | W | X2R | X2W, 0xb, 0,
				    write_timer_divide },
	[APIC_SELF_IPI >> 4]	= { X2W, APIC_VECTOR_MASK, 0, write_self_ipi },
};

static const struct lapic_reg_desc *lapic_reg_desc(u32 offset, u8 access)
{
	const struct lapic_reg_desc *desc;

	if (offset >= LAPIC_NR_REGS << 4)
		return NULL;
	desc = &lapic_regs[array_index_nospec(offset >> 4, LAPIC_NR_REGS)];
	return desc->access & access ? desc : NULL;
}

u32 lapic_writable_bits(u32 offset)
{
	const struct lapic_reg_desc *desc = lapic_reg_desc(offset, W);

	return desc ? desc->mask : 0;
}

static void lapic_write_reg(struct kiln_lapic *lapic,
			    const struct lapic_reg_desc *desc, u32 offset,
			    u32 val)
{
	offset &= ~0xfu;
	if (desc->write)
		desc->write(lapic, offset, val & desc->mask);
	else
		lapic_set_reg(lapic, offset, val & desc->mask);
}

static u32 lapic_read_reg(struct kiln_lapic *lapic, u32 offset)
{
	switch (offset) {
	case APIC_TMCCT:
		return lapic_timer_current(lapic);
	case APIC_PROCPRI:
		return lapic_update_ppr(lapic);
	case APIC_IRR ... APIC_IRR + 0x7f:
		__lapic_sync(lapic);
		break;
	}
	return lapic_reg(lapic, offset);
}

bool lapic_mmio_active(struct kiln_vcpu *vcpu, u64 gpa)
{
	const struct kiln_lapic *lapic = vcpu->lapic;

	if (!lapic)
		return false;
	return (lapic->base & (KILN_APIC_BASE_EN | KILN_APIC_BASE_EXTD)) ==
	       KILN_APIC_BASE_EN && !((gpa ^ lapic->base) & PAGE_MASK);
}

KILN_EXPORT_FOR_KUNIT(lapic_mmio_active);

/* Only the first 4 of each 16 bytes hold a register (§10.4.1). */
void lapic_mmio_read(struct kiln_vcpu *vcpu, u32 offset, u32 *val)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	*val = 0;
	if (offset & 0xf)
		return;
	if (lapic_reg_desc(offset, R))
		*val = lapic_read_reg(lapic, offset);
	else if (offset != APIC_EOI)
		lapic_error(lapic, APIC_ESR_ILLREGA);
}

KILN_EXPORT_FOR_KUNIT(lapic_mmio_read);

void lapic_mmio_write(struct kiln_vcpu *vcpu, u32 offset, u32 val)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	const struct lapic_reg_desc *desc;

	if (offset & 0xf)
		return;
	desc = lapic_reg_desc(offset, W);
	if (desc)
		lapic_write_reg(lapic, desc, offset, val);
	else if (!lapic_reg_desc(offset, R))
		lapic_error(lapic, APIC_ESR_ILLREGA);
}

KILN_EXPORT_FOR_KUNIT(lapic_mmio_write);

void lapic_write_trap(struct kiln_vcpu *vcpu, u32 offset)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	const struct lapic_reg_desc *desc = lapic_reg_desc(offset, W | X2W);

	if (!desc)
		return;
	if (offset == APIC_ICR && lapic_x2apic_mode(lapic))
		x2apic_write_icr(lapic, *(u64 *)(lapic->page + APIC_ICR) &
				 ~X2APIC_ICR_RESERVED);
	else
		lapic_write_reg(lapic, desc, offset, lapic_reg(lapic, offset));
}

KILN_EXPORT_FOR_KUNIT(lapic_write_trap);

/* The guest's number may get here by a guess of the processor's. */
static u32 x2apic_offset(u32 msr)
{
	return array_index_nospec(msr - APIC_BASE_MSR, X2APIC_NR_MSRS) << 4;
}

/* The current count is computed; what cannot be read must fault. */
bool lapic_x2apic_in_page(u32 msr)
{
	u32 offset = x2apic_offset(msr);

	return offset != APIC_TMCCT && lapic_reg_desc(offset, X2R);
}

KILN_EXPORT_FOR_KUNIT(lapic_x2apic_in_page);

int lapic_x2apic_read(struct kiln_vcpu *vcpu, u32 msr, u64 *val)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u32 offset = x2apic_offset(msr);

	if (!lapic || !lapic_x2apic_mode(lapic) ||
	    !lapic_reg_desc(offset, X2R))
		return 1;
	if (offset == APIC_ICR)
		*val = READ_ONCE(*(u64 *)(lapic->page + APIC_ICR));
	else
		*val = lapic_read_reg(lapic, offset);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_x2apic_read);

int lapic_x2apic_write(struct kiln_vcpu *vcpu, u32 msr, u64 val)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u32 offset = x2apic_offset(msr);
	const struct lapic_reg_desc *desc;

	if (!lapic || !lapic_x2apic_mode(lapic))
		return 1;
	if (offset == APIC_ICR)
		return x2apic_write_icr(lapic, val);
	desc = lapic_reg_desc(offset, X2W);
	if (!desc || (val & ~(u64)(desc->mask | desc->ignored)))
		return 1;
	lapic_write_reg(lapic, desc, offset, val);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_x2apic_write);

/* --------------------------------------------------------- TPR and CR8 */

u64 lapic_get_cr8(struct kiln_vcpu *vcpu)
{
	return (lapic_reg(vcpu->lapic, APIC_TASKPRI) & APIC_TPRI_MASK) >> 4;
}

KILN_EXPORT_FOR_KUNIT(lapic_get_cr8);

void lapic_set_cr8(struct kiln_vcpu *vcpu, u64 cr8)
{
	write_tpr(vcpu->lapic, APIC_TASKPRI, (cr8 & 0xf) << 4);
}

KILN_EXPORT_FOR_KUNIT(lapic_set_cr8);

u32 lapic_tpr_threshold(struct kiln_vcpu *vcpu)
{
	struct kiln_lapic *lapic = vcpu->lapic;
	u32 tpr_class = lapic_get_cr8(vcpu);
	int irr = lapic->irr_maybe ? vec_find_highest(lapic, APIC_IRR) : -1;

	return irr >= 0 && irr >> 4 <= tpr_class ? irr >> 4 : 0;
}

KILN_EXPORT_FOR_KUNIT(lapic_tpr_threshold);
