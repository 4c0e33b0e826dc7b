// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of the calls to a virtio device fails once, as in fault_test, and so does each that a request needs:
 * the request then fails, or waits, and the device goes on.
 */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "net.h"
#include "fault.h"

#define DOORBELL	0xd0000000UL
#define PORT		0x590
#define HEADER		(VIRTIO_DATA)
#define STATUS		(VIRTIO_DATA + 0x1000)
#define DATA		(VIRTIO_DATA + 0x10000)
#define FILE_SIZE	(1UL << 20)

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

FIXTURE(fault) {
	struct vm *vm;
	struct virtio v, block;
	int file;
	int fail_nth;
	int result;
};

static struct kiln_virtio_block back_end(int file)
{
	return (struct kiln_virtio_block){ .fd = file, .flags = KILN_BLOCK_WRITEBACK };
}

FIXTURE_SETUP(fault)
{
	struct kiln_virtio_block back;
	const char *why;

	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->fail_nth = fault_open(&why);
	if (self->fail_nth < 0)
		SKIP(_exit(255), "%s", why);
	self->vm = vm_create(VM_IRQCHIP);
	self->v = virtio_create(self->vm, VIRTIO_ID_RNG, 1);
	self->file = memfd_create("disk", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->file, FILE_SIZE));
	back = back_end(self->file);
	self->block = virtio_create(self->vm, VIRTIO_ID_BLOCK, 1);
	ASSERT_IOCTL(0, self->block.fd, KILN_VIRTIO_SET_BLOCK, &back);
}

FIXTURE_TEARDOWN(fault)
{
	virtio_destroy(&self->v);
	virtio_destroy(&self->block);
	vm_destroy(self->vm);
	close(self->file);
}

static bool alive(struct virtio *v)
{
	struct ring_piece p = { DATA, 32, true };

	if (virtio_get_status(v) != RUNNING)
		return !*virtio_broken(v);
	ring_add(&v->ring[0], &p, 1);
	return virtio_finish(v, 0, NULL) == 32;
}

#define EXPECT_ALIVE() EXPECT_TRUE(alive(&self->v))

TEST_F_TIMEOUT(fault, create, 280)
{
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	EACH_ALLOCATION_FAILS(virtio_fd(self->vm, VIRTIO_ID_RNG, 1), close(self->result));
	EACH_ALLOCATION_FAILS(virtio_fd(self->vm, VIRTIO_ID_BLOCK, 3), close(self->result));
	EACH_ALLOCATION_FAILS(virtio_fd(self->vm, VIRTIO_ID_CONSOLE, 2), close(self->result));
	EACH_ALLOCATION_FAILS(virtio_fd(self->vm, VIRTIO_ID_BALLOON, 5), close(self->result));
	EACH_ALLOCATION_FAILS(virtio_fd(self->vm, VIRTIO_ID_NET, 5), close(self->result));
}

TEST_F_TIMEOUT(fault, set_owner, 280)
{
	int fd = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 2);

	ASSERT_EQ(0, virtio_start(&self->v, V1));
	EACH_ALLOCATION_FAILS(xioctl(fd, VHOST_SET_OWNER, NULL),
			      (close(fd), fd = virtio_fd(self->vm, VIRTIO_ID_BLOCK, 2)));
}

TEST_F_TIMEOUT(fault, doorbells, 280)
{
	ASSERT_EQ(0, virtio_start(&self->v, V1));
	EACH_ALLOCATION_FAILS(virtio_doorbell(&self->v, 0, DOORBELL, 0),
			      virtio_doorbell(&self->v, 0, DOORBELL, KILN_VIRTIO_DOORBELL_DEASSIGN));
	EACH_ALLOCATION_FAILS(virtio_doorbell(&self->v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO),
			      virtio_doorbell(&self->v, 0, PORT,
					      KILN_VIRTIO_DOORBELL_PIO | KILN_VIRTIO_DOORBELL_DEASSIGN));
}

TEST_F_TIMEOUT(fault, eventfds, 280)
{
	static const unsigned long calls[] = { VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR };
	struct vhost_vring_file f = { .fd = self->v.kick[0] }, none = { .fd = -1 };

	for (int i = 0; i < 3; i++)
		EACH_ALLOCATION_FAILS(xioctl(self->block.fd, calls[i], &f), xioctl(self->block.fd, calls[i], &none));
}

