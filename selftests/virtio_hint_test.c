// SPDX-License-Identifier: GPL-2.0-only
/*
 * Free page hints of the balloon (virtio 1.2 §5.5.6.5): what is hinted and holds nothing is gone from this process, and
 * nobody finds anything else in it than what he wrote, whatever a driver hints and whenever it uses it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "balloon.h"
#include "virtio.h"

#define COMMAND	(VIRTIO_DATA)
#define PAGES	4096U			/* of it: 16 MiB */
#define BLOCK	1024U			/* pages that Linux hints at once */
#define USED	64U			/* pages that are used while they are hinted */
/* Pages that were made a moment ago the host may still have notes of (its LRU batches): these stay. */
#define NOTED	128U

/* ---- a guest that has released what it hinted, and uses it ---- */

static __guest void uses_what_is_hinted(void)
{
	volatile uint64_t *p = (volatile uint64_t *)GPA;

	for (uint64_t i = 1;; i++) {
		for (unsigned int n = 0; n < USED; n++)
			p[n * 512 + i % 512] = i;
		for (unsigned int n = 0; n < USED; n++)
			guest_expect(i, p[n * 512 + i % 512]);
		for (unsigned int n = 0; n < USED; n++)
			p[n * 512 + i % 512] = 0;
		if (!(i % 100))
			guest_sync(i / 100);
	}
}

FIXTURE(hint) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	uint8_t *slot;
	int call;
};

FIXTURE_VARIANT(hint) {
	uint64_t features;
};

FIXTURE_VARIANT_ADD(hint, split) { .features = V1 | STATS_VQ | HINT | REPORTS };
FIXTURE_VARIANT_ADD(hint, packed) { .features = V1 | STATS_VQ | HINT | REPORTS | PACKED | EVENT_IDX | INDIRECT };

FIXTURE_SETUP(hint)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, uses_what_is_hinted);
	self->vm = self->vcpu->vm;
	self->slot = vm_map(self->vm, 1, GPA, PAGES * PAGE);
	self->v = virtio_create(self->vm, VIRTIO_ID_BALLOON, QUEUES);
	self->call = eventfd(0, EFD_NONBLOCK);
	if (xioctl(self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &self->call))
		die("VHOST_VDPA_SET_CONFIG_CALL");
}

FIXTURE_TEARDOWN(hint)
{
	virtio_destroy(&self->v);
	close(self->call);
	munmap(self->slot, PAGES * PAGE);
	vm_destroy(self->vm);
}

static struct kiln_virtio_hint get(struct virtio *v)
{
	struct kiln_virtio_hint h;

	must(!xioctl(v->fd, KILN_VIRTIO_GET_HINT, &h), "KILN_VIRTIO_GET_HINT");
	return h;
}

static int set(struct virtio *v, uint32_t command)
{
	struct kiln_virtio_hint h = { .command = command };

	return xioctl(v->fd, KILN_VIRTIO_SET_HINT, &h);
}

/* What the driver reads. */
static uint32_t config_id(struct virtio *v)
{
	struct {
		struct vhost_vdpa_config head;
		uint32_t id;
	} arg = { .head = { offsetof(struct virtio_balloon_config, free_page_hint_cmd_id), 4 } };

	must(!xioctl(v->fd, VHOST_VDPA_GET_CONFIG, &arg), "VHOST_VDPA_GET_CONFIG");
	return arg.id;
}

/* How often the driver was told to read it again, since the last time. */
static uint64_t told(int call)
{
	uint64_t n = 0;

	return read(call, &n, 8) == 8 ? n : 0;
}

static void add(struct virtio *v, uint64_t addr, uint32_t len, bool in)
{
	struct ring_piece p = { addr, len, in };

	ring_add(&v->ring[HINTS], &p, 1);
}

/* One after the other, so that nothing of it is under way upon return. */
static void command(struct virtio *v, uint32_t id)
{
	*(uint32_t *)(v->vm->ram + COMMAND) = id;
	add(v, COMMAND, 4, false);
	virtio_finish(v, HINTS, NULL);
}

