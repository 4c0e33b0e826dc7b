// SPDX-License-Identifier: GPL-2.0-only
/* GSI routing, MSI, KVM_IRQ_LINE: where a line ends, and what is refused. */
#include <kunit/test.h>

#include "irqchip_test.h"
#include "private.h"

#define VECTOR		0x61
#define MSI_TO(id)	(0xfee00000u | (id) << 12)
#define REDIR(pin)	(0x10 + 2 * (pin))

static struct kvm_irq_routing_entry pin_route(u32 gsi, u32 chip, u32 pin)
{
	return (struct kvm_irq_routing_entry) {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static struct kvm_irq_routing_entry msi_route(u32 gsi, u32 id, u32 data)
{
	return (struct kvm_irq_routing_entry) {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = MSI_TO(id), .data = data },
	};
}

static int install_one(struct kiln_vm *vm, struct kvm_irq_routing_entry entry)
{
	return routing_install(vm, &entry, 1);
}

static int raise(struct kiln_vm *vm, u32 gsi)
{
	return kiln_irq_set(vm, KILN_IRQ_USER, gsi, 1);
}

static void default_gsi_reaches_both_chips(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int gsi;

	for (gsi = 0; gsi < 24; gsi++) {
		raise(vm, gsi);
		KUNIT_EXPECT_TRUE(test, vm->irq.ioapic->irr & BIT(gsi));
		if (gsi < 16 && gsi != 2)
			KUNIT_EXPECT_TRUE(test, vm->irq.pic->chip[gsi / 8].line
					  & BIT(gsi % 8));
	}
	KUNIT_EXPECT_LT(test, raise(vm, 24), 0);
	KUNIT_EXPECT_LT(test, raise(vm, U32_MAX), 0);
}

static void msi_goes_to_its_vcpu(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	KUNIT_ASSERT_EQ(test, install_one(vm, msi_route(40, 2, VECTOR)), 0);
	KUNIT_EXPECT_EQ(test, raise(vm, 40), 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[2]), VECTOR);
	KUNIT_EXPECT_LT(test, kiln_irq_set(vm, KILN_IRQ_USER, 40, 0), 0);
	KUNIT_EXPECT_EQ(test, lapic_sync(vm->vcpus[2]), -1);
}

static void a_pulse_is_one_msi_and_leaves_no_pin_up(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	kiln_irq_pulse(vm, KILN_IRQ_USER, 5);
	/* The PIC latches the edge; no input stays up. */
	KUNIT_EXPECT_TRUE(test, vm->irq.pic->chip[0].irr & BIT(5));
	KUNIT_EXPECT_FALSE(test, vm->irq.pic->chip[0].line & BIT(5));
	KUNIT_EXPECT_FALSE(test, vm->irq.ioapic->irr & BIT(5));
	KUNIT_ASSERT_EQ(test, install_one(vm, msi_route(40, 2, VECTOR)), 0);
	KUNIT_EXPECT_EQ(test, kiln_irq_pulse(vm, KILN_IRQ_USER, 40), 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[2]), VECTOR);
	KUNIT_EXPECT_EQ(test, lapic_sync(vm->vcpus[2]), -1);
	KUNIT_EXPECT_LT(test, kiln_irq_pulse(vm, KILN_IRQ_USER, 39), 0);
	KUNIT_EXPECT_LT(test, kiln_irq_pulse(vm, KILN_IRQ_USER, 41), 0);
	KUNIT_EXPECT_LT(test, kiln_irq_pulse(vm, KILN_IRQ_USER, U32_MAX), 0);
}

static void new_table_replaces_the_old_one(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	KUNIT_ASSERT_EQ(test, install_one(vm, msi_route(5, 1, VECTOR)), 0);
	raise(vm, 5);
	KUNIT_EXPECT_FALSE(test, vm->irq.ioapic->irr);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[1]), VECTOR);
	KUNIT_ASSERT_EQ(test, routing_install(vm, NULL, 0), 0);
	KUNIT_EXPECT_LT(test, raise(vm, 5), 0);
}

