// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all virtio devices have in common: the calls of <linux/vhost.h> and uapi/kiln.h with their errnos, the status
 * (virtio 1.2 §2.1), doorbells, messages, stopping and going on, and what a broken ring leads to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "virtio.h"

#define DOORBELL	0xd0000000UL
#define PORT		0x570
#define VECTOR		0x53
#define CONFIG_VECTOR	0x54
#define DATA		VIRTIO_DATA

FIXTURE(device) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
};

static __guest void counts_messages(void)
{
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	guest_handlers[CONFIG_VECTOR] = count_trap_eoi;
	for (;;) {
		irq_window();
		guest_sync(guest_count[VECTOR] | guest_count[CONFIG_VECTOR] << 8);
	}
}

FIXTURE_SETUP(device)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, counts_messages);
	self->vm = self->vcpu->vm;
	self->v = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
}

FIXTURE_TEARDOWN(device)
{
	virtio_destroy(&self->v);
	vm_destroy(self->vm);
}

static void add(struct virtio *v, uint32_t len)
{
	struct ring_piece p = { DATA, len, true };

	ring_add(&v->ring[0], &p, 1);
}

static bool collect(struct virtio *v)
{
	uint32_t id, len;

	return ring_collect(&v->ring[0], &id, &len);
}

static int state(struct virtio *v, unsigned long nr, uint32_t index, uint32_t num)
{
	struct vhost_vring_state s = { .index = index, .num = num };

	return xioctl(v->fd, nr, &s);
}

static int64_t base(struct virtio *v)
{
	struct vhost_vring_state s = { .index = 0 };
	int r = xioctl(v->fd, VHOST_GET_VRING_BASE, &s);

	return r < 0 ? r : s.num;
}

/* ---- creation ---- */

TEST_F(device, types_queues_and_reserved_fields_are_checked)
{
	struct kiln_virtio_create c = { .type = VIRTIO_ID_RNG, .nr_queues = 1 };

	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, 0, 1));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, 4711, 1));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_RNG, 0));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_RNG, 2));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_BLOCK, 0));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_BLOCK, ~0U));
	c.flags = 1;
	EXPECT_IOCTL(-EINVAL, self->vm->fd, KILN_CREATE_VIRTIO, &c);
	c.flags = 0;
	c.reserved[4] = 1;
	EXPECT_IOCTL(-EINVAL, self->vm->fd, KILN_CREATE_VIRTIO, &c);
	EXPECT_IOCTL(-EFAULT, self->vm->fd, KILN_CREATE_VIRTIO, NULL);
	EXPECT_IOCTL(-ENOTTY, self->vm->dev, KILN_CREATE_VIRTIO, &c);
	EXPECT_IOCTL(-ENOTTY, self->vm->fd, KILN_VIRTIO_SET_MSI, &c);
}

/* Each queue is a thread of the host in the end. */
TEST_F(device, a_vm_has_1024_queues_and_no_more)
{
	int fd[16];

	/* The fixture's has one. */
	for (int i = 0; i < 15; i++) {
		fd[i] = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 64);
		ASSERT_LE(0, fd[i]);
	}
	EXPECT_EQ(-ENOSPC, virtio_fd(self->vm, VIRTIO_ID_BLOCK, 64));
	fd[15] = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 63);
	EXPECT_LE(0, fd[15]);
	EXPECT_EQ(-ENOSPC, virtio_fd(self->vm, VIRTIO_ID_RNG, 1));
	close(fd[3]);
	fd[3] = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 64);
	EXPECT_LE(0, fd[3]);
	for (int i = 0; i < 16; i++)
		close(fd[i]);
}

static unsigned int max_queue_threads(const char *set)
{
	static const char path[] = "/sys/module/kiln/parameters/max_queue_threads";
	unsigned int n = ~0U;
	FILE *f = fopen(path, "r");

	if (!f || fscanf(f, "%u", &n) != 1)
		n = ~0U;
	if (f)
		fclose(f);
	return set && !write_file(path, set) ? ~0U : n;
}

TEST_F(device, an_administrator_says_how_many_threads_all_queues_get)
{
	int fd = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 8);
	char before[16];
	unsigned int n = max_queue_threads("4");

	if (n == ~0U)
		SKIP(return, "the module's parameter cannot be written");
	snprintf(before, sizeof(before), "%u", n);
	EXPECT_IOCTL(-EAGAIN, fd, VHOST_SET_OWNER, NULL);
	EXPECT_IOCTL(-EPERM, fd, VHOST_RESET_OWNER, NULL);
	max_queue_threads(before);
	EXPECT_IOCTL(0, fd, VHOST_SET_OWNER, NULL);
	close(fd);
}

