// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device (virtio 1.2 §5.2), served by the kernel, on a file in memory and, where the machine has one that may be
 * written over, on a disk with O_DIRECT: KILN_TEST_DISK, or /dev/vda, /dev/ram0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "virtio.h"

#define DOORBELL	0xd0000000UL
#define VECTOR		0x52
#define SIZE		(4UL << 20)	/* of the file; disks are at least as large */
#define SECTORS		(SIZE / 512)

#define HEADER		(VIRTIO_DATA)		/* 16 bytes each */
#define STATUS		(VIRTIO_DATA + 0x1000)	/* a byte each */
#define TABLE		(VIRTIO_DATA + 0x2000)
#define DATA		(VIRTIO_DATA + 0x10000)
#define UNTOUCHED	0xee

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

FIXTURE(block) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	int file;
	struct kiln_virtio_block back;
};

FIXTURE_VARIANT(block) {
	uint64_t features;
	bool disk;
	int flags;		/* of open */
};

#define FILES V1 | BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_DISCARD) | BIT64(VIRTIO_BLK_F_WRITE_ZEROES)

FIXTURE_VARIANT_ADD(block, split_on_a_file) { .features = FILES };
FIXTURE_VARIANT_ADD(block, packed_on_a_file) { .features = FILES | PACKED | EVENT_IDX | INDIRECT };
FIXTURE_VARIANT_ADD(block, split_on_a_disk) { .features = V1 | BIT64(VIRTIO_BLK_F_FLUSH), .disk = true, .flags = O_DIRECT };
FIXTURE_VARIANT_ADD(block, packed_on_a_cached_disk) { .features = V1 | BIT64(VIRTIO_BLK_F_FLUSH) | PACKED, .disk = true };

static const char *disk(void)
{
	static const char *const disks[] = { "/dev/vda", "/dev/ram0" };
	const char *path = getenv("KILN_TEST_DISK");

	if (path)
		return path;
	for (size_t i = 0; i < sizeof(disks) / sizeof(*disks); i++)
		if (!access(disks[i], W_OK))
			return disks[i];
	return NULL;
}

/* ---- a guest: reads 8 sectors, writes them elsewhere, flushes ---- */

static struct ring ring __guest_data;

static __guest void request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	volatile struct header *h = (void *)HEADER;
	uint32_t id, written = 0, n = guest_count[VECTOR];
	struct ring_piece p[3] = { { HEADER, 16, false } };
	unsigned int pieces = 1;

	h->type = type;
	h->sector = sector;
	*(volatile uint8_t *)STATUS = UNTOUCHED;
	if (len) {
		p[pieces].addr = data;
		p[pieces].len = len;
		p[pieces++].in = type == VIRTIO_BLK_T_IN;
	}
	p[pieces].addr = STATUS;
	p[pieces].len = 1;
	p[pieces++].in = true;
	ring_add(&ring, p, pieces);
	*(volatile uint16_t *)DOORBELL = 0;
	for (;;) {
		cli();
		if (guest_count[VECTOR] != n)
			break;
		sti_hlt();
	}
	guest_assert(ring_collect(&ring, &id, &written));
	guest_expect(VIRTIO_BLK_S_OK, *(volatile uint8_t *)STATUS);
	guest_expect(1 + (type == VIRTIO_BLK_T_IN ? len : 0), written);
}

static __guest void copies_sectors(void)
{
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	for (uint64_t i = 0; i < 20; i++) {
		request(VIRTIO_BLK_T_IN, i * 8, DATA, 4096);
		request(VIRTIO_BLK_T_OUT, 1000 + i * 8, DATA, 4096);
	}
	request(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	guest_done();
}

/* ---- the host's side ---- */

static int memory_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIZE))
		die("memfd: %s", strerror(errno));
	return fd;
}

FIXTURE_SETUP(block)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	if (variant->disk) {
		if (!disk())
			SKIP(_exit(255), "no disk that may be written over: set KILN_TEST_DISK");
		self->file = open(disk(), O_RDWR | O_CLOEXEC | variant->flags);
	} else {
		self->file = memory_file();
	}
	ASSERT_LE(0, self->file);
	self->vcpu = vm_create_one(VM_IRQCHIP, copies_sectors);
	self->vm = self->vcpu->vm;
	self->v = virtio_create(self->vm, VIRTIO_ID_BLOCK, 1);
	self->back = (struct kiln_virtio_block){ .fd = self->file, .flags = KILN_BLOCK_WRITEBACK, .sectors = SECTORS,
						 .id = "twenty bytes of name" };
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
}

FIXTURE_TEARDOWN(block)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
	close(self->file);
}

static uint8_t *at(struct vm *vm, uint64_t gpa)
{
	return vm->ram + gpa;
}

/* Fill with what tells the place. */
static void pattern(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = seed + i * 7 + (i >> 9) * 13;
}

/* Puts request number @n with one piece of data onto a ring. */
static void put_on(struct virtio *v, unsigned int queue, unsigned int n, uint32_t type, uint64_t sector, uint64_t data,
		   uint32_t len)
{
	struct ring_piece p[3] = { { HEADER + n * 16, 16, false }, { data, len, type == VIRTIO_BLK_T_IN ||
								      type == VIRTIO_BLK_T_GET_ID } };
	struct header h = { .type = type, .sector = sector };

	memcpy(at(v->vm, HEADER + n * 16), &h, sizeof(h));
	*at(v->vm, STATUS + n) = UNTOUCHED;
	p[len ? 2 : 1] = (struct ring_piece){ STATUS + n, 1, true };
	ring_add(&v->ring[queue], p, len ? 3 : 2);
}