static void hint(struct virtio *v, uint64_t addr, uint64_t len)
{
	add(v, addr, len, true);
	virtio_finish(v, HINTS, NULL);
}

static bool becomes(struct virtio *v, uint32_t state)
{
	for (int i = 0; i < 20000 && get(v).state != state; i++)
		usleep(1000);
	return get(v).state == state;
}

/* A whole round of one hint. */
static bool round_of(struct virtio *v, uint64_t addr, uint64_t len)
{
	must(!set(v, KILN_BALLOON_HINT_START), "START");
	command(v, config_id(v));
	hint(v, addr, len);
	command(v, VIRTIO_BALLOON_CMD_ID_STOP);
	return becomes(v, KILN_BALLOON_HINT_FINISHED);
}

static bool breaks(struct virtio *v)
{
	virtio_kick(v, HINTS);
	for (int i = 0; i < 20000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

/* ---- rounds as they should be ---- */

TEST_F(hint, what_is_hinted_and_empty_goes_back)
{
	uint32_t id;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(KILN_BALLOON_HINT_NONE, get(&self->v).state);
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_STOP, config_id(&self->v));
	memset(self->slot, 0, PAGES * PAGE);
	memset(self->slot + 3 * BLOCK * PAGE, FULL, BLOCK * PAGE);
	ASSERT_EQ(PAGES, resident(self->slot, PAGES));
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	EXPECT_EQ(KILN_BALLOON_HINT_ASKED, get(&self->v).state);
	id = config_id(&self->v);
	EXPECT_LT(VIRTIO_BALLOON_CMD_ID_DONE, id);
	EXPECT_EQ(id, get(&self->v).id);
	EXPECT_EQ(1, told(self->call));
	command(&self->v, id);
	EXPECT_EQ(KILN_BALLOON_HINT_BEGUN, get(&self->v).state);
	for (unsigned int i = 1; i < 4; i++)
		hint(&self->v, GPA + i * BLOCK * PAGE, BLOCK * PAGE);
	EXPECT_EQ(0, told(self->call));
	command(&self->v, VIRTIO_BALLOON_CMD_ID_STOP);
	ASSERT_TRUE(becomes(&self->v, KILN_BALLOON_HINT_FINISHED));
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_DONE, config_id(&self->v));
	EXPECT_EQ(1, told(self->call));
	EXPECT_EQ(3 * BLOCK * PAGE, get(&self->v).hinted);
	EXPECT_LE((2 * BLOCK - NOTED) * PAGE, get(&self->v).returned);
	EXPECT_GE(2 * BLOCK * PAGE, get(&self->v).returned);
	/* What was not hinted stays, and what is not empty. */
	EXPECT_EQ(BLOCK, resident(self->slot, BLOCK));
	EXPECT_EQ(2 * BLOCK - get(&self->v).returned / PAGE, resident(self->slot + BLOCK * PAGE, 2 * BLOCK));
	EXPECT_EQ(BLOCK, resident(self->slot + 3 * BLOCK * PAGE, BLOCK));
	EXPECT_TRUE(all(self->slot, 0, 3 * BLOCK * PAGE));
	EXPECT_TRUE(all(self->slot + 3 * BLOCK * PAGE, FULL, BLOCK * PAGE));
	printf("# of %u empty pages %llu went back\n", 2 * BLOCK, get(&self->v).returned / PAGE);
	fflush(stdout);
}

TEST_F(hint, one_byte_in_a_page_keeps_it)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	madvise(self->slot, PAGES * PAGE, MADV_NOHUGEPAGE);
	memset(self->slot, 0, BLOCK * PAGE);
	for (unsigned int i = 0; i < BLOCK; i += 2)
		self->slot[i * PAGE + (i * 37) % PAGE] = FULL;
	ASSERT_TRUE(round_of(&self->v, GPA, BLOCK * PAGE));
	EXPECT_LE(BLOCK / 2, resident(self->slot, BLOCK));
	EXPECT_GE(BLOCK / 2 + NOTED, resident(self->slot, BLOCK));
	for (unsigned int i = 0; i < BLOCK; i += 2)
		EXPECT_EQ(FULL, self->slot[i * PAGE + (i * 37) % PAGE]);
}

