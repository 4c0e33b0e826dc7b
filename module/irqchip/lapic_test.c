// SPDX-License-Identifier: GPL-2.0-only
/* The local APIC: registers, priorities, modes, state, timer. */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/prandom.h>

#include "irqchip_test.h"
#include "private.h"

#define BASE_XAPIC	(KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EN)
#define BASE_X2APIC	(BASE_XAPIC | KILN_APIC_BASE_EXTD)
#define BASE_OFF	KILN_APIC_BASE_DEFAULT

static struct kiln_vcpu *vcpu_of(struct kunit *test, int n)
{
	struct kiln_vm *vm = test->priv;

	return vm->vcpus[n];
}

static u32 reg(struct kiln_vcpu *vcpu, u32 offset)
{
	u32 val;

	lapic_mmio_read(vcpu, offset, &val);
	return val;
}

static void enter_x2apic(struct kiln_vcpu *vcpu)
{
	lapic_set_base(vcpu, lapic_base(vcpu) | KILN_APIC_BASE_EXTD, false);
}

static void reset_state(struct kunit *test)
{
	struct kiln_vcpu *bsp = vcpu_of(test, 0), *ap = vcpu_of(test, 1);

	lapic_reset(bsp, false);
	lapic_reset(ap, false);
	KUNIT_EXPECT_EQ(test, lapic_base(bsp), BASE_XAPIC | KILN_APIC_BASE_BSP);
	KUNIT_EXPECT_EQ(test, lapic_base(ap), BASE_XAPIC);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_ID), 1u << 24);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_LVR), 0x01050014u);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_SPIV), 0xffu);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_DFR), 0xffffffffu);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_LDR), 0u);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_TASKPRI), 0u);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_LVTT), (u32)APIC_LVT_MASKED);
	KUNIT_EXPECT_EQ(test, reg(ap, APIC_LVT0), (u32)APIC_LVT_MASKED);
	KUNIT_EXPECT_EQ(test, reg(bsp, APIC_LVT0), (u32)APIC_DM_EXTINT);
}

static void init_keeps_mode_and_address(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	enter_x2apic(vcpu);
	lapic_post(vcpu->lapic, 0x40, false);
	lapic_reset(vcpu, true);
	KUNIT_EXPECT_EQ(test, lapic_base(vcpu), BASE_X2APIC);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	KUNIT_EXPECT_FALSE(test, vcpu->lapic->sw_enabled);
}

static void highest_vector_first(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_post(vcpu->lapic, 0x31, false);
	lapic_post(vcpu->lapic, 0xef, false);
	lapic_post(vcpu->lapic, 0x80, false);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), 0xef);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0xef);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_PROCPRI), 0xe0u);
	/* The same class and lower ones wait for the EOI. */
	lapic_post(vcpu->lapic, 0xe1, false);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
	lapic_post(vcpu->lapic, 0xf0, false);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0xf0);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(vcpu), 0xef);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0xe1);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x80);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x31);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(vcpu), -1);
	lapic_eoi(vcpu);	/* one too many */
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_PROCPRI), 0u);
}

static void every_vector_makes_the_round(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 2);
	int v;

	for (v = LAPIC_FIRST_VECTOR; v < LAPIC_NR_VECTORS; v++) {
		KUNIT_ASSERT_EQ(test, lapic_post(vcpu->lapic, v, false), 1);
		KUNIT_ASSERT_EQ(test, lapic_post(vcpu->lapic, v, false), 0);
		KUNIT_ASSERT_EQ(test, fake_take_irq(vcpu), v);
		KUNIT_ASSERT_EQ(test, lapic_max_isr(vcpu), v);
		lapic_eoi(vcpu);
		KUNIT_ASSERT_EQ(test, lapic_max_isr(vcpu), -1);
	}
}

static void task_priority_masks(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_set_cr8(vcpu, 5);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TASKPRI), 0x50u);
	lapic_post(vcpu->lapic, 0x5f, false);
	KUNIT_EXPECT_EQ(test, lapic_pending(vcpu), -1);
	KUNIT_EXPECT_EQ(test, lapic_tpr_threshold(vcpu), 5u);
	lapic_set_cr8(vcpu, 4);
	KUNIT_EXPECT_EQ(test, lapic_pending(vcpu), 0x5f);
	KUNIT_EXPECT_EQ(test, lapic_tpr_threshold(vcpu), 0u);
	KUNIT_EXPECT_EQ(test, lapic_get_cr8(vcpu), 4ULL);
}