static void put(struct virtio *v, unsigned int n, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	put_on(v, 0, n, type, sector, data, len);
}

/* One request, its status. */
static int finish(struct virtio *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	put(v, 0, type, sector, data, len);
	virtio_finish(v, 0, NULL);
	return *at(v->vm, STATUS);
}

static struct virtio_blk_config config(struct virtio *v)
{
	union {
		struct vhost_vdpa_config head;
		uint8_t bytes[sizeof(struct vhost_vdpa_config) + sizeof(struct virtio_blk_config)];
	} c = { .head = { .len = offsetof(struct virtio_blk_config, unused1) + 3 } };
	struct virtio_blk_config config = { 0 };
	int r = xioctl(v->fd, VHOST_VDPA_GET_CONFIG, &c);

	if (r)
		die("VHOST_VDPA_GET_CONFIG: %s", strerror(-r));
	memcpy(&config, c.head.buf, c.head.len);
	return config;
}

TEST_F(block, what_is_written_is_read)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (uint32_t len = 512; len <= 65536; len *= 2) {
		pattern(at(self->vm, DATA), len, len / 512);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 100, DATA, len));
		memset(at(self->vm, DATA + 0x20000), 0, len + 1);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 100, DATA + 0x20000, len));
		ASSERT_EQ(0, memcmp(at(self->vm, DATA), at(self->vm, DATA + 0x20000), len));
		EXPECT_EQ(0, *at(self->vm, DATA + 0x20000 + len));
	}
}

TEST_F(block, it_is_on_the_file)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pattern(at(self->vm, DATA), 4096, 77);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 8, DATA, 4096));
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	ASSERT_EQ(4096, pread(self->file, page, 4096, 4096));
	EXPECT_EQ(0, memcmp(at(self->vm, DATA), page, 4096));
}

TEST_F(block, pieces_of_a_request_keep_their_order)
{
	struct header h = { .type = VIRTIO_BLK_T_IN, .sector = 16 };
	struct ring_piece p[12] = { { HEADER, 16, false } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pattern(at(self->vm, DATA), 10 * 512, 3);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 16, DATA, 10 * 512));
	memcpy(at(self->vm, HEADER), &h, sizeof(h));
	for (int i = 0; i < 10; i++)
		p[1 + i] = (struct ring_piece){ DATA + 0x10000 + (9 - i) * 0x1000, 512, true };
	p[11] = (struct ring_piece){ STATUS, 1, true };
	*at(self->vm, STATUS) = UNTOUCHED;
	if (variant->features & INDIRECT)
		ring_add_indirect(&self->v.ring[0], TABLE, p, 12);
	else
		ring_add(&self->v.ring[0], p, 12);
	EXPECT_EQ(10 * 512 + 1, virtio_finish(&self->v, 0, NULL));
	EXPECT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS));
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(0, memcmp(at(self->vm, DATA + i * 512), at(self->vm, DATA + 0x10000 + (9 - i) * 0x1000), 512));
}

TEST_F(block, many_requests_at_once_come_back_each_with_its_data)
{
	uint32_t id, len, left = 16;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 16; i++) {
			pattern(at(self->vm, DATA + i * 0x1000), 4096, i + round);
			put(&self->v, i, VIRTIO_BLK_T_OUT, i * 8, DATA + i * 0x1000, 4096);
		}
		virtio_kick(&self->v, 0);
		for (left = 16; left;) {
			if (ring_collect(&self->v.ring[0], &id, &len))
				left--;
			else
				usleep(100);
		}
		for (int i = 0; i < 16; i++) {
			ASSERT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + i));
			put(&self->v, i, VIRTIO_BLK_T_IN, i * 8, DATA + 0x20000 + i * 0x1000, 4096);
		}
		virtio_kick(&self->v, 0);
		for (left = 16; left;) {
			if (ring_collect(&self->v.ring[0], &id, &len))
				left--;
			else
				usleep(100);
		}
		ASSERT_EQ(0, memcmp(at(self->vm, DATA), at(self->vm, DATA + 0x20000), 0x10000));
	}
}

/* A guest may put data anywhere; O_DIRECT cannot, so it is done another way. */
TEST_F(block, data_need_no_alignment)
{
	static const uint32_t offsets[] = { 1, 2, 3, 4, 100, 511, 513, 4095 };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		uint8_t *from = at(self->vm, DATA + offsets[i]), *to = at(self->vm, DATA + 0x20000);

		pattern(from, 8192, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 40, DATA + offsets[i], 8192));
		memset(to, UNTOUCHED, 0x4000);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 40, DATA + 0x20000, 8192));
		ASSERT_EQ(0, memcmp(from, to, 8192));
		/* What goes past the page cache finds what went through it, and the other way round. */
		pattern(to, 8192, i + 100);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 40, DATA + 0x20000, 8192));
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 40, DATA + offsets[i], 8192));
		ASSERT_EQ(0, memcmp(from, to, 8192));
		EXPECT_EQ(UNTOUCHED, to[8192]);
	}
}