TEST_F(device, it_says_what_it_is)
{
	uint64_t features = 0;
	uint32_t id = 0, n = 0, size = 77;
	uint16_t num = 0;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_GET_DEVICE_ID, &id);
	EXPECT_EQ(VIRTIO_ID_RNG, id);
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_GET_VQS_COUNT, &n);
	EXPECT_EQ(1, n);
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_GET_VRING_NUM, &num);
	EXPECT_EQ(1024, num);
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_GET_CONFIG_SIZE, &size);
	EXPECT_EQ(0, size);
	ASSERT_IOCTL(0, self->v.fd, VHOST_GET_FEATURES, &features);
	EXPECT_EQ(V1 | PACKED | EVENT_IDX | INDIRECT | BIT64(VIRTIO_F_RING_RESET), features);
	EXPECT_EQ(0, virtio_get_status(&self->v));
}

/* ---- ownership, as in vhost ---- */

TEST_F(device, nothing_changes_without_an_owner)
{
	static const unsigned long owners[] = {
		VHOST_RESET_OWNER, VHOST_VDPA_SET_STATUS, VHOST_VDPA_SET_CONFIG, VHOST_VDPA_SET_CONFIG_CALL,
		VHOST_VDPA_SUSPEND, KILN_VIRTIO_SET_DOORBELL, KILN_VIRTIO_SET_MSI, KILN_VIRTIO_GET_MSI,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE,
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR, VHOST_VDPA_SET_VRING_ENABLE,
	};
	uint8_t zeroes[128] = { 0 };
	int fd = virtio_fd(self->vm, VIRTIO_ID_RNG, 1);

	ASSERT_LE(0, fd);
	for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++) {
		EXPECT_IOCTL(-EPERM, fd, owners[i], zeroes)
			TH_LOG("call %#lx", owners[i]);
	}
	EXPECT_IOCTL(0, fd, VHOST_SET_OWNER, NULL);
	EXPECT_IOCTL(-EBUSY, fd, VHOST_SET_OWNER, NULL);
	EXPECT_IOCTL(0, fd, VHOST_RESET_OWNER, NULL);
	EXPECT_IOCTL(-EPERM, fd, VHOST_RESET_OWNER, NULL);
	EXPECT_IOCTL(0, fd, VHOST_SET_OWNER, NULL);
	close(fd);
}

TEST_F(device, another_process_is_refused)
{
	uint64_t features;
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(xioctl(self->v.fd, VHOST_GET_FEATURES, &features) != -EIO ||
		      xioctl(self->v.fd, VHOST_RESET_OWNER, NULL) != -EIO);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(device, unknown_calls_and_sizes_are_none)
{
	uint8_t zeroes[256] = { 0 };

	EXPECT_IOCTL(-ENOTTY, self->v.fd, _IO(VHOST_VIRTIO, 0xee), zeroes);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, VHOST_SET_MEM_TABLE, zeroes);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, KILN_VIRTIO_SET_BLOCK, zeroes);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, _IOW(VHOST_VIRTIO, 0x10, uint64_t[2]), zeroes);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, _IOW(KILNIO, 0x11, uint64_t), zeroes);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, KVM_RUN, NULL);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, KVM_GET_API_VERSION, NULL);
}

TEST_F(device, bad_pointers_are_faults)
{
	static const unsigned long calls[] = {
		VHOST_GET_FEATURES, VHOST_SET_FEATURES, VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE,
		VHOST_GET_VRING_BASE, VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
		VHOST_VDPA_GET_DEVICE_ID, VHOST_VDPA_GET_STATUS, VHOST_VDPA_SET_STATUS, VHOST_VDPA_GET_CONFIG,
		VHOST_VDPA_SET_CONFIG, VHOST_VDPA_GET_CONFIG_SIZE, VHOST_VDPA_SET_VRING_ENABLE,
		VHOST_VDPA_GET_VRING_NUM, VHOST_VDPA_GET_VQS_COUNT, VHOST_VDPA_SET_CONFIG_CALL,
		KILN_VIRTIO_SET_DOORBELL, KILN_VIRTIO_SET_MSI, KILN_VIRTIO_GET_MSI, KILN_VIRTIO_SET_RNG,
	};
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(page + 4096, 4096);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		/* Of an answer that does not fit the first half may be there. */
		memset(page, 0, 4096);
		EXPECT_IOCTL(-EFAULT, self->v.fd, calls[i], NULL)
			TH_LOG("call %#lx", calls[i]);
		if (_IOC_SIZE(calls[i]) > 4) {
			EXPECT_IOCTL(-EFAULT, self->v.fd, calls[i], page + 4096 - 4)
				TH_LOG("call %#lx", calls[i]);
		}
	}
}

/* ---- rings ---- */

