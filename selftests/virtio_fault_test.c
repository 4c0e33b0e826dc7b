// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of the calls to a virtio device fails once, as in fault_test, and so does each that a request of any
 * device needs: the request then fails, or waits, and the device goes on.
 */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kselftest_harness.h"
#include "balloon.h"
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
	struct kiln_virtio_console sockets;
	int p[2], both[2], master = posix_openpt(O_RDWR | O_NOCTTY), slave;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, both));
	ASSERT_EQ(0, unlockpt(master));
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ASSERT_LE(0, slave);
	pipes = (struct kiln_virtio_console){ .in = p[0], .out = p[1] };
	terminal = (struct kiln_virtio_console){ .in = slave, .out = slave };
	sockets = (struct kiln_virtio_console){ .in = both[0], .out = both[1] };
	EACH_ALLOCATION_FAILS(xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &pipes),
			      xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &none));
	EACH_ALLOCATION_FAILS(xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &terminal),
			      xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &none));
	EACH_ALLOCATION_FAILS(xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &sockets),
			      xioctl(console.fd, KILN_VIRTIO_SET_CONSOLE, &none));
	virtio_destroy(&console);
	close(both[0]);
	close(both[1]);
	close(master);
	close(slave);
	close(p[0]);
	close(p[1]);
}

/* All but DRIVER_OK. */
static struct virtio new_net(struct vm *vm, const struct kiln_virtio_net *back)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_NET, 3);

	if (xioctl(v.fd, KILN_VIRTIO_SET_NET, back))
		die("the device cannot be set up");
	virtio_set_up(&v, V1 | F(CTRL_VQ));
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

/* Calls that say what is behind a device that may have nothing behind it. */
TEST_F_TIMEOUT(fault, back_ends_that_are_none, 280)
{
	struct virtio balloon = virtio_create(self->vm, VIRTIO_ID_BALLOON, QUEUES);
	struct kiln_virtio_balloon size = { .num_pages = 100, .stats_seconds = 1 };
	struct kiln_virtio_hint start = { .command = KILN_BALLOON_HINT_START }, stop = { .command = KILN_BALLOON_HINT_STOP };
	struct kiln_virtio_rng limit = { .bps = 1000 }, none = { 0 };

	ASSERT_EQ(0, virtio_start(&balloon, V1 | STATS_VQ | HINT | REPORTS));
	EACH_ALLOCATION_FAILS(xioctl(balloon.fd, KILN_VIRTIO_SET_BALLOON, &size), size.num_pages++);
	EACH_ALLOCATION_FAILS(xioctl(balloon.fd, KILN_VIRTIO_SET_HINT, &start),
			      xioctl(balloon.fd, KILN_VIRTIO_SET_HINT, &stop));
	EACH_ALLOCATION_FAILS(xioctl(self->v.fd, KILN_VIRTIO_SET_RNG, &limit),
			      xioctl(self->v.fd, KILN_VIRTIO_SET_RNG, &none));
	virtio_destroy(&balloon);
}

/* All but DRIVER_OK. */
static struct virtio new_device(struct vm *vm, uint32_t type, unsigned int n, uint64_t features)
{
	struct virtio v = virtio_create(vm, type, n);

	virtio_set_up(&v, features);
	return v;
}

/* Each time with a new device, too. */
TEST_F_TIMEOUT(fault, start_of_devices_without_a_back_end, 280)
{
	static const struct {
		uint32_t type;
		unsigned int n;
		uint64_t features;
	} devices[] = {
		{ VIRTIO_ID_CONSOLE, 2, V1 },
		{ VIRTIO_ID_BALLOON, QUEUES, V1 | STATS_VQ | HINT | REPORTS },
		{ VIRTIO_ID_RNG, 1, V1 | PACKED },
	};

	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		struct virtio v = new_device(self->vm, devices[i].type, devices[i].n, devices[i].features);

		EACH_ALLOCATION_FAILS(virtio_status(&v, RUNNING),
				      (virtio_destroy(&v),
				       v = new_device(self->vm, devices[i].type, devices[i].n, devices[i].features)));
		virtio_destroy(&v);
	}
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