TEST_F(block, nor_do_the_pieces_of_them)
{
	static const struct {
		uint32_t offset, len;
	} odd[] = { { 5, 100 }, { 0x1001, 411 }, { 0x2ffe, 2 }, { 0x3000, 1023 }, { 0x4abc, 2560 } };
	struct header h = { .type = VIRTIO_BLK_T_OUT, .sector = 64 };
	struct ring_piece p[7] = { { HEADER, 16, false } };
	uint8_t *whole = at(self->vm, DATA + 0x20000);
	uint32_t done = 0;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pattern(whole, 4096, 9);
	for (int i = 0; i < 5; i++) {
		memcpy(at(self->vm, DATA + odd[i].offset), whole + done, odd[i].len);
		p[1 + i] = (struct ring_piece){ DATA + odd[i].offset, odd[i].len, false };
		done += odd[i].len;
	}
	ASSERT_EQ(4096, done);
	p[6] = (struct ring_piece){ STATUS, 1, true };
	for (int i = 0; i < 2; i++) {
		memcpy(at(self->vm, HEADER), &h, sizeof(h));
		*at(self->vm, STATUS) = UNTOUCHED;
		ring_add(&self->v.ring[0], p, 7);
		EXPECT_EQ(i ? 4097 : 1, virtio_finish(&self->v, 0, NULL));
		EXPECT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS));
		/* Then back into the same pieces. */
		h.type = VIRTIO_BLK_T_IN;
		for (int k = 0; k < 5; k++) {
			p[1 + k].in = true;
			if (!i)
				memset(at(self->vm, DATA + odd[k].offset), 0, odd[k].len);
		}
	}
	for (int i = 0, at_byte = 0; i < 5; at_byte += odd[i++].len)
		EXPECT_EQ(0, memcmp(whole + at_byte, at(self->vm, DATA + odd[i].offset), odd[i].len));
	memset(at(self->vm, DATA), 0, 4096);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 64, DATA, 4096));
	EXPECT_EQ(0, memcmp(whole, at(self->vm, DATA), 4096));
}

/*
 * Requests under way are counted by what they wait for: memory that a userfaultfd gives them. Each of @READS reads into a
 * page of such memory, from where the page cache has nothing.
 */
#define READS	20
#define TARGET	(DATA + 0x20000)
#define READ_LEN 3584
#define SLOW_MAX 16		/* of a queue: WAITING_MAX of the module */

static uint64_t read_sector(int i)
{
	return i * (SECTORS / READS / 8 * 8);
}

static int watch_target(struct vm *vm)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)at(vm, TARGET), READS * 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || madvise(at(vm, TARGET), READS * 4096, MADV_DONTNEED) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		die("userfaultfd: %s", strerror(errno));
	return fd;
}

#define SLOW_MS		3000	/* in which what is to come comes */
#define SILENCE_MS	500	/* in which the next one would have come */

/* The pages that are waited for, up to @max: the first within @ms, and others until none comes for a while. */
static int waited_for(int fd, uint64_t *pages, int max, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;
	int n = 0;

	while (n < max && poll(&p, 1, n ? SILENCE_MS : ms) == 1)
		if (read(fd, &msg, sizeof(msg)) == sizeof(msg) && msg.event == UFFD_EVENT_PAGEFAULT)
			pages[n++] = msg.arg.pagefault.address & -4096UL;
	return n;
}

static void give(int fd, const uint64_t *pages, int n)
{
	for (int i = 0; i < n; i++) {
		struct uffdio_zeropage zero = { .range = { pages[i], 4096 } };

		if (ioctl(fd, UFFDIO_ZEROPAGE, &zero) && errno != EEXIST)
			die("UFFDIO_ZEROPAGE: %s", strerror(errno));
	}
}

/* Puts READS reads on the ring, @offset into their pages; returns how many of them wait at the same time. */
static int reads_at_once(struct virtio *v, int file, uint32_t offset, uint64_t *pages, int fd)
{
	fsync(file);
	ioctl(file, BLKFLSBUF, 0);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	for (int i = 0; i < READS; i++)
		put(v, i, VIRTIO_BLK_T_IN, read_sector(i), TARGET + i * 4096 + offset, READ_LEN);
	virtio_kick(v, 0);
	return waited_for(fd, pages, READS, SLOW_MS);
}

/* Gives all the memory they want, until all have come back; returns how many have. */
static int let_come(struct virtio *v, int fd, uint64_t *pages, int n)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = v->call[0], .events = POLLIN } };
	uint32_t id, len;
	int back = 0;

	for (;;) {
		give(fd, pages, n);
		while (ring_collect(&v->ring[0], &id, &len))
			back++;
		if (back == READS || poll(p, 2, 10000) <= 0)
			return back;
		n = p[0].revents ? waited_for(fd, pages, 1, SLOW_MS) : 0;
		virtio_wait(v, 0, 0);
	}
}

/*
 * Those of a disk with O_DIRECT wait for certain, since they are not aligned; those of one without do if the disk is not so
 * quick that it has them before the queue has looked twice.
 */
TEST_F_TIMEOUT(block, reads_that_wait_are_under_way_together, 120)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	uint32_t offset = variant->flags & O_DIRECT ? 4 : 0, id, len;
	uint64_t pages[READS];
	int fd, i, n = 0;
	bool came;

	if (!variant->disk)
		SKIP(return, "its data are in memory");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < READS; i++) {
		pattern(at(self->vm, DATA), 4096, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, read_sector(i), DATA, 4096));
	}
	for (int tries = 0; tries < 5 && n != SLOW_MAX; tries++) {
		fd = watch_target(self->vm);
		n = reads_at_once(&self->v, self->file, offset, pages, fd);
		if (n == SLOW_MAX) {
			/* The queue is served all the same. */
			put(&self->v, READS, VIRTIO_BLK_T_GET_ID, 0, DATA, 20);
			virtio_kick(&self->v, 0);
			for (came = false, i = 0; i < 2000 && !came; i++) {
				came = ring_collect(&self->v.ring[0], &id, &len);
				usleep(1000);
			}
			EXPECT_TRUE(came);
			EXPECT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + READS));
		}
		ASSERT_EQ(READS, let_come(&self->v, fd, pages, n));
		close(fd);
	}
	for (int i = 0; i < READS; i++) {
		ASSERT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + i));
		ASSERT_EQ(4096, pread(self->file, page, 4096, read_sector(i) * 512));
		ASSERT_EQ(0, memcmp(page, at(self->vm, TARGET + i * 4096 + offset), READ_LEN));
	}
	if (n != SLOW_MAX && !offset)
		SKIP(return, "the disk is as quick as memory");
	EXPECT_EQ(SLOW_MAX, n);
}

