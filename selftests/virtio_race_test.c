// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtio devices whose owner does everything at once: rings kicked from a guest, from eventfds and stopped, reset, moved
 * and closed meanwhile; slots that come and go; owners killed with requests in flight. Nothing is left behind.
 *
 * KILN_RACE_MS says how long each race lasts (1500). KILN_SEED repeats the choices, not the races.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "balloon.h"
#include "machine.h"
#include "net.h"
#include "random.h"

#define DOORBELL	0xd0000000UL
#define PORT		0x580
#define VECTOR		0x55
#define HEADER		(VIRTIO_DATA)
#define STATUS		(VIRTIO_DATA + 0x1000)
#define DATA		(VIRTIO_DATA + 0x10000)
#define SLOT_GPA	0x40000000UL
#define FILE_SIZE	(1UL << 20)

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* ---- a guest that never stops making requests and ringing, whatever comes of it ---- */

static struct ring ring __guest_data;
static struct ring_piece pieces[3] __guest_data;
static uint32_t n_pieces __guest_data;
static uint32_t told_to_stop __guest_data;
static uint32_t told_to_restart __guest_data;
static uint32_t served __guest_data;

/* The ring is empty, and begins where a new one does. */
static __guest void restart(void)
{
	volatile uint64_t *words = (void *)(uintptr_t)ring.desc;

	for (unsigned int i = 0; i < RING_SIZE(ring.num) / 8; i++)
		words[i] = 0;
	ring_init(&ring, 0, ring.desc, ring.num, ring.packed, ring.event_idx);
	ring_barrier();
	*(volatile uint32_t *)&told_to_restart = 0;
}

static __guest void rings_on_and_on(void)
{
	uint32_t id, len;

	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	sti();
	while (!*(volatile uint32_t *)&told_to_stop) {
		if (*(volatile uint32_t *)&told_to_restart)
			restart();
		ring_add(&ring, pieces, n_pieces);
		*(volatile uint16_t *)DOORBELL = 0;
		outw(PORT, 0);
		while (ring_collect(&ring, &id, &len))
			served++;
	}
	guest_done();
}

struct race {
	struct vcpu *vcpu;
	struct vm *vm;
	struct virtio v;
	unsigned int queue;	/* the one they race for */
	uint64_t features;
	struct wire *wire;	/* of a network device */
	uint8_t *slot;
	volatile bool over;
};

/* @at: where the ring goes on; NULL: the guest begins anew with it. */
static void reset(struct race *race, const struct vhost_vring_state *at)
{
	volatile uint32_t *restart = &GUEST(race->vm, told_to_restart);
	struct virtio *v = &race->v;

	virtio_status(v, 0);
	*restart = !at;
	while (*restart && !race->over)
		sched_yield();
	xioctl(v->fd, VHOST_SET_FEATURES, &race->features);
	virtio_status(v, READY);
	virtio_set_ring(v, race->queue);
	if (at)
		xioctl(v->fd, VHOST_SET_VRING_BASE, (void *)at);
	virtio_enable(v, race->queue, 1);
	virtio_status(v, RUNNING);
}

static void *start_and_stop(void *arg)
{
	struct race *race = arg;
	struct virtio *v = &race->v;

	for (unsigned int n = 0; !race->over; n++) {
		struct vhost_vring_state s = { .index = race->queue };

		xioctl(v->fd, VHOST_VDPA_SUSPEND, NULL);
		virtio_status(v, RUNNING);
		virtio_enable(v, race->queue, 0);
		xioctl(v->fd, VHOST_GET_VRING_BASE, &s);
		virtio_enable(v, race->queue, 1);
		if (*virtio_broken(v))
			reset(race, NULL);
		else if (n % 16 == 0)
			reset(race, &s);
		usleep(n % 8 * 100);
	}
	return NULL;
}

