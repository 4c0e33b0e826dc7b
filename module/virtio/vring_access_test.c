// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands between the vring engine and real memory: user memory that is
 * there, read-only or gone, and guest memory found through slots. On memory of
 * the process that loads this module, which each case borrows.
 *
 * Cases run in a thread of KUnit's. They use no assertions, which would end that
 * thread while it has the process' memory.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

#include "vring_access.h"
#include "vring_suites.h"

#define GPA		0x100000ULL

/* Of the process that loads the module; set while the suite runs. */
static struct mm_struct *test_mm;

/* Two slots, one page each, that follow each other for the guest only. */
struct process {
	struct kiln_pt_format fmt;
	struct kiln_mmu mmu;
	struct kiln_vring vr;
	unsigned long hva;
	bool borrowed;
};

static void count_nothing(struct kiln_mmu *mmu)
{
	/* no processor uses the tables */
}

static int set_slot(struct process *p, u32 id, u32 flags, u64 gpa,
		    unsigned long hva, u64 size)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = hva,
	};

	return kiln_mmu_set_region(&p->mmu, &region);
}

static int process_init(struct kunit *test)
{
	struct process *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	int r;

	if (!p || !test_mm)
		return -ENOMEM;
	kiln_pt_format_ept(&p->fmt, true, true, true);
	kthread_use_mm(test_mm);
	p->hva = vm_mmap(NULL, 0, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, 0);
	r = IS_ERR_VALUE(p->hva) ? -ENOMEM :
	    kiln_mmu_init(&p->mmu, test_mm, &p->fmt, count_nothing);
	if (r) {
		kthread_unuse_mm(test_mm);
		return r;
	}
	p->borrowed = true;
	p->vr.mmu = &p->mmu;
	test->priv = p;
	/* the first page of the guest's is the last but one in user space */
	return set_slot(p, 0, 0, GPA, p->hva + 2 * PAGE_SIZE, PAGE_SIZE) ?:
	       set_slot(p, 1, KVM_MEM_READONLY, GPA + PAGE_SIZE, p->hva,
			PAGE_SIZE);
}

static void process_exit(struct kunit *test)
{
	struct process *p = test->priv;

	if (!p || !p->borrowed)
		return;
	kiln_mmu_destroy(&p->mmu);
	vm_munmap(p->hva, 4 * PAGE_SIZE);
	kthread_unuse_mm(test_mm);
}

