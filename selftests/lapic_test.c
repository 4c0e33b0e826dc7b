// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC: registers, priorities, self-IPIs and the three modes of its timer, as xAPIC and as x2APIC
 * (SDM vol. 3 §10).
 */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rule.h"

#define VECTOR 0x71

/* Spin, interrupts on, until the vector has come n times, or too much time has gone by. */
#define WAIT_FOR(vector, n) do {								\
	uint64_t end__ = rdtsc() + 20000000000UL;						\
	sti();											\
	while (guest_count[vector] < (n) && rdtsc() < end__)					\
		pause_cpu();									\
	cli();											\
} while (0)

RULE(a_software_enabled_apic_shows_its_identity,
	apic_enable();
	guest_expect(0, apic_read(APIC_ID) >> 24);
	guest_assert((apic_read(APIC_VERSION) & 0xff) >= 0x10);
	guest_assert((apic_read(APIC_VERSION) >> 16 & 0xff) >= 3);
	guest_expect(0x1ff, apic_read(APIC_SVR) & 0x1ff);
)

RULE(after_reset_the_local_interrupts_are_masked_and_the_destination_is_flat,
	guest_expect(0x10000, apic_read(APIC_LVT_TIMER));
	guest_expect(0x10000, apic_read(APIC_LVT1));
	guest_expect(0xffffffff, apic_read(APIC_DFR));
	guest_expect(0, apic_read(APIC_TPR));
	guest_expect(0xff, apic_read(APIC_SVR) & 0x1ff);
)

RULE(a_software_disabled_apic_keeps_its_local_interrupts_masked,
	apic_write(APIC_SVR, 0xff);
	apic_write(APIC_LVT_TIMER, VECTOR);
	guest_expect(0x10000, apic_read(APIC_LVT_TIMER) & 0x10000);
)

RULE(a_self_ipi_arrives_once,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	guest_expect(0, guest_count[VECTOR]);
	guest_expect(1 << (VECTOR % 32), apic_read(APIC_IRR + VECTOR / 32 * 16));
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
	guest_expect(0, apic_read(APIC_IRR + VECTOR / 32 * 16));
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
)

RULE(an_ipi_to_ones_own_number_arrives,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_ICR2, apic_read(APIC_ID));
	apic_write(APIC_ICR, VECTOR);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
)

RULE(an_ipi_to_ones_own_logical_address_arrives,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_LDR, 4 << 24);
	apic_write(APIC_ICR2, 4 << 24);
	apic_write(APIC_ICR, 0x800 | VECTOR);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
	apic_write(APIC_ICR2, 8 << 24);
	apic_write(APIC_ICR, 0x800 | VECTOR);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
)

static uint32_t order[8] __guest_data = { 0 };
static uint32_t n_order __guest_data = 0;

static __guest void note_order(struct trap *t)
{
	order[n_order++ & 7] = t->vector;
	apic_write(APIC_EOI, 0);
}

RULE(of_two_pending_interrupts_the_higher_vector_comes_first,
	apic_enable();
	guest_handlers[0x45] = note_order;
	guest_handlers[0x83] = note_order;
	apic_write(APIC_ICR, APIC_SELF | 0x45);
	apic_write(APIC_ICR, APIC_SELF | 0x83);
	irq_window();
	irq_window();
	guest_expect(2, n_order);
	guest_expect(0x83, order[0]);
	guest_expect(0x45, order[1]);
)

static __guest void raises_both_sides(struct trap *t)
{
	order[n_order++ & 7] = t->vector;
	guest_expect(1 << (0x65 % 32), apic_read(APIC_ISR + 0x65 / 32 * 16));
	guest_expect(0x60, apic_read(APIC_PPR));
	apic_write(APIC_ICR, APIC_SELF | 0x68);		/* same class: waits */
	apic_write(APIC_ICR, APIC_SELF | 0x45);		/* lower: waits */
	apic_write(APIC_ICR, APIC_SELF | 0x83);		/* higher: comes now */
	irq_window();
	order[n_order++ & 7] = 1;
	apic_write(APIC_EOI, 0);
	guest_expect(0, apic_read(APIC_ISR + 0x65 / 32 * 16));
}