/*
 * Has a grace period passed meanwhile? One may by chance; one that is waited
 * for does each time.
 */
static bool install_waits(struct kunit *test, struct kiln_vm *vm,
			  const struct kvm_irq_routing_entry *old, u32 nr_old,
			  const struct kvm_irq_routing_entry *new, u32 nr_new)
{
	struct rcu_gp_oldstate state;
	int i;

	for (i = 0; i < 20; i++) {
		KUNIT_EXPECT_EQ(test, routing_install(vm, old, nr_old), 0);
		get_state_synchronize_rcu_full(&state);
		KUNIT_EXPECT_EQ(test, routing_install(vm, new, nr_new), 0);
		if (!poll_state_synchronize_rcu_full(&state))
			return false;
	}
	return true;
}

static void only_a_table_that_adds_is_not_waited_for(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kvm_irq_routing_entry old[] = {
		pin_route(5, KVM_IRQCHIP_IOAPIC, 5),
		pin_route(5, KVM_IRQCHIP_PIC_MASTER, 5),
		msi_route(40, 1, VECTOR),
	};
	struct kvm_irq_routing_entry new[] = {
		msi_route(40, 1, VECTOR),
		pin_route(5, KVM_IRQCHIP_IOAPIC, 5),
		pin_route(5, KVM_IRQCHIP_PIC_MASTER, 5),
		msi_route(41, 2, VECTOR),
	};
	struct kvm_irq_routing_entry other = msi_route(40, 1, VECTOR + 1);
	struct kvm_irq_routing_entry stolen[] = {
		pin_route(5, KVM_IRQCHIP_IOAPIC, 5),
		pin_route(6, KVM_IRQCHIP_IOAPIC, 5),
	};

	KUNIT_EXPECT_FALSE(test, install_waits(test, vm, old, 3, new, 4));
	KUNIT_EXPECT_EQ(test, raise(vm, 41), 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[2]), VECTOR);
	KUNIT_EXPECT_FALSE(test, install_waits(test, vm, old, 3, old, 3));
	KUNIT_EXPECT_FALSE(test, install_waits(test, vm, NULL, 0, old, 3));
	/* A route less, and another in its place; a pin that acks another. */
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, new, 4, old, 3));
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, new, 4, new + 1, 3));
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, new, 1, &other, 1));
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, stolen, 1, stolen, 2));
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, old, 2, NULL, 0));
	/* A second pin of its GSI: a line may be up at one of them only. */
	KUNIT_EXPECT_TRUE(test, install_waits(test, vm, old, 1, old, 2));
}

static void few_tables_are_left_to_be_freed(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kvm_irq_routing_entry entry = msi_route(40, 1, VECTOR);
	unsigned int most = 0;
	int i;

	for (i = 0; i < 8 * ROUTING_LINGERING_MAX; i++) {
		KUNIT_ASSERT_EQ(test, routing_install(vm, &entry, 1), 0);
		most = max(most, vm->irq.lingering);
	}
	KUNIT_EXPECT_GT(test, most, 1);
	KUNIT_EXPECT_LE(test, most, ROUTING_LINGERING_MAX);
}

static void bad_entries_are_refused(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kvm_irq_routing_entry bad[] = {
		pin_route(KILN_MAX_GSIS, KVM_IRQCHIP_IOAPIC, 0),
		pin_route(0, KVM_NR_IRQCHIPS, 0),
		pin_route(0, KVM_IRQCHIP_IOAPIC, 24),
		pin_route(0, KVM_IRQCHIP_PIC_MASTER, 8),
		pin_route(0, KVM_IRQCHIP_PIC_SLAVE, 8),
		{ .type = 0 },
		{ .type = KVM_IRQ_ROUTING_HV_SINT },
		{ .type = KVM_IRQ_ROUTING_MSI, .flags = KVM_MSI_VALID_DEVID },
		{ .type = KVM_IRQ_ROUTING_MSI, .flags = BIT(31) },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, routing_install(vm, &bad[i], 1), -EINVAL);
	/* The old table is still there. */
	raise(vm, 20);
	KUNIT_EXPECT_EQ(test, vm->irq.ioapic->irr, (u32)BIT(20));
}

