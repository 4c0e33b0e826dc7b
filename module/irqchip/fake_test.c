// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM of interrupt controllers only, for the suites of this room.
 */
#include <kunit/test.h>
#include <linux/rcuwait.h>

#include "irqchip_test.h"
#include "private.h"

static int fake_vcpu_create(struct kunit *test, struct kiln_vm *vm, u32 id)
{
	struct kiln_vcpu *vcpu = kunit_kzalloc(test, sizeof(*vcpu), GFP_KERNEL);
	int r;

	if (!vcpu)
		return -ENOMEM;
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->index = id;
	vcpu->cpu = -1;
	vcpu->maxphyaddr = 40;
	vcpu->clock.hw_khz = tsc_khz;
	rcuwait_init(&vcpu->wait);
	r = lapic_create(vcpu);
	if (r)
		return r;
	lapic_mmio_write(vcpu, APIC_SPIV, APIC_SPIV_APIC_ENABLED | 0xff);
	vm->vcpus[id] = vcpu;
	vm->nr_vcpus = id + 1;
	return 0;
}

int fake_vm_init(struct kunit *test)
{
	struct kiln_vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);
	int id, r;

	if (!vm)
		return -ENOMEM;
	mutex_init(&vm->lock);
	r = kiln_irqchip_init(vm);
	if (r)
		return r;
	test->priv = vm;
	mutex_lock(&vm->lock);
	r = kiln_irqchip_create(vm);
	mutex_unlock(&vm->lock);
	for (id = 0; id < FAKE_NR_VCPUS && !r; id++)
		r = fake_vcpu_create(test, vm, id);
	return r;
}

void fake_vm_exit(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu;
	int i;

	if (!vm)
		return;
	kiln_for_each_vcpu(i, vcpu, vm)
		lapic_free(vcpu);
	kiln_irqchip_destroy(vm);
	mutex_destroy(&vm->lock);
}

int fake_take_irq(struct kiln_vcpu *vcpu)
{
	int vector = lapic_pending(vcpu);

	if (vector >= 0)
		lapic_accept(vcpu, vector);
	return vector;
}

void fake_outb(struct kiln_vm *vm, int val, int port)
{
	u8 data = val;

	kiln_bus_write(vm, KILN_BUS_PIO, NULL, port, 1, &data);
}

int fake_inb(struct kiln_vm *vm, int port)
{
	u8 data;

	if (kiln_bus_read(vm, KILN_BUS_PIO, NULL, port, 1, &data))
		return -1;
	return data;
}

void fake_ioapic_write(struct kiln_vm *vm, int reg, unsigned int val)
{
	u32 index = reg;

	kiln_bus_write(vm, KILN_BUS_MMIO, NULL, IOAPIC_BASE, 4, &index);
	kiln_bus_write(vm, KILN_BUS_MMIO, NULL, IOAPIC_BASE + 0x10, 4, &val);
}

unsigned int fake_ioapic_read(struct kiln_vm *vm, int reg)
{
	u32 index = reg, val = 0;

	kiln_bus_write(vm, KILN_BUS_MMIO, NULL, IOAPIC_BASE, 4, &index);
	kiln_bus_read(vm, KILN_BUS_MMIO, NULL, IOAPIC_BASE + 0x10, 4, &val);
	return val;
}
