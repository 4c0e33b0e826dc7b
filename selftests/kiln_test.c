// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kiln adds to the KVM ABI (uapi/kiln.h) besides the causes of deaths, which are in death_test: its version and
 * its counters. On another device every test skips.
 */
#define _GNU_SOURCE
#include <linux/mman.h>
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

#define DEVICE	0xd0000000UL

/* Twice in one page, and in another of the same hole between slots. */
static __guest void writes_to_a_device(void)
{
	for (;;) {
		*(volatile uint32_t *)DEVICE = 1;
		*(volatile uint32_t *)(DEVICE + 8) = 2;
		*(volatile uint32_t *)(DEVICE + 0x5000) = 3;
	}
}

TEST_F(kiln, device_addresses_fault_once_and_are_marked_from_then_on)
{
	uint64_t faults;
	uint32_t r[4];

	cpuid(0x80000008, 0, r);
	if (!host_cpu_is_intel() && (r[0] & 0xff) >= 52)
		SKIP(return, "this CPU has all address bits: none is left to mark a device with");
	vcpu_long_mode(self->vcpu, writes_to_a_device);
	ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(1, counter(&self->c, "mmio"));
	EXPECT_EQ(1, counter(&self->c, "fault_mmio"));
	faults = counter(&self->c, "fault");
	for (int i = 0; i < 5; i++)
		ASSERT_EXIT(MMIO, self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(6, counter(&self->c, "mmio"));
	EXPECT_EQ(1, counter(&self->c, "fault_mmio"));
	EXPECT_EQ(faults, counter(&self->c, "fault"));

	/* Memory there takes the mark away, and its end brings a new one. */
	vm_map(self->vcpu->vm, 1, DEVICE, 0x1000);
	for (int i = 0; i < 2; i++) {
		ASSERT_EXIT(MMIO, self->vcpu);
		EXPECT_EQ(DEVICE + 0x5000, self->vcpu->run->mmio.phys_addr);
	}
	ASSERT_EQ(0, vm_set_slot(self->vcpu->vm, 1, 0, DEVICE, 0, NULL));
	ASSERT_EXIT(MMIO, self->vcpu);
	EXPECT_EQ(DEVICE, self->vcpu->run->mmio.phys_addr);
}

/* What the CPU switches with the guest; MTRRcap is nobody's. */
static __guest void accesses_msrs(void)
{
	static uint32_t own[] __guest_data = { 0x174, 0x175, 0x176, 0xc0000100, 0xc0000101, 0xc0000102 };

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

#define GIGANTIC_GPA	0x40000000UL
#define GIGANTIC_SIZE	(1UL << 30)
#define SPLIT_AT	0x20005000UL
#define PLACES		7

static uint64_t places[PLACES] __guest_data = {
	0, 0x1008, 0x1ffff8, 0x200000, SPLIT_AT - 8, SPLIT_AT + 8, GIGANTIC_SIZE - 8
};
static uint64_t seen[PLACES] __guest_data, summand __guest_data = 0;

static __guest void reads_places_and_adds(void)
{
	for (;;) {
		for (int i = 0; i < PLACES; i++) {
			volatile uint64_t *p = (volatile uint64_t *)(GIGANTIC_GPA + places[i]);

			seen[i] = *p;
			if (summand)
				*p += summand;
		}
		guest_sync(1);
	}
}

FIXTURE(gigantic) {
	struct vcpu *vcpu;
	uint64_t *mem;
	struct counters c;
};

FIXTURE_SETUP(gigantic)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln: it has no calls of uapi/kiln.h", device_path());
	if (host_cpu_is_intel() ? !cpuinfo_has("vmx flags", "ept_1gb") : !cpuinfo_has("flags", "pdpe1gb"))
		SKIP(_exit(255), "this CPU maps no 1 GiB at once for a guest");
	self->mem = mmap(NULL, GIGANTIC_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0);
	if (self->mem == MAP_FAILED)
		SKIP(_exit(255), "no huge page of 1 GiB is free: boot with hugepagesz=1G hugepages=1");
	self->vcpu = vm_create_one(0, reads_places_and_adds);
	self->c.head.nr = MAX_COUNTERS;
}

FIXTURE_TEARDOWN(gigantic)
{
	vm_destroy(self->vcpu->vm);
}

static int gigantic_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t *mem, uint64_t from, uint64_t to)
{
	return vm_set_slot(vm, slot, flags, GIGANTIC_GPA + from, to - from, mem + from / sizeof(*mem));
}

