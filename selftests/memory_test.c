// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory is the process's memory, whatever the process and the kernel do to its mappings meanwhile: dropped,
 * remapped, unmapped, write-protected, shared, huge. Nothing the guest saw before may shine through.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define SLOT	1
#define GPA	0x10000000UL
#define SIZE	(4UL << 20)
#define HUGE	(2UL << 20)

static uint64_t where __guest_data = GPA;

/* Report what is at "where", then add one to it. */
static __guest void reads_and_counts(void)
{
	for (;;) {
		volatile uint64_t *p = (volatile uint64_t *)*(volatile uint64_t *)&where;

		guest_sync(*p);
		*p += 1;
	}
}

static __guest void only_reads(void)
{
	for (;;)
		guest_sync(*(volatile uint64_t *)*(volatile uint64_t *)&where);
}

static volatile uint64_t beats __guest_data = 0;

static __guest void fills_forever(void)
{
	sti();
	for (;;) {
		for (uint64_t p = GPA; p < GPA + SIZE; p += 4096)
			*(volatile uint64_t *)p = p;
		beats++;
	}
}

static void *map_at(void *where_to, size_t size, int flags)
{
	return mmap(where_to, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

TEST(untouched_memory_reads_zero)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);

	vm_map(vcpu->vm, SLOT, GPA, SIZE);
	ASSERT_OUTCOME("sync 0", vcpu);
}

TEST(a_guests_write_is_seen_by_the_process_and_the_other_way_round)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	volatile uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_OUTCOME("sync 6", vcpu);
	mem[0] = 50;
	ASSERT_OUTCOME("sync 51", vcpu);
	EXPECT_EQ(51, mem[0]);
}

TEST(memory_dropped_with_madvise_reads_zero)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_OUTCOME("sync 6", vcpu);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_OUTCOME("sync 1", vcpu);		/* zero, and the one that was pending added */
	ASSERT_OUTCOME("sync 2", vcpu);
	EXPECT_EQ(2, mem[0]);
}

TEST(memory_mapped_over_shows_the_new_mapping)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_EQ(mem, map_at(mem, SIZE, MAP_FIXED));
	ASSERT_OUTCOME("sync 0", vcpu);
	mem[0] = 6;
	ASSERT_OUTCOME("sync 6", vcpu);
}

TEST(memory_moved_in_with_mremap_is_seen)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE), *other = map_at(NULL, SIZE, 0);

	mem[0] = 5;
	other[0] = 6;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_EQ(mem, mremap(other, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, mem));
	ASSERT_OUTCOME("sync 6", vcpu);
}

TEST(memory_moved_away_with_mremap_is_gone_for_the_guest)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE), *away;

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	away = mremap(mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, map_at(NULL, SIZE, 0));
	ASSERT_NE(MAP_FAILED, away);
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
	EXPECT_EQ(5, away[0]);
}

TEST(unmapped_memory_makes_run_fail_until_it_is_mapped_again)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_EQ(0, munmap(mem, SIZE));
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
	ASSERT_EQ(mem, map_at(mem, SIZE, MAP_FIXED));
	mem[0] = 7;
	ASSERT_OUTCOME("sync 7", vcpu);
}

TEST(memory_made_readonly_refuses_the_guests_write)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_OUTCOME("sync 6", vcpu);
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
	EXPECT_EQ(6, mem[0]);
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ | PROT_WRITE));
	ASSERT_OUTCOME("sync 7", vcpu);
}

TEST(memory_shared_by_fork_is_copied_before_the_guest_writes)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);
	int go[2], status;
	pid_t child;
	char c;

	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_EQ(0, pipe(go));
	child = fork();
	if (!child)
		_exit(read(go[0], &c, 1) == 1 ? (int)mem[0] : 255);
	ASSERT_OUTCOME("sync 6", vcpu);
	ASSERT_OUTCOME("sync 7", vcpu);
	ASSERT_EQ(1, write(go[1], "x", 1));
	waitpid(child, &status, 0);
	EXPECT_EQ(5, WEXITSTATUS(status));
	EXPECT_EQ(7, mem[0]);
}

