// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two of Hyper-V's enlightenments, by which a guest tells of its own end
 * (Hypervisor Top-Level Functional Specification, "Guest Crash Enlightenment"
 * and "System Reset MSR"): they are there if user space put Hyper-V's leaves
 * with those features into the guest's CPUID, and end KVM_RUN with
 * KVM_EXIT_SYSTEM_EVENT (api.rst §5).
 */
#include <linux/nospec.h>
#include <asm/hyperv-tlfs.h>

#include "cpuid.h"
#include "hyperv.h"
#include "vcpu.h"

#define INTERFACE_SIGNATURE	0x31237648	/* "Hv#1" */

/* Bits of the crash control register, all that are defined. */
#define CRASH_NOTIFY		BIT_ULL(63)	/* the guest is dead */
#define CRASH_MESSAGE		BIT_ULL(62)	/* P3, P4: a text's address, size */
#define CRASH_CONTROLS		(CRASH_NOTIFY | CRASH_MESSAGE)

static const struct kvm_cpuid_entry2 *features(struct kiln_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *leaf;

	leaf = kiln_cpuid_find(vcpu, HYPERV_CPUID_INTERFACE, 0);
	if (!leaf || leaf->eax != INTERFACE_SIGNATURE)
		return NULL;
	return kiln_cpuid_find(vcpu, HYPERV_CPUID_FEATURES, 0);
}

static bool has_crash(struct kiln_vcpu *vcpu, bool host)
{
	const struct kvm_cpuid_entry2 *leaf = host ? NULL : features(vcpu);

	return host ||
	       (leaf && (leaf->edx & HV_FEATURE_GUEST_CRASH_MSR_AVAILABLE));
}

static bool has_reset(struct kiln_vcpu *vcpu, bool host)
{
	const struct kvm_cpuid_entry2 *leaf = host ? NULL : features(vcpu);

	return host || (leaf && (leaf->eax & HV_MSR_RESET_AVAILABLE));
}

static void system_event(struct kiln_vcpu *vcpu, u32 type)
{
	vcpu->system_event = type;
	set_bit(KILN_REQ_SYSTEM_EVENT, &vcpu->requests);
}

int kiln_system_event(struct kiln_vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	vcpu->run->system_event.type = vcpu->system_event;
	vcpu->run->system_event.ndata = 0;
	return KILN_EXIT_USER;
}

/* The guest's number may get here by a guess of the processor's. */
static u64 *parameter(struct kiln_vcpu *vcpu, u32 index)
{
	index -= HV_X64_MSR_CRASH_P0;
	return &vcpu->hv_crash[array_index_nospec(index,
						  ARRAY_SIZE(vcpu->hv_crash))];
}

int kiln_hv_crash_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	if (!has_crash(vcpu, host))
		return 1;
	*val = *parameter(vcpu, index);
	return 0;
}

int kiln_hv_crash_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!has_crash(vcpu, host))
		return 1;
	*parameter(vcpu, index) = val;
	return 0;
}

/* Read, it says what a write may ask for. */
int kiln_hv_crash_ctl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val,
			  bool host)
{
	if (!has_crash(vcpu, host))
		return 1;
	*val = CRASH_CONTROLS;
	return 0;
}

int kiln_hv_crash_ctl_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!has_crash(vcpu, host) || (val & ~CRASH_CONTROLS))
		return 1;
	if (!host && (val & CRASH_NOTIFY))
		system_event(vcpu, KVM_SYSTEM_EVENT_CRASH);
	return 0;
}

int kiln_hv_reset_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	if (!has_reset(vcpu, host))
		return 1;
	*val = 0;
	return 0;
}

int kiln_hv_reset_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!has_reset(vcpu, host) || val > 1)
		return 1;
	if (!host && val)
		system_event(vcpu, KVM_SYSTEM_EVENT_RESET);
	return 0;
}
