// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console (virtio 1.2 §5.3), served by the kernel, on everything a console can be at the other end: what the guest
 * writes arrives, what arrives is read, nobody's flags change, and whoever does not read holds up nobody but the guest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "virtio.h"

#define INPUT	0
#define OUTPUT	1
#define DATA	VIRTIO_DATA
#define LARGE	0x100000U	/* more than any pipe, socket or terminal takes at once */
#define VECTOR	0x55

#define SIZE_AND_URGENT (BIT64(VIRTIO_CONSOLE_F_SIZE) | BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE))

enum kind { PIPE, SOCKET, SLAVE, MASTER, OWN_FIFO };

/* The two ends of a line: the console's and ours. */
struct line {
	int theirs, ours;
};

FIXTURE(console) {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	struct kiln_virtio_console back;
	struct line in, out;
};

FIXTURE_VARIANT(console) {
	uint64_t features;
	enum kind kind;
	int flags;		/* of the console's descriptors: O_NONBLOCK or 0 */
};

FIXTURE_VARIANT_ADD(console, pipe) { .features = V1, .kind = PIPE };
FIXTURE_VARIANT_ADD(console, packed_pipe_without_waiting) {
	.features = V1 | PACKED | EVENT_IDX, .kind = PIPE, .flags = O_NONBLOCK
};
FIXTURE_VARIANT_ADD(console, socket) { .features = V1 | EVENT_IDX | INDIRECT, .kind = SOCKET };
FIXTURE_VARIANT_ADD(console, terminal) { .features = V1, .kind = SLAVE };
FIXTURE_VARIANT_ADD(console, pty_master) { .features = V1 | PACKED, .kind = MASTER, .flags = O_NONBLOCK };
FIXTURE_VARIANT_ADD(console, fifo) { .features = V1 | EVENT_IDX, .kind = OWN_FIFO };

static void must(bool ok, const char *what)
{
	if (!ok)
		die("%s: %s", what, strerror(errno));
}

static void make_raw(int fd)
{
	struct termios t;

	must(!tcgetattr(fd, &t), "tcgetattr");
	cfmakeraw(&t);
	must(!tcsetattr(fd, TCSANOW, &t), "tcsetattr");
}

/* Both sides of a pty in raw mode. */
static void open_pty(int *master, int *slave)
{
	*master = posix_openpt(O_RDWR | O_NOCTTY);
	must(*master >= 0 && !grantpt(*master) && !unlockpt(*master), "pty");
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	must(*slave >= 0, "slave");
	make_raw(*slave);
}

/* Two FIFOs, or pipes: ours is the other end of theirs. */
static void open_fifo(const char *name, bool input, struct line *line)
{
	int r, w;

	unlink(name);
	must(!mkfifo(name, 0600), "mkfifo");
	r = open(name, O_RDONLY | O_NONBLOCK);
	w = open(name, O_WRONLY);
	must(r >= 0 && w >= 0, "fifo");
	fcntl(r, F_SETFL, 0);
	line->theirs = input ? r : w;
	line->ours = input ? w : r;
	unlink(name);
}

static void open_lines(enum kind kind, struct line *in, struct line *out)
{
	int p[2];

	switch (kind) {
	case PIPE:
		must(!pipe(p), "pipe");
		*in = (struct line){ p[0], p[1] };
		must(!pipe(p), "pipe");
		*out = (struct line){ p[1], p[0] };
		return;
	case OWN_FIFO:
		open_fifo("/tmp/console-in", true, in);
		open_fifo("/tmp/console-out", false, out);
		return;
	case SOCKET:
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, p), "socketpair");
		break;
	case SLAVE:
		open_pty(&p[1], &p[0]);
		break;
	case MASTER:
		open_pty(&p[0], &p[1]);
		break;
	}
	*in = *out = (struct line){ p[0], p[1] };
}

static int set(struct virtio *v, const struct kiln_virtio_console *back)
{
	return xioctl(v->fd, KILN_VIRTIO_SET_CONSOLE, back);
}

static struct kiln_virtio_console_counts counts(struct virtio *v)
{
	struct kiln_virtio_console_counts c;