static void disabled_apic_accepts_nothing(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_SPIV, 0xff);
	KUNIT_EXPECT_LT(test, lapic_post(vcpu->lapic, 0x40, false), 0);
	lapic_mmio_write(vcpu, APIC_SPIV, 0x1ff);
	KUNIT_EXPECT_EQ(test, lapic_post(vcpu->lapic, 0x40, false), 1);
	/* Once accepted it is held and still delivered (SDM 10.4.7.2). */
	lapic_mmio_write(vcpu, APIC_SPIV, 0xff);
	KUNIT_EXPECT_EQ(test, lapic_pending(vcpu), 0x40);
	lapic_set_base(vcpu, BASE_OFF, false);
	KUNIT_EXPECT_EQ(test, lapic_pending(vcpu), -1);
}

static void disabling_masks_the_local_vectors(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_LVT1, APIC_DM_NMI);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVT1), (u32)APIC_DM_NMI);
	lapic_mmio_write(vcpu, APIC_SPIV, 0xff);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVT1),
			(u32)(APIC_DM_NMI | APIC_LVT_MASKED));
	lapic_mmio_write(vcpu, APIC_LVT1, APIC_DM_NMI);
	KUNIT_EXPECT_TRUE(test, reg(vcpu, APIC_LVT1) & APIC_LVT_MASKED);
}

static void local_nmi(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	KUNIT_EXPECT_EQ(test, lapic_local_deliver(vcpu, APIC_LVTPC), 0);
	lapic_mmio_write(vcpu, APIC_LVTPC, APIC_DM_NMI);
	KUNIT_EXPECT_EQ(test, lapic_local_deliver(vcpu, APIC_LVTPC), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&vcpu->nmi_queued), 1);
}

static void errors_are_latched_by_a_write(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_LVTERR, 0xfe);
	reg(vcpu, 0x40);		/* reserved */
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ESR), 0u);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0xfe);
	lapic_eoi(vcpu);
	lapic_mmio_write(vcpu, 0x3d0, 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
	lapic_mmio_write(vcpu, APIC_ESR, 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ESR), (u32)APIC_ESR_ILLREGA);
	lapic_mmio_write(vcpu, APIC_ESR, 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ESR), 0u);
	lapic_post(vcpu->lapic, 15, false);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0xfe);
	lapic_mmio_write(vcpu, APIC_ESR, 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ESR), (u32)APIC_ESR_RECVILL);
}

static void illegal_error_vector_does_not_recurse(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_LVTERR, 3);
	reg(vcpu, 0x40);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
	lapic_mmio_write(vcpu, APIC_ESR, 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ESR),
			(u32)(APIC_ESR_ILLREGA | APIC_ESR_RECVILL));
}

static void read_only_registers_stay(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_ID, 0x07000000);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ID), 1u << 24);
	lapic_mmio_write(vcpu, APIC_LVR, 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVR), 0x01050014u);
	lapic_mmio_write(vcpu, APIC_IRR + 0x10, 0xffffffff);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
}

static void trapped_writes_are_put_right(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_set_reg(vcpu->lapic, APIC_ID, 0x09000000);
	lapic_write_trap(vcpu, APIC_ID);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ID), 1u << 24);
	lapic_set_reg(vcpu->lapic, APIC_LVTT, 0xffffffff);
	lapic_write_trap(vcpu, APIC_LVTT);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVTT), 0x700ffu);
	lapic_set_reg(vcpu->lapic, APIC_DFR, 0);
	lapic_write_trap(vcpu, APIC_DFR);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_DFR), 0x0fffffffu);
	lapic_set_reg(vcpu->lapic, APIC_ICR, APIC_DEST_SELF | 0x44);
	lapic_write_trap(vcpu, APIC_ICR);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x44);
}

static void mmio_page_is_where_the_base_says(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	KUNIT_EXPECT_TRUE(test, lapic_mmio_active(vcpu, 0xfee00300));
	KUNIT_EXPECT_FALSE(test, lapic_mmio_active(vcpu, 0xfee01000));
	KUNIT_EXPECT_EQ(test, lapic_set_base(vcpu, 0x12345000 |
					     KILN_APIC_BASE_EN, false), 0);
	KUNIT_EXPECT_TRUE(test, lapic_mmio_active(vcpu, 0x12345fff));
	enter_x2apic(vcpu);
	KUNIT_EXPECT_FALSE(test, lapic_mmio_active(vcpu, 0x12345000));
	lapic_set_base(vcpu, 0x12345000, false);
	KUNIT_EXPECT_FALSE(test, lapic_mmio_active(vcpu, 0x12345000));
}

