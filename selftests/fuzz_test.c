// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of the ioctls of the device, of VMs, vCPUs and virtio devices: short programs of calls, the arguments half
 * sensible, half not; and rings with anything in them. Where the kernel has KCOV (lab/vm --kernel debug) a program that reaches a new place in the module is kept, and
 * mutated; without KCOV all programs are new ones.
 *
 * A program is the list of the random seeds it is made of: the first makes it, each of the others changes it once. So a
 * list of numbers is all that is needed to run it again: KILN_PROGRAM=S1.S2.S3. KILN_SEED repeats the choices of a run;
 * FUZZ_SECONDS is how long it takes (20 with a guide, 5 without; make fuzz takes longer).
 *
 * Found is what taints the kernel or ends lockdep, what kills the program's process and what never ends. Each program
 * is a process with a VM of its own. What the host may lose nothing by is left to it, so the calls get memory of one
 * arena only, and no signal mask that would keep the process's own timer from ending KVM_RUN.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "coverage.h"
#include "guest.h"
#include "kiln.h"
#include "random.h"
#include "virtio.h"
#include "vm.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define MAX_SEEDS	12
#define MAX_CALLS	16
#define MAX_CORPUS	512
#define ARG_SIZE	8192
#define ARENA_SIZE	(2UL << 20)
#define RINGS		0x100000UL	/* of the virtio device, in the arena */
#define RING_ROOM	0x4000UL
#define MAX_QUEUES	(VIRTIO_QUEUES + 1)
#define HANG_SECONDS	60

/* ---- Programs ---- */

struct program {
	int n;
	uint64_t seeds[MAX_SEEDS];
};

enum target { DEVICE, VM, VCPU, VIRTIO, TARGETS };

struct call {
	uint16_t which;			/* of calls[] */
	uint8_t bad_pointer;		/* instead of the argument, where it is not 0 */
	uint64_t seed;			/* of the argument */
	uint16_t flips;			/* bits of it that are changed */
};

static uint8_t *arena;
static int events[2];
static int files[3];		/* a file, and the ends of a pipe */

static uint64_t word(void)
{
	static const uint64_t interesting[] = { 0, 1, 2, 3, 4, 8, 0x10, 0x20, 0xff, 0x100, 0x1000, 0x7fffffff, 0x80000000,
						0xfee00000, 0xfec00000, 0xffffffff, 1UL << 32, 1UL << 47, 1UL << 63, ~0UL };

	switch (next_random() % 4) {
	case 0:
		return next_random();
	case 1:
		return next_random() % 256;
	case 2:
		return (next_random() % 512) << 12;
	default:
		return interesting[next_random() % ARRAY_LEN(interesting)];
	}
}

static int some_fd(void)
{
	return one_in(8) ? (int)word() | 0x40000000 : events[next_random() % 2];
}

static int some_file(void)
{
	return one_in(4) ? some_fd() : files[next_random() % ARRAY_LEN(files)];
}

static uint32_t some_type(void)
{
	static const uint32_t types[] = { VIRTIO_ID_NET, VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_RNG,
					  VIRTIO_ID_BALLOON };

	return one_in(16) ? word() : types[next_random() % ARRAY_LEN(types)];
}

/* Fill an argument in a sensible way; what they leave is random. */
static void fill_slot(void *arg)
{
	struct kvm_userspace_memory_region *r = arg;

	r->slot = one_in(8) ? word() : next_random() % 4;
	r->flags = next_random() % 4;
	r->guest_phys_addr = one_in(4) ? word() & ~0xfffUL : (next_random() % 8) << 20;
	r->memory_size = one_in(3) ? 0 : (next_random() % 256) << 12;
}

static void fill_cpuid(void *arg)
{
	struct kvm_cpuid2 *cpuid = arg;
	static const uint32_t leaves[] = { 0, 1, 2, 4, 6, 7, 0xa, 0xb, 0xd, 0x14, 0x1f, 0x40000000, 0x40000001, 0x80000000,
					   0x80000001, 0x80000008, 0x8000000a };

	cpuid->nent = one_in(8) ? word() : next_random() % 100;
	for (int i = 0; i < 100; i++) {
		cpuid->entries[i].function = leaves[next_random() % ARRAY_LEN(leaves)];
		cpuid->entries[i].index = next_random() % 4;
	}
}