TEST_F(device, indices_beyond_the_queues_are_refused)
{
	struct vhost_vring_addr addr = { .index = 1 };
	struct vhost_vring_file file = { .index = 1, .fd = -1 };

	EXPECT_EQ(-ENOBUFS, state(&self->v, VHOST_SET_VRING_NUM, 1, 64));
	EXPECT_EQ(-ENOBUFS, state(&self->v, VHOST_SET_VRING_BASE, 1, 0));
	EXPECT_EQ(-ENOBUFS, state(&self->v, VHOST_GET_VRING_BASE, ~0U, 0));
	EXPECT_EQ(-ENOBUFS, state(&self->v, VHOST_VDPA_SET_VRING_ENABLE, 1, 1));
	EXPECT_IOCTL(-ENOBUFS, self->v.fd, VHOST_SET_VRING_ADDR, &addr);
	EXPECT_IOCTL(-ENOBUFS, self->v.fd, VHOST_SET_VRING_KICK, &file);
	EXPECT_IOCTL(-ENOBUFS, self->v.fd, VHOST_SET_VRING_CALL, &file);
	EXPECT_IOCTL(-ENOBUFS, self->v.fd, VHOST_SET_VRING_ERR, &file);
	EXPECT_EQ(-EINVAL, virtio_doorbell(&self->v, 1, PORT, KILN_VIRTIO_DOORBELL_PIO));
	EXPECT_EQ(-EINVAL, virtio_msi(&self->v, 1, VECTOR, KILN_VIRTIO_MSI_ENABLE));
}

TEST_F(device, ring_sizes_and_positions_are_checked)
{
	uint64_t packed = V1 | PACKED;

	EXPECT_EQ(-EINVAL, state(&self->v, VHOST_SET_VRING_NUM, 0, 0));
	EXPECT_EQ(-EINVAL, state(&self->v, VHOST_SET_VRING_NUM, 0, 2048));
	EXPECT_EQ(-EINVAL, state(&self->v, VHOST_SET_VRING_NUM, 0, 48));
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_NUM, 0, 1024));
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_NUM, 0, 1));
	EXPECT_EQ(-EINVAL, state(&self->v, VHOST_SET_VRING_BASE, 0, 0x10000));
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_BASE, 0, 0xffff));
	EXPECT_EQ(0xffff, base(&self->v));
	EXPECT_EQ(-EINVAL, state(&self->v, VHOST_VDPA_SET_VRING_ENABLE, 0, 2));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &packed);
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_NUM, 0, 48));
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_BASE, 0, 0x80058007));
	EXPECT_EQ(0x80058007, base(&self->v));
}

TEST_F(device, ring_addresses_are_checked)
{
	struct vhost_vring_addr a = { .index = 0 };

	a.avail_user_addr = 1;
	EXPECT_IOCTL(-EINVAL, self->v.fd, VHOST_SET_VRING_ADDR, &a);
	a.avail_user_addr = 0;
	a.used_user_addr = 2;
	EXPECT_IOCTL(-EINVAL, self->v.fd, VHOST_SET_VRING_ADDR, &a);
	a.used_user_addr = 0;
	a.flags = 1 << VHOST_VRING_F_LOG;
	EXPECT_IOCTL(-EOPNOTSUPP, self->v.fd, VHOST_SET_VRING_ADDR, &a);
	a.flags = 2;
	EXPECT_IOCTL(-EOPNOTSUPP, self->v.fd, VHOST_SET_VRING_ADDR, &a);
}

/* The kernel's own half of the address space is as far away as can be. */
TEST_F(device, rings_in_no_memory_of_ours_do_not_start)
{
	static const uint64_t places[] = { 0xffff888000000000, 0x7ffffffff000, 0xdead000000000000, ~0xfUL };
	uint64_t features = V1;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		struct vhost_vring_addr a = { .desc_user_addr = places[i], .avail_user_addr = places[i],
					      .used_user_addr = places[i] };

		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &features);
		ASSERT_EQ(0, virtio_status(&self->v, READY));
		ASSERT_EQ(0, state(&self->v, VHOST_SET_VRING_NUM, 0, 64));
		ASSERT_IOCTL(0, self->v.fd, VHOST_SET_VRING_ADDR, &a);
		ASSERT_EQ(0, virtio_enable(&self->v, 0, 1));
		EXPECT_EQ(-EFAULT, virtio_status(&self->v, RUNNING));
		EXPECT_EQ(READY, virtio_get_status(&self->v));
	}
}

TEST_F(device, a_ring_at_work_is_left_alone)
{
	struct vhost_vring_addr a = { .index = 0 };
	uint64_t features = V1 | PACKED;

	ASSERT_EQ(0, virtio_start(&self->v, V1));
	EXPECT_EQ(-EBUSY, state(&self->v, VHOST_SET_VRING_NUM, 0, 64));
	EXPECT_EQ(-EBUSY, state(&self->v, VHOST_SET_VRING_BASE, 0, 0));
	EXPECT_IOCTL(-EBUSY, self->v.fd, VHOST_SET_VRING_ADDR, &a);
	EXPECT_IOCTL(-EBUSY, self->v.fd, VHOST_SET_FEATURES, &features);
	ASSERT_EQ(0, virtio_enable(&self->v, 0, 0));
	EXPECT_EQ(0, state(&self->v, VHOST_SET_VRING_NUM, 0, 64));
	EXPECT_EQ(0, virtio_enable(&self->v, 0, 1));
}