TEST_F(block, a_serial_file_has_one_request_at_a_time)
{
	struct virtio_blk_config c;
	uint64_t pages[READS];
	int fd, n;

	self->back.flags |= KILN_BLOCK_SERIAL;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	c = config(&self->v);
	EXPECT_EQ(SECTORS, c.capacity);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < READS; i++) {
		pattern(at(self->vm, DATA), 4096, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, read_sector(i), DATA, 4096));
	}
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	fd = watch_target(self->vm);
	n = reads_at_once(&self->v, self->file, 0, pages, fd);
	EXPECT_EQ(1, n);
	ASSERT_EQ(READS, let_come(&self->v, fd, pages, n));
	close(fd);
	for (int i = 0; i < READS; i++) {
		pattern(at(self->vm, DATA), 4096, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + i));
		ASSERT_EQ(0, memcmp(at(self->vm, DATA), at(self->vm, TARGET + i * 4096), READ_LEN));
	}
}

static void *resets(void *arg)
{
	uint8_t zero = 0;

	return (void *)(intptr_t)xioctl(((struct virtio *)arg)->fd, VHOST_VDPA_SET_STATUS, &zero);
}

/* One read is under way, the others would each wait for memory that nobody gives. */
TEST_F(block, a_reset_waits_for_what_has_begun_and_for_nothing_else)
{
	uint64_t pages[READS];
	pthread_t thread;
	void *r;
	int fd;

	self->back.flags |= KILN_BLOCK_SERIAL;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	fd = watch_target(self->vm);
	ASSERT_EQ(1, reads_at_once(&self->v, self->file, 0, pages, fd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, resets, &self->v));
	EXPECT_EQ(0, waited_for(fd, pages + 1, 1, SILENCE_MS));
	EXPECT_EQ(EBUSY, pthread_tryjoin_np(thread, &r));
	/* Who wants to know how it stands waits with nobody. */
	EXPECT_EQ(RUNNING, virtio_get_status(&self->v));
	EXPECT_STREQ("", virtio_broken(&self->v));
	give(fd, pages, 1);
	ASSERT_EQ(0, pthread_join(thread, &r));
	EXPECT_EQ(0, (intptr_t)r);
	EXPECT_EQ(0, virtio_get_status(&self->v));
	EXPECT_EQ(0, waited_for(fd, pages + 1, 1, SILENCE_MS));
	close(fd);
	for (int i = 1; i < READS; i++)
		EXPECT_EQ(UNTOUCHED, *at(self->vm, STATUS + i));
	/* It is as good as new. */
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 4096));
}

TEST_F(block, beyond_the_end_nothing_is_read_or_written)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} beyond[] = {
		{ SECTORS, 512 }, { SECTORS - 1, 1024 }, { ~0ULL, 512 }, { ~0ULL - 1, 2048 }, { 1ULL << 55, 512 },
		{ 0x7fffffffffffffULL, 4096 }, { 0, 100 }, { 0, 513 },
	};

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_IN, beyond[i].sector, DATA, beyond[i].len));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_OUT, beyond[i].sector, DATA, beyond[i].len));
	}
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, SECTORS - 1, DATA, 512));
}

TEST_F(block, unknown_requests_are_not_supported)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, finish(&self->v, 77, 0, DATA, 512));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, finish(&self->v, VIRTIO_BLK_T_SCSI_CMD, 0, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
}

TEST_F(block, the_id_is_told)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	memset(at(self->vm, DATA), 0, 32);
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_GET_ID, 0, DATA, 20));
	EXPECT_EQ(0, memcmp("twenty bytes of name\0", at(self->vm, DATA), 21));
}

TEST_F(block, zeroes_and_discards)
{
	struct range *r = (void *)at(self->vm, DATA);
	uint8_t *data = at(self->vm, DATA + 0x1000);

	if (!(variant->features & BIT64(VIRTIO_BLK_F_DISCARD)))
		SKIP(return, "this disk need not be able to");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (uint32_t flags = 0; flags < 3; flags++) {
		pattern(data, 0x4000, flags);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 0, DATA + 0x1000, 0x4000));
		*r = (struct range){ .sector = 9, .n = 14, .flags = flags & 1 };
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, flags < 2 ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, 0,
						  DATA, sizeof(*r)));
		memset(data + 9 * 512, 0, 14 * 512);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA + 0x8000, 0x4000));
		EXPECT_EQ(0, memcmp(data, at(self->vm, DATA + 0x8000), 0x4000));
	}
}

TEST_F(block, ranges_are_checked)
{
	static const struct {
		struct range range;
		uint32_t type;
		int status;
	} bad[] = {
		{ { SECTORS, 1, 0 }, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR },
		{ { SECTORS - 1, 2, 0 }, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR },
		{ { ~0ULL, 2, 0 }, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR },
		{ { 0, 0, 0 }, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR },
		{ { 0, ~0U, 0 }, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR },
		{ { 0, 1, 1 }, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP },
		{ { 0, 1, 2 }, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP },
	};

	if (!(variant->features & BIT64(VIRTIO_BLK_F_DISCARD)))
		SKIP(return, "this disk need not be able to");
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memcpy(at(self->vm, DATA), &bad[i].range, sizeof(bad[i].range));
		EXPECT_EQ(bad[i].status, finish(&self->v, bad[i].type, 0, DATA, sizeof(bad[i].range)))
			TH_LOG("range %zu", i);
	}
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_DISCARD, 0, DATA, 15));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_DISCARD, 0, DATA, 32));
}