static void fill_msrs(void *arg)
{
	struct kvm_msrs *msrs = arg;
	static const uint32_t bases[] = { 0, 0x170, 0x1a0, 0x200, 0x260, 0x400, 0x800, 0xda0, 0xc0000080, 0xc0000100,
					  0x4b564d00, 0xc0010000 };

	msrs->nmsrs = one_in(8) ? word() : next_random() % 16;
	for (int i = 0; i < 16; i++)
		msrs->entries[i] = (struct kvm_msr_entry){
			.index = bases[next_random() % ARRAY_LEN(bases)] + next_random() % 32, .data = word() };
}

static void fill_routing(void *arg)
{
	struct kvm_irq_routing *routing = arg;

	routing->nr = one_in(8) ? word() : next_random() % 32;
	routing->flags = one_in(8);
	for (int i = 0; i < 32; i++) {
		struct kvm_irq_routing_entry *e = &routing->entries[i];

		memset(e, 0, sizeof(*e));
		e->gsi = next_random() % 32;
		e->type = 1 + next_random() % 2;
		e->u.irqchip.irqchip = next_random() % 3;
		e->u.irqchip.pin = next_random() % 24;
	}
}

static void fill_irqfd(void *arg)
{
	struct kvm_irqfd *f = arg;

	memset(f, 0, sizeof(*f));
	f->fd = some_fd();
	f->gsi = next_random() % 32;
	f->flags = next_random() % 4;
	f->resamplefd = some_fd();
}

static void fill_ioeventfd(void *arg)
{
	struct kvm_ioeventfd *f = arg;

	memset(f, 0, sizeof(*f));
	f->fd = some_fd();
	f->addr = one_in(2) ? 0x510 : 0xd0000000;
	f->len = (1 << next_random() % 4) & 0xf;
	f->datamatch = next_random() % 4;
	f->flags = next_random() % 8;
}

static void fill_line(void *arg)
{
	struct kvm_irq_level *line = arg;

	line->irq = one_in(8) ? word() : next_random() % 26;
	line->level = next_random() % 2;
}

static void fill_msi(void *arg)
{
	struct kvm_msi *msi = arg;

	memset(msi, 0, sizeof(*msi));
	msi->address_lo = 0xfee00000 | (next_random() & 0xff00c);
	msi->data = next_random() & 0x7ff;
	msi->flags = one_in(16);
}

static void fill_events(void *arg)
{
	struct kvm_vcpu_events *e = arg;

	memset(e, 0, sizeof(*e));
	e->exception.injected = next_random() % 2;
	e->exception.nr = next_random() % 32;
	e->exception.has_error_code = next_random() % 2;
	e->interrupt.injected = next_random() % 2;
	e->interrupt.nr = next_random();
	e->interrupt.shadow = next_random() % 4;
	e->nmi.pending = next_random() % 2;
	e->nmi.masked = next_random() % 2;
	e->flags = next_random() % 16;
}

static void fill_state(void *arg)
{
	((struct kvm_mp_state *)arg)->mp_state = next_random() % 8;
}

static void fill_mask(void *arg)
{
	((struct kvm_signal_mask *)arg)->len = one_in(4) ? word() : 8;
}

static void fill_counters(void *arg)
{
	struct kiln_counters *counters = arg;

	counters->nr = next_random() % 64;
	counters->reserved = one_in(8);
}

static void fill_clock(void *arg)
{
	memset(arg, 0, sizeof(struct kvm_clock_data));
	((struct kvm_clock_data *)arg)->clock = word();
}

static void fill_dirty(void *arg)
{
	memset(arg, 0, sizeof(struct kvm_clear_dirty_log));
	((struct kvm_clear_dirty_log *)arg)->slot = next_random() % 4;
	((struct kvm_clear_dirty_log *)arg)->num_pages = next_random() % 9 * 64;
	((struct kvm_clear_dirty_log *)arg)->first_page = next_random() % 4 * 64;
	((struct kvm_clear_dirty_log *)arg)->dirty_bitmap = arena + ARENA_SIZE / 2;
}

