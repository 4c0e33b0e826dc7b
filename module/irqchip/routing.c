// SPDX-License-Identifier: GPL-2.0-only
/*
 * GSI routing: what a global system interrupt is connected to (api.rst 4.52):
 * a pin of each chip, or one MSI.
 *
 * The table is immutable and published with RCU: routes sorted by GSI, the
 * place of each GSI's first one, and for the way back, from an EOI on a pin,
 * the GSI of each pin.
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "private.h"

#define MAX_ROUTES_PER_GSI	KVM_NR_IRQCHIPS

/**
 * struct kiln_route - one connection of a GSI
 * @type: KVM_IRQ_ROUTING_IRQCHIP or KVM_IRQ_ROUTING_MSI
 * @chip: KVM_IRQCHIP_*
 * @msi_address: bits 31:0 of the address, for an MSI
 * @pin: of the chip
 * @msi_data: data, for an MSI
 */
struct kiln_route {
	u32 type;
	union {
		u32 chip;
		u32 msi_address;
	};
	union {
		u32 pin;
		u32 msi_data;
	};
};

/**
 * struct kiln_routing - the table
 * @rcu: to free it
 * @nr_gsis: one more than the highest GSI
 * @pin_gsi: GSI of each chip's pins, or -1
 * @first: @nr_gsis + 1 indices into @routes
 * @routes: sorted by GSI
 */
struct kiln_routing {
	struct rcu_head rcu;
	u32 nr_gsis;
	s16 pin_gsi[KVM_NR_IRQCHIPS][IOAPIC_NR_PINS];
	u16 *first;
	struct kiln_route routes[];
};

static const u8 chip_pins[KVM_NR_IRQCHIPS] = {
	[KVM_IRQCHIP_PIC_MASTER] = PIC_NR_PINS / 2,
	[KVM_IRQCHIP_PIC_SLAVE] = PIC_NR_PINS / 2,
	[KVM_IRQCHIP_IOAPIC] = IOAPIC_NR_PINS,
};

/* --------------------------------------------------------------- delivery */

static int route_set(struct kiln_vm *vm, const struct kiln_route *route,
		     int source, int level)
{
	if (route->type == KVM_IRQ_ROUTING_MSI)
		return level ? lapic_msi(vm, route->msi_address,
					 route->msi_data) : -1;
	if (route->chip == KVM_IRQCHIP_IOAPIC)
		return ioapic_set_irq(vm->irq.ioapic, route->pin, source,
				      level);
	return pic_set_irq(vm->irq.pic, route->chip * 8 + route->pin, source,
			   level);
}

/* The route of a GSI that is an MSI, or NULL. */
static const struct kiln_route *msi_route(const struct kiln_routing *routing,
					  u32 gsi)
{
	const struct kiln_route *route = &routing->routes[routing->first[gsi]];

	return routing->first[gsi] < routing->first[gsi + 1] &&
	       route->type == KVM_IRQ_ROUTING_MSI ? route : NULL;
}

/* Under rcu_read_lock(). Returns a status as kiln_irq_set(). */
static int routes_set(struct kiln_vm *vm, const struct kiln_routing *routing,
		      int source, u32 gsi, int level)
{
	int status = -1, r, i;

	for (i = routing->first[gsi]; i < routing->first[gsi + 1]; i++) {
		r = route_set(vm, &routing->routes[i], source, level);
		if (r >= 0)
			status = max(status, 0) + r;
	}
	return status;
}

int kiln_irq_set(struct kiln_vm *vm, int source, u32 gsi, int level)
{
	const struct kiln_routing *routing;
	int status = -1;

	rcu_read_lock();
	routing = rcu_dereference(vm->irq.routing);
	/* User space chooses it, and so may a guest through its launcher. */
	if (routing && gsi < routing->nr_gsis)
		status = routes_set(vm, routing, source,
				    array_index_nospec(gsi, routing->nr_gsis),
				    level);
	rcu_read_unlock();
	return status;
}

KILN_EXPORT_FOR_KUNIT(kiln_irq_set);