	if (xioctl(v->fd, KILN_VIRTIO_GET_CONSOLE, &c))
		die("KILN_VIRTIO_GET_CONSOLE");
	return c;
}

static void close_line(struct line *line)
{
	if (line->theirs >= 0)
		close(line->theirs);
	if (line->ours >= 0)
		close(line->ours);
	line->theirs = line->ours = -1;
}

FIXTURE_SETUP(console)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, NULL);
	self->vm = self->vcpu->vm;
	self->v = virtio_create(self->vm, VIRTIO_ID_CONSOLE, 2);
	open_lines(variant->kind, &self->in, &self->out);
	fcntl(self->in.theirs, F_SETFL, variant->flags);
	fcntl(self->out.theirs, F_SETFL, variant->flags);
	self->back = (struct kiln_virtio_console){ .in = self->in.theirs, .out = self->out.theirs };
	if (set(&self->v, &self->back))
		die("KILN_VIRTIO_SET_CONSOLE");
}

FIXTURE_TEARDOWN(console)
{
	virtio_destroy(&self->v);
	close_line(&self->in);
	if (variant->kind == PIPE || variant->kind == OWN_FIFO)
		close_line(&self->out);
	vm_destroy(self->vm);
}

/* What the guest writes: bytes that tell where they are. */
static uint8_t byte_at(uint32_t i)
{
	return (i * 7 + (i >> 8) * 3) & 0xff;
}

static void fill(struct vm *vm, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vm->ram[DATA + i] = byte_at(i);
}

static void put(struct virtio *v, uint64_t addr, uint32_t len)
{
	struct ring_piece p = { addr, len, false };

	ring_add(&v->ring[OUTPUT], &p, 1);
}

static void offer(struct virtio *v, uint64_t addr, uint32_t len)
{
	struct ring_piece p = { addr, len, true };

	ring_add(&v->ring[INPUT], &p, 1);
	virtio_kick(v, INPUT);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* Read @n bytes of what the guest wrote, from @from on: how many were right before time was over. */
static uint32_t take(int fd, uint32_t from, uint32_t n)
{
	static uint8_t buf[4096];
	uint32_t done = 0;

	while (done < n && readable(fd, 10000)) {
		ssize_t r = read(fd, buf, n - done < sizeof(buf) ? n - done : sizeof(buf));

		if (r <= 0)
			break;
		for (ssize_t i = 0; i < r; i++)
			if (buf[i] != byte_at(from + done + i))
				return done + i;
		done += r;
	}
	return done;
}

static bool collected(struct virtio *v, unsigned int i, uint32_t *len, int ms)
{
	uint32_t id;

	for (; ms >= 0; ms--) {
		if (ring_collect(&v->ring[i], &id, len))
			return true;
		usleep(1000);
	}
	return false;
}

static bool breaks(struct virtio *v)
{
	for (int i = 0; i < 10000 && !*virtio_broken(v); i++)
		usleep(1000);
	return *virtio_broken(v);
}

/* ---- output ---- */

TEST_F(console, what_the_guest_writes_arrives)
{
	struct ring_piece p[3] = { { DATA, 100, false }, { DATA + 100, 1, false }, { DATA + 101, 899, false } };

	fill(self->vm, 1000);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 2 * VIRTIO_NUM; i++) {
		ring_add(&self->v.ring[OUTPUT], p, 3);
		ASSERT_EQ(0, virtio_finish(&self->v, OUTPUT, NULL));
		ASSERT_EQ(1000, take(self->out.ours, 0, 1000));
	}
	EXPECT_EQ(2 * VIRTIO_NUM * 1000, counts(&self->v).sent);
	EXPECT_EQ(0, counts(&self->v).dropped);
}

/* The peer reads late: the chain is given back when its last byte is written, and no byte is lost or comes twice. */
TEST_F(console, who_reads_late_holds_the_guest_back_and_loses_nothing)
{
	uint32_t len, first;

	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	EXPECT_FALSE(collected(&self->v, OUTPUT, &len, 200));
	/* Stopped in the middle of it, it goes on there. */
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	first = counts(&self->v).sent;
	EXPECT_LT(0, first);
	EXPECT_GT(LARGE, first);
	EXPECT_EQ(first, take(self->out.ours, 0, first));
	EXPECT_FALSE(readable(self->out.ours, 50));
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	EXPECT_EQ(LARGE - first, take(self->out.ours, first, LARGE - first));
	EXPECT_TRUE(collected(&self->v, OUTPUT, &len, 10000));
	EXPECT_EQ(LARGE, counts(&self->v).sent);
	EXPECT_EQ(0, counts(&self->v).dropped);
}

