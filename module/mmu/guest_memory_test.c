// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots, faults, the MMU notifier and access to guest memory together, on real
 * memory: that of the process that loads this module, which each case borrows.
 * No guest runs; kiln_mmu_fault() is called as a guest's exit would.
 *
 * Cases run in a thread of KUnit's. They use no assertions, which would end that
 * thread while it has the process' memory.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "link.h"
#include "mmu_test.h"
#include "slots.h"

#define PAGES		16
#define SIZE		(PAGES * PAGE_SIZE)
#define GPA		0x100000ULL

/* Of the process that loads the module; set while the suite runs. */
static struct mm_struct *test_mm;

struct memory {
	struct kiln_pt_format fmt;
	struct kiln_mmu mmu;
	struct kiln_mmu_cpu cpu;
	unsigned long hva;
	bool borrowed;
};

static void count_nothing(struct kiln_mmu *mmu)
{
	/* no processor uses the tables: mmu->flushes counts the calls */
}

static int set_slot(struct memory *m, u32 id, u32 flags, u64 gpa, u64 size,
		    unsigned long hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = hva,
	};

	return kiln_mmu_set_region(&m->mmu, &region);
}

static int memory_init(struct kunit *test)
{
	struct memory *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	int r;

	if (!m || !test_mm)
		return -ENOMEM;
	kiln_pt_format_ept(&m->fmt, true, true, true);
	kthread_use_mm(test_mm);
	m->hva = vm_mmap(NULL, 0, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, 0);
	r = IS_ERR_VALUE(m->hva) ? -ENOMEM :
	    kiln_mmu_init(&m->mmu, test_mm, &m->fmt, count_nothing);
	if (r) {
		kthread_unuse_mm(test_mm);
		return r;
	}
	m->borrowed = true;
	test->priv = m;
	return set_slot(m, 0, 0, GPA, SIZE, m->hva);
}

static void memory_exit(struct kunit *test)
{
	struct memory *m = test->priv;

	if (!m || !m->borrowed)
		return;
	kiln_mmu_destroy(&m->mmu);
	kiln_mmu_cpu_destroy(&m->cpu);
	vm_munmap(m->hva, SIZE);
	kthread_unuse_mm(test_mm);
}

static int fault(struct memory *m, u64 gpa, u32 access)
{
	return kiln_mmu_fault(&m->mmu, &m->cpu, gpa, access);
}

static u64 entry(struct memory *m, u64 gpa)
{
	return kiln_pt_walk(&m->mmu.pt, gpa >> PAGE_SHIFT, NULL);
}

static bool mapped(struct memory *m, u64 gpa)
{
	return kiln_pt_present(&m->fmt, entry(m, gpa));
}

static bool writable(struct memory *m, u64 gpa)
{
	return mapped(m, gpa) && entry(m, gpa) & m->fmt.write;
}

static void a_write_maps_a_page_for_writing(struct kunit *test)
{
	struct memory *m = test->priv;

	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_WRITE),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, m->cpu.mapped[1], 1);
	KUNIT_EXPECT_EQ(test, m->cpu.host_faults, 1);
}

static void a_page_the_host_has_is_mapped_at_once(struct kunit *test)
{
	struct memory *m = test->priv;

	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ),
			KILN_FAULT_MAPPED);
	/* and for writing, though it was read, as the host may write it */
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
	KUNIT_EXPECT_EQ(test, m->cpu.host_faults, 0);
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_EQ(test, m->cpu.spurious, 1);
}

static void the_zero_page_is_replaced_upon_a_write(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 zero;

	fault(m, GPA, KILN_ACCESS_READ);
	zero = entry(m, GPA);
	KUNIT_EXPECT_TRUE(test, mapped(m, GPA));
	KUNIT_EXPECT_FALSE(test, writable(m, GPA));
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
	KUNIT_EXPECT_NE(test, kiln_pt_pfn(&m->fmt, zero),
			kiln_pt_pfn(&m->fmt, entry(m, GPA)));
}

static void what_the_host_unmaps_is_unmapped_and_flushed(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 flushes;

	fault(m, GPA, KILN_ACCESS_WRITE);
	fault(m, GPA + PAGE_SIZE, KILN_ACCESS_WRITE);
	flushes = m->mmu.flushes;
	vm_munmap(m->hva, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA));
	KUNIT_EXPECT_TRUE(test, mapped(m, GPA + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, m->mmu.flushes, flushes + 1);
	KUNIT_EXPECT_EQ(test, m->mmu.link->invalidations, 0);
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ), -EFAULT);
}