TEST_F(device, eventfds_are_checked)
{
	static const unsigned long calls[] = { VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR };
	struct vhost_vring_file f = { .index = 0 };
	int fd;

	for (int i = 0; i < 3; i++) {
		f.fd = 1000;
		EXPECT_IOCTL(-EBADF, self->v.fd, calls[i], &f);
		f.fd = self->vm->fd;
		EXPECT_IOCTL(-EINVAL, self->v.fd, calls[i], &f);
		f.fd = -1;
		EXPECT_IOCTL(0, self->v.fd, calls[i], &f);
		EXPECT_IOCTL(0, self->v.fd, calls[i], &f);
	}
	fd = 1000;
	EXPECT_IOCTL(-EBADF, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
	fd = self->vm->fd;
	EXPECT_IOCTL(-EINVAL, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
	fd = -1;
	EXPECT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
}

static bool comes_back(struct virtio *v)
{
	for (int i = 0; i < 10000; i++) {
		if (collect(v))
			return true;
		usleep(1000);
	}
	return false;
}

/* What one device calls is what kicks another, and nobody else has it. */
TEST_F(device, an_eventfd_outlives_the_callers_descriptor)
{
	struct vhost_vring_file f = { .index = 0, .fd = self->v.call[0] };
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct virtio next = virtio_create(vm, VIRTIO_ID_RNG, 1);

	ASSERT_IOCTL(0, next.fd, VHOST_SET_VRING_KICK, &f);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_start(&next, V1));
	close(self->v.call[0]);
	self->v.call[0] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* The first may be served because of the start. */
	for (int i = 0; i < 3; i++) {
		add(&next, 8);
		add(&self->v, 8);
		virtio_kick(&self->v, 0);
		ASSERT_TRUE(comes_back(&self->v));
		ASSERT_TRUE(comes_back(&next));
	}
	EXPECT_EQ(0, virtio_wait(&self->v, 0, 0));
	virtio_destroy(&next);
	vm_destroy(vm);
}

TEST_F(device, a_kick_that_was_rung_before_it_is_attached_counts)
{
	struct vhost_vring_file f = { .index = 0, .fd = eventfd(1, EFD_CLOEXEC) };

	ASSERT_EQ(0, virtio_start(&self->v, V1));
	/* The kick of the start itself is over. */
	add(&self->v, 8);
	ASSERT_EQ(8, virtio_finish(&self->v, 0, NULL));
	virtio_wait(&self->v, 0, 1000);
	add(&self->v, 8);
	EXPECT_EQ(0, virtio_wait(&self->v, 0, 50));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_VRING_KICK, &f);
	EXPECT_EQ(1, virtio_wait(&self->v, 0, 10000));
	EXPECT_TRUE(collect(&self->v));
	close(f.fd);
}

/* ---- status ---- */

TEST_F(device, status_goes_up_bit_by_bit_and_down_at_once)
{
	uint64_t features = V1;

	EXPECT_EQ(-EINVAL, virtio_status(&self->v, VIRTIO_CONFIG_S_NEEDS_RESET));
	EXPECT_EQ(-EINVAL, virtio_status(&self->v, 0x20));
	EXPECT_EQ(0, virtio_status(&self->v, VIRTIO_CONFIG_S_ACKNOWLEDGE));
	EXPECT_EQ(0, virtio_status(&self->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
	EXPECT_EQ(-EINVAL, virtio_status(&self->v, VIRTIO_CONFIG_S_DRIVER));
	/* A driver of before 1.0 is none for this device. */
	EXPECT_EQ(-EINVAL, virtio_status(&self->v, READY));
	EXPECT_EQ(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, virtio_get_status(&self->v));
	EXPECT_EQ(-EINVAL, virtio_status(&self->v, RUNNING & ~VIRTIO_CONFIG_S_FEATURES_OK));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_FEATURES, &features);
	EXPECT_EQ(0, virtio_status(&self->v, READY));
	EXPECT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(0, virtio_status(&self->v, RUNNING | VIRTIO_CONFIG_S_FAILED));
	EXPECT_EQ(RUNNING | VIRTIO_CONFIG_S_FAILED, virtio_get_status(&self->v));
	EXPECT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(0, virtio_get_status(&self->v));
}

TEST_F(device, features_that_are_not_offered_are_refused)
{
	uint64_t features = V1 | BIT64(VIRTIO_F_ACCESS_PLATFORM);

	EXPECT_IOCTL(-EOPNOTSUPP, self->v.fd, VHOST_SET_FEATURES, &features);
	features = V1 | 1;
	EXPECT_IOCTL(-EOPNOTSUPP, self->v.fd, VHOST_SET_FEATURES, &features);
}

TEST_F(device, a_reset_takes_rings_messages_and_doorbells)
{
	struct kiln_virtio_msi m = { .index = 0 };

	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO));
	ASSERT_EQ(0, virtio_msi(&self->v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_EQ(-ENOENT, virtio_doorbell(&self->v, 0, PORT,
					   KILN_VIRTIO_DOORBELL_PIO | KILN_VIRTIO_DOORBELL_DEASSIGN));
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_GET_MSI, &m);
	EXPECT_EQ(0, m.flags);
	EXPECT_EQ(0, base(&self->v));
	/* Eventfds stay. */
	ASSERT_EQ(0, virtio_start(&self->v, V1 | PACKED));
	add(&self->v, 8);
	EXPECT_EQ(8, virtio_finish(&self->v, 0, NULL));
	EXPECT_EQ(1, virtio_wait(&self->v, 0, 10000));
}