static void base_transitions(struct kunit *test)
{
	static const struct {
		u64 from, to;
		int guest, host;
	} moves[] = {
		{ BASE_XAPIC,	BASE_XAPIC,	0, 0 },
		{ BASE_XAPIC,	BASE_X2APIC,	0, 0 },
		{ BASE_XAPIC,	BASE_OFF,	0, 0 },
		{ BASE_X2APIC,	BASE_X2APIC,	0, 0 },
		{ BASE_X2APIC,	BASE_XAPIC,	1, 0 },
		{ BASE_X2APIC,	BASE_OFF,	0, 0 },
		{ BASE_OFF,	BASE_OFF,	0, 0 },
		{ BASE_OFF,	BASE_XAPIC,	0, 0 },
		{ BASE_OFF,	BASE_X2APIC,	1, 0 },
		{ BASE_XAPIC, BASE_OFF | KILN_APIC_BASE_EXTD,	1, 1 },
		{ BASE_X2APIC, BASE_OFF | KILN_APIC_BASE_EXTD,	1, 1 },
		{ BASE_XAPIC, BASE_XAPIC | BIT_ULL(9),		1, 1 },
		{ BASE_XAPIC, BASE_XAPIC | BIT_ULL(0),		1, 1 },
		{ BASE_XAPIC, BASE_XAPIC | BIT_ULL(40),		1, 1 },
		{ BASE_XAPIC, BASE_XAPIC | BIT_ULL(39),		0, 0 },
	};
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	int i, host;

	for (i = 0; i < ARRAY_SIZE(moves); i++) {
		for (host = 0; host < 2; host++) {
			int expected = host ? moves[i].host : moves[i].guest;

			lapic_set_base(vcpu, moves[i].from, true);
			KUNIT_EXPECT_EQ_MSG(test,
					    lapic_set_base(vcpu, moves[i].to,
							   host),
					    expected, "move %d host %d", i,
					    host);
			KUNIT_EXPECT_EQ(test, lapic_base(vcpu),
					expected ? moves[i].from : moves[i].to);
		}
	}
}

static void mode_change_is_announced(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	clear_bit(KILN_REQ_APIC_MODE, &vcpu->requests);
	lapic_set_base(vcpu, lapic_base(vcpu), false);
	KUNIT_EXPECT_FALSE(test, test_bit(KILN_REQ_APIC_MODE, &vcpu->requests));
	enter_x2apic(vcpu);
	KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_APIC_MODE, &vcpu->requests));
}

/* SDM vol. 3 table 10-6: which MSRs there are, and what faults. */
static void x2apic_msrs_fault_as_documented(struct kunit *test)
{
	static const u8 readable[] = {
		0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x28, 0x30, 0x32, 0x33,
		0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e,
	};
	static const u8 writable[] = {
		0x08, 0x0b, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36,
		0x37, 0x38, 0x3e, 0x3f,
	};
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	bool can_read, can_write;
	u64 val;
	int i;

	KUNIT_EXPECT_EQ(test, lapic_x2apic_read(vcpu, 0x802, &val), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x808, 0), 1);
	enter_x2apic(vcpu);
	for (i = 0; i < 0x100; i++) {
		can_read = memchr(readable, i, sizeof(readable)) ||
			   (i >= 0x10 && i < 0x28);
		can_write = memchr(writable, i, sizeof(writable));
		KUNIT_EXPECT_EQ_MSG(test,
				    lapic_x2apic_read(vcpu, 0x800 + i, &val),
				    !can_read, "read %#x", i);
		/* Vector 0 in the self-IPI register is an error, no fault. */
		KUNIT_EXPECT_EQ_MSG(test,
				    lapic_x2apic_write(vcpu, 0x800 + i, 0),
				    !can_write, "write %#x", i);
		KUNIT_EXPECT_EQ_MSG(test,
				    lapic_x2apic_write(vcpu, 0x800 + i,
						       BIT_ULL(32)),
				    !can_write || i != 0x30, "wide %#x", i);
	}
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x808, 0x100), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x80b, 1), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x828, 1), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x830, BIT(20)), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vcpu, 0x83e, 4), 1);
}

