// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kiln adds to the KVM ABI (uapi/kiln.h) besides the causes of deaths, which are in death_test: its version and
 * its counters. On another device every test skips.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "kiln.h"
#include "machine.h"
#include "vm.h"

#define MAX_COUNTERS 256

struct counters {
	struct kiln_counters head;
	struct kiln_counter room[MAX_COUNTERS];
};

static __guest void does_a_bit_of_each(void)
{
	uint32_t r[4];

	for (int i = 0; i < 10; i++)
		cpuid(0, 0, r);
	for (int i = 0; i < 5; i++)
		inb(0x4d0);
	*(volatile uint32_t *)VM_FREE = 1;
	guest_done();
}

FIXTURE(kiln) {
	struct vcpu *vcpu;
	struct counters c;
};

FIXTURE_SETUP(kiln)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln: it has no calls of uapi/kiln.h", device_path());
	self->vcpu = vm_create_one(VM_IRQCHIP, does_a_bit_of_each);
	self->c.head.nr = MAX_COUNTERS;
}

FIXTURE_TEARDOWN(kiln)
{
	vm_destroy(self->vcpu->vm);
}

static uint64_t counter(struct counters *c, const char *name)
{
	for (uint32_t i = 0; i < c->head.nr; i++)
		if (!strcmp(c->room[i].name, name))
			return c->room[i].value;
	die("no counter is named %s", name);
}

TEST_F(kiln, the_version_is_the_same_on_device_vm_and_vcpu)
{
	struct kiln_version device, vm, vcpu;

	memset(&device, 0xff, sizeof(device));
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0x11, sizeof(vcpu));
	ASSERT_IOCTL(0, self->vcpu->vm->dev, KILN_GET_VERSION, &device);
	ASSERT_IOCTL(0, self->vcpu->vm->fd, KILN_GET_VERSION, &vm);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_VERSION, &vcpu);
	EXPECT_EQ(0, memcmp(&device, &vm, sizeof(vm)));
	EXPECT_EQ(0, memcmp(&device, &vcpu, sizeof(vcpu)));
	EXPECT_EQ(0, device.reserved);
	EXPECT_EQ(0, strncmp(device.name, "kiln", 4));
	EXPECT_NE(NULL, memchr(device.name, 0, sizeof(device.name)));
	EXPECT_EQ(host_cpu_is_intel() ? KILN_VENDOR_INTEL : KILN_VENDOR_AMD, device.vendor);
	EXPECT_IOCTL(-EFAULT, self->vcpu->vm->dev, KILN_GET_VERSION, (void *)8);
}