TEST_F(hint, huge_pages_go_as_a_whole)
{
	size_t size = 4UL << 20, huge_page = 2UL << 20;
	uint8_t *mem = mmap(NULL, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *huge = (uint8_t *)(((uintptr_t)mem + huge_page - 1) & -huge_page);

	madvise(huge, size, MADV_HUGEPAGE);
	memset(huge, 0, size);
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, 0, OTHER, size, huge));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	huge[huge_page + 5] = FULL;
	ASSERT_TRUE(round_of(&self->v, OTHER, size));
	/* Without huge pages in this kernel these are small ones. */
	EXPECT_GE(NOTED, resident(huge, 512));
	EXPECT_LE(1, resident(huge + huge_page, 512));
	EXPECT_EQ(FULL, huge[huge_page + 5]);
	munmap(mem, size + huge_page);
}

TEST_F(hint, rounds_follow_each_other)
{
	uint32_t id = 0;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 20; i++) {
		memset(self->slot, 0, 512 * PAGE);
		ASSERT_TRUE(round_of(&self->v, GPA, 512 * PAGE));
		EXPECT_LT(id, get(&self->v).id);
		id = get(&self->v).id;
		EXPECT_EQ(512 * PAGE, get(&self->v).hinted);
		EXPECT_GE(NOTED, resident(self->slot, 512));
	}
}

/* With statistics or without, with a gap for the queue or without: §5.5.2, and Linux before 6.11. */
TEST_F(hint, the_queue_is_found_without_statistics)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features & ~STATS_VQ));
	/* All queues are enabled: a driver that leaves no gap. */
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	memset(self->slot, 0, 512 * PAGE);
	*(uint32_t *)(self->vm->ram + COMMAND) = config_id(&self->v);
	ring_add(&self->v.ring[STATS], &(struct ring_piece){ COMMAND, 4, false }, 1);
	virtio_finish(&self->v, STATS, NULL);
	EXPECT_EQ(KILN_BALLOON_HINT_BEGUN, get(&self->v).state);
	/* The next one is for reports, which ask for nothing. */
	ring_add(&self->v.ring[HINTS], &(struct ring_piece){ GPA, 512 * PAGE, true }, 1);
	virtio_finish(&self->v, HINTS, NULL);
	EXPECT_EQ(0, resident(self->slot, 512));
	EXPECT_EQ(0, get(&self->v).hinted);
	/* A queue less: one that leaves a gap. */
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &(uint64_t){ variant->features & ~STATS_VQ });
	ASSERT_EQ(0, virtio_status(&self->v, READY));
	memset(self->vm->ram + VIRTIO_RING(HINTS), 0, RING_SIZE(VIRTIO_NUM));
	ring_init(&self->v.ring[HINTS], (uintptr_t)self->vm->ram, VIRTIO_RING(HINTS), VIRTIO_NUM,
		  variant->features & PACKED, variant->features & EVENT_IDX);
	ASSERT_EQ(0, virtio_set_ring(&self->v, HINTS));
	ASSERT_EQ(0, virtio_enable(&self->v, HINTS, 1));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	memset(self->slot, 0, 512 * PAGE);
	ASSERT_TRUE(round_of(&self->v, GPA, 512 * PAGE));
	EXPECT_EQ(512 * PAGE, get(&self->v).hinted);
}

/* ---- rounds as they should not be ---- */

