// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine is suspended while guests run: VMs and vCPUs live on, and no clock of theirs steps back.
 *
 * The kernel's own test of suspending (/sys/power/pm_test, "core") does everything but cut the power. KILN_SLEEP=mem
 * has it really sleep, woken by the real-time clock; TSCs may begin anew then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "machine.h"
#include "vm.h"

#define MSR_SYSTEM_TIME	0x4b564d01
#define CLOCK_PAGE	0x210000UL
#define VECTOR		0x61
#define SLEEP_SECONDS	"+3"

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} __attribute__((packed));

static volatile uint64_t turns[2] __guest_data;
static volatile uint64_t tsc_steps_back __guest_data, clock_steps_back __guest_data;

static __guest uint64_t clock_read(void)
{
	volatile struct pvclock *c = (volatile struct pvclock *)CLOCK_PAGE;
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = c->version & ~1U;
		asm volatile("lfence" : : : "memory");
		delta = rdtsc() - c->tsc_timestamp;
		delta = c->shift >= 0 ? delta << c->shift : delta >> -c->shift;
		ns = c->system_time + (uint64_t)((unsigned __int128)delta * c->mul >> 32);
		asm volatile("lfence" : : : "memory");
	} while (version != c->version);
	return ns;
}

static __guest void reads_clocks(void)
{
	uint64_t tsc, ns, last_tsc = 0, last_ns = 0;

	wrmsr(MSR_SYSTEM_TIME, CLOCK_PAGE | 1);
	sti();
	for (;;) {
		tsc = rdtsc();
		if (tsc < last_tsc)
			tsc_steps_back++;
		last_tsc = tsc;
		ns = clock_read();
		if (ns < last_ns)
			clock_steps_back++;
		last_ns = ns;
		turns[0]++;
	}
}

static __guest void halts_for_its_timer(void)
{
	apic_enable();
	guest_handlers[VECTOR] = count_trap_eoi;
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_PERIODIC);
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_TIMER_INIT, 1000000);
	for (;;) {
		sti_hlt();
		turns[1]++;
	}
}

/* KVM_RUN ends with EINTR where its thread is frozen, as for a signal. */
static void *runs_again(void *vcpu)
{
	int r;

	do {
		r = vcpu_run(vcpu);
	} while (r == -EINTR);
	return NULL;
}

/* Until the guest's counter has moved on; false after ten seconds of waiting. */
static bool moves_on(struct vm *vm, int i)
{
	uint64_t start = GUEST(vm, turns[i]);

	for (int ms = 0; ms < 10000; ms++) {
		if (GUEST(vm, turns[i]) > start + 3)
			return true;
		usleep(1000);
	}
	return false;
}

static bool sleeps(void)
{
	const char *how = getenv("KILN_SLEEP");

	if (how && !strcmp(how, "mem"))
		return write_file("/sys/class/rtc/rtc0/wakealarm", "0") &&
		       write_file("/sys/class/rtc/rtc0/wakealarm", SLEEP_SECONDS) && write_file("/sys/power/state", "mem");
	/* A second is enough. */
	write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	return write_file("/sys/power/pm_test", "core") && write_file("/sys/power/state", "mem") &&
	       write_file("/sys/power/pm_test", "none");
}

static bool can_sleep(void)
{
	char states[64] = "";
	int fd = open("/sys/power/state", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, states, sizeof(states) - 1) < 0)
		states[0] = '\0';
	close(fd);
	return strstr(states, "mem") && !access("/sys/power/pm_test", W_OK);
}

TEST(guests_go_on_after_a_suspend_and_their_clocks_do_not_step_back)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm;
	struct vcpu *vcpu;

	if (!can_sleep())
		SKIP(return, "this kernel has no /sys/power/pm_test, or the machine cannot suspend to RAM");
	vm = vm_create(VM_IRQCHIP);
	vcpu_long_mode(vm_add_vcpu(vm), reads_clocks);
	vcpu_long_mode(vm_add_vcpu(vm), halts_for_its_timer);
	for (int i = 0; i < 2; i++) {
		vcpu = &vm->vcpu[i];
		ASSERT_IOCTL(0, vcpu->fd, KVM_SET_MP_STATE, &runnable);
		ASSERT_EQ(0, pthread_create(&vcpu->thread, NULL, runs_again, vcpu));
	}
	ASSERT_TRUE(moves_on(vm, 0) && moves_on(vm, 1));
	ASSERT_TRUE(sleeps());
	EXPECT_TRUE(moves_on(vm, 0));
	EXPECT_TRUE(moves_on(vm, 1));
	EXPECT_EQ(0, GUEST(vm, tsc_steps_back));
	EXPECT_EQ(0, GUEST(vm, clock_steps_back));
}

/* Hardware that was off while the machine slept is on for VMs made before and after. */
TEST(a_vm_from_before_a_suspend_and_one_made_after_it_run)
{
	struct vcpu *before, *after;

	if (!can_sleep())
		SKIP(return, "this kernel has no /sys/power/pm_test, or the machine cannot suspend to RAM");
	before = vm_create_one(VM_IRQCHIP, reads_clocks);
	ASSERT_TRUE(sleeps());
	after = vm_create_one(VM_IRQCHIP, reads_clocks);
	vcpu_start(before);
	vcpu_start(after);
	EXPECT_TRUE(moves_on(before->vm, 0));
	EXPECT_TRUE(moves_on(after->vm, 0));
}

TEST_HARNESS_MAIN