/* Of a virtio device. */
static void fill_create(void *arg)
{
	*(struct kiln_virtio_create *)arg = (struct kiln_virtio_create){ .type = some_type(),
									 .nr_queues = next_random() % (MAX_QUEUES + 1) };
}

static void fill_status(void *arg)
{
	static const uint8_t statuses[] = { 0, 1, 3, 11, 11, 15, 15, 15, 79, 143 };

	*(uint8_t *)arg = statuses[next_random() % ARRAY_LEN(statuses)];
}

static void fill_queue(void *arg)
{
	struct vhost_vring_state *state = arg;

	state->index = next_random() % (MAX_QUEUES + 1);
	state->num = one_in(3) ? word() : 1 << next_random() % 9;
}

static void fill_enable(void *arg)
{
	fill_queue(arg);
	((struct vhost_vring_state *)arg)->num = next_random() % 2;
}

static void fill_file(void *arg)
{
	struct vhost_vring_file *file = arg;

	file->index = next_random() % (MAX_QUEUES + 1);
	file->fd = one_in(4) ? -1 : some_fd();
}

static uint64_t ring_part(void)
{
	return (uintptr_t)arena + RINGS + next_random() % (MAX_QUEUES * RING_ROOM / 64) * 64;
}

static void fill_addr(void *arg)
{
	*(struct vhost_vring_addr *)arg = (struct vhost_vring_addr){
		.index = next_random() % (MAX_QUEUES + 1), .flags = one_in(8), .desc_user_addr = ring_part(),
		.used_user_addr = ring_part(), .avail_user_addr = ring_part() };
}

static void fill_config(void *arg)
{
	struct vhost_vdpa_config *config = arg;

	config->off = next_random() % 64;
	config->len = next_random() % 16;
}

static void fill_bell(void *arg)
{
	struct kiln_virtio_doorbell *bell = arg;

	bell->index = next_random() % (MAX_QUEUES + 1);
	bell->flags = next_random() % 4;
	bell->addr = one_in(2) ? 0x510 : 0xd0000000;
}

static void fill_message(void *arg)
{
	*(struct kiln_virtio_msi *)arg = (struct kiln_virtio_msi){
		.index = one_in(4) ? KILN_VIRTIO_CONFIG_INDEX : next_random() % MAX_QUEUES, .flags = next_random() % 4,
		.address = 0xfee00000 | (next_random() & 0xff00c), .data = next_random() & 0x7ff };
}

static void fill_block(void *arg)
{
	*(struct kiln_virtio_block *)arg = (struct kiln_virtio_block){
		.fd = some_file(), .flags = next_random() % 8, .iops = one_in(4) ? word() : 0,
		.bps = one_in(4) ? word() : 0, .block_size = one_in(4) ? 512 << next_random() % 5 : 0 };
}

static void fill_net(void *arg)
{
	memset(arg, 0, sizeof(struct kiln_virtio_net));
	((struct kiln_virtio_net *)arg)->nr_pairs = next_random() % 4;
	((struct kiln_virtio_net *)arg)->mtu = one_in(2) ? word() : 1500;
	for (int i = 0; i < 8; i++)
		((struct kiln_virtio_net *)arg)->fd[i] = some_file();
}

static void fill_console(void *arg)
{
	*(struct kiln_virtio_console *)arg = (struct kiln_virtio_console){ .in = some_file(), .out = some_file(),
									   .cols = 80, .rows = next_random() };
}

static void fill_rng(void *arg)
{
	*(struct kiln_virtio_rng *)arg = (struct kiln_virtio_rng){ .bps = word() };
}

static void fill_balloon(void *arg)
{
	*(struct kiln_virtio_balloon *)arg = (struct kiln_virtio_balloon){ .num_pages = word(),
									   .stats_seconds = next_random() % 3 };
}

static void fill_hint(void *arg)
{
	*(struct kiln_virtio_hint *)arg = (struct kiln_virtio_hint){ .command = next_random() % 4 };
}

