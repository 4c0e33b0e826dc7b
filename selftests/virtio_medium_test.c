// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device on a disk that fails, and one whose cache is lost in a power cut: /dev/medium, which lab/guest/medium
 * makes. What the host could not do the guest is told, and the next request is as good as ever; what the guest has flushed
 * is on the medium, which is looked at past everything that could have kept it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "virtio.h"

#define DISK	"/dev/medium"
#define CONTROL	"/sys/kernel/debug/medium/"
#define SECTORS	8192			/* half of the disk */

/* Operations of the disk: bits of fail and unsupported. */
#define READS	1
#define WRITES	2
#define FLUSHES	4
#define ZEROES	8

#define HEADER	(VIRTIO_DATA)		/* 16 bytes each */
#define STATUS	(VIRTIO_DATA + 0x1000)	/* a byte each */
#define RANGE	(VIRTIO_DATA + 0x2000)
#define DATA	(VIRTIO_DATA + 0x10000)
#define BACK	(DATA + 0x20000)	/* where it is read to */
#define UNTOUCHED 0xee

#define TIMES	6			/* what an error leaves behind may show later */

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

FIXTURE(medium) {
	struct vm *vm;
	struct virtio v;
	int file, medium;
	struct kiln_virtio_block back;
};

FIXTURE_VARIANT(medium) {
	uint64_t features;
	int flags;		/* of open */
	uint32_t back;		/* more of the back end's */
	uint32_t offset;	/* of the data in a page */
};

FIXTURE_VARIANT_ADD(medium, direct) { .flags = O_DIRECT };
FIXTURE_VARIANT_ADD(medium, direct_packed) { .features = PACKED | EVENT_IDX, .flags = O_DIRECT };
FIXTURE_VARIANT_ADD(medium, direct_not_aligned) { .flags = O_DIRECT, .offset = 4 };
FIXTURE_VARIANT_ADD(medium, direct_serial) { .flags = O_DIRECT, .back = KILN_BLOCK_SERIAL };
FIXTURE_VARIANT_ADD(medium, cached) { };
FIXTURE_VARIANT_ADD(medium, cached_packed) { .features = PACKED | EVENT_IDX };
FIXTURE_VARIANT_ADD(medium, cached_serial) { .back = KILN_BLOCK_SERIAL };

#define FLUSH	BIT64(VIRTIO_BLK_F_FLUSH)
#define WCE	BIT64(VIRTIO_BLK_F_CONFIG_WCE)
#define RANGES	(BIT64(VIRTIO_BLK_F_DISCARD) | BIT64(VIRTIO_BLK_F_WRITE_ZEROES))

/* ---- the disk ---- */

static void set(const char *name, unsigned long value)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), CONTROL "%s", name);
	snprintf(text, sizeof(text), "%lu", value);
	if (!write_file(path, text))
		die("%s cannot be set", path);
}

static unsigned long count(const char *name)
{
	unsigned long n = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), CONTROL "%s", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu", &n) != 1)
		die("%s cannot be read", path);
	fclose(f);
	return n;
}

static void faults(unsigned int ops)
{
	set("fail", ops);
}

/* ---- requests ---- */

static bool cached(const FIXTURE_VARIANT(medium) *variant)
{
	return !(variant->flags & O_DIRECT) || variant->offset;
}

static uint8_t *at(struct vm *vm, uint64_t gpa)
{
	return vm->ram + gpa;
}

static void pattern(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = seed + i * 7 + (i >> 9) * 13;
}

/* Puts request number @n with one piece of data onto the ring. */
static void put(struct virtio *v, unsigned int n, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	struct ring_piece p[3] = { { HEADER + n * 16, 16, false }, { data, len, type == VIRTIO_BLK_T_IN } };
	struct header h = { .type = type, .sector = sector };

	memcpy(at(v->vm, HEADER + n * 16), &h, sizeof(h));
	*at(v->vm, STATUS + n) = UNTOUCHED;
	p[len ? 2 : 1] = (struct ring_piece){ STATUS + n, 1, true };
	ring_add(&v->ring[0], p, len ? 3 : 2);
}