/*
 * ---- requests of all devices: each allocation, and each copy, of who serves one fails once ----
 *
 * That is a thread of the device's, or a vCPU's that has rung the bell. What a request has is in memory whose page tables
 * are gone when it is looked at, so these are allocated, too.
 */
#define MEMORY_SIZE	(VM_RAM_SIZE - VM_FREE)
#define PAGES		16		/* of the slot that a balloon is about */
#define TEXT		10000		/* bytes that go through a console at once */
#define RX_SIZE		2048		/* of a buffer */
#define RX_FRAME	1400
#define RX_MERGED	1000		/* of a buffer, where a packet takes two */

enum outcome { SERVED, REFUSED, BROKEN, WRONG, OUTCOMES };

static __guest void rings_on_and_on(void)
{
	for (;;) {
		*(volatile uint16_t *)DOORBELL = 0;
		guest_sync(1);
	}
}

/* What a row of the table works with. */
struct subject {
	struct vm *vm;
	struct vcpu *vcpu;
	bool by_guest;		/* the guest rings, else it is the thread's */
	struct virtio v;
	unsigned int queue;
	int how;		/* as the row says */
	int ram, config;	/* what its memory is made of; signalled when it breaks */
	int own_faults;
	int faults, state;	/* of the thread that serves the queue */
	bool faulty;		/* the last request had a fault */
	unsigned int chains;	/* under way */
	unsigned int len;	/* of what was used last */
	uint64_t drops, refused;	/* before the request: packets, and bytes of a balloon */
	uint64_t sent, got;	/* number of the last packet; or bytes */
	uint64_t was_sent;	/* what a console said it had sent before */
	uint8_t seed;
	int file, in[2], out[2];
	struct wire wire;
	uint8_t *slot;
	size_t assembled;
	uint8_t packet[RX_SIZE * 2];
};

FIXTURE(request) {
	struct subject s;
};

FIXTURE_VARIANT(request) {
	uint32_t type;
	unsigned int n, queue;
	const char *thread;
	bool inline_ok;		/* a vCPU's thread may serve it */
	uint64_t features;
	int how;
	/* False: this kernel has no such thing. */
	bool (*open)(struct subject *s);
	/* What comes from the other side. */
	void (*feed)(struct subject *s);
	void (*put)(struct subject *s);
	/* A chain that was used; and is that all? NULL: it is when all were. */
	void (*used)(struct subject *s, uint32_t id, uint32_t len);
	bool (*over)(struct subject *s);
	enum outcome (*look)(struct subject *s, bool broken);
};

static void add(struct subject *s, uint64_t addr, uint32_t len, bool in)
{
	struct ring_piece p = { addr, len, in };

	ring_add(&s->v.ring[s->queue], &p, 1);
	s->chains++;
}

/* ---- a disk ---- */

#define LENGTH	5120

static bool open_disk(struct subject *s)
{
	struct kiln_virtio_block back;

	s->file = memfd_create("disk", MFD_CLOEXEC);
	must(!ftruncate(s->file, FILE_SIZE), "ftruncate");
	back = back_end(s->file);
	must(!xioctl(s->v.fd, KILN_VIRTIO_SET_BLOCK, &back), "KILN_VIRTIO_SET_BLOCK");
	return true;
}

static void fill_with(uint8_t *p, size_t n, uint8_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = seed + i * 7;
}

static bool is_filled_with(const uint8_t *p, size_t n, uint8_t seed)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (uint8_t)(seed + i * 7))
			return false;
	return true;
}

static void put_transfer(struct subject *s)
{
	uint8_t data[LENGTH];

	fill_with(data, LENGTH, ++s->seed);
	if (s->how == VIRTIO_BLK_T_OUT)
		memcpy(s->vm->ram + DATA, data, LENGTH);
	else
		must(pwrite(s->file, data, LENGTH, 0) == LENGTH, "pwrite");
	put(&s->v, s->how, 0);
	s->chains++;
}