int kiln_irq_pulse(struct kiln_vm *vm, int source, u32 gsi)
{
	const struct kiln_routing *routing;
	const struct kiln_route *msi;
	int status = -1;

	rcu_read_lock();
	routing = rcu_dereference(vm->irq.routing);
	if (routing && gsi < routing->nr_gsis) {
		gsi = array_index_nospec(gsi, routing->nr_gsis);
		msi = msi_route(routing, gsi);
		/* An MSI has its GSI for itself and no level to fall. */
		if (msi) {
			status = lapic_msi(vm, msi->msi_address, msi->msi_data);
		} else {
			status = routes_set(vm, routing, source, gsi, 1);
			routes_set(vm, routing, source, gsi, 0);
		}
	}
	rcu_read_unlock();
	return status;
}

KILN_EXPORT_FOR_KUNIT(kiln_irq_pulse);

int kiln_irq_line(struct kiln_vm *vm, const struct kvm_irq_level *irq,
		  s32 *status)
{
	int r;

	if (!kiln_irqchip_present(&vm->irq))
		return -ENXIO;
	atomic64_inc(&vm->stats.irq_line);
	r = kiln_irq_set(vm, KILN_IRQ_USER, irq->irq, !!irq->level);
	if (status)
		*status = r;
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_irq_line);

/* ----------------------------------------------------------- the way back */

static int pin_to_gsi(struct kiln_vm *vm, u32 chip, u32 pin)
{
	const struct kiln_routing *routing;
	int gsi = -1;

	rcu_read_lock();
	routing = rcu_dereference(vm->irq.routing);
	if (routing)
		gsi = routing->pin_gsi[chip][pin];
	rcu_read_unlock();
	return gsi;
}

void kiln_irq_ack(struct kiln_vm *vm, u32 chip, u32 pin)
{
	/* Pairs with kiln_pit_create(). */
	struct kiln_pit *pit = smp_load_acquire(&vm->irq.pit);
	int gsi = pin_to_gsi(vm, chip, pin);

	if (gsi < 0)
		return;
	if (gsi == PIT_GSI && pit)
		pit_ack(pit);
	irqfd_resample(vm, gsi);
}

bool kiln_irq_wants_ack(struct kiln_vm *vm, u32 chip, u32 pin)
{
	int gsi = pin_to_gsi(vm, chip, pin);

	if (gsi < 0)
		return false;
	return (gsi == PIT_GSI && READ_ONCE(vm->irq.pit)) ||
	       irqfd_wants_ack(vm, gsi);
}

/* ------------------------------------------------------ changing the table */

