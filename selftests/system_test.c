// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls on the device itself: api.rst §4.1 to 4.6 and 4.28, with good arguments, bad ones, and none.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define BAD_POINTER ((void *)8)

FIXTURE(system) {
	int fd;
};

FIXTURE_SETUP(system)
{
	self->fd = device_open();
}

FIXTURE_TEARDOWN(system)
{
	close(self->fd);
}

TEST_F(system, api_version_is_12)
{
	ASSERT_IOCTL(12, self->fd, KVM_GET_API_VERSION, NULL);
}

TEST_F(system, api_version_takes_no_argument)
{
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_GET_API_VERSION, (void *)1);
}

TEST_F(system, unknown_ioctl_is_refused)
{
	EXPECT_LT(xioctl(self->fd, _IO(KVMIO, 0xfe), NULL), 0);
}

TEST_F(system, create_vm_gives_a_new_descriptor)
{
	int a = xioctl(self->fd, KVM_CREATE_VM, NULL), b = xioctl(self->fd, KVM_CREATE_VM, NULL);

	ASSERT_GE(a, 0);
	ASSERT_GE(b, 0);
	EXPECT_NE(a, b);
	EXPECT_EQ(FD_CLOEXEC, fcntl(a, F_GETFD));
	close(a);
	close(b);
}

TEST_F(system, create_vm_refuses_a_type)
{
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_CREATE_VM, (void *)1);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_CREATE_VM, (void *)(1UL << 40));
}

TEST_F(system, vcpu_mmap_size_holds_a_run_structure_in_whole_pages)
{
	int size = xioctl(self->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);

	ASSERT_GE(size, (int)sizeof(struct kvm_run));
	EXPECT_EQ(0, size % 4096);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_GET_VCPU_MMAP_SIZE, (void *)1);
}

TEST_F(system, check_extension_of_an_unknown_number_is_0)
{
	EXPECT_IOCTL(0, self->fd, KVM_CHECK_EXTENSION, (void *)9999);
	EXPECT_IOCTL(0, self->fd, KVM_CHECK_EXTENSION, (void *)-1UL);
}

/* Each of these belongs to an ioctl or a behaviour that both kiln and KVM have. */
static const struct {
	int cap, least;
} offered[] = {
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_HLT, 1 },
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_NR_VCPUS, 1 },
	{ KVM_CAP_MAX_VCPUS, 1 },
	{ KVM_CAP_NR_MEMSLOTS, 32 },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_SYNC_MMU, 1 },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_IRQ_ROUTING, 1 },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_IRQFD_RESAMPLE, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_ADJUST_CLOCK, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_XSAVE, 1 },
	{ KVM_CAP_XCRS, 1 },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1 },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_MAX_VCPU_ID, 1 },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
};

TEST_F(system, check_extension_offers_what_the_abi_has)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(offered); i++) {
		int value = xioctl(self->fd, KVM_CHECK_EXTENSION, (void *)(long)offered[i].cap);

		EXPECT_GE(value, offered[i].least)
			TH_LOG("capability %d", offered[i].cap);
	}
}

TEST_F(system, check_extension_answers_alike_on_a_vm)
{
	int vm = xioctl(self->fd, KVM_CREATE_VM, NULL);

	ASSERT_GE(vm, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(offered); i++) {
		void *cap = (void *)(long)offered[i].cap;

		EXPECT_EQ(xioctl(self->fd, KVM_CHECK_EXTENSION, cap), xioctl(vm, KVM_CHECK_EXTENSION, cap))
			TH_LOG("capability %d", offered[i].cap);
	}
	close(vm);
}

TEST_F(system, max_vcpus_is_at_least_nr_vcpus)
{
	int nr = xioctl(self->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_VCPUS);
	int max = xioctl(self->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MAX_VCPUS);
	int max_id = xioctl(self->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MAX_VCPU_ID);

	EXPECT_LE(nr, max);
	EXPECT_LE(max, max_id);
}

TEST_F(system, supported_cpuid_reports_e2big_for_too_little_room)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(self->fd);

	ASSERT_GT(cpuids->nent, 4);
	cpuids->nent = 1;
	EXPECT_IOCTL(-E2BIG, self->fd, KVM_GET_SUPPORTED_CPUID, cpuids);
	cpuids->nent = 0;
	EXPECT_IOCTL(-E2BIG, self->fd, KVM_GET_SUPPORTED_CPUID, cpuids);
	free(cpuids);
}

TEST_F(system, supported_cpuid_faults_on_a_bad_pointer)
{
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_GET_SUPPORTED_CPUID, BAD_POINTER);
}