static void a_gsi_has_one_pin_per_chip_or_one_msi(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kvm_irq_routing_entry pins[] = {
		pin_route(9, KVM_IRQCHIP_IOAPIC, 1),
		pin_route(9, KVM_IRQCHIP_PIC_MASTER, 1),
		pin_route(9, KVM_IRQCHIP_PIC_SLAVE, 1),
		pin_route(9, KVM_IRQCHIP_IOAPIC, 2),
	};
	struct kvm_irq_routing_entry mixed[] = {
		pin_route(9, KVM_IRQCHIP_IOAPIC, 1),
		msi_route(9, 1, VECTOR),
		msi_route(9, 2, VECTOR),
	};

	KUNIT_EXPECT_EQ(test, routing_install(vm, pins, 3), 0);
	KUNIT_EXPECT_EQ(test, routing_install(vm, pins, 4), -EINVAL);
	KUNIT_EXPECT_EQ(test, routing_install(vm, mixed, 2), -EINVAL);
	KUNIT_EXPECT_EQ(test, routing_install(vm, mixed + 1, 2), -EINVAL);
	KUNIT_EXPECT_EQ(test, routing_install(vm, mixed + 1, 1), 0);
}

static void table_takes_as_many_gsis_as_there_are(struct kunit *test)
{
	struct kvm_irq_routing_entry *entries;
	struct kiln_vm *vm = test->priv;
	int gsi;

	entries = kvcalloc(KILN_MAX_GSIS, sizeof(*entries), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, entries);
	for (gsi = 0; gsi < KILN_MAX_GSIS; gsi++)
		entries[gsi] = msi_route(KILN_MAX_GSIS - 1 - gsi, 1,
					 0x20 + gsi % 0xd0);
	KUNIT_EXPECT_EQ(test, routing_install(vm, entries, KILN_MAX_GSIS), 0);
	kvfree(entries);
	KUNIT_EXPECT_EQ(test, raise(vm, KILN_MAX_GSIS - 1), 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[1]), 0x20);
}

static void line_status_tells_ignored_merged_delivered(struct kunit *test)
{
	struct kvm_irq_level up = { .irq = 20, .level = 1 };
	struct kvm_irq_level down = { .irq = 20 };
	struct kiln_vm *vm = test->priv;
	s32 status;

	KUNIT_EXPECT_EQ(test, kiln_irq_line(vm, &up, &status), 0);
	KUNIT_EXPECT_LT(test, status, 0);
	kiln_irq_line(vm, &down, NULL);
	fake_ioapic_write(vm, REDIR(20) + 1, 1 << 24);
	fake_ioapic_write(vm, REDIR(20), VECTOR);
	kiln_irq_line(vm, &up, &status);
	KUNIT_EXPECT_EQ(test, status, 1);
	kiln_irq_line(vm, &down, NULL);
	kiln_irq_line(vm, &up, &status);
	KUNIT_EXPECT_EQ(test, status, 0);
}

static void signalled_msi_tells_delivered_or_blocked(struct kunit *test)
{
	struct kvm_msi msi = { .address_lo = MSI_TO(3), .data = VECTOR };
	struct kiln_vm *vm = test->priv;

	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), 1);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vm->vcpus[3]), VECTOR);
	lapic_mmio_write(vm->vcpus[3], APIC_SPIV, 0xff);
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), 0);
	msi.address_lo = MSI_TO(77);
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), 0);
	msi.address_lo = 0x1000;
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), 0);
	msi.flags = KVM_MSI_VALID_DEVID;
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), -EINVAL);
}

