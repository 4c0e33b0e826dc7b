// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kiln does to and with the machine it is loaded in: CPUs that go and come, another owner of VMX, unloading,
 * tracepoints. Needs root, and modules kiln and kvm_intel where the rule is about them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "machine.h"
#include "vm.h"

#define EVENTS	"/sys/kernel/tracing/events/kiln/"

static uint64_t turns[2] __guest_data;

#define COUNTS(n)					\
static __guest void counts_##n(void)			\
{							\
	uint32_t r[4];					\
							\
	sti();						\
	for (;;) {					\
		cpuid(0, 0, r);				\
		turns[n]++;				\
	}						\
}
COUNTS(0)
COUNTS(1)

/* Until the guest's counter has moved on; false after ten seconds of waiting. */
static bool moves_on(struct vm *vm, int i)
{
	uint64_t start = GUEST(vm, turns[i]);

	for (int ms = 0; ms < 10000; ms++) {
		if (__atomic_load_n(&GUEST(vm, turns[i]), __ATOMIC_RELAXED) > start + 10)
			return true;
		usleep(1000);
	}
	return false;
}

TEST(guests_go_on_while_a_cpu_goes_and_comes)
{
	struct vm *vm;

	if (access(CPU1, W_OK))
		SKIP(return, "this machine has no second CPU to switch off");
	vm = vm_create(0);
	vcpu_long_mode(vm_add_vcpu(vm), counts_0);
	vcpu_long_mode(vm_add_vcpu(vm), counts_1);
	for (int i = 0; i < 2; i++)
		vcpu_start(&vm->vcpu[i]);
	for (int round = 0; round < 5; round++) {
		ASSERT_TRUE(moves_on(vm, 0) && moves_on(vm, 1));
		ASSERT_TRUE(write_file(CPU1, "0"));
		ASSERT_TRUE(moves_on(vm, 0) && moves_on(vm, 1));
		ASSERT_TRUE(write_file(CPU1, "1"));
	}
	ASSERT_TRUE(moves_on(vm, 0) && moves_on(vm, 1));
}

TEST(a_cpu_that_comes_after_the_first_vm_can_run_the_next)
{
	cpu_set_t all, cpu1;
	struct vcpu *vcpu;

	if (access(CPU1, W_OK))
		SKIP(return, "this machine has no second CPU to switch off");
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(all), &all));
	ASSERT_TRUE(write_file(CPU1, "0"));
	vcpu = vm_create_one(0, counts_0);
	ASSERT_TRUE(write_file(CPU1, "1"));
	/* The vCPU's thread inherits it. */
	CPU_ZERO(&cpu1);
	CPU_SET(1, &cpu1);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu1), &cpu1));
	vcpu_start(vcpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(all), &all));
	ASSERT_TRUE(moves_on(vcpu->vm, 0));
}

TEST(the_module_stays_while_a_vm_lives)
{
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "about kiln.ko");
	vm = vm_create(0);
	EXPECT_EQ(-EAGAIN, module_unload("kiln"));
	vm_destroy(vm);
}

static int load_kvm(void)
{
	return system(host_cpu_is_intel() ? "modprobe kvm-intel 2>/dev/null" : "modprobe kvm-amd 2>/dev/null");
}

static int unload_kvm(void)
{
	return module_unload(host_cpu_is_intel() ? "kvm_intel" : "kvm_amd");
}

/* From Linux 6.12 on it may. */
static bool kvm_holds_while_loaded(void)
{
	FILE *f = fopen("/sys/module/kvm/parameters/enable_virt_at_load", "r");
	int answer = f ? fgetc(f) : 'N';

	if (f)
		fclose(f);
	return answer == 'Y';
}

