// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty logs: KVM_MEM_LOG_DIRTY_PAGES, KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG and KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
 * (api.rst §4.8, §4.35, §4.117, §7.18). A page that is written and in no log is a page that a migrated guest loses: what
 * is copied by the log alone has to become what the guest has. Devices: virtio_dirty_test.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "random.h"
#include "vm.h"

#define SLOT	1
#define GPA	0x10000000UL
#define PAGES	2051UL			/* two pages of 2M and a rest, which is no multiple of 64 */
#define SIZE	(PAGES * 4096)
#define WORDS	((PAGES + 63) / 64)
#define HUGE	(2UL << 20)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES
#define MANUAL	KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
#define ALL_SET	(MANUAL | KVM_DIRTY_LOG_INITIALLY_SET)

/* ---- guests ---- */

static uint32_t list[16] __guest_data;
static uint32_t listed __guest_data;

/* Write the pages of the list, come back, and again. */
static __guest void writes_list(void)
{
	for (;;) {
		for (uint32_t i = 0; i < *(volatile uint32_t *)&listed; i++)
			*(volatile uint64_t *)(GPA + list[i] * 4096UL + 8) += 1;
		guest_sync(1);
	}
}

static __guest void touches_all(void)
{
	uint64_t sum = 0;

	for (;;) {
		for (uint64_t i = 0; i < PAGES; i++)
			sum += *(volatile uint64_t *)(GPA + i * 4096);
		guest_sync(sum);
		for (uint64_t i = 0; i < PAGES; i++)
			*(volatile uint64_t *)(GPA + i * 4096) = 0;
		guest_sync(1);
	}
}

/* What the module writes for the guest: string input, clock pages, the steal time. */
static __guest void has_it_written(void)
{
	uint64_t to = GPA + 4096 * 3 - 2, count = 4;

	asm volatile("rep insb" : "+D"(to), "+c"(count) : "d"(0x4d0) : "memory");
	guest_sync(1);
	wrmsr(0x4b564d00, GPA + 4096 * 10);
	guest_sync(2);
	wrmsr(0x4b564d01, (GPA + 4096 * 11) | 1);
	guest_sync(3);
	guest_sync(4);
	wrmsr(0x4b564d01, 0);
	guest_done();
}

static volatile uint64_t beats[VM_MAX_VCPUS] __guest_data;
static volatile uint32_t stop __guest_data;
static volatile uint32_t next_writer __guest_data;

/* Random pages, by stores and by locked additions, until it is told to stop. */
static __guest void writes_at_random(void)
{
	uint32_t me = __atomic_fetch_add(&next_writer, 1, __ATOMIC_SEQ_CST);
	uint64_t r = 88172645463325252ULL + me * 7919;

	sti();
	while (!stop) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		volatile uint64_t *p = (volatile uint64_t *)(GPA + r % PAGES * 4096 + (r >> 40) % 512 * 8);

		if (r & 1ULL << 33)
			*p = r;
		else
			__atomic_fetch_add(p, r, __ATOMIC_RELAXED);
		beats[me]++;
	}
	guest_done();
}

/* ---- the host's side ---- */

FIXTURE(dirty) {
	struct vm *vm;
	struct vcpu *vcpu;
	uint8_t *mem;
	uint64_t log[WORDS + 1];
};