static void a_page_being_invalidated_is_not_mapped(struct kunit *test)
{
	struct memory *m = test->priv;
	struct kiln_mmu_link *link = m->mmu.link;

	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)m->hva), 0);
	link->invalidations = 1;
	link->inval_start = m->hva;
	link->inval_end = m->hva + PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_WRITE),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA));
	link->invalidations = 0;
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, mapped(m, GPA));
}

static void what_is_frozen_nobody_touches(struct kunit *test)
{
	struct memory *m = test->priv;
	u8 b = 0;

	fault(m, GPA, KILN_ACCESS_WRITE);
	fault(m, GPA + PAGE_SIZE, KILN_ACCESS_WRITE);
	KUNIT_ASSERT_EQ(test, kiln_mmu_freeze(&m->mmu, m->hva,
					      m->hva + PAGE_SIZE), 0);
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA));
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA));
	KUNIT_EXPECT_EQ(test, kiln_mmu_read_atomic(&m->mmu, NULL, GPA, &b, 1),
			-EFAULT);
	/* the page behind it is as it was */
	KUNIT_EXPECT_TRUE(test, mapped(m, GPA + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, kiln_mmu_read_atomic(&m->mmu, NULL,
						   GPA + PAGE_SIZE, &b, 1), 0);
	kiln_mmu_thaw(&m->mmu);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, NULL, GPA, &b, 1), 0);
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
}

static void without_a_slot_it_is_a_device(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 gpa = GPA + SIZE;

	KUNIT_EXPECT_EQ(test, fault(m, gpa, KILN_ACCESS_READ),
			KILN_FAULT_MMIO);
	KUNIT_EXPECT_TRUE(test, kiln_pt_is_mmio(&m->fmt, entry(m, gpa)));
	KUNIT_EXPECT_FALSE(test, kiln_pt_is_mmio(&m->fmt, entry(m, GPA)));
	KUNIT_EXPECT_EQ(test, fault(m, ~0ULL, KILN_ACCESS_WRITE),
			KILN_FAULT_MMIO);
	/* memory that appears there is found */
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, 0, gpa, SIZE, m->hva), 0);
	KUNIT_EXPECT_EQ(test, entry(m, gpa), 0);
	KUNIT_EXPECT_EQ(test, fault(m, gpa, KILN_ACCESS_WRITE),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_TRUE(test, mapped(m, gpa));
}

static void a_device_far_from_memory_costs_no_table(struct kunit *test)
{
	struct memory *m = test->priv;
	int level;

	fault(m, 1ULL << 45, KILN_ACCESS_READ);
	kiln_pt_walk(&m->mmu.pt, 1ULL << (45 - PAGE_SHIFT), &level);
	KUNIT_EXPECT_EQ(test, level, 4);
	KUNIT_EXPECT_EQ(test, m->cpu.cache.nr, 3);
}

static void a_deleted_slot_is_unmapped(struct kunit *test)
{
	struct memory *m = test->priv;
	u8 b;

	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, entry(m, GPA), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, &m->cpu, GPA, &b, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ),
			KILN_FAULT_MMIO);
}

static void a_moved_slot_keeps_its_contents(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 to = GPA + 4 * SIZE;
	u32 v = 0x12345678, w = 0;

	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, NULL, GPA, &v, 4), 0);
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, to, SIZE, m->hva), 0);
	KUNIT_EXPECT_FALSE(test, mapped(m, GPA));
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, to, &w, 4), 0);
	KUNIT_EXPECT_EQ(test, v, w);
}

static void a_read_only_slot_is_read_but_not_written(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 gpa = GPA + SIZE, old = 0;
	bool ok, may_write;
	u8 b = 1;

	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, KVM_MEM_READONLY, gpa, SIZE,
				       m->hva), 0);
	KUNIT_EXPECT_EQ(test, fault(m, gpa, KILN_ACCESS_WRITE),
			KILN_FAULT_MMIO);
	KUNIT_EXPECT_EQ(test, fault(m, gpa, KILN_ACCESS_READ),
			KILN_FAULT_MAPPED);
	KUNIT_EXPECT_TRUE(test, mapped(m, gpa));
	KUNIT_EXPECT_FALSE(test, writable(m, gpa));
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, gpa, &b, 1), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, NULL, gpa, &b, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, gpa, &old, 1, 8,
					       &ok), -EFAULT);
	KUNIT_EXPECT_EQ(test, kiln_mmu_gpa_to_hva(&m->mmu, NULL, gpa + 5,
						  &may_write), m->hva + 5);
	KUNIT_EXPECT_FALSE(test, may_write);
}

