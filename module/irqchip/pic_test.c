// SPDX-License-Identifier: GPL-2.0-only
/* The PIC pair, as its data sheet has it. */
#include <kunit/test.h>

#include "irqchip_test.h"
#include "private.h"

#define MASTER	0x20
#define SLAVE	0xa0
#define ELCR	0x4d0

#define OCW2_EOI	0x20
#define OCW2_SPECIFIC	0x60
#define SPURIOUS	7

/* As a PC's firmware does: vectors from 0x30 and 0x38 on. */
static void program(struct kiln_vm *vm, u8 icw4_master, u8 icw4_slave)
{
	fake_outb(vm, 0x11, MASTER);
	fake_outb(vm, 0x30, MASTER + 1);
	fake_outb(vm, 0x04, MASTER + 1);
	fake_outb(vm, icw4_master, MASTER + 1);
	fake_outb(vm, 0x11, SLAVE);
	fake_outb(vm, 0x38, SLAVE + 1);
	fake_outb(vm, 0x02, SLAVE + 1);
	fake_outb(vm, icw4_slave, SLAVE + 1);
}

static int pic_test_init(struct kunit *test)
{
	int r = fake_vm_init(test);

	if (!r)
		program(test->priv, 0x01, 0x01);
	return r;
}

static void pulse(struct kiln_vm *vm, int pin)
{
	pic_set_irq(vm->irq.pic, pin, KILN_IRQ_USER, true);
	pic_set_irq(vm->irq.pic, pin, KILN_IRQ_USER, false);
}

static bool output(struct kiln_vm *vm)
{
	return kiln_extint_pending(vm->vcpus[0]);
}

static int ack(struct kiln_vm *vm)
{
	return kiln_extint_ack(vm->vcpus[0]);
}

static void edge_is_latched_and_acknowledged_once(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	KUNIT_EXPECT_FALSE(test, output(vm));
	pulse(vm, 4);
	KUNIT_EXPECT_TRUE(test, output(vm));
	KUNIT_EXPECT_EQ(test, ack(vm), 0x34);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_FALSE(test, output(vm));
}

static void line_held_high_is_one_edge(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pic *pic = vm->irq.pic;

	KUNIT_EXPECT_EQ(test, pic_set_irq(pic, 4, KILN_IRQ_USER, true), 1);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x34);
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, pic_set_irq(pic, 4, KILN_IRQ_USER, true), 0);
	KUNIT_EXPECT_FALSE(test, output(vm));
	pic_set_irq(pic, 4, KILN_IRQ_USER, false);
	KUNIT_EXPECT_EQ(test, pic_set_irq(pic, 4, KILN_IRQ_USER, true), 1);
	KUNIT_EXPECT_TRUE(test, output(vm));
}

static void lower_number_goes_first(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 6);
	pulse(vm, 1);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x31);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x36);
}

static void higher_priority_interrupts_service(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 6);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x36);
	pulse(vm, 7);
	KUNIT_EXPECT_FALSE(test, output(vm));
	pulse(vm, 1);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x31);
	/* The non-specific EOI ends the highest: 1, then 6. */
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x37);
}

static void specific_eoi_ends_the_one_named(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 6);
	ack(vm);
	pulse(vm, 1);
	ack(vm);
	fake_outb(vm, OCW2_SPECIFIC | 6, MASTER);
	fake_outb(vm, 0x0b, MASTER);	/* read ISR */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), BIT(1));
}

static void masked_input_waits(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pic *pic = vm->irq.pic;

	fake_outb(vm, BIT(3), MASTER + 1);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER + 1), BIT(3));
	KUNIT_EXPECT_LT(test, pic_set_irq(pic, 3, KILN_IRQ_USER, true), 0);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, 0x0a, MASTER);	/* read IRR */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), BIT(3));
	fake_outb(vm, 0, MASTER + 1);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x33);
}