/* The guest sees what the host wrote, and the host what the guest made of it. */
static void visit(struct __test_metadata *_metadata, struct vcpu *vcpu, uint64_t *mem, uint64_t add)
{
	static uint64_t value = 0x1000;

	for (int i = 0; i < PLACES; i++)
		mem[places[i] / sizeof(*mem)] = value + i;
	GUEST(vcpu->vm, summand) = add;
	ASSERT_OUTCOME("sync 1", vcpu);
	for (int i = 0; i < PLACES; i++) {
		EXPECT_EQ(value + i, GUEST(vcpu->vm, seen)[i]);
		EXPECT_EQ(value + i + add, mem[places[i] / sizeof(*mem)]);
	}
	value += 0x1000;
}

TEST_F(gigantic, a_page_of_1g_is_one_mapping)
{
	ASSERT_EQ(0, gigantic_slot(self->vcpu->vm, 1, 0, self->mem, 0, GIGANTIC_SIZE));
	visit(_metadata, self->vcpu, self->mem, 5);
	visit(_metadata, self->vcpu, self->mem, 7);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(1, counter(&self->c, "mapped_1g"));
	EXPECT_EQ(0, counter(&self->c, "mapped_2m"));
	/* The host takes it back, and the guest has to do with another. */
	ASSERT_EQ(0, madvise(self->mem, GIGANTIC_SIZE, MADV_DONTNEED));
	GUEST(self->vcpu->vm, summand) = 0;
	ASSERT_OUTCOME("sync 1", self->vcpu);
	for (int i = 0; i < PLACES; i++)
		EXPECT_EQ(0, GUEST(self->vcpu->vm, seen)[i]);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(2, counter(&self->c, "mapped_1g"));
}

TEST_F(gigantic, slots_that_end_inside_a_page_of_1g_have_smaller_mappings)
{
	struct vm *vm = self->vcpu->vm;

	ASSERT_EQ(0, gigantic_slot(vm, 1, 0, self->mem, 0, SPLIT_AT));
	ASSERT_EQ(0, gigantic_slot(vm, 2, 0, self->mem, SPLIT_AT, GIGANTIC_SIZE));
	visit(_metadata, self->vcpu, self->mem, 5);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(0, counter(&self->c, "mapped_1g"));
	/* The first two and the last 2 MiB; between them, where the slots meet, pages of 4K. */
	EXPECT_EQ(3, counter(&self->c, "mapped_2m"));
	ASSERT_EQ(0, gigantic_slot(vm, 2, 0, self->mem, 0, 0));
	ASSERT_EQ(0, gigantic_slot(vm, 1, 0, self->mem, 0, 0));
	ASSERT_EQ(0, gigantic_slot(vm, 1, 0, self->mem, 0, GIGANTIC_SIZE));
	visit(_metadata, self->vcpu, self->mem, 7);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(1, counter(&self->c, "mapped_1g"));
	EXPECT_EQ(3, counter(&self->c, "mapped_2m"));
}

static bool is_dirty(const uint64_t *log, uint64_t offset)
{
	return log[offset >> 18] >> (offset >> 12 & 63) & 1;
}

TEST_F(gigantic, a_page_of_1g_is_split_when_its_writes_are_logged)
{
	static uint64_t bits[GIGANTIC_SIZE >> 18];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };
	struct vm *vm = self->vcpu->vm;
	uint64_t faults;
	long dirty = 0;

	ASSERT_EQ(0, gigantic_slot(vm, 1, 0, self->mem, 0, GIGANTIC_SIZE));
	visit(_metadata, self->vcpu, self->mem, 5);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	ASSERT_EQ(1, counter(&self->c, "mapped_1g"));
	faults = counter(&self->c, "fault");
	ASSERT_EQ(0, gigantic_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, self->mem, 0, GIGANTIC_SIZE));
	/* All of it can still be read. */
	visit(_metadata, self->vcpu, self->mem, 0);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(faults, counter(&self->c, "fault"));
	ASSERT_IOCTL(0, vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (int i = 0; i < PLACES; i++)
		EXPECT_FALSE(is_dirty(bits, places[i]));
	visit(_metadata, self->vcpu, self->mem, 7);
	ASSERT_IOCTL(0, vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (int i = 0; i < PLACES; i++)
		EXPECT_TRUE(is_dirty(bits, places[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
		dirty += __builtin_popcountll(bits[i]);
	EXPECT_EQ(PLACES, dirty);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(1, counter(&self->c, "mapped_1g"));
	/* Without a log it is whole again. */
	ASSERT_EQ(0, gigantic_slot(vm, 1, 0, self->mem, 0, GIGANTIC_SIZE));
	visit(_metadata, self->vcpu, self->mem, 9);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_COUNTERS, &self->c);
	EXPECT_EQ(2, counter(&self->c, "mapped_1g"));
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