static enum outcome look_transfer(struct subject *s, bool broken)
{
	uint8_t data[LENGTH];

	if (s->vm->ram[STATUS] == VIRTIO_BLK_S_IOERR)
		return REFUSED;
	if (s->vm->ram[STATUS] != VIRTIO_BLK_S_OK)
		return broken ? REFUSED : WRONG;
	must(pread(s->file, data, LENGTH, 0) == LENGTH, "pread");
	return is_filled_with(s->how == VIRTIO_BLK_T_OUT ? data : s->vm->ram + DATA, LENGTH, s->seed) ? SERVED : WRONG;
}

/* ---- entropy ---- */

#define ENTROPY	1000

static void put_entropy(struct subject *s)
{
	memset(s->vm->ram + DATA, 0, ENTROPY + 1);
	add(s, DATA, ENTROPY, true);
}

static enum outcome look_entropy(struct subject *s, bool broken)
{
	const uint8_t *p = s->vm->ram + DATA;

	if (s->len > ENTROPY || p[ENTROPY])
		return WRONG;
	/* Of 16 bytes in turn not all are 0. */
	for (size_t i = 0; i + 16 <= s->len; i += 16)
		if (all(p + i, 0, 16))
			return WRONG;
	return s->len == ENTROPY ? SERVED : REFUSED;
}

/* ---- a network ---- */

enum { BURST, LARGE, SEGMENTS };

static bool open_net(struct subject *s)
{
	struct kiln_virtio_net back;

	if (!wire_open(&s->wire, 1))
		return false;
	back = net_args(&s->wire);
	must(!xioctl(s->v.fd, KILN_VIRTIO_SET_NET, &back), "KILN_VIRTIO_SET_NET");
	return true;
}

/* Packet number @nr on its way out. */
static size_t packet_out(int how, uint64_t nr, uint8_t *frame, struct hdr *h)
{
	*h = (struct hdr) { 0 };
	if (how == SEGMENTS) {
		make_tcp(frame, other_mac, 2000, 1000, nr, h);
		return 54 + 2000;
	}
	make_frame(frame, other_mac, how == LARGE ? 20000 : 200, nr);
	return how == LARGE ? 20000 : 200;
}

static void put_out(struct subject *s)
{
	uint8_t frame[20000];
	struct hdr h;

	for (int i = 0; i < (s->how == BURST ? 8 : 1); i++) {
		size_t len = packet_out(s->how, ++s->sent, frame, &h);
		uint64_t at = TX_DATA + i * 512;

		memcpy(s->vm->ram + at, &h, HDR);
		memcpy(s->vm->ram + at + HDR, frame, len);
		add(s, at, HDR + len, false);
	}
}

/* Those that arrive are whole and in their order; without a fault all do. */
static enum outcome look_out(struct subject *s, bool broken)
{
	static uint8_t frame[20000], seen[70000];
	uint64_t before = s->got, lost = 0;
	struct hdr h;
	size_t len, n;

	while (s->got < s->sent && (len = wire_recv(&s->wire, NULL, seen, sizeof(seen), s->faulty ? 0 : 5000))) {
		for (;;) {
			n = packet_out(s->how, ++s->got, frame, &h);
			if (n == len && !memcmp(frame, seen, n))
				break;
			if (s->got == s->sent)
				return WRONG;
			lost++;
		}
	}
	lost += s->sent - s->got;
	s->got = s->sent;
	return lost ? (s->sent - before == lost || s->faulty ? REFUSED : WRONG) : SERVED;
}

static void feed_in(struct subject *s)
{
	uint8_t frame[RX_FRAME];

	make_frame(frame, guest_mac, RX_FRAME, ++s->sent);
	wire_send(&s->wire, NULL, frame, RX_FRAME);
}

static void put_in(struct subject *s)
{
	struct ring *r = &s->v.ring[RX];

	for (int i = 0; i < 4; i++)
		add(s, RX_DATA + r->next * RX_SIZE, s->how, true);
}

