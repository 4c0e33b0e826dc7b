/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory slots of a VM: which guest addresses are backed by which host
 * virtual addresses.
 *
 * Slots are found by guest address in a sorted array of pointers, by host
 * address in an interval tree, and by number in an xarray. A change is prepared
 * with slots_lock held for writing, where it may fail; published with the mmu
 * lock held for writing as well, where it cannot; and finished, when no reader
 * can have what was replaced any more, by freeing that.
 *
 * The array is read under RCU or under either side of the mmu lock.
 */
#ifndef KILN_MMU_SLOTS_H
#define KILN_MMU_SLOTS_H

#include <linux/bitops.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/rcupdate.h>

#include "mmu.h"

/**
 * struct kiln_slot - guest memory backed by one piece of host address space
 * @gfn: first guest frame
 * @npages: size, at least 1
 * @base: host virtual address of @gfn
 * @flags: KVM_MEM_*
 * @id: slot number
 * @max_level: leaves above this level cannot stand anywhere in the slot,
 *	because guest and host addresses are aligned differently, or because
 *	the slot is logged: pages are told apart by their own entries
 * @dirty: the dirty log, a bit per page (see dirty.c); NULL: not logged. Its
 *	bits change atomically at any time
 * @hva: place in kiln_slots.by_hva
 *
 * Constant while published, but for the bits.
 */
struct kiln_slot {
	u64 gfn;
	u64 npages;
	unsigned long base;
	u32 flags;
	u16 id;
	u8 max_level;
	unsigned long *dirty;
	struct interval_tree_node hva;
};

/**
 * struct kiln_slot_array - slots in ascending order of guest address
 * @rcu: to free it
 * @nr: in use; grows and shrinks in place only at the end
 * @room: allocated
 * @slot: those in use do not overlap
 *
 * Readers that see an old @nr with a newer slot[], or the reverse, look at a
 * slot that is or was there: they check that it holds what they look for.
 */
struct kiln_slot_array {
	struct rcu_head rcu;
	unsigned int nr;
	unsigned int room;
	struct kiln_slot *slot[];
};

/**
 * struct kiln_slot_change - a change of the slots under way
 * @old: slot that goes away, or NULL
 * @new: slot that comes, or NULL
 * @array: to replace the one there is, or NULL if that changes in place
 * @retired: array that was replaced
 */
struct kiln_slot_change {
	struct kiln_slot *old;
	struct kiln_slot *new;
	struct kiln_slot_array *array;
	struct kiln_slot_array *retired;
};

/**
 * kiln_slots_init() - no slots
 * @slots: to be initialised
 * @gpa_bits: width of a guest-physical address, at most 52
 */
void kiln_slots_init(struct kiln_slots *slots, unsigned int gpa_bits);

/**
 * kiln_slots_destroy() - free all of them
 * @slots: nobody looks at them any more
 */
void kiln_slots_destroy(struct kiln_slots *slots);

/**
 * kiln_slots_prepare() - check a change and get ready for it
 * @slots: the slots
 * @region: what user space wants
 * @change: filled in; with neither old nor new slot nothing is to be done
 *
 * Upon success kiln_slots_publish() and kiln_slots_finish() must follow.
 *
 * Return: see kiln_mmu_set_region().
 * Context: may sleep; slots_lock held for writing.
 */
int kiln_slots_prepare(struct kiln_slots *slots,
		       const struct kvm_userspace_memory_region *region,
		       struct kiln_slot_change *change);

/**
 * kiln_slots_publish() - let everybody see a change
 * @slots: the slots
 * @change: prepared
 *
 * Context: slots_lock and the mmu lock held for writing.
 */
void kiln_slots_publish(struct kiln_slots *slots,
			struct kiln_slot_change *change);

/**
 * kiln_slots_finish() - free what was replaced
 * @change: published; if it has an old slot, an RCU grace period ago
 */
void kiln_slots_finish(struct kiln_slot_change *change);

/**
 * kiln_slots_find() - look a guest frame up
 * @slots: the slots
 * @gfn: guest frame
 *
 * Return: its slot, or NULL.
 * Context: RCU read side, or the mmu lock held.
 */
const struct kiln_slot *kiln_slots_find(const struct kiln_slots *slots,
					u64 gfn);

/**
 * kiln_slots_hole() - how far is it to the next slots?
 * @slots: the slots
 * @gfn: guest frame that has no slot
 * @start: set to one past the end of the slot before, or 0
 * @end: set to the start of the slot after, or U64_MAX
 *
 * Context: the mmu lock held.
 */
void kiln_slots_hole(const struct kiln_slots *slots, u64 gfn, u64 *start,
		     u64 *end);

static inline bool kiln_slot_has(const struct kiln_slot *slot, u64 gfn)
{
	return gfn - slot->gfn < slot->npages;
}

/* Words of a dirty log. */
static inline unsigned long kiln_slot_words(const struct kiln_slot *slot)
{
	return BITS_TO_LONGS(slot->npages);
}

static inline bool kiln_slot_is_dirty(const struct kiln_slot *slot, u64 gfn)
{
	return test_bit(gfn - slot->gfn, slot->dirty);
}

/*
 * Say that a page of a logged slot has been written. After the write, and without
 * a look at the bit first: set_bit() is also the barrier that keeps who takes the
 * bit from reading the page as it was before.
 */
static inline void kiln_slot_mark(const struct kiln_slot *slot, u64 gfn)
{
	set_bit(gfn - slot->gfn, slot->dirty);
}

/* The same for what lies from @gpa on, all in @slot; logged or not. */
static inline void kiln_slot_wrote(const struct kiln_slot *slot, u64 gpa,
				   u64 len)
{
	u64 gfn;

	if (likely(!slot->dirty) || !len)
		return;
	for (gfn = gpa >> PAGE_SHIFT; gfn <= (gpa + len - 1) >> PAGE_SHIFT; gfn++)
		kiln_slot_mark(slot, gfn);
}

/*
 * @gfn is in @slot; a processor that guesses so shall not go by the guest's
 * number to any address of the host.
 */
static inline unsigned long kiln_slot_hva(const struct kiln_slot *slot, u64 gfn)
{
	u64 n = array_index_nospec(gfn - slot->gfn, slot->npages);

	return slot->base + (n << PAGE_SHIFT);
}

/*
 * Look up with the vCPU's memory of the last hit. The generation is read before
 * the array and published after it: a slot remembered under the current
 * generation is current.
 */
static inline const struct kiln_slot *
kiln_slots_find_cached(const struct kiln_slots *slots, struct kiln_mmu_cpu *cpu,
		       u64 gfn)
{
	/* pairs with kiln_slots_publish() */
	unsigned long generation = smp_load_acquire(&slots->generation);
	const struct kiln_slot *slot;

	if (cpu && likely(cpu->generation == generation &&
			  kiln_slot_has(cpu->slot, gfn)))
		return cpu->slot;
	slot = kiln_slots_find(slots, gfn);
	if (cpu && slot) {
		cpu->slot = slot;
		cpu->generation = generation;
	}
	return slot;
}

#endif /* KILN_MMU_SLOTS_H */
