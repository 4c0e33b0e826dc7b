// SPDX-License-Identifier: GPL-2.0-only
/*
 * What devices write is in the dirty log: the rings' used entries and the buffers, once the guest could look at them.
 * What the guest and the host's processes write is another suite's (dirty_test.c); packets are in virtio_net_test.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "random.h"
#include "virtio.h"

#define SLOT	1
#define GPA	0x10000000UL
#define PAGES	64UL			/* one word of a log */
#define SIZE	(PAGES * 4096)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES
#define PAGE(n)	(GPA + (n) * 4096UL)
#define BIT(n)	(1ULL << (n))
#define RAM_PAGES	(VM_RAM_SIZE / 4096)
#define FILE_SIZE	(4UL << 20)
#define HEADER		VIRTIO_DATA	/* of requests: in the guest's RAM, which devices only read here */

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

FIXTURE(logged) {
	struct vm *vm;
	struct virtio v;
	uint8_t *mem, *copy;
	int file;
};

FIXTURE_VARIANT(logged) {
	uint64_t features;
};

FIXTURE_VARIANT_ADD(logged, split) { .features = V1 };
FIXTURE_VARIANT_ADD(logged, split_event_idx) { .features = V1 | EVENT_IDX | INDIRECT };
FIXTURE_VARIANT_ADD(logged, packed) { .features = V1 | PACKED };
FIXTURE_VARIANT_ADD(logged, packed_event_idx) { .features = V1 | PACKED | EVENT_IDX | INDIRECT };

FIXTURE_SETUP(logged)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vm = vm_create(VM_IRQCHIP);
	self->mem = vm_map(self->vm, SLOT, GPA, SIZE);
	self->copy = calloc(1, SIZE);
	self->file = -1;
}

FIXTURE_TEARDOWN(logged)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
	close(self->file);
}

static int switch_log(struct vm *vm, uint8_t *mem, uint32_t flags)
{
	return vm_set_slot(vm, SLOT, flags, GPA, SIZE, mem);
}

static uint64_t get_log(struct vm *vm)
{
	uint64_t log = 0;
	struct kvm_dirty_log args = { .slot = SLOT, .dirty_bitmap = &log };

	if (xioctl(vm->fd, KVM_GET_DIRTY_LOG, &args))
		die("KVM_GET_DIRTY_LOG");
	return log;
}

/* Has this page of the guest's RAM been written since it was asked last? */
static bool ram_dirty(struct vm *vm, uint64_t gpa)
{
	static uint64_t log[RAM_PAGES / 64];
	struct kvm_dirty_log args = { .slot = 0, .dirty_bitmap = log };

	if (xioctl(vm->fd, KVM_GET_DIRTY_LOG, &args))
		die("KVM_GET_DIRTY_LOG of the RAM");
	return log[gpa / 4096 / 64] >> gpa / 4096 % 64 & 1;
}

static uint64_t used_page(const struct ring *r)
{
	return r->packed ? r->desc : r->used;
}

static void start_rng(struct virtio *v, struct vm *vm, uint64_t features)
{
	*v = virtio_create(vm, VIRTIO_ID_RNG, 1);
	if (virtio_start(v, features))
		die("entropy: DRIVER_OK");
}

TEST_F(logged, entropy_is)
{
	struct ring_piece p[2] = { { PAGE(5) - 8, 16, true }, { PAGE(9) + 100, 50, true } };

	start_rng(&self->v, self->vm, variant->features);
	ring_add(&self->v.ring[0], p, 2);
	virtio_finish(&self->v, 0, NULL);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	EXPECT_EQ(0, get_log(self->vm));
	for (int i = 0; i < 3; i++) {
		ring_add(&self->v.ring[0], p, 2);
		ASSERT_EQ(66, virtio_finish(&self->v, 0, NULL));
		EXPECT_EQ(BIT(4) | BIT(5) | BIT(9), get_log(self->vm));
	}
	EXPECT_EQ(0, get_log(self->vm));
}

TEST_F(logged, used_rings_are)
{
	struct ring_piece p = { PAGE(1), 8, true };

	start_rng(&self->v, self->vm, variant->features);
	ASSERT_EQ(0, vm_set_slot(self->vm, 0, LOG, 0, self->vm->ram_size, self->vm->ram));
	ram_dirty(self->vm, 0);
	for (int i = 0; i < 3; i++) {
		ring_add(&self->v.ring[0], &p, 1);
		virtio_finish(&self->v, 0, NULL);
		EXPECT_TRUE(ram_dirty(self->vm, used_page(&self->v.ring[0])));
	}
}

