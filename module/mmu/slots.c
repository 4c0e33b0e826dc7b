// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory slots; slots.h says how they are kept and changed.
 *
 * Launchers create slots mostly in ascending order and in any number up to
 * KILN_NR_SLOTS. So the array has room to grow at its end in place; a change
 * elsewhere copies it, which is one pointer per slot.
 */
#include <linux/bitmap.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "slots.h"

/* KVM's limit: page numbers within a slot fit in 31 bits. */
#define SLOT_MAX_PAGES		((1ULL << 31) - 1)

#define SLOT_FLAGS		(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)

/* Where a VM starts, and what it returns to only by its destruction. */
static struct kiln_slot_array no_slots;

void kiln_slots_init(struct kiln_slots *slots, unsigned int gpa_bits)
{
	RCU_INIT_POINTER(slots->array, &no_slots);
	slots->generation = 1;
	slots->by_hva = RB_ROOT_CACHED;
	xa_init_flags(&slots->by_id, XA_FLAGS_ACCOUNT);
	slots->gpa_bits = gpa_bits;
	slots->logged = 0;
	slots->manual = 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_init);

static struct kiln_slot_array *slots_array(const struct kiln_slots *slots)
{
	/* the locks are those of whoever embeds @slots */
	return rcu_dereference_raw(slots->array);
}

static void slot_free(struct kiln_slot *slot)
{
	if (!slot)
		return;
	kvfree(slot->dirty);
	kfree(slot);
}

void kiln_slots_destroy(struct kiln_slots *slots)
{
	struct kiln_slot_array *array = slots_array(slots);
	unsigned int i;

	for (i = 0; i < array->nr; i++)
		slot_free(array->slot[i]);
	xa_destroy(&slots->by_id);
	if (array != &no_slots)
		kvfree(array);
	RCU_INIT_POINTER(slots->array, &no_slots);
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_destroy);

