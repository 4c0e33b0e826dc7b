// SPDX-License-Identifier: GPL-2.0-only
/*
 * The balloon (virtio 1.2 §5.5), served by the kernel: what the guest gives is gone from this process, whatever else it
 * says does no harm, and what it is not to lose stays.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "balloon.h"
#include "random.h"
#include "virtio.h"

#define PFNS	(VIRTIO_DATA)		/* page numbers, statistics */
#define PAGES	8192U			/* of it: 32 MiB */

/* ---- a guest that uses what it gave away ---- */

static __guest void uses_a_page(void)
{
	volatile uint64_t *p = (volatile uint64_t *)GPA;

	for (uint64_t i = 1;; i++) {
		*p = i;
		guest_sync(i);
		/* Given to the balloon meanwhile: nothing of it is left. */
		guest_expect(0, *p);
	}
}

FIXTURE(balloon) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	uint8_t *slot;
};

FIXTURE_VARIANT(balloon) {
	uint64_t features;
};

FIXTURE_VARIANT_ADD(balloon, split) { .features = V1 | STATS_VQ | REPORTS };
FIXTURE_VARIANT_ADD(balloon, packed) { .features = V1 | STATS_VQ | REPORTS | PACKED | EVENT_IDX | INDIRECT };

FIXTURE_SETUP(balloon)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, uses_a_page);
	self->vm = self->vcpu->vm;
	self->slot = vm_map(self->vm, 1, GPA, PAGES * PAGE);
	self->v = virtio_create(self->vm, VIRTIO_ID_BALLOON, QUEUES);
}

FIXTURE_TEARDOWN(balloon)
{
	virtio_destroy(&self->v);
	munmap(self->slot, PAGES * PAGE);
	vm_destroy(self->vm);
}

static struct kiln_virtio_balloon get(struct virtio *v)
{
	struct kiln_virtio_balloon b;

	if (xioctl(v->fd, KILN_VIRTIO_GET_BALLOON, &b))
		die("KILN_VIRTIO_GET_BALLOON");
	return b;
}

static int set(struct virtio *v, uint32_t num_pages, uint32_t seconds)
{
	struct kiln_virtio_balloon b = { .num_pages = num_pages, .stats_seconds = seconds };

	return xioctl(v->fd, KILN_VIRTIO_SET_BALLOON, &b);
}

static uint32_t *pfns(struct vm *vm)
{
	return (uint32_t *)(vm->ram + PFNS);
}

/* Resident memory of this process, in pages. */
static long rss(void)
{
	long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	must(f && fscanf(f, "%ld %ld", &size, &resident) == 2, "statm");
	fclose(f);
	return resident;
}

static void add(struct virtio *v, unsigned int queue, uint64_t addr, uint32_t len, bool in)
{
	struct ring_piece p = { addr, len, in };

	ring_add(&v->ring[queue], &p, 1);
}

/* Give @n page numbers at PFNS to a queue and wait until it is done. */
static void give(struct virtio *v, unsigned int queue, uint32_t n)
{
	add(v, queue, PFNS, n * 4, false);
	virtio_finish(v, queue, NULL);
}

static bool breaks(struct virtio *v)
{
	for (int i = 0; i < 20000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

/* ---- inflate, deflate ---- */

TEST_F(balloon, what_is_given_is_gone_and_nothing_else)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, FULL, 64 * PAGE);
	/* Every other page, the last ones first. */
	for (uint32_t i = 0; i < 32; i++)
		pfns(self->vm)[i] = (GPA >> 12) + 62 - 2 * i;
	give(&self->v, INFLATE, 32);
	EXPECT_EQ(32, resident(self->slot, 64));
	for (uint32_t i = 0; i < 64; i++)
		EXPECT_TRUE(all(self->slot + i * PAGE, i % 2 ? FULL : 0, PAGE));
	EXPECT_EQ(32, get(&self->v).inflated);
	EXPECT_EQ(0, get(&self->v).refused);
	give(&self->v, DEFLATE, 32);
	EXPECT_EQ(0, get(&self->v).inflated);
	/* What the guest did not give, it cannot take back. */
	give(&self->v, DEFLATE, 32);
	EXPECT_EQ(0, get(&self->v).inflated);
}