TEST_F(console, a_reset_forgets_what_was_written_in_part)
{
	uint32_t len, first;

	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	EXPECT_FALSE(collected(&self->v, OUTPUT, &len, 200));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	first = counts(&self->v).sent;
	EXPECT_EQ(first, take(self->out.ours, 0, first));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, 500);
	virtio_finish(&self->v, OUTPUT, NULL);
	EXPECT_EQ(500, take(self->out.ours, 0, 500));
}

/* The same ring begins anew, where it was before it had taken the chain of which a part is written. */
TEST_F(console, so_does_a_reset_of_the_queue)
{
	struct ring *ring = &self->v.ring[OUTPUT];
	uint32_t len, first;

	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | BIT64(VIRTIO_F_RING_RESET)));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	EXPECT_FALSE(collected(&self->v, OUTPUT, &len, 200));
	ASSERT_EQ(0, virtio_enable(&self->v, OUTPUT, 0));
	first = counts(&self->v).sent;
	EXPECT_LT(0, first);
	EXPECT_EQ(first, take(self->out.ours, 0, first));
	memset(self->vm->ram + VIRTIO_RING(OUTPUT), 0, RING_SIZE(VIRTIO_NUM));
	ring_init(ring, ring->base, ring->desc, VIRTIO_NUM, ring->packed, ring->event_idx);
	ASSERT_EQ(0, virtio_set_ring(&self->v, OUTPUT));
	ASSERT_EQ(0, virtio_enable(&self->v, OUTPUT, 1));
	put(&self->v, DATA, 10);
	virtio_finish(&self->v, OUTPUT, NULL);
	EXPECT_EQ(first + 10, counts(&self->v).sent);
	EXPECT_EQ(10, take(self->out.ours, 0, 10));
}

TEST_F(console, a_queue_that_was_disabled_goes_on_where_it_was)
{
	uint32_t len, first;

	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	EXPECT_FALSE(collected(&self->v, OUTPUT, &len, 200));
	ASSERT_EQ(0, virtio_enable(&self->v, OUTPUT, 0));
	first = counts(&self->v).sent;
	EXPECT_EQ(first, take(self->out.ours, 0, first));
	ASSERT_EQ(0, virtio_enable(&self->v, OUTPUT, 1));
	EXPECT_EQ(LARGE - first, take(self->out.ours, first, LARGE - first));
	EXPECT_TRUE(collected(&self->v, OUTPUT, &len, 10000));
	EXPECT_EQ(LARGE, counts(&self->v).sent);
}

TEST_F(console, nobody_there_means_thrown_away_and_counted)
{
	uint32_t len;

	/* The slave's side is also ours: then there is always somebody. */
	if (variant->kind == MASTER)
		SKIP(return, "a pty whose slave is closed takes output until it is full");
	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	EXPECT_FALSE(collected(&self->v, OUTPUT, &len, 100));
	close(self->out.ours);
	if (self->in.ours == self->out.ours)
		self->in.ours = -1;
	self->out.ours = -1;
	EXPECT_TRUE(collected(&self->v, OUTPUT, &len, 10000));
	put(&self->v, DATA, 10);
	EXPECT_EQ(0, virtio_finish(&self->v, OUTPUT, NULL));
	EXPECT_EQ(LARGE + 10, counts(&self->v).sent + counts(&self->v).dropped);
	EXPECT_LE(10, counts(&self->v).dropped);
}

TEST_F(console, without_a_back_end_output_is_thrown_away)
{
	struct kiln_virtio_console none = { .in = -1, .out = -1 };

	ASSERT_EQ(0, set(&self->v, &none));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, 10);
	EXPECT_EQ(0, virtio_finish(&self->v, OUTPUT, NULL));
	EXPECT_EQ(10, counts(&self->v).dropped);
	EXPECT_EQ(0, counts(&self->v).sent);
}

