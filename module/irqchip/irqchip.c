// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers of a VM: their creation and end.
 */
#include "private.h"

int kiln_irqchip_init(struct kiln_vm *vm)
{
	mutex_init(&vm->irq.lock);
	irqfd_init(vm);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_irqchip_init);

int kiln_irqchip_create(struct kiln_vm *vm)
{
	int r;

	lockdep_assert_held(&vm->lock);
	if (vm->irq.present)
		return -EEXIST;
	if (vm->nr_vcpus)
		return -EINVAL;
	r = pic_create(vm);
	if (r)
		return r;
	r = ioapic_create(vm);
	if (r)
		goto no_ioapic;
	r = routing_set_default(vm);
	if (r)
		goto no_routing;
	/* Pairs with kiln_irqchip_present(): the chips are there. */
	smp_store_release(&vm->irq.present, true);
	return 0;

no_routing:
	kiln_bus_remove(vm, KILN_BUS_MMIO, &vm->irq.ioapic->dev);
	ioapic_destroy(vm);
no_ioapic:
	kiln_bus_remove(vm, KILN_BUS_PIO, &vm->irq.pic->dev);
	pic_destroy(vm);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_irqchip_create);

void kiln_irqchip_release(struct kiln_vm *vm)
{
	irqfd_release(vm);
	ioeventfd_release(vm);
}

KILN_EXPORT_FOR_KUNIT(kiln_irqchip_release);

/* The timer that raises lines ends before what the lines lead to. */
void kiln_irqchip_destroy(struct kiln_vm *vm)
{
	kiln_irqchip_release(vm);
	pit_destroy(vm);
	bus_destroy(vm);
	routing_destroy(vm);
	ioapic_destroy(vm);
	pic_destroy(vm);
	mutex_destroy(&vm->irq.lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_irqchip_destroy);