/* Memory that large pages fit, as far as the guest's addresses go. */
static uint8_t *aligned_memory(bool huge)
{
	uint8_t *p = mmap(NULL, SIZE + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	p = (uint8_t *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

static int switch_log(struct vm *vm, uint8_t *mem, uint32_t flags)
{
	return vm_set_slot(vm, SLOT, flags, GPA, SIZE, mem);
}

static int get_log(struct vm *vm, uint32_t slot, void *log)
{
	struct kvm_dirty_log args = { .slot = slot, .dirty_bitmap = log };

	return xioctl(vm->fd, KVM_GET_DIRTY_LOG, &args);
}

static int clear_log(struct vm *vm, uint32_t slot, uint64_t first, uint32_t n, void *log)
{
	struct kvm_clear_dirty_log args = { .slot = slot, .first_page = first, .num_pages = n, .dirty_bitmap = log };

	return xioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &args);
}

static int set_manual(struct vm *vm, uint64_t flags)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { flags } };

	return xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

static unsigned long count(const uint64_t *log)
{
	unsigned long n = 0;

	for (unsigned long i = 0; i < WORDS; i++)
		n += __builtin_popcountll(log[i]);
	return n;
}

static bool has(const uint64_t *log, unsigned long page)
{
	return log[page / 64] >> page % 64 & 1;
}

static void set_list(struct vm *vm, const uint32_t *pages, uint32_t n)
{
	memcpy(vm->ram + (uintptr_t)list, pages, n * sizeof(*pages));
	GUEST(vm, listed) = n;
}

/* The log has these pages and no others. */
#define EXPECT_LOG(...) do {										\
	const uint32_t pages__[] = { __VA_ARGS__ };							\
	const size_t n__ = sizeof(pages__) / sizeof(*pages__);						\
													\
	self->log[WORDS] = 0x5a5a;									\
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));						\
	EXPECT_EQ(n__, count(self->log));								\
	for (size_t i__ = 0; i__ < n__; i__++) {							\
		EXPECT_TRUE(has(self->log, pages__[i__])) {						\
			TH_LOG("page %u is missing", pages__[i__]);					\
		}											\
	}												\
	EXPECT_EQ(0x5a5a, self->log[WORDS]);								\
} while (0)

#define EXPECT_EMPTY() do {										\
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));						\
	EXPECT_EQ(0, count(self->log));									\
} while (0)

/* The guest writes these pages. */
#define WRITE(...) do {											\
	const uint32_t list__[] = { __VA_ARGS__ };							\
													\
	set_list(self->vm, list__, sizeof(list__) / sizeof(*list__));					\
	ASSERT_OUTCOME("sync 1", self->vcpu);								\
} while (0)

FIXTURE_SETUP(dirty)
{
	self->vcpu = vm_create_one(0, writes_list);
	self->vm = self->vcpu->vm;
	self->mem = aligned_memory(true);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, 0));
}

FIXTURE_TEARDOWN(dirty)
{
	vm_destroy(self->vm);
}

TEST_F(dirty, it_has_the_pages_written_since_it_was_switched_on_and_each_only_once)
{
	WRITE(0, 5);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	EXPECT_EMPTY();
	WRITE(0, 1, 63, 64, 511, 512, 1300, PAGES - 1);
	EXPECT_LOG(0, 1, 63, 64, 511, 512, 1300, PAGES - 1);
	EXPECT_EMPTY();
	WRITE(64, 64, 64);
	EXPECT_LOG(64);
	WRITE(0, PAGES - 1);
	EXPECT_LOG(0, PAGES - 1);
	EXPECT_EMPTY();
}

TEST_F(dirty, what_is_only_read_is_not_in_it)
{
	vcpu_long_mode(self->vcpu, touches_all);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	ASSERT_OUTCOME("sync 0", self->vcpu);
	EXPECT_EMPTY();
	ASSERT_OUTCOME("sync 1", self->vcpu);
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
	EXPECT_EQ(PAGES, count(self->log));
	ASSERT_OUTCOME("sync 0", self->vcpu);
	EXPECT_EMPTY();
}

TEST_F(dirty, memory_mapped_large_is_logged_by_small_pages)
{
	memset(self->mem, 1, SIZE);
	vcpu_long_mode(self->vcpu, touches_all);
	vcpu_outcome(self->vcpu);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	vcpu_long_mode(self->vcpu, writes_list);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(3, 600);
	EXPECT_LOG(3, 600);
	WRITE(3, 4, 601, 2050);
	EXPECT_LOG(3, 4, 601, 2050);
	/* Without the log it is as before, and nothing is lost. */
	ASSERT_EQ(0, switch_log(self->vm, self->mem, 0));
	WRITE(3);
	EXPECT_EQ(0x0101010101010101 + 3, *(uint64_t *)(self->mem + 3 * 4096 + 8));
}