static void accesses_cross_pages_and_slots(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 gpa = GPA + SIZE - 3;
	u8 in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[8] = { };
	u8 first, last;

	/* the second slot shows the same memory */
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, 0, GPA + SIZE, SIZE, m->hva), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, &m->cpu, gpa, in, 8), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, &m->cpu, gpa, out, 8), 0);
	KUNIT_EXPECT_EQ(test, memcmp(in, out, 8), 0);
	KUNIT_EXPECT_EQ(test, get_user(last, (u8 __user *)m->hva + SIZE - 1),
			0);
	KUNIT_EXPECT_EQ(test, last, 3);
	KUNIT_EXPECT_EQ(test, get_user(first, (u8 __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, first, 4);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, gpa + SIZE, out, 8),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, ~0ULL - 3, out, 8),
			-EFAULT);
}

static void an_atomic_read_does_not_make_pages(struct kunit *test)
{
	struct memory *m = test->priv;
	u8 b[16];

	KUNIT_EXPECT_EQ(test, kiln_mmu_read_atomic(&m->mmu, NULL, GPA, b, 16),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, GPA, b, 16), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read_atomic(&m->mmu, NULL, GPA, b, 16),
			0);
}

static void cmpxchg_exchanges_what_is_as_expected(struct kunit *test)
{
	struct memory *m = test->priv;
	unsigned int size;
	bool ok;

	for (size = 1; size <= 8; size *= 2) {
		u64 gpa = GPA + size * PAGE_SIZE, mask = ~0ULL >> (64 - 8 * size);
		u64 new = 0x1122334455667788ULL, old = 0, now = 0;

		KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, gpa, &old,
						       new, size, &ok), 0);
		KUNIT_EXPECT_TRUE(test, ok);
		kiln_mmu_read(&m->mmu, NULL, gpa, &now, 8);
		KUNIT_EXPECT_EQ(test, now, new & mask);
		old = 7;
		KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, gpa, &old,
						       0, size, &ok), 0);
		KUNIT_EXPECT_FALSE(test, ok);
		KUNIT_EXPECT_EQ(test, old, new & mask);
	}
}

static void cmpxchg_must_be_aligned_and_of_a_word(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 old = 0;
	bool ok;

	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA + 1, &old, 0,
					       2, &ok), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA, &old, 0, 3,
					       &ok), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA, &old, 0, 16,
					       &ok), -EINVAL);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA, &old, 0, 0,
					       &ok), -EINVAL);
}

static void a_gpa_cache_follows_the_slots(struct kunit *test)
{
	struct memory *m = test->priv;
	struct kiln_gpa_cache cache;
	u32 v = 99, w = 0;

	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_init(&m->mmu, &cache, GPA + 8, 16),
			0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write(&m->mmu, &cache, 4, &v, 4),
			0);
	KUNIT_EXPECT_EQ(test, get_user(w, (u32 __user *)(m->hva + 12)), 0);
	KUNIT_EXPECT_EQ(test, w, 99);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_read(&m->mmu, &cache, 14, &v, 4),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_read(&m->mmu, &cache, 4, &v, 4),
			-EFAULT);
	KUNIT_EXPECT_PTR_EQ(test, cache.slot, NULL);
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, GPA, SIZE, m->hva), 0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_read(&m->mmu, &cache, 4, &v, 4),
			0);
	KUNIT_EXPECT_EQ(test, v, 99);
}

/* What the scheduler does, wherever the cache's own thread has come to. */
static void a_gpa_cache_half_way_through_a_change_is_not_written_by(struct kunit *test)
{
	struct memory *m = test->priv;
	struct kiln_gpa_cache cache, half;
	u32 v = 77, w = 0;

	KUNIT_EXPECT_EQ(test, put_user(w, (u32 __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_init(&m->mmu, &cache, GPA, 16), 0);
	half = cache;
	half.generation = 0;
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write_atomic(&m->mmu, &half, 0, &v,
							  4), -EFAULT);
	half = cache;
	half.len = 2;
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write_atomic(&m->mmu, &half, 0, &v,
							  4), -EFAULT);
	KUNIT_EXPECT_EQ(test, get_user(w, (u32 __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, w, 0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write_atomic(&m->mmu, &cache, 0,
							  &v, 4), 0);
	KUNIT_EXPECT_EQ(test, get_user(w, (u32 __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, w, 77);
}

static void a_gpa_cache_may_span_two_slots(struct kunit *test)
{
	struct memory *m = test->priv;
	struct kiln_gpa_cache cache;
	u64 v = 0x0102030405060708ULL, w = 0;
	u32 half;

	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_init(&m->mmu, &cache,
						  GPA + SIZE - 4, 8), -EFAULT);
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, 0, GPA + SIZE, SIZE, m->hva), 0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write(&m->mmu, &cache, 0, &v, 8),
			0);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_read(&m->mmu, &cache, 0, &w, 8),
			0);
	KUNIT_EXPECT_EQ(test, v, w);
	KUNIT_EXPECT_EQ(test, get_user(half, (u32 __user *)m->hva), 0);
	KUNIT_EXPECT_EQ(test, half, 0x01020304);
}