/* With a getter the argument starts as what that said, so that a few flipped bits are all that is wrong with it. */
#define P(target, nr, ...)	{ target, nr, #nr, false, __VA_ARGS__ }
#define V(target, nr)		{ target, nr, #nr, true }

static const struct {
	enum target target;
	unsigned long nr;
	const char *name;
	bool value;			/* the argument is no pointer */
	void (*fill)(void *arg);
	unsigned long getter;
} calls[] = {
	P(DEVICE, KVM_GET_SUPPORTED_CPUID, fill_cpuid), P(DEVICE, KVM_GET_MSR_INDEX_LIST), V(DEVICE, KVM_CHECK_EXTENSION),
	V(DEVICE, KVM_GET_VCPU_MMAP_SIZE), P(DEVICE, KILN_GET_VERSION), V(DEVICE, KVM_CREATE_VM),
	V(VM, KVM_CREATE_VCPU), P(VM, KVM_SET_USER_MEMORY_REGION, fill_slot), V(VM, KVM_SET_TSS_ADDR),
	P(VM, KVM_SET_USER_MEMORY_REGION, fill_slot), P(VM, KVM_SET_IDENTITY_MAP_ADDR), V(VM, KVM_CREATE_IRQCHIP),
	P(VM, KVM_CREATE_PIT2), P(VM, KVM_IRQ_LINE, fill_line), P(VM, KVM_IRQ_LINE_STATUS, fill_line),
	P(VM, KVM_SET_GSI_ROUTING, fill_routing), P(VM, KVM_SIGNAL_MSI, fill_msi), P(VM, KVM_IRQFD, fill_irqfd),
	P(VM, KVM_IOEVENTFD, fill_ioeventfd), P(VM, KVM_GET_CLOCK), P(VM, KVM_SET_CLOCK, fill_clock),
	V(VM, KVM_CHECK_EXTENSION), P(VM, KILN_GET_COUNTERS, fill_counters), P(VM, KVM_GET_DIRTY_LOG),
	P(VM, KVM_GET_IRQCHIP), P(VM, KVM_SET_IRQCHIP), P(VM, KVM_GET_PIT2), P(VM, KVM_SET_PIT2), P(VM, KVM_ENABLE_CAP),
	V(VM, KVM_SET_BOOT_CPU_ID),
	V(VCPU, KVM_RUN), V(VCPU, KVM_RUN), V(VCPU, KVM_RUN), V(VCPU, KVM_NMI),
	P(VCPU, KVM_GET_REGS), P(VCPU, KVM_SET_REGS, NULL, KVM_GET_REGS),
	P(VCPU, KVM_GET_SREGS), P(VCPU, KVM_SET_SREGS, NULL, KVM_GET_SREGS),
	P(VCPU, KVM_GET_FPU), P(VCPU, KVM_SET_FPU, NULL, KVM_GET_FPU),
	P(VCPU, KVM_GET_XSAVE), P(VCPU, KVM_SET_XSAVE, NULL, KVM_GET_XSAVE),
	P(VCPU, KVM_GET_XCRS), P(VCPU, KVM_SET_XCRS, NULL, KVM_GET_XCRS),
	P(VCPU, KVM_GET_MSRS, fill_msrs), P(VCPU, KVM_SET_MSRS, fill_msrs),
	P(VCPU, KVM_GET_LAPIC), P(VCPU, KVM_SET_LAPIC, NULL, KVM_GET_LAPIC),
	P(VCPU, KVM_GET_MP_STATE), P(VCPU, KVM_SET_MP_STATE, fill_state),
	P(VCPU, KVM_GET_VCPU_EVENTS), P(VCPU, KVM_SET_VCPU_EVENTS, fill_events),
	P(VCPU, KVM_SET_VCPU_EVENTS, NULL, KVM_GET_VCPU_EVENTS),
	P(VCPU, KVM_GET_CPUID2, fill_cpuid), P(VCPU, KVM_SET_CPUID2, fill_cpuid),
	V(VCPU, KVM_GET_TSC_KHZ), V(VCPU, KVM_SET_TSC_KHZ), P(VCPU, KVM_SET_SIGNAL_MASK, fill_mask),
	P(VCPU, KILN_GET_DEATH), P(VCPU, KILN_GET_COUNTERS, fill_counters), P(VCPU, KVM_GET_DEBUGREGS),
	P(VCPU, KVM_SET_DEBUGREGS), P(VCPU, KVM_SET_GUEST_DEBUG), P(VCPU, KVM_TRANSLATE), P(VCPU, KVM_INTERRUPT),
	P(VCPU, KVM_ENABLE_CAP), V(VCPU, KVM_KVMCLOCK_CTRL),
	P(VM, KVM_CLEAR_DIRTY_LOG, fill_dirty), P(VM, KILN_CREATE_VIRTIO, fill_create),
	P(VIRTIO, VHOST_SET_OWNER), P(VIRTIO, VHOST_RESET_OWNER), P(VIRTIO, VHOST_GET_FEATURES),
	P(VIRTIO, VHOST_SET_FEATURES, NULL, VHOST_GET_FEATURES), P(VIRTIO, VHOST_VDPA_GET_STATUS),
	P(VIRTIO, VHOST_VDPA_SET_STATUS, fill_status), P(VIRTIO, VHOST_VDPA_SET_STATUS, fill_status),
	P(VIRTIO, VHOST_VDPA_GET_CONFIG, fill_config), P(VIRTIO, VHOST_VDPA_SET_CONFIG, fill_config),
	P(VIRTIO, VHOST_VDPA_SET_CONFIG_CALL), P(VIRTIO, VHOST_VDPA_SUSPEND),
	P(VIRTIO, VHOST_SET_VRING_NUM, fill_queue), P(VIRTIO, VHOST_SET_VRING_ADDR, fill_addr),
	P(VIRTIO, VHOST_SET_VRING_BASE, fill_queue), P(VIRTIO, VHOST_GET_VRING_BASE, fill_queue),
	P(VIRTIO, VHOST_SET_VRING_KICK, fill_file), P(VIRTIO, VHOST_SET_VRING_CALL, fill_file),
	P(VIRTIO, VHOST_SET_VRING_ERR, fill_file), P(VIRTIO, VHOST_VDPA_SET_VRING_ENABLE, fill_enable),
	P(VIRTIO, VHOST_VDPA_SET_VRING_ENABLE, fill_enable), P(VIRTIO, KILN_VIRTIO_SET_DOORBELL, fill_bell),
	P(VIRTIO, KILN_VIRTIO_SET_MSI, fill_message), P(VIRTIO, KILN_VIRTIO_GET_MSI, fill_message),
	P(VIRTIO, KILN_VIRTIO_GET_BROKEN), P(VIRTIO, KILN_VIRTIO_SET_BLOCK, fill_block),
	P(VIRTIO, KILN_VIRTIO_SET_NET, fill_net), P(VIRTIO, KILN_VIRTIO_SET_CONSOLE, fill_console),
	P(VIRTIO, KILN_VIRTIO_GET_CONSOLE), P(VIRTIO, KILN_VIRTIO_SET_RNG, fill_rng),
	P(VIRTIO, KILN_VIRTIO_SET_BALLOON, fill_balloon), P(VIRTIO, KILN_VIRTIO_GET_BALLOON),
	P(VIRTIO, KILN_VIRTIO_SET_HINT, fill_hint), P(VIRTIO, KILN_VIRTIO_GET_HINT),
};