TEST_F(balloon, the_process_becomes_smaller_and_larger_again)
{
	long before, full, inflated;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	before = rss();
	memset(self->slot, FULL, PAGES * PAGE);
	full = rss();
	EXPECT_LE(before + PAGES - 256, full);
	/* One buffer of many steps. */
	for (uint32_t i = 0; i < PAGES; i++)
		pfns(self->vm)[i] = (GPA >> 12) + i;
	give(&self->v, INFLATE, PAGES);
	inflated = rss();
	EXPECT_GE(before + 256, inflated);
	EXPECT_EQ(0, resident(self->slot, PAGES));
	give(&self->v, DEFLATE, PAGES);
	memset(self->slot, FULL, PAGES * PAGE);
	EXPECT_LE(before + PAGES - 256, rss());
	printf("# resident: %ld MiB full, %ld MiB inflated\n", full >> 8, inflated >> 8);
	fflush(stdout);
}

TEST_F(balloon, huge_pages_go_too)
{
	size_t size = 8UL << 20, huge_page = 2UL << 20;
	uint8_t *slot = mmap(NULL, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *huge = (uint8_t *)(((uintptr_t)slot + huge_page - 1) & -huge_page);
	long full;

	madvise(huge, size, MADV_HUGEPAGE);
	memset(huge, FULL, size);
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, 0, OTHER, size, huge));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	full = rss();
	for (uint32_t i = 0; i < 2048; i++)
		pfns(self->vm)[i] = (OTHER >> 12) + (i * 5 + 7) % 2048;
	give(&self->v, INFLATE, 512);
	EXPECT_EQ(2048 - 512, resident(huge, 2048));
	add(&self->v, REPORTING, OTHER, size, true);
	virtio_finish(&self->v, REPORTING, NULL);
	EXPECT_EQ(0, resident(huge, 2048));
	EXPECT_GE(full - 2048 + 256, rss());
	munmap(slot, size + huge_page);
}

TEST_F(balloon, a_guest_that_uses_it_gets_it_back_empty)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pfns(self->vm)[0] = GPA >> 12;
	for (int i = 1; i < 20; i++) {
		char sync[16];

		snprintf(sync, sizeof(sync), "sync %d", i);
		ASSERT_OUTCOME(sync, self->vcpu);
		ASSERT_EQ(i, self->slot[0]);
		give(&self->v, INFLATE, 1);
		ASSERT_EQ(0, resident(self->slot, 1));
	}
}

/* ---- page numbers that are none of its own ---- */

TEST_F(balloon, pages_that_are_nowhere_are_counted)
{
	static const uint32_t where[] = { 0x80000, 0xfffffff, 0xffffffff, 0xfffffffe, 0, 0xfee00 };
	uint32_t n = sizeof(where) / sizeof(*where);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memcpy(pfns(self->vm), where, sizeof(where));
	/* Page 0 is there; it may go. */
	give(&self->v, INFLATE, n);
	EXPECT_EQ((n - 1) * PAGE, get(&self->v).refused);
	EXPECT_EQ(n, get(&self->v).inflated);
	/* Numbers that come twice name one page. */
	memset(self->slot, FULL, 4 * PAGE);
	for (uint32_t i = 0; i < 100; i++)
		pfns(self->vm)[i] = (GPA >> 12) + i % 2;
	give(&self->v, INFLATE, 100);
	EXPECT_EQ(2, resident(self->slot, 4));
}

