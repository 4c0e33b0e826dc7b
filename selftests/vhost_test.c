// SPDX-License-Identifier: GPL-2.0-only
/*
 * The same calls to a virtio device of kiln's and to the host's vhost-net, one after the other: what the one answers, the
 * other answers too, where Documentation/virtio.rst names no difference.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "net.h"

#define QUEUES		2		/* of packets; kiln's device has one for commands behind them */
#define PAGES		(3 * 4096UL)

/* Neither an answer nor an errno. */
#define SAME		4711

FIXTURE(vhost) {
	struct wire wire[2];		/* a tap has one user */
	struct virtio v;
	struct vm *vm;
	int peer;
	int event, none, other;		/* an eventfd, a descriptor that is not open, one of another kind */
	uint8_t *rings, *page;		/* the second one ends before memory that is not there */
};

static int vhost_net_open(void)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	if (fd < 0 && !system("modprobe -q vhost_net"))
		fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	return fd;
}

FIXTURE_SETUP(vhost)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->peer = vhost_net_open();
	if (self->peer < 0)
		SKIP(_exit(255), "this kernel has no vhost-net");
	ASSERT_TRUE(wire_open(&self->wire[0], 1) && wire_open(&self->wire[1], 1));
	self->vm = vm_create(VM_IRQCHIP);
	self->v = (struct virtio) { .vm = self->vm, .n = QUEUES, .fd = virtio_fd(self->vm, VIRTIO_ID_NET, QUEUES + 1) };
	ASSERT_LE(0, self->v.fd);
	self->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	self->other = open("/dev/null", O_RDWR | O_CLOEXEC);
	self->none = dup(self->other);
	close(self->none);
	self->rings = mmap(NULL, 2 * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	self->page = self->rings + PAGES;
	munmap(self->page + 4096, PAGES - 4096);
}

FIXTURE_TEARDOWN(vhost)
{
	close(self->v.fd);
	close(self->peer);
	for (int i = 0; i < 2; i++)
		wire_close(&self->wire[i]);
	vm_destroy(self->vm);
}

/*
 * Make a call of both: what kiln and vhost-net answer has to be the same, or, where @differs is not SAME, that from kiln and
 * another one from vhost-net: a difference that is gone is to be taken out of the documentation.
 */
#define BOTH_DIFFER(differs, nr, arg, what) do {								\
	int kiln_says = xioctl(self->v.fd, nr, arg), peer_says = xioctl(self->peer, nr, arg);			\
														\
	if ((differs) == SAME) {										\
		EXPECT_EQ(peer_says, kiln_says)									\
			TH_LOG("%s: %s", #nr, what);								\
	} else {												\
		EXPECT_EQ(differs, kiln_says)									\
			TH_LOG("%s: %s", #nr, what);								\
		EXPECT_NE(differs, peer_says)									\
			TH_LOG("%s: %s", #nr, what);								\
	}													\
} while (0)

#define BOTH(nr, arg, what)	BOTH_DIFFER(SAME, nr, arg, what)

#define BOTH_STATE(nr, i, n, what) do {										\
	struct vhost_vring_state state_ = { .index = i, .num = n };						\
														\
	BOTH(nr, &state_, what);										\
} while (0)

#define BOTH_FILE(nr, i, f, what) do {										\
	struct vhost_vring_file file_ = { .index = i, .fd = f };						\
														\
	BOTH(nr, &file_, what);											\
} while (0)

TEST_F(vhost, who_does_not_own_it_is_refused_alike)
{
	uint64_t features = 0;
	uint8_t zeroes[64] = { 0 };

	BOTH(VHOST_RESET_OWNER, NULL, "without an owner");
	BOTH(VHOST_SET_VRING_NUM, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_ADDR, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_BASE, zeroes, "without an owner");
	BOTH(VHOST_GET_VRING_BASE, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_KICK, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_CALL, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_ERR, zeroes, "without an owner");
	BOTH(VHOST_SET_VRING_NUM, NULL, "without an owner, nor an argument");
	BOTH(VHOST_GET_FEATURES, &features, "without an owner");
	BOTH(VHOST_SET_OWNER, NULL, "the first");
	BOTH(VHOST_SET_OWNER, NULL, "a second time");
	BOTH(VHOST_RESET_OWNER, NULL, "of the owner");
	BOTH(VHOST_RESET_OWNER, NULL, "a second time");
	BOTH(VHOST_SET_OWNER, NULL, "again");
}