/* ---- stop and go on ---- */

static void works(struct __test_metadata *_metadata, struct virtio *v, int n)
{
	for (int i = 0; i < n; i++) {
		add(v, 8);
		ASSERT_EQ(8, virtio_finish(v, 0, NULL));
	}
}

TEST_F(device, suspended_it_goes_on_where_it_stopped)
{
	for (int packed = 0; packed < 2; packed++) {
		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_EQ(0, virtio_start(&self->v, packed ? V1 | PACKED : V1));
		works(_metadata, &self->v, 70);
		ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
		EXPECT_EQ(READY, virtio_get_status(&self->v));
		/* Once around the 64 descriptors: the wrap counters are 0. */
		EXPECT_EQ(packed ? 0x00060006 : 70, base(&self->v));
		add(&self->v, 8);
		virtio_kick(&self->v, 0);
		usleep(20000);
		EXPECT_FALSE(collect(&self->v));
		EXPECT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
		ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
		virtio_finish(&self->v, 0, NULL);
		works(_metadata, &self->v, 70);
	}
}

TEST_F(device, a_queue_goes_on_in_another_device)
{
	struct virtio other = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
	uint64_t features = V1 | PACKED;
	int64_t at;

	ASSERT_EQ(0, virtio_start(&self->v, features));
	works(_metadata, &self->v, 100);
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	at = base(&self->v);
	other.ring[0] = self->v.ring[0];
	ASSERT_IOCTL(0, other.fd, VHOST_SET_FEATURES, &features);
	ASSERT_EQ(0, virtio_status(&other, READY));
	ASSERT_EQ(0, virtio_set_ring(&other, 0));
	ASSERT_EQ(0, state(&other, VHOST_SET_VRING_BASE, 0, at));
	ASSERT_EQ(0, virtio_enable(&other, 0, 1));
	ASSERT_EQ(0, virtio_status(&other, RUNNING));
	works(_metadata, &other, 100);
	virtio_destroy(&other);
}

/* VIRTIO_F_RING_RESET, as a transport does it. */
TEST_F(device, one_queue_is_reset_and_begins_anew)
{
	ASSERT_EQ(0, virtio_start(&self->v, V1 | BIT64(VIRTIO_F_RING_RESET)));
	works(_metadata, &self->v, 10);
	ASSERT_EQ(0, virtio_enable(&self->v, 0, 0));
	EXPECT_EQ(RUNNING, virtio_get_status(&self->v));
	memset(self->vm->ram + VIRTIO_RING(0), 0, RING_SIZE(VIRTIO_NUM));
	ring_init(&self->v.ring[0], (uintptr_t)self->vm->ram, VIRTIO_RING(0), VIRTIO_NUM, false, false);
	ASSERT_EQ(0, virtio_set_ring(&self->v, 0));
	ASSERT_EQ(0, virtio_enable(&self->v, 0, 1));
	works(_metadata, &self->v, 10);
}

/* ---- doorbells ---- */