/* How many slots end at or before @gfn. */
static unsigned int slots_before(const struct kiln_slot_array *array, u64 gfn)
{
	/* pairs with the growth of the array in place */
	unsigned int lo = 0, hi = smp_load_acquire(&array->nr);

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		const struct kiln_slot *slot = READ_ONCE(array->slot[mid]);

		if (slot->gfn + slot->npages <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct kiln_slot *kiln_slots_find(const struct kiln_slots *slots, u64 gfn)
{
	const struct kiln_slot_array *array = slots_array(slots);
	unsigned int i = slots_before(array, gfn);
	const struct kiln_slot *slot;

	if (i >= READ_ONCE(array->nr))
		return NULL;
	slot = READ_ONCE(array->slot[i]);
	return kiln_slot_has(slot, gfn) ? slot : NULL;
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_find);

void kiln_slots_hole(const struct kiln_slots *slots, u64 gfn, u64 *start,
		     u64 *end)
{
	const struct kiln_slot_array *array = slots_array(slots);
	unsigned int i = slots_before(array, gfn);

	*start = 0;
	*end = U64_MAX;
	if (i)
		*start = array->slot[i - 1]->gfn + array->slot[i - 1]->npages;
	if (i < array->nr)
		*end = array->slot[i]->gfn;
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_hole);

/*
 * What can be said without looking at other slots. The host range is checked
 * here once; everything later relies on it being user space's.
 */
static int region_check(const struct kvm_userspace_memory_region *region)
{
	u64 size = region->memory_size, hva = region->userspace_addr;

	if (region->slot >= KILN_NR_SLOTS)
		return -EINVAL;
	if (region->flags & ~SLOT_FLAGS)
		return -EINVAL;
	if ((size | hva | region->guest_phys_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (size >> PAGE_SHIFT > SLOT_MAX_PAGES)
		return -EINVAL;
	if (region->guest_phys_addr + size < region->guest_phys_addr)
		return -EINVAL;
	if (hva > TASK_SIZE_MAX || size > TASK_SIZE_MAX - hva ||
	    !access_ok((void __user *)(unsigned long)hva, size))
		return -EINVAL;
	return 0;
}

static int slot_max_level(u64 gfn, unsigned long hva)
{
	u64 differ = gfn ^ (hva >> PAGE_SHIFT);
	int level = KILN_PT_1G;

	while (level > KILN_PT_4K && differ & ((1ULL << (9 * (level - 1))) - 1))
		level--;
	return level;
}

static struct kiln_slot *
slot_alloc(const struct kvm_userspace_memory_region *region)
{
	struct kiln_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);

	if (!slot)
		return NULL;
	slot->id = region->slot;
	slot->flags = region->flags;
	slot->gfn = region->guest_phys_addr >> PAGE_SHIFT;
	slot->npages = region->memory_size >> PAGE_SHIFT;
	slot->base = region->userspace_addr;
	slot->max_level = slot_max_level(slot->gfn, slot->base);
	slot->hva.start = slot->base;
	slot->hva.last = slot->base + region->memory_size - 1;
	return slot;
}

/*
 * Give a slot its log. It begins with nothing in it, or, if user space has asked
 * for that, with everything: then no page is watched before its bit is cleared.
 * With everything, too, if pages that were logged before are at another place now.
 */
static int slot_log(const struct kiln_slots *slots, struct kiln_slot *new,
		    const struct kiln_slot *old)
{
	if (!(new->flags & KVM_MEM_LOG_DIRTY_PAGES))
		return 0;
	new->dirty = kvcalloc(kiln_slot_words(new), sizeof(*new->dirty),
			      GFP_KERNEL_ACCOUNT);
	if (!new->dirty)
		return -ENOMEM;
	new->max_level = KILN_PT_4K;
	if (slots->manual & KVM_DIRTY_LOG_INITIALLY_SET || (old && old->dirty))
		bitmap_set(new->dirty, 0, new->npages);
	return 0;
}

/* Does another slot than @old have frames of @new? */
static bool slots_overlap(const struct kiln_slot_array *array,
			  const struct kiln_slot *new,
			  const struct kiln_slot *old)
{
	unsigned int i = slots_before(array, new->gfn);

	for (; i < array->nr; i++) {
		if (array->slot[i]->gfn >= new->gfn + new->npages)
			return false;
		if (array->slot[i] != old)
			return true;
	}
	return false;
}

/* Can the array be changed without disturbing its readers? */
static bool slots_in_place(const struct kiln_slot_array *array,
			   const struct kiln_slot_change *change)
{
	unsigned int nr = array->nr;

	if (change->old)
		return !change->new && array->slot[nr - 1] == change->old;
	return nr < array->room &&
	       (!nr || array->slot[nr - 1]->gfn < change->new->gfn);
}

/* Take @slot out of an array, or put it in where it belongs. */
static void slots_drop(struct kiln_slot_array *array,
		       const struct kiln_slot *slot)
{
	unsigned int i = slots_before(array, slot->gfn);

	array->nr--;
	memmove(&array->slot[i], &array->slot[i + 1],
		(array->nr - i) * sizeof(array->slot[0]));
}

static void slots_insert(struct kiln_slot_array *array, struct kiln_slot *slot)
{
	unsigned int i = slots_before(array, slot->gfn);

	memmove(&array->slot[i + 1], &array->slot[i],
		(array->nr - i) * sizeof(array->slot[0]));
	array->slot[i] = slot;
	array->nr++;
}

static struct kiln_slot_array *
slots_copy(const struct kiln_slot_array *array,
	   const struct kiln_slot_change *change)
{
	unsigned int room = array->nr + array->nr / 4 + 8;
	struct kiln_slot_array *copy;

	copy = kvmalloc(struct_size(copy, slot, room), GFP_KERNEL_ACCOUNT);
	if (!copy)
		return NULL;
	memcpy(copy->slot, array->slot, array->nr * sizeof(array->slot[0]));
	copy->nr = array->nr;
	copy->room = room;
	if (change->old)
		slots_drop(copy, change->old);
	if (change->new)
		slots_insert(copy, change->new);
	return copy;
}

/*
 * Decide what user space wants, given the slot of that number, and make the
 * new slot if there is one.
 */
static int change_plan(struct kiln_slots *slots,
		       const struct kvm_userspace_memory_region *region,
		       struct kiln_slot_change *change)
{
	struct kiln_slot *old = xa_load(&slots->by_id, region->slot);
	u64 end = region->guest_phys_addr + region->memory_size;

	if (!region->memory_size) {
		change->old = old;
		return old ? 0 : -EINVAL;
	}
	if (old) {
		if (old->npages != region->memory_size >> PAGE_SHIFT ||
		    old->base != region->userspace_addr ||
		    (old->flags ^ region->flags) & ~KVM_MEM_LOG_DIRTY_PAGES)
			return -EINVAL;
		if (old->gfn == region->guest_phys_addr >> PAGE_SHIFT &&
		    old->flags == region->flags)
			return 0;
	}
	if (end > 1ULL << slots->gpa_bits)
		return -EINVAL;
	change->old = old;
	change->new = slot_alloc(region);
	if (!change->new)
		return -ENOMEM;
	if (slots_overlap(slots_array(slots), change->new, old))
		return -EEXIST;
	return slot_log(slots, change->new, old);
}

int kiln_slots_prepare(struct kiln_slots *slots,
		       const struct kvm_userspace_memory_region *region,
		       struct kiln_slot_change *change)
{
	struct kiln_slot_array *array = slots_array(slots);
	int r;

	*change = (struct kiln_slot_change) { };
	r = region_check(region);
	if (!r)
		r = change_plan(slots, region, change);
	if (r || (!change->old && !change->new))
		goto fail;
	if (!slots_in_place(array, change)) {
		r = -ENOMEM;
		change->array = slots_copy(array, change);
		if (!change->array)
			goto fail;
	}
	if (!change->new) {
		xa_erase(&slots->by_id, region->slot);
		return 0;
	}
	r = xa_err(xa_store(&slots->by_id, region->slot, change->new,
			    GFP_KERNEL_ACCOUNT));
	if (!r)
		return 0;
fail:
	kvfree(change->array);
	slot_free(change->new);
	*change = (struct kiln_slot_change) { };
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_prepare);

void kiln_slots_publish(struct kiln_slots *slots,
			struct kiln_slot_change *change)
{
	struct kiln_slot_array *array = slots_array(slots);

	unsigned int logged = slots->logged;

	if (change->old) {
		interval_tree_remove(&change->old->hva, &slots->by_hva);
		logged -= !!change->old->dirty;
	}
	if (change->new) {
		interval_tree_insert(&change->new->hva, &slots->by_hva);
		logged += !!change->new->dirty;
	}
	WRITE_ONCE(slots->logged, logged);

	if (change->array) {
		change->retired = array;
		rcu_assign_pointer(slots->array, change->array);
		change->array = NULL;
	} else if (change->new) {
		WRITE_ONCE(array->slot[array->nr], change->new);
		/* after the slot: see slots_before() */
		smp_store_release(&array->nr, array->nr + 1);
	} else {
		WRITE_ONCE(array->nr, array->nr - 1);
	}
	/* after the array: see kiln_slots_find_cached() */
	smp_store_release(&slots->generation, slots->generation + 1);
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_publish);

void kiln_slots_finish(struct kiln_slot_change *change)
{
	if (change->retired && change->retired != &no_slots)
		kvfree_rcu(change->retired, rcu);
	slot_free(change->old);
	*change = (struct kiln_slot_change) { };
}

KILN_EXPORT_FOR_KUNIT(kiln_slots_finish);
