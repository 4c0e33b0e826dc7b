// SPDX-License-Identifier: GPL-2.0-only
/*
 * Give memory of the owner's back to the host: what madvise() does with
 * MADV_DONTNEED for anonymous memory, and with MADV_REMOVE for a file that is
 * mapped shared (memfd, shmem, hugetlbfs). The MMU notifiers take it from the
 * guest's tables.
 *
 * Nothing that madvise() leaves alone is touched here, and no private mapping of a
 * file: what reappears there are the file's contents, and a guest may count
 * on zeroes.
 */
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/userfaultfd_k.h>

#include "balloon.h"

/* Mappings that are somebody else's business. */
#define UNTOUCHABLE	(VM_LOCKED | VM_PFNMAP | VM_IO | VM_MIXEDMAP)

int kiln_balloon_memory_init(struct kiln_balloon_memory *memory,
			     struct mm_struct *mm)
{
	memory->mm = mm;
	memory->zap = kiln_zap_get();
	return memory->zap ? 0 : -EOPNOTSUPP;
}

void kiln_balloon_memory_exit(struct kiln_balloon_memory *memory)
{
	kiln_zap_put(memory->zap);
}

static bool is_anonymous(struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma) && !is_vm_hugetlb_page(vma);
}

static bool is_shared_file(const struct vm_area_struct *vma)
{
	const unsigned long flags = VM_SHARED | VM_WRITE;

	return vma->vm_file && (vma->vm_flags & flags) == flags &&
	       vma->vm_file->f_mode & FMODE_WRITE;
}

/* Returns with the mmap lock held, as it is called. */
static bool punch(struct mm_struct *mm, struct vm_area_struct *vma,
		  unsigned long start, u64 len)
{
	loff_t pos = ((loff_t)vma->vm_pgoff << PAGE_SHIFT) +
		     (start - vma->vm_start);
	struct file *file = get_file(vma->vm_file);
	const struct cred *cred;
	int r;

	/* The file system may wait for somebody who wants the lock. */
	mmap_read_unlock(mm);
	cred = override_creds(file->f_cred);
	r = vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  pos, len);
	revert_creds(cred);
	fput(file);
	mmap_read_lock(mm);
	return !r;
}

/* [start, end) lies in @vma, which may be gone when this returns. */
static u64 give_back(struct kiln_balloon_memory *memory,
		     struct vm_area_struct *vma, unsigned long start,
		     unsigned long end)
{
	unsigned long size = vma_kernel_pagesize(vma);

	if (vma->vm_flags & UNTOUCHABLE || userfaultfd_armed(vma))
		return 0;
	start = ALIGN(start, size);
	end = ALIGN_DOWN(end, size);
	if (start >= end)
		return 0;
	if (is_anonymous(vma)) {
		kiln_zap(memory->zap, vma, start, end - start);
		return end - start;
	}
	if (is_shared_file(vma) && punch(memory->mm, vma, start, end - start))
		return end - start;
	return 0;
}

/* --------------------------------------------------------------- of zeroes */

static bool is_zero(struct page *page)
{
	return !memchr_inv(page_address(page), 0, PAGE_SIZE);
}

/* How many of @pages belong together. */
static int in_folio(struct page **pages, int nr)
{
	int n = 1;

	while (n < nr && page_folio(pages[n]) == page_folio(pages[0]))
		n++;
	return n;
}

/*
 * @pages are of one folio, each with a reference of ours: is there no other but
 * those of the owner's mapping of just them?
 */
static bool is_ours_alone(struct page **pages, int nr)
{
	struct folio *folio = page_folio(pages[0]);
	int mappings = nr;

	if (folio_test_large(folio) && folio_entire_mapcount(folio)) {
		if (nr != folio_nr_pages(folio))
			return false;
		mappings = 1;
	}
	return folio_ref_count(folio) == nr + mappings;
}

static bool are_zero(struct page **pages, int nr)
{
	while (nr)
		if (!is_zero(pages[--nr]))
			return false;
	return true;
}

/* Take pages out of @vma: how many bytes. */
static u64 drop_pages(struct kiln_balloon_memory *memory,
		      struct vm_area_struct *vma, unsigned long start,
		      struct page **pages, int nr)
{
	u64 done = 0;
	int n;

	for (; nr; nr -= n, pages += n, start += n * PAGE_SIZE) {
		n = in_folio(pages, nr);
		if (!is_ours_alone(pages, n) || !are_zero(pages, n))
			continue;
		kiln_zap(memory->zap, vma, start, n * PAGE_SIZE);
		done += n * PAGE_SIZE;
	}
	return done;
}

static void put_pages(struct page **pages, int nr)
{
	while (nr)
		put_page(pages[--nr]);
}

/* Look up those of [@*start, @end) that follow each other: how many, from @*start. */
static int look_up(struct vm_area_struct *vma, unsigned long *start,
		   unsigned long end, struct page **pages)
{
	int nr;

	if (!is_anonymous(vma) || vma->vm_flags & UNTOUCHABLE ||
	    userfaultfd_armed(vma)) {
		*start = end;
		return 0;
	}
	for (; *start < end; *start += PAGE_SIZE) {
		nr = get_user_pages_fast_only(*start, (end - *start) >> PAGE_SHIFT,
					      FOLL_WRITE, pages);
		if (nr > 0)
			return nr;
	}
	return 0;
}

u64 kiln_balloon_drop_zeroes(struct kiln_balloon_memory *memory,
			     unsigned long start, unsigned long end,
			     struct page **pages)
{
	struct mm_struct *mm = memory->mm;
	struct vm_area_struct *vma;
	u64 done = 0;
	int nr;

	while (start < end) {
		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (!vma) {
			mmap_read_unlock(mm);
			break;
		}
		start = max(start, vma->vm_start);
		nr = look_up(vma, &start, min(end, vma->vm_end), pages);
		done += drop_pages(memory, vma, start, pages, nr);
		mmap_read_unlock(mm);
		put_pages(pages, nr);
		start += nr * PAGE_SIZE;
	}
	return done;
}

u64 kiln_balloon_give_back(struct kiln_balloon_memory *memory,
			   unsigned long start, u64 len)
{
	unsigned long end = start + len, next;
	struct mm_struct *mm = memory->mm;
	struct vm_area_struct *vma;
	u64 done = 0;

	mmap_read_lock(mm);
	while (start < end) {
		vma = find_vma_intersection(mm, start, end);
		if (!vma)
			break;
		next = min(end, vma->vm_end);
		done += give_back(memory, vma, max(start, vma->vm_start), next);
		start = next;
	}
	mmap_read_unlock(mm);
	return done;
}
