// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several processors: INIT and start-up IPIs, and IPIs of every destination between 2, 4 and 8 of them (SDM vol. 3
 * §8.4, §10.6).
 *
 * All processors run the same page tables and data. Application processors count themselves in and then wait with HLT
 * for interrupts, or do what "work" says.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define VECTOR	0x71
#define INIT	0x4500
#define SIPI	(0x4600 | AP_PAGE >> 12)

static volatile uint32_t online __guest_data = 0;
static volatile uint32_t got[16] __guest_data = { 0 };	/* interrupts per APIC id */
static volatile uint32_t nmis[16] __guest_data = { 0 };
static volatile uint32_t n_vcpus __guest_data = 0;
static volatile uint32_t started_with[16] __guest_data = { 0 };

static __guest void wait_some(void)
{
	for (int i = 0; i < 1000; i++)
		pause_cpu();
}

static __guest uint32_t apic_id(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	return r[1] >> 24;
}

static volatile uint32_t may_repeat __guest_data = 0;

static __guest void on_ipi(struct trap *t)
{
	if (may_repeat && is_repeated(t))
		return;
	__atomic_add_fetch(&got[apic_id()], 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static __guest void on_x2ipi(struct trap *t)
{
	__atomic_add_fetch(&got[apic_id()], 1, __ATOMIC_SEQ_CST);
	wrmsr(X2APIC(APIC_EOI), 0);
}

static __guest void on_nmi(struct trap *t)
{
	__atomic_add_fetch(&nmis[apic_id()], 1, __ATOMIC_SEQ_CST);
}

static __guest void ap_waits(uint64_t id)
{
	apic_enable();
	apic_write(APIC_DFR, 0xffffffff);
	apic_write(APIC_LDR, 1 << (24 + id));
	started_with[id]++;
	__atomic_add_fetch(&online, 1, __ATOMIC_SEQ_CST);
	for (;;)
		sti_hlt();
}

static __guest void ap_waits_x2(uint64_t id)
{
	x2apic_enable();
	__atomic_add_fetch(&online, 1, __ATOMIC_SEQ_CST);
	for (;;)
		sti_hlt();
}

static __guest void send(uint32_t id, uint32_t command)
{
	apic_write(APIC_ICR2, id << 24);
	apic_write(APIC_ICR, command);
}

static __guest void wait_online(uint32_t n)
{
	sti();
	while (online < n)
		pause_cpu();
}

/* The start sequence every kernel uses, to one processor after the other. */
static __guest void start_all(void *entry)
{
	apic_enable();
	apic_write(APIC_DFR, 0xffffffff);
	apic_write(APIC_LDR, 1 << 24);
	guest_handlers[VECTOR] = on_ipi;
	guest_handlers[NMI_VECTOR] = on_nmi;
	ap_entry = (uint64_t)entry;
	for (uint32_t id = 1; id < n_vcpus; id++) {
		send(id, INIT);
		wait_some();
		send(id, SIPI);
		wait_online(id);
	}
	guest_expect(n_vcpus - 1, online);
}

static __guest void wait_got(uint32_t id, uint32_t n)
{
	while (got[id] < n)
		pause_cpu();
}

/* ---- the tests ---- */

FIXTURE(smp) {
	struct vm *vm;
	int n;
};

FIXTURE_VARIANT(smp) {
	int n;
};

FIXTURE_VARIANT_ADD(smp, of_2) { .n = 2 };
FIXTURE_VARIANT_ADD(smp, of_4) { .n = 4 };
FIXTURE_VARIANT_ADD(smp, of_8) { .n = 8 };

FIXTURE_SETUP(smp)
{
	self->n = variant->n;
	self->vm = vm_create(VM_IRQCHIP);
	for (int i = 0; i < variant->n; i++)
		vm_add_vcpu(self->vm);
	GUEST(self->vm, n_vcpus) = variant->n;
}

FIXTURE_TEARDOWN(smp)
{
	/* The threads of halted processors end with this process. */
}

/* Processor 0 runs the entry, the others wait for INIT as a fresh vCPU does; what came of processor 0. */
static const char *run_all(struct vm *vm, void (*entry)(void))
{
	vcpu_long_mode(&vm->vcpu[0], entry);
	for (unsigned int i = 1; i < vm->n_vcpus; i++)
		vcpu_start(&vm->vcpu[i]);
	return vcpu_outcome(&vm->vcpu[0]);
}

TEST_F(smp, only_the_first_is_runnable_at_first)
{
	struct kvm_mp_state state;

	for (int i = 0; i < self->n; i++) {
		ASSERT_IOCTL(0, self->vm->vcpu[i].fd, KVM_GET_MP_STATE, &state);
		EXPECT_EQ(i ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE, state.mp_state);
	}
}

static __guest void starts_all(void)
{
	start_all(ap_waits);
	for (uint32_t id = 1; id < n_vcpus; id++)
		guest_expect(1, started_with[id]);
	guest_done();
}

TEST_F(smp, init_and_startup_start_each_once)
{
	ASSERT_STREQ("done", run_all(self->vm, starts_all));
}

static __guest void sends_to_each(void)
{
	start_all(ap_waits);
	for (uint32_t round = 1; round <= 20; round++) {
		for (uint32_t id = 1; id < n_vcpus; id++) {
			send(id, VECTOR);
			wait_got(id, round);
			guest_expect(round, got[id]);
		}
	}
	guest_expect(0, got[0]);
	guest_done();
}

TEST_F(smp, an_ipi_reaches_the_one_it_names)
{
	ASSERT_STREQ("done", run_all(self->vm, sends_to_each));
}

static __guest void sends_to_all(void)
{
	start_all(ap_waits);
	apic_write(APIC_ICR, APIC_OTHERS | VECTOR);
	for (uint32_t id = 1; id < n_vcpus; id++)
		wait_got(id, 1);
	guest_expect(0, got[0]);
	apic_write(APIC_ICR, APIC_ALL | VECTOR);
	for (uint32_t id = 0; id < n_vcpus; id++)
		wait_got(id, id ? 2 : 1);
	send(0xff, VECTOR);
	for (uint32_t id = 0; id < n_vcpus; id++)
		wait_got(id, id ? 3 : 2);
	guest_done();
}

TEST_F(smp, shorthands_and_broadcast_reach_all_they_should)
{
	ASSERT_STREQ("done", run_all(self->vm, sends_to_all));
}

static __guest void sends_logically(void)
{
	uint32_t total = 0;

	start_all(ap_waits);
	send(0, 0x800 | VECTOR);					/* to nobody */
	send((1 << n_vcpus) - 2, 0x800 | VECTOR);			/* a mask: all but this one */
	for (uint32_t id = 1; id < n_vcpus; id++)
		wait_got(id, 1);
	guest_expect(0, got[0]);
	send((1 << n_vcpus) - 2, 0x900 | VECTOR);			/* lowest priority: to one of them */
	while (total < n_vcpus) {
		total = 0;
		for (uint32_t id = 0; id < n_vcpus; id++)
			total += got[id];
	}
	wait_some();
	total = 0;
	for (uint32_t id = 0; id < n_vcpus; id++)
		total += got[id];
	guest_expect(n_vcpus, total);
	guest_done();
}

TEST_F(smp, logical_destinations_are_masks_and_lowest_priority_picks_one)
{
	ASSERT_STREQ("done", run_all(self->vm, sends_logically));
}

static __guest void sends_nmis(void)
{
	start_all(ap_waits);
	for (uint32_t id = 1; id < n_vcpus; id++) {
		send(id, 0x400);
		while (!nmis[id])
			pause_cpu();
		guest_expect(1, nmis[id]);
	}
	guest_done();
}

TEST_F(smp, an_nmi_ipi_reaches_the_one_it_names)
{
	ASSERT_STREQ("done", run_all(self->vm, sends_nmis));
}

static __guest void starts_twice(void)
{
	start_all(ap_waits);
	send(1, INIT);
	wait_some();
	send(1, VECTOR);						/* not while it waits for a start */
	wait_some();
	guest_expect(0, got[1]);
	send(1, SIPI);
	wait_online(n_vcpus);
	guest_expect(2, started_with[1]);
	send(1, SIPI);							/* it waits for none: ignored */
	wait_some();
	guest_expect(2, started_with[1]);
	send(1, VECTOR);
	wait_got(1, 1);
	guest_done();
}

TEST_F(smp, init_resets_a_running_processor)
{
	ASSERT_STREQ("done", run_all(self->vm, starts_twice));
}

static __guest void starts_x2apic(void)
{
	start_all(ap_waits_x2);
	guest_handlers[VECTOR] = on_x2ipi;
	x2apic_enable();
	for (uint32_t round = 1; round <= 20; round++) {
		for (uint32_t id = 1; id < n_vcpus; id++) {
			wrmsr(X2APIC(APIC_ICR), (uint64_t)id << 32 | VECTOR);
			wait_got(id, round);
		}
	}
	wrmsr(X2APIC(APIC_ICR), APIC_OTHERS | VECTOR);
	for (uint32_t id = 1; id < n_vcpus; id++)
		wait_got(id, 21);
	wrmsr(X2APIC(APIC_ICR), ((1UL << n_vcpus) - 2) << 32 | 0x800 | VECTOR);
	for (uint32_t id = 1; id < n_vcpus; id++)
		wait_got(id, 22);
	guest_expect(0, got[0]);
	guest_done();
}

TEST_F(smp, x2apic_ipis_reach_the_ones_they_name)
{
	ASSERT_STREQ("done", run_all(self->vm, starts_x2apic));
}

/*
 * Every processor sends to its neighbour and waits for its own, a hundred times round. The next one goes out when the
 * neighbour has counted the one before: two of one vector that are pending at once are one.
 */
#define ROUNDS 100

static volatile uint32_t finished __guest_data = 0;

static __guest void ring_round(uint32_t id)
{
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint32_t next = (id + 1) % n_vcpus;

		sti();
		while (got[next] < round - 1)
			pause_cpu();
		cli();
		send(next, VECTOR);
		while (got[id] < round)
			sti_hlt();
		cli();
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

static __guest void ap_rings(uint64_t id)
{
	apic_enable();
	__atomic_add_fetch(&online, 1, __ATOMIC_SEQ_CST);
	wait_online(n_vcpus - 1);	/* one that waits for its start loses what is sent to it */
	cli();
	ring_round(id);
	for (;;)
		sti_hlt();
}

static __guest void rings_all(void)
{
	start_all(ap_rings);
	cli();
	ring_round(0);
	sti();
	while (finished < n_vcpus)
		pause_cpu();
	for (uint32_t id = 0; id < n_vcpus; id++)
		guest_expect(ROUNDS, got[id]);
	guest_done();
}

TEST_F(smp, no_ipi_is_lost_when_all_send_at_once)
{
	GUEST(self->vm, may_repeat) = host_is_tcg();
	ASSERT_STREQ("done", run_all(self->vm, rings_all));
}

/* Locked operations of all processors on one word add up. */
static volatile uint32_t sum __guest_data = 0;

static __guest void ap_adds(uint64_t id)
{
	apic_enable();
	__atomic_add_fetch(&online, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 10000; i++)
		__atomic_add_fetch(&sum, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	for (;;)
		sti_hlt();
}

static __guest void adds_with_all(void)
{
	start_all(ap_adds);
	while (finished < n_vcpus - 1)
		pause_cpu();
	guest_expect(10000 * (n_vcpus - 1), sum);
	guest_done();
}

TEST_F(smp, locked_additions_add_up)
{
	ASSERT_STREQ("done", run_all(self->vm, adds_with_all));
}

TEST_F(smp, a_processor_made_runnable_by_user_space_runs)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vcpu *last = &self->vm->vcpu[self->n - 1];

	ASSERT_IOCTL(0, last->fd, KVM_SET_MP_STATE, &runnable);
	vcpu_long_mode(last, starts_all);
	GUEST(self->vm, n_vcpus) = 1;
	ASSERT_DONE(last);
}

TEST_HARNESS_MAIN