static void *connect_and_disconnect(void *arg)
{
	struct race *race = arg;
	struct virtio *v = &race->v;
	unsigned int queue = race->queue;
	struct vhost_vring_file f = { .index = queue };

	while (!race->over) {
		virtio_doorbell(v, queue, DOORBELL, 0);
		virtio_msi(v, queue, VECTOR, KILN_VIRTIO_MSI_ENABLE);
		virtio_kick(v, queue);
		f.fd = -1;
		xioctl(v->fd, VHOST_SET_VRING_KICK, &f);
		virtio_doorbell(v, queue, DOORBELL, KILN_VIRTIO_DOORBELL_DEASSIGN);
		virtio_msi(v, queue, VECTOR, KILN_VIRTIO_MSI_ENABLE | KILN_VIRTIO_MSI_MASKED);
		virtio_doorbell(v, queue, PORT, KILN_VIRTIO_DOORBELL_PIO);
		f.fd = v->kick[queue];
		xioctl(v->fd, VHOST_SET_VRING_KICK, &f);
		virtio_kick(v, queue);
		virtio_doorbell(v, queue, PORT, KILN_VIRTIO_DOORBELL_PIO | KILN_VIRTIO_DOORBELL_DEASSIGN);
	}
	return NULL;
}

static void *move_slots(void *arg)
{
	struct race *race = arg;

	while (!race->over) {
		vm_set_slot(race->vm, 1, 0, SLOT_GPA, 0x10000, race->slot);
		virtio_kick(&race->v, race->queue);
		usleep(2000);
		vm_set_slot(race->vm, 1, 0, SLOT_GPA, 0, race->slot);
	}
	return NULL;
}

static void *make_devices(void *arg)
{
	struct race *race = arg;

	while (!race->over) {
		struct virtio v = virtio_create(race->vm, VIRTIO_ID_RNG, 1);

		virtio_doorbell(&v, 0, DOORBELL, 0);
		virtio_kick(&v, 0);
		virtio_destroy(&v);
	}
	return NULL;
}

/* Packets come all the time, the link changes, and taps whenever the device stands still. */
static void *send_and_change_taps(void *arg)
{
	struct race *race = arg;
	struct kiln_virtio_net back;
	uint8_t frame[60];

	if (!race->wire)
		return NULL;
	back = net_args(race->wire);
	make_frame(frame, guest_mac, sizeof(frame), 1);
	for (unsigned int n = 0; !race->over; n++) {
		for (int i = 0; i < 20; i++)
			wire_send(race->wire, NULL, frame, sizeof(frame));
		back.link = n % 4 != 3;
		back.mtu = n % 2 ? 1500 : 9000;
		xioctl(race->v.fd, KILN_VIRTIO_SET_NET, &back);
		usleep(200);
	}
	return NULL;
}

/* Has the guest ended? One that dies is not run again. */
static bool has_ended(struct vcpu *vcpu)
{
	const char *what = vcpu_describe(vcpu);
	struct kiln_death death;

	if (!strcmp(what, "done"))
		return true;
	if (vcpu->run->exit_reason == KVM_EXIT_MMIO || vcpu->run->exit_reason == KVM_EXIT_IO)
		return false;
	if (ioctl(vcpu->fd, KILN_GET_DEATH, &death))
		die("the guest came out with %s", what);
	die("%s: %s; rip 0x%llx rsp 0x%llx cr2 0x%llx, in delivery of 0x%x with error 0x%x", what, death.cause,
	    death.regs.rip, death.regs.rsp, death.sregs.cr2, death.idt_info, death.idt_error);
}

static void race_for(struct race *race, unsigned long ms)
{
	void *(*const runners[])(void *) = {
		start_and_stop, connect_and_disconnect, move_slots, make_devices, send_and_change_taps,
	};
	pthread_t threads[sizeof(runners) / sizeof(*runners)];
	struct timespec end, now;

	race->slot = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	GUEST(race->vm, ring) = race->v.ring[race->queue];
	GUEST(race->vm, ring).base = 0;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000;
	for (int i = 0; i < sizeof(runners) / sizeof(*runners); i++)
		pthread_create(&threads[i], NULL, runners[i], race);
	/* Where no doorbell is the write comes out here. */
	do {
		if (vcpu_run(race->vcpu))
			die("KVM_RUN");
		clock_gettime(CLOCK_MONOTONIC, &now);
		/* A host that has little time for us serves late. */
		GUEST(race->vm, told_to_stop) = GUEST(race->vm, served) &&
						(now.tv_sec > end.tv_sec ||
						 (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec));
	} while (!has_ended(race->vcpu));
	race->over = true;
	for (int i = 0; i < sizeof(runners) / sizeof(*runners); i++)
		pthread_join(threads[i], NULL);
	munmap(race->slot, 0x10000);
	printf("# %u requests were served\n", GUEST(race->vm, served));
	fflush(stdout);
}