/* A range from one slot to another, with a hole between them. */
TEST_F(balloon, slots_may_end_anywhere)
{
	uint8_t *other = vm_map(self->vm, 2, GPA + PAGES * PAGE + 2 * PAGE, 4 * PAGE);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, FULL, PAGES * PAGE);
	memset(other, FULL, 4 * PAGE);
	for (uint32_t i = 0; i < 8; i++)
		pfns(self->vm)[i] = (GPA >> 12) + PAGES - 4 + i;
	give(&self->v, INFLATE, 8);
	EXPECT_EQ(PAGES - 4, resident(self->slot, PAGES));
	EXPECT_EQ(2, resident(other, 4));
	EXPECT_EQ(2 * PAGE, get(&self->v).refused);
	munmap(other, 4 * PAGE);
}

/* How many of 8 pages this process still had after left_of(), before it looked at them. */
static unsigned int still_resident;

/* Give 8 pages of @mem, all FULL, half by inflating and half by reporting: how many are left. */
static unsigned int left_of(struct virtio *v, uint8_t *mem, uint32_t flags)
{
	unsigned int left = 0;

	must(!vm_set_slot(v->vm, 2, flags, OTHER, 8 * PAGE, mem), "slot");
	must(!virtio_start(v, V1 | REPORTS), "start");
	for (uint32_t i = 0; i < 4; i++)
		pfns(v->vm)[i] = (OTHER >> 12) + i;
	give(v, INFLATE, 4);
	/* A buffer to be written would break it. */
	if (!(flags & KVM_MEM_READONLY)) {
		add(v, REPORTING, OTHER + 4 * PAGE, 4 * PAGE, true);
		virtio_finish(v, REPORTING, NULL);
	}
	still_resident = resident(mem, 8);
	for (int i = 0; i < 8; i++)
		left += all(mem + i * PAGE, FULL, PAGE);
	must(!virtio_status(v, 0), "reset");
	must(!vm_set_slot(v->vm, 2, 0, OTHER, 0, mem), "slot");
	return left;
}

static uint8_t *map(int flags, int fd)
{
	uint8_t *mem = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	must(mem != MAP_FAILED, "mmap");
	memset(mem, FULL, 8 * PAGE);
	return mem;
}

TEST_F(balloon, memory_that_is_not_its_to_give_stays)
{
	int fd = memfd_create("memory", 0);
	uint8_t *mem;

	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	mem = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	EXPECT_EQ(8, left_of(&self->v, mem, KVM_MEM_READONLY))
		TH_LOG("read-only slot");
	EXPECT_EQ(4 * PAGE, get(&self->v).refused);
	if (!mlock(mem, 8 * PAGE)) {
		EXPECT_EQ(8, left_of(&self->v, mem, 0))
			TH_LOG("locked memory");
		EXPECT_EQ(12 * PAGE, get(&self->v).refused);
	}
	munmap(mem, 8 * PAGE);
	mem = map(MAP_PRIVATE, fd);
	EXPECT_EQ(8, left_of(&self->v, mem, 0))
		TH_LOG("private mapping of a file");
	munmap(mem, 8 * PAGE);
	close(fd);
}

TEST_F(balloon, files_that_are_shared_get_holes)
{
	int fd = memfd_create("memory", 0);
	uint8_t *mem;

	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
		SKIP(return, "files in memory have no holes in this kernel");
	mem = map(MAP_SHARED, fd);
	EXPECT_EQ(0, left_of(&self->v, mem, 0));
	EXPECT_EQ(0, still_resident);
	munmap(mem, 8 * PAGE);
	mem = map(MAP_SHARED | MAP_ANONYMOUS, -1);
	EXPECT_EQ(0, left_of(&self->v, mem, 0));
	EXPECT_EQ(0, still_resident);
	munmap(mem, 8 * PAGE);
	close(fd);
}