/* vhost has an owner, and everything in kiln an address space (-EIO). */
TEST_F(vhost, another_process_is_refused_by_both)
{
	struct vhost_vring_state s = { .index = 0, .num = 64 };
	int status = 0;
	pid_t pid;

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	pid = fork();
	if (!pid)
		_exit((xioctl(self->v.fd, VHOST_SET_VRING_NUM, &s) != -EIO) |
		      (xioctl(self->peer, VHOST_SET_VRING_NUM, &s) != -EPERM) << 1);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_F(vhost, queues_that_are_none_are_refused_alike)
{
	static const uint32_t indices[] = { QUEUES + 1, QUEUES + 2, 1 << 16, 1U << 31, ~0U };

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	for (size_t i = 0; i < sizeof(indices) / sizeof(*indices); i++) {
		struct vhost_vring_addr a = { .index = indices[i] };

		BOTH_STATE(VHOST_SET_VRING_NUM, indices[i], 64, "no such queue");
		BOTH_STATE(VHOST_SET_VRING_NUM, indices[i], 0, "no such queue, and no size");
		BOTH_STATE(VHOST_SET_VRING_BASE, indices[i], 0, "no such queue");
		BOTH_STATE(VHOST_GET_VRING_BASE, indices[i], 0, "no such queue");
		BOTH(VHOST_SET_VRING_ADDR, &a, "no such queue");
		BOTH_FILE(VHOST_SET_VRING_KICK, indices[i], -1, "no such queue");
		BOTH_FILE(VHOST_SET_VRING_CALL, indices[i], -1, "no such queue");
		BOTH_FILE(VHOST_SET_VRING_ERR, indices[i], self->none, "no such queue, and no such descriptor");
	}
}

TEST_F(vhost, sizes_and_positions_are_checked_alike)
{
	static const uint32_t sizes[] = { 0, 1, 2, 3, 48, 64, 1000, 1024, 1025, 0x8001, 0x10000, 0x10040, 1U << 31, ~0U };
	static const uint32_t positions[] = { 0, 1, 63, 64, 0x8000, 0xffff, 0x10000, 0x80008000, ~0U };
	struct vhost_vring_state s = { .index = 0, .num = 2048 }, t = s;

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		BOTH_STATE(VHOST_SET_VRING_NUM, i % 2, sizes[i], "a size");
	/* VHOST_VDPA_GET_VRING_NUM says so. */
	BOTH_DIFFER(-EINVAL, VHOST_SET_VRING_NUM, &s, "a size beyond what kiln has");
	for (size_t i = 0; i < sizeof(positions) / sizeof(*positions); i++) {
		BOTH_STATE(VHOST_SET_VRING_BASE, 1, positions[i], "a position");
		s = t = (struct vhost_vring_state) { .index = 1, .num = 4711 };
		EXPECT_IOCTL(0, self->v.fd, VHOST_GET_VRING_BASE, &s);
		EXPECT_IOCTL(0, self->peer, VHOST_GET_VRING_BASE, &t);
		EXPECT_EQ(t.num, s.num);
		EXPECT_EQ(t.index, s.index);
	}
}

TEST_F(vhost, addresses_are_checked_alike)
{
	struct vhost_vring_addr a = { .index = 0 };
	uint64_t at = (uintptr_t)self->rings;

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	for (unsigned int i = 0; i < 16; i++) {
		a.avail_user_addr = at + i;
		a.used_user_addr = at;
		BOTH(VHOST_SET_VRING_ADDR, &a, "where the available ring is");
		a.avail_user_addr = at;
		a.used_user_addr = at + i;
		BOTH(VHOST_SET_VRING_ADDR, &a, "where the used ring is");
	}
	a.used_user_addr = at;
	for (unsigned int bit = 1; bit < 32; bit++) {
		a.flags = 1U << bit;
		BOTH(VHOST_SET_VRING_ADDR, &a, "a flag");
	}
	a.flags = 1 << VHOST_VRING_F_LOG;
	BOTH_DIFFER(-EOPNOTSUPP, VHOST_SET_VRING_ADDR, &a, "a log");
}

TEST_F(vhost, eventfds_are_checked_alike)
{
	const int fds[] = { self->event, self->event, -1, -1, self->none, self->other, -2, 1 << 30, self->event };

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		BOTH_FILE(VHOST_SET_VRING_KICK, i % 2, fds[i], "a descriptor");
		BOTH_FILE(VHOST_SET_VRING_CALL, i % 2, fds[i], "a descriptor");
		BOTH_FILE(VHOST_SET_VRING_ERR, i % 2, fds[i], "a descriptor");
	}
}

TEST_F(vhost, arguments_that_are_not_there_are_faults_of_both)
{
	/* The first four bytes of each, the index, are there. */
	void *edges[] = { NULL, (void *)8, self->page + 4096, self->page + 4096 - 4, (void *)0xffff888000000000 };

	memset(self->page, 0, 4096);
	BOTH(VHOST_SET_OWNER, NULL, "the first");
	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
		BOTH(VHOST_GET_FEATURES, edges[i], "no argument");
		BOTH(VHOST_SET_FEATURES, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_NUM, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_ADDR, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_BASE, edges[i], "no argument");
		BOTH(VHOST_GET_VRING_BASE, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_KICK, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_CALL, edges[i], "no argument");
		BOTH(VHOST_SET_VRING_ERR, edges[i], "no argument");
	}
}