static void slave_comes_through_the_cascade(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 12);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x3c);
	fake_outb(vm, 0x0b, MASTER);
	fake_outb(vm, 0x0b, SLAVE);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), BIT(2));
	KUNIT_EXPECT_EQ(test, fake_inb(vm, SLAVE), BIT(4));
	pulse(vm, 3);	/* below the cascade */
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, OCW2_EOI, SLAVE);
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x33);
}

static void nothing_is_wired_to_input_2(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	KUNIT_EXPECT_LT(test, pic_set_irq(vm->irq.pic, 2, KILN_IRQ_USER, true),
			0);
	KUNIT_EXPECT_FALSE(test, output(vm));
}

static void slave_waits_for_the_cascade_unless_nested(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 12);
	ack(vm);
	pulse(vm, 9);
	KUNIT_EXPECT_FALSE(test, output(vm));

	program(vm, 0x11, 0x01);	/* special fully nested mode */
	pulse(vm, 12);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x3c);
	pulse(vm, 3);
	KUNIT_EXPECT_FALSE(test, output(vm));
	pulse(vm, 9);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x39);
}

static void vanished_request_is_irq_7(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pic *pic = vm->irq.pic;

	KUNIT_EXPECT_EQ(test, ack(vm), 0x30 + SPURIOUS);
	fake_outb(vm, BIT(5), ELCR);
	pic_set_irq(pic, 5, KILN_IRQ_USER, true);
	KUNIT_EXPECT_TRUE(test, output(vm));
	pic_set_irq(pic, 5, KILN_IRQ_USER, false);
	KUNIT_EXPECT_FALSE(test, output(vm));
	KUNIT_EXPECT_EQ(test, ack(vm), 0x30 + SPURIOUS);
	fake_outb(vm, 0x0b, MASTER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), 0);
}

static void level_input_requests_again_after_eoi(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pic *pic = vm->irq.pic;

	fake_outb(vm, BIT(3), ELCR + 1);
	pic_set_irq(pic, 11, KILN_IRQ_USER, true);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x3b);
	fake_outb(vm, OCW2_EOI, SLAVE);
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_TRUE(test, output(vm));
	pic_set_irq(pic, 11, KILN_IRQ_USER, false);
	KUNIT_EXPECT_FALSE(test, output(vm));
}

static void sources_are_ored(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pic *pic = vm->irq.pic;

	fake_outb(vm, BIT(5), ELCR);
	pic_set_irq(pic, 5, KILN_IRQ_USER, true);
	pic_set_irq(pic, 5, KILN_IRQ_RESAMPLE, true);
	pic_set_irq(pic, 5, KILN_IRQ_USER, false);
	KUNIT_EXPECT_TRUE(test, output(vm));
	pic_set_irq(pic, 5, KILN_IRQ_RESAMPLE, false);
	KUNIT_EXPECT_FALSE(test, output(vm));
}

static void elcr_leaves_legacy_inputs_edge(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	fake_outb(vm, 0xff, ELCR);
	fake_outb(vm, 0xff, ELCR + 1);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, ELCR), 0xf8);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, ELCR + 1), 0xde);
}

static void automatic_eoi_needs_none(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	program(vm, 0x03, 0x03);
	pulse(vm, 4);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x34);
	fake_outb(vm, 0x0b, MASTER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), 0);
	pulse(vm, 12);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x3c);
	pulse(vm, 14);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x3e);
}

static void rotation_makes_the_served_input_last(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 4);
	ack(vm);
	fake_outb(vm, 0xa0, MASTER);	/* rotate on non-specific EOI */
	pulse(vm, 4);
	pulse(vm, 5);
	pulse(vm, 1);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x35);
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x31);
	fake_outb(vm, OCW2_EOI, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x34);
}

static void set_priority_command(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	fake_outb(vm, 0xc0 | 4, MASTER);	/* 4 is the lowest: 5 the top */
	pulse(vm, 0);
	pulse(vm, 5);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x35);
}