TEST_F(balloon, what_is_unmapped_meanwhile_is_counted)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, FULL, 8 * PAGE);
	must(!munmap(self->slot + 2 * PAGE, 2 * PAGE), "munmap");
	for (uint32_t i = 0; i < 8; i++)
		pfns(self->vm)[i] = (GPA >> 12) + i;
	give(&self->v, INFLATE, 8);
	EXPECT_EQ(0, resident(self->slot, 2));
	EXPECT_EQ(0, resident(self->slot + 4 * PAGE, 4));
	EXPECT_EQ(2 * PAGE, get(&self->v).refused);
}

TEST_F(balloon, memory_of_a_userfaultfd_stays)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)self->slot, 8 * PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		SKIP(return, "no userfaultfd in this kernel");
	memset(self->slot, FULL, 8 * PAGE);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pfns(self->vm)[0] = GPA >> 12;
	give(&self->v, INFLATE, 1);
	EXPECT_EQ(8, resident(self->slot, 8));
	EXPECT_EQ(PAGE, get(&self->v).refused);
	close(fd);
}

/* ---- drivers that break the rules ---- */

TEST_F(balloon, buffers_that_are_no_page_numbers_break_it)
{
	struct ring_piece p[2] = { { PFNS, 4, false }, { PFNS + 64, 4, true } };

	for (unsigned int queue = INFLATE; queue <= DEFLATE; queue++) {
		ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		add(&self->v, queue, PFNS, 7, false);
		virtio_kick(&self->v, queue);
		ASSERT_TRUE(breaks(&self->v));
		EXPECT_STREQ("page numbers for the balloon end in the middle of one", virtio_broken(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		ring_add(&self->v.ring[queue], p, 2);
		virtio_kick(&self->v, queue);
		ASSERT_TRUE(breaks(&self->v));
		EXPECT_STREQ("page numbers for the balloon have a part that the device is to write",
			     virtio_broken(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
	}
}

TEST_F(balloon, buffers_of_the_wrong_direction_break_it)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	add(&self->v, STATS, PFNS, 10, true);
	ASSERT_EQ(0, set(&self->v, 0, 1));
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("statistics of the balloon have a part that the device is to write", virtio_broken(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	add(&self->v, REPORTING, GPA, PAGE, false);
	virtio_kick(&self->v, REPORTING);
	ASSERT_TRUE(breaks(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	/* A queue that the features say is not there. */
	ASSERT_EQ(0, virtio_start(&self->v, variant->features & ~REPORTS));
	add(&self->v, REPORTING, GPA, PAGE, true);
	virtio_kick(&self->v, REPORTING);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("free pages are reported otherwise than by buffers of a queue for them", virtio_broken(&self->v));
}

TEST_F(balloon, page_numbers_that_are_gone_break_it)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!munmap(self->slot, PAGE), "munmap");
	add(&self->v, INFLATE, GPA, 16, false);
	virtio_kick(&self->v, INFLATE);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("page numbers for the balloon cannot be read", virtio_broken(&self->v));
}

/* A buffer of half a thousand million page numbers: it is stopped in the middle, at once. */
TEST_F(balloon, a_buffer_without_end_holds_up_nobody)
{
	struct ring_piece p[60];
	struct timespec start, end;
	uint32_t id, len;

	for (int i = 0; i < 60; i++)
		p[i] = (struct ring_piece){ GPA, PAGES * PAGE, false };
	for (uint32_t i = 0; i < PAGES * PAGE / 4; i++)
		((uint32_t *)self->slot)[i] = (OTHER >> 12) + i * 2;
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[INFLATE], p, 60);
	virtio_kick(&self->v, INFLATE);
	usleep(50000);
	clock_gettime(CLOCK_MONOTONIC, &start);
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, PAGE, self->slot));
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, 0, self->slot));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	EXPECT_FALSE(ring_collect(&self->v.ring[INFLATE], &id, &len));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	usleep(50000);
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	clock_gettime(CLOCK_MONOTONIC, &end);
	EXPECT_GT(20, end.tv_sec - start.tv_sec);
	EXPECT_LT(0, get(&self->v).refused);
}