/* Full, and nobody reads: it is stopped, changed and closed all the same, at once. */
TEST_F(console, a_full_line_holds_up_nobody_else)
{
	struct kiln_virtio_console none = { .in = -1, .out = -1 };
	struct timespec start, end;
	uint32_t len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	for (int i = 0; i < 8; i++)
		put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	usleep(100000);
	clock_gettime(CLOCK_MONOTONIC, &start);
	/* Slots that come and go wait for what is in flight: nothing. */
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0x40000000, 0x1000, self->vm->ram));
	EXPECT_EQ(0, vm_set_slot(self->vm, 5, 0, 0x40000000, 0, self->vm->ram));
	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SUSPEND, NULL);
	ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
	usleep(10000);
	ASSERT_EQ(0, set(&self->v, &none));
	for (int i = 0; i < 8; i++)
		EXPECT_TRUE(collected(&self->v, OUTPUT, &len, 10000));
	clock_gettime(CLOCK_MONOTONIC, &end);
	EXPECT_GT(10, end.tv_sec - start.tv_sec);
	EXPECT_EQ(8 * LARGE, counts(&self->v).sent + counts(&self->v).dropped);
}

TEST_F(console, nobodys_flags_change)
{
	int before = fcntl(self->out.theirs, F_GETFL), in_before = fcntl(self->in.theirs, F_GETFL);

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, 10);
	offer(&self->v, DATA + 0x1000, 10);
	virtio_finish(&self->v, OUTPUT, NULL);
	EXPECT_EQ(before, fcntl(self->out.theirs, F_GETFL));
	EXPECT_EQ(in_before, fcntl(self->in.theirs, F_GETFL));
	EXPECT_EQ(variant->flags, before & O_NONBLOCK);
}

/* ---- input ---- */

TEST_F(console, what_arrives_is_read)
{
	struct ring_piece p[2] = { { DATA, 3, true }, { DATA + 0x100, 61, true } };
	uint32_t len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	/* Both before and after there is a buffer. */
	ASSERT_EQ(5, write(self->in.ours, "hello", 5));
	ring_add(&self->v.ring[INPUT], p, 2);
	ASSERT_EQ(5, virtio_finish(&self->v, INPUT, NULL));
	EXPECT_EQ(0, memcmp(self->vm->ram + DATA, "hel", 3));
	EXPECT_EQ(0, memcmp(self->vm->ram + DATA + 0x100, "lo", 2));
	for (int i = 0; i < 2 * VIRTIO_NUM; i++) {
		memset(self->vm->ram + DATA, 0, 64);
		offer(&self->v, DATA, 64);
		usleep(i < 10 ? 5000 : 0);
		ASSERT_EQ(3, write(self->in.ours, "abc", 3));
		ASSERT_TRUE(collected(&self->v, INPUT, &len, 10000));
		ASSERT_EQ(3, len);
		ASSERT_EQ(0, memcmp(self->vm->ram + DATA, "abc", 4));
	}
	EXPECT_EQ(5 + 3 * 2 * VIRTIO_NUM, counts(&self->v).received);
	EXPECT_LT(0, virtio_wait(&self->v, INPUT, 1000));
}

TEST_F(console, what_finds_no_buffer_waits_outside)
{
	uint32_t len;

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ASSERT_EQ(6, write(self->in.ours, "abcdef", 6));
	offer(&self->v, DATA, 2);
	ASSERT_TRUE(collected(&self->v, INPUT, &len, 10000));
	EXPECT_EQ(2, len);
	usleep(20000);
	EXPECT_EQ(2, counts(&self->v).received);
	offer(&self->v, DATA + 2, 100);
	ASSERT_TRUE(collected(&self->v, INPUT, &len, 10000));
	EXPECT_EQ(4, len);
	EXPECT_EQ(0, memcmp(self->vm->ram + DATA, "abcdef", 6));
}

