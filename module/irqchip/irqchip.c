// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers of a VM: their creation and end.
 */
#include "private.h"

/*
 * An expedited grace period interrupts each CPU of the host that is not idle.
 * A launcher needs some hundreds to set up a VM, all at once; guests that move
 * their devices about for ever shall not have more than a few in a second.
 */
#define HURRY_INTERVAL	(10 * HZ)
#define HURRY_MAX	1024

bool irqchip_may_hurry(struct kiln_irqchip *irq)
{
	return __ratelimit(&irq->hurry);
}

KILN_EXPORT_FOR_KUNIT(irqchip_may_hurry);

void irqchip_synchronize(struct kiln_vm *vm)
{
	if (irqchip_may_hurry(&vm->irq))
		synchronize_rcu_expedited();
	else
		synchronize_rcu();
}

KILN_EXPORT_FOR_KUNIT(irqchip_synchronize);

int kiln_irqchip_init(struct kiln_vm *vm)
{
	mutex_init(&vm->irq.lock);
	ratelimit_state_init(&vm->irq.hurry, HURRY_INTERVAL, HURRY_MAX);
	/* Nothing is to be said of those that were not. */
	ratelimit_set_flags(&vm->irq.hurry, RATELIMIT_MSG_ON_RELEASE);
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