static int memory_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, FILE_SIZE))
		die("memfd: %s", strerror(errno));
	return fd;
}

/* A disk that may be written over, else a file in memory. */
static int any_disk(void)
{
	const char *path = getenv("KILN_TEST_DISK") ?: "/dev/vda";
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	return fd < 0 ? memory_file() : fd;
}

FIXTURE(race) {
	unsigned long ms;
};

FIXTURE_SETUP(race)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln", device_path());
	self->ms = from_environment("KILN_RACE_MS", 1500);
	seed_random(_metadata->name);
}

FIXTURE_TEARDOWN(race)
{
}

static struct race new_race(uint32_t type, unsigned int queues, uint64_t features)
{
	struct race race = { .features = features };

	race.vcpu = vm_create_one(VM_IRQCHIP, rings_on_and_on);
	race.vm = race.vcpu->vm;
	race.v = virtio_create(race.vm, type, queues);
	return race;
}

static void end_race(struct race *race)
{
	virtio_destroy(&race->v);
	vm_destroy(race->vm);
}

TEST_F_TIMEOUT(race, entropy, 200)
{
	static const uint64_t features[] = { V1, V1 | EVENT_IDX, V1 | PACKED };

	for (int i = 0; i < 3; i++) {
		struct race race = new_race(VIRTIO_ID_RNG, 1, features[i]);

		GUEST(race.vm, pieces)[0] = (struct ring_piece){ SLOT_GPA, 64, true };
		GUEST(race.vm, n_pieces) = 1;
		ASSERT_EQ(0, virtio_start(&race.v, features[i]));
		race_for(&race, self->ms);
		end_race(&race);
	}
}

static void block_race(struct __test_metadata *_metadata, int file, uint64_t features, unsigned long ms)
{
	struct kiln_virtio_block back = { .fd = file, .flags = KILN_BLOCK_WRITEBACK };
	struct race race = new_race(VIRTIO_ID_BLOCK, 1, features);
	struct header *h = (void *)(race.vm->ram + HEADER);

	h->type = VIRTIO_BLK_T_IN;
	GUEST(race.vm, pieces)[0] = (struct ring_piece){ HEADER, 16, false };
	GUEST(race.vm, pieces)[1] = (struct ring_piece){ SLOT_GPA, 4096, true };
	GUEST(race.vm, pieces)[2] = (struct ring_piece){ STATUS, 1, true };
	GUEST(race.vm, n_pieces) = 3;
	ASSERT_IOCTL(0, race.v.fd, KILN_VIRTIO_SET_BLOCK, &back);
	ASSERT_EQ(0, virtio_start(&race.v, features));
	race_for(&race, ms);
	end_race(&race);
}

TEST_F_TIMEOUT(race, block_on_a_file, 200)
{
	int file = memory_file();

	block_race(_metadata, file, V1, self->ms);
	block_race(_metadata, file, V1 | PACKED, self->ms);
}

TEST_F_TIMEOUT(race, block_on_a_disk, 200)
{
	int file = any_disk();

	block_race(_metadata, file, V1 | EVENT_IDX, self->ms);
	block_race(_metadata, file, V1 | PACKED | EVENT_IDX, self->ms);
}