TEST(a_page_first_read_then_written_is_no_longer_the_zero_page)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	volatile uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE), *other = vm_map(vcpu->vm, 2, 2 * GPA, SIZE);

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(1, mem[0]);
	EXPECT_EQ(0, other[0]);
	EXPECT_EQ(0, mem[512]);
}

TEST(shared_memory_of_a_file_works_and_a_hole_punched_reads_zero)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	int fd = memfd_create("guest", 0);
	uint64_t *mem;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, mem));
	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_OUTCOME("sync 6", vcpu);
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(1, mem[0]);
}

TEST(a_file_cut_short_makes_run_fail)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	int fd = memfd_create("guest", 0);
	uint64_t *mem;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, mem));
	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
}

/* Read the guest's view of each of the pages of a huge one. */
static void check_huge(struct __test_metadata *_metadata, struct vcpu *vcpu, uint64_t *mem)
{
	static const unsigned long offset[] = { 0, 0x1000, 0xff000, 0x1ff000, HUGE, HUGE + 0x5000 };
	char expected[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(offset); i++) {
		mem[offset[i] / 8] = 100 + i;
		GUEST(vcpu->vm, where) = GPA + offset[i];
		snprintf(expected, sizeof(expected), "sync %u", 100 + i);
		ASSERT_OUTCOME(expected, vcpu);
	}
}

TEST(transparent_huge_pages_back_a_slot_and_can_be_split)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint8_t *room = map_at(NULL, SIZE + HUGE, 0);
	uint64_t *mem = (uint64_t *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));

	madvise(mem, SIZE, MADV_HUGEPAGE);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, mem));
	check_huge(_metadata, vcpu, mem);
	/* One page of the first huge one goes: it reads zero, its neighbours stay. */
	ASSERT_EQ(0, madvise((uint8_t *)mem + 0x1000, 0x1000, MADV_DONTNEED));
	GUEST(vcpu->vm, where) = GPA + 0x1000;
	ASSERT_OUTCOME("sync 0", vcpu);
	GUEST(vcpu->vm, where) = GPA;
	ASSERT_OUTCOME("sync 100", vcpu);
	GUEST(vcpu->vm, where) = GPA + 0xff000;
	ASSERT_OUTCOME("sync 102", vcpu);
}

TEST(a_slot_may_lie_askew_on_huge_pages)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint8_t *room = map_at(NULL, SIZE + HUGE, 0);
	uint8_t *mem = (uint8_t *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));

	/* The guest-physical and the host address differ in their place within 2M: only small mappings are right. */
	madvise(mem, SIZE, MADV_HUGEPAGE);
	for (unsigned long i = 0; i < SIZE; i += 4096)
		*(uint64_t *)(mem + i) = i >> 12;
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE - 0x5000, mem + 0x5000));
	ASSERT_OUTCOME("sync 5", vcpu);
	GUEST(vcpu->vm, where) = GPA + HUGE;
	ASSERT_OUTCOME("sync 517", vcpu);
	GUEST(vcpu->vm, where) = GPA + HUGE - 0x5000;
	ASSERT_OUTCOME("sync 512", vcpu);
}

TEST(hugetlb_pages_back_a_slot)
{
	struct vcpu *vcpu = vm_create_one(0, only_reads);
	uint64_t *mem = map_at(NULL, SIZE, MAP_HUGETLB);

	if (mem == MAP_FAILED)
		SKIP(return, "no huge pages: write a number to /proc/sys/vm/nr_hugepages");
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, mem));
	check_huge(_metadata, vcpu, mem);
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_DONTNEED));
	GUEST(vcpu->vm, where) = GPA;
	ASSERT_OUTCOME("sync 0", vcpu);
}