RULE(a_handler_is_interrupted_by_higher_classes_only,
	apic_enable();
	guest_handlers[0x65] = raises_both_sides;
	guest_handlers[0x68] = note_order;
	guest_handlers[0x45] = note_order;
	guest_handlers[0x83] = note_order;
	apic_write(APIC_ICR, APIC_SELF | 0x65);
	irq_window();
	irq_window();
	irq_window();
	guest_expect(5, n_order);
	guest_expect(0x65, order[0]);
	guest_expect(0x83, order[1]);
	guest_expect(1, order[2]);
	guest_expect(0x68, order[3]);
	guest_expect(0x45, order[4]);
)

RULE(the_task_priority_holds_its_class_and_lower_ones_back,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_TPR, 0x70);
	guest_expect(0x70, apic_read(APIC_PPR));
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	irq_window();
	guest_expect(0, guest_count[VECTOR]);
	apic_write(APIC_TPR, 0x60);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
)

RULE(lowering_cr8_lets_a_waiting_interrupt_in,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	write_cr8(15);
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	sti();
	asm volatile("nop; nop");
	guest_expect(0, guest_count[VECTOR]);
	write_cr8(7);
	asm volatile("nop; nop");
	guest_expect(0, guest_count[VECTOR]);
	write_cr8(6);
	asm volatile("nop; nop");
	guest_expect(1, guest_count[VECTOR]);
	cli();
)

/* ---- Timer ---- */

RULE(the_one_shot_timer_fires_once_and_stops_at_zero,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR);
	apic_write(APIC_TIMER_INIT, 1000000);
	guest_assert(apic_read(APIC_TIMER_CUR) <= 1000000);
	WAIT_FOR(VECTOR, 1);
	guest_expect(1, guest_count[VECTOR]);
	guest_expect(0, apic_read(APIC_TIMER_CUR));
	for (int i = 0; i < 1000; i++) {
		irq_window();
		apic_read(APIC_TIMER_CUR);
	}
	guest_expect(1, guest_count[VECTOR]);
)

RULE(the_timers_count_goes_down,
	apic_enable();
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VECTOR);
	apic_write(APIC_TIMER_INIT, 0xffffffff);
	uint32_t last = apic_read(APIC_TIMER_CUR);
	uint32_t first = last;
	for (int i = 0; i < 100; i++) {
		uint32_t now = apic_read(APIC_TIMER_CUR);
		guest_assert(now <= last);
		last = now;
	}
	guest_assert(last < first);
	apic_write(APIC_TIMER_INIT, 0);
	guest_expect(0, apic_read(APIC_TIMER_CUR));
)

RULE(the_periodic_timer_fires_again_and_again,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR);
	apic_write(APIC_TIMER_INIT, 2000000);
	WAIT_FOR(VECTOR, 5);
	guest_assert(guest_count[VECTOR] >= 5);
	apic_write(APIC_TIMER_INIT, 0);
	irq_window();
	uint32_t stopped = guest_count[VECTOR];
	for (int i = 0; i < 1000; i++) {
		irq_window();
		apic_read(APIC_TIMER_CUR);
	}
	guest_expect(stopped, guest_count[VECTOR]);
)

RULE(a_masked_timer_does_not_interrupt,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, APIC_MASKED | VECTOR);
	apic_write(APIC_TIMER_INIT, 1000);
	for (int i = 0; i < 1000; i++) {
		irq_window();
		apic_read(APIC_TIMER_CUR);
	}
	guest_expect(0, guest_count[VECTOR]);
)

RULE(the_timer_wakes_a_halted_processor,
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR);
	apic_write(APIC_TIMER_INIT, 5000000);
	while (!guest_count[VECTOR])
		sti_hlt();
	guest_expect(1, guest_count[VECTOR]);
)

static __guest void uses_deadlines(void)
{
	uint64_t start;

	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_LVT_TIMER, APIC_DEADLINE | VECTOR);
	start = rdtsc();
	wrmsr(0x6e0, start + 2000000);
	WAIT_FOR(VECTOR, 1);
	guest_expect(1, guest_count[VECTOR]);
	guest_assert(rdtsc() >= start + 2000000);
	guest_expect(0, rdmsr(0x6e0));
	/* Zero disarms; a deadline gone by fires at once. */
	wrmsr(0x6e0, rdtsc() + 1000000000000);
	guest_assert(rdmsr(0x6e0) != 0);
	wrmsr(0x6e0, 0);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
	wrmsr(0x6e0, rdtsc() - 1);
	WAIT_FOR(VECTOR, 2);
	guest_expect(2, guest_count[VECTOR]);
	wrmsr(0x6e0, rdtsc() + 3000000);
	while (guest_count[VECTOR] < 3)
		sti_hlt();
	/* In the other modes the MSR is deaf. */
	apic_write(APIC_LVT_TIMER, VECTOR);
	wrmsr(0x6e0, rdtsc() + 100);
	guest_expect(0, rdmsr(0x6e0));
	guest_done();
}