/* For @queue of @pairs pairs and their control queue. */
static void net_race(struct __test_metadata *_metadata, unsigned int pairs, unsigned int queue, uint64_t features,
		     const struct ring_piece *p, unsigned int n, unsigned long ms)
{
	struct kiln_virtio_net back;
	struct wire wire;
	struct race race;

	if (!wire_open(&wire, pairs))
		SKIP(return, "this kernel has no taps");
	back = net_args(&wire);
	race = new_race(VIRTIO_ID_NET, 2 * pairs + 1, features);
	race.queue = queue;
	race.wire = &wire;
	memcpy(GUEST(race.vm, pieces), p, n * sizeof(*p));
	GUEST(race.vm, n_pieces) = n;
	/* A command, for the control queue. */
	memcpy(race.vm->ram + HEADER, (uint8_t[]) { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0 }, 4);
	ASSERT_IOCTL(0, race.v.fd, KILN_VIRTIO_SET_NET, &back);
	ASSERT_EQ(0, virtio_start(&race.v, features));
	race_for(&race, ms);
	end_race(&race);
	wire_close(&wire);
}

TEST_F_TIMEOUT(race, packets_to_the_wire, 200)
{
	const struct ring_piece packet = { SLOT_GPA, HDR + 60, false };

	net_race(_metadata, 1, TX, V1 | F(CTRL_VQ), &packet, 1, self->ms);
	net_race(_metadata, 1, TX, V1 | F(CTRL_VQ) | PACKED | EVENT_IDX, &packet, 1, self->ms);
}

TEST_F_TIMEOUT(race, packets_from_the_wire, 200)
{
	const struct ring_piece one = { SLOT_GPA, 2048, true }, two[2] = { { DATA, 30, true }, { SLOT_GPA, 50, true } };

	net_race(_metadata, 1, RX, V1 | F(CTRL_VQ), &one, 1, self->ms);
	net_race(_metadata, 1, RX, V1 | F(CTRL_VQ) | F(MRG_RXBUF) | PACKED, two, 2, self->ms);
}

TEST_F_TIMEOUT(race, commands_to_a_network_device, 200)
{
	const struct ring_piece p[2] = { { HEADER, 4, false }, { SLOT_GPA, 1, true } };

	net_race(_metadata, 2, 4, V1 | F(CTRL_VQ) | F(MQ), p, 2, self->ms);
	net_race(_metadata, 2, 4, V1 | F(CTRL_VQ) | F(MQ) | PACKED, p, 2, self->ms);
}

/* ---- closed and killed ---- */

/* As many requests as the ring takes, of all kinds. */
static void fill(struct virtio *v)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH };

	for (int i = 0; i < VIRTIO_NUM / 3; i++) {
		uint32_t type = types[next_random() % 3];
		struct ring_piece p[3] = { { HEADER + i * 16, 16, false }, { DATA + i * 8192, 8192, type == VIRTIO_BLK_T_IN } };
		struct header h = { .type = type, .sector = 16 * i };
		unsigned int n = type == VIRTIO_BLK_T_FLUSH ? 1 : 2;

		memcpy(v->vm->ram + HEADER + i * 16, &h, sizeof(h));
		p[n++] = (struct ring_piece){ STATUS + i, 1, true };
		ring_add(&v->ring[0], p, n);
	}
	virtio_kick(v, 0);
}

static struct virtio busy(struct vm *vm, int file)
{
	struct kiln_virtio_block back = { .fd = file, .flags = KILN_BLOCK_WRITEBACK };
	struct virtio v = virtio_create(vm, VIRTIO_ID_BLOCK, 1);

	if (xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &back) || virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_FLUSH)))
		die("the device does not start");
	fill(&v);
	return v;
}

TEST_F_TIMEOUT(race, closed_in_any_order_with_requests_in_flight, 200)
{
	int file = any_disk();

	for (int i = 0; i < 40; i++) {
		struct vm *vm = vm_create(VM_IRQCHIP);
		struct virtio v = busy(vm, file);

		if (i & 1)
			usleep(next_random() % 2000);
		if (i & 2) {
			vm_destroy(vm);
			virtio_destroy(&v);
		} else {
			virtio_destroy(&v);
			vm_destroy(vm);
		}
	}
	close(file);
}

static void requests_on_and_on(int ready)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, rings_on_and_on);
	struct virtio v = busy(vcpu->vm, any_disk());

	virtio_doorbell(&v, 0, DOORBELL, 0);
	virtio_doorbell(&v, 0, PORT, KILN_VIRTIO_DOORBELL_PIO);
	vcpu_start(vcpu);
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		fill(&v);
}