/* The memory that holds the page numbers, and the ring. */
TEST_F(balloon, it_may_give_away_what_it_works_with)
{
	uint32_t id, len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (uint32_t i = 0; i < 2; i++)
		pfns(self->vm)[i] = (VIRTIO_RING(INFLATE) >> 12) + i;
	pfns(self->vm)[2] = PFNS >> 12;
	add(&self->v, INFLATE, PFNS, 12, false);
	virtio_kick(&self->v, INFLATE);
	for (int i = 0; i < 10000 && get(&self->v).inflated < 3; i++)
		usleep(1000);
	EXPECT_EQ(3, get(&self->v).inflated);
	usleep(10000);
	ring_collect(&self->v.ring[INFLATE], &id, &len);
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pfns(self->vm)[0] = GPA >> 12;
	give(&self->v, INFLATE, 1);
}

/* ---- reporting ---- */

TEST_F(balloon, what_is_reported_is_gone)
{
	struct ring_piece p[3] = {
		{ GPA, 4 * PAGE, true }, { GPA + 8 * PAGE + 100, 4 * PAGE, true }, { GPA + 16 * PAGE + 1, 100, true },
	};

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, FULL, 32 * PAGE);
	ring_add(&self->v.ring[REPORTING], p, 3);
	EXPECT_EQ(0, virtio_finish(&self->v, REPORTING, NULL));
	/* Of what is no whole page, nothing. */
	EXPECT_EQ(0, resident(self->slot, 4));
	EXPECT_EQ(4, resident(self->slot + 4 * PAGE, 4));
	EXPECT_EQ(1, resident(self->slot + 8 * PAGE, 4));
	EXPECT_TRUE(all(self->slot + 12 * PAGE, FULL, 20 * PAGE));
	EXPECT_EQ(7 * PAGE, get(&self->v).reported);
	EXPECT_EQ(PAGE + 100, get(&self->v).refused);
	/* Drivers that leave no gap for queues that are not there. */
	add(&self->v, HINTS, GPA + 16 * PAGE, 2 * PAGE, true);
	EXPECT_EQ(0, virtio_finish(&self->v, HINTS, NULL));
	EXPECT_EQ(0, resident(self->slot + 16 * PAGE, 2));
}

static int write_config(struct virtio *v, uint32_t off, uint32_t len, uint32_t value)
{
	struct {
		struct vhost_vdpa_config head;
		uint32_t value;
	} arg = { .head = { off, len }, value };

	return xioctl(v->fd, VHOST_VDPA_SET_CONFIG, &arg);
}

static struct virtio_balloon_config config(struct virtio *v)
{
	struct {
		struct vhost_vdpa_config head;
		struct virtio_balloon_config c;
	} arg = { .head.len = sizeof(arg.c) };

	if (xioctl(v->fd, VHOST_VDPA_GET_CONFIG, &arg))
		die("VHOST_VDPA_GET_CONFIG");
	return arg.c;
}

TEST_F(balloon, pages_filled_with_poison_keep_it)
{
	const uint32_t at = offsetof(struct virtio_balloon_config, poison_val);
	uint64_t features = variant->features | POISON;

	EXPECT_EQ(-EINVAL, write_config(&self->v, at, 4, 1));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &features);
	ASSERT_EQ(0, write_config(&self->v, at, 4, 0x01010101U * FULL));
	ASSERT_EQ(0, virtio_start(&self->v, features));
	memset(self->slot, FULL, 8 * PAGE);
	add(&self->v, REPORTING, GPA, 4 * PAGE, true);
	virtio_finish(&self->v, REPORTING, NULL);
	EXPECT_TRUE(all(self->slot, FULL, 8 * PAGE));
	EXPECT_EQ(0, get(&self->v).reported);
	/* It does not change under way. */
	EXPECT_EQ(-EINVAL, write_config(&self->v, at, 4, 0));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(0, config(&self->v).poison_val);
	ASSERT_EQ(0, virtio_start(&self->v, features));
	add(&self->v, REPORTING, GPA, 4 * PAGE, true);
	virtio_finish(&self->v, REPORTING, NULL);
	EXPECT_EQ(4, resident(self->slot, 8));
	EXPECT_EQ(4 * PAGE, get(&self->v).reported);
}