static int routing_check(const struct kvm_irq_routing_entry *entry)
{
	if (entry->gsi >= KILN_MAX_GSIS || entry->flags)
		return -EINVAL;
	switch (entry->type) {
	case KVM_IRQ_ROUTING_MSI:
		return 0;
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (entry->u.irqchip.irqchip >= KVM_NR_IRQCHIPS ||
		    entry->u.irqchip.pin >=
		    chip_pins[entry->u.irqchip.irqchip])
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

static size_t routing_size(u32 nr, u32 nr_gsis)
{
	return offsetof(struct kiln_routing, routes) +
	       nr * sizeof(struct kiln_route) + (nr_gsis + 1) * sizeof(u16);
}

static struct kiln_routing *routing_alloc(u32 nr, u32 nr_gsis)
{
	struct kiln_routing *routing;

	routing = kvzalloc(routing_size(nr, nr_gsis), GFP_KERNEL_ACCOUNT);
	if (!routing)
		return NULL;
	routing->nr_gsis = nr_gsis;
	routing->first = (void *)&routing->routes[nr];
	memset(routing->pin_gsi, 0xff, sizeof(routing->pin_gsi));
	return routing;
}

/* A GSI has at most one pin per chip, and an MSI has it for itself. */
static bool route_conflicts(const struct kiln_route *a,
			    const struct kvm_irq_routing_entry *b)
{
	return a->type == KVM_IRQ_ROUTING_MSI ||
	       b->type == KVM_IRQ_ROUTING_MSI ||
	       a->chip == b->u.irqchip.irqchip;
}

/* @used: routes its GSI has already; they are few, or one conflicts. */
static int routing_place(struct kiln_routing *routing, u16 used,
			 const struct kvm_irq_routing_entry *entry)
{
	struct kiln_route *routes = &routing->routes[routing->first[entry->gsi]];
	int i;

	for (i = 0; i < used; i++) {
		if (route_conflicts(&routes[i], entry))
			return -EINVAL;
	}
	routes[used].type = entry->type;
	if (entry->type == KVM_IRQ_ROUTING_MSI) {
		routes[used].msi_address = entry->u.msi.address_lo;
		routes[used].msi_data = entry->u.msi.data;
		return 0;
	}
	routes[used].chip = entry->u.irqchip.irqchip;
	routes[used].pin = entry->u.irqchip.pin;
	routing->pin_gsi[routes[used].chip][routes[used].pin] = entry->gsi;
	return 0;
}

/* Counting sort: @used[gsi] counts up to the number of routes of the GSI. */
static int routing_fill(struct kiln_routing *routing, u16 *used,
			const struct kvm_irq_routing_entry *entries, u32 nr)
{
	u32 i, gsi;
	int r;

	for (i = 0; i < nr; i++)
		routing->first[entries[i].gsi + 1]++;
	for (gsi = 0; gsi < routing->nr_gsis; gsi++)
		routing->first[gsi + 1] += routing->first[gsi];
	for (i = 0; i < nr; i++) {
		gsi = entries[i].gsi;
		if (used[gsi] >= MAX_ROUTES_PER_GSI)
			return -EINVAL;
		r = routing_place(routing, used[gsi], &entries[i]);
		if (r)
			return r;
		used[gsi]++;
	}
	return 0;
}

static struct kiln_routing *
routing_build(const struct kvm_irq_routing_entry *entries, u32 nr)
{
	struct kiln_routing *routing;
	u32 i, nr_gsis = 0;
	u16 *used;
	int r;

	for (i = 0; i < nr; i++) {
		r = routing_check(&entries[i]);
		if (r)
			return ERR_PTR(r);
		nr_gsis = max(nr_gsis, entries[i].gsi + 1);
	}
	routing = routing_alloc(nr, nr_gsis);
	used = kvcalloc(nr_gsis + 1, sizeof(*used), GFP_KERNEL_ACCOUNT);
	r = routing && used ? routing_fill(routing, used, entries, nr) :
			      -ENOMEM;
	kvfree(used);
	if (r) {
		kvfree(routing);
		return ERR_PTR(r);
	}
	return routing;
}

static u32 routing_nr(const struct kiln_routing *routing)
{
	return routing->first[routing->nr_gsis];
}

static bool same_routes(const struct kiln_routing *a,
			const struct kiln_routing *b, u32 gsi)
{
	u32 nr = a->first[gsi + 1] - a->first[gsi];

	return gsi < b->nr_gsis && b->first[gsi + 1] - b->first[gsi] == nr &&
	       !memcmp(&a->routes[a->first[gsi]], &b->routes[b->first[gsi]],
		       nr * sizeof(*a->routes));
}

/*
 * Does every GSI with a route in @old have the same ones in @new, and every
 * pin its GSI? Then it is all the same by which of the two an interrupt goes
 * that is under way: by a GSI that is new it was raised too early.
 */
static bool routing_extends(const struct kiln_routing *new,
			    const struct kiln_routing *old)
{
	int chip, pin;
	u32 gsi;

	for (gsi = 0; gsi < old->nr_gsis; gsi++) {
		if (old->first[gsi] != old->first[gsi + 1] &&
		    !same_routes(old, new, gsi))
			return false;
	}
	for (chip = 0; chip < KVM_NR_IRQCHIPS; chip++) {
		for (pin = 0; pin < IOAPIC_NR_PINS; pin++) {
			if (old->pin_gsi[chip][pin] >= 0 &&
			    old->pin_gsi[chip][pin] != new->pin_gsi[chip][pin])
				return false;
		}
	}
	return true;
}

/*
 * May the old table be freed later, since nobody needs it to be out of use at
 * once? Not a large one, nor more of them than a few before a grace period:
 * what is left to be freed stays small, whoever sets tables in a loop.
 */
static bool routing_may_linger(struct kiln_irqchip *irq,
			       const struct kiln_routing *new,
			       const struct kiln_routing *old)
{
	if (routing_size(routing_nr(old), old->nr_gsis) > PAGE_SIZE ||
	    !routing_extends(new, old))
		return false;
	if (poll_state_synchronize_rcu(irq->lingering_gp))
		irq->lingering = 0;
	if (irq->lingering == ROUTING_LINGERING_MAX)
		return false;
	irq->lingering++;
	irq->lingering_gp = get_state_synchronize_rcu();
	return true;
}

/**
 * routing_install() - put a table in force
 * @vm: the VM
 * @entries: its entries, checked here
 * @nr: how many
 *
 * A table that only adds to the old one, as launchers do vector by vector, is
 * in force without a wait for a grace period.
 *
 * Return: 0: no interrupt goes by a route any more that is not in the new
 * table; or an errno of kiln_routing_set().
 */
int routing_install(struct kiln_vm *vm,
		    const struct kvm_irq_routing_entry *entries, u32 nr)
{
	struct kiln_routing *new = routing_build(entries, nr), *old;
	bool linger;

	if (IS_ERR(new))
		return PTR_ERR(new);
	mutex_lock(&vm->irq.lock);
	old = rcu_dereference_protected(vm->irq.routing,
					lockdep_is_held(&vm->irq.lock));
	linger = old && routing_may_linger(&vm->irq, new, old);
	rcu_assign_pointer(vm->irq.routing, new);
	mutex_unlock(&vm->irq.lock);
	if (!old)
		return 0;
	if (linger) {
		kvfree_rcu(old, rcu);
	} else {
		irqchip_synchronize(vm);
		kvfree(old);
	}
	kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(routing_install);

int kiln_routing_set(struct kiln_vm *vm,
		     const struct kvm_irq_routing __user *urouting)
{
	struct kvm_irq_routing_entry *entries;
	struct kvm_irq_routing head;
	int r;

	if (!kiln_irqchip_present(&vm->irq))
		return -EINVAL;
	if (copy_from_user(&head, urouting, sizeof(head)))
		return -EFAULT;
	if (head.flags || head.nr > KILN_MAX_GSIS)
		return -EINVAL;
	entries = vmemdup_user(urouting->entries,
			       array_size(head.nr, sizeof(*entries)));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	r = routing_install(vm, entries, head.nr);
	kvfree(entries);
	return r;
}

/* GSI 0 to 15: PIC and I/O APIC; 16 to 23: I/O APIC (api.rst 4.24). */
int routing_set_default(struct kiln_vm *vm)
{
	struct kvm_irq_routing_entry *entries, *entry;
	int gsi, r;

	entries = kcalloc(PIC_NR_PINS + IOAPIC_NR_PINS, sizeof(*entries),
			  GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	entry = entries;
	for (gsi = 0; gsi < IOAPIC_NR_PINS; gsi++, entry++) {
		entry->gsi = gsi;
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
		entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		entry->u.irqchip.pin = gsi;
	}
	for (gsi = 0; gsi < PIC_NR_PINS; gsi++, entry++) {
		entry->gsi = gsi;
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
		entry->u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER :
						     KVM_IRQCHIP_PIC_SLAVE;
		entry->u.irqchip.pin = gsi % 8;
	}
	r = routing_install(vm, entries, PIC_NR_PINS + IOAPIC_NR_PINS);
	kfree(entries);
	return r;
}

/* Nothing is left that raises or acknowledges. */
void routing_destroy(struct kiln_vm *vm)
{
	kvfree(rcu_access_pointer(vm->irq.routing));
	RCU_INIT_POINTER(vm->irq.routing, NULL);
}