static struct call random_call(void)
{
	return (struct call){ .which = next_random() % ARRAY_LEN(calls), .bad_pointer = one_in(24) ? 1 + next_random() % 4 : 0,
			      .seed = next_random(), .flips = one_in(2) ? 0 : next_random() % 8 };
}

/* Inserts, drops, replaces or spoils one. */
static void mutate(struct call *c, int *n)
{
	int i = next_random() % *n;

	switch (next_random() % 4) {
	case 0:
		if (*n < MAX_CALLS) {
			memmove(c + i + 1, c + i, (*n - i) * sizeof(*c));
			(*n)++;
		}
		c[i] = random_call();
		break;
	case 1:
		if (*n > 1) {
			memmove(c + i, c + i + 1, (*n - i - 1) * sizeof(*c));
			(*n)--;
		}
		break;
	case 2:
		c[i] = random_call();
		break;
	default:
		c[i].seed = next_random();
		c[i].flips = next_random() % 64;
	}
}

static int expand(const struct program *p, struct call *c)
{
	int n;

	set_seed(p->seeds[0]);
	n = 3 + next_random() % (MAX_CALLS - 6);
	for (int i = 0; i < n; i++)
		c[i] = random_call();
	for (int i = 1; i < p->n; i++) {
		set_seed(p->seeds[i]);
		mutate(c, &n);
	}
	return n;
}