/* ---- statistics ---- */

struct stat_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static struct stat_entry *stats(struct vm *vm)
{
	return (struct stat_entry *)(vm->ram + PFNS);
}

static bool stats_arrive(struct virtio *v, uint32_t valid, unsigned int tag, uint64_t value)
{
	struct kiln_virtio_balloon b = get(v);

	for (int i = 0; i < 10000 && (b.stats_valid != valid || b.stats[tag] != value); i++) {
		usleep(1000);
		b = get(v);
	}
	return b.stats_valid == valid && b.stats[tag] == value;
}

TEST_F(balloon, statistics_are_asked_for_every_so_often)
{
	const uint32_t valid = BIT64(VIRTIO_BALLOON_S_AVAIL) | BIT64(VIRTIO_BALLOON_S_SWAP_IN);
	struct kiln_virtio_balloon b;
	struct timespec start, end;
	uint32_t id, len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	stats(self->vm)[0] = (struct stat_entry){ VIRTIO_BALLOON_S_MEMTOT, 1000 };
	add(&self->v, STATS, PFNS, 10, false);
	virtio_kick(&self->v, STATS);
	/* Nobody wants them: they stay where they are. */
	EXPECT_EQ(0, virtio_wait(&self->v, STATS, 50));
	EXPECT_EQ(0, get(&self->v).stats_valid);
	ASSERT_EQ(0, set(&self->v, 0, 1));
	/* The buffer comes back, for new ones: in any order, unknown ones, an odd length. */
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < 3; i++) {
		ASSERT_LT(0, virtio_wait(&self->v, STATS, 10000));
		ASSERT_TRUE(ring_collect(&self->v.ring[STATS], &id, &len));
		EXPECT_EQ(0, len);
		stats(self->vm)[0] = (struct stat_entry){ VIRTIO_BALLOON_S_AVAIL, 5 + i };
		stats(self->vm)[1] = (struct stat_entry){ 4711, 6 };
		stats(self->vm)[2] = (struct stat_entry){ VIRTIO_BALLOON_S_SWAP_IN, ~i };
		stats(self->vm)[3] = (struct stat_entry){ VIRTIO_BALLOON_S_MAJFLT, 8 };
		add(&self->v, STATS, PFNS, 39, false);
		virtio_kick(&self->v, STATS);
		ASSERT_TRUE(stats_arrive(&self->v, valid, VIRTIO_BALLOON_S_AVAIL, 5 + i));
		b = get(&self->v);
		EXPECT_EQ(~i, b.stats[VIRTIO_BALLOON_S_SWAP_IN]);
		EXPECT_EQ(0, b.stats[VIRTIO_BALLOON_S_MAJFLT]);
		EXPECT_EQ(1, b.stats_seconds);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	EXPECT_LE(1500, (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
	/* A slot that comes waits for no statistics. */
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, PAGE, self->slot));
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, 0, self->slot));
	ASSERT_EQ(0, set(&self->v, 0, 0));
	EXPECT_EQ(0, get(&self->v).stats_valid);
	virtio_wait(&self->v, STATS, 100);
	EXPECT_EQ(0, virtio_wait(&self->v, STATS, 1500));
}

