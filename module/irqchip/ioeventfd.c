// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioeventfd: a guest write to an address signals an eventfd (api.rst 4.59); or
 * rings a doorbell, which is the same for one who is in the kernel.
 *
 * Like the bus: per bus one array sorted by address, replaced as a whole and
 * read under RCU. Signalling an eventfd does not sleep, so a lookup may run
 * with IRQs off, right after the exit.
 */
#include <linux/indirect_call_wrapper.h>

#include "../virtio/virtio.h"
#include "private.h"

#define FLAGS	(KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | \
		 KVM_IOEVENTFD_FLAG_DEASSIGN)

/**
 * struct ioeventfd - one of them
 * @addr: of the write
 * @datamatch: the value it must have, unless @any_value
 * @ctx: what is signalled; a reference is held. NULL if @bell is rung
 * @bell: what is rung, or NULL
 * @len: of the write; 0: any
 * @any_value: do not look at the value
 */
struct ioeventfd {
	u64 addr;
	u64 datamatch;
	struct eventfd_ctx *ctx;
	struct kiln_doorbell *bell;
	u8 len;
	bool any_value;
};

/* Immutable once published. */
struct kiln_ioeventfds {
	struct rcu_head rcu;
	u32 nr;
	struct ioeventfd entries[];
};