TEST_F_TIMEOUT(fault, back_end, 280)
{
	struct kiln_virtio_block back = back_end(self->file);

	EACH_ALLOCATION_FAILS(xioctl(self->block.fd, KILN_VIRTIO_SET_BLOCK, &back), (void)0);
}

/* Either direction is opened, or neither. */
TEST_F_TIMEOUT(fault, both_ends_of_a_console, 280)
{
	struct virtio console = virtio_create(self->vm, VIRTIO_ID_CONSOLE, 2);
	struct kiln_virtio_console none = { .in = -1, .out = -1 }, pipes, terminal;
	int p[2], master = posix_openpt(O_RDWR | O_NOCTTY), slave;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, unlockpt(master));
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ASSERT_LE(0, slave);
	pipes = (struct kiln_virtio_console){ .in = p[0], .out = p[1] };
	terminal = (struct kiln_virtio_console){ .in = slave, .out = slave };
	EACH_ALLOCATION_FAILS(xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &pipes),
			      xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &none));
	EACH_ALLOCATION_FAILS(xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &terminal),
			      xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &none));
	virtio_destroy(&console);
	close(master);
	close(slave);
	close(p[0]);
	close(p[1]);
}

/* All but DRIVER_OK. */
static struct virtio new_net(struct vm *vm, const struct kiln_virtio_net *back)
{
	uint64_t features = V1 | F(CTRL_VQ);
	struct virtio v = virtio_create(vm, VIRTIO_ID_NET, 3);

	if (xioctl(v.fd, KILN_VIRTIO_SET_NET, back) || xioctl(v.fd, VHOST_SET_FEATURES, &features) ||
	    virtio_status(&v, READY))
		die("the device cannot be set up");
	for (unsigned int i = 0; i < v.n; i++) {
		memset(vm->ram + VIRTIO_RING(i), 0, RING_SIZE(VIRTIO_NUM));
		ring_init(&v.ring[i], (uintptr_t)vm->ram, VIRTIO_RING(i), VIRTIO_NUM, false, false);
		if (virtio_set_ring(&v, i) || virtio_enable(&v, i, 1))
			die("queue %u cannot be set up", i);
	}
	return v;
}

/* Both taps are taken, or none. */
TEST_F_TIMEOUT(fault, taps_of_a_network_device, 280)
{
	struct kiln_virtio_net none = { .nr_pairs = 0 }, both;
	struct virtio net;
	struct wire wire;

	if (!wire_open(&wire, 2))
		SKIP(return, "this kernel has no taps");
	both = net_args(&wire);
	net = virtio_create(self->vm, VIRTIO_ID_NET, 5);
	EACH_ALLOCATION_FAILS(xioctl(net.fd, KILN_VIRTIO_SET_NET, &both),
			      xioctl(net.fd, KILN_VIRTIO_SET_NET, &none));
	virtio_destroy(&net);
	wire_close(&wire);
}

/* Each time with a new device, whose queues have nothing yet. */
TEST_F_TIMEOUT(fault, start_of_a_network_device, 280)
{
	struct kiln_virtio_net back;
	struct virtio net;
	struct wire wire;

	if (!wire_open(&wire, 1))
		SKIP(return, "this kernel has no taps");
	back = net_args(&wire);
	net = new_net(self->vm, &back);
	EACH_ALLOCATION_FAILS(virtio_status(&net, RUNNING),
			      (virtio_destroy(&net), net = new_net(self->vm, &back)));
	virtio_destroy(&net);
	wire_close(&wire);
}

TEST_F_TIMEOUT(fault, start, 280)
{
	ASSERT_EQ(0, virtio_start(&self->block, V1));
	ASSERT_EQ(0, virtio_status(&self->block, 0));
	ASSERT_IOCTL(0, self->block.fd, VHOST_SET_FEATURES, &(uint64_t){ V1 });
	ASSERT_EQ(0, virtio_status(&self->block, READY));
	ASSERT_EQ(0, virtio_set_ring(&self->block, 0));
	ASSERT_EQ(0, virtio_enable(&self->block, 0, 1));
	self->block.ring[0].num = VIRTIO_NUM / 2;
	ASSERT_EQ(0, virtio_set_ring(&self->block, 0));
	/* Each time with a ring of another size, for which requests have to be made. */
	EACH_ALLOCATION_FAILS(virtio_status(&self->block, RUNNING),
			      (xioctl(self->block.fd, VHOST_VDPA_SUSPEND, NULL),
			       self->block.ring[0].num ^= VIRTIO_NUM ^ VIRTIO_NUM / 2,
			       virtio_set_ring(&self->block, 0)));
}

