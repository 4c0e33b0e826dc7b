// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory of a VM, from its creation to its end.
 *
 * User space says with slots which guest addresses are which of its own
 * addresses (slots.c). Nothing is mapped for the guest until it touches it: the
 * fault (fault.c) looks up the slot, then what the host's page table has there
 * (host.c), and puts that into the guest's second-stage table (pgtable.c, in the
 * format of pt_ept.c). The host owns the pages throughout: whenever it takes one
 * away, write-protects it or asks whether it is used, the MMU notifier
 * (notifier.c) does the same in the second-stage table. The rest of the module
 * gets at guest memory through user space's mapping of it (guest_mem.c). Who
 * wants to know which pages were written asks for a log of that (dirty.c).
 */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/io.h>
#include <asm/processor.h>

#include "../compat.h"
#include "host.h"
#include "link.h"
#include "slots.h"

int kiln_mmu_init(struct kiln_mmu *mmu, struct mm_struct *mm,
		  const struct kiln_pt_format *fmt,
		  void (*flush)(struct kiln_mmu *mmu))
{
	unsigned int tree_bits = 9 * fmt->max_level + PAGE_SHIFT;
	int r;

	mmu->mm = mm;
	mmu->flush = flush;
	mmu->zaps = 0;
	mmu->flushes = 0;
	mmu->devices = false;
	init_rwsem(&mmu->slots_lock);
	kiln_slots_init(&mmu->slots,
			min_t(unsigned int, tree_bits,
			      boot_cpu_data.x86_phys_bits));
	r = kiln_pt_init(&mmu->pt, fmt, kiln_host_page_gone);
	if (r)
		return r;
	mmu->link = kiln_link_create(mmu);
	if (IS_ERR(mmu->link)) {
		kiln_pt_destroy(&mmu->pt);
		return PTR_ERR(mmu->link);
	}
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_init);

/* Who has no vCPU needs no flush, and may have nothing left to ask for one. */
static void mmu_no_flush(struct kiln_mmu *mmu)
{
}

void kiln_mmu_destroy(struct kiln_mmu *mmu)
{
	struct kiln_mmu_link *link = mmu->link;

	write_lock(&link->lock);
	mmu->flush = mmu_no_flush;
	write_unlock(&link->lock);
	/*
	 * The notifier is still told of pages that go away, so every leaf found
	 * here is of a page the host still has.
	 */
	kiln_mmu_zap(mmu, 0, kiln_pt_end(mmu->pt.fmt));
	write_lock(&link->lock);
	link->mmu = NULL;
	write_unlock(&link->lock);
	kiln_link_put(link);
	mmu->link = NULL;
	kiln_pt_destroy(&mmu->pt);
	kiln_slots_destroy(&mmu->slots);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_destroy);

void kiln_mmu_exit(void)
{
	mmu_notifier_synchronize();
}

void kiln_mmu_cpu_destroy(struct kiln_mmu_cpu *cpu)
{
	kiln_pt_cache_drain(&cpu->cache);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_cpu_destroy);

phys_addr_t kiln_mmu_root(const struct kiln_mmu *mmu)
{
	return virt_to_phys(mmu->pt.root);
}

void kiln_mmu_flush_batch(struct kiln_mmu *mmu, struct kiln_pt_batch *batch)
{
	lockdep_assert_held_write(&mmu->link->lock);
	mmu->zaps += batch->zapped;
	if (!batch->flush)
		return;
	mmu->flush(mmu);
	mmu->flushes++;
}

void kiln_mmu_zap(struct kiln_mmu *mmu, u64 start, u64 end)
{
	struct kiln_pt_batch batch;

	kiln_pt_batch_init(&batch);
	do {
		write_lock(&mmu->link->lock);
		start = kiln_pt_zap(&mmu->pt, start, end, &batch);
		kiln_mmu_flush_batch(mmu, &batch);
		write_unlock(&mmu->link->lock);
		kiln_pt_batch_free(&batch);
		cond_resched();
	} while (start < end);
}

static void mmu_zap_slot(struct kiln_mmu *mmu, const struct kiln_slot *slot)
{
	if (slot)
		kiln_mmu_zap(mmu, slot->gfn, slot->gfn + slot->npages);
}

static bool log_only(const struct kiln_slot_change *change)
{
	return change->old && change->new &&
	       change->old->gfn == change->new->gfn;
}

/*
 * The pages are the same, the log begins or ends. What begins with all bits set
 * has nothing to watch yet. At the end large pages may come back.
 */
static void mmu_switch_log(struct kiln_mmu *mmu, const struct kiln_slot *slot)
{
	u64 end = slot->gfn + slot->npages;

	if (!slot->dirty)
		kiln_mmu_zap(mmu, slot->gfn, end);
	else if (!(mmu->slots.manual & KVM_DIRTY_LOG_INITIALLY_SET))
		kiln_mmu_watch(mmu, slot->gfn, end);
}

int kiln_mmu_set_region(struct kiln_mmu *mmu,
			const struct kvm_userspace_memory_region *region)
{
	struct kiln_slot_change change;
	int r;

	/* Waits for accesses that sleep in a fault on the memory they use. */
	if (down_write_killable(&mmu->slots_lock))
		return -EINTR;
	r = kiln_slots_prepare(&mmu->slots, region, &change);
	if (r || (!change.old && !change.new))
		goto unlock;

	write_lock(&mmu->link->lock);
	kiln_slots_publish(&mmu->slots, &change);
	write_unlock(&mmu->link->lock);
	/*
	 * From here on faults see the new slots. What they map is not harmed by
	 * being zapped once more; what was mapped before is found: leaves of the
	 * old slot, device entries where the new one is.
	 */
	if (log_only(&change)) {
		mmu_switch_log(mmu, change.new);
	} else {
		mmu_zap_slot(mmu, change.old);
		mmu_zap_slot(mmu, change.new);
	}
	up_write(&mmu->slots_lock);
	/*
	 * Accesses that do not sleep are under RCU. User space may use the
	 * memory of a deleted slot for something else once this has returned,
	 * and relies on a log that was switched on.
	 */
	if (change.old)
		synchronize_rcu_expedited();
	kiln_slots_finish(&change);
	return 0;
unlock:
	up_write(&mmu->slots_lock);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_set_region);

int kiln_mmu_freeze(struct kiln_mmu *mmu, unsigned long start,
		    unsigned long end)
{
	if (down_write_killable(&mmu->slots_lock))
		return -EINTR;
	WRITE_ONCE(mmu->frozen_start, start);
	/* Pairs with kiln_mmu_frozen(). */
	smp_store_release(&mmu->frozen_end, end);
	/* Accesses that do not sleep are under RCU. */
	synchronize_rcu_expedited();
	kiln_link_block(mmu->link, start, end);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_freeze);

void kiln_mmu_thaw(struct kiln_mmu *mmu)
{
	kiln_link_unblock(mmu->link);
	WRITE_ONCE(mmu->frozen_end, 0);
	up_write(&mmu->slots_lock);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_thaw);
