// SPDX-License-Identifier: GPL-2.0-only
/* The I/O APIC: pins, redirection table, EOI. */
#include <kunit/test.h>

#include "irqchip_test.h"
#include "private.h"

#define PIN		10
#define VECTOR		0x51
#define REDIR(pin)	(0x10 + 2 * (pin))
#define LEVEL		((u32)IOAPIC_LEVEL)
#define MASKED		((u32)IOAPIC_MASKED)
#define REMOTE_IRR	((u32)IOAPIC_REMOTE_IRR)

static void program_pin(struct kiln_vm *vm, int pin, u8 dest, u32 low)
{
	fake_ioapic_write(vm, REDIR(pin) + 1, (u32)dest << 24);
	fake_ioapic_write(vm, REDIR(pin), low);
}

static int set(struct kiln_vm *vm, bool level)
{
	return ioapic_set_irq(vm->irq.ioapic, PIN, KILN_IRQ_USER, level);
}

static void eoi(struct kiln_vcpu *vcpu)
{
	lapic_mmio_write(vcpu, APIC_EOI, 0);
}

static void edge_is_sent_when_the_line_rises(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[1];

	program_pin(vm, PIN, 1, VECTOR);
	KUNIT_EXPECT_EQ(test, set(vm, true), 1);
	KUNIT_EXPECT_EQ(test, set(vm, true), 0);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[0]), -1);
	eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
	set(vm, false);
	set(vm, true);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
}

static void masked_edge_is_lost(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program_pin(vm, PIN, 1, VECTOR | MASKED);
	KUNIT_EXPECT_LT(test, set(vm, true), 0);
	set(vm, false);
	program_pin(vm, PIN, 1, VECTOR);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[1]), -1);
}

static void level_is_sent_again_after_eoi(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[1];

	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	KUNIT_EXPECT_EQ(test, set(vm, true), 1);
	KUNIT_EXPECT_TRUE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	KUNIT_EXPECT_EQ(test, lapic_sync(vcpu), -1);
	eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	set(vm, false);
	eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
	KUNIT_EXPECT_FALSE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
}

static void level_waits_for_unmasking(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program_pin(vm, PIN, 1, VECTOR | LEVEL | MASKED);
	KUNIT_EXPECT_LT(test, set(vm, true), 0);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[1]), -1);
	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[1]), VECTOR);
}

static void remote_irr_is_read_only_but_edge_clears_it(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program_pin(vm, PIN, 1, VECTOR | LEVEL | REMOTE_IRR);
	KUNIT_EXPECT_FALSE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
	set(vm, true);
	program_pin(vm, PIN, 1, VECTOR | LEVEL | MASKED);
	KUNIT_EXPECT_TRUE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
	program_pin(vm, PIN, 1, VECTOR | MASKED);
	KUNIT_EXPECT_FALSE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
}

static void sources_are_ored(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_ioapic *ioapic = vm->irq.ioapic;
	struct kiln_vcpu *vcpu = vm->vcpus[1];

	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	set(vm, true);
	ioapic_set_irq(ioapic, PIN, KILN_IRQ_RESAMPLE, true);
	set(vm, false);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	ioapic_set_irq(ioapic, PIN, KILN_IRQ_RESAMPLE, false);
	eoi(vcpu);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
}

static void eoi_map_has_level_pins_of_this_vcpu(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u64 map[4];

	program_pin(vm, 3, 1, 0x41);
	program_pin(vm, 4, 1, 0x82 | LEVEL);
	program_pin(vm, 5, 2, 0x93 | LEVEL);
	lapic_eoi_exit_map(vm->vcpus[1], map);
	KUNIT_EXPECT_EQ(test, map[0] | map[1] | map[3], 0ULL);
	KUNIT_EXPECT_EQ(test, map[2], BIT_ULL(0x82 - 128));
	KUNIT_EXPECT_FALSE(test, vm->vcpus[1]->lapic->eoi_edge);
}