/* Both queues are full, and as many packets come as go. */
static void packets_on_and_on(int ready)
{
	const struct ring_piece p[2] = { [RX] = { RX_DATA, 2048, true }, [TX] = { TX_DATA, HDR + 60, false } };
	unsigned int in_flight[2] = { 0 };
	uint32_t id, len;
	uint8_t frame[60];
	struct kiln_virtio_net back;
	struct wire wire;
	struct virtio v;

	if (!wire_open(&wire, 1))
		_exit(1);
	v = virtio_create(vm_create(VM_IRQCHIP), VIRTIO_ID_NET, 3);
	back = net_args(&wire);
	if (xioctl(v.fd, KILN_VIRTIO_SET_NET, &back) || virtio_start(&v, V1 | F(CTRL_VQ)) ||
	    write(ready, "", 1) != 1)
		_exit(1);
	make_frame(frame, guest_mac, sizeof(frame), 1);
	for (;;) {
		for (unsigned int q = RX; q <= TX; q++) {
			while (ring_collect(&v.ring[q], &id, &len))
				in_flight[q]--;
			for (; in_flight[q] < VIRTIO_NUM; in_flight[q]++)
				ring_add(&v.ring[q], &p[q], 1);
			virtio_kick(&v, q);
		}
		for (int i = 0; i < VIRTIO_NUM; i++)
			wire_send(&wire, NULL, frame, sizeof(frame));
	}
}

/* Returns how it ended. */
static int killed_after(unsigned int us, void (*child)(int ready))
{
	int status, ready[2];
	char c;
	pid_t pid;

	if (pipe(ready))
		die("pipe");
	pid = fork();
	if (!pid)
		child(ready[1]);
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		die("the child did not start");
	close(ready[0]);
	usleep(us);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return status;
}

#define TOLERANCE_KIB	2048

static void kills_lose_no_memory(struct __test_metadata *_metadata, void (*child)(int ready))
{
	struct in_use before;

	for (int i = 0; i < 5; i++)
		killed_after(1000, child);
	before = in_use();
	for (int i = 0; i < 40; i++)
		ASSERT_EQ(SIGKILL, killed_after(next_random() % 5000, child));
	EXPECT_GE(TOLERANCE_KIB, left_kib(&before, TOLERANCE_KIB));
}

TEST_F_TIMEOUT(race, kills_with_requests_in_flight_lose_no_memory, 280)
{
	kills_lose_no_memory(_metadata, requests_on_and_on);
}

TEST_F_TIMEOUT(race, kills_with_packets_in_flight_lose_no_memory, 280)
{
	struct wire wire;

	if (!wire_open(&wire, 1))
		SKIP(return, "this kernel has no taps");
	wire_close(&wire);
	kills_lose_no_memory(_metadata, packets_on_and_on);
}

/* ---- closed and killed: what is not over by itself ---- */

/* A device at work on what takes long, or that waits. */
struct load {
	struct virtio (*begin)(struct vm *vm);
	void (*more)(struct virtio *v);		/* again and again */
	void (*end)(void);
};

/* How many chains were used. */
static unsigned int collect(struct virtio *v, unsigned int queue)
{
	unsigned int n = 0;
	uint32_t id, len;

	while (ring_collect(&v->ring[queue], &id, &len))
		n++;
	return n;
}

static void wait_for_one(struct virtio *v, unsigned int queue)
{
	while (!collect(v, queue))
		must(virtio_wait(v, queue, 10000), "no request was served");
}

/* As many chains of @len bytes as the ring takes, with @in_flight that are there. */
static void top_up(struct virtio *v, unsigned int queue, unsigned int in_flight, uint64_t addr, uint32_t len, bool in)
{
	struct ring_piece p = { addr, len, in };

	for (; in_flight < VIRTIO_NUM; in_flight++)
		ring_add(&v->ring[queue], &p, 1);
	virtio_kick(v, queue);
}