/* One request, its status. A device that it breaks ends the test. */
static int finish(struct virtio *v, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	put(v, 0, type, sector, data, len);
	virtio_finish(v, 0, NULL);
	return *at(v->vm, STATUS);
}

static int flush(struct virtio *v)
{
	return finish(v, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
}

static int range(struct virtio *v, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct range r = { .sector = sector, .n = n, .flags = flags };

	memcpy(at(v->vm, RANGE), &r, sizeof(r));
	return finish(v, type, 0, RANGE, sizeof(r));
}

/* The disk is all zeroes. */
FIXTURE_SETUP(medium)
{
	uint64_t whole[2] = { 0, SECTORS * 512 };

	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	if (access(DISK, W_OK))
		SKIP(_exit(255), "no " DISK ": lab/guest/medium is not loaded (lab/test loads it on debug)");
	set("fail", 0);
	set("unsupported", 0);
	set("from", 0);
	self->file = open(DISK, O_RDWR | O_CLOEXEC | variant->flags);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ioctl(self->file, BLKZEROOUT, whole));
	ASSERT_EQ(0, fsync(self->file));
	self->medium = open(CONTROL "medium", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->medium);
	self->vm = vm_create(VM_IRQCHIP);
	self->v = virtio_create(self->vm, VIRTIO_ID_BLOCK, 1);
	self->back = (struct kiln_virtio_block){
		.fd = self->file, .flags = KILN_BLOCK_WRITEBACK | variant->back, .sectors = SECTORS,
	};
}

/* Nothing is left in the page cache for the next test. */
FIXTURE_TEARDOWN(medium)
{
	set("fail", 0);
	set("unsupported", 0);
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
	fsync(self->file);
	ioctl(self->file, BLKFLSBUF, 0);
	close(self->file);
	close(self->medium);
}

#define START(more) do {										\
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_BLOCK, &self->back);				\
	ASSERT_EQ(0, virtio_start(&self->v, V1 | variant->features | (more)));				\
} while (0)

/* Is it on the medium, what is in the guest's memory? */
static bool lasts(FIXTURE_DATA(medium) *self, uint64_t sector, const uint8_t *data, size_t len)
{
	static uint8_t survives[0x20000];

	if (pread(self->medium, survives, len, sector * 512) != len)
		die("the medium cannot be read");
	return !memcmp(survives, data, len);
}

/* Drops what the page cache has, once it is written. */
static void drop_cache(FIXTURE_DATA(medium) *self)
{
	fsync(self->file);
	ioctl(self->file, BLKFLSBUF, 0);
}

/* ---- errors ---- */

TEST_F(medium, a_read_that_fails_is_an_error)
{
	uint64_t data = DATA + variant->offset;

	START(FLUSH);
	pattern(at(self->vm, data), 8192, 1);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 64, data, 8192));
	drop_cache(self);
	faults(READS);
	for (int i = 0; i < TIMES; i++)
		ASSERT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_IN, 64, BACK + variant->offset, 8192));
	faults(0);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 64, BACK + variant->offset, 8192));
	EXPECT_EQ(0, memcmp(at(self->vm, data), at(self->vm, BACK + variant->offset), 8192));
}

/* The last of its pages alone cannot be read. */
TEST_F(medium, so_is_one_of_which_a_part_fails)
{
	START(FLUSH);
	drop_cache(self);
	set("from", 64 + 120);
	faults(READS);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_IN, 64, BACK + variant->offset, 65536));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 64, BACK + variant->offset, 120 * 512));
	faults(0);
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_IN, 64, BACK + variant->offset, 65536));
}