TEST_F(block, a_read_only_disk_is_not_written)
{
	uint64_t features;

	self->back.flags = KILN_BLOCK_RO;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_IOCTL(0, self->v.fd, VHOST_GET_FEATURES, &features);
	EXPECT_EQ(BIT64(VIRTIO_BLK_F_RO), features & (BIT64(VIRTIO_BLK_F_RO) | BIT64(VIRTIO_BLK_F_DISCARD) |
						      BIT64(VIRTIO_BLK_F_WRITE_ZEROES) | BIT64(VIRTIO_BLK_F_FLUSH) |
						      BIT64(VIRTIO_BLK_F_CONFIG_WCE)));
	ASSERT_EQ(0, virtio_start(&self->v, V1 | BIT64(VIRTIO_BLK_F_RO) | (variant->features & PACKED)));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_OUT, 0, DATA, 512));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 512));
}

TEST_F(block, the_configuration_says_what_it_is)
{
	struct virtio_blk_config c;

	self->back.block_size = 1024;
	self->back.physical_block_size = 8192;
	self->back.sectors = 1000;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	c = config(&self->v);
	EXPECT_EQ(1000, c.capacity);
	EXPECT_EQ(1024, c.blk_size);
	EXPECT_EQ(3, c.physical_block_exp);
	EXPECT_EQ(126, c.seg_max);
	EXPECT_EQ(1, c.wce);
	EXPECT_EQ(1, c.num_queues);
	EXPECT_EQ(1, c.max_discard_seg);
	self->back.sectors = 0;
	self->back.block_size = self->back.physical_block_size = 0;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	c = config(&self->v);
	EXPECT_LE(SECTORS, c.capacity);
	EXPECT_EQ(512, c.blk_size);
}

static int switch_cache(struct virtio *v, uint8_t writeback)
{
	union {
		struct vhost_vdpa_config head;
		uint8_t bytes[sizeof(struct vhost_vdpa_config) + 1];
	} c = { .head = { .off = offsetof(struct virtio_blk_config, wce), .len = 1 } };

	c.head.buf[0] = writeback;
	return xioctl(v->fd, VHOST_VDPA_SET_CONFIG, &c);
}

#define CONFIG_WCE BIT64(VIRTIO_BLK_F_CONFIG_WCE)

TEST_F(block, without_flushes_the_cache_is_written_through)
{
	uint64_t features = (variant->features & ~BIT64(VIRTIO_BLK_F_FLUSH)) | CONFIG_WCE;

	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &features);
	ASSERT_EQ(0, virtio_status(&self->v, READY));
	EXPECT_EQ(0, config(&self->v).wce);
	EXPECT_EQ(-EINVAL, switch_cache(&self->v, 1));
	EXPECT_EQ(0, switch_cache(&self->v, 0));
	EXPECT_EQ(0, config(&self->v).wce);
	/* The next driver may be another one. */
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(1, config(&self->v).wce);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONFIG_WCE));
	EXPECT_EQ(1, config(&self->v).wce);
}

TEST_F(block, how_the_driver_switched_the_cache_lasts_until_the_reset)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONFIG_WCE));
	ASSERT_EQ(0, switch_cache(&self->v, 0));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(0, config(&self->v).wce);
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(1, config(&self->v).wce);
	/* Nor does it come back of itself where the owner has it off. */
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONFIG_WCE));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	self->back.flags &= ~KILN_BLOCK_WRITEBACK;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(0, config(&self->v).wce);
	EXPECT_EQ(-EINVAL, switch_cache(&self->v, 1));
}

TEST_F(block, a_capacity_that_changed_while_it_stood_still_is_told)
{
	int call = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &call);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(-1, read(call, &n, 8));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	self->back.sectors = SECTORS / 2;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(8, read(call, &n, 8));
	EXPECT_EQ(SECTORS / 2, config(&self->v).capacity);
	close(call);
}

TEST_F(block, the_driver_switches_the_cache)
{
	union {
		struct vhost_vdpa_config head;
		uint8_t bytes[sizeof(struct vhost_vdpa_config) + 1];
	} c = { .head = { .off = offsetof(struct virtio_blk_config, wce) - 1, .len = 1 } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features | CONFIG_WCE));
	EXPECT_EQ(0, switch_cache(&self->v, 0));
	EXPECT_EQ(0, config(&self->v).wce);
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 0, DATA, 4096));
	EXPECT_EQ(0, switch_cache(&self->v, 1));
	EXPECT_EQ(1, config(&self->v).wce);
	EXPECT_EQ(-EINVAL, switch_cache(&self->v, 2));
	EXPECT_IOCTL(-EINVAL, self->v.fd, VHOST_VDPA_SET_CONFIG, &c);
}

TEST_F(block, requests_without_header_or_status_break_it)
{
	struct ring_piece no_header[2] = { { HEADER, 15, false }, { STATUS, 1, true } };
	struct ring_piece no_status[1] = { { HEADER, 16, false } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], no_header, 2);
	virtio_kick(&self->v, 0);
	for (int i = 0; i < 5000 && !*virtio_broken(&self->v); i++)
		usleep(1000);
	EXPECT_STREQ("a block request has no header", virtio_broken(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[0], no_status, 1);
	virtio_kick(&self->v, 0);
	for (int i = 0; i < 5000 && !*virtio_broken(&self->v); i++)
		usleep(1000);
	EXPECT_STREQ("a block request has no room for its status", virtio_broken(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 512));
}