TEST_F(dirty, pages_the_host_takes_and_gives_back_are_logged_as_before)
{
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(7, 9);
	EXPECT_LOG(7, 9);
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	WRITE(7);
	EXPECT_LOG(7);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	WRITE(7, 9);
	EXPECT_LOG(7, 9);
}

TEST_F(dirty, a_log_switched_off_and_on_begins_anew)
{
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(1, 2);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, 0));
	EXPECT_EQ(-ENOENT, get_log(self->vm, SLOT, self->log));
	WRITE(3);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	EXPECT_EMPTY();
	WRITE(4);
	/* The same again changes nothing. */
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	EXPECT_LOG(4);
}

TEST_F(dirty, a_slot_may_be_made_with_a_log_moved_and_deleted)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, SLOT, 0, GPA, 0, self->mem));
	EXPECT_EQ(-ENOENT, get_log(self->vm, SLOT, self->log));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(1);
	EXPECT_LOG(1);
	WRITE(2);
	/* Wherever it is, what was written is not forgotten. */
	ASSERT_EQ(0, vm_set_slot(self->vm, SLOT, LOG, GPA * 2, SIZE, self->mem));
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
	EXPECT_TRUE(has(self->log, 2));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
	WRITE(6);
	EXPECT_LOG(6);
	ASSERT_EQ(0, vm_set_slot(self->vm, SLOT, LOG, GPA, 0, self->mem));
	EXPECT_EQ(-ENOENT, get_log(self->vm, SLOT, self->log));
}

TEST_F(dirty, what_the_kernel_writes_for_the_guest_is_in_it)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, has_it_written);

	vm_destroy(self->vm);
	self->vcpu = vcpu;
	self->vm = vcpu->vm;
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_LOG(2, 3);
	ASSERT_OUTCOME("sync 2", vcpu);
	EXPECT_LOG(10);
	ASSERT_OUTCOME("sync 3", vcpu);
	EXPECT_LOG(11);
	/* A clock that is set is written anew. */
	struct kvm_clock_data clock = { .clock = 1000000000 };

	ASSERT_IOCTL(0, self->vm->fd, KVM_SET_CLOCK, &clock);
	ASSERT_OUTCOME("sync 4", vcpu);
	EXPECT_LOG(11);
	ASSERT_DONE(vcpu);
}

TEST_F(dirty, memory_of_two_slots_is_logged_for_the_one_it_was_written_by)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, LOG, GPA * 2, SIZE, self->mem));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(8);
	EXPECT_LOG(8);
	ASSERT_EQ(0, get_log(self->vm, 2, self->log));
	EXPECT_EQ(0, count(self->log));
}

TEST_F(dirty, a_log_that_cannot_be_handed_out_is_not_lost)
{
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(1, 99);
	EXPECT_EQ(-EFAULT, get_log(self->vm, SLOT, NULL));
	EXPECT_LOG(1, 99);
	WRITE(1);
	EXPECT_LOG(1);
}

TEST_F(dirty, slots_that_are_none_or_not_logged_are_refused)
{
	int limit = xioctl(self->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS);

	EXPECT_EQ(-ENOENT, get_log(self->vm, SLOT, self->log));
	EXPECT_EQ(-ENOENT, get_log(self->vm, 5, self->log));
	EXPECT_EQ(-EINVAL, get_log(self->vm, 0x7fff, self->log));
	EXPECT_EQ(-EINVAL, get_log(self->vm, limit, self->log));
	EXPECT_EQ(-ENOENT, clear_log(self->vm, SLOT, 0, 64, self->log));
	EXPECT_EQ(-ENOENT, clear_log(self->vm, 5, 0, 64, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, 0x7fff, 0, 64, self->log));
}

/* ---- clearing is user space's own business ---- */