TEST_F(hint, what_is_of_no_round_is_ignored)
{
	uint32_t id;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, 0, BLOCK * PAGE);
	/* Nobody asked. */
	hint(&self->v, GPA, BLOCK * PAGE);
	command(&self->v, 0);
	command(&self->v, 1);
	command(&self->v, 2);
	hint(&self->v, GPA, BLOCK * PAGE);
	EXPECT_EQ(KILN_BALLOON_HINT_NONE, get(&self->v).state);
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	id = config_id(&self->v);
	/* No beginning, or that of another one; an end without. */
	hint(&self->v, GPA, BLOCK * PAGE);
	command(&self->v, VIRTIO_BALLOON_CMD_ID_STOP);
	command(&self->v, id + 1);
	hint(&self->v, GPA, BLOCK * PAGE);
	command(&self->v, id - 1);
	hint(&self->v, GPA, BLOCK * PAGE);
	command(&self->v, VIRTIO_BALLOON_CMD_ID_STOP);
	usleep(20000);
	EXPECT_EQ(KILN_BALLOON_HINT_ASKED, get(&self->v).state);
	EXPECT_EQ(id, config_id(&self->v));
	/* The right one twice, and then one that is old. */
	command(&self->v, id);
	command(&self->v, id);
	hint(&self->v, GPA + BLOCK * PAGE, PAGE);
	command(&self->v, VIRTIO_BALLOON_CMD_ID_DONE);
	hint(&self->v, GPA, BLOCK * PAGE);
	EXPECT_EQ(PAGE, get(&self->v).hinted);
	EXPECT_EQ(KILN_BALLOON_HINT_BEGUN, get(&self->v).state);
	command(&self->v, id);
	command(&self->v, VIRTIO_BALLOON_CMD_ID_STOP);
	ASSERT_TRUE(becomes(&self->v, KILN_BALLOON_HINT_FINISHED));
	/* It is over, and does not begin again. */
	command(&self->v, id);
	hint(&self->v, GPA, BLOCK * PAGE);
	EXPECT_EQ(PAGE, get(&self->v).hinted);
	EXPECT_EQ(KILN_BALLOON_HINT_FINISHED, get(&self->v).state);
	usleep(20000);
	EXPECT_EQ(BLOCK, resident(self->slot, BLOCK));
}

TEST_F(hint, it_is_stopped_in_the_middle)
{
	uint32_t id;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, 0, 2 * BLOCK * PAGE);
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	EXPECT_EQ(-EBUSY, set(&self->v, KILN_BALLOON_HINT_START));
	id = config_id(&self->v);
	command(&self->v, id);
	EXPECT_EQ(-EBUSY, set(&self->v, KILN_BALLOON_HINT_START));
	hint(&self->v, GPA, BLOCK * PAGE);
	told(self->call);
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_STOP));
	EXPECT_EQ(1, told(self->call));
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_STOP, config_id(&self->v));
	EXPECT_EQ(KILN_BALLOON_HINT_STOPPED, get(&self->v).state);
	/* The driver has not seen it yet. */
	hint(&self->v, GPA + BLOCK * PAGE, BLOCK * PAGE);
	command(&self->v, VIRTIO_BALLOON_CMD_ID_STOP);
	usleep(20000);
	EXPECT_EQ(BLOCK, resident(self->slot + BLOCK * PAGE, BLOCK));
	EXPECT_EQ(BLOCK * PAGE, get(&self->v).hinted);
	EXPECT_EQ(KILN_BALLOON_HINT_STOPPED, get(&self->v).state);
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_STOP, config_id(&self->v));
	/* It goes on with another id (§5.5.6.5, 4.), and is given up. */
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	EXPECT_LT(id, config_id(&self->v));
	command(&self->v, id);
	hint(&self->v, GPA + BLOCK * PAGE, BLOCK * PAGE);
	EXPECT_EQ(0, get(&self->v).hinted);
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_DONE));
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_DONE, config_id(&self->v));
	EXPECT_EQ(2, told(self->call));
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_DONE));
	EXPECT_EQ(0, told(self->call));
	EXPECT_EQ(BLOCK, resident(self->slot + BLOCK * PAGE, BLOCK));
}