TEST_F(device, doorbells_are_checked)
{
	const uint32_t pio = KILN_VIRTIO_DOORBELL_PIO, off = KILN_VIRTIO_DOORBELL_DEASSIGN;
	struct virtio other = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
	struct kvm_ioeventfd io = { .addr = PORT, .len = 2, .fd = self->v.kick[0], .flags = KVM_IOEVENTFD_FLAG_PIO };

	EXPECT_EQ(-EINVAL, virtio_doorbell(&self->v, 0, PORT, 4));
	EXPECT_EQ(-EINVAL, virtio_doorbell(&self->v, 0, 0x10000, pio));
	EXPECT_EQ(-ENOENT, virtio_doorbell(&self->v, 0, PORT, pio | off));
	EXPECT_EQ(0, virtio_doorbell(&self->v, 0, PORT, pio));
	EXPECT_EQ(-EEXIST, virtio_doorbell(&self->v, 0, PORT, pio));
	EXPECT_EQ(-EEXIST, virtio_doorbell(&self->v, 0, DOORBELL, 0));
	EXPECT_EQ(-EEXIST, virtio_doorbell(&other, 0, PORT, pio));
	EXPECT_IOCTL(-EEXIST, self->vm->fd, KVM_IOEVENTFD, &io);
	EXPECT_EQ(-ENOENT, virtio_doorbell(&self->v, 0, PORT, off));
	EXPECT_EQ(-ENOENT, virtio_doorbell(&self->v, 0, PORT + 2, pio | off));
	EXPECT_EQ(0, virtio_doorbell(&self->v, 0, PORT, pio | off));
	EXPECT_IOCTL(0, self->vm->fd, KVM_IOEVENTFD, &io);
	EXPECT_EQ(-EEXIST, virtio_doorbell(&self->v, 0, PORT, pio));
	EXPECT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, 0));
	/* A device that is closed leaves the address free. */
	ASSERT_EQ(0, virtio_doorbell(&other, 0, DOORBELL + 4, 0));
	virtio_destroy(&other);
	EXPECT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, off));
	EXPECT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL + 4, 0));
}

static __guest void writes_the_doorbell(void)
{
	for (;;) {
		*(volatile uint8_t *)DOORBELL = 1;
		*(volatile uint16_t *)DOORBELL = 2;
		*(volatile uint32_t *)DOORBELL = 3;
		outb(PORT, 4);
		outl(PORT, 5);
		guest_done();
	}
}

TEST_F(device, writes_of_any_size_ring_and_once_it_is_gone_they_exit)
{
	vcpu_long_mode(self->vcpu, writes_the_doorbell);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_EXIT(IO, self->vcpu);
	ASSERT_EXIT(IO, self->vcpu);
	ASSERT_DONE(self->vcpu);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, 0));
	ASSERT_EXIT(IO, self->vcpu);
	ASSERT_EXIT(IO, self->vcpu);
	ASSERT_DONE(self->vcpu);
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, DOORBELL, KILN_VIRTIO_DOORBELL_DEASSIGN));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO));
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_DONE(self->vcpu);
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EXIT(MMIO, self->vcpu);
}

/* The write is the last thing the vCPU does before it goes to user space, where it may stay. */
static __guest void rings_and_leaves(void)
{
	for (;;) {
		outw(PORT, 1);
		guest_done();
	}
}

TEST_F(device, a_kick_is_served_though_its_vcpu_stays_away)
{
	vcpu_long_mode(self->vcpu, rings_and_leaves);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO));
	for (int i = 0; i < 100; i++) {
		add(&self->v, 8);
		ASSERT_DONE(self->vcpu);
		for (int ms = 0; ms < 5000 && !collect(&self->v); ms++) {
			ASSERT_LT(ms, 4999);
			usleep(1000);
		}
	}
}

/* ---- messages ---- */

TEST_F(device, messages_are_checked)
{
	struct kiln_virtio_msi m = { .flags = 4 };
	struct vm *bare = vm_create(0);
	struct virtio v = virtio_create(bare, VIRTIO_ID_RNG, 1);

	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_MSI, &m);
	m = (struct kiln_virtio_msi){ .flags = KILN_VIRTIO_MSI_ENABLE, .pending = 1 };
	EXPECT_IOCTL(-EINVAL, self->v.fd, KILN_VIRTIO_SET_MSI, &m);
	m = (struct kiln_virtio_msi){ .flags = KILN_VIRTIO_MSI_ENABLE, .address = APIC_PHYS | 0x1000, .data = 0x77 };
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_SET_MSI, &m);
	memset(&m, 0, sizeof(m));
	EXPECT_IOCTL(0, self->v.fd, KILN_VIRTIO_GET_MSI, &m);
	EXPECT_EQ(APIC_PHYS | 0x1000, m.address);
	EXPECT_EQ(0x77, m.data);
	EXPECT_EQ(KILN_VIRTIO_MSI_ENABLE, m.flags);
	EXPECT_EQ(-ENXIO, virtio_msi(&v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	EXPECT_EQ(-ENXIO, virtio_msi(&v, KILN_VIRTIO_CONFIG_INDEX, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	EXPECT_EQ(0, virtio_msi(&v, 0, 0, 0));
	virtio_destroy(&v);
	vm_destroy(bare);
}

TEST_F(device, a_masked_message_is_kept_and_sent_once)
{
	struct kiln_virtio_msi m = { .index = 0 };

	ASSERT_OUTCOME("sync 0", self->vcpu);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_msi(&self->v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE | KILN_VIRTIO_MSI_MASKED));
	works(_metadata, &self->v, 3);
	/* The interrupt comes after the buffer is used. */
	for (int i = 0; i < 5000 && !m.pending; i++) {
		usleep(1000);
		ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_GET_MSI, &m);
	}
	EXPECT_EQ(1, m.pending);
	ASSERT_OUTCOME("sync 0", self->vcpu);
	ASSERT_EQ(0, virtio_msi(&self->v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE));
	ASSERT_OUTCOME("sync 1", self->vcpu);
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_GET_MSI, &m);
	EXPECT_EQ(0, m.pending);
	EXPECT_EQ(0, virtio_wait(&self->v, 0, 0));
}