/* Starts a VM on stock KVM and says what kiln's CREATE_VM answers meanwhile. */
TEST(vmx_that_another_holds_is_busy_and_its_owner_is_named)
{
	static char log[1 << 20];
	char *sentence, *line, expected[32];
	int kvm, theirs, fd;
	unsigned int cpu;
	ssize_t n;

	if (!device_is_kiln())
		SKIP(return, "about kiln.ko");
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 && !system("modprobe kvm-intel 2>/dev/null || modprobe kvm-amd 2>/dev/null"))
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		SKIP(return, "no kvm_intel or kvm_amd here");
	theirs = ioctl(kvm, KVM_CREATE_VM, 0);
	ASSERT_LE(0, theirs);
	fd = device_open();
	EXPECT_IOCTL(-EBUSY, fd, KVM_CREATE_VM, NULL);
	close(theirs);
	close(kvm);

	/* Nothing of the refusal stays: with KVM idle it works, or, where KVM holds it for as long as it is loaded, without. */
	if (kvm_holds_while_loaded()) {
		EXPECT_IOCTL(-EBUSY, fd, KVM_CREATE_VM, NULL);
		ASSERT_EQ(0, unload_kvm());
	}
	theirs = xioctl(fd, KVM_CREATE_VM, NULL);
	EXPECT_LE(0, theirs);
	close(theirs);

	n = syscall(SYS_syslog, 3, log, sizeof(log) - 1);
	ASSERT_LT(0, n);
	log[n] = '\0';
	/* One line: the CPU that it was found on, then the sentence. */
	sentence = strstr(log, " is in use by another hypervisor, likely KVM");
	ASSERT_NE(NULL, sentence);
	*sentence = '\0';
	line = strrchr(log, '\n');
	line = strstr(line ? line : log, "CPU ");
	ASSERT_NE(NULL, line);
	ASSERT_EQ(1, sscanf(line, "CPU %u", &cpu));
	EXPECT_LT(cpu, (unsigned int)sysconf(_SC_NPROCESSORS_CONF));
	snprintf(expected, sizeof(expected), "CPU %u: %s", cpu, host_cpu_is_intel() ? "VMX" : "SVM");
	EXPECT_STREQ(expected, line);
	system("rmmod kvm_intel 2>/dev/null; rmmod kvm_amd 2>/dev/null; rmmod kvm");
}

static __guest void counts_up(void)
{
	for (uint64_t i = 1;; i++)
		guest_sync(i);
}

/* The kernel has room for one who leaves VMX when it crashes, and warns who finds that taken: lab/vm sees it. */
TEST(kvm_comes_and_goes_while_a_guest_runs)
{
	struct vcpu *vcpu;

	if (!device_is_kiln())
		SKIP(return, "about kiln.ko");
	vcpu = vm_create_one(0, counts_up);
	ASSERT_OUTCOME("sync 1", vcpu);
	if (load_kvm())
		SKIP(return, "KVM cannot be loaded beside a VM here");
	EXPECT_STREQ("sync 2", vcpu_outcome(vcpu));
	ASSERT_EQ(0, unload_kvm());
	EXPECT_STREQ("sync 3", vcpu_outcome(vcpu));
}

TEST(vms_come_and_go_while_kvm_does)
{
	struct vm *before, *beside;

	if (!device_is_kiln())
		SKIP(return, "about kiln.ko");
	before = vm_create(0);
	if (load_kvm())
		SKIP(return, "KVM cannot be loaded beside a VM here");
	vm_destroy(before);
	beside = vm_create(0);
	EXPECT_EQ(0, unload_kvm());
	vm_destroy(beside);
	vm_destroy(vm_create(0));
	system("rmmod kvm");
}

static __guest void touches_everything(void)
{
	uint32_t r[4];

	/* Once more: the first may have to find out how long the instruction is. */
#pragma GCC unroll 1
	for (int i = 0; i < 4; i++)
		cpuid(0, 0, r);
	inb(0x1234);
	*(volatile uint32_t *)0xd0000000ul = 1;
	wrmsr(0x2ff, 0xc06);
	rdmsr(0x12345);
	guest_done();
}

TEST(each_tracepoint_fires)
{
	static const char *const events[] = {
		"kiln_entry", "kiln_exit", "kiln_fast_exit", "kiln_fault", "kiln_pio", "kiln_mmio", "kiln_msr",
		"kiln_inject", "kiln_death",
	};
	static char trace[1 << 20];
	struct kvm_sregs sregs;
	struct vcpu *vcpu;
	ssize_t n, all = 0;
	int fd;

	if (access(EVENTS "enable", W_OK))
		SKIP(return, "no tracing in this kernel, or /sys/kernel/tracing is not mounted");
	ASSERT_TRUE(write_file("/sys/kernel/tracing/trace", "\n"));
	ASSERT_TRUE(write_file(EVENTS "enable", "1"));
	vcpu = vm_create_one(0, touches_everything);
	sregs = vcpu_sregs(vcpu);
	sregs.idt.limit = 0;
	vcpu_set_sregs(vcpu, &sregs);
	/* Two devices, an exception kiln injects, and the triple fault that makes without an IDT. */
	for (int i = 0; i < 5 && vcpu->run->exit_reason != KVM_EXIT_SHUTDOWN; i++)
		vcpu_run(vcpu);
	EXPECT_EQ(KVM_EXIT_SHUTDOWN, vcpu->run->exit_reason);
	write_file(EVENTS "enable", "0");

	fd = open("/sys/kernel/tracing/trace", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	while ((n = read(fd, trace + all, sizeof(trace) - 1 - all)) > 0)
		all += n;
	close(fd);
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		EXPECT_NE(NULL, strstr(trace, events[i])) {
			TH_LOG("%s did not", events[i]);
		}
	}
}

TEST_HARNESS_MAIN