TEST_F(hint, it_is_reset_and_suspended_in_the_middle)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->slot, 0, BLOCK * PAGE);
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	command(&self->v, config_id(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(KILN_BALLOON_HINT_NONE, get(&self->v).state);
	EXPECT_EQ(VIRTIO_BALLOON_CMD_ID_STOP, config_id(&self->v));
	EXPECT_EQ(-EOPNOTSUPP, set(&self->v, KILN_BALLOON_HINT_START));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	hint(&self->v, GPA, BLOCK * PAGE);
	EXPECT_EQ(BLOCK, resident(self->slot, BLOCK));
	ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
	command(&self->v, config_id(&self->v));
	told(self->call);
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	add(&self->v, GPA, BLOCK * PAGE, true);
	*(uint32_t *)(self->vm->ram + COMMAND) = VIRTIO_BALLOON_CMD_ID_STOP;
	add(&self->v, COMMAND, 4, false);
	virtio_kick(&self->v, HINTS);
	EXPECT_EQ(-EOPNOTSUPP, set(&self->v, KILN_BALLOON_HINT_STOP));
	usleep(20000);
	EXPECT_EQ(BLOCK, resident(self->slot, BLOCK));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	ASSERT_TRUE(becomes(&self->v, KILN_BALLOON_HINT_FINISHED));
	EXPECT_EQ(1, told(self->call));
	EXPECT_GE(NOTED, resident(self->slot, BLOCK));
}

TEST_F(hint, commands_that_are_none_break_it)
{
	struct ring_piece both[2] = { { COMMAND, 4, false }, { GPA, PAGE, true } };
	static const uint32_t lengths[] = { 1, 3, 5, 8, 4096 };

	for (unsigned int i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		add(&self->v, COMMAND, lengths[i], false);
		ASSERT_TRUE(breaks(&self->v));
		EXPECT_STREQ("a command of free page hints has other than 4 bytes", virtio_broken(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
	}
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[HINTS], both, 2);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("free page hints have a command and pages in one buffer", virtio_broken(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!munmap(self->slot, PAGE), "munmap");
	add(&self->v, GPA, 4, false);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("a command of free page hints cannot be read", virtio_broken(&self->v));
}

TEST_F(hint, pages_that_are_nowhere_break_it)
{
	uint8_t *mem = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const uint64_t where[] = { OTHER, GPA + PAGES * PAGE, -PAGE, -8UL };

	memset(mem, 0, 8 * PAGE);
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, KVM_MEM_READONLY, OTHER, 8 * PAGE, mem));
	for (unsigned int i = 0; i < sizeof(where) / sizeof(*where); i++) {
		ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
		command(&self->v, config_id(&self->v));
		add(&self->v, where[i], PAGE, true);
		ASSERT_TRUE(breaks(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
	}
	EXPECT_EQ(8, resident(mem, 8));
	munmap(mem, 8 * PAGE);
}

/* Parts of pages, pages that are not there, a slot of many mappings, memory that is another's business. */
TEST_F(hint, only_whole_pages_that_are_there_go)
{
	int fd = memfd_create("memory", 0);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	madvise(self->slot, PAGES * PAGE, MADV_NOHUGEPAGE);
	ASSERT_TRUE(round_of(&self->v, GPA, PAGES * PAGE));
	EXPECT_EQ(0, get(&self->v).returned);
	EXPECT_EQ(0, resident(self->slot, PAGES));
	memset(self->slot, 0, BLOCK * PAGE);
	ASSERT_TRUE(round_of(&self->v, GPA + 1, 2 * PAGE - 2));
	EXPECT_EQ(0, get(&self->v).returned);
	EXPECT_EQ(BLOCK, resident(self->slot, BLOCK));
	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	must(mmap(self->slot + 8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED, "mmap");
	memset(self->slot + 8 * PAGE, 0, 8 * PAGE);
	must(!munmap(self->slot + 32 * PAGE, PAGE), "munmap");
	ASSERT_TRUE(round_of(&self->v, GPA, BLOCK * PAGE));
	EXPECT_EQ(8, resident(self->slot + 8 * PAGE, 8));
	EXPECT_GE(NOTED, resident(self->slot + 33 * PAGE, BLOCK - 33));
	if (!mlock(self->slot + PAGES / 2 * PAGE, 8 * PAGE)) {
		ASSERT_TRUE(round_of(&self->v, GPA + PAGES / 2 * PAGE, 8 * PAGE));
		EXPECT_EQ(8, resident(self->slot + PAGES / 2 * PAGE, 8));
	}
	close(fd);
}

/* Somebody has looked the pages up, to use them past this process' page tables. */
TEST_F(hint, pages_that_somebody_uses_stay)
{
	struct iovec iov = { self->slot, 8 * PAGE };
	int fds[2];

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	madvise(self->slot, PAGES * PAGE, MADV_NOHUGEPAGE);
	memset(self->slot, 0, BLOCK * PAGE);
	must(!pipe(fds), "pipe");
	ASSERT_EQ(8 * PAGE, vmsplice(fds[1], &iov, 1, 0));
	ASSERT_TRUE(round_of(&self->v, GPA, BLOCK * PAGE));
	EXPECT_EQ(8, resident(self->slot, 8));
	EXPECT_GE(8 + NOTED, resident(self->slot, BLOCK));
	close(fds[0]);
	close(fds[1]);
	ASSERT_TRUE(round_of(&self->v, GPA, 8 * PAGE));
	EXPECT_EQ(0, resident(self->slot, 8));
}

TEST_F(hint, calls_are_checked)
{
	struct kiln_virtio_hint h = {};

	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_SET_HINT, NULL);
	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_GET_HINT, NULL);
	EXPECT_EQ(-EOPNOTSUPP, set(&self->v, KILN_BALLOON_HINT_START));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features & ~HINT));
	EXPECT_EQ(-EOPNOTSUPP, set(&self->v, KILN_BALLOON_HINT_START));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(-EINVAL, set(&self->v, KILN_BALLOON_HINT_DONE + 1));
	h.reserved0 = 1;
	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_HINT, &h);
	h = (struct kiln_virtio_hint){ .reserved = { 0, 0, 0, 1 } };
	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_HINT, &h);
	EXPECT_EQ(KILN_BALLOON_HINT_NONE, get(&self->v).state);
	/* What was read may be written. */
	h = get(&self->v);
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_HINT, &h);
	EXPECT_EQ(KILN_BALLOON_HINT_ASKED, get(&self->v).state);
}