TEST_F(balloon, statistics_go_on_after_a_stop)
{
	uint32_t id, len;

	ASSERT_EQ(0, set(&self->v, 0, 1));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	stats(self->vm)[0] = (struct stat_entry){ VIRTIO_BALLOON_S_MEMTOT, 1000 };
	add(&self->v, STATS, PFNS, 10, false);
	virtio_kick(&self->v, STATS);
	ASSERT_LT(0, virtio_wait(&self->v, STATS, 10000));
	ASSERT_TRUE(ring_collect(&self->v.ring[STATS], &id, &len));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	add(&self->v, STATS, PFNS, 10, false);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	ASSERT_TRUE(stats_arrive(&self->v, BIT64(VIRTIO_BALLOON_S_MEMTOT), VIRTIO_BALLOON_S_MEMTOT, 1000));
	ASSERT_LT(0, virtio_wait(&self->v, STATS, 10000));
}

/* ---- configuration ---- */

TEST_F(balloon, the_target_changes_and_the_driver_is_told)
{
	const uint32_t actual = offsetof(struct virtio_balloon_config, actual);
	int call = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &call);
	ASSERT_EQ(0, set(&self->v, 100, 0));
	EXPECT_EQ(-1, read(call, &n, 8));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(100, config(&self->v).num_pages);
	ASSERT_EQ(0, set(&self->v, 200, 0));
	EXPECT_EQ(8, read(call, &n, 8));
	ASSERT_EQ(0, set(&self->v, 200, 0));
	EXPECT_EQ(-1, read(call, &n, 8));
	EXPECT_EQ(200, get(&self->v).num_pages);
	ASSERT_EQ(0, write_config(&self->v, actual, 4, 150));
	EXPECT_EQ(150, get(&self->v).actual);
	EXPECT_EQ(150, config(&self->v).actual);
	EXPECT_EQ(-EINVAL, write_config(&self->v, actual, 2, 1));
	EXPECT_EQ(-EINVAL, write_config(&self->v, actual + 2, 2, 1));
	EXPECT_EQ(-EINVAL, write_config(&self->v, 0, 4, 1));
	EXPECT_EQ(-EINVAL, write_config(&self->v, 8, 4, 1));
	EXPECT_EQ(-EINVAL, write_config(&self->v, 16, 4, 1));
	/* The guest that starts anew has all its memory, and is asked again. */
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(0, get(&self->v).actual);
	EXPECT_EQ(200, get(&self->v).num_pages);
	close(call);
}

/* How often it was signalled. */
static uint64_t calls(int call)
{
	uint64_t n = 0;

	return read(call, &n, 8) == 8 ? n : 0;
}

TEST_F(balloon, what_changes_while_it_stands_still_is_told_when_it_goes_on)
{
	int call = eventfd(0, EFD_NONBLOCK);

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &call);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(0, calls(call));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_EQ(0, set(&self->v, 100, 0));
	ASSERT_EQ(0, set(&self->v, 200, 0));
	EXPECT_EQ(0, calls(call));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(1, calls(call));
	/* Once. */
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(0, calls(call));
	/* A reset ends that: the next driver reads it all anew, up to where it goes to work. */
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_EQ(0, set(&self->v, 300, 0));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, set(&self->v, 400, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(0, calls(call));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_status(&self->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
	ASSERT_EQ(0, set(&self->v, 500, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(1, calls(call));
	close(call);
}

TEST_F(balloon, calls_are_checked)
{
	struct kiln_virtio_balloon b = get(&self->v);
	uint64_t features = 0;
	int fd;

	/* What was read may be written. */
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BALLOON, &b);
	b.reserved[1] = 1;
	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_BALLOON, &b);
	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_SET_BALLOON, NULL);
	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_GET_BALLOON, NULL);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, KILN_VIRTIO_SET_RNG, &b);
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_BALLOON, 1));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_BALLOON, 6));
	ASSERT_IOCTL(0, self->v.fd, VHOST_GET_FEATURES, &features);
	EXPECT_EQ(STATS_VQ | POISON | REPORTS | BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		  BIT64(VIRTIO_BALLOON_F_FREE_PAGE_HINT), features & 0xffffff);
	fd = virtio_fd(self->vm, VIRTIO_ID_BALLOON, 2);
	ASSERT_LE(0, fd);
	ASSERT_IOCTL(0, fd, VHOST_GET_FEATURES, &features);
	EXPECT_EQ(BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM), features & 0xffffff);
	close(fd);
}