static const char *program_text(const struct program *p)
{
	static char text[MAX_SEEDS * 24];
	int at = 0;

	for (int i = 0; i < p->n; i++)
		at += snprintf(text + at, sizeof(text) - at, "%s%llu", i ? "." : "", (unsigned long long)p->seeds[i]);
	return text;
}

static struct program program_from_text(const char *text)
{
	struct program p = { 0 };
	char *end;

	for (; *text && p.n < MAX_SEEDS; text = *end ? end + 1 : end)
		p.seeds[p.n++] = strtoull(text, &end, 0);
	return p;
}

/* ---- Running one ---- */

/* What would hurt the process instead of the kernel is taken back. */
static void make_harmless(unsigned long nr, void *arg)
{
	if (nr == KVM_SET_USER_MEMORY_REGION) {
		struct kvm_userspace_memory_region *r = arg;

		if (r->userspace_addr < 1UL << 47)
			r->userspace_addr = (uintptr_t)arena + r->userspace_addr % ARENA_SIZE / 4096 * 4096;
		if (r->userspace_addr < 1UL << 47 && r->memory_size > (uintptr_t)arena + ARENA_SIZE - r->userspace_addr)
			r->memory_size = 4096;
	}
	if (nr == KVM_SET_SIGNAL_MASK)
		((struct kvm_signal_mask *)arg)->sigset[(SIGALRM - 1) / 8] &= ~(1 << (SIGALRM - 1) % 8);
}

static void nothing(int sig)
{
}

static void do_call(const struct call *c, const int fds[TARGETS], bool tell)
{
	static uint8_t arg[ARG_SIZE] __attribute__((aligned(64)));
	static const uint64_t bad[] = { 0, 8, 1UL << 47, ~0xfffUL };
	int fd = fds[calls[c->which].target], r;
	unsigned long nr = calls[c->which].nr;
	size_t size = _IOC_SIZE(nr);

	if (fd < 0)
		return;
	set_seed(c->seed);
	if (calls[c->which].getter)
		xioctl(fd, calls[c->which].getter, arg);
	else
		for (int i = 0; i < 64; i++)
			((uint64_t *)arg)[i] = word();
	if (calls[c->which].fill)
		calls[c->which].fill(arg);
	for (int i = 0; i < c->flips; i++)
		random_bit(arg, size ?: 64);
	make_harmless(nr, arg);
	if (nr == KVM_RUN)
		r = xioctl(fd, nr, NULL);
	else if (calls[c->which].value)
		r = xioctl(fd, nr, (void *)(one_in(2) ? word() % 4 : word()));
	else
		r = xioctl(fd, nr, c->bad_pointer ? (void *)bad[c->bad_pointer - 1] : arg);
	if (tell)
		printf("#   %s (flips %d%s): %d\n", calls[c->which].name, c->flips, c->bad_pointer ? ", bad pointer" : "", r);
	if (r >= 3 && (nr == KVM_CREATE_VM || nr == KVM_CREATE_VCPU || nr == KILN_CREATE_VIRTIO) && r != fd)
		close(r);
}

/* Descriptors of rings that are just good enough to be followed for a while, whatever the ring is taken for. */
static void fill_ring(uint8_t *at)
{
	struct vring_desc *desc = (void *)at;
	uint16_t *words = (void *)(at + 64 * sizeof(*desc));

	for (int i = 0; i < 64; i++) {
		desc[i].addr = one_in(16) ? word() : next_random() % ARENA_SIZE;
		desc[i].len = one_in(8) ? word() : next_random() % 0x2000;
		desc[i].flags = one_in(8) ? word() : next_random() % 8 | (next_random() % 4 << 14);
		desc[i].next = one_in(16) ? word() : next_random() % 64;
	}
	for (unsigned int i = 0; i < (RING_ROOM - 64 * sizeof(*desc)) / 2; i++)
		words[i] = next_random() % 64;
}