/* ---- hints of pages that are in use again (§5.5.6.5.1) ---- */

struct race {
	struct virtio *v;
	volatile uint64_t rounds;
	volatile bool over;
};

static void *hints(void *arg)
{
	struct race *race = arg;

	while (!race->over) {
		must(round_of(race->v, GPA, 512 * PAGE), "round");
		race->rounds++;
	}
	return NULL;
}

TEST_F_TIMEOUT(hint, a_guest_loses_nothing_it_writes, 120)
{
	struct race race = { .v = &self->v };
	time_t end = time(NULL) + 5;
	pthread_t thread;
	uint64_t n = 0;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!pthread_create(&thread, NULL, hints, &race), "thread");
	while (time(NULL) < end || race.rounds < 20) {
		char sync[32];

		snprintf(sync, sizeof(sync), "sync %llu", (unsigned long long)++n);
		ASSERT_OUTCOME(sync, self->vcpu);
	}
	race.over = true;
	pthread_join(thread, NULL);
	printf("# %llu rounds, %llu pages written meanwhile\n", (unsigned long long)race.rounds,
	       (unsigned long long)n * 100 * USED);
	fflush(stdout);
}

TEST_F_TIMEOUT(hint, it_is_reset_at_any_time, 120)
{
	time_t end = time(NULL) + 5;

	for (int i = 0; time(NULL) < end; i++) {
		ASSERT_EQ(0, virtio_start(&self->v, variant->features));
		memset(self->slot, 0, 2 * BLOCK * PAGE);
		ASSERT_EQ(0, set(&self->v, KILN_BALLOON_HINT_START));
		*(uint32_t *)(self->vm->ram + COMMAND) = config_id(&self->v);
		add(&self->v, COMMAND, 4, false);
		for (int n = 0; n < 20; n++)
			add(&self->v, GPA, PAGES * PAGE, true);
		virtio_kick(&self->v, HINTS);
		usleep(i * 300 % 20000);
		EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, PAGE, self->slot));
		EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0xa0000000, 0, self->slot));
		EXPECT_STREQ("", virtio_broken(&self->v));
		ASSERT_EQ(0, virtio_status(&self->v, 0));
		EXPECT_EQ(KILN_BALLOON_HINT_NONE, get(&self->v).state);
	}
}

TEST_HARNESS_MAIN