/* ---- races ---- */

struct race {
	struct virtio *v;
	uint8_t *slot;
	volatile bool over;
};

/* Touches memory while it goes, and lets some of it go itself. */
static void *touches(void *arg)
{
	struct race *race = arg;

	for (uint32_t i = 0; !race->over; i++) {
		uint8_t *at = race->slot + (i * 5 % PAGES) * PAGE;

		*(volatile uint8_t *)at = FULL;
		if (!(i % 16))
			madvise(at, PAGE, MADV_DONTNEED);
	}
	return NULL;
}

static void *kicks(void *arg)
{
	struct race *race = arg;

	while (!race->over) {
		for (unsigned int i = 0; i < QUEUES; i++)
			virtio_kick(race->v, i);
		usleep(100);
	}
	return NULL;
}

/* What a guest may do at any time: buffers of all kinds on all queues. */
static void add_any(struct virtio *v)
{
	for (uint32_t n = 0; n < 64; n++)
		pfns(v->vm)[n] = (GPA >> 12) + next_random() % (PAGES + 64);
	for (int i = 0; i < 7; i++) {
		add(v, INFLATE, PFNS, 4 * (next_random() % 63 + 1), false);
		add(v, DEFLATE, PFNS, 4 * (next_random() % 63 + 1), false);
		add(v, STATS, PFNS, next_random() % 99 + 1, false);
		add(v, REPORTING, GPA + (next_random() % (PAGES - 4)) * PAGE, next_random() % (4 * PAGE) + 1, true);
	}
}

TEST_F_TIMEOUT(balloon, it_stops_goes_on_and_is_reset_at_any_time, 120)
{
	struct race race = { &self->v, self->slot };
	pthread_t thread[2];
	time_t end = time(NULL) + 5;

	seed_random("balloon");
	ASSERT_EQ(0, set(&self->v, 0, 1));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!pthread_create(&thread[0], NULL, touches, &race), "thread");
	must(!pthread_create(&thread[1], NULL, kicks, &race), "thread");
	for (int i = 0; time(NULL) < end; i++) {
		add_any(&self->v);
		switch (next_random() % 4) {
		case 0:
			xioctl(self->v.fd, VHOST_VDPA_SUSPEND, NULL);
			virtio_status(&self->v, RUNNING);
			break;
		case 1:
			vm_set_slot(self->vm, 5, 0, 0xa0000000, PAGE, self->slot);
			vm_set_slot(self->vm, 5, 0, 0xa0000000, 0, self->slot);
			break;
		case 2:
			set(&self->v, i, next_random() % 2);
			break;
		}
		/* The ring has room for eight times as many. */
		if (i % 8 == 7) {
			EXPECT_STREQ("", virtio_broken(&self->v));
			ASSERT_EQ(0, virtio_status(&self->v, 0));
			ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		}
	}
	race.over = true;
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
}

TEST_F_TIMEOUT(balloon, its_owner_may_be_killed_in_the_middle, 120)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct vm *vm = vm_create_one(VM_IRQCHIP, uses_a_page)->vm;
			uint8_t *slot = vm_map(vm, 1, GPA, PAGES * PAGE);
			struct virtio v = virtio_create(vm, VIRTIO_ID_BALLOON, QUEUES);

			memset(slot, FULL, 1024 * PAGE);
			must(!virtio_start(&v, variant->features), "start");
			for (uint32_t n = 0; n < PAGES; n++)
				pfns(vm)[n] = (GPA >> 12) + (n * 2) % PAGES;
			for (int n = 0; n < 16; n++)
				add(&v, INFLATE, PFNS, PAGES * 4, false);
			virtio_kick(&v, INFLATE);
			for (;;)
				pause();
		}
		usleep(20000 + i * 3000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
}

TEST_HARNESS_MAIN