/* A device, with rings and at work if all goes well; -1 where there is none to be had. */
static int make_virtio(int vm)
{
	struct kiln_virtio_create create = { .type = some_type(), .nr_queues = 1 + next_random() % VIRTIO_QUEUES };
	struct virtio v = { .n = create.nr_queues, .fd = xioctl(vm, KILN_CREATE_VIRTIO, &create) };
	bool packed = one_in(2);
	uint64_t features;

	if (v.fd < 0 || xioctl(v.fd, VHOST_SET_OWNER, NULL) || one_in(4))
		return v.fd;
	if (create.type == VIRTIO_ID_BLOCK) {
		struct kiln_virtio_block block = { .fd = files[0], .flags = next_random() % 8 };

		xioctl(v.fd, KILN_VIRTIO_SET_BLOCK, &block);
	}
	virtio_status(&v, 3);
	xioctl(v.fd, VHOST_GET_FEATURES, &features);
	features &= BIT64(VIRTIO_F_VERSION_1) | next_random();
	features = packed ? features | BIT64(VIRTIO_F_RING_PACKED) : features & ~BIT64(VIRTIO_F_RING_PACKED);
	xioctl(v.fd, VHOST_SET_FEATURES, &features);
	virtio_status(&v, 11);
	for (unsigned int i = 0; i < v.n; i++) {
		struct vhost_vring_file kick = { .index = i, .fd = events[i % 2] };

		fill_ring(arena + RINGS + i * RING_ROOM);
		ring_init(&v.ring[i], (uintptr_t)arena, RINGS + i * RING_ROOM, 64, packed, false);
		virtio_set_ring(&v, i);
		xioctl(v.fd, VHOST_SET_VRING_KICK, &kick);
		virtio_enable(&v, i, 1);
	}
	virtio_status(&v, 15);
	return v.fd;
}

static void open_files(void)
{
	files[0] = memfd_create("fuzz", MFD_CLOEXEC);
	if (files[0] < 0 || ftruncate(files[0], 1 << 20) || pipe2(files + 1, O_CLOEXEC | O_NONBLOCK))
		die("files: %s", strerror(errno));
}

/* Code that leaves often, and HLT everywhere else, so that no guest goes on for long with its interrupts off. */
static const uint8_t guest_code[] = {
	0x0f, 0xa2, 0xe4, 0x21, 0xe6, 0x51, 0xee, 0xa1, 0x00, 0x00, 0x00, 0xd0, 0x0f, 0x20, 0xc0, 0x0f, 0x32, 0x0f, 0x30, 0xcd, 0x20,
};