TEST_F(vhost, features_and_calls_that_are_none_are_refused_alike)
{
	uint8_t zeroes[256] = { 0 };

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	/* Bits that no device has: 24 to 31 are of the transport and the ring, 41 and more reserved in 1.2, 50 and more its own. */
	for (unsigned int bit = 41; bit < 50; bit++) {
		uint64_t features = BIT64(bit);

		BOTH(VHOST_SET_FEATURES, &features, "a bit nobody offers");
	}
	BOTH(_IO(VHOST_VIRTIO, 0xee), zeroes, "no call");
	BOTH(_IOW(VHOST_VIRTIO, 0x10, uint64_t[3]), zeroes, "a size that is none");
	BOTH(_IO(0, 0), zeroes, "no call");
}

static int set_features(int fd, uint64_t features)
{
	return xioctl(fd, VHOST_SET_FEATURES, &features);
}

/* Both at work, each with a tap of its own and rings in the same places. */
static void start(struct __test_metadata *_metadata, FIXTURE_DATA(vhost) *self)
{
	struct kiln_virtio_net net = net_args(&self->wire[0]);
	uint64_t at = (uintptr_t)self->rings;
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region;
	} memory = {
		.head = { .nregions = 1 },
		.region = { .guest_phys_addr = 0, .memory_size = PAGES, .userspace_addr = at },
	};

	BOTH(VHOST_SET_OWNER, NULL, "the first");
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_NET, &net);
	ASSERT_EQ(0, set_features(self->v.fd, V1));
	ASSERT_EQ(0, set_features(self->peer, V1));
	ASSERT_IOCTL(0, self->peer, VHOST_SET_MEM_TABLE, &memory);
	ASSERT_EQ(0, virtio_status(&self->v, READY));
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct vhost_vring_addr a = { .index = i, .desc_user_addr = at + i * 4096,
					      .avail_user_addr = at + i * 4096 + 1024, .used_user_addr = at + i * 4096 + 2048 };

		BOTH_STATE(VHOST_SET_VRING_NUM, i, 64, "a queue to be");
		BOTH(VHOST_SET_VRING_ADDR, &a, "a queue to be");
		BOTH_STATE(VHOST_SET_VRING_BASE, i, 0, "a queue to be");
		BOTH_FILE(VHOST_SET_VRING_KICK, i, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "a queue to be");
		BOTH_FILE(VHOST_SET_VRING_CALL, i, self->event, "a queue to be");
		ASSERT_EQ(0, virtio_enable(&self->v, i, 1));
	}
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct vhost_vring_file f = { .index = i, .fd = self->wire[1].tap[0] };

		ASSERT_IOCTL(0, self->peer, VHOST_NET_SET_BACKEND, &f);
	}
}

TEST_F(vhost, rings_at_work_are_left_alone_by_both)
{
	struct vhost_vring_addr a = { .index = 0, .desc_user_addr = (uintptr_t)self->rings,
				      .avail_user_addr = (uintptr_t)self->rings + 1024,
				      .used_user_addr = (uintptr_t)self->rings + 2048 };
	struct vhost_vring_state s = { .index = 1 }, t = s;

	start(_metadata, self);
	BOTH_STATE(VHOST_SET_VRING_NUM, 0, 64, "at work");
	BOTH_STATE(VHOST_SET_VRING_NUM, 0, 0, "at work, and no size");
	BOTH_STATE(VHOST_SET_VRING_BASE, 0, 0, "at work");
	BOTH_STATE(VHOST_SET_VRING_BASE, 1, 1 << 16, "at work, and no position");
	BOTH_STATE(VHOST_SET_VRING_NUM, QUEUES + 1, 64, "no such queue");
	BOTH_FILE(VHOST_SET_VRING_KICK, 0, self->none, "at work");
	BOTH_FILE(VHOST_SET_VRING_CALL, 0, self->other, "at work");
	BOTH_FILE(VHOST_SET_VRING_CALL, 0, self->event, "at work");
	BOTH_FILE(VHOST_SET_VRING_KICK, 0, self->event, "at work");
	/* To move a ring in use is left to who has a log to switch on. */
	BOTH_DIFFER(-EBUSY, VHOST_SET_VRING_ADDR, &a, "at work");
	EXPECT_IOCTL(0, self->v.fd, VHOST_GET_VRING_BASE, &s);
	EXPECT_IOCTL(0, self->peer, VHOST_GET_VRING_BASE, &t);
	EXPECT_EQ(t.num, s.num);
	BOTH(VHOST_SET_OWNER, NULL, "at work");
	BOTH(VHOST_RESET_OWNER, NULL, "at work");
	BOTH_STATE(VHOST_SET_VRING_NUM, 0, 64, "after the owner");
	BOTH(VHOST_SET_OWNER, NULL, "again");
	BOTH_STATE(VHOST_SET_VRING_NUM, 0, 64, "what is owned again");
}

TEST_HARNESS_MAIN