TEST(two_slots_onto_one_memory_show_the_same)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	ASSERT_EQ(0, vm_set_slot(vcpu->vm, 2, 0, 2 * GPA, SIZE, mem));
	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	GUEST(vcpu->vm, where) = 2 * GPA;
	ASSERT_OUTCOME("sync 6", vcpu);
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_OUTCOME("sync 1", vcpu);
	GUEST(vcpu->vm, where) = GPA;
	ASSERT_OUTCOME("sync 2", vcpu);
}

TEST(memory_dropped_under_a_running_guest_comes_back_filled)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, fills_forever);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE), last;

	vcpu_start(vcpu);
	for (int i = 0; i < 30; i++) {
		ASSERT_EQ(0, madvise((uint8_t *)mem + (i % 4) * (SIZE / 4), SIZE / 4, MADV_DONTNEED));
		last = GUEST(vcpu->vm, beats);
		while (*(volatile uint64_t *)&GUEST(vcpu->vm, beats) < last + 2)
			usleep(200);
		for (unsigned long p = 0; p < SIZE; p += 4096)
			ASSERT_EQ(GPA + p, *(volatile uint64_t *)((uint8_t *)mem + p));
	}
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
	ASSERT_STREQ("exit MMIO", vcpu_join(vcpu));
}

/* In pages, with those that CPUs keep for themselves. */
static long free_memory(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	char line[256];
	long n, pages = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " pages free %ld", &n) == 1 || sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	if (!pages)
		die("/proc/zoneinfo");
	fclose(f);
	return pages;
}

#define MUCH	(64UL << 20)

static __guest void fills_much(void)
{
	for (uint64_t p = GPA; p < GPA + MUCH; p += 4096)
		*(volatile uint64_t *)p = p;
	guest_sync(1);
}

/* Pages that anybody holds a reference to would be gone from the process, not free. */
TEST(memory_dropped_while_a_guest_has_it_is_free_at_once)
{
	struct vcpu *vcpu = vm_create_one(0, fills_much);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, MUCH);
	long full;

	ASSERT_OUTCOME("sync 1", vcpu);
	full = free_memory();
	ASSERT_EQ(0, madvise(mem, MUCH, MADV_DONTNEED));
	EXPECT_GT(free_memory() - full, (long)(MUCH >> 12) * 7 / 8);
}

/* Only the first page of the slot is the userfaultfd's. */
TEST(a_fault_that_waits_for_memory_holds_up_no_other_vcpu)
{
	struct vm *vm = vm_create(0);
	struct vcpu *waits = vm_add_vcpu(vm), *goes_on = vm_add_vcpu(vm);
	void *mem = vm_map(vm, SLOT, GPA, SIZE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)mem, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { .range = { (uintptr_t)mem, 4096 } };
	struct pollfd p = { .fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), .events = POLLIN };

	if (p.fd < 0 && errno == ENOSYS)
		SKIP(return, "this kernel has no userfaultfd");
	ASSERT_LE(0, p.fd);
	ASSERT_EQ(0, ioctl(p.fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(p.fd, UFFDIO_REGISTER, &reg));
	vcpu_long_mode(waits, only_reads);
	vcpu_long_mode(goes_on, only_reads);
	vcpu_start(waits);
	ASSERT_EQ(1, poll(&p, 1, 20000));
	/* The same slot, and none of it touched so far. */
	for (uint64_t page = 4096; page < SIZE; page += 4096) {
		GUEST(vm, where) = GPA + page;
		ASSERT_OUTCOME("sync 0", goes_on);
	}
	ASSERT_EQ(0, ioctl(p.fd, UFFDIO_ZEROPAGE, &zero));
	ASSERT_STREQ("sync 0", vcpu_join(waits));
}

TEST(a_vm_ended_before_its_memory_leaves_the_memory_alone)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_counts);
	uint64_t *mem = map_at(NULL, SIZE, 0);

	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, mem));
	mem[0] = 5;
	ASSERT_OUTCOME("sync 5", vcpu);
	ASSERT_OUTCOME("sync 6", vcpu);
	vm_destroy(vcpu->vm);
	EXPECT_EQ(6, mem[0]);
	ASSERT_EQ(0, munmap(mem, SIZE));
}

TEST_HARNESS_MAIN