/* Packets may be missing, those that come are whole. */
static void used_in(struct subject *s, uint32_t id, uint32_t len)
{
	uint8_t frame[RX_FRAME];

	if (len > s->how || s->assembled + len > sizeof(s->packet))
		die("%u bytes in a buffer of %d", len, s->how);
	memcpy(s->packet + s->assembled, s->vm->ram + RX_DATA + id * RX_SIZE, len);
	s->assembled += len;
	if (s->assembled < HDR + RX_FRAME)
		return;
	do {
		if (s->got == s->sent)
			die("a packet of %zu bytes that was not sent: %02x %02x ... %02x %02x %02x", s->assembled, s->packet[HDR],
			    s->packet[HDR + 1], s->packet[HDR + 12], s->packet[HDR + 13], s->packet[HDR + 14]);
		make_frame(frame, guest_mac, RX_FRAME, ++s->got);
	} while (s->assembled != HDR + RX_FRAME || memcmp(s->packet + HDR, frame, RX_FRAME));
	s->assembled = 0;
}

static bool over_in(struct subject *s)
{
	return s->got == s->sent || drops(s->vm) != s->drops;
}

/* One that was dropped is counted, and one that was not waits for the device to work again. */
static enum outcome look_in(struct subject *s, bool broken)
{
	uint64_t lost = drops(s->vm) - s->drops;

	s->assembled = 0;
	if (s->got == s->sent)
		return lost ? WRONG : SERVED;
	if (s->got + lost > s->sent || (!broken && s->got + lost < s->sent))
		return WRONG;
	s->got += lost;
	return REFUSED;
}

static void put_promiscuous(struct subject *s)
{
	put_command(&s->v, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &(uint8_t){ 1 }, 1);
	s->chains++;
}

/* Two addresses, and no groups. */
static void put_table(struct subject *s)
{
	static const uint8_t table[] = { 2, 0, 0, 0, 0x52, 0x54, 0, 1, 2, 3, 0x52, 0x54, 0, 9, 9, 9, 0, 0, 0, 0 };

	put_command(&s->v, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table));
	s->chains++;
}

static enum outcome look_command(struct subject *s, bool broken)
{
	switch (s->vm->ram[CTRL_DATA + 0x8000]) {
	case VIRTIO_NET_OK:
		return SERVED;
	case VIRTIO_NET_ERR:
		return REFUSED;
	default:
		return broken ? REFUSED : WRONG;
	}
}

/* ---- a console ---- */

static struct kiln_virtio_console_counts console_counts(struct subject *s)
{
	struct kiln_virtio_console_counts c;

	must(!xioctl(s->v.fd, KILN_VIRTIO_GET_CONSOLE, &c), "KILN_VIRTIO_GET_CONSOLE");
	return c;
}

static bool open_console(struct subject *s)
{
	struct kiln_virtio_console back;

	must(!pipe(s->in) && !pipe(s->out) && !fcntl(s->out[0], F_SETFL, O_NONBLOCK), "pipe");
	back = (struct kiln_virtio_console){ .in = s->in[0], .out = s->out[1] };
	must(!xioctl(s->v.fd, KILN_VIRTIO_SET_CONSOLE, &back), "KILN_VIRTIO_SET_CONSOLE");
	return true;
}

/* A pipe that has no pages yet. */
static void renew_pipe(struct subject *s)
{
	close(s->in[0]);
	close(s->in[1]);
	close(s->out[0]);
	close(s->out[1]);
	open_console(s);
}

static void put_text(struct subject *s)
{
	fill_with(s->vm->ram + DATA, TEXT, ++s->seed);
	add(s, DATA, TEXT, false);
}

/* What arrives is the beginning, and the rest was thrown away. */
static enum outcome look_text(struct subject *s, bool broken)
{
	struct kiln_virtio_console_counts c = console_counts(s);
	uint8_t text[TEXT + 1];
	ssize_t r, n = 0;