TEST_F(console, a_hang_up_is_quiet_and_a_new_back_end_goes_on)
{
	struct kiln_virtio_console back = { .out = -1 };
	struct kiln_virtio_console_counts c;
	uint32_t len;
	int p[2];

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	offer(&self->v, DATA, 100);
	close(self->in.ours);
	if (self->out.ours == self->in.ours)
		self->out.ours = -1;
	self->in.ours = -1;
	EXPECT_FALSE(collected(&self->v, INPUT, &len, 100));
	ASSERT_EQ(0, pipe(p));
	back.in = p[0];
	ASSERT_EQ(0, set(&self->v, &back));
	ASSERT_EQ(4, write(p[1], "anew", 4));
	ASSERT_TRUE(collected(&self->v, INPUT, &len, 10000));
	EXPECT_EQ(4, len);
	c = counts(&self->v);
	EXPECT_EQ(4, c.received);
	/* It has a reference of its own, until it is told otherwise. */
	close(p[0]);
	offer(&self->v, DATA, 100);
	ASSERT_EQ(2, write(p[1], "on", 2));
	ASSERT_TRUE(collected(&self->v, INPUT, &len, 10000));
	EXPECT_EQ(2, len);
	back.in = -1;
	ASSERT_EQ(0, set(&self->v, &back));
	signal(SIGPIPE, SIG_IGN);
	EXPECT_EQ(-1, write(p[1], "x", 1));
	EXPECT_EQ(EPIPE, errno);
	close(p[1]);
}

/* ---- window size ---- */

static struct virtio_console_config config(struct virtio *v)
{
	struct {
		struct vhost_vdpa_config head;
		struct virtio_console_config c;
	} arg = { .head.len = sizeof(arg.c) };

	if (xioctl(v->fd, VHOST_VDPA_GET_CONFIG, &arg))
		die("VHOST_VDPA_GET_CONFIG");
	return arg.c;
}

TEST_F(console, the_window_changes_and_the_driver_is_told)
{
	int call = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0;

	ASSERT_IOCTL(0, self->v.fd, VHOST_VDPA_SET_CONFIG_CALL, &call);
	self->back.cols = 80;
	self->back.rows = 25;
	ASSERT_EQ(0, set(&self->v, &self->back));
	EXPECT_EQ(-1, read(call, &n, 8));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | SIZE_AND_URGENT));
	EXPECT_EQ(80, config(&self->v).cols);
	EXPECT_EQ(25, config(&self->v).rows);
	self->back.cols = 132;
	ASSERT_EQ(0, set(&self->v, &self->back));
	EXPECT_EQ(8, read(call, &n, 8));
	EXPECT_EQ(132, config(&self->v).cols);
	/* Nothing new, nothing to tell. */
	ASSERT_EQ(0, set(&self->v, &self->back));
	EXPECT_EQ(-1, read(call, &n, 8));
	close(call);
}

/* A descriptor that is set once more is the same line: what was written in part goes on. */
TEST_F(console, a_window_may_change_in_the_middle_of_output)
{
	uint32_t len;

	fill(self->vm, LARGE);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, LARGE);
	virtio_kick(&self->v, OUTPUT);
	for (int i = 0; i < 50; i++) {
		self->back.cols = i;
		ASSERT_EQ(0, set(&self->v, &self->back));
	}
	EXPECT_EQ(LARGE, take(self->out.ours, 0, LARGE));
	EXPECT_TRUE(collected(&self->v, OUTPUT, &len, 10000));
}

/* ---- emergency write ---- */

static int write_config(struct virtio *v, uint32_t off, uint32_t len, uint32_t value)
{
	struct {
		struct vhost_vdpa_config head;
		uint32_t value;
	} arg = { .head = { off, len }, value };

	return xioctl(v->fd, VHOST_VDPA_SET_CONFIG, &arg);
}

TEST_F(console, an_emergency_is_written_without_a_driver)
{
	const uint32_t at = offsetof(struct virtio_console_config, emerg_wr);
	char buf[8] = "";

	ASSERT_EQ(0, write_config(&self->v, at, 4, 0xffffff00 | 'O'));
	ASSERT_TRUE(readable(self->out.ours, 10000));
	ASSERT_EQ(1, read(self->out.ours, buf, 8));
	EXPECT_EQ('O', buf[0]);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features | SIZE_AND_URGENT));
	ASSERT_EQ(0, write_config(&self->v, at, 4, 'K'));
	ASSERT_TRUE(readable(self->out.ours, 10000));
	ASSERT_EQ(1, read(self->out.ours, buf, 8));
	EXPECT_EQ('K', buf[0]);
	EXPECT_EQ(-EINVAL, write_config(&self->v, 0, 4, 0));
	EXPECT_EQ(-EINVAL, write_config(&self->v, at, 2, 0));
	EXPECT_EQ(-EINVAL, write_config(&self->v, at + 2, 4, 0));
}

