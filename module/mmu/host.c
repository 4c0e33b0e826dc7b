// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of guest memory.
 *
 * The host's page table is walked as fast GUP walks it: with interrupts off,
 * which keeps its tables from being freed, and without locks. Unlike GUP no
 * reference is taken to the page: host.h says what takes its place. What GUP
 * refuses (VM_PFNMAP, devices) needs no other path for the same reason.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "../compat.h"
#include "host.h"

/* Cache bits of a host entry: all clear is write-back in Linux' PAT. */
#define PTE_CACHE_BITS		(_PAGE_PWT | _PAGE_PCD | _PAGE_PAT)
#define LARGE_CACHE_BITS	(_PAGE_PWT | _PAGE_PCD | _PAGE_PAT_LARGE)

/*
 * Pages without a struct page of their own, or none to be touched: RAM if the
 * host thinks so and maps them as such, device memory otherwise.
 */
static enum kiln_memtype special_memtype(u64 pfn, bool host_wb)
{
	if (is_zero_pfn(pfn))
		return KILN_MEMTYPE_WB;
	return host_wb && page_is_ram(pfn) ? KILN_MEMTYPE_WB : KILN_MEMTYPE_UC;
}

static bool host_pte(pte_t pte, struct kiln_host_page *page)
{
	bool host_wb = !(pte_flags(pte) & PTE_CACHE_BITS);

	if (!pte_access_permitted(pte, false))
		return false;
	page->pfn = pte_pfn(pte);
	page->level = KILN_PT_4K;
	page->writable = pte_access_permitted(pte, true);
	page->tracked = !pte_special(pte) && !pte_devmap(pte);
	page->memtype = pte_special(pte) ?
			special_memtype(page->pfn, host_wb) : KILN_MEMTYPE_WB;
	return true;
}

static bool host_pmd(pmd_t pmd, unsigned long hva, struct kiln_host_page *page)
{
	bool host_wb = !(pmd_flags(pmd) & LARGE_CACHE_BITS);
	bool special = kiln_pmd_special(pmd);

	if (!pmd_access_permitted(pmd, false))
		return false;
	page->pfn = pmd_pfn(pmd) + ((hva & ~PMD_MASK) >> PAGE_SHIFT);
	page->level = KILN_PT_2M;
	page->writable = pmd_access_permitted(pmd, true);
	page->tracked = !special && !pmd_devmap(pmd);
	page->memtype = special ? special_memtype(page->pfn, host_wb) :
				  KILN_MEMTYPE_WB;
	return true;
}

static bool host_pud(pud_t pud, unsigned long hva, struct kiln_host_page *page)
{
	bool host_wb = !(pud_flags(pud) & LARGE_CACHE_BITS);
	bool special = kiln_pud_special(pud);

	if (!pud_access_permitted(pud, false))
		return false;
	page->pfn = pud_pfn(pud) + ((hva & ~PUD_MASK) >> PAGE_SHIFT);
	page->level = KILN_PT_1G;
	page->writable = pud_access_permitted(pud, true);
	page->tracked = !special && !pud_devmap(pud);
	page->memtype = special ? special_memtype(page->pfn, host_wb) :
				  KILN_MEMTYPE_WB;
	return true;
}

static bool host_walk(struct mm_struct *mm, unsigned long hva,
		      struct kiln_host_page *page)
{
	pgd_t pgd = READ_ONCE(*pgd_offset(mm, hva));
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	if (!pgd_present(pgd))
		return false;
	p4d = READ_ONCE(*p4d_offset_lockless(pgd_offset(mm, hva), pgd, hva));
	if (!p4d_present(p4d))
		return false;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (!pud_present(pud))
		return false;
	if (pud_leaf(pud))
		return host_pud(pud, hva, page);
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (!pmd_present(pmd))
		return false;
	if (pmd_leaf(pmd))
		return host_pmd(pmd, hva, page);
	return host_pte(ptep_get_lockless(pte_offset_kernel(&pmd, hva)), page);
}

bool kiln_host_lookup(struct mm_struct *mm, unsigned long hva,
		      struct kiln_host_page *page)
{
	unsigned long flags;
	bool found;

	local_irq_save(flags);
	found = host_walk(mm, hva, page);
	local_irq_restore(flags);
	return found;
}

/* fixup_user_fault() reports poison as -EFAULT; GUP tells them apart. */
static int host_check_poison(unsigned long hva, bool write)
{
	long r = get_user_pages_unlocked(hva, 1, NULL, FOLL_HWPOISON |
					 (write ? FOLL_WRITE : 0));

	if (r != -EHWPOISON)
		return -EFAULT;
	send_sig_mceerr(BUS_MCEERR_AR, (void __user *)hva, PAGE_SHIFT,
			current);
	return -EHWPOISON;
}

int kiln_host_fault_in(struct mm_struct *mm, unsigned long hva, bool write)
{
	bool unlocked = false;
	int r;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	r = fixup_user_fault(mm, hva, write ? FAULT_FLAG_WRITE : 0, &unlocked);
	mmap_read_unlock(mm);
	return unlikely(r == -EFAULT) ? host_check_poison(hva, write) : r;
}

void kiln_host_page_gone(u64 pfn, int level, bool accessed, bool dirty)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	if (dirty)
		folio_mark_dirty(folio);
	/*
	 * As the host does when it unmaps: an anonymous page that leaves one
	 * address space is not needed by another, or is asked for its age
	 * before (clear_flush_young).
	 */
	if (accessed && !folio_test_anon(folio))
		folio_mark_accessed(folio);
}
