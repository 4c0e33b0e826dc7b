// SPDX-License-Identifier: GPL-2.0-only
/* Who an IPI or a message reaches. */
#include <kunit/test.h>

#include "irqchip_test.h"
#include "private.h"

#define VECTOR	0x99

/* Which vCPUs have VECTOR pending: a bit each. It is taken away. */
static u32 reached(struct kiln_vm *vm)
{
	struct kiln_vcpu *vcpu;
	u32 who = 0;
	int i;

	kiln_for_each_vcpu(i, vcpu, vm) {
		if (fake_take_irq(vcpu) == VECTOR) {
			who |= BIT(i);
			lapic_eoi(vcpu);
		}
	}
	return who;
}

static void send_xapic(struct kiln_vm *vm, int from, u32 icr, u8 dest)
{
	lapic_mmio_write(vm->vcpus[from], APIC_ICR2, (u32)dest << 24);
	lapic_mmio_write(vm->vcpus[from], APIC_ICR, icr);
}

static int send_x2apic(struct kiln_vm *vm, int from, u32 icr, u32 dest)
{
	return lapic_x2apic_write(vm->vcpus[from], 0x830,
				  (u64)dest << 32 | icr);
}

static void all_enter_x2apic(struct kiln_vm *vm)
{
	struct kiln_vcpu *vcpu;
	int i;

	kiln_for_each_vcpu(i, vcpu, vm)
		lapic_set_base(vcpu, lapic_base(vcpu) | KILN_APIC_BASE_EXTD,
			       false);
}

static void physical_destination(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int to;

	for (to = 0; to < FAKE_NR_VCPUS; to++) {
		send_xapic(vm, 1, VECTOR, to);
		KUNIT_EXPECT_EQ(test, reached(vm), (u32)BIT(to));
	}
	send_xapic(vm, 1, VECTOR, 9);
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
	send_xapic(vm, 1, VECTOR, 0xff);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xfu);
}

static void shorthands(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	send_xapic(vm, 2, VECTOR | APIC_DEST_SELF, 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x4u);
	send_xapic(vm, 2, VECTOR | APIC_DEST_ALLINC, 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xfu);
	send_xapic(vm, 2, VECTOR | APIC_DEST_ALLBUT, 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xbu);
}

static void flat_logical_destination(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int i;

	for (i = 0; i < FAKE_NR_VCPUS; i++)
		lapic_mmio_write(vm->vcpus[i], APIC_LDR, BIT(24 + i));
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0xa);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xau);
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0xff);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xfu);
}

static void cluster_logical_destination(struct kunit *test)
{
	static const u8 ldr[FAKE_NR_VCPUS] = { 0x11, 0x12, 0x21, 0x22 };
	struct kiln_vm *vm = test->priv;
	int i;

	for (i = 0; i < FAKE_NR_VCPUS; i++) {
		lapic_mmio_write(vm->vcpus[i], APIC_DFR, 0x0fffffff);
		lapic_mmio_write(vm->vcpus[i], APIC_LDR, (u32)ldr[i] << 24);
	}
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0x23);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xcu);
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0x12);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x2u);
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0xf1);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x5u);
}

static void x2apic_destinations(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	vm->vcpus[3]->id = 0x25;
	all_enter_x2apic(vm);
	KUNIT_EXPECT_EQ(test, send_x2apic(vm, 0, VECTOR, 0x25), 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x8u);
	send_x2apic(vm, 0, VECTOR, 0xff);	/* no broadcast */
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
	send_x2apic(vm, 0, VECTOR, 0xffffffff);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xfu);
	send_x2apic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0x6);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x6u);
	send_x2apic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0x2ffff);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x8u);
	send_x2apic(vm, 0, VECTOR | APIC_DEST_LOGICAL, 0xffffffff);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xfu);
	vm->vcpus[3]->id = 3;
}