TEST_F(block, a_guest_reads_and_writes_by_doorbell_and_message)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 20; i++) {
		pattern(at(self->vm, DATA), 4096, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, i * 8, DATA, 4096));
	}
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, 0));
	ASSERT_EQ(0, virtio_msi(&self->v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	ring_init(&GUEST(self->vm, ring), 0, VIRTIO_RING(0), VIRTIO_NUM, variant->features & PACKED,
		  variant->features & EVENT_IDX);
	ASSERT_DONE(self->vcpu);
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 20; i++) {
		pattern(at(self->vm, DATA), 4096, i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 1000 + i * 8, DATA + 0x1000, 4096));
		ASSERT_EQ(0, memcmp(at(self->vm, DATA), at(self->vm, DATA + 0x1000), 4096));
	}
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

TEST_F(block, limits_hold_and_change_under_way)
{
	long start;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	self->back.iops = 100;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	start = now_ms();
	for (int i = 0; i < 60; i++)
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 512));
	EXPECT_LE(450, now_ms() - start);
	self->back.iops = 0;
	self->back.bps = 1 << 20;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	start = now_ms();
	for (int i = 0; i < 12; i++)
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 65536));
	EXPECT_LE(500, now_ms() - start);
	self->back.flags ^= KILN_BLOCK_WRITEBACK;
	EXPECT_IOCTL(-EBUSY, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	self->back.fd = -1;
	EXPECT_IOCTL(-EBUSY, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
}

/* Puts a range at DATA + 16 * @n, and its request number @n onto the ring. */
static void put_range(struct virtio *v, unsigned int n, uint32_t type, struct range range)
{
	memcpy(at(v->vm, DATA + n * sizeof(range)), &range, sizeof(range));
	put(v, n, type, 0, DATA + n * sizeof(range), sizeof(range));
}

/* Kicks once, and waits for @n requests; how many ms that took. */
static long all_back(struct virtio *v, int n)
{
	long start = now_ms();
	uint32_t id, len;

	virtio_kick(v, 0);
	while (n && now_ms() - start < 20000) {
		if (ring_collect(&v->ring[0], &id, &len))
			n--;
		else
			usleep(1000);
	}
	return now_ms() - start;
}

/* A file in memory has holes, but no other quick way to zeroes. */
TEST_F(block, zeroes_that_are_written_count_as_bytes_and_others_do_not)
{
	struct range some = { .n = 128 }, holes = { .n = SECTORS, .flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP };
	struct range gone = { .n = SECTORS };

	if (!(variant->features & BIT64(VIRTIO_BLK_F_DISCARD)))
		SKIP(return, "this disk need not be able to");
	self->back.bps = 1 << 20;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 12; i++)
		put_range(&self->v, i, VIRTIO_BLK_T_WRITE_ZEROES, some);
	EXPECT_LE(500, all_back(&self->v, 12));
	/* What is owed is forgiven. Each of these is as much as the limit lets through in 4 seconds. */
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	for (int i = 0; i < 8; i++)
		put_range(&self->v, i, i % 2 ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, i % 2 ? holes : gone);
	EXPECT_GT(3000, all_back(&self->v, 8));
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + i));
}

static uint64_t allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_blocks * 512ULL;
}

#define MANY	(256ULL << 20)

/* Zeroes that are written page by page: a reset does not wait for the last. */
TEST_F(block, a_reset_ends_zeroes_that_are_written)
{
	struct range all = { .n = MANY / 512 };

	if (variant->disk)
		SKIP(return, "a disk has a quicker way to zeroes");
	ASSERT_EQ(0, ftruncate(self->file, MANY));
	self->back.sectors = MANY / 512;
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put_range(&self->v, 0, VIRTIO_BLK_T_WRITE_ZEROES, all);
	virtio_kick(&self->v, 0);
	for (int ms = 0; ms < 10000 && !allocated(self->file); ms++)
		usleep(1000);
	EXPECT_LT(0, allocated(self->file));
	EXPECT_EQ(NULL, resets(&self->v));
	EXPECT_GT(MANY, allocated(self->file));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 0, DATA, 4096));
}

/* ---- without variants ---- */

static void must_be(int expected, int what)
{
	if (what != expected)
		die("%d instead of %d", what, expected);
}

static struct virtio device(struct vm **vm)
{
	struct virtio v;

	*vm = vm_create(VM_IRQCHIP);
	v = virtio_create(*vm, VIRTIO_ID_BLOCK, 1);
	return v;
}

TEST(a_file_that_ends_early_is_an_error)
{
	struct kiln_virtio_block back = { .fd = memory_file() };
	struct virtio v;
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	v = device(&vm);
	ASSERT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	ASSERT_EQ(0, virtio_start(&v, V1));
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&v, VIRTIO_BLK_T_IN, 8, DATA, 4096));
	ASSERT_EQ(0, ftruncate(back.fd, 6000));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&v, VIRTIO_BLK_T_IN, 8, DATA, 4096));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&v, VIRTIO_BLK_T_IN, 0, DATA, 4096));
}