	while ((r = read(s->out[0], text + n, sizeof(text) - n)) > 0)
		n += r;
	if (!is_filled_with(text, n, s->seed) || c.sent != s->was_sent + n)
		return WRONG;
	s->was_sent = c.sent;
	s->sent += TEXT;
	if (!broken && c.sent + c.dropped != s->sent)
		return WRONG;
	/* What was not begun is not counted, for it may come again. */
	s->sent = c.sent + c.dropped;
	return n == TEXT ? SERVED : REFUSED;
}

static void feed_text(struct subject *s)
{
	uint8_t text[TEXT];

	fill_with(text, TEXT, s->sent * 7);
	must(write(s->in[1], text, TEXT) == TEXT, "write");
	s->sent += TEXT;
}

static void put_room(struct subject *s)
{
	for (int i = 0; i < 4; i++)
		add(s, DATA + (s->v.ring[0].next % 16) * 0x4000, 0x4000, true);
}

/* Not a byte is lost. */
static void used_room(struct subject *s, uint32_t id, uint32_t len)
{
	if (len > s->sent - s->got || !is_filled_with(s->vm->ram + DATA + (id % 16) * 0x4000, len, s->got * 7))
		die("%u bytes of input, of which %lu were there before, are others", len, s->got);
	s->got += len;
}

static bool over_room(struct subject *s)
{
	return s->got == s->sent;
}

static enum outcome look_room(struct subject *s, bool broken)
{
	return s->got == s->sent ? SERVED : REFUSED;
}

/* ---- a balloon ---- */

static struct kiln_virtio_balloon balloon_counts(struct subject *s)
{
	struct kiln_virtio_balloon b;

	must(!xioctl(s->v.fd, KILN_VIRTIO_GET_BALLOON, &b), "KILN_VIRTIO_GET_BALLOON");
	return b;
}

static struct kiln_virtio_hint hint_state(struct subject *s)
{
	struct kiln_virtio_hint h;

	must(!xioctl(s->v.fd, KILN_VIRTIO_GET_HINT, &h), "KILN_VIRTIO_GET_HINT");
	return h;
}

static bool open_slot(struct subject *s, int flags, int fd)
{
	s->slot = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	must(s->slot != MAP_FAILED && !vm_set_slot(s->vm, 1, 0, GPA, PAGES * PAGE, s->slot), "a slot");
	return true;
}