TEST_F(console, emergencies_that_find_no_room_are_counted)
{
	const uint32_t at = offsetof(struct virtio_console_config, emerg_wr);
	struct kiln_virtio_console none = { .in = -1, .out = -1 };

	ASSERT_EQ(0, set(&self->v, &none));
	for (int i = 0; i < 1000; i++)
		ASSERT_EQ(0, write_config(&self->v, at, 4, 'x'));
	for (int i = 0; i < 1000 && counts(&self->v).dropped < 1000; i++)
		usleep(1000);
	EXPECT_EQ(1000, counts(&self->v).dropped);
}

/* ---- drivers that break the rules ---- */

TEST_F(console, output_the_device_is_to_write_breaks_it)
{
	struct ring_piece p[2] = { { DATA, 8, false }, { DATA + 64, 8, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[OUTPUT], p, 2);
	virtio_kick(&self->v, OUTPUT);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("output of a console has a part that the device is to write", virtio_broken(&self->v));
}

TEST_F(console, input_buffers_it_may_not_write_break_it)
{
	struct ring_piece p[2] = { { DATA, 8, false }, { DATA + 64, 8, true } };

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	ring_add(&self->v.ring[INPUT], p, 2);
	virtio_kick(&self->v, INPUT);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("a buffer for a console's input has a part that the device may not write", virtio_broken(&self->v));
	ASSERT_EQ(0, virtio_status(&self->v, 0));
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	p[0].len = 0;
	ring_add(&self->v.ring[INPUT], p, 1);
	virtio_kick(&self->v, INPUT);
	ASSERT_TRUE(breaks(&self->v));
}

TEST_F(console, memory_that_is_gone_breaks_it)
{
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!munmap(self->vm->ram + DATA, 0x1000), "munmap");
	put(&self->v, DATA, 10);
	virtio_kick(&self->v, OUTPUT);
	ASSERT_TRUE(breaks(&self->v));
	EXPECT_STREQ("output of a console cannot be read", virtio_broken(&self->v));
}

/* ---- calls ---- */

TEST_F(console, back_ends_are_checked)
{
	struct kiln_virtio_console back = { .in = -1, .out = -1 };
	int p[2], event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), master, directory;

	ASSERT_EQ(0, pipe(p));
	back.in = 4711;
	EXPECT_EQ(-EBADF, set(&self->v, &back));
	back.in = -2;
	EXPECT_EQ(-EBADF, set(&self->v, &back));
	back.in = p[1];
	EXPECT_EQ(-EBADF, set(&self->v, &back));
	back = (struct kiln_virtio_console){ .in = p[0], .out = p[0] };
	EXPECT_EQ(-EBADF, set(&self->v, &back));
	back = (struct kiln_virtio_console){ .in = event, .out = -1 };
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	/* A read would wait in it. */
	back.in = timer;
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	back.in = self->v.fd;
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	master = posix_openpt(O_RDWR | O_NOCTTY);
	back.in = master;
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	directory = open("/", O_RDONLY | O_DIRECTORY);
	back.in = directory;
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	close(directory);
	directory = open("/", O_PATH);
	EXPECT_EQ(-EBADF, set(&self->v, &back));
	close(directory);
	back = self->back;
	back.reserved[4] = 1;
	EXPECT_EQ(-EINVAL, set(&self->v, &back));
	EXPECT_EQ(-EFAULT, set(&self->v, NULL));
	EXPECT_IOCTL(-EFAULT, self->v.fd, KILN_VIRTIO_GET_CONSOLE, NULL);
	EXPECT_IOCTL(-ENOTTY, self->v.fd, KILN_VIRTIO_SET_BALLOON, &back);
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_CONSOLE, 1));
	EXPECT_EQ(-EINVAL, virtio_fd(self->vm, VIRTIO_ID_CONSOLE, 3));
	/* The old one is still there. */
	fill(self->vm, 10);
	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	put(&self->v, DATA, 10);
	virtio_finish(&self->v, OUTPUT, NULL);
	EXPECT_EQ(10, take(self->out.ours, 0, 10));
	close(master);
	close(event);
	close(timer);
	close(p[0]);
	close(p[1]);
}