/*
 * ---- faults of whoever serves: of all threads' allocations, one in so many ----
 *
 * While they fail no file can be opened, so those that end it are open before.
 */
static const struct {
	const char *file, *once, *on, *off;
} everywhere[] = {
	{ DEBUGFS "failslab/times", "-1" },
	{ DEBUGFS "failslab/interval", "5" },
	{ DEBUGFS "failslab/probability", "0", "100", "0" },
	{ DEBUGFS "fail_page_alloc/times", "-1" },
	{ DEBUGFS "fail_page_alloc/interval", "3" },
	{ DEBUGFS "fail_page_alloc/probability", "0", "100", "0" },
};

#define N_EVERYWHERE (sizeof(everywhere) / sizeof(*everywhere))

static int switches[N_EVERYWHERE];

static void prepare_faults(void)
{
	for (size_t i = 0; i < N_EVERYWHERE; i++) {
		switches[i] = open(everywhere[i].file, O_WRONLY | O_CLOEXEC);
		if (switches[i] < 0 || write(switches[i], everywhere[i].once, strlen(everywhere[i].once)) < 0)
			die("%s cannot be set", everywhere[i].file);
	}
}

static void faults_everywhere(bool on)
{
	for (size_t i = 0; i < N_EVERYWHERE; i++) {
		const char *value = on ? everywhere[i].on : everywhere[i].off;

		if (value && write(switches[i], value, strlen(value)) < 0)
			die("%s cannot be set", everywhere[i].file);
	}
}

static void put(struct virtio *v, uint32_t type, uint64_t sector)
{
	struct ring_piece p[12] = { { HEADER, 16, false } };
	struct header h = { .type = type, .sector = sector };

	memcpy(v->vm->ram + HEADER, &h, sizeof(h));
	/* So many pieces that they do not fit where few do. */
	for (int i = 0; i < 10; i++)
		p[1 + i] = (struct ring_piece){ DATA + i * 512, 512, type == VIRTIO_BLK_T_IN };
	p[11] = (struct ring_piece){ STATUS, 1, true };
	v->vm->ram[STATUS] = 0xee;
	ring_add(&v->ring[0], p, 12);
}

/* A request ends, whatever happens: with a status, or with the device broken. */
TEST_F_TIMEOUT(fault, requests, 280)
{
	unsigned int ok = 0, errors = 0, broken = 0;
	uint32_t id, len;

	prepare_faults();
	for (int i = 0; i < 300; i++) {
		bool packed = i & 1;
		int ms;

		ASSERT_EQ(0, virtio_status(&self->block, 0));
		ASSERT_EQ(0, virtio_start(&self->block, packed ? V1 | PACKED : V1));
		faults_everywhere(true);
		put(&self->block, i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i);
		virtio_kick(&self->block, 0);
		for (ms = 0; ms < 10000; ms++) {
			if (ring_collect(&self->block.ring[0], &id, &len)) {
				*(self->vm->ram + STATUS) == VIRTIO_BLK_S_OK ? ok++ : errors++;
				break;
			}
			if (virtio_get_status(&self->block) & VIRTIO_CONFIG_S_NEEDS_RESET) {
				broken++;
				break;
			}
			usleep(1000);
		}
		faults_everywhere(false);
		ASSERT_LT(ms, 10000);
	}
	printf("# %u requests done, %u failed, %u broke the device\n", ok, errors, broken);
	fflush(stdout);
	EXPECT_LT(0, errors + broken);
	ASSERT_EQ(0, virtio_status(&self->block, 0));
	ASSERT_EQ(0, virtio_start(&self->block, V1));
	put(&self->block, VIRTIO_BLK_T_IN, 0);
	virtio_finish(&self->block, 0, NULL);
	EXPECT_EQ(VIRTIO_BLK_S_OK, *(self->vm->ram + STATUS));
}

TEST_HARNESS_MAIN