static void x2apic_ids(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 3);
	u64 val;

	vcpu->id = 0x123;
	enter_x2apic(vcpu);
	lapic_x2apic_read(vcpu, 0x802, &val);
	KUNIT_EXPECT_EQ(test, val, 0x123ULL);
	lapic_x2apic_read(vcpu, 0x80d, &val);
	KUNIT_EXPECT_EQ(test, val, 0x120008ULL);
	vcpu->id = 3;
}

static void icr_keeps_its_value_over_modes(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	u64 val;

	lapic_mmio_write(vcpu, APIC_ICR2, 0x77000000);
	lapic_mmio_write(vcpu, APIC_ICR, 0x40 | APIC_ICR_BUSY);
	enter_x2apic(vcpu);
	lapic_x2apic_read(vcpu, 0x830, &val);
	KUNIT_EXPECT_EQ(test, val, 0x7700000000000040ULL);
	lapic_set_base(vcpu, BASE_XAPIC, true);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ICR2), 0x77000000u);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ICR), 0x40u);
}

static void state_round_trip(struct kunit *test)
{
	struct kvm_lapic_state *a, *b;
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	int x2apic;

	a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_ASSERT_NOT_NULL(test, b);
	for (x2apic = 0; x2apic < 2; x2apic++) {
		lapic_reset(vcpu, false);
		if (x2apic)
			enter_x2apic(vcpu);
		lapic_set_reg(vcpu->lapic, APIC_SPIV, 0x1ff);
		lapic_write_trap(vcpu, APIC_SPIV);
		lapic_post(vcpu->lapic, 0x81, false);
		lapic_post(vcpu->lapic, 0x91, true);
		fake_take_irq(vcpu);
		lapic_set_cr8(vcpu, 3);
		lapic_send_ipi(vcpu->lapic, 0, 0);
		lapic_get_state(vcpu, a);
		lapic_reset(vcpu, true);
		KUNIT_EXPECT_EQ(test, lapic_set_state(vcpu, a), 0);
		lapic_get_state(vcpu, b);
		KUNIT_EXPECT_EQ(test, memcmp(a, b, sizeof(*a)), 0);
		KUNIT_EXPECT_EQ(test, lapic_max_isr(vcpu), 0x91);
		KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), 0x81);
		KUNIT_EXPECT_EQ(test, *(u32 *)(a->regs + APIC_ID), 1u << 24);
	}
}

static void state_with_a_foreign_id_is_refused(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	struct kvm_lapic_state *state;

	state = kunit_kzalloc(test, sizeof(*state), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, state);
	lapic_post(vcpu->lapic, 0x81, false);
	lapic_get_state(vcpu, state);
	*(u32 *)(state->regs + APIC_ID) = 2u << 24;
	memset(state->regs + APIC_IRR, 0, 0x80);
	KUNIT_EXPECT_EQ(test, lapic_set_state(vcpu, state), -EINVAL);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), 0x81);
}

static void hostile_state_is_cut_to_size(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	struct kvm_lapic_state *state;

	state = kunit_kzalloc(test, sizeof(*state), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, state);
	lapic_timer_use_hw(vcpu, true);
	memset(state, 0xff, sizeof(*state));
	*(u32 *)(state->regs + APIC_ID) = 1u << 24;
	KUNIT_EXPECT_EQ(test, lapic_set_state(vcpu, state), 0);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVR), 0x01050014u);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TASKPRI), 0xffu);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_LVTERR), 0x100ffu);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TDCR), 0xbu);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_ICR2), 0xff000000u);
	KUNIT_EXPECT_EQ(test, *(u32 *)(vcpu->lapic->page + 0x40), 0u);
}

/* --------------------------------------------------------------- timer */

static void one_shot_counts_down_and_fires_once(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	u32 count;

	lapic_mmio_write(vcpu, APIC_LVTT, 0x60);
	lapic_mmio_write(vcpu, APIC_TDCR, APIC_TDR_DIV_16);
	lapic_mmio_write(vcpu, APIC_TMICT, 500000);	/* 8 ms */
	count = reg(vcpu, APIC_TMCCT);
	KUNIT_EXPECT_LE(test, count, 500000u);
	KUNIT_EXPECT_GT(test, count, 0u);
	msleep(40);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TMCCT), 0u);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x60);
	lapic_eoi(vcpu);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	KUNIT_EXPECT_EQ(test, lapic_timer_deadline(vcpu), 0ULL);
}