TEST(each_of_several_queues_serves_and_is_stopped_by_itself)
{
	struct kiln_virtio_block back = { .fd = memory_file() };
	uint64_t features = 0;
	uint32_t id, len;
	struct virtio v;
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create(VM_IRQCHIP);
	v = virtio_create(vm, VIRTIO_ID_BLOCK, 3);
	ASSERT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	ASSERT_IOCTL(0, v.fd, VHOST_GET_FEATURES, &features);
	EXPECT_NE(0, features & BIT64(VIRTIO_BLK_F_MQ));
	EXPECT_EQ(3, config(&v).num_queues);
	ASSERT_EQ(0, virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_MQ)));
	for (int i = 0; i < 30; i++) {
		pattern(at(vm, DATA), 4096, i);
		put_on(&v, i % 3, 0, VIRTIO_BLK_T_OUT, i * 8, DATA, 4096);
		virtio_finish(&v, i % 3, NULL);
		ASSERT_EQ(VIRTIO_BLK_S_OK, *at(vm, STATUS));
		put_on(&v, (i + 1) % 3, 0, VIRTIO_BLK_T_IN, i * 8, DATA + 4096, 4096);
		virtio_finish(&v, (i + 1) % 3, NULL);
		ASSERT_EQ(0, memcmp(at(vm, DATA), at(vm, DATA + 4096), 4096));
	}
	ASSERT_EQ(0, virtio_enable(&v, 1, 0));
	put_on(&v, 1, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	virtio_kick(&v, 1);
	put_on(&v, 2, 2, VIRTIO_BLK_T_IN, 0, DATA, 512);
	virtio_finish(&v, 2, NULL);
	EXPECT_FALSE(ring_collect(&v.ring[1], &id, &len));
	ASSERT_EQ(0, virtio_enable(&v, 1, 1));
	virtio_finish(&v, 1, NULL);
	EXPECT_EQ(VIRTIO_BLK_S_OK, *at(vm, STATUS + 1));
	virtio_destroy(&v);
	vm_destroy(vm);
}

TEST(a_queue_that_breaks_the_rules_stops_all_of_its_device)
{
	struct ring_piece no_header[2] = { { HEADER, 15, false }, { STATUS, 1, true } };
	struct kiln_virtio_block back = { .fd = memory_file() };
	struct kiln_virtio_broken b = { 0 };
	uint32_t id, len;
	struct virtio v;
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create(VM_IRQCHIP);
	v = virtio_create(vm, VIRTIO_ID_BLOCK, 3);
	ASSERT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	ASSERT_EQ(0, virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_MQ)));
	ring_add(&v.ring[1], no_header, 2);
	virtio_kick(&v, 1);
	for (int i = 0; i < 5000 && !*virtio_broken(&v); i++)
		usleep(1000);
	ASSERT_IOCTL(0, v.fd, KILN_VIRTIO_GET_BROKEN, &b);
	EXPECT_EQ(1, b.queue);
	for (int i = 0; i < 3; i++) {
		put_on(&v, i, i, VIRTIO_BLK_T_IN, 0, DATA, 512);
		virtio_kick(&v, i);
	}
	usleep(50000);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(UNTOUCHED, *at(vm, STATUS + i));
	EXPECT_FALSE(ring_collect(&v.ring[0], &id, &len));
	EXPECT_FALSE(ring_collect(&v.ring[2], &id, &len));
	/* Until it is reset. */
	ASSERT_EQ(0, virtio_status(&v, 0));
	ASSERT_EQ(0, virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_MQ)));
	for (int i = 0; i < 3; i++) {
		put_on(&v, i, i, VIRTIO_BLK_T_IN, 0, DATA, 512);
		virtio_finish(&v, i, NULL);
		EXPECT_EQ(VIRTIO_BLK_S_OK, *at(vm, STATUS + i));
	}
	virtio_destroy(&v);
	vm_destroy(vm);
	close(back.fd);
}

/* ---- memory ---- */

#define COPIES_GPA	0x40000000UL
#define COPIES		8
#define CHUNK		(256U << 10)
#define TOLERANCE_KIB	4096

/* What was read and written is the guest's alone once the request is done: its memory may go. */
TEST_F(block, requests_that_are_done_keep_no_memory)
{
	uint8_t *copies = vm_map(self->vm, 1, COPIES_GPA, COPIES * SIZE), *chunk = malloc(CHUNK);
	long before, after;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	pattern(copies, SIZE, 5);
	memcpy(chunk, copies + CHUNK, CHUNK);
	for (uint64_t i = 0; i < SIZE; i += CHUNK)
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, i / 512, COPIES_GPA + i, CHUNK));
	for (uint64_t i = SIZE; i < COPIES * SIZE; i += CHUNK)
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, i % SIZE / 512, COPIES_GPA + i, CHUNK));
	for (unsigned int i = 0; i < COPIES; i++)
		ASSERT_EQ(0, memcmp(chunk, copies + i * SIZE + CHUNK, CHUNK));
	before = used_kib();
	ASSERT_EQ(0, madvise(copies, COPIES * SIZE, MADV_DONTNEED));
	after = used_kib();
	printf("# %lu KiB are dropped; used: %ld KiB before, %ld after\n", COPIES * SIZE / 1024, before, after);
	fflush(stdout);
	EXPECT_LE((long)(COPIES * SIZE / 1024) - TOLERANCE_KIB, before - after);
	EXPECT_EQ(0, copies[0]);
	EXPECT_EQ(0, memcmp(copies, copies + 1, COPIES * SIZE - 1));
	/* In the same place comes what is read then. */
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, CHUNK / 512, COPIES_GPA + SIZE, CHUNK));
	EXPECT_EQ(0, memcmp(chunk, copies + SIZE, CHUNK));
	EXPECT_EQ(0, copies[SIZE - 1]);
	EXPECT_EQ(0, copies[SIZE + CHUNK]);
	munmap(copies, COPIES * SIZE);
	free(chunk);
}