TEST_F(system, supported_cpuid_names_kvm_and_its_clock)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(self->fd);
	struct kvm_cpuid_entry2 *signature = cpuid_find(cpuids, 0x40000000, 0);
	struct kvm_cpuid_entry2 *features = cpuid_find(cpuids, 0x40000001, 0);

	ASSERT_NE(NULL, signature);
	EXPECT_EQ(0, memcmp(&signature->ebx, "KVMK", 4));
	EXPECT_EQ(0, memcmp(&signature->ecx, "VMKV", 4));
	EXPECT_EQ(0, memcmp(&signature->edx, "M\0\0\0", 4));
	ASSERT_NE(NULL, features);
	EXPECT_NE(0, features->eax & (1 << 3));		/* KVM_FEATURE_CLOCKSOURCE2 */
	free(cpuids);
}

TEST_F(system, supported_cpuid_is_what_the_host_has_or_less)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(self->fd);
	struct kvm_cpuid_entry2 *leaf1 = cpuid_find(cpuids, 1, 0), *leaf7 = cpuid_find(cpuids, 7, 0);
	/* x2APIC, TSC-deadline and the hypervisor bit are the hypervisor's to give; OSXSAVE is dynamic. */
	const uint32_t given = 1 << 21 | 1 << 24 | 1U << 31 | 1 << 27 | 1 << 22;
	uint32_t r[4];

	ASSERT_NE(NULL, leaf1);
	cpuid(1, 0, r);
	EXPECT_EQ(0, leaf1->ecx & ~given & ~r[2]);
	EXPECT_EQ(0, leaf1->edx & ~r[3]);
	/* No nested virtualization and no MONITOR are promised: VMX may be there only where the host has it. */
	ASSERT_NE(NULL, leaf7);
	cpuid(7, 0, r);
	EXPECT_EQ(0, leaf7->ebx & ~r[1] & ~(1 << 1));
	free(cpuids);
}

TEST_F(system, msr_index_list_reports_e2big_and_the_count)
{
	struct kvm_msr_list head = { .nmsrs = 0 }, *list;

	ASSERT_IOCTL(-E2BIG, self->fd, KVM_GET_MSR_INDEX_LIST, &head);
	ASSERT_GT(head.nmsrs, 10);
	list = calloc(1, sizeof(*list) + head.nmsrs * sizeof(uint32_t));
	list->nmsrs = head.nmsrs;
	ASSERT_IOCTL(0, self->fd, KVM_GET_MSR_INDEX_LIST, list);
	EXPECT_EQ(head.nmsrs, list->nmsrs);
	free(list);
}

TEST_F(system, msr_index_list_names_each_msr_once)
{
	struct kvm_msr_list head = { .nmsrs = 0 }, *list;
	bool tsc = false, efer = false, pat = false;

	ASSERT_IOCTL(-E2BIG, self->fd, KVM_GET_MSR_INDEX_LIST, &head);
	list = calloc(1, sizeof(*list) + head.nmsrs * sizeof(uint32_t));
	list->nmsrs = head.nmsrs;
	ASSERT_IOCTL(0, self->fd, KVM_GET_MSR_INDEX_LIST, list);
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		tsc |= list->indices[i] == 0x10;
		efer |= list->indices[i] == 0xc0000081;
		pat |= list->indices[i] == 0x277;
		for (uint32_t j = 0; j < i; j++)
			EXPECT_NE(list->indices[i], list->indices[j]);
	}
	EXPECT_TRUE(tsc);
	EXPECT_TRUE(efer);
	EXPECT_TRUE(pat);
	free(list);
}

TEST_F(system, msr_index_list_faults_on_a_bad_pointer)
{
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_GET_MSR_INDEX_LIST, BAD_POINTER);
}

TEST_F(system, vm_and_vcpu_calls_are_not_the_devices)
{
	struct kvm_regs regs;

	EXPECT_LT(xioctl(self->fd, KVM_CREATE_VCPU, NULL), 0);
	EXPECT_LT(xioctl(self->fd, KVM_RUN, NULL), 0);
	EXPECT_LT(xioctl(self->fd, KVM_GET_REGS, &regs), 0);
	EXPECT_LT(xioctl(self->fd, KVM_CREATE_IRQCHIP, NULL), 0);
}

TEST_F(system, the_device_cannot_be_read_written_or_mapped)
{
	char c = 0;

	EXPECT_EQ(-1, read(self->fd, &c, 1));
	EXPECT_EQ(-1, write(self->fd, &c, 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->fd, 0));
}

TEST_HARNESS_MAIN