static void self_ipi_register(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	all_enter_x2apic(vm);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vm->vcpus[1], 0x83f, VECTOR),
			0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x2u);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_write(vm->vcpus[1], 0x83f,
						 VECTOR | BIT(8)), 1);
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
}

static void fast_path_takes_the_common_cases(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[1];
	u64 to_2 = 2ULL << 32;

	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, to_2 | VECTOR), 1);
	all_enter_x2apic(vm);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, to_2 | VECTOR), 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x4u);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, VECTOR |
						    APIC_DEST_SELF), 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x2u);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, 5ULL << 32 | VECTOR |
						    APIC_DEST_LOGICAL), 0);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x5u);

	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, to_2 | APIC_DM_NMI),
			1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, to_2 | BIT(20)), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, VECTOR |
						    APIC_DEST_ALLBUT), 1);
	KUNIT_EXPECT_EQ(test, lapic_x2apic_icr_fast(vcpu, 0xffffffffULL << 32 |
						    VECTOR), 1);
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
}

static void lowest_priority_reaches_one_enabled(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u32 who;
	int i;

	for (i = 0; i < FAKE_NR_VCPUS; i++)
		lapic_mmio_write(vm->vcpus[i], APIC_LDR, BIT(24 + i));
	lapic_mmio_write(vm->vcpus[1], APIC_SPIV, 0xff);
	for (i = 0; i < 3; i++) {
		send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL | APIC_DM_LOWEST,
			   0x6 + i);
		who = reached(vm);
		KUNIT_EXPECT_EQ(test, hweight32(who), 1u);
		KUNIT_EXPECT_FALSE(test, who & ~(0x6 + i));
		KUNIT_EXPECT_FALSE(test, who & BIT(1));
	}
	send_xapic(vm, 0, VECTOR | APIC_DEST_LOGICAL | APIC_DM_LOWEST, 0x2);
	KUNIT_EXPECT_EQ(test, reached(vm), 0u);
}

static void illegal_vector_is_not_sent(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u32 esr;

	send_xapic(vm, 1, 15, 2);
	lapic_mmio_write(vm->vcpus[1], APIC_ESR, 0);
	lapic_mmio_read(vm->vcpus[1], APIC_ESR, &esr);
	KUNIT_EXPECT_EQ(test, esr, (u32)APIC_ESR_SENDILL);
	KUNIT_EXPECT_EQ(test, lapic_sync(vm->vcpus[2]), -1);
}

static void nmi_reaches_a_disabled_apic(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	lapic_mmio_write(vm->vcpus[2], APIC_SPIV, 0xff);
	send_xapic(vm, 1, APIC_DM_NMI, 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[2]->nmi_queued), 1);
	send_xapic(vm, 1, APIC_DM_NMI | APIC_DEST_ALLBUT, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[0]->nmi_queued), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[1]->nmi_queued), 0);
}

static void init_and_sipi_wait_for_the_vcpu(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *ap = vm->vcpus[2];
	u8 vector = 0;

	send_xapic(vm, 0, APIC_DM_INIT | APIC_INT_ASSERT, 2);
	KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_EVENT, &ap->requests));
	KUNIT_EXPECT_TRUE(test, lapic_init_sipi_pending(ap->lapic));
	send_xapic(vm, 0, APIC_DM_STARTUP | 0x9a, 2);
	KUNIT_EXPECT_EQ(test, lapic_take_init_sipi(ap, &vector),
			(int)(KILN_LAPIC_INIT | KILN_LAPIC_SIPI));
	KUNIT_EXPECT_EQ(test, vector, 0x9a);
	KUNIT_EXPECT_EQ(test, lapic_take_init_sipi(ap, &vector), 0);

	/* An INIT after a SIPI cancels it; a level de-assert is nothing. */
	send_xapic(vm, 0, APIC_DM_STARTUP | 0x9a, 2);
	send_xapic(vm, 0, APIC_DM_INIT | APIC_INT_ASSERT, 2);
	send_xapic(vm, 0, APIC_DM_INIT | APIC_INT_LEVELTRIG, 3);
	KUNIT_EXPECT_EQ(test, lapic_take_init_sipi(ap, &vector),
			(int)KILN_LAPIC_INIT);
	KUNIT_EXPECT_FALSE(test, lapic_init_sipi_pending(vm->vcpus[3]->lapic));
}