/* ---- disks ---- */

static void start_block(struct virtio *v, struct vm *vm, int *file, uint64_t features)
{
	struct kiln_virtio_block back = { .flags = KILN_BLOCK_WRITEBACK, .sectors = FILE_SIZE / 512,
					  .id = "twenty bytes of name" };
	uint64_t *sectors;

	*file = memfd_create("disk", MFD_CLOEXEC);
	if (*file < 0 || ftruncate(*file, FILE_SIZE))
		die("memfd: %s", strerror(errno));
	sectors = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
	if (sectors == MAP_FAILED)
		die("memfd: %s", strerror(errno));
	for (uint64_t i = 0; i < FILE_SIZE / 512; i++)
		sectors[i * 64 + i % 64] = i * 0x9e3779b97f4a7c15ULL + 1;
	munmap(sectors, FILE_SIZE);
	*v = virtio_create(vm, VIRTIO_ID_BLOCK, 1);
	back.fd = *file;
	if (xioctl(v->fd, KILN_VIRTIO_SET_BLOCK, &back) ||
	    virtio_start(v, features | BIT64(VIRTIO_BLK_F_FLUSH)))
		die("disk: DRIVER_OK");
}

/* A request whose status goes to the last page; data in pieces of a page each. */
static void block_request(struct virtio *v, uint32_t type, uint64_t sector, uint64_t data, unsigned int pages,
			  uint32_t len)
{
	struct header h = { .type = type, .sector = sector };
	struct ring_piece p[20] = { { HEADER, 16, false } };
	unsigned int n = 1;

	memcpy(v->vm->ram + HEADER, &h, sizeof(h));
	for (; pages--; data += 4096)
		p[n++] = (struct ring_piece){ data, len, type != VIRTIO_BLK_T_OUT };
	p[n++] = (struct ring_piece){ PAGE(63) + 9, 1, true };
	ring_add(&v->ring[0], p, n);
	virtio_finish(v, 0, NULL);
	if (v->vm->ram[HEADER] != (uint8_t)type)
		die("the header changed");
}

TEST_F(logged, sectors_that_are_read_are)
{
	start_block(&self->v, self->vm, &self->file, variant->features);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	block_request(&self->v, VIRTIO_BLK_T_IN, 8, PAGE(10), 1, 4096);
	EXPECT_EQ(BIT(10) | BIT(63), get_log(self->vm));
	/* More pieces than are remembered without an allocation. */
	block_request(&self->v, VIRTIO_BLK_T_IN, 16, PAGE(20), 12, 4096);
	EXPECT_EQ(0xfffULL << 20 | BIT(63), get_log(self->vm));
	EXPECT_EQ(0, self->mem[63 * 4096 + 9]);
	block_request(&self->v, VIRTIO_BLK_T_GET_ID, 0, PAGE(3), 1, 20);
	EXPECT_EQ(BIT(3) | BIT(63), get_log(self->vm));
	EXPECT_EQ(0, get_log(self->vm));
}

TEST_F(logged, sectors_that_are_written_are_not_but_their_status_is)
{
	start_block(&self->v, self->vm, &self->file, variant->features);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	block_request(&self->v, VIRTIO_BLK_T_OUT, 8, PAGE(10), 2, 4096);
	EXPECT_EQ(BIT(63), get_log(self->vm));
	block_request(&self->v, VIRTIO_BLK_T_FLUSH, 0, 0, 0, 0);
	EXPECT_EQ(BIT(63), get_log(self->vm));
}

/* ---- consoles ---- */

TEST_F(logged, a_consoles_input_is)
{
	struct kiln_virtio_console back = { .out = -1 };
	struct ring_piece p = { PAGE(7) + 4090, 100, true };
	int pipe_fd[2];

	ASSERT_EQ(0, pipe(pipe_fd));
	back.in = pipe_fd[0];
	self->v = virtio_create(self->vm, VIRTIO_ID_CONSOLE, 2);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_CONSOLE, &back);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	ring_add(&self->v.ring[0], &p, 1);
	virtio_kick(&self->v, 0);
	EXPECT_EQ(0, virtio_wait(&self->v, 0, 50));
	EXPECT_EQ(0, get_log(self->vm));
	ASSERT_EQ(10, write(pipe_fd[1], "0123456789", 10));
	ASSERT_NE(0, virtio_wait(&self->v, 0, 5000));
	EXPECT_EQ(BIT(7) | BIT(8), get_log(self->vm));
	EXPECT_EQ('0', self->mem[7 * 4096 + 4090]);
}