static void rings_are_read_and_written(struct kunit *test)
{
	struct process *p = test->priv;
	struct vring_raw raw = {};
	u16 val16 = 0;
	u32 val32 = 0;
	u64 val64 = 0;

	KUNIT_EXPECT_TRUE(test, vring_may_access(&p->vr, p->hva, PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, vring_may_access(&p->vr, PAGE_OFFSET, 16));
	KUNIT_EXPECT_FALSE(test, vring_may_access(&p->vr, p->hva, LONG_MAX));
	KUNIT_EXPECT_EQ(test, vring_put64(&p->vr, p->hva,
					  0x1122334455667788ULL), 0);
	KUNIT_EXPECT_EQ(test, vring_put32(&p->vr, p->hva + 8, 0x99aabbcc), 0);
	KUNIT_EXPECT_EQ(test, vring_put16(&p->vr, p->hva + 12, 0xddee), 0);
	KUNIT_EXPECT_EQ(test, vring_get16(&p->vr, p->hva, &val16), 0);
	KUNIT_EXPECT_EQ(test, val16, 0x7788);
	KUNIT_EXPECT_EQ(test, vring_get32(&p->vr, p->hva, &val32), 0);
	KUNIT_EXPECT_EQ(test, val32, 0x55667788);
	KUNIT_EXPECT_EQ(test, vring_get64(&p->vr, p->hva, &val64), 0);
	KUNIT_EXPECT_EQ(test, val64, 0x1122334455667788ULL);
	KUNIT_EXPECT_EQ(test, vring_get_raw(&p->vr, p->hva, &raw), 0);
	KUNIT_EXPECT_EQ(test, raw.addr, 0x1122334455667788ULL);
	KUNIT_EXPECT_EQ(test, raw.rest, 0xddee99aabbccULL);
}

static void rings_that_are_gone_fault(struct kunit *test)
{
	struct process *p = test->priv;
	unsigned long gone = p->hva + PAGE_SIZE;
	struct vring_raw raw;
	u16 val16;
	u32 val32;
	u64 val64;

	vm_munmap(gone, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vring_get16(&p->vr, gone, &val16), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get32(&p->vr, gone, &val32), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get64(&p->vr, gone, &val64), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get_raw(&p->vr, gone, &raw), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get_raw(&p->vr, gone - 8, &raw), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_put16(&p->vr, gone, 0), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_put32(&p->vr, gone, 0), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_put64(&p->vr, gone, 0), -EFAULT);
}

static void expect_piece(struct kunit *test, u64 gpa, u64 len, bool write,
			 unsigned long hva, u64 piece)
{
	struct process *p = test->priv;
	unsigned long got_hva = 0;
	u64 got = 0;

	KUNIT_EXPECT_EQ(test, vring_translate(&p->vr, gpa, len, write, &got_hva,
					      &got), 0);
	KUNIT_EXPECT_EQ(test, got_hva, hva);
	KUNIT_EXPECT_EQ(test, got, piece);
}

static int translate(struct process *p, u64 gpa, bool write)
{
	unsigned long hva;
	u64 piece;

	return vring_translate(&p->vr, gpa, 1, write, &hva, &piece);
}

static void buffers_are_found_slot_by_slot(struct kunit *test)
{
	struct process *p = test->priv;
	unsigned long first = p->hva + 2 * PAGE_SIZE;

	expect_piece(test, GPA, 16, true, first, 16);
	expect_piece(test, GPA + 8, 2 * PAGE_SIZE, true, first + 8,
		     PAGE_SIZE - 8);
	expect_piece(test, GPA + PAGE_SIZE, 2 * PAGE_SIZE, false, p->hva,
		     PAGE_SIZE);
	expect_piece(test, GPA + PAGE_SIZE - 1, 2, false,
		     first + PAGE_SIZE - 1, 1);
	KUNIT_EXPECT_EQ(test, translate(p, GPA + PAGE_SIZE, true), -EPERM);
	KUNIT_EXPECT_EQ(test, translate(p, GPA - 1, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, translate(p, GPA + 2 * PAGE_SIZE, false),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, translate(p, ~0ULL, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, translate(p, 0, false), -EFAULT);
}

/* What was found last is forgotten when slots change. */
static void slots_that_change_are_noticed(struct kunit *test)
{
	struct process *p = test->priv;

	expect_piece(test, GPA, 16, true, p->hva + 2 * PAGE_SIZE, 16);
	KUNIT_EXPECT_EQ(test, set_slot(p, 0, 0, GPA, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, translate(p, GPA, true), -EFAULT);
	KUNIT_EXPECT_EQ(test, set_slot(p, 0, 0, GPA, p->hva + 3 * PAGE_SIZE,
				       PAGE_SIZE), 0);
	expect_piece(test, GPA, 16, true, p->hva + 3 * PAGE_SIZE, 16);
}

static void tables_may_straddle_slots(struct kunit *test)
{
	struct process *p = test->priv;
	unsigned long first = p->hva + 2 * PAGE_SIZE;
	struct vring_raw raw = {};

	KUNIT_EXPECT_EQ(test, vring_put64(&p->vr, first + PAGE_SIZE - 8, 1), 0);
	KUNIT_EXPECT_EQ(test, vring_put64(&p->vr, p->hva, 2), 0);
	KUNIT_EXPECT_EQ(test, vring_put64(&p->vr, p->hva + 8, 3), 0);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA + PAGE_SIZE - 8,
					      &raw), 0);
	KUNIT_EXPECT_EQ(test, raw.addr, 1);
	KUNIT_EXPECT_EQ(test, raw.rest, 2);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA + PAGE_SIZE, &raw),
			0);
	KUNIT_EXPECT_EQ(test, raw.addr, 2);
	KUNIT_EXPECT_EQ(test, raw.rest, 3);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA + 2 * PAGE_SIZE - 8,
					      &raw), -EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA - 8, &raw), -EFAULT);
	vm_munmap(p->hva, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA + PAGE_SIZE, &raw),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, vring_get_guest(&p->vr, GPA + PAGE_SIZE - 8,
					      &raw), -EFAULT);
}

static int suite_init(struct kunit_suite *suite)
{
	test_mm = get_task_mm(current);
	return test_mm ? 0 : -EINVAL;
}

static void suite_exit(struct kunit_suite *suite)
{
	if (test_mm)
		mmput(test_mm);
	test_mm = NULL;
}

static struct kunit_case cases[] = {
	KUNIT_CASE(rings_are_read_and_written),
	KUNIT_CASE(rings_that_are_gone_fault),
	KUNIT_CASE(buffers_are_found_slot_by_slot),
	KUNIT_CASE(slots_that_change_are_noticed),
	KUNIT_CASE(tables_may_straddle_slots),
	{}
};

struct kunit_suite vring_access_suite = {
	.name = "kiln_vring_access",
	.suite_init = suite_init,
	.suite_exit = suite_exit,
	.init = process_init,
	.exit = process_exit,
	.test_cases = cases,
};