static void apic_that_is_off_is_not_there(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	lapic_set_base(vm->vcpus[2], KILN_APIC_BASE_DEFAULT, false);
	send_xapic(vm, 0, VECTOR | APIC_DEST_ALLINC, 0);
	send_xapic(vm, 0, APIC_DM_NMI, 2);
	KUNIT_EXPECT_EQ(test, reached(vm), 0xbu);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[2]->nmi_queued), 0);
}

static void device_message_reaches_x2apic_ids(struct kunit *test)
{
	struct lapic_msg msg = { .vector = VECTOR, .logical = true };
	struct kiln_vm *vm = test->priv;

	all_enter_x2apic(vm);
	msg.dest = 0x5;
	KUNIT_EXPECT_EQ(test, lapic_deliver(vm, &msg), 2);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x5u);
	msg.logical = false;
	KUNIT_EXPECT_LT(test, lapic_deliver(vm, &msg), 0);
	msg.dest = 3;
	KUNIT_EXPECT_EQ(test, lapic_deliver(vm, &msg), 1);
	KUNIT_EXPECT_EQ(test, reached(vm), 0x8u);
}

static void level_message_sets_the_tmr(struct kunit *test)
{
	struct lapic_msg msg = { .vector = VECTOR, .level = true, .dest = 1 };
	struct kiln_vm *vm = test->priv;
	struct kiln_lapic *lapic = vm->vcpus[1]->lapic;

	lapic_deliver(vm, &msg);
	KUNIT_EXPECT_TRUE(test, lapic_vec_test(lapic, APIC_TMR, VECTOR));
	reached(vm);
	msg.level = false;
	lapic_deliver(vm, &msg);
	KUNIT_EXPECT_FALSE(test, lapic_vec_test(lapic, APIC_TMR, VECTOR));
}

static void remote_post_asks_the_vcpu_to_look(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[2];

	vcpu->requests = 0;
	send_xapic(vm, 1, VECTOR, 2);
	KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_EVENT, &vcpu->requests));
	KUNIT_EXPECT_TRUE(test, lapic_posted(vcpu->lapic));
	lapic_sync(vcpu);
	KUNIT_EXPECT_FALSE(test, lapic_posted(vcpu->lapic));
}

static struct kunit_case lapic_ipi_cases[] = {
	KUNIT_CASE(physical_destination),
	KUNIT_CASE(shorthands),
	KUNIT_CASE(flat_logical_destination),
	KUNIT_CASE(cluster_logical_destination),
	KUNIT_CASE(x2apic_destinations),
	KUNIT_CASE(self_ipi_register),
	KUNIT_CASE(fast_path_takes_the_common_cases),
	KUNIT_CASE(lowest_priority_reaches_one_enabled),
	KUNIT_CASE(illegal_vector_is_not_sent),
	KUNIT_CASE(nmi_reaches_a_disabled_apic),
	KUNIT_CASE(init_and_sipi_wait_for_the_vcpu),
	KUNIT_CASE(apic_that_is_off_is_not_there),
	KUNIT_CASE(device_message_reaches_x2apic_ids),
	KUNIT_CASE(level_message_sets_the_tmr),
	KUNIT_CASE(remote_post_asks_the_vcpu_to_look),
	{}
};

struct kunit_suite lapic_ipi_suite = {
	.name = "kiln-lapic-ipi",
	.init = fake_vm_init,
	.exit = fake_vm_exit,
	.test_cases = lapic_ipi_cases,
};