TEST_F(kiln, counters_report_e2big_and_their_number)
{
	self->c.head.nr = 0;
	ASSERT_IOCTL(-E2BIG, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	ASSERT_LT(5, self->c.head.nr);
	EXPECT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	self->c.head.nr--;
	EXPECT_IOCTL(-E2BIG, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
}

TEST_F(kiln, counters_refuse_reserved_bits_and_bad_pointers)
{
	self->c.head.reserved = 1;
	EXPECT_IOCTL(-EINVAL, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_IOCTL(-EINVAL, self->vcpu->vm->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_IOCTL(-EFAULT, self->vcpu->fd, KILN_GET_COUNTERS, (void *)8);
}

TEST_F(kiln, counters_have_one_name_each)
{
	ASSERT_IOCTL(0, self->vcpu->vm->fd, KILN_GET_COUNTERS, &self->c);
	for (uint32_t i = 0; i < self->c.head.nr; i++) {
		size_t len = strnlen(self->c.room[i].name, KILN_COUNTER_NAME_LEN);

		EXPECT_LT(0, len);
		EXPECT_LT(len, KILN_COUNTER_NAME_LEN);
		for (uint32_t j = 0; j < i; j++)
			EXPECT_STRNE(self->c.room[j].name, self->c.room[i].name);
	}
}

TEST_F(kiln, a_vcpu_that_has_not_run_has_counted_nothing)
{
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(0, counter(&self->c, "exits"));
	EXPECT_EQ(0, counter(&self->c, "user_exits"));
}

TEST_F(kiln, exits_are_counted_by_cause)
{
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(10, counter(&self->c, "cpuid"));
	EXPECT_EQ(5 + 1, counter(&self->c, "pio"));		/* the report to the host is one */
	EXPECT_LE(1, counter(&self->c, "fault"));
	EXPECT_EQ(1, counter(&self->c, "user_exits"));
	EXPECT_LE(10 + 6 + 1, counter(&self->c, "exits"));
	EXPECT_EQ(0, counter(&self->c, "hlt"));
}

/* What the CPU switches with the guest; MTRRcap is nobody's. */
static __guest void accesses_msrs(void)
{
	static const uint32_t own[] __guest_data = { 0x174, 0x175, 0x176, 0xc0000100, 0xc0000101, 0xc0000102 };

	for (unsigned int i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		wrmsr(own[i], 0x1000 * i);
		guest_expect(0x1000 * i, rdmsr(own[i]));
	}
	for (int i = 0; i < 7; i++)
		rdmsr(0xfe);
	guest_done();
}

TEST_F(kiln, the_bitmap_lets_msrs_through_that_are_switched_with_the_guest)
{
	vcpu_long_mode(self->vcpu, accesses_msrs);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(7, counter(&self->c, "msr_read"));
	EXPECT_EQ(0, counter(&self->c, "msr_write"));
}

TEST_F(kiln, a_vms_counters_add_up_its_vcpus)
{
	struct vcpu *second = vm_add_vcpu(self->vcpu->vm);
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };

	ASSERT_IOCTL(0, second->fd, KVM_SET_MP_STATE, &runnable);
	vcpu_long_mode(second, does_a_bit_of_each);
	ASSERT_DONE(self->vcpu);
	ASSERT_DONE(second);
	ASSERT_IOCTL(0, self->vcpu->vm->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(20, counter(&self->c, "cpuid"));
}

#define HUGE_GPA	0x10000000UL
#define HUGE_SIZE	(2UL << 20)
#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"

static __guest void touches_a_huge_page(void)
{
	*(volatile uint32_t *)(HUGE_GPA + 0x12345678 % HUGE_SIZE) = 1;
	guest_done();
}

TEST_F(kiln, a_huge_page_is_one_mapping)
{
	void *mem;

	if (!write_file(HUGE_PAGES, "1"))
		SKIP(return, "no hugetlbfs in this kernel, or not root");
	mem = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	write_file(HUGE_PAGES, "0");
	if (mem == MAP_FAILED)
		SKIP(return, "no huge page is free");
	ASSERT_EQ(0, vm_set_slot(self->vcpu->vm, 1, 0, HUGE_GPA, HUGE_SIZE, mem));
	vcpu_long_mode(self->vcpu, touches_a_huge_page);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(1, counter(&self->c, "mapped_2m"));
	EXPECT_LE(1, counter(&self->c, "mapped_4k"));		/* its code */
	EXPECT_EQ(0, counter(&self->c, "mapped_1g"));
}

/* A word in a line of /proc/cpuinfo that begins with this. */
static bool cpuinfo_has(const char *begins, const char *word)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[8192], *at = NULL;

	while (f && !at && fgets(line, sizeof(line), f))
		if (!strncmp(line, begins, strlen(begins)))
			for (at = strtok(line, " \t\n"); at && strcmp(at, word); )
				at = strtok(NULL, " \t\n");
	if (f)
		fclose(f);
	return at;
}

static __guest void pauses_for_long(void)
{
	for (int i = 0; i < 200000; i++)
		pause_cpu();
	guest_done();
}

TEST_F(kiln, pauses_in_a_loop_exit_where_the_cpu_counts_them)
{
	if (!cpuinfo_has("vmx flags", "ple") && !cpuinfo_has("flags", "pausefilter"))
		SKIP(return, "this CPU does not exit for PAUSE in a loop");
	vcpu_long_mode(self->vcpu, pauses_for_long);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_LE(1, counter(&self->c, "pause"));
}

#define TIMER_VECTOR	0x61

/* Long enough for the guest to be there when it is time, and without anything in its loop that exits. */
static __guest void waits_for_its_timer(void)
{
	apic_enable();
	guest_handlers[TIMER_VECTOR] = count_trap_eoi;
	apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
	apic_write(APIC_TIMER_DIV, 0xb);
	sti();
	apic_write(APIC_TIMER_INIT, 10000000);
	while (!guest_count[TIMER_VECTOR])
		;
	guest_done();
}

TEST_F(kiln, the_preemption_timer_is_the_apics_where_there_is_one)
{
	if (host_cpu_is_intel() && !cpuinfo_has("vmx flags", "preemption_timer"))
		SKIP(return, "this CPU has no VMX-preemption timer");
	vcpu_long_mode(self->vcpu, waits_for_its_timer);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	if (host_cpu_is_intel()) {
		EXPECT_LE(1, counter(&self->c, "preemption_timer"));
	} else {
		EXPECT_EQ(0, counter(&self->c, "preemption_timer"));
	}
}

TEST_F(kiln, unknown_calls_of_its_own_type_are_refused)
{
	EXPECT_LT(xioctl(self->vcpu->vm->dev, _IO(KILNIO, 0xff), NULL), 0);
	EXPECT_IOCTL(-ENOTTY, self->vcpu->vm->fd, _IO(KILNIO, 0xff), NULL);
	EXPECT_IOCTL(-ENOTTY, self->vcpu->vm->dev, KILN_GET_DEATH, &self->c);
}

TEST_HARNESS_MAIN
