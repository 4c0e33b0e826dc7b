// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_EXIT_SYSTEM_EVENT (api.rst §5): a guest that has Hyper-V's crash and reset MSRs in its CPUID tells of its end by them
 * (Hypervisor Top-Level Functional Specification, "Guest Crash Enlightenment", "System Reset MSR").
 */
#define _GNU_SOURCE
#include <asm/kvm_para.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define MSR_RESET	0x40000003
#define MSR_CRASH_P0	0x40000100
#define MSR_CRASH_CTL	0x40000105
#define CRASH_NOTIFY	(1ULL << 63)
#define CRASH_MESSAGE	(1ULL << 62)

#define HAS_RESET	(1u << 7)	/* leaf 0x40000003, EAX */
#define HAS_CRASH	(1u << 10)	/* leaf 0x40000003, EDX */

static void add_leaf(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t eax, uint32_t edx)
{
	struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, leaf, 0);

	if (!entry)
		entry = &cpuid->entries[cpuid->nent++];
	*entry = (struct kvm_cpuid_entry2){ .function = leaf, .eax = eax, .edx = edx };
}

/* A vCPU whose CPUID has Hyper-V's interface, if its signature is right, with these features. */
static struct vcpu *create(void (*entry)(void), uint32_t signature, uint32_t eax, uint32_t edx)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, entry);
	struct kvm_cpuid2 *supported = supported_cpuid(vcpu->vm->dev);
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + (supported->nent + 3) * sizeof(cpuid->entries[0]));

	memcpy(cpuid, supported, sizeof(*cpuid) + supported->nent * sizeof(cpuid->entries[0]));
	add_leaf(cpuid, 0x40000000, 0x40000003, 0);
	add_leaf(cpuid, 0x40000001, signature, 0);
	add_leaf(cpuid, 0x40000003, eax, edx);
	if (xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid))
		die("CPUID with Hyper-V's leaves is refused");
	free(cpuid);
	free(supported);
	return vcpu;
}

#define HV_1	0x31237648	/* "Hv#1" */

static __guest void crashes(void)
{
	guest_expect(CRASH_NOTIFY | CRASH_MESSAGE, rdmsr(MSR_CRASH_CTL));
	for (uint32_t i = 0; i < 5; i++)
		wrmsr(MSR_CRASH_P0 + i, 0x1111111100000000 + i);
	wrmsr(MSR_CRASH_CTL, CRASH_MESSAGE);	/* no notice: nothing happens */
	guest_sync(1);
	wrmsr(MSR_CRASH_CTL, CRASH_NOTIFY);
	guest_done();
}

TEST(a_crash_is_told_with_its_parameters)
{
	struct vcpu *vcpu = create(crashes, HV_1, 0, HAS_CRASH);
	uint64_t value;

	ASSERT_OUTCOME("sync 1", vcpu);
	memset(&vcpu->run->system_event, 0x55, sizeof(vcpu->run->system_event));
	ASSERT_EXIT(SYSTEM_EVENT, vcpu);
	EXPECT_EQ(KVM_SYSTEM_EVENT_CRASH, vcpu->run->system_event.type);
	EXPECT_EQ(0, vcpu->run->system_event.ndata);
	for (uint32_t i = 0; i < 5; i++) {
		ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_CRASH_P0 + i, &value));
		EXPECT_EQ(0x1111111100000000 + i, value);
	}
	/* Who goes on regardless may. */
	ASSERT_DONE(vcpu);
}

static __guest void resets(void)
{
	guest_expect(0, rdmsr(MSR_RESET));
	wrmsr(MSR_RESET, 0);
	guest_sync(1);
	wrmsr(MSR_RESET, 1);
	guest_done();
}

TEST(a_reset_is_told)
{
	struct vcpu *vcpu = create(resets, HV_1, HAS_RESET, 0);

	ASSERT_OUTCOME("sync 1", vcpu);
	memset(&vcpu->run->system_event, 0x55, sizeof(vcpu->run->system_event));
	ASSERT_EXIT(SYSTEM_EVENT, vcpu);
	EXPECT_EQ(KVM_SYSTEM_EVENT_RESET, vcpu->run->system_event.type);
	EXPECT_EQ(0, vcpu->run->system_event.ndata);
	ASSERT_DONE(vcpu);
}

static __guest void has_neither(void)
{
	uint64_t value;

	for (uint32_t msr = MSR_CRASH_P0; msr <= MSR_CRASH_CTL; msr++) {
		guest_expect(GP_VECTOR, catch_rdmsr(msr, &value));
		guest_expect(GP_VECTOR, catch_wrmsr(msr, CRASH_NOTIFY));
	}
	guest_expect(GP_VECTOR, catch_rdmsr(MSR_RESET, &value));
	guest_expect(GP_VECTOR, catch_wrmsr(MSR_RESET, 1));
	guest_done();
}

TEST(without_the_interface_in_cpuid_the_guest_has_no_such_msr)
{
	ASSERT_DONE(vm_create_one(VM_IRQCHIP, has_neither));
	ASSERT_DONE(create(has_neither, HV_1 + 1, HAS_RESET, HAS_CRASH));
	ASSERT_DONE(create(has_neither, HV_1, 0, 0));
}

static __guest void asks_for_too_much(void)
{
	guest_expect(GP_VECTOR, catch_wrmsr(MSR_CRASH_CTL, CRASH_NOTIFY | 1));
	guest_expect(GP_VECTOR, catch_wrmsr(MSR_CRASH_CTL, 1ULL << 61));
	guest_expect(GP_VECTOR, catch_wrmsr(MSR_RESET, 2));
	guest_done();
}

TEST(reserved_bits_raise_gp)
{
	ASSERT_DONE(create(asks_for_too_much, HV_1, HAS_RESET, HAS_CRASH));
}

static __guest void says_what_it_finds(void)
{
	guest_expect(77, rdmsr(MSR_CRASH_P0 + 4));
	guest_done();
}

TEST(user_space_writes_them_without_an_event)
{
	struct vcpu *vcpu = create(says_what_it_finds, HV_1, HAS_RESET, HAS_CRASH);

	EXPECT_EQ(1, vcpu_set_msr(vcpu, MSR_CRASH_P0 + 4, 77));
	EXPECT_EQ(1, vcpu_set_msr(vcpu, MSR_CRASH_CTL, CRASH_NOTIFY));
	EXPECT_EQ(1, vcpu_set_msr(vcpu, MSR_RESET, 1));
	EXPECT_EQ(0, vcpu_set_msr(vcpu, MSR_CRASH_CTL, 1));
	ASSERT_DONE(vcpu);
}

TEST_HARNESS_MAIN