/* A console whose output pipe is full in the middle of a chain, and whose input waits for a pipe. */
#define TEXT		8192

static int text_in[2], text_out[2];

static struct virtio begin_text(struct vm *vm)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_CONSOLE, 2);
	struct kiln_virtio_console back;
	struct pollfd room;

	must(!pipe2(text_in, O_NONBLOCK | O_CLOEXEC) && !pipe2(text_out, O_NONBLOCK | O_CLOEXEC), "pipe");
	back = (struct kiln_virtio_console){ .in = text_in[0], .out = text_out[1] };
	must(!xioctl(v.fd, KILN_VIRTIO_SET_CONSOLE, &back) && !virtio_start(&v, V1), "the device does not start");
	top_up(&v, 0, 0, DATA, 100, true);
	top_up(&v, 1, 0, DATA + TEXT, TEXT + 100, false);
	room = (struct pollfd){ .fd = text_out[1], .events = POLLOUT };
	while (poll(&room, 1, 0))
		sched_yield();
	return v;
}

static void more_text(struct virtio *v)
{
	char bytes[TEXT] = { 0 };

	must(write(text_in[1], bytes, next_random() % TEXT) >= 0 || errno == EAGAIN, "write");
	must(read(text_out[0], bytes, TEXT) >= 0 || errno == EAGAIN, "read");
	top_up(v, 0, VIRTIO_NUM - collect(v, 0), DATA, 100, true);
	top_up(v, 1, VIRTIO_NUM - collect(v, 1), DATA + TEXT, TEXT + 100, false);
}

static void end_text(void)
{
	for (int i = 0; i < 2; i++) {
		close(text_in[i]);
		close(text_out[i]);
	}
}

/* A balloon that looks through what is hinted, one huge page after the other. */
#define HINTED		(16UL << 20)
#define HINTED_PIECE	(1UL << 20)

static uint8_t *hinted;

static struct kiln_virtio_hint hint_state(struct virtio *v)
{
	struct kiln_virtio_hint h;

	must(!xioctl(v->fd, KILN_VIRTIO_GET_HINT, &h), "KILN_VIRTIO_GET_HINT");
	return h;
}

static void begin_round(struct virtio *v)
{
	struct kiln_virtio_hint start = { .command = KILN_BALLOON_HINT_START };
	struct ring_piece command = { DATA, 4, false }, stop = { DATA + 4, 4, false };
	uint32_t *ids = (void *)(v->vm->ram + DATA);

	must(!xioctl(v->fd, KILN_VIRTIO_SET_HINT, &start), "KILN_VIRTIO_SET_HINT");
	memset(hinted, 0, HINTED);
	ids[0] = hint_state(v).id;
	ids[1] = VIRTIO_BALLOON_CMD_ID_STOP;
	ring_add(&v->ring[HINTS], &command, 1);
	for (uint64_t i = 0; i < HINTED; i += HINTED_PIECE)
		ring_add(&v->ring[HINTS], &(struct ring_piece){ SLOT_GPA + i, HINTED_PIECE, true }, 1);
	ring_add(&v->ring[HINTS], &stop, 1);
	virtio_kick(v, HINTS);
}

static struct virtio begin_hints(struct vm *vm)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_BALLOON, QUEUES);

	hinted = vm_map(vm, 1, SLOT_GPA, HINTED);
	must(!virtio_start(&v, V1 | STATS_VQ | HINT | REPORTS), "the device does not start");
	begin_round(&v);
	return v;
}

static void more_hints(struct virtio *v)
{
	collect(v, HINTS);
	if (hint_state(v).state == KILN_BALLOON_HINT_FINISHED)
		begin_round(v);
	else
		sched_yield();
}

static void end_hints(void)
{
	munmap(hinted, HINTED);
}

/* Devices that wait for their limit's timer: for milliseconds, at @fast units a second or more, or for much longer. */
static uint64_t any_limit(uint64_t fast)
{
	return one_in(4) ? 1 : fast * (1 + next_random() % 10);
}