/* Index of the first entry at or above an address. */
static u32 ioeventfd_lower_bound(const struct kiln_ioeventfds *table, u64 addr)
{
	u32 low = 0, high = table->nr, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (table->entries[mid].addr < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool ioeventfd_matches(const struct ioeventfd *entry, int len, u64 val)
{
	if (!entry->len)
		return true;
	return entry->len == len &&
	       (entry->any_value || entry->datamatch == val);
}

static void ioeventfd_hit(struct kiln_vm *vm, struct kiln_vcpu *vcpu,
			  const struct ioeventfd *entry)
{
	struct kiln_doorbell *bell = entry->bell;

	if (bell) {
		INDIRECT_CALL_1(bell->ring, kiln_virtio_ring, bell, vcpu);
		return;
	}
	kiln_eventfd_signal(entry->ctx);
	atomic64_inc(&vm->stats.ioeventfd);
}

bool ioeventfd_signal(struct kiln_vm *vm, enum kiln_bus bus,
		      struct kiln_vcpu *vcpu, u64 addr, int len, u64 val)
{
	const struct kiln_ioeventfds *table;
	bool found = false;
	u32 i;

	if (!ioeventfds_exist(vm, bus))
		return false;
	rcu_read_lock();
	table = rcu_dereference(vm->irq.ioeventfds[bus]);
	if (!table)
		goto out;
	for (i = ioeventfd_lower_bound(table, addr);
	     i < table->nr && table->entries[i].addr == addr; i++) {
		if (!ioeventfd_matches(&table->entries[i], len, val))
			continue;
		ioeventfd_hit(vm, vcpu, &table->entries[i]);
		found = true;
		break;
	}
out:
	rcu_read_unlock();
	return found;
}

bool kiln_ioeventfd_fast(struct kiln_vm *vm, enum kiln_bus bus,
			 struct kiln_vcpu *vcpu, u64 addr, int len, u64 val)
{
	return !IS_ENABLED(CONFIG_PREEMPT_RT) &&
	       ioeventfd_signal(vm, bus, vcpu, addr, len, val);
}

KILN_EXPORT_FOR_KUNIT(kiln_ioeventfd_fast);

static struct kiln_ioeventfds *ioeventfds(struct kiln_vm *vm, enum kiln_bus bus)
{
	return rcu_dereference_protected(vm->irq.ioeventfds[bus],
					 lockdep_is_held(&vm->irq.lock));
}

/* Could one write match both? */
static bool ioeventfd_collide(const struct ioeventfd *a,
			      const struct ioeventfd *b)
{
	if (a->addr != b->addr)
		return false;
	if (!a->len || !b->len)
		return true;
	return a->len == b->len && (a->any_value || b->any_value ||
				    a->datamatch == b->datamatch);
}

static int ioeventfd_add(struct kiln_vm *vm, enum kiln_bus bus,
			 const struct ioeventfd *entry)
{
	struct kiln_ioeventfds *old = ioeventfds(vm, bus), *new;
	u32 nr = old ? old->nr : 0, at, i;

	for (i = 0; i < nr; i++) {
		if (ioeventfd_collide(&old->entries[i], entry))
			return -EEXIST;
	}
	if (nr >= KILN_MAX_IOEVENTFDS)
		return -ENOSPC;
	new = kvmalloc(struct_size(new, entries, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	at = old ? ioeventfd_lower_bound(old, entry->addr) : 0;
	new->nr = nr + 1;
	if (nr) {
		memcpy(new->entries, old->entries, at * sizeof(*entry));
		memcpy(new->entries + at + 1, old->entries + at,
		       (nr - at) * sizeof(*entry));
	}
	new->entries[at] = *entry;
	rcu_assign_pointer(vm->irq.ioeventfds[bus], new);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

static bool ioeventfd_same(const struct ioeventfd *a, const struct ioeventfd *b)
{
	return a->ctx == b->ctx && a->bell == b->bell && a->addr == b->addr &&
	       a->len == b->len &&
	       a->any_value == b->any_value &&
	       (a->any_value || a->datamatch == b->datamatch);
}

static int ioeventfd_remove(struct kiln_vm *vm, enum kiln_bus bus,
			    const struct ioeventfd *entry)
{
	struct kiln_ioeventfds *old = ioeventfds(vm, bus), *new = NULL;
	u32 nr = old ? old->nr : 0, at = 0;

	while (at < nr && !ioeventfd_same(&old->entries[at], entry))
		at++;
	if (at == nr)
		return -ENOENT;
	if (nr > 1) {
		new = kvmalloc(struct_size(new, entries, nr - 1),
			       GFP_KERNEL_ACCOUNT);
		if (!new)
			return -ENOMEM;
		new->nr = nr - 1;
		memcpy(new->entries, old->entries, at * sizeof(*entry));
		memcpy(new->entries + at, old->entries + at + 1,
		       (nr - 1 - at) * sizeof(*entry));
	}
	rcu_assign_pointer(vm->irq.ioeventfds[bus], new);
	irqchip_synchronize(vm);
	if (entry->ctx)
		eventfd_ctx_put(old->entries[at].ctx);
	kvfree(old);
	return 0;
}

static int ioeventfd_check(const struct kvm_ioeventfd *args)
{
	bool pio = args->flags & KVM_IOEVENTFD_FLAG_PIO;
	u64 last = args->addr + (args->len ? args->len - 1 : 0);

	if (args->flags & ~FLAGS)
		return -EINVAL;
	if (args->len > 8 || (args->len && !is_power_of_2(args->len)))
		return -EINVAL;
	if (!args->len && (args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
		return -EINVAL;
	if (last < args->addr || (pio && last > U16_MAX))
		return -EINVAL;
	return 0;
}

int kiln_ioeventfd(struct kiln_vm *vm, const struct kvm_ioeventfd *args)
{
	bool remove = args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN;
	enum kiln_bus bus = args->flags & KVM_IOEVENTFD_FLAG_PIO ?
			    KILN_BUS_PIO : KILN_BUS_MMIO;
	struct ioeventfd entry = {
		.addr = args->addr,
		.datamatch = args->datamatch,
		.len = args->len,
		.any_value = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH),
	};
	int r = ioeventfd_check(args);

	if (r)
		return r;
	entry.ctx = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(entry.ctx))
		return PTR_ERR(entry.ctx);
	mutex_lock(&vm->irq.lock);
	if (remove)
		r = ioeventfd_remove(vm, bus, &entry);
	else
		r = ioeventfd_add(vm, bus, &entry);
	mutex_unlock(&vm->irq.lock);
	/* The table keeps the reference of an entry that was added. */
	if (remove || r)
		eventfd_ctx_put(entry.ctx);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_ioeventfd);

int kiln_doorbell_add(struct kiln_vm *vm, enum kiln_bus bus, u64 addr,
		      struct kiln_doorbell *bell)
{
	struct ioeventfd entry = {
		.addr = addr,
		.bell = bell,
		.any_value = true,
	};
	int r;

	mutex_lock(&vm->irq.lock);
	r = ioeventfd_add(vm, bus, &entry);
	mutex_unlock(&vm->irq.lock);
	return r;
}

/* The entries that @keep says so for, in a table of their own, or NULL. */
static struct kiln_ioeventfds *
ioeventfds_filter(const struct kiln_ioeventfds *old,
		  bool (*keep)(const struct ioeventfd *entry, const void *arg),
		  const void *arg)
{
	struct kiln_ioeventfds *new;
	u32 i;

	/* Must not fail: what is taken out is about to be freed. */
	new = kvmalloc(struct_size(new, entries, old->nr),
		       GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	new->nr = 0;
	for (i = 0; i < old->nr; i++) {
		if (keep(&old->entries[i], arg))
			new->entries[new->nr++] = old->entries[i];
	}
	if (new->nr)
		return new;
	kvfree(new);
	return NULL;
}

static bool other_bell(const struct ioeventfd *entry, const void *bell)
{
	return entry->bell != bell;
}

void kiln_doorbell_remove(struct kiln_vm *vm, enum kiln_bus bus,
			  struct kiln_doorbell *bell)
{
	struct kiln_ioeventfds *old;

	mutex_lock(&vm->irq.lock);
	old = ioeventfds(vm, bus);
	if (old)
		rcu_assign_pointer(vm->irq.ioeventfds[bus],
				   ioeventfds_filter(old, other_bell, bell));
	mutex_unlock(&vm->irq.lock);
	if (!old)
		return;
	irqchip_synchronize(vm);
	kvfree(old);
}

static bool is_bell(const struct ioeventfd *entry, const void *unused)
{
	return entry->bell;
}

/* Doorbells are their devices', whose descriptors may still be open. */
static void ioeventfd_release_bus(struct kiln_vm *vm, enum kiln_bus bus)
{
	struct kiln_ioeventfds *old;
	u32 i;

	mutex_lock(&vm->irq.lock);
	old = ioeventfds(vm, bus);
	if (old)
		rcu_assign_pointer(vm->irq.ioeventfds[bus],
				   ioeventfds_filter(old, is_bell, NULL));
	mutex_unlock(&vm->irq.lock);
	if (!old)
		return;
	irqchip_synchronize(vm);
	for (i = 0; i < old->nr; i++) {
		if (old->entries[i].ctx)
			eventfd_ctx_put(old->entries[i].ctx);
	}
	kvfree(old);
}

void ioeventfd_release(struct kiln_vm *vm)
{
	ioeventfd_release_bus(vm, KILN_BUS_PIO);
	ioeventfd_release_bus(vm, KILN_BUS_MMIO);
}