/* Written through, it has to be known at once. */
TEST_F(medium, a_write_that_fails_is_an_error)
{
	uint64_t data = DATA + variant->offset;

	self->back.flags &= ~KILN_BLOCK_WRITEBACK;
	START(0);
	pattern(at(self->vm, data), 8192, 2);
	for (int i = 0; i < TIMES; i++) {
		faults(WRITES);
		ASSERT_EQ(VIRTIO_BLK_S_IOERR, finish(&self->v, VIRTIO_BLK_T_OUT, i * 32, data, 8192));
		faults(0);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, i * 32, data, 8192));
		ASSERT_TRUE(lasts(self, i * 32, at(self->vm, data), 8192));
	}
}

/* In the page cache a write fails when it leaves it: then the flush tells. */
TEST_F(medium, at_the_latest_by_the_next_flush)
{
	uint64_t data = DATA + variant->offset;
	int status;

	START(FLUSH);
	ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
	pattern(at(self->vm, data), 8192, 3);
	for (int i = 0; i < TIMES; i++) {
		faults(WRITES);
		status = finish(&self->v, VIRTIO_BLK_T_OUT, 1000, data, 8192);
		if (!cached(variant))
			ASSERT_EQ(VIRTIO_BLK_S_IOERR, status);
		if (status == VIRTIO_BLK_S_OK)
			ASSERT_EQ(VIRTIO_BLK_S_IOERR, flush(&self->v));
		faults(0);
		/* It is not told forever. */
		flush(&self->v);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 1000, data, 8192));
		ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
		ASSERT_TRUE(lasts(self, 1000, at(self->vm, data), 8192));
	}
}

TEST_F(medium, a_flush_that_fails_is_an_error)
{
	uint64_t data = DATA + variant->offset;

	START(FLUSH);
	for (int i = 0; i < TIMES; i++) {
		pattern(at(self->vm, data), 4096, 10 + i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 8, data, 4096));
		faults(FLUSHES);
		ASSERT_EQ(VIRTIO_BLK_S_IOERR, flush(&self->v));
		EXPECT_FALSE(lasts(self, 8, at(self->vm, data), 4096));
		faults(0);
		ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
		ASSERT_TRUE(lasts(self, 8, at(self->vm, data), 4096));
	}
}

/* The host writes zeroes where the disk fails to make them, unless holes were asked for. */
TEST_F(medium, so_are_discards_and_zeroes_that_fail)
{
	START(FLUSH | RANGES);
	for (int i = 0; i < TIMES; i++) {
		faults(ZEROES);
		ASSERT_EQ(VIRTIO_BLK_S_IOERR, range(&self->v, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
		ASSERT_EQ(VIRTIO_BLK_S_IOERR,
			  range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP));
		ASSERT_EQ(VIRTIO_BLK_S_OK, range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 0));
		faults(ZEROES | WRITES);
		ASSERT_EQ(VIRTIO_BLK_S_IOERR, range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 0));
		faults(0);
		ASSERT_EQ(VIRTIO_BLK_S_OK, range(&self->v, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
		ASSERT_EQ(VIRTIO_BLK_S_OK, range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 0));
	}
}

/* A discard may be refused, zeroes may not: those are written then. */
TEST_F(medium, what_the_disk_does_not_know_is_not_supported)
{
	uint64_t data = DATA + variant->offset;
	unsigned long writes;

	START(FLUSH | RANGES);
	pattern(at(self->vm, data), 4096, 4);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 0, data, 4096));
	ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
	set("unsupported", ZEROES);
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(&self->v, VIRTIO_BLK_T_DISCARD, 0, 8, 0));
	EXPECT_TRUE(lasts(self, 0, at(self->vm, data), 4096));
	writes = count("writes");
	EXPECT_EQ(VIRTIO_BLK_S_OK,
		  range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP));
	ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
	EXPECT_LT(writes, count("writes"));
	memset(at(self->vm, data), 0, 4096);
	EXPECT_TRUE(lasts(self, 0, at(self->vm, data), 4096));
	faults(WRITES);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0));
}