static void msi_to_all_ones_reaches_every_vcpu(struct kunit *test)
{
	struct kvm_msi msi = { .address_lo = MSI_TO(0xffu), .data = VECTOR };
	struct kiln_vm *vm = test->priv;

	lapic_set_base(vm->vcpus[1], lapic_base(vm->vcpus[1]) |
		       KILN_APIC_BASE_EXTD, false);
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), FAKE_NR_VCPUS);
}

static void without_a_chip_there_is_nothing(struct kunit *test)
{
	struct kiln_vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);
	struct kvm_irq_level up = { .irq = 1, .level = 1 };
	struct kvm_ioeventfd ioeventfd = { .len = 3 };
	struct kvm_pit_config pit = {};
	struct kvm_irqfd irqfd = {};
	struct kvm_msi msi = {};

	KUNIT_ASSERT_NOT_NULL(test, vm);
	mutex_init(&vm->lock);
	KUNIT_ASSERT_EQ(test, kiln_irqchip_init(vm), 0);
	KUNIT_EXPECT_EQ(test, kiln_irq_line(vm, &up, NULL), -ENXIO);
	KUNIT_EXPECT_EQ(test, kiln_msi_send(vm, &msi), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_irqfd(vm, &irqfd), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_ioeventfd(vm, &ioeventfd), -EINVAL);
	KUNIT_EXPECT_LT(test, raise(vm, 1), 0);
	mutex_lock(&vm->lock);
	KUNIT_EXPECT_EQ(test, kiln_pit_create(vm, &pit), -ENOENT);
	KUNIT_EXPECT_EQ(test, kiln_irqchip_create(vm), 0);
	KUNIT_EXPECT_EQ(test, kiln_irqchip_create(vm), -EEXIST);
	mutex_unlock(&vm->lock);
	kiln_irqchip_destroy(vm);
}

static void chip_comes_before_vcpus(struct kunit *test)
{
	struct kiln_vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vm);
	mutex_init(&vm->lock);
	KUNIT_ASSERT_EQ(test, kiln_irqchip_init(vm), 0);
	vm->nr_vcpus = 1;
	mutex_lock(&vm->lock);
	KUNIT_EXPECT_EQ(test, kiln_irqchip_create(vm), -EINVAL);
	mutex_unlock(&vm->lock);
	vm->nr_vcpus = 0;
	kiln_irqchip_destroy(vm);
}

static void grace_periods_are_expedited_for_a_while(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int n = 0;

	while (n < 100000 && irqchip_may_hurry(&vm->irq))
		n++;
	KUNIT_EXPECT_GE(test, n, 1000);
	KUNIT_EXPECT_LT(test, n, 3000);
	irqchip_synchronize(vm);
}

static struct kunit_case routing_cases[] = {
	KUNIT_CASE(default_gsi_reaches_both_chips),
	KUNIT_CASE(msi_goes_to_its_vcpu),
	KUNIT_CASE(a_pulse_is_one_msi_and_leaves_no_pin_up),
	KUNIT_CASE(new_table_replaces_the_old_one),
	KUNIT_CASE(only_a_table_that_adds_is_not_waited_for),
	KUNIT_CASE(few_tables_are_left_to_be_freed),
	KUNIT_CASE(bad_entries_are_refused),
	KUNIT_CASE(a_gsi_has_one_pin_per_chip_or_one_msi),
	KUNIT_CASE(table_takes_as_many_gsis_as_there_are),
	KUNIT_CASE(line_status_tells_ignored_merged_delivered),
	KUNIT_CASE(signalled_msi_tells_delivered_or_blocked),
	KUNIT_CASE(msi_to_all_ones_reaches_every_vcpu),
	KUNIT_CASE(without_a_chip_there_is_nothing),
	KUNIT_CASE(chip_comes_before_vcpus),
	KUNIT_CASE(grace_periods_are_expedited_for_a_while),
	{}
};

struct kunit_suite routing_suite = {
	.name = "kiln-routing",
	.init = fake_vm_init,
	.exit = fake_vm_exit,
	.test_cases = routing_cases,
};