/* ---- races ---- */

struct race {
	struct virtio *v;
	int in, out;
	volatile bool over;
};

/* Reads what comes and writes what goes, if it goes. */
static void *talks(void *arg)
{
	struct race *race = arg;
	char buf[512] = "input";

	fcntl(race->in, F_SETFL, O_NONBLOCK);
	fcntl(race->out, F_SETFL, O_NONBLOCK);
	while (!race->over) {
		if (write(race->in, buf, 100) < 0 && read(race->out, buf, sizeof(buf)) < 0)
			usleep(100);
	}
	return NULL;
}

static void *kicks(void *arg)
{
	struct race *race = arg;

	while (!race->over) {
		virtio_kick(race->v, INPUT);
		virtio_kick(race->v, OUTPUT);
		usleep(50);
	}
	return NULL;
}

TEST_F_TIMEOUT(console, it_stops_goes_on_and_changes_hands_at_any_time, 120)
{
	struct kiln_virtio_console none = { .in = -1, .out = -1 };
	struct race race = { &self->v, self->in.ours, self->out.ours };
	time_t end = time(NULL) + 3;
	pthread_t thread[2];

	ASSERT_EQ(0, virtio_start(&self->v, variant->features));
	must(!pthread_create(&thread[0], NULL, talks, &race), "thread");
	must(!pthread_create(&thread[1], NULL, kicks, &race), "thread");
	for (int i = 0; time(NULL) < end; i++) {
		for (int n = 0; n < 7; n++) {
			struct ring_piece p[2] = { { DATA, 1 + n * 997, false }, { DATA + 0x8000, 1 + n * 31, true } };

			ring_add(&self->v.ring[OUTPUT], &p[0], 1);
			ring_add(&self->v.ring[INPUT], &p[1], 1);
		}
		switch (i % 4) {
		case 0:
			xioctl(self->v.fd, VHOST_VDPA_SUSPEND, NULL);
			ASSERT_EQ(0, virtio_status(&self->v, RUNNING));
			break;
		case 1:
			ASSERT_EQ(0, set(&self->v, &none));
			ASSERT_EQ(0, set(&self->v, &self->back));
			break;
		case 2:
			vm_set_slot(self->vm, 5, 0, 0x40000000, 0x1000, self->vm->ram);
			vm_set_slot(self->vm, 5, 0, 0x40000000, 0, self->vm->ram);
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

/* ---- files that do not wait ---- */

TEST(files_are_written_where_their_descriptor_is_and_read_to_their_end)
{
	struct kiln_virtio_console back;
	struct virtio v;
	struct vm *vm;
	char buf[32] = "";
	uint32_t len;
	int fd;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create_one(VM_IRQCHIP, NULL)->vm;
	v = virtio_create(vm, VIRTIO_ID_CONSOLE, 2);
	fd = memfd_create("console", 0);
	ASSERT_EQ(6, write(fd, "before", 6));
	back = (struct kiln_virtio_console){ .in = -1, .out = fd };
	ASSERT_EQ(0, set(&v, &back));
	ASSERT_EQ(0, virtio_start(&v, V1));
	memcpy(vm->ram + DATA, "after", 5);
	put(&v, DATA, 5);
	virtio_finish(&v, OUTPUT, NULL);
	ASSERT_EQ(3, write(fd, "end", 3));
	put(&v, DATA, 5);
	virtio_finish(&v, OUTPUT, NULL);
	ASSERT_EQ(19, pread(fd, buf, sizeof(buf), 0));
	EXPECT_STREQ("beforeafterendafter", buf);

	lseek(fd, 6, SEEK_SET);
	back = (struct kiln_virtio_console){ .in = fd, .out = open("/dev/null", O_WRONLY) };
	ASSERT_EQ(0, set(&v, &back));
	offer(&v, DATA, 5);
	ASSERT_TRUE(collected(&v, INPUT, &len, 10000));
	EXPECT_EQ(5, len);
	EXPECT_EQ(0, memcmp(vm->ram + DATA, "after", 5));
	offer(&v, DATA, 100);
	ASSERT_TRUE(collected(&v, INPUT, &len, 10000));
	EXPECT_EQ(8, len);
	offer(&v, DATA, 100);
	EXPECT_FALSE(collected(&v, INPUT, &len, 50));
	put(&v, DATA, 5);
	EXPECT_EQ(0, virtio_finish(&v, OUTPUT, NULL));

	/* A file that takes no more loses output, not the guest. */
	close(back.out);
	back = (struct kiln_virtio_console){ .in = -1, .out = memfd_create("full", MFD_ALLOW_SEALING) };
	if (!fcntl(back.out, F_ADD_SEALS, F_SEAL_GROW)) {
		ASSERT_EQ(0, set(&v, &back));
		put(&v, DATA, 5);
		EXPECT_EQ(0, virtio_finish(&v, OUTPUT, NULL));
		EXPECT_EQ(5, counts(&v).dropped);
	}
	close(back.out);
	close(fd);
	virtio_destroy(&v);
	vm_destroy(vm);
}

/* The device's own descriptor waits in the socket that it writes to; nobody else has either. */
static void leave_a_ring(int in)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct kiln_virtio_console back = { .in = in };
	struct iovec byte = { "x", 1 };
	struct msghdr message = {
		.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space),
	};
	struct vm *vm = vm_create_one(VM_IRQCHIP, NULL)->vm;
	struct virtio v = virtio_create(vm, VIRTIO_ID_CONSOLE, 2);
	int p[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, p), "socketpair");
	back.out = p[0];
	must(!set(&v, &back), "KILN_VIRTIO_SET_CONSOLE");
	memcpy(CMSG_DATA(&control.align), &v.fd, sizeof(v.fd));
	must(sendmsg(p[1], &message, 0) == 1, "sendmsg");
	_exit(0);
}