static void periodic_fires_again(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	int i;

	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | APIC_LVT_TIMER_PERIODIC);
	lapic_mmio_write(vcpu, APIC_TDCR, APIC_TDR_DIV_1);
	lapic_mmio_write(vcpu, APIC_TMICT, 2000000);
	for (i = 0; i < 3; i++) {
		msleep(20);
		KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x60);
		KUNIT_EXPECT_GT(test, reg(vcpu, APIC_TMCCT), 0u);
		lapic_eoi(vcpu);
	}
	lapic_mmio_write(vcpu, APIC_TMICT, 0);
	fake_take_irq(vcpu);
	lapic_eoi(vcpu);
	msleep(20);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
}

static void masked_timer_is_silent(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | APIC_LVT_MASKED);
	lapic_mmio_write(vcpu, APIC_TDCR, APIC_TDR_DIV_1);
	lapic_mmio_write(vcpu, APIC_TMICT, 1000);
	msleep(20);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TMCCT), 0u);
}

static void tsc_deadline_fires_and_disarms(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	u64 deadline;

	lapic_set_tscdeadline(vcpu, 1);		/* not in that mode */
	KUNIT_EXPECT_EQ(test, lapic_get_tscdeadline(vcpu), 0ULL);
	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | LAPIC_LVT_TSCDEADLINE);
	lapic_mmio_write(vcpu, APIC_TMICT, 1000);
	KUNIT_EXPECT_EQ(test, reg(vcpu, APIC_TMICT), 0u);

	deadline = kiln_guest_tsc(vcpu) + (u64)tsc_khz * 500;
	lapic_set_tscdeadline(vcpu, deadline);
	KUNIT_EXPECT_EQ(test, lapic_get_tscdeadline(vcpu), deadline);
	KUNIT_EXPECT_EQ(test, lapic_timer_deadline(vcpu), deadline);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	lapic_set_tscdeadline(vcpu, 1);		/* long ago */
	msleep(20);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x60);
	KUNIT_EXPECT_EQ(test, lapic_get_tscdeadline(vcpu), 0ULL);
	lapic_set_tscdeadline(vcpu, U64_MAX);
	lapic_mmio_write(vcpu, APIC_LVTT, 0x60);
	KUNIT_EXPECT_EQ(test, lapic_get_tscdeadline(vcpu), 0ULL);
}

static void backend_may_watch_the_deadline(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	struct hrtimer *hrtimer = &vcpu->lapic->timer.hrtimer;

	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | LAPIC_LVT_TSCDEADLINE);
	lapic_timer_use_hw(vcpu, true);
	lapic_set_tscdeadline(vcpu, U64_MAX / 2);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(hrtimer));
	lapic_timer_expire(vcpu, 0);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	lapic_timer_use_hw(vcpu, false);
	KUNIT_EXPECT_TRUE(test, hrtimer_active(hrtimer));
	lapic_timer_use_hw(vcpu, true);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(hrtimer));
	lapic_set_tscdeadline(vcpu, 1);
	lapic_timer_expire(vcpu, 0);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x60);
	KUNIT_EXPECT_EQ(test, lapic_timer_deadline(vcpu), 0ULL);
}

static void backend_watches_periodic_too(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	u64 first;

	lapic_timer_use_hw(vcpu, true);
	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | APIC_LVT_TIMER_PERIODIC);
	lapic_mmio_write(vcpu, APIC_TDCR, APIC_TDR_DIV_1);
	/* So long that the next cannot pass before it is looked at. */
	lapic_mmio_write(vcpu, APIC_TMICT, 100000000);
	first = vcpu->lapic->timer.expires;
	msleep(120);
	lapic_timer_expire(vcpu, 0);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), 0x60);
	KUNIT_EXPECT_GT(test, vcpu->lapic->timer.expires, ktime_get_ns());
	KUNIT_EXPECT_EQ(test, (vcpu->lapic->timer.expires - first) % 100000000,
			0ULL);
}

static void short_periods_are_stretched(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);

	lapic_timer_use_hw(vcpu, true);
	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | APIC_LVT_TIMER_PERIODIC);
	lapic_mmio_write(vcpu, APIC_TDCR, APIC_TDR_DIV_1);
	lapic_mmio_write(vcpu, APIC_TMICT, 1);
	KUNIT_EXPECT_EQ(test, vcpu->lapic->timer.period,
			(u64)KILN_MIN_TIMER_PERIOD_NS);
}