/* Of many under way each has its own end. */
TEST_F(medium, errors_are_of_those_that_failed)
{
	uint32_t id, len, back = 0;

	START(FLUSH);
	for (int round = 0; round < 4; round++) {
		drop_cache(self);
		/* The host's read ahead would meet what fails, but no more than that. */
		set("from", 4000);
		faults(READS);
		for (int i = 0; i < 20; i++)
			put(&self->v, i, VIRTIO_BLK_T_IN, i * 400, BACK + variant->offset + i * 0x2000, 4096);
		virtio_kick(&self->v, 0);
		for (int ms = 0; ms < 20000 && back < 20; ms++) {
			if (ring_collect(&self->v.ring[0], &id, &len))
				back++;
			else
				usleep(1000);
		}
		ASSERT_EQ(20, back);
		back = 0;
		faults(0);
		for (int i = 0; i < 20; i++) {
			ASSERT_EQ(i < 10 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR, *at(self->vm, STATUS + i))
				TH_LOG("request %d of round %d", i, round);
		}
	}
	EXPECT_STREQ("", virtio_broken(&self->v));
	EXPECT_EQ(RUNNING, virtio_get_status(&self->v));
}

/* ---- what lasts ---- */

TEST_F(medium, what_was_flushed_lasts_and_nothing_else_has_to)
{
	uint64_t data = DATA + variant->offset;
	unsigned long flushes;

	START(FLUSH);
	ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
	flushes = count("flushes");
	for (int i = 0; i < 16; i++) {
		pattern(at(self->vm, data + i * 0x1000), 4096 - variant->offset, 50 + i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 2000 + i * 8, data + i * 0x1000, 3584));
		/* So it is known what has made it last. */
		EXPECT_FALSE(lasts(self, 2000 + i * 8, at(self->vm, data + i * 0x1000), 3584));
	}
	EXPECT_EQ(flushes, count("flushes"));
	ASSERT_EQ(VIRTIO_BLK_S_OK, flush(&self->v));
	EXPECT_EQ(flushes + 1, count("flushes"));
	for (int i = 0; i < 16; i++)
		ASSERT_TRUE(lasts(self, 2000 + i * 8, at(self->vm, data + i * 0x1000), 3584));
}

/* A flush is asked for along with the writes' end: of those that were given back before nothing is missing. */
TEST_F(medium, writes_that_came_back_before_a_flush_last)
{
	uint32_t id, len;

	START(FLUSH);
	for (int round = 0; round < 4; round++) {
		bool before[16] = { false };

		for (int i = 0; i < 16; i++) {
			pattern(at(self->vm, DATA + i * 0x1000), 4096, 100 + round * 16 + i);
			put(&self->v, i, VIRTIO_BLK_T_OUT, 3000 + i * 8, DATA + i * 0x1000 + variant->offset, 3584);
		}
		virtio_kick(&self->v, 0);
		while (!ring_collect(&self->v.ring[0], &id, &len))
			usleep(100);
		for (int i = 0; i < 16; i++)
			before[i] = *at(self->vm, STATUS + i) != UNTOUCHED;
		put(&self->v, 16, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		virtio_kick(&self->v, 0);
		for (int left = 16, ms = 0; left && ms < 20000;) {
			if (ring_collect(&self->v.ring[0], &id, &len))
				left--;
			else
				usleep(1000), ms++;
		}
		for (int i = 0; i < 17; i++)
			ASSERT_EQ(VIRTIO_BLK_S_OK, *at(self->vm, STATUS + i));
		for (int i = 0; i < 16; i++)
			if (before[i])
				ASSERT_TRUE(lasts(self, 3000 + i * 8, at(self->vm, DATA + i * 0x1000 + variant->offset), 3584));
	}
}

TEST_F(medium, what_is_written_through_lasts_without_a_flush)
{
	uint64_t data = DATA + variant->offset;

	self->back.flags &= ~KILN_BLOCK_WRITEBACK;
	START(RANGES);
	for (int i = 0; i < TIMES; i++) {
		pattern(at(self->vm, data), 8192, 150 + i);
		ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 5000, data, 8192));
		ASSERT_TRUE(lasts(self, 5000, at(self->vm, data), 8192));
	}
	ASSERT_EQ(VIRTIO_BLK_S_OK, range(&self->v, VIRTIO_BLK_T_WRITE_ZEROES, 5000, 8, 0));
	memset(at(self->vm, data), 0, 4096);
	EXPECT_TRUE(lasts(self, 5000, at(self->vm, data), 8192));
	ASSERT_EQ(VIRTIO_BLK_S_OK, range(&self->v, VIRTIO_BLK_T_DISCARD, 5008, 8, 0));
	memset(at(self->vm, data), 0, 8192);
	EXPECT_TRUE(lasts(self, 5000, at(self->vm, data), 8192));
}