static void eoi_map_keeps_a_vector_in_service(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u64 map[4];

	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	set(vm, true);
	fake_take_irq(vm->vcpus[1]);
	program_pin(vm, PIN, 2, 0x61 | LEVEL);
	lapic_eoi_exit_map(vm->vcpus[1], map);
	KUNIT_EXPECT_EQ(test, map[1], BIT_ULL(VECTOR - 64));
}

static void map_is_asked_for_when_it_changes(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	unsigned long *requests = &vm->vcpus[1]->requests;

	program_pin(vm, PIN, 1, VECTOR);
	clear_bit(KILN_REQ_EOI_MAP, requests);
	program_pin(vm, PIN, 1, VECTOR + 1);
	KUNIT_EXPECT_FALSE(test, test_bit(KILN_REQ_EOI_MAP, requests));
	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_EOI_MAP, requests));
	clear_bit(KILN_REQ_EOI_MAP, requests);
	program_pin(vm, PIN, 1, VECTOR | LEVEL | MASKED);
	KUNIT_EXPECT_FALSE(test, test_bit(KILN_REQ_EOI_MAP, requests));
}

static void eoi_of_a_stranger_changes_nothing(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	set(vm, true);
	ioapic_eoi(vm->irq.ioapic, VECTOR + 1);
	KUNIT_EXPECT_TRUE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
}

static void directed_eoi_goes_through_the_register(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[1];
	u32 vector = VECTOR;

	lapic_mmio_write(vcpu, APIC_SPIV, APIC_SPIV_APIC_ENABLED |
			 APIC_SPIV_DIRECTED_EOI | 0xff);
	program_pin(vm, PIN, 1, VECTOR | LEVEL);
	set(vm, true);
	fake_take_irq(vcpu);
	eoi(vcpu);
	KUNIT_EXPECT_TRUE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
	set(vm, false);
	kiln_bus_write(vm, KILN_BUS_MMIO, NULL, IOAPIC_BASE + 0x40, 4, &vector);
	KUNIT_EXPECT_FALSE(test, fake_ioapic_read(vm, REDIR(PIN)) & REMOTE_IRR);
}

static void nmi_pin_reaches_its_vcpu(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program_pin(vm, PIN, 2, APIC_DM_NMI);
	set(vm, true);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[2]->nmi_queued), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->vcpus[1]->nmi_queued), 0);
}

static void register_file(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int pin;

	KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, 1), 0x170020u);
	fake_ioapic_write(vm, 0, 0xffffffff);
	KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, 0), 0x0f000000u);
	KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, 2), 0x0f000000u);
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, REDIR(pin)), MASKED);
		fake_ioapic_write(vm, REDIR(pin) + 1, 0xffffffff);
		fake_ioapic_write(vm, REDIR(pin), 0xffffffff);
		KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, REDIR(pin)),
				0x1afffu);
		KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, REDIR(pin) + 1),
				0xff000000u);
	}
	KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, REDIR(IOAPIC_NR_PINS)), 0u);
	KUNIT_EXPECT_EQ(test, fake_ioapic_read(vm, 0xff), 0u);
}

static struct kunit_case ioapic_cases[] = {
	KUNIT_CASE(edge_is_sent_when_the_line_rises),
	KUNIT_CASE(masked_edge_is_lost),
	KUNIT_CASE(level_is_sent_again_after_eoi),
	KUNIT_CASE(level_waits_for_unmasking),
	KUNIT_CASE(remote_irr_is_read_only_but_edge_clears_it),
	KUNIT_CASE(sources_are_ored),
	KUNIT_CASE(eoi_map_has_level_pins_of_this_vcpu),
	KUNIT_CASE(eoi_map_keeps_a_vector_in_service),
	KUNIT_CASE(map_is_asked_for_when_it_changes),
	KUNIT_CASE(eoi_of_a_stranger_changes_nothing),
	KUNIT_CASE(directed_eoi_goes_through_the_register),
	KUNIT_CASE(nmi_pin_reaches_its_vcpu),
	KUNIT_CASE(register_file),
	{}
};

struct kunit_suite ioapic_suite = {
	.name = "kiln-ioapic",
	.init = fake_vm_init,
	.exit = fake_vm_exit,
	.test_cases = ioapic_cases,
};