/* ---- balloons ---- */

/* Giving memory back is no write: what a page holds that was given away is nobody's business, and would have to be sent. */
TEST_F(logged, what_a_balloon_gives_back_is_not)
{
	struct ring_piece p = { VIRTIO_DATA, 4, false };
	uint32_t pfn = PAGE(4) / 4096;

	self->v = virtio_create(self->vm, VIRTIO_ID_BALLOON, 2);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(self->mem, 0x11, SIZE);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	memcpy(self->vm->ram + VIRTIO_DATA, &pfn, sizeof(pfn));
	ring_add(&self->v.ring[0], &p, 1);
	virtio_finish(&self->v, 0, NULL);
	EXPECT_EQ(0, self->mem[4 * 4096]);
	EXPECT_EQ(0, get_log(self->vm));
}

/* ---- what is copied by the log becomes what the guest has ---- */

struct collector {
	struct vm *vm;
	uint8_t *mem, *copy;
	bool stop;
	unsigned long rounds;
};

static void collect(struct collector *c)
{
	uint64_t log = get_log(c->vm);

	for (unsigned int i = 0; i < PAGES; i++)
		if (log >> i & 1)
			memcpy(c->copy + i * 4096, c->mem + i * 4096, 4096);
}

static void *collects(void *arg)
{
	struct collector *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_SEQ_CST)) {
		collect(c);
		__atomic_fetch_add(&c->rounds, 1, __ATOMIC_SEQ_CST);
		usleep(100);
	}
	return NULL;
}

TEST_F(logged, memory_copied_by_the_log_while_a_disk_is_read_is_that_of_the_guest)
{
	struct collector c = { .vm = self->vm, .mem = self->mem, .copy = self->copy };
	unsigned long n = 300 * from_environment("KILN_ROUNDS", 1);
	pthread_t thread;

	seed_random("disk reads under a log");
	start_block(&self->v, self->vm, &self->file, variant->features);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	memcpy(self->copy, self->mem, SIZE);
	ASSERT_EQ(0, pthread_create(&thread, NULL, collects, &c));
	for (unsigned long i = 0; i < n; i++) {
		unsigned int pages = 1 + next_random() % 8;

		block_request(&self->v, VIRTIO_BLK_T_IN, next_random() % (FILE_SIZE / 512 - 64),
			      PAGE(next_random() % (PAGES - 9)), pages, 4096);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	collect(&c);
	EXPECT_LT(1, c.rounds);
	EXPECT_EQ(0, memcmp(self->mem, self->copy, SIZE));
}

static void *switches(void *arg)
{
	struct collector *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_SEQ_CST)) {
		if (switch_log(c->vm, c->mem, LOG) || switch_log(c->vm, c->mem, 0))
			die("switching the log");
		c->rounds++;
		usleep(100);
	}
	return NULL;
}

TEST_F(logged, logs_may_be_switched_while_devices_work)
{
	struct collector c = { .vm = self->vm, .mem = self->mem, .copy = self->copy };
	pthread_t thread;

	start_block(&self->v, self->vm, &self->file, variant->features);
	ASSERT_EQ(0, pthread_create(&thread, NULL, switches, &c));
	for (unsigned int i = 0; i < 200; i++)
		block_request(&self->v, VIRTIO_BLK_T_IN, i * 8, PAGE(i % 32), 1 + i % 16, 4096);
	__atomic_store_n(&c.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	EXPECT_LT(1, c.rounds);
	ASSERT_EQ(0, switch_log(self->vm, self->mem, LOG));
	memcpy(self->copy, self->mem, SIZE);
	block_request(&self->v, VIRTIO_BLK_T_IN, 77, PAGE(30), 4, 4096);
	collect(&c);
	EXPECT_EQ(0, memcmp(self->mem, self->copy, SIZE));
}

TEST_HARNESS_MAIN