/* A driver that cannot flush, and one that has switched the cache. */
TEST_F(medium, whoever_has_switched_it_so)
{
	union {
		struct vhost_vdpa_config head;
		uint8_t bytes[sizeof(struct vhost_vdpa_config) + 1];
	} c = { .head = { .off = offsetof(struct virtio_blk_config, wce), .len = 1 } };
	uint64_t data = DATA + variant->offset;

	START(0);
	pattern(at(self->vm, data), 4096, 5);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 6000, data, 4096));
	EXPECT_TRUE(lasts(self, 6000, at(self->vm, data), 4096));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	START(FLUSH | WCE);
	pattern(at(self->vm, data), 4096, 6);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 6000, data, 4096));
	EXPECT_FALSE(lasts(self, 6000, at(self->vm, data), 4096));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG, &c);
	pattern(at(self->vm, data), 4096, 7);
	ASSERT_EQ(VIRTIO_BLK_S_OK, finish(&self->v, VIRTIO_BLK_T_OUT, 6000, data, 4096));
	EXPECT_TRUE(lasts(self, 6000, at(self->vm, data), 4096));
}

/* ---- a file system ---- */

#define FULL	"/tmp/virtio-medium-full"

/* A file that has more bytes than its file system: those that find no room fail, and what is there stays. */
TEST(a_full_file_system_is_an_error)
{
	struct kiln_virtio_block back = { .flags = KILN_BLOCK_WRITEBACK };
	struct virtio v;
	struct vm *vm;
	int errors = 0;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	mkdir(FULL, 0700);
	ASSERT_EQ(0, mount("none", FULL, "tmpfs", 0, "size=1m"));
	back.fd = open(FULL "/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(0, ftruncate(back.fd, 4 << 20));
	vm = vm_create(VM_IRQCHIP);
	v = virtio_create(vm, VIRTIO_ID_BLOCK, 1);
	ASSERT_IOCTL(0, v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	ASSERT_EQ(0, virtio_start(&v, V1 | FLUSH | RANGES));
	for (int i = 0; i < 64; i++) {
		int status;

		pattern(at(vm, DATA), 65536, i);
		status = finish(&v, VIRTIO_BLK_T_OUT, i * 128, DATA, 65536);
		errors += status == VIRTIO_BLK_S_IOERR;
		ASSERT_TRUE(status == VIRTIO_BLK_S_IOERR || !errors);
	}
	EXPECT_LE(48, errors);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(&v, VIRTIO_BLK_T_WRITE_ZEROES, 128 * 40, 1024, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, flush(&v));
	pattern(at(vm, DATA), 65536, 3);
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&v, VIRTIO_BLK_T_IN, 3 * 128, BACK, 65536));
	EXPECT_EQ(0, memcmp(at(vm, DATA), at(vm, BACK), 65536));
	/* Room that is given back can be used. */
	EXPECT_EQ(VIRTIO_BLK_S_OK, range(&v, VIRTIO_BLK_T_DISCARD, 0, 256, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, finish(&v, VIRTIO_BLK_T_OUT, 128 * 50, DATA, 65536));
	virtio_destroy(&v);
	vm_destroy(vm);
	close(back.fd);
	ASSERT_EQ(0, umount(FULL));
	rmdir(FULL);
}

TEST_HARNESS_MAIN