TEST(a_device_ends_with_its_owner_though_its_socket_holds_it)
{
	struct pollfd line = { .events = 0 };
	int p[2], status;
	pid_t pid;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	ASSERT_EQ(0, pipe(p));
	pid = fork();
	if (!pid) {
		close(p[1]);
		leave_a_ring(p[0]);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(p[0]);
	/* The device reads from the pipe as long as it is there. */
	line.fd = p[1];
	EXPECT_EQ(1, poll(&line, 1, 10000));
	EXPECT_TRUE(line.revents & POLLERR);
	close(p[1]);
}

/* A FIFO whose other side comes and goes. */
TEST(a_fifo_is_waited_at)
{
	struct kiln_virtio_console back = { .out = -1 };
	const char *name = "/tmp/console-fifo";
	struct virtio v;
	struct vm *vm;
	uint32_t len;
	int fd, w;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create_one(VM_IRQCHIP, NULL)->vm;
	v = virtio_create(vm, VIRTIO_ID_CONSOLE, 2);
	unlink(name);
	ASSERT_EQ(0, mkfifo(name, 0600));
	fd = open(name, O_RDONLY | O_NONBLOCK);
	back.in = fd;
	ASSERT_EQ(0, set(&v, &back));
	close(fd);
	ASSERT_EQ(0, virtio_start(&v, V1));
	for (int i = 0; i < 3; i++) {
		offer(&v, DATA, 100);
		EXPECT_FALSE(collected(&v, INPUT, &len, 20));
		w = open(name, O_WRONLY | O_NONBLOCK);
		ASSERT_LE(0, w);
		ASSERT_EQ(2, write(w, "hi", 2));
		ASSERT_TRUE(collected(&v, INPUT, &len, 10000));
		EXPECT_EQ(2, len);
		close(w);
	}
	/* Nobody reads it: it cannot be opened for writing. */
	back.in = -1;
	ASSERT_EQ(0, set(&v, &back));
	fd = open(name, O_RDWR);
	w = open(name, O_WRONLY);
	close(fd);
	back.out = w;
	EXPECT_EQ(-ENXIO, set(&v, &back));
	close(w);
	unlink(name);
	virtio_destroy(&v);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