TEST_F(device, without_a_message_the_eventfd_is_signalled)
{
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	add(&self->v, 8);
	virtio_kick(&self->v, 0);
	EXPECT_EQ(1, virtio_wait(&self->v, 0, 10000));
	EXPECT_TRUE(collect(&self->v));
}

TEST_F(device, a_driver_that_wants_no_interrupt_gets_none)
{
	for (int packed = 0; packed < 2; packed++) {
		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_EQ(0, virtio_start(&self->v, packed ? V1 | PACKED : V1));
		ring_set_quiet(&self->v.ring[0], true);
		works(_metadata, &self->v, 5);
		EXPECT_EQ(0, virtio_wait(&self->v, 0, 50));
		ring_set_quiet(&self->v.ring[0], false);
		works(_metadata, &self->v, 1);
		EXPECT_EQ(1, virtio_wait(&self->v, 0, 10000));
	}
}

/* ---- broken rings ---- */

static bool broke(struct virtio *v)
{
	virtio_kick(v, 0);
	for (int i = 0; i < 5000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

TEST_F(device, a_broken_ring_stops_its_device_and_no_other)
{
	struct virtio other = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
	struct vhost_vring_file err = { .index = 0, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	struct ring_piece outside = { 0x4000000000, 8, true };
	struct kiln_virtio_broken b;
	uint64_t n;

	ASSERT_OUTCOME("sync 0", self->vcpu);
	/* Its rings lie where those of the other one will. */
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_IOCTL(0, self->v.fd, VHOST_SET_VRING_ERR, &err);
	ASSERT_EQ(0, virtio_msi(&self->v, KILN_VIRTIO_CONFIG_INDEX, CONFIG_VECTOR, KILN_VIRTIO_MSI_ENABLE));
	EXPECT_IOCTL(-ENODATA, self->v.fd, KILN_VIRTIO_GET_BROKEN, &b);
	ring_add(&self->v.ring[0], &outside, 1);
	ASSERT_TRUE(broke(&self->v));
	ASSERT_IOCTL(0, self->v.fd, KILN_VIRTIO_GET_BROKEN, &b);
	EXPECT_EQ(0, b.queue);
	EXPECT_EQ(EFAULT, b.error);
	EXPECT_EQ(RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET, virtio_get_status(&self->v));
	ASSERT_EQ(8, read(err.fd, &n, 8));
	EXPECT_EQ(1, n);
	ASSERT_OUTCOME("sync 256", self->vcpu);
	/* What the driver does now is nothing to the device, but for the reset. */
	add(&self->v, 8);
	virtio_kick(&self->v, 0);
	usleep(20000);
	EXPECT_FALSE(collect(&self->v));
	EXPECT_EQ(0, virtio_status(&self->v, RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET));
	EXPECT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	EXPECT_EQ(-EINVAL, virtio_status(&self->v, RUNNING));

	ASSERT_EQ(0, virtio_start(&other, V1));
	works(_metadata, &other, 3);
	ASSERT_EQ(0, virtio_status(&other, 0));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	EXPECT_IOCTL(-ENODATA, self->v.fd, KILN_VIRTIO_GET_BROKEN, &b);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	works(_metadata, &self->v, 3);
	virtio_destroy(&other);
	close(err.fd);
}

TEST_F(device, a_ring_whose_memory_goes_breaks)
{
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	works(_metadata, &self->v, 1);
	ASSERT_EQ(0, munmap(self->vm->ram + VIRTIO_RING(0), 0x2000));
	EXPECT_TRUE(broke(&self->v));
	mmap(self->vm->ram + VIRTIO_RING(0), 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

TEST_F(device, a_buffer_in_a_read_only_slot_breaks)
{
	void *p = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring_piece readonly = { 0x40000000, 8, true };

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, KVM_MEM_READONLY, 0x40000000, 0x10000, p));
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ring_add(&self->v.ring[0], &readonly, 1);
	EXPECT_TRUE(broke(&self->v));
}

/* ---- slots, lifetimes ---- */

TEST_F(device, a_slot_that_is_deleted_is_not_written_any_more)
{
	uint8_t *p = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring_piece there = { 0x40000000, 64, true };

	for (int i = 0; i < 50; i++) {
		uint8_t zero[64] = { 0 };

		ASSERT_EQ(0, virtio_status(&self->v, 0));
		ASSERT_EQ(0, virtio_start(&self->v, V1));
		ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, 0x40000000, 0x10000, p));
		for (int n = 0; n < VIRTIO_NUM; n++)
			ring_add(&self->v.ring[0], &there, 1);
		virtio_kick(&self->v, 0);
		ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, 0x40000000, 0, p));
		memset(p, 0, 64);
		usleep(500);
		ASSERT_EQ(0, memcmp(p, zero, 64));
	}
}