/* SUPPORTED_CPUID leaves the bit to user space, which sets it where the capability is there. */
static int offer_deadlines(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(vcpu->vm->dev);
	struct kvm_cpuid_entry2 *leaf1 = cpuid_find(cpuids, 1, 0);

	leaf1->ecx |= 1 << 24;
	leaf1->ebx &= 0xffffff;
	return xioctl(vcpu->fd, KVM_SET_CPUID2, cpuids);
}

TEST(the_deadline_timer_fires_at_its_deadline_and_reads_zero_then)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, uses_deadlines);

	ASSERT_LT(0, xioctl(vcpu->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER));
	ASSERT_EQ(0, offer_deadlines(vcpu));
	ASSERT_DONE(vcpu);
}

static uint64_t arrival __guest_data = 0;

static __guest void note_arrival(struct trap *t)
{
	arrival = rdtsc();
	apic_write(APIC_EOI, 0);
}

static __guest void halts_until_deadlines(void)
{
	apic_enable();
	guest_handlers[VECTOR] = note_arrival;
	apic_write(APIC_LVT_TIMER, APIC_DEADLINE | VECTOR);
	for (int i = 0; i < 300; i++) {
		uint64_t deadline = rdtsc() + 20000 * (i % 30);

		arrival = 0;
		wrmsr(0x6e0, deadline);
		while (!arrival)
			sti_hlt();
		cli();
		guest_assert(arrival >= deadline);
	}
	guest_done();
}

/* However well the hypervisor has learned how long waking up takes. */
TEST(a_halted_processor_is_never_interrupted_before_its_deadline)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_until_deadlines);

	ASSERT_EQ(0, offer_deadlines(vcpu));
	ASSERT_DONE(vcpu);
}

static __guest void waits_for_a_deadline_of_another_age(void)
{
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_LVT_TIMER, APIC_DEADLINE | VECTOR);
	wrmsr(0x6e0, ~0UL);
	guest_sync(1);
	while (!guest_count[VECTOR])
		sti_hlt();
	guest_done();
}

/* More than 2^63 ticks away: the processor sleeps until a message comes. */
TEST(a_halted_processor_sleeps_however_far_its_deadline_is)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, waits_for_a_deadline_of_another_age);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = VECTOR };
	struct timespec used;
	clockid_t clock;

	ASSERT_EQ(0, offer_deadlines(vcpu));
	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu_start(vcpu);
	usleep(1000000);
	ASSERT_EQ(0, pthread_getcpuclockid(vcpu->thread, &clock));
	ASSERT_EQ(0, clock_gettime(clock, &used));
	EXPECT_EQ(0, used.tv_sec);
	EXPECT_GT(500000000, used.tv_nsec);
	EXPECT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

/* ---- x2APIC ---- */

RULE_IF(x2apic_registers_are_msrs, 1, 2, 21,
	x2apic_enable();
	guest_expect(0xfee00d00, rdmsr(APIC_MSR));
	guest_expect(0, rdmsr(X2APIC(APIC_ID)));
	guest_expect(0x1ff, rdmsr(X2APIC(APIC_SVR)) & 0x1ff);
	guest_expect(1, rdmsr(X2APIC(APIC_LDR)));
	wrmsr(X2APIC(APIC_TPR), 0x20);
	guest_expect(2, read_cr8());
	write_cr8(0);
)

RULE_IF(x2apic_interrupts_arrive, 1, 2, 21,
	x2apic_enable();
	guest_handlers[VECTOR] = count_trap_x2eoi;
	wrmsr(X2APIC_SELF_IPI, VECTOR);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
	wrmsr(X2APIC(APIC_ICR), APIC_SELF | VECTOR);
	irq_window();
	guest_expect(2, guest_count[VECTOR]);
	wrmsr(X2APIC(APIC_ICR), 0UL << 32 | VECTOR);
	irq_window();
	guest_expect(3, guest_count[VECTOR]);
	wrmsr(X2APIC(APIC_ICR), 1UL << 32 | 0x800 | VECTOR);		/* logical: cluster 0, member 0 */
	irq_window();
	guest_expect(4, guest_count[VECTOR]);
)