TEST_F(dirty, the_capability_says_what_can_be_had_and_refuses_the_rest)
{
	ASSERT_EQ(ALL_SET, xioctl(self->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2));
	EXPECT_EQ(-EINVAL, set_manual(self->vm, KVM_DIRTY_LOG_INITIALLY_SET));
	EXPECT_EQ(-EINVAL, set_manual(self->vm, MANUAL | 4));
	EXPECT_EQ(-EINVAL, set_manual(self->vm, 1ULL << 63));
	EXPECT_EQ(0, set_manual(self->vm, MANUAL));
	EXPECT_EQ(0, set_manual(self->vm, ALL_SET));
	EXPECT_EQ(0, set_manual(self->vm, 0));
}

TEST_F(dirty, nothing_is_cleared_until_it_is_asked_for)
{
	ASSERT_EQ(0, set_manual(self->vm, MANUAL));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	EXPECT_EMPTY();
	WRITE(1, 64, 65, 700);
	EXPECT_LOG(1, 64, 65, 700);
	EXPECT_LOG(1, 64, 65, 700);
	/* The bits of one word, of which one was not set. */
	self->log[0] = 1ULL << 0 | 1ULL << 2;
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 64, 64, self->log));
	EXPECT_LOG(1, 65, 700);
	WRITE(64);
	EXPECT_LOG(1, 64, 65, 700);
	memset(self->log, 0xff, sizeof(self->log));
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 0, PAGES, self->log));
	EXPECT_EMPTY();
	WRITE(700, 2050);
	EXPECT_LOG(700, 2050);
	memset(self->log, 0xff, sizeof(self->log));
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 2048, PAGES - 2048, self->log));
	EXPECT_LOG(700);
}

TEST_F(dirty, a_log_is_cleared_by_the_call_also_where_reading_it_does)
{
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(1, 2);
	self->log[0] = 1ULL << 1;
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 0, 64, self->log));
	EXPECT_LOG(2);
}

TEST_F(dirty, ranges_to_be_cleared_have_to_be_of_the_slot_and_of_whole_words)
{
	ASSERT_EQ(0, set_manual(self->vm, MANUAL));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	WRITE(1, 64, 2049);
	memset(self->log, 0xff, sizeof(self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 1, 64, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 32, 64, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 0, 63, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 0, PAGES - 1, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 0, PAGES + 1, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 2048, 64, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, 4096, 64, self->log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, SLOT, -64UL, 128, self->log));
	EXPECT_EQ(-EFAULT, clear_log(self->vm, SLOT, 0, PAGES, NULL));
	EXPECT_EQ(0, clear_log(self->vm, SLOT, 0, 0, self->log));
	EXPECT_LOG(1, 64, 2049);
}

TEST_F(dirty, it_may_begin_with_all_pages_which_are_watched_once_they_are_cleared)
{
	memset(self->mem, 1, SIZE);
	vcpu_long_mode(self->vcpu, touches_all);
	vcpu_outcome(self->vcpu);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	vcpu_long_mode(self->vcpu, writes_list);
	ASSERT_EQ(0, set_manual(self->vm, ALL_SET));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
	EXPECT_EQ(PAGES, count(self->log));
	/* Part of a large page, and all of another. */
	memset(self->log, 0xff, sizeof(self->log));
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 64, 128, self->log));
	ASSERT_EQ(0, clear_log(self->vm, SLOT, 512, 512, self->log));
	WRITE(0, 70, 700);
	ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
	EXPECT_EQ(PAGES - 128 - 512 + 2, count(self->log));
	EXPECT_TRUE(has(self->log, 70));
	EXPECT_TRUE(has(self->log, 700));
	EXPECT_FALSE(has(self->log, 71));
}

/* ---- what is copied by the log becomes what the guest has ---- */

FIXTURE(copy) {
	struct vm *vm;
	uint8_t *mem, *copy;
	uint64_t log[WORDS];
};

FIXTURE_VARIANT(copy) {
	bool huge;
	uint64_t manual;
	bool toggle;
};