static void special_mask_lets_lower_ones_in(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	pulse(vm, 1);
	ack(vm);
	pulse(vm, 6);
	fake_outb(vm, BIT(1), MASTER + 1);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, 0x68, MASTER);
	KUNIT_EXPECT_EQ(test, ack(vm), 0x36);
}

static void poll_is_an_acknowledge(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	fake_outb(vm, 0x0c, MASTER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), 0);
	pulse(vm, 6);
	fake_outb(vm, 0x0c, MASTER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), 0x86);
	KUNIT_EXPECT_FALSE(test, output(vm));
	fake_outb(vm, 0x0b, MASTER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), BIT(6));
}

static void icw1_starts_over(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	fake_outb(vm, 0xff, MASTER + 1);
	pulse(vm, 3);
	program(vm, 0x01, 0x01);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER + 1), 0);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, MASTER), 0);
	KUNIT_EXPECT_FALSE(test, output(vm));
}

static void only_who_listens_hears_it(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *bsp = vm->vcpus[0];

	vm->vcpus[1]->requests = 0;
	bsp->requests = 0;
	lapic_mmio_write(bsp, APIC_LVT0, APIC_DM_EXTINT);
	pulse(vm, 4);
	KUNIT_EXPECT_TRUE(test, kiln_extint_pending(bsp));
	KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_EVENT, &bsp->requests));
	KUNIT_EXPECT_FALSE(test, kiln_extint_pending(vm->vcpus[1]));
	KUNIT_EXPECT_FALSE(test, vm->vcpus[1]->requests);
	lapic_mmio_write(bsp, APIC_LVT0, APIC_LVT_MASKED);
	KUNIT_EXPECT_FALSE(test, kiln_extint_pending(bsp));
	/* An APIC that is off passes LINT0 through. */
	lapic_set_base(bsp, KILN_APIC_BASE_DEFAULT, false);
	KUNIT_EXPECT_TRUE(test, kiln_extint_pending(bsp));
}

static void wide_accesses_are_not_ours(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u32 val = 0;

	KUNIT_EXPECT_EQ(test, kiln_bus_read(vm, KILN_BUS_PIO, NULL, MASTER, 2,
					    &val), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kiln_bus_write(vm, KILN_BUS_PIO, NULL, MASTER, 2,
					     &val), -EOPNOTSUPP);
}

static struct kunit_case pic_cases[] = {
	KUNIT_CASE(edge_is_latched_and_acknowledged_once),
	KUNIT_CASE(line_held_high_is_one_edge),
	KUNIT_CASE(lower_number_goes_first),
	KUNIT_CASE(higher_priority_interrupts_service),
	KUNIT_CASE(specific_eoi_ends_the_one_named),
	KUNIT_CASE(masked_input_waits),
	KUNIT_CASE(slave_comes_through_the_cascade),
	KUNIT_CASE(nothing_is_wired_to_input_2),
	KUNIT_CASE(slave_waits_for_the_cascade_unless_nested),
	KUNIT_CASE(vanished_request_is_irq_7),
	KUNIT_CASE(level_input_requests_again_after_eoi),
	KUNIT_CASE(sources_are_ored),
	KUNIT_CASE(elcr_leaves_legacy_inputs_edge),
	KUNIT_CASE(automatic_eoi_needs_none),
	KUNIT_CASE(rotation_makes_the_served_input_last),
	KUNIT_CASE(set_priority_command),
	KUNIT_CASE(special_mask_lets_lower_ones_in),
	KUNIT_CASE(poll_is_an_acknowledge),
	KUNIT_CASE(icw1_starts_over),
	KUNIT_CASE(only_who_listens_hears_it),
	KUNIT_CASE(wide_accesses_are_not_ours),
	{}
};

struct kunit_suite pic_suite = {
	.name = "kiln-pic",
	.init = pic_test_init,
	.exit = fake_vm_exit,
	.test_cases = pic_cases,
};