RULE_IF(x2apic_a_self_ipi_ends_hlt, 1, 2, 21,
	x2apic_enable();
	guest_handlers[VECTOR] = count_trap_x2eoi;
	wrmsr(X2APIC_SELF_IPI, VECTOR);
	sti_hlt();
	cli();
	guest_expect(1, guest_count[VECTOR]);
)

RULE_IF(x2apic_a_self_ipi_waits_while_other_events_come, 1, 2, 21,
	x2apic_enable();
	guest_handlers[VECTOR] = count_trap_x2eoi;
	guest_handlers[NMI_VECTOR] = count_trap;
	wrmsr(X2APIC_SELF_IPI, VECTOR);
	wrmsr(X2APIC(APIC_ICR), 0x4400);		/* NMI to APIC 0 */
	while (!guest_count[NMI_VECTOR])
		pause_cpu();
	guest_expect(0, guest_count[VECTOR]);
	irq_window();
	guest_expect(1, guest_count[VECTOR]);
)

/* CR8 is moved to without an exit; these exits are short from their second time on. */
RULE_IF(x2apic_the_task_priority_outlives_writes_of_msrs, 1, 2, 21,
	x2apic_enable();
	guest_handlers[VECTOR] = count_trap_x2eoi;
	for (int i = 1; i < 5; i++) {
		write_cr8(i);
		wrmsr(X2APIC(APIC_EOI), 0);
		guest_expect(i, read_cr8());
		write_cr8(i + 1);
		guest_expect((i + 1) << 4, rdmsr(X2APIC(APIC_TPR)));
		guest_expect(i + 1, read_cr8());
		write_cr8(VECTOR >> 4);
		wrmsr(X2APIC_SELF_IPI, VECTOR);
		irq_window();
		guest_expect(i - 1, guest_count[VECTOR]);
		write_cr8(0);
		irq_window();
		guest_expect(i, guest_count[VECTOR]);
	}
)

RULE_IF(x2apic_timer_fires, 1, 2, 21,
	x2apic_enable();
	guest_handlers[VECTOR] = count_trap_x2eoi;
	wrmsr(X2APIC(APIC_TIMER_DIV), 0xb);
	wrmsr(X2APIC(APIC_LVT_TIMER), VECTOR);
	wrmsr(X2APIC(APIC_TIMER_INIT), 1000000);
	WAIT_FOR(VECTOR, 1);
	guest_expect(1, guest_count[VECTOR]);
)

RULE_IF(x2apic_refuses_what_is_reserved, 1, 2, 21,
	uint64_t v;
	x2apic_enable();
	guest_expect(GP_VECTOR, catch_wrmsr(X2APIC(APIC_ID), 1));
	guest_expect(GP_VECTOR, catch_rdmsr(X2APIC(APIC_EOI), &v));
	guest_expect(GP_VECTOR, catch_rdmsr(X2APIC(APIC_DFR), &v));
	guest_expect(GP_VECTOR, catch_rdmsr(X2APIC(APIC_ICR2), &v));
	guest_expect(GP_VECTOR, catch_rdmsr(X2APIC_SELF_IPI, &v));
)

RULE(x2apic_msrs_do_not_exist_in_xapic_mode,
	uint64_t v;
	guest_expect(GP_VECTOR, catch_rdmsr(X2APIC(APIC_ID), &v));
	guest_expect(GP_VECTOR, catch_wrmsr(X2APIC(APIC_TPR), 0));
)

RULE_IF(the_way_between_the_modes_is_one_way, 1, 2, 21,
	uint64_t base = rdmsr(APIC_MSR);
	guest_expect(GP_VECTOR, catch_wrmsr(APIC_MSR, (base & ~0xc00UL) | 0x400));	/* x2APIC, yet disabled */
	x2apic_enable();
	guest_expect(GP_VECTOR, catch_wrmsr(APIC_MSR, base));				/* back to xAPIC */
	guest_expect(NO_TRAP, catch_wrmsr(APIC_MSR, base & ~0xc00UL));
	guest_expect(NO_TRAP, catch_wrmsr(APIC_MSR, base));
	guest_expect(base, rdmsr(APIC_MSR));
)

TEST_HARNESS_MAIN