FIXTURE_VARIANT_ADD(copy, small_pages) { };
FIXTURE_VARIANT_ADD(copy, large_pages) { .huge = true };
FIXTURE_VARIANT_ADD(copy, cleared_by_hand) { .huge = true, .manual = MANUAL };
FIXTURE_VARIANT_ADD(copy, all_set_at_first) { .huge = true, .manual = ALL_SET };
FIXTURE_VARIANT_ADD(copy, switched_on_and_off) { .huge = true, .toggle = true };

FIXTURE_SETUP(copy)
{
	self->vm = vm_create(0);
	self->mem = aligned_memory(variant->huge);
	self->copy = aligned_memory(false);
	memset(self->mem, 0x77, SIZE);
	if (variant->manual)
		ASSERT_EQ(0, set_manual(self->vm, variant->manual));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, 0));
	for (int i = 0; i < 2; i++)
		vcpu_long_mode(vm_add_vcpu(self->vm), writes_at_random);
}

FIXTURE_TEARDOWN(copy)
{
	vm_destroy(self->vm);
}

static uint64_t total_beats(struct vm *vm)
{
	return GUEST(vm, beats[0]) + GUEST(vm, beats[1]);
}

/* The guests get on by so many writes. */
static void let_write(struct vm *vm, uint64_t n)
{
	uint64_t until = total_beats(vm) + n;

	for (int i = 0; total_beats(vm) < until; i++) {
		if (i > 300000)
			die("the guests do not write");
		usleep(100);
	}
}

static unsigned long copy_logged(struct vm *vm, uint64_t manual, uint8_t *mem, uint8_t *copy, uint64_t *log)
{
	unsigned long n = 0;

	if (get_log(vm, SLOT, log))
		die("KVM_GET_DIRTY_LOG: %s", strerror(errno));
	/* Half of them, then the rest: each cleared before it is copied. */
	if (manual && (clear_log(vm, SLOT, 0, 1024, log) || clear_log(vm, SLOT, 1024, PAGES - 1024, log + 16)))
		die("KVM_CLEAR_DIRTY_LOG: %s", strerror(errno));
	for (unsigned long i = 0; i < PAGES; i++) {
		if (!has(log, i))
			continue;
		memcpy(copy + i * 4096, mem + i * 4096, 4096);
		n++;
	}
	return n;
}

static long first_difference(const uint8_t *a, const uint8_t *b)
{
	for (unsigned long i = 0; i < PAGES; i++)
		if (memcmp(a + i * 4096, b + i * 4096, 4096))
			return i;
	return -1;
}

TEST_F(copy, memory_copied_by_the_log_alone_is_that_of_the_guest)
{
	unsigned long rounds = 25 * from_environment("KILN_ROUNDS", 1), copied = 0;

	for (int i = 0; i < 2; i++)
		vcpu_start(&self->vm->vcpu[i]);
	let_write(self->vm, 2000);
	for (unsigned long i = 0; variant->toggle && i < rounds; i++) {
		ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
		let_write(self->vm, 50);
		ASSERT_EQ(0, get_log(self->vm, SLOT, self->log));
		EXPECT_NE(0, count(self->log));
		ASSERT_EQ(0, switch_log(self->vm, self->mem, 0));
		let_write(self->vm, 50);
	}
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	memcpy(self->copy, self->mem, SIZE);
	for (unsigned long i = 0; i < rounds; i++) {
		let_write(self->vm, 300);
		copied += copy_logged(self->vm, variant->manual, self->mem, self->copy, self->log);
	}
	GUEST(self->vm, stop) = 1;
	for (int i = 0; i < 2; i++)
		ASSERT_STREQ("done", vcpu_join(&self->vm->vcpu[i]));
	copied += copy_logged(self->vm, variant->manual, self->mem, self->copy, self->log);
	EXPECT_LT(0, copied);
	EXPECT_EQ(-1, first_difference(self->mem, self->copy));
	/* And the log is complete without being everything: nobody writes any more. */
	EXPECT_EQ(0, copy_logged(self->vm, variant->manual, self->mem, self->copy, self->log));
}

TEST_HARNESS_MAIN