static struct virtio begin_entropy(struct vm *vm)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_RNG, 1);
	struct kiln_virtio_rng limit = { .bps = any_limit(400000) };

	must(!xioctl(v.fd, KILN_VIRTIO_SET_RNG, &limit) && !virtio_start(&v, V1), "the device does not start");
	top_up(&v, 0, 0, DATA, 4096, true);
	wait_for_one(&v, 0);
	return v;
}

static void more_entropy(struct virtio *v)
{
	struct kiln_virtio_rng limit = { .bps = any_limit(400000) };

	must(!xioctl(v->fd, KILN_VIRTIO_SET_RNG, &limit), "KILN_VIRTIO_SET_RNG");
	top_up(v, 0, VIRTIO_NUM - collect(v, 0), DATA, 4096, true);
}

static int limited_disk = -1;

static struct kiln_virtio_block limited(void)
{
	return (struct kiln_virtio_block){ .fd = limited_disk, .flags = KILN_BLOCK_WRITEBACK, .iops = any_limit(100) };
}

static struct virtio begin_disk(struct vm *vm)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_BLOCK, 1);
	struct kiln_virtio_block back;

	limited_disk = any_disk();
	back = limited();
	must(!xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &back) && !virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_FLUSH)),
	     "the device does not start");
	fill(&v);
	wait_for_one(&v, 0);
	return v;
}

static void more_disk(struct virtio *v)
{
	struct kiln_virtio_block back = limited();

	must(!xioctl(v->fd, KILN_VIRTIO_SET_BLOCK, &back), "KILN_VIRTIO_SET_BLOCK");
	collect(v, 0);
	fill(v);
}

static void end_disk(void)
{
	close(limited_disk);
}

static const struct load text = { begin_text, more_text, end_text };
static const struct load hints = { begin_hints, more_hints, end_hints };
static const struct load limited_entropy = { begin_entropy, more_entropy };
static const struct load limited_requests = { begin_disk, more_disk, end_disk };

static const struct load *load;

static void load_on_and_on(int ready)
{
	struct virtio v = load->begin(vm_create(VM_IRQCHIP));

	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		load->more(&v);
}

/* Nobody waits for a timer, or for who reads the other end. */
static void closed_in_any_order(const struct load *of)
{
	for (int i = 0; i < 20; i++) {
		struct vm *vm = vm_create(VM_IRQCHIP);
		struct virtio v = of->begin(vm);

		if (i & 1)
			usleep(next_random() % 20000);
		if (i & 2)
			vm_destroy(vm);
		if (i & 4 && of->end)
			of->end();
		virtio_destroy(&v);
		if (!(i & 2))
			vm_destroy(vm);
		if (!(i & 4) && of->end)
			of->end();
	}
}

static void ends_of(struct __test_metadata *_metadata, const struct load *of)
{
	closed_in_any_order(of);
	load = of;
	kills_lose_no_memory(_metadata, load_on_and_on);
}

TEST_F_TIMEOUT(race, consoles_that_wait_are_closed_and_killed, 280)
{
	ends_of(_metadata, &text);
}

TEST_F_TIMEOUT(race, rounds_of_hints_are_closed_and_killed, 280)
{
	ends_of(_metadata, &hints);
}

TEST_F_TIMEOUT(race, entropy_that_has_to_wait_is_closed_and_killed, 280)
{
	ends_of(_metadata, &limited_entropy);
}

TEST_F_TIMEOUT(race, requests_that_have_to_wait_are_closed_and_killed, 280)
{
	ends_of(_metadata, &limited_requests);
}

/* ---- a descriptor without its owner ---- */

#define ESTATE		(64UL << 20)	/* memory that only the owner has */
#define LEFT		100		/* number of the request that is left on queue 1 */
#define LEFT_DATA	(DATA + 0x100000)
#define LEFT_SECTOR	1024
#define LEFT_LEN	4096