TEST_F(device, it_works_on_when_the_vm_is_closed_and_goes_with_its_descriptor)
{
	vcpu_long_mode(self->vcpu, rings_and_leaves);
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	ASSERT_EQ(0, virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO));
	close(self->vm->fd);
	add(&self->v, 8);
	ASSERT_EQ(8, virtio_finish(&self->v, 0, NULL));
	add(&self->v, 8);
	ASSERT_DONE(self->vcpu);
	for (int ms = 0; ms < 5000 && !collect(&self->v); ms++) {
		ASSERT_LT(ms, 4999);
		usleep(1000);
	}
	self->vm->fd = open("/dev/null", 0);
}

TEST_F(device, a_vm_without_vcpus_lives_as_long_as_its_device)
{
	struct vm *vm = vm_create(0);
	struct virtio v = virtio_create(vm, VIRTIO_ID_RNG, 1);

	ASSERT_EQ(0, virtio_start(&v, V1));
	close(vm->fd);
	add(&v, 8);
	EXPECT_EQ(8, virtio_finish(&v, 0, NULL));
	virtio_destroy(&v);
}

/* ---- threads, whose work is the owner's ---- */

#define CGROUPS	"/tmp/virtio-cgroups"
#define GROUP	CGROUPS "/owner"
#define NICE	7
#define THREADS	2

static bool make_cgroup(void)
{
	mkdir(CGROUPS, 0700);
	return !mount("none", CGROUPS, "cgroup2", 0, NULL) && !mkdir(GROUP, 0700);
}

/* False if somebody is left in it. */
static bool remove_cgroup(void)
{
	int r;

	for (int i = 0; (r = rmdir(GROUP)) && errno == EBUSY && i < 1000; i++)
		usleep(10000);
	umount(CGROUPS);
	rmdir(CGROUPS);
	return !r;
}

/* All groups a task is in, of all hierarchies. */
static void groups_of(pid_t pid, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	fd = open(path, O_RDONLY);
	n = read(fd, text, size - 1);
	if (n <= 0)
		die("%s: %s", path, strerror(errno));
	text[n] = 0;
	close(fd);
}

/* In the group if there is one. Returns what is wrong, or 0. */
static int owns_threads(bool group)
{
	char mine[4096], theirs[4096];
	struct virtio v;
	pid_t pid;

	if (group && !write_file(GROUP "/cgroup.procs", "0"))
		return 1;
	if (setpriority(PRIO_PROCESS, 0, NICE))
		return 2;
	v = virtio_create(vm_create(VM_IRQCHIP), VIRTIO_ID_BLOCK, THREADS);
	if (group) {
		groups_of(getpid(), mine, sizeof(mine));
		if (!strstr(mine, "/owner\n"))
			return 3;
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pid = virtio_thread("blk", i);
		if (!pid)
			return 4;
		if (getpriority(PRIO_PROCESS, pid) != NICE)
			return 5;
		if (!group)
			continue;
		groups_of(pid, theirs, sizeof(theirs));
		if (strcmp(mine, theirs))
			return 6;
	}
	virtio_destroy(&v);
	/* The last of it is in /proc for a moment. */
	for (int ms = 0; virtio_thread("blk", 0) || virtio_thread("blk", 1); ms++) {
		if (ms == 10000)
			return 7;
		usleep(1000);
	}
	return 0;
}

static const char *const owner_faults[] = {
	"", "the group cannot be joined", "the priority cannot be changed", "it is in another group itself",
	"a queue has no thread", "a thread has another priority", "a thread is in other groups",
	"a thread is there after its device",
};

static int of_an_owner(bool group)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(owns_threads(group));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(threads_have_their_owners_priority_and_go_with_their_device)
{
	int r;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	r = of_an_owner(false);
	EXPECT_EQ(0, r)
		TH_LOG("%s", r < 0 ? "it was killed" : owner_faults[r]);
}

TEST(threads_are_in_their_owners_cgroups)
{
	int r;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	if (!make_cgroup()) {
		remove_cgroup();
		SKIP(return, "this kernel has no cgroups");
	}
	r = of_an_owner(true);
	EXPECT_EQ(0, r)
		TH_LOG("%s", r < 0 ? "it was killed" : owner_faults[r]);
	EXPECT_TRUE(remove_cgroup())
		TH_LOG("something is left in the group");
}

TEST_HARNESS_MAIN
