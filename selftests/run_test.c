// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_RUN as a call: how it is interrupted, by immediate_exit, by a signal, by one that only its signal mask lets
 * through, and what is then left for the next call (api.rst §4.10, §4.20, §5).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define PORT 0x510

static volatile uint64_t beats __guest_data = 0;

static __guest void lives(void)
{
	guest_done();
}

static __guest void spins(void)
{
	sti();
	for (;;)
		beats++;
}

static __guest void reads_a_port(void)
{
	guest_expect(0x77, inb(PORT));
	beats = 1;
	guest_done();
}

static __guest void halts_with_interrupts_off(void)
{
	cli();
	for (;;)
		hlt();
}

static void on_signal(int sig)
{
}

static void catch_signal(int sig)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(sig, &action, NULL);
}

TEST(run_takes_no_argument)
{
	struct vcpu *vcpu = vm_create_one(0, lives);

	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_RUN, (void *)1);
	ASSERT_DONE(vcpu);
}

TEST(immediate_exit_returns_before_the_guest_runs)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	uint64_t rip = vcpu_regs(vcpu).rip;

	vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(rip, vcpu_regs(vcpu).rip);
	vcpu->run->immediate_exit = 0;
	ASSERT_DONE(vcpu);
}

TEST(immediate_exit_completes_what_user_space_was_asked_for)
{
	struct vcpu *vcpu = vm_create_one(0, reads_a_port);
	uint64_t rip;

	ASSERT_EXIT(IO, vcpu);
	rip = vcpu_regs(vcpu).rip;
	*((uint8_t *)vcpu->run + vcpu->run->io.data_offset) = 0x77;
	vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(0x77, vcpu_regs(vcpu).rax & 0xff);
	EXPECT_LT(rip, vcpu_regs(vcpu).rip);
	EXPECT_EQ(0, GUEST(vcpu->vm, beats));
	vcpu->run->immediate_exit = 0;
	ASSERT_DONE(vcpu);
}

TEST(a_signal_ends_a_spinning_guest_with_eintr)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, spins);

	catch_signal(SIGUSR1);
	vcpu_start(vcpu);
	while (GUEST(vcpu->vm, beats) < 1000)
		usleep(1000);
	pthread_kill(vcpu->thread, SIGUSR1);
	ASSERT_STREQ("run: Interrupted system call", vcpu_join(vcpu));
	EXPECT_EQ(KVM_EXIT_INTR, vcpu->run->exit_reason);
}

TEST(a_signal_ends_a_halted_guest_with_eintr)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_with_interrupts_off);

	catch_signal(SIGUSR1);
	vcpu_start(vcpu);
	usleep(50000);
	pthread_kill(vcpu->thread, SIGUSR1);
	ASSERT_STREQ("run: Interrupted system call", vcpu_join(vcpu));
}

TEST(a_pending_signal_keeps_the_guest_from_running)
{
	struct vcpu *vcpu = vm_create_one(0, spins);
	sigset_t usr1, before;
	struct {
		struct kvm_signal_mask head;
		uint8_t set[8];
	} none = { .head.len = 8 };

	/* Blocked and pending outside of RUN; RUN itself blocks nothing. */
	catch_signal(SIGUSR1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &before);
	raise(SIGUSR1);
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_SIGNAL_MASK, &none);
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(0, GUEST(vcpu->vm, beats));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

TEST(a_signal_that_runs_mask_blocks_does_not_interrupt)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct {
		struct kvm_signal_mask head;
		uint8_t set[8];
	} mask = { .head.len = 8 };
	sigset_t pending, usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	catch_signal(SIGUSR1);
	raise(SIGUSR1);
	mask.set[(SIGUSR1 - 1) / 8] = 1 << (SIGUSR1 - 1) % 8;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
	ASSERT_DONE(vcpu);
	sigpending(&pending);
	EXPECT_TRUE(sigismember(&pending, SIGUSR1));
}

TEST(a_signal_mask_has_the_kernels_size_or_is_none)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct {
		struct kvm_signal_mask head;
		uint8_t set[16];
	} mask = { .head.len = 16 };

	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
	EXPECT_IOCTL(0, vcpu->fd, KVM_SET_SIGNAL_MASK, NULL);
	ASSERT_DONE(vcpu);
}

TEST(the_run_structure_shows_the_guests_interrupt_flag_and_priority)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_regs regs;

	ASSERT_DONE(vcpu);
	EXPECT_EQ(0, vcpu->run->if_flag);
	EXPECT_EQ(0, vcpu->run->ready_for_interrupt_injection);
	vcpu_long_mode(vcpu, lives);
	regs = vcpu_regs(vcpu);
	regs.rflags |= 0x200;
	vcpu_set_regs(vcpu, &regs);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(1, vcpu->run->if_flag);
	EXPECT_EQ(0xfee00900, vcpu->run->apic_base);
	EXPECT_EQ(0, vcpu->run->cr8);
}

TEST(an_interrupt_window_is_reported_when_asked_for)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_regs regs = vcpu_regs(vcpu);

	regs.rflags |= 0x200;
	vcpu_set_regs(vcpu, &regs);
	vcpu->run->request_interrupt_window = 1;
	ASSERT_EXIT(IRQ_WINDOW_OPEN, vcpu);
	EXPECT_EQ(1, vcpu->run->ready_for_interrupt_injection);
	vcpu->run->request_interrupt_window = 0;
	ASSERT_DONE(vcpu);
}

static __guest void writes_64_ports(void)
{
	for (int i = 0; i < 64; i++)
		outb(PORT, i);
	guest_done();
}

TEST(every_instruction_runs_once_under_a_rain_of_signals)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, writes_64_ports);
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { .it_interval.tv_nsec = 3000000, .it_value.tv_nsec = 3000000 };
	unsigned int expected = 0, interrupted = 0;
	timer_t timer;

	catch_signal(SIGUSR1);
	ASSERT_EQ(0, timer_create(CLOCK_MONOTONIC, &event, &timer));
	ASSERT_EQ(0, timer_settime(timer, 0, &often, NULL));
	while (expected < 64) {
		int r;

		/* Every other call is asked to come back at once: nothing may be lost or done twice by it. */
		vcpu->run->immediate_exit = !vcpu->run->immediate_exit;
		r = vcpu_run(vcpu);
		if (r == -EINTR) {
			interrupted++;
			continue;
		}
		ASSERT_EQ(0, r);
		ASSERT_EQ(0, vcpu->run->immediate_exit);
		ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
		ASSERT_EQ(expected, *((uint8_t *)vcpu->run + vcpu->run->io.data_offset));
		expected++;
	}
	vcpu->run->immediate_exit = 0;
	timer_delete(timer);
	EXPECT_LE(64, interrupted);
	while (vcpu_run(vcpu) == -EINTR)
		;
	ASSERT_STREQ("done", vcpu_describe(vcpu));
}

TEST_HARNESS_MAIN