/* The slot's dirty log, which has one word, or ~0. */
static u64 dirty(struct memory *m)
{
	unsigned long p = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, 0);
	u64 log = ~0ULL;

	if (IS_ERR_VALUE(p))
		return ~0ULL;
	if (kiln_mmu_get_dirty(&m->mmu, 0, (void __user *)p) ||
	    get_user(log, (u64 __user *)p))
		log = ~0ULL;
	vm_munmap(p, PAGE_SIZE);
	return log;
}

static void switch_log_on(struct kunit *test)
{
	struct memory *m = test->priv;

	KUNIT_EXPECT_EQ(test, set_slot(m, 0, KVM_MEM_LOG_DIRTY_PAGES, GPA, SIZE,
				       m->hva), 0);
}

static void a_logged_page_is_writable_only_once_it_was_written(struct kunit *test)
{
	struct memory *m = test->priv;
	u64 flushes;

	fault(m, GPA, KILN_ACCESS_WRITE);
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
	switch_log_on(test);
	KUNIT_EXPECT_TRUE(test, mapped(m, GPA));
	KUNIT_EXPECT_FALSE(test, writable(m, GPA));
	KUNIT_EXPECT_EQ(test, dirty(m), 0);

	fault(m, GPA, KILN_ACCESS_READ);
	KUNIT_EXPECT_FALSE(test, writable(m, GPA));
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
	flushes = m->mmu.flushes;
	KUNIT_EXPECT_EQ(test, dirty(m), 1);
	KUNIT_EXPECT_EQ(test, m->mmu.flushes, flushes + 1);
	KUNIT_EXPECT_FALSE(test, writable(m, GPA));
	/* nothing was written, nothing has to be flushed */
	KUNIT_EXPECT_EQ(test, dirty(m), 0);
	KUNIT_EXPECT_EQ(test, m->mmu.flushes, flushes + 1);
}

static void without_a_log_pages_are_writable_again(struct kunit *test)
{
	struct memory *m = test->priv;

	switch_log_on(test);
	KUNIT_EXPECT_TRUE(test, kiln_mmu_logging(&m->mmu));
	fault(m, GPA, KILN_ACCESS_READ);
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, GPA, SIZE, m->hva), 0);
	KUNIT_EXPECT_FALSE(test, kiln_mmu_logging(&m->mmu));
	KUNIT_EXPECT_EQ(test, dirty(m), ~0ULL);
	fault(m, GPA, KILN_ACCESS_WRITE);
	KUNIT_EXPECT_TRUE(test, writable(m, GPA));
}

static void what_the_module_writes_is_logged(struct kunit *test)
{
	struct memory *m = test->priv;
	struct kiln_gpa_cache cache;
	u8 bytes[16] = { };
	u64 old = 1;
	bool ok;

	kiln_gpa_cache_init(&m->mmu, &cache, GPA + 9 * PAGE_SIZE, 16);
	switch_log_on(test);
	/* the host has page 3, so the page before it sleeps */
	KUNIT_EXPECT_EQ(test, put_user(0, (u64 __user *)(m->hva + 3 * PAGE_SIZE)), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, NULL,
					     GPA + 3 * PAGE_SIZE - 1, bytes, 2),
			0);
	KUNIT_EXPECT_EQ(test, dirty(m), 0xc);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, GPA, bytes, 2), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA, &old, 1, 8,
					       &ok), 0);
	KUNIT_EXPECT_FALSE(test, ok);
	KUNIT_EXPECT_EQ(test, dirty(m), 0);
	KUNIT_EXPECT_EQ(test, kiln_mmu_cmpxchg(&m->mmu, NULL, GPA, &old, 1, 8,
					       &ok), 0);
	KUNIT_EXPECT_TRUE(test, ok);
	KUNIT_EXPECT_EQ(test, dirty(m), 1);
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write(&m->mmu, &cache, 8, bytes,
						   8), 0);
	KUNIT_EXPECT_EQ(test, dirty(m), BIT(9));
	KUNIT_EXPECT_EQ(test, kiln_gpa_cache_write_atomic(&m->mmu, &cache, 0,
							  bytes, 1), 0);
	KUNIT_EXPECT_EQ(test, dirty(m), BIT(9));
}