static void divisors(struct kunit *test)
{
	static const struct {
		u32 code, divisor;
	} codes[] = {
		{ APIC_TDR_DIV_1, 1 }, { APIC_TDR_DIV_2, 2 },
		{ APIC_TDR_DIV_4, 4 }, { APIC_TDR_DIV_8, 8 },
		{ APIC_TDR_DIV_16, 16 }, { APIC_TDR_DIV_32, 32 },
		{ APIC_TDR_DIV_64, 64 }, { APIC_TDR_DIV_128, 128 },
	};
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	int i;

	lapic_timer_use_hw(vcpu, true);
	lapic_mmio_write(vcpu, APIC_LVTT, 0x60 | APIC_LVT_TIMER_PERIODIC);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		lapic_mmio_write(vcpu, APIC_TDCR, codes[i].code);
		lapic_mmio_write(vcpu, APIC_TMICT, 1000000);
		KUNIT_EXPECT_EQ(test, vcpu->lapic->timer.period,
				1000000ULL * codes[i].divisor);
	}
}

/* Whatever a guest writes where: the invariants of the registers hold. */
static void random_writes_break_nothing(struct kunit *test)
{
	struct kiln_vcpu *vcpu = vcpu_of(test, 1);
	struct rnd_state rnd;
	u64 val;
	u32 offset;
	int i, vector;

	prandom_seed_state(&rnd, 20261122);
	lapic_timer_use_hw(vcpu, true);
	for (i = 0; i < 20000; i++) {
		offset = (prandom_u32_state(&rnd) % 0x110) << 4;
		val = (u64)prandom_u32_state(&rnd) << 32 |
		      prandom_u32_state(&rnd);
		if (i == 10000)
			enter_x2apic(vcpu);
		if (i % 3 == 0)
			lapic_write_trap(vcpu, offset);
		else if (i < 10000)
			lapic_mmio_write(vcpu, offset, val);
		else
			lapic_x2apic_write(vcpu, 0x800 + (offset >> 4), val);
		if (i % 64 == 0)
			lapic_mmio_write(vcpu, APIC_SPIV, 0x1ff);
		lapic_timer_expire(vcpu, 0);
		vector = fake_take_irq(vcpu);
		KUNIT_ASSERT_LT(test, vector, LAPIC_NR_VECTORS);
		if (vector >= 0)
			KUNIT_ASSERT_GE(test, vector, LAPIC_FIRST_VECTOR);
		KUNIT_ASSERT_EQ(test, lapic_reg(vcpu->lapic, APIC_LVR),
				0x01050014u);
		if (i % 5 == 0)
			lapic_eoi(vcpu);
	}
}

static struct kunit_case lapic_cases[] = {
	KUNIT_CASE(reset_state),
	KUNIT_CASE(init_keeps_mode_and_address),
	KUNIT_CASE(highest_vector_first),
	KUNIT_CASE(every_vector_makes_the_round),
	KUNIT_CASE(task_priority_masks),
	KUNIT_CASE(disabled_apic_accepts_nothing),
	KUNIT_CASE(disabling_masks_the_local_vectors),
	KUNIT_CASE(local_nmi),
	KUNIT_CASE(errors_are_latched_by_a_write),
	KUNIT_CASE(illegal_error_vector_does_not_recurse),
	KUNIT_CASE(read_only_registers_stay),
	KUNIT_CASE(trapped_writes_are_put_right),
	KUNIT_CASE(mmio_page_is_where_the_base_says),
	KUNIT_CASE(base_transitions),
	KUNIT_CASE(mode_change_is_announced),
	KUNIT_CASE(x2apic_msrs_fault_as_documented),
	KUNIT_CASE(x2apic_ids),
	KUNIT_CASE(icr_keeps_its_value_over_modes),
	KUNIT_CASE(state_round_trip),
	KUNIT_CASE(state_with_a_foreign_id_is_refused),
	KUNIT_CASE(hostile_state_is_cut_to_size),
	KUNIT_CASE(one_shot_counts_down_and_fires_once),
	KUNIT_CASE(periodic_fires_again),
	KUNIT_CASE(masked_timer_is_silent),
	KUNIT_CASE(tsc_deadline_fires_and_disarms),
	KUNIT_CASE(backend_may_watch_the_deadline),
	KUNIT_CASE(backend_watches_periodic_too),
	KUNIT_CASE(short_periods_are_stretched),
	KUNIT_CASE(divisors),
	KUNIT_CASE(random_writes_break_nothing),
	{}
};

struct kunit_suite lapic_suite = {
	.name = "kiln-lapic",
	.init = fake_vm_init,
	.exit = fake_vm_exit,
	.test_cases = lapic_cases,
};