static void run_program(const struct program *p, bool tell)
{
	struct kvm_userspace_memory_region ram = { .memory_size = ARENA_SIZE, .userspace_addr = (uintptr_t)arena };
	struct itimerval each = { .it_interval.tv_usec = 5000, .it_value.tv_usec = 5000 };
	struct sigaction action = { .sa_handler = nothing };
	struct call c[MAX_CALLS];
	int n = expand(p, c), fds[TARGETS];
	bool irqchip = one_in(2), mapped = one_in(4);

	sigaction(SIGALRM, &action, NULL);
	events[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	events[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	open_files();
	memset(arena, 0xf4, ARENA_SIZE);
	for (int i = 0; i < 0x1000; i += 64)
		memcpy(arena + 0x1000 + i, guest_code, sizeof(guest_code));
	fds[DEVICE] = device_open();
	fds[VM] = xioctl(fds[DEVICE], KVM_CREATE_VM, NULL);
	xioctl(fds[VM], KVM_SET_USER_MEMORY_REGION, &ram);
	if (irqchip)
		xioctl(fds[VM], KVM_CREATE_IRQCHIP, NULL);
	fds[VCPU] = xioctl(fds[VM], KVM_CREATE_VCPU, NULL);
	if (mapped)
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[VCPU], 0);
	if (fds[VCPU] >= 0) {
		struct vcpu vcpu = { .fd = fds[VCPU] };

		vcpu_real_mode(&vcpu, 0x1000);
	}
	set_seed(p->seeds[0]);
	fds[VIRTIO] = make_virtio(fds[VM]);
	setitimer(ITIMER_REAL, &each, NULL);
	for (int i = 0; i < n; i++)
		do_call(&c[i], fds, tell);
}

/* ---- The search ---- */

static struct program corpus[MAX_CORPUS];
static int n_corpus;

static struct program next_program(uint64_t *choice)
{
	struct program p = { 0 };

	set_seed(*choice);
	*choice = next_random();
	if (n_corpus && !one_in(4))
		p = corpus[next_random() % n_corpus];
	if (p.n == MAX_SEEDS)
		p.n = 1;
	p.seeds[p.n++] = next_random();
	return p;
}

static long read_number(const char *path, const char *format)
{
	FILE *f = fopen(path, "r");
	char line[128];
	long n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, format, &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* What a report of the kernel leaves behind: KASAN, WARN and BUG taint it, lockdep switches itself off. */
struct health {
	long tainted, lockdep;
};

static struct health look(void)
{
	return (struct health){ read_number("/proc/sys/kernel/tainted", "%ld"),
				read_number("/proc/lockdep_stats", " debug_locks: %ld") };
}

/* NULL, or what is wrong. */
static const char *try_program(const struct program *p, bool tell)
{
	static struct health before;
	struct health after;
	int status, ms = 0;
	pid_t pid;

	if (!before.tainted)
		before = look();
	coverage_restart();
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (!coverage_of_this_thread())
			_exit(1);
		run_program(p, tell);
		fflush(stdout);
		_exit(0);
	}
	for (; !waitpid(pid, &status, WNOHANG); ms++) {
		if (ms > HANG_SECONDS * 1000) {
			kill(pid, SIGKILL);
			return "the program does not end";
		}
		usleep(ms < 50 ? 200 : 1000);
	}
	if (!WIFEXITED(status))
		return "the program was killed";
	if (WEXITSTATUS(status))
		return "no coverage";
	after = look();
	return memcmp(&before, &after, sizeof(before)) ? "the kernel reported something" : NULL;
}

FIXTURE(fuzz) {
};

FIXTURE_SETUP(fuzz)
{
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, arena);
}

FIXTURE_TEARDOWN(fuzz)
{
}

TEST_F_TIMEOUT(fuzz, no_program_of_calls_harms_the_host, 100000)
{
	time_t end;
	const char *given = getenv("KILN_PROGRAM"), *wrong = NULL;
	unsigned long programs = 0;
	uint64_t choice;
	bool guided;

	if (given && *given) {
		struct program p = program_from_text(given);

		wrong = try_program(&p, true);
		ASSERT_EQ(NULL, wrong) {
			TH_LOG("%s", wrong);
		}
		return;
	}
	choice = seed_random(_metadata->name);
	guided = coverage_open("kiln");
	if (!guided)
		printf("# not guided: no KCOV in this kernel, or no kiln\n");
	/* Without a guide it only repeats what a machine with KCOV does better. */
	end = time(NULL) + from_environment("FUZZ_SECONDS", guided ? 20 : 5);
	for (; !wrong && time(NULL) < end; programs++) {
		struct program p = next_program(&choice);

		wrong = try_program(&p, false);
		if (!wrong && coverage_new_places() && n_corpus < MAX_CORPUS)
			corpus[n_corpus++] = p;
		ASSERT_EQ(NULL, wrong) {
			TH_LOG("KILN_PROGRAM=%s: %s", program_text(&p), wrong);
		}
	}
	printf("# %lu programs, %d of them kept, %u places of the module reached\n", programs, n_corpus, coverage_places());
	fflush(stdout);
	ASSERT_LT(10, programs);
	if (guided) {
		ASSERT_LT(100, coverage_places());
	}
}

TEST_HARNESS_MAIN