/* Leaves requests in flight on queue 0 and, on queue 1, a write of what is not on the disk that nobody has kicked for. */
static struct virtio leave(int file, const uint8_t *on_disk)
{
	struct kiln_virtio_block back = { .fd = file, .flags = KILN_BLOCK_WRITEBACK };
	struct header h = { .type = VIRTIO_BLK_T_OUT, .sector = LEFT_SECTOR };
	struct ring_piece p[3] = { { HEADER + LEFT * 16, 16, false }, { LEFT_DATA, LEFT_LEN, false },
				   { STATUS + LEFT, 1, true } };
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct virtio v = virtio_create(vm, VIRTIO_ID_BLOCK, 2);
	uint8_t *estate = vm_map(vm, 1, SLOT_GPA, ESTATE);

	memset(estate, 1, ESTATE);
	if (madvise(estate, ESTATE, MADV_DONTFORK))
		die("MADV_DONTFORK: %s", strerror(errno));
	if (xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &back) || virtio_start(&v, V1 | BIT64(VIRTIO_BLK_F_FLUSH)))
		die("the device does not start");
	/* Its start kicks once. */
	usleep(100000);
	memcpy(vm->ram + HEADER + LEFT * 16, &h, sizeof(h));
	for (int i = 0; i < LEFT_LEN; i++)
		vm->ram[LEFT_DATA + i] = ~on_disk[i];
	ring_add(&v.ring[1], p, 3);
	fill(&v);
	return v;
}

/* Kicks the queues of a device whose owner is gone; says how often one of them has answered, up to 9, and stays. */
static void inherit(struct virtio *v, int told, int tell)
{
	char c;

	if (read(told, &c, 1) != 1)
		_exit(1);
	virtio_wait(v, 0, 0);
	for (int i = 0; i < 50; i++) {
		virtio_kick(v, 0);
		virtio_kick(v, 1);
		usleep(1000);
	}
	c = '0' + (virtio_wait(v, 0, 100) ? 1 : 0) + (virtio_wait(v, 1, 0) ? 1 : 0);
	if (write(tell, &c, 1) != 1 || read(told, &c, 1))
		_exit(1);
	_exit(0);
}

/* The device's descriptor lives on in a child, without its owner. */
TEST_F_TIMEOUT(race, a_descriptor_that_outlives_its_owner_keeps_no_memory_and_serves_nothing, 60)
{
	static uint8_t before[LEFT_LEN] __attribute__((aligned(4096))), after[LEFT_LEN] __attribute__((aligned(4096)));
	int file = any_disk(), go[2], answer[2], status;
	long free_before, kept;
	pid_t pid;
	char c;

	ASSERT_EQ(LEFT_LEN, pread(file, before, LEFT_LEN, LEFT_SECTOR * 512));
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(answer));
	free_before = used_kib();
	pid = fork();
	if (!pid) {
		struct virtio v = leave(file, before);

		close(go[1]);
		close(answer[0]);
		if (!fork())
			inherit(&v, go[0], answer[1]);
		_exit(0);
	}
	close(go[0]);
	close(answer[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	/* The heir has it all but the owner's memory. */
	kept = used_kib() - free_before;
	for (int i = 0; i < 10 && kept >= (long)(ESTATE >> 11); i++)
		kept = used_kib() - free_before;
	EXPECT_GT((long)(ESTATE >> 11), kept);
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(1, read(answer[0], &c, 1));
	EXPECT_EQ('0', c);
	ASSERT_EQ(LEFT_LEN, pread(file, after, LEFT_LEN, LEFT_SECTOR * 512));
	EXPECT_EQ(0, memcmp(before, after, LEFT_LEN));
	/* And it goes. */
	close(go[1]);
	EXPECT_EQ(0, read(answer[0], &c, 1));
	close(answer[0]);
	close(file);
}

TEST_F_TIMEOUT(race, the_module_can_be_unloaded_after_all_that, 60)
{
	int r;

	if (!module_file_exists())
		SKIP(return, "no module to load again: set KILN_MODULE to its file");
	for (int i = 0; i < 1000 && module_users(); i++)
		usleep(10000);
	EXPECT_EQ(0, module_users());
	r = module_unload("kiln");
	ASSERT_EQ(0, r)
		TH_LOG("delete_module: %s", strerror(-r));
	r = module_load();
	ASSERT_EQ(0, r)
		TH_LOG("finit_module: %s", strerror(-r));
}

TEST_HARNESS_MAIN