static bool open_private(struct subject *s)
{
	return open_slot(s, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static bool open_shared(struct subject *s)
{
	s->file = memfd_create("slot", MFD_CLOEXEC);
	must(!ftruncate(s->file, PAGES * PAGE), "ftruncate");
	return open_slot(s, MAP_SHARED, s->file);
}

static void put_pfns(struct subject *s)
{
	uint32_t *pfns = (void *)(s->vm->ram + DATA);

	memset(s->slot, FULL, PAGES * PAGE);
	for (int i = 0; i < PAGES; i++)
		pfns[i] = GPA / PAGE + i;
	s->refused = balloon_counts(s).refused;
	add(s, DATA, PAGES * 4, false);
}

static void put_report(struct subject *s)
{
	memset(s->slot, FULL, PAGES * PAGE);
	s->refused = balloon_counts(s).refused;
	add(s, GPA, PAGES * PAGE, true);
}

/* A page is as it was or gone, and those that were refused are counted. */
static enum outcome look_pages(struct subject *s, bool broken)
{
	unsigned int left = resident(s->slot, PAGES);

	for (int i = 0; i < PAGES; i++)
		if (!all(s->slot + i * PAGE, s->slot[i * PAGE] ? FULL : 0, PAGE))
			return WRONG;
	if (!broken && left * PAGE != balloon_counts(s).refused - s->refused)
		return WRONG;
	return left ? REFUSED : SERVED;
}

static enum outcome look_deflated(struct subject *s, bool broken)
{
	return broken ? REFUSED : SERVED;
}

/* The second half is empty. */
static void put_round(struct subject *s)
{
	struct kiln_virtio_hint start = { .command = KILN_BALLOON_HINT_START };
	uint32_t *ids = (void *)(s->vm->ram + DATA);

	memset(s->slot, FULL, PAGES * PAGE / 2);
	memset(s->slot + PAGES * PAGE / 2, 0, PAGES * PAGE / 2);
	must(!xioctl(s->v.fd, KILN_VIRTIO_SET_HINT, &start), "KILN_VIRTIO_SET_HINT");
	ids[0] = hint_state(s).id;
	ids[1] = VIRTIO_BALLOON_CMD_ID_STOP;
	add(s, DATA, 4, false);
	add(s, GPA, PAGES * PAGE, true);
	add(s, DATA + 4, 4, false);
}

static bool over_round(struct subject *s)
{
	return !s->chains && hint_state(s).state == KILN_BALLOON_HINT_FINISHED;
}

/* Whatever went back, nobody finds anything else than there was. */
static enum outcome look_round(struct subject *s, bool broken)
{
	struct kiln_virtio_hint h = hint_state(s);

	if (h.returned > PAGES * PAGE / 2 ||
	    PAGES - resident(s->slot, PAGES) != h.returned / PAGE || !all(s->slot, FULL, PAGES * PAGE / 2) ||
	    !all(s->slot + PAGES * PAGE / 2, 0, PAGES * PAGE / 2))
		return WRONG;
	return broken ? REFUSED : h.hinted == PAGES * PAGE ? SERVED : WRONG;
}

/* ---- the table ---- */

#define BLOCK	.type = VIRTIO_ID_BLOCK, .n = 1, .thread = "blk", .features = V1, .open = open_disk, \
		.put = put_transfer, .look = look_transfer
FIXTURE_VARIANT_ADD(request, read) { BLOCK, .how = VIRTIO_BLK_T_IN };
FIXTURE_VARIANT_ADD(request, write) { BLOCK, .how = VIRTIO_BLK_T_OUT };

FIXTURE_VARIANT_ADD(request, entropy) {
	.type = VIRTIO_ID_RNG, .n = 1, .thread = "rng", .inline_ok = true, .features = V1, .put = put_entropy,
	.look = look_entropy
};

#define NET	.type = VIRTIO_ID_NET, .n = 3, .thread = "net", .open = open_net
#define NET_OUT	NET, .inline_ok = true, .features = V1 | F(CTRL_VQ), .queue = TX, .put = put_out, .look = look_out
#define NET_IN	NET, .inline_ok = true, .queue = RX, .feed = feed_in, .put = put_in, .used = used_in, .over = over_in, \
		.look = look_in
#define NET_CTRL NET, .features = V1 | F(CTRL_VQ) | F(CTRL_RX), .queue = 2, .look = look_command
FIXTURE_VARIANT_ADD(request, packets_out) { NET_OUT, .how = BURST };
FIXTURE_VARIANT_ADD(request, large_packet_out) { NET_OUT, .how = LARGE };
FIXTURE_VARIANT_ADD(request, segments_out) { NET_OUT, .how = SEGMENTS };
FIXTURE_VARIANT_ADD(request, packet_in) { NET_IN, .features = V1 | F(CTRL_VQ), .how = RX_SIZE };
FIXTURE_VARIANT_ADD(request, packet_in_merged) { NET_IN, .features = V1 | F(CTRL_VQ) | F(MRG_RXBUF), .how = RX_MERGED };
FIXTURE_VARIANT_ADD(request, promiscuous) { NET_CTRL, .put = put_promiscuous };
FIXTURE_VARIANT_ADD(request, table_of_addresses) { NET_CTRL, .put = put_table };

#define CONSOLE	.type = VIRTIO_ID_CONSOLE, .n = 2, .thread = "con", .features = V1, .open = open_console
FIXTURE_VARIANT_ADD(request, text_out) { CONSOLE, .queue = 1, .feed = renew_pipe, .put = put_text, .look = look_text };
FIXTURE_VARIANT_ADD(request, text_in) {
	CONSOLE, .queue = 0, .feed = feed_text, .put = put_room, .used = used_room, .over = over_room, .look = look_room
};

#define BALLOON	.type = VIRTIO_ID_BALLOON, .n = QUEUES, .thread = "bal", .features = V1 | STATS_VQ | HINT | REPORTS
FIXTURE_VARIANT_ADD(request, inflate) {
	BALLOON, .queue = INFLATE, .open = open_private, .put = put_pfns, .look = look_pages
};
FIXTURE_VARIANT_ADD(request, inflate_with_a_file) {
	BALLOON, .queue = INFLATE, .open = open_shared, .put = put_pfns, .look = look_pages
};
FIXTURE_VARIANT_ADD(request, deflate) {
	BALLOON, .inline_ok = true, .queue = DEFLATE, .open = open_private, .put = put_pfns, .look = look_deflated
};
FIXTURE_VARIANT_ADD(request, report) {
	BALLOON, .queue = REPORTING, .open = open_private, .put = put_report, .look = look_pages
};
FIXTURE_VARIANT_ADD(request, hints) {
	BALLOON, .queue = HINTS, .open = open_private, .put = put_round, .over = over_round, .look = look_round
};

/* ---- and how it is gone through ---- */

/* Where memory has no page tables; it lies alone in those that it had. */
static void make_cold(struct subject *s)
{
	must(mmap(s->vm->ram + VM_FREE, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->ram, VM_FREE) !=
	     MAP_FAILED, "mmap");
}

/* A VM as others, but for what its memory is made of and where that is. */
static struct vm *vm_on_a_file(int *ram)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	size_t huge_page = 2UL << 20;
	uintptr_t at = (uintptr_t)mmap(NULL, VM_RAM_SIZE + huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*ram = memfd_create("ram", MFD_CLOEXEC);
	must(pwrite(*ram, vm->ram, VM_RAM_SIZE, 0) == VM_RAM_SIZE, "RAM");
	must(!vm_set_slot(vm, 0, 0, 0, 0, vm->ram) && !munmap(vm->ram, VM_RAM_SIZE), "RAM");
	at = (at + huge_page - 1) & -huge_page;
	vm->ram = mmap((void *)at, VM_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *ram, 0);
	must(vm->ram != MAP_FAILED && !vm_set_slot(vm, 0, 0, 0, VM_RAM_SIZE, vm->ram), "RAM");
	return vm;
}

static int of_thread(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, flags | O_CLOEXEC);
	must(fd >= 0, path);
	return fd;
}

FIXTURE_SETUP(request)
{
	struct subject *s = &self->s;
	const char *why;
	pid_t pid;

	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	s->own_faults = fault_open(&why);
	if (s->own_faults < 0)
		SKIP(_exit(255), "%s", why);
	s->file = s->in[0] = s->in[1] = s->out[0] = s->out[1] = -1;
	s->queue = variant->queue;
	s->how = variant->how;
	s->vm = vm_on_a_file(&s->ram);
	s->vcpu = vm_add_vcpu(s->vm);
	vcpu_long_mode(s->vcpu, rings_on_and_on);
	s->v = virtio_create(s->vm, variant->type, variant->n);
	s->config = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_IOCTL(0, s->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &s->config);
	pid = virtio_thread(variant->thread, s->queue);
	ASSERT_LT(0, pid);
	s->faults = of_thread(pid, "fail-nth", O_RDWR);
	s->state = of_thread(pid, "wchan", O_RDONLY);
	if (variant->open && !variant->open(s))
		SKIP(_exit(255), "this kernel has no taps");
}

FIXTURE_TEARDOWN(request)
{
	struct subject *s = &self->s;

	virtio_destroy(&s->v);
	vm_destroy(s->vm);
}

/* Has the thread done all that there was? It is nowhere else then. */
static bool is_idle(struct subject *s)
{
	char text[64] = "";

	must(pread(s->state, text, sizeof(text) - 1, 0) > 0, "wchan");
	return !strcmp(text, "worker_main");
}

static void wait_idle(struct subject *s)
{
	while (!is_idle(s))
		sched_yield();
}

static void wait_until_over(struct subject *s, const FIXTURE_VARIANT(request) *w)
{
	struct pollfd p[2] = { { .fd = s->v.call[s->queue], .events = POLLIN }, { .fd = s->config, .events = POLLIN } };
	uint32_t id, len;
	uint64_t n;

	for (int i = 0; i < 200; i++) {
		/* First of all: to look warms what the thread is to find cold. A drop tells nobody. */
		if (poll(p, 2, 100) > 0)
			for (int j = 0; j < 2; j++)
				must(read(p[j].fd, &n, 8) == 8 || errno == EAGAIN, "read");
		while (ring_collect(&s->v.ring[s->queue], &id, &len)) {
			s->chains--;
			s->len = len;
			if (w->used)
				w->used(s, id, len);
		}
		if (*virtio_broken(&s->v) || (w->over ? w->over(s) : !s->chains))
			return;
	}
	die("a request was neither answered nor dropped, and the device is whole");
}

/* A device that has begun, and has nothing to do. */
static void begin(struct subject *s, uint64_t features)
{
	must(!virtio_status(&s->v, 0) && !virtio_start(&s->v, features), "a start");
	must(!virtio_doorbell(&s->v, s->queue, DOORBELL, 0), "a doorbell");
	s->chains = 0;
	wait_idle(s);
}

/* Runs until the bell was rung. The first of it, which may fail, has the fault. */
static void ring_by_guest(struct subject *s, int nth)
{
	const char *what;
	int r;

	arm(s->own_faults, nth);
	r = vcpu_run(s->vcpu);
	s->faulty = was_injected(s->own_faults) && nth;
	what = r < 0 && s->faulty ? vcpu_outcome(s->vcpu) : vcpu_describe(s->vcpu);
	if (strcmp(what, "sync 1"))
		die("the guest came out with %s", what);
}

/* One request, whose allocation number @nth fails if it is not 0. */
static enum outcome request(struct subject *s, const FIXTURE_VARIANT(request) *w, int nth)
{
	enum outcome outcome;
	bool broken;

	s->drops = drops(s->vm);
	s->len = 0;
	if (w->feed)
		w->feed(s);
	wait_idle(s);
	w->put(s);
	make_cold(s);
	if (s->by_guest) {
		ring_by_guest(s, nth);
	} else {
		arm(s->faults, nth);
		virtio_kick(&s->v, s->queue);
	}
	wait_until_over(s, w);
	wait_idle(s);
	if (!s->by_guest)
		s->faulty = was_injected(s->faults) && nth;
	broken = *virtio_broken(&s->v);
	outcome = w->look(s, broken);
	return broken && outcome != WRONG ? BROKEN : outcome;
}

TEST_F_TIMEOUT(request, ends_whatever_fails_and_the_next_one_is_served, 280)
{
	struct subject *s = &self->s;

	for (int i = 0; i < (variant->inline_ok ? 4 : 2); i++) {
		uint64_t features = variant->features | (i & 1 ? PACKED : 0);
		unsigned int n[OUTCOMES] = { 0 }, faults = 0;

		s->by_guest = i & 2;
		begin(s, features);
		ASSERT_EQ(SERVED, request(s, variant, 0));
		for (;;) {
			enum outcome outcome;

			begin(s, features);
			outcome = request(s, variant, faults + 1);
			ASSERT_NE(WRONG, outcome)
				TH_LOG("allocation %u", faults + 1);
			if (!s->faulty)
				break;
			ASSERT_GT(MOST_FAULTS, ++faults);
			n[outcome]++;
			if (outcome == BROKEN)
				begin(s, features);
			ASSERT_EQ(SERVED, request(s, variant, 0))
				TH_LOG("after allocation %u failed, which broke the device: %d", faults,
				       outcome == BROKEN);
		}
		EXPECT_LT(0, faults);
		printf("# %s, by %s: %u faults: %u requests served, %u refused or dropped, %u broke the device\n",
		       i & 1 ? "packed" : "split", s->by_guest ? "a vCPU's thread" : "its own", faults, n[SERVED],
		       n[REFUSED], n[BROKEN]);
		fflush(stdout);
	}
}

TEST_HARNESS_MAIN