static void what_was_written_by_another_way_is_logged_in_each_slot(struct kunit *test)
{
	struct memory *m = test->priv;

	switch_log_on(test);
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, KVM_MEM_LOG_DIRTY_PAGES,
				       GPA + SIZE, SIZE, m->hva), 0);
	kiln_mmu_wrote(&m->mmu, m->hva + PAGE_SIZE - 1, 2);
	kiln_mmu_wrote(&m->mmu, m->hva + SIZE - 1, 100);
	kiln_mmu_wrote(&m->mmu, m->hva + 5 * PAGE_SIZE, 0);
	kiln_mmu_wrote(&m->mmu, m->hva + SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, dirty(m), 3 | BIT(PAGES - 1));
	KUNIT_EXPECT_EQ(test, set_slot(m, 0, 0, GPA, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, set_slot(m, 1, 0, GPA + SIZE, 0, 0), 0);
	KUNIT_EXPECT_FALSE(test, kiln_mmu_logging(&m->mmu));
}

static void another_mm_has_no_access(struct kunit *test)
{
	struct memory *m = test->priv;
	u8 b = 0;

	kthread_unuse_mm(test_mm);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, GPA, &b, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, kiln_mmu_write(&m->mmu, NULL, GPA, &b, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, fault(m, GPA, KILN_ACCESS_READ), -EFAULT);
	kthread_use_mm(test_mm);
	KUNIT_EXPECT_EQ(test, kiln_mmu_read(&m->mmu, NULL, GPA, &b, 1), 0);
}

/* Runs in the process that loads the module. */
static int memory_suite_init(struct kunit_suite *suite)
{
	test_mm = get_task_mm(current);
	return test_mm ? 0 : -EINVAL;
}

static void memory_suite_exit(struct kunit_suite *suite)
{
	if (test_mm)
		mmput(test_mm);
	test_mm = NULL;
}

static struct kunit_case memory_cases[] = {
	KUNIT_CASE(a_write_maps_a_page_for_writing),
	KUNIT_CASE(a_page_the_host_has_is_mapped_at_once),
	KUNIT_CASE(the_zero_page_is_replaced_upon_a_write),
	KUNIT_CASE(what_the_host_unmaps_is_unmapped_and_flushed),
	KUNIT_CASE(a_page_being_invalidated_is_not_mapped),
	KUNIT_CASE(what_is_frozen_nobody_touches),
	KUNIT_CASE(without_a_slot_it_is_a_device),
	KUNIT_CASE(a_device_far_from_memory_costs_no_table),
	KUNIT_CASE(a_deleted_slot_is_unmapped),
	KUNIT_CASE(a_moved_slot_keeps_its_contents),
	KUNIT_CASE(a_read_only_slot_is_read_but_not_written),
	KUNIT_CASE(accesses_cross_pages_and_slots),
	KUNIT_CASE(an_atomic_read_does_not_make_pages),
	KUNIT_CASE(cmpxchg_exchanges_what_is_as_expected),
	KUNIT_CASE(cmpxchg_must_be_aligned_and_of_a_word),
	KUNIT_CASE(a_gpa_cache_follows_the_slots),
	KUNIT_CASE(a_gpa_cache_half_way_through_a_change_is_not_written_by),
	KUNIT_CASE(a_gpa_cache_may_span_two_slots),
	KUNIT_CASE(a_logged_page_is_writable_only_once_it_was_written),
	KUNIT_CASE(without_a_log_pages_are_writable_again),
	KUNIT_CASE(what_the_module_writes_is_logged),
	KUNIT_CASE(what_was_written_by_another_way_is_logged_in_each_slot),
	KUNIT_CASE(another_mm_has_no_access),
	{ }
};

struct kunit_suite guest_memory_suite = {
	.name = "kiln_guest_memory",
	.suite_init = memory_suite_init,
	.suite_exit = memory_suite_exit,
	.init = memory_init,
	.exit = memory_exit,
	.test_cases = memory_cases,
};