/* ---- cgroups ---- */

#define CGROUPS	"/tmp/virtio-block-cgroups"
#define GROUP	CGROUPS "/owner"

static bool make_cgroup(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		return false;
	return write_file(CGROUPS "/cgroup.subtree_control", "+memory +io") && !mkdir(GROUP, 0700);
}

static void remove_cgroup(void)
{
	for (int i = 0; i < 100 && rmdir(GROUP) && errno == EBUSY; i++)
		usleep(100000);
	umount(CGROUPS);
	rmdir(CGROUPS);
}

/* What comes after @key in a file of the group's, or -1. */
static long of_group(const char *file, const char *key)
{
	char path[128], word[128];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), GROUP "/%s", file);
	f = fopen(path, "r");
	while (f && value < 0 && fscanf(f, " %127[^ =\n]%*[ =\n]", word) == 1)
		if (!strcmp(word, key) && fscanf(f, "%ld", &value) != 1)
			value = -1;
	if (f)
		fclose(f);
	return value;
}

/* Zeroes on a file of holes, and reads of a disk that are not aligned: all of that is done by a workqueue. */
static int as_owner(int disk)
{
	struct kiln_virtio_block back = { .fd = memory_file() };
	struct range all = { .n = SECTORS };
	struct virtio v;
	struct vm *vm;
	long shmem;

	if (!write_file(GROUP "/cgroup.procs", "0"))
		return 1;
	v = device(&vm);
	must_be(0, xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &back));
	must_be(0, virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_WRITE_ZEROES)));
	shmem = of_group("memory.stat", "shmem");
	put_range(&v, 0, VIRTIO_BLK_T_WRITE_ZEROES, all);
	virtio_finish(&v, 0, NULL);
	must_be(VIRTIO_BLK_S_OK, *at(vm, STATUS));
	/* The group's numbers come late by some pages for each CPU. */
	if (of_group("memory.stat", "shmem") < shmem + (long)SIZE - (1L << 20))
		return 2;
	if (disk < 0)
		return 0;
	must_be(0, virtio_status(&v, 0));
	back.fd = disk;
	must_be(0, xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &back));
	must_be(0, virtio_start(&v, V1));
	for (int i = 0; i < 16; i++) {
		put(&v, 0, VIRTIO_BLK_T_IN, i * 128, DATA + 2, 65536);
		virtio_finish(&v, 0, NULL);
		must_be(VIRTIO_BLK_S_OK, *at(vm, STATUS));
	}
	return of_group("io.stat", "rbytes") < 16 * 65536 ? 3 : 0;
}

TEST(what_waits_is_charged_to_the_owner)
{
	int fd = disk() ? open(disk(), O_RDWR | O_CLOEXEC | O_DIRECT) : -1, status;
	pid_t pid;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	if (!make_cgroup()) {
		remove_cgroup();
		SKIP(return, "this kernel has no cgroups that count memory and I/O");
	}
	if (fd >= 0)
		ioctl(fd, BLKFLSBUF, 0);
	pid = fork();
	if (!pid)
		_exit(as_owner(fd));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("1: no such group, 2: its memory, 3: its I/O: %d", WEXITSTATUS(status));
	remove_cgroup();
	close(fd);
}

TEST(back_ends_are_checked)
{
	static const struct {
		struct kiln_virtio_block back;
		int error;
	} bad[] = {
		{ { .flags = 8 }, -EINVAL },
		{ { .reserved = { [4] = 1 } }, -EINVAL },
		{ { .block_size = 256 }, -EINVAL },
		{ { .block_size = 768 }, -EINVAL },
		{ { .block_size = 8192 }, -EINVAL },
		{ { .physical_block_size = 1000 }, -EINVAL },
		{ { .block_size = 4096, .physical_block_size = 512 }, -EINVAL },
		{ { .sectors = SECTORS + 1 }, -EINVAL },
	};
	struct kiln_virtio_block back;
	struct virtio v;
	struct vm *vm;
	int file, pipes[2], readable, writable;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	v = device(&vm);
	file = memory_file();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		back = bad[i].back;
		back.fd = file;
		EXPECT_IOCTL(bad[i].error, v.fd, KILN_VIRTIO_SET_BLOCK, &back)
			TH_LOG("back end %zu", i);
	}
	ASSERT_EQ(0, pipe(pipes));
	readable = open("/proc/self/exe", O_RDONLY);
	writable = open("/tmp/virtio-block", O_WRONLY | O_CREAT, 0600);
	back = (struct kiln_virtio_block){ .fd = pipes[0] };
	EXPECT_IOCTL(-EINVAL, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	back.fd = vm->fd;
	EXPECT_IOCTL(-EINVAL, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	back.fd = 1000;
	EXPECT_IOCTL(-EBADF, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	back.fd = readable;
	EXPECT_IOCTL(-EBADF, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	back.flags = KILN_BLOCK_RO;
	EXPECT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	back.fd = writable;
	EXPECT_IOCTL(-EBADF, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	EXPECT_IOCTL(-EFAULT, v.fd, KILN_VIRTIO_SET_BLOCK, NULL);
	back.fd = -1;
	EXPECT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	/* Without one it does not start. */
	ASSERT_IOCTL(0, v.fd, VHOST_SET_FEATURES, &(uint64_t){ V1 });
	ASSERT_EQ(0, virtio_status(&v, READY));
	EXPECT_EQ(-ENXIO, virtio_status(&v, RUNNING));
	EXPECT_EQ(READY, virtio_get_status(&v));
}

TEST_HARNESS_MAIN
