// SPDX-License-Identifier: GPL-2.0-only
/*
 * The buses: which kernel device a guest's port or memory access goes to.
 *
 * Per bus one sorted array of ranges, replaced as a whole under irq->lock and
 * read under RCU: a lookup is a binary search without a lock. Devices do not
 * sleep, so plain RCU does.
 */
#include <linux/indirect_call_wrapper.h>

#include "private.h"

/**
 * struct bus_range - addresses of a device
 * @first: lowest address
 * @last: highest address
 * @dev: whose
 */
struct bus_range {
	u64 first;
	u64 last;
	struct kiln_bus_dev *dev;
};

/* Immutable once published. */
struct kiln_bus_table {
	struct rcu_head rcu;
	u32 nr;
	struct bus_range ranges[];
};

static struct kiln_bus_dev *bus_find(const struct kiln_bus_table *table,
				     u64 addr, int len)
{
	u32 low = 0, high, mid;

	if (!table)
		return NULL;
	high = table->nr;
	while (low < high) {
		mid = (low + high) / 2;
		if (addr < table->ranges[mid].first)
			high = mid;
		else if (addr > table->ranges[mid].last)
			low = mid + 1;
		else if (len - 1 <= table->ranges[mid].last - addr)
			return table->ranges[mid].dev;
		else
			return NULL;
	}
	return NULL;
}

int kiln_bus_read(struct kiln_vm *vm, enum kiln_bus bus, struct kiln_vcpu *vcpu,
		  u64 addr, int len, void *val)
{
	struct kiln_bus_dev *dev;
	int r = -EOPNOTSUPP;

	rcu_read_lock();
	dev = bus_find(rcu_dereference(vm->irq.bus[bus]), addr, len);
	if (dev)
		r = INDIRECT_CALL_3(dev->ops->read, pic_bus_read, pit_bus_read,
				    ioapic_bus_read, dev, vcpu, addr, len, val);
	rcu_read_unlock();
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_bus_read);

/* A store that crosses a page comes in pieces of any length. */
static u64 bus_value(const void *val, int len)
{
	u64 data = 0;

	memcpy(&data, val, len);
	return data;
}

int kiln_bus_write(struct kiln_vm *vm, enum kiln_bus bus,
		   struct kiln_vcpu *vcpu, u64 addr, int len, const void *val)
{
	struct kiln_bus_dev *dev;
	int r = -EOPNOTSUPP;

	if (ioeventfds_exist(vm, bus) &&
	    ioeventfd_signal(vm, bus, vcpu, addr, len, bus_value(val, len)))
		return 0;
	rcu_read_lock();
	dev = bus_find(rcu_dereference(vm->irq.bus[bus]), addr, len);
	if (dev)
		r = INDIRECT_CALL_3(dev->ops->write, pic_bus_write,
				    pit_bus_write, ioapic_bus_write, dev, vcpu,
				    addr, len, val);
	rcu_read_unlock();
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_bus_write);

static struct kiln_bus_table *bus_table(struct kiln_vm *vm, enum kiln_bus bus)
{
	return rcu_dereference_protected(vm->irq.bus[bus],
					 lockdep_is_held(&vm->irq.lock));
}

static int __bus_add(struct kiln_vm *vm, enum kiln_bus bus,
		     const struct bus_range *range)
{
	struct kiln_bus_table *old = bus_table(vm, bus), *new;
	u32 nr = old ? old->nr : 0, at = 0;

	while (at < nr && old->ranges[at].last < range->first)
		at++;
	if (at < nr && old->ranges[at].first <= range->last)
		return -EEXIST;
	new = kmalloc(struct_size(new, ranges, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->nr = nr + 1;
	if (nr) {
		memcpy(new->ranges, old->ranges, at * sizeof(*range));
		memcpy(new->ranges + at + 1, old->ranges + at,
		       (nr - at) * sizeof(*range));
	}
	new->ranges[at] = *range;
	rcu_assign_pointer(vm->irq.bus[bus], new);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

int kiln_bus_add(struct kiln_vm *vm, enum kiln_bus bus, u64 addr, u32 len,
		 struct kiln_bus_dev *dev)
{
	struct bus_range range = { addr, addr + len - 1, dev };
	int r;

	mutex_lock(&vm->irq.lock);
	r = __bus_add(vm, bus, &range);
	mutex_unlock(&vm->irq.lock);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_bus_add);

/* Must not fail: the device is about to be freed. The table is small. */
static void __bus_remove(struct kiln_vm *vm, enum kiln_bus bus,
			 struct kiln_bus_dev *dev)
{
	struct kiln_bus_table *old = bus_table(vm, bus), *new;
	u32 i;

	if (!old)
		return;
	new = kmalloc(struct_size(new, ranges, old->nr),
		      GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	new->nr = 0;
	for (i = 0; i < old->nr; i++) {
		if (old->ranges[i].dev != dev)
			new->ranges[new->nr++] = old->ranges[i];
	}
	rcu_assign_pointer(vm->irq.bus[bus], new);
	synchronize_rcu_expedited();
	kfree(old);
}

void kiln_bus_remove(struct kiln_vm *vm, enum kiln_bus bus,
		     struct kiln_bus_dev *dev)
{
	mutex_lock(&vm->irq.lock);
	__bus_remove(vm, bus, dev);
	mutex_unlock(&vm->irq.lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_bus_remove);

/* No vCPU is left to look into the tables. */
void bus_destroy(struct kiln_vm *vm)
{
	int i;

	for (i = 0; i < KILN_NR_BUSES; i++) {
		kfree(rcu_access_pointer(vm->irq.bus[i]));
		RCU_INIT_POINTER(vm->irq.bus[i], NULL);
	}
}
