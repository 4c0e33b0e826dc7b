// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest touches memory that its second-stage table does not allow.
 *
 * Everything that decides about the new entry is looked at within one read side
 * of the mmu lock: the slot, whether the host is changing its page table there,
 * and that page table itself. So the common fault, on a page the host has, needs
 * no reference, no retry and no look-up twice. Only if the host has to make the
 * page first is the lock let go, and the fault begun anew.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "../compat.h"
#include "host.h"
#include "link.h"
#include "slots.h"

/* What fault_try() may say besides enum kiln_fault. */
enum {
	TRY_HOST = 0x100,	/* the host has to make the page */
	TRY_ZAP,		/* what is mapped stands in the way */
	TRY_LATER,		/* the host is about to change the page */
};

/*
 * The host may take a page away again before it is mapped. After so many times
 * let the guest run into the fault once more: signals are looked at in between.
 */
#define FAULT_TRIES		4

/*
 * Mark device addresses on as high a level as the hole between slots allows. A
 * guest that touches every address there is costs tables only at the edges of
 * slots.
 */
static void fault_mark_mmio(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu,
			    u64 gfn)
{
	int level = mmu->pt.fmt->max_level;
	u64 lo, hi;

	/* beyond the tree hardware exits with a violation each time */
	if (gfn >= kiln_pt_end(mmu->pt.fmt))
		return;
	kiln_slots_hole(&mmu->slots, gfn, &lo, &hi);
	for (; level > KILN_PT_4K; level--) {
		u64 first = gfn & ~(kiln_pt_span(level) - 1);

		if (first >= lo && hi - first >= kiln_pt_span(level))
			break;
	}
	if (kiln_pt_mark_mmio(&mmu->pt, &cpu->cache, gfn, level))
		cpu->mmio++;
}

/* The highest level on which a leaf for @gfn may stand. */
static int fault_level(const struct kiln_mmu *mmu, const struct kiln_slot *slot,
		       const struct kiln_host_page *page, u64 gfn)
{
	int level = min_t(int, page->level, slot->max_level);

	for (; level > KILN_PT_4K; level--) {
		u64 span = kiln_pt_span(level);
		u64 first = gfn & ~(span - 1);

		if (mmu->pt.fmt->leaf_levels & BIT(level) &&
		    first >= slot->gfn &&
		    first + span <= slot->gfn + slot->npages)
			break;
	}
	return level;
}

static u64 fault_bits(const struct kiln_pt_format *fmt,
		      const struct kiln_host_page *page, int level,
		      bool writable, bool write)
{
	u64 bits = fmt->leaf | fmt->accessed | fmt->memtype[page->memtype];

	if (level == KILN_PT_4K || !fmt->small_exec)
		bits |= fmt->exec;
	if (writable)
		bits |= fmt->write;
	/* spares the processor a walk to set it */
	if (write)
		bits |= fmt->dirty;
	if (page->tracked)
		bits |= fmt->sw_tracked;
	return bits;
}

/*
 * Of a logged slot: may the page be mapped writable? Not before it is written,
 * which is when its bit is set; and then first the bit, so that no page is ever
 * writable without. Who clears bits takes away the permission afterwards, under
 * the other side of the mmu lock.
 */
static bool fault_log(const struct kiln_slot *slot, u64 gfn, bool write)
{
	if (write)
		kiln_slot_mark(slot, gfn);
	return write || kiln_slot_is_dirty(slot, gfn);
}

static int fault_map(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu,
		     const struct kiln_slot *slot, u64 gfn, u32 access)
{
	bool write = access & KILN_ACCESS_WRITE;
	unsigned long hva = kiln_slot_hva(slot, gfn);
	bool may_write = !(slot->flags & KVM_MEM_READONLY);
	struct kiln_host_page page;
	unsigned long first, size;
	int level, r;

	if (!kiln_host_lookup(mmu->mm, hva, &page) || (write && !page.writable))
		return TRY_HOST;

	level = fault_level(mmu, slot, &page, gfn);
	if (unlikely(access & KILN_ACCESS_EXEC && mmu->pt.fmt->small_exec))
		level = KILN_PT_4K;
	size = kiln_pt_span(level) << PAGE_SHIFT;
	first = hva & ~(size - 1);
	if (kiln_link_invalidating(mmu->link, first, first + size))
		return TRY_LATER;
	/* Before the guest gets there. */
	if (unlikely(page.memtype == KILN_MEMTYPE_UC && !mmu->devices))
		WRITE_ONCE(mmu->devices, true);
	if (unlikely(slot->dirty))
		may_write = may_write && fault_log(slot, gfn, write);

	r = kiln_pt_map(&mmu->pt, &cpu->cache, gfn, page.pfn, level,
			fault_bits(mmu->pt.fmt, &page, level,
				   page.writable && may_write, write));
	if (r > 0)
		cpu->mapped[r]++;
	else if (!r)
		cpu->spurious++;
	else
		return r == -EEXIST ? TRY_ZAP : r;
	return KILN_FAULT_MAPPED;
}

/* @hva: set if the answer is TRY_HOST. */
static int fault_try(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gfn,
		     u32 access, unsigned long *hva)
{
	const struct kiln_slot *slot;
	int r;

	read_lock(&mmu->link->lock);
	slot = kiln_slots_find_cached(&mmu->slots, cpu, gfn);
	if (unlikely(!slot)) {
		fault_mark_mmio(mmu, cpu, gfn);
		r = KILN_FAULT_MMIO;
	} else if (unlikely(access & KILN_ACCESS_WRITE &&
			    slot->flags & KVM_MEM_READONLY)) {
		r = KILN_FAULT_MMIO;
	} else {
		*hva = kiln_slot_hva(slot, gfn);
		r = fault_map(mmu, cpu, slot, gfn, access);
	}
	read_unlock(&mmu->link->lock);
	return r;
}

int kiln_mmu_fault(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		   u32 access)
{
	unsigned int tables = mmu->pt.fmt->max_level - 1;
	bool write = access & KILN_ACCESS_WRITE;
	u64 gfn = gpa >> PAGE_SHIFT;
	unsigned long hva;
	int tries, r;

	if (unlikely(current->mm != mmu->mm))
		return -EFAULT;
	for (tries = 0; tries < FAULT_TRIES; tries++) {
		if (unlikely(cpu->cache.nr < tables)) {
			r = kiln_pt_cache_fill(&cpu->cache, tables);
			if (r)
				return r;
		}
		r = fault_try(mmu, cpu, gfn, access, &hva);
		switch (r) {
		case TRY_HOST:
			cpu->host_faults++;
			r = kiln_host_fault_in(mmu->mm, hva, write);
			if (r)
				return r;
			break;
		case TRY_ZAP:
			kiln_mmu_make_way(mmu, &cpu->cache, gfn);
			break;
		case TRY_LATER:
			cond_resched();
			return KILN_FAULT_MAPPED;
		default:
			return r;
		}
	}
	return KILN_FAULT_MAPPED;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_fault);
