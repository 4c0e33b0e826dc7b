// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: CPUID as offered and as a vCPU has it.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/cpufeature.h>
#include <asm/processor-flags.h>

#include "cpuid.h"
#include "irqchip/irqchip.h"
#include "kunit.h"
#include "state.h"
#include "vcpu.h"

#define INDEXED	KVM_CPUID_FLAG_SIGNIFCANT_INDEX

struct regs {
	u32 eax, ebx, ecx, edx;
};

static struct regs execute(struct kiln_vcpu *vcpu, u32 function, u32 index)
{
	struct regs r = { .eax = function, .ecx = index };

	kiln_cpuid(vcpu, &r.eax, &r.ebx, &r.ecx, &r.edx);
	return r;
}

static void free_vcpu(struct kunit_resource *res)
{
	struct kiln_vcpu *vcpu = res->data;

	kiln_cpuid_free(vcpu);
	kfree(vcpu);
}

/* A vCPU that nothing but CPUID is used of. */
static struct kiln_vcpu *new_vcpu(struct kunit *test)
{
	struct kiln_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	KUNIT_ASSERT_NOT_NULL(test, kunit_alloc_resource(test, NULL, free_vcpu,
							 GFP_KERNEL, vcpu));
	vcpu->xcr0 = 1;
	vcpu->apic_base = KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EN;
	kiln_cpuid_create(vcpu);
	return vcpu;
}

static int give(struct kunit *test, struct kiln_vcpu *vcpu,
		const struct kvm_cpuid_entry2 *entries, u32 nent)
{
	struct kvm_cpuid_entry2 *copy;
	int ret;

	copy = kvmalloc_array(nent, sizeof(*copy), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, copy);
	memcpy(copy, entries, nent * sizeof(*copy));
	ret = kiln_cpuid_replace(vcpu, copy, nent);
	if (ret)
		kvfree(copy);
	return ret;
}

/* Leaf 0 says "GenuineIntel" unless told otherwise. */
#define INTEL	.ebx = 0x756e6547, .edx = 0x49656e69, .ecx = 0x6c65746e
#define AMD	.ebx = 0x68747541, .edx = 0x69746e65, .ecx = 0x444d4163

static const struct kvm_cpuid_entry2 intel[] = {
	{ .function = 0, .eax = 0xd, INTEL },
	{ .function = 1, .eax = 0x306c3, .ecx = BIT(26), .edx = BIT(9) },
	{ .function = 7, .index = 0, .flags = INDEXED, .ebx = 0x11 },
	{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .edx = 5 },
	{ .function = 0xb, .index = 1, .flags = INDEXED, .eax = 4, .edx = 5 },
	{ .function = 0xd, .index = 0, .flags = INDEXED, .eax = 7, .ebx = 99 },
	{ .function = 0xd, .index = 1, .flags = INDEXED, .eax = BIT(1) },
	{ .function = 0xd, .index = 2, .flags = INDEXED, .eax = 0x100 },
	{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
	{ .function = 0x40000001, .eax = 0x29 },
	{ .function = 0x80000000, .eax = 0x80000008 },
	{ .function = 0x80000008, .eax = 48 << 8 | 39 },
};

static struct kiln_vcpu *intel_vcpu(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, intel, ARRAY_SIZE(intel)));
	return vcpu;
}

static void without_entries_all_is_zero(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	struct regs r = execute(vcpu, 1, 0);

	KUNIT_EXPECT_EQ(test, 0, r.eax | r.ebx | r.ecx | r.edx);
}

static void index_matters_only_where_it_says_so(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_EQ(test, 0x306c3, execute(vcpu, 1, 0).eax);
	KUNIT_EXPECT_EQ(test, 0x306c3, execute(vcpu, 1, 77).eax);
	KUNIT_EXPECT_EQ(test, 0x11, execute(vcpu, 7, 0).ebx);
	KUNIT_EXPECT_EQ(test, 0, execute(vcpu, 7, 1).ebx);
}

static void beyond_the_last_leaf_is_the_last_basic_one(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	/* index passed on: 0xd.2 */
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0xe, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0x3fffffff, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0x40000002, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0x40000100, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0x80000009, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0xc0000000, 2).eax);
	KUNIT_EXPECT_EQ(test, 0x100, execute(vcpu, 0xffffffff, 2).eax);
}

static void a_missing_leaf_in_range_is_zero(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_EQ(test, 0, execute(vcpu, 6, 2).eax);
	KUNIT_EXPECT_EQ(test, 0, execute(vcpu, 0x80000003, 2).eax);
}

static void amd_answers_zero_beyond_the_last_leaf(struct kunit *test)
{
	static const struct kvm_cpuid_entry2 amd[] = {
		{ .function = 0, .eax = 1, AMD },
		{ .function = 1, .eax = 0x800f12 },
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, amd, ARRAY_SIZE(amd)));
	KUNIT_EXPECT_EQ(test, 0x800f12, execute(vcpu, 1, 0).eax);
	KUNIT_EXPECT_EQ(test, 0, execute(vcpu, 2, 0).eax);
}

static void missing_topology_levels_echo_level_and_id(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);
	struct regs r = execute(vcpu, 0xb, 0x1234);

	KUNIT_EXPECT_EQ(test, 0, r.eax);
	KUNIT_EXPECT_EQ(test, 0, r.ebx);
	KUNIT_EXPECT_EQ(test, 0x34, r.ecx);
	KUNIT_EXPECT_EQ(test, 5, r.edx);
}

static void osxsave_follows_cr4(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_FALSE(test, execute(vcpu, 1, 0).ecx & BIT(27));
	vcpu->cr4 |= X86_CR4_OSXSAVE;
	kiln_cpuid_refresh(vcpu);
	KUNIT_EXPECT_TRUE(test, execute(vcpu, 1, 0).ecx & BIT(27));
}

static void apic_bit_follows_the_base_msr(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_TRUE(test, execute(vcpu, 1, 0).edx & BIT(9));
	vcpu->apic_base = KILN_APIC_BASE_DEFAULT;
	kiln_cpuid_refresh(vcpu);
	KUNIT_EXPECT_FALSE(test, execute(vcpu, 1, 0).edx & BIT(9));
}

static void xsave_size_follows_xcr0(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);
	u64 all = kiln_xstate_supported();

	KUNIT_EXPECT_EQ(test, 576, execute(vcpu, 0xd, 0).ebx);
	vcpu->xcr0 = all;
	kiln_cpuid_refresh(vcpu);
	KUNIT_EXPECT_EQ(test, kiln_xstate_size(all, false),
			execute(vcpu, 0xd, 0).ebx);
	KUNIT_EXPECT_EQ(test, kiln_xstate_size(all, true),
			execute(vcpu, 0xd, 1).ebx);
}

static void after_a_run_only_the_same_is_accepted(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);
	struct kvm_cpuid_entry2 *other;

	kiln_cpuid_freeze(&vcpu->cpuid);
	KUNIT_EXPECT_EQ(test, 0, give(test, vcpu, intel, ARRAY_SIZE(intel)));

	other = kunit_kzalloc(test, sizeof(intel), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, other);
	memcpy(other, intel, sizeof(intel));
	other[2].ebx ^= 1;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			give(test, vcpu, other, ARRAY_SIZE(intel)));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			give(test, vcpu, intel, ARRAY_SIZE(intel) - 1));
	KUNIT_EXPECT_EQ(test, 0x11, execute(vcpu, 7, 0).ebx);
}

static void bits_that_follow_state_do_not_make_a_difference(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	vcpu->cr4 |= X86_CR4_OSXSAVE;
	kiln_cpuid_refresh(vcpu);
	kiln_cpuid_freeze(&vcpu->cpuid);
	KUNIT_EXPECT_EQ(test, 0, give(test, vcpu, intel, ARRAY_SIZE(intel)));
	KUNIT_EXPECT_TRUE(test, execute(vcpu, 1, 0).ecx & BIT(27));
}

static void linear_addresses_have_48_or_57_bits(struct kunit *test)
{
	struct kvm_cpuid_entry2 sizes = { .function = 0x80000008 };
	struct kiln_vcpu *vcpu = intel_vcpu(test);
	u32 bits;

	for (bits = 0; bits < 256; bits++) {
		int want = bits == 0 || bits == 48 || bits == 57 ? 0 : -EINVAL;

		sizes.eax = bits << 8 | 36;
		KUNIT_EXPECT_EQ_MSG(test, want, give(test, vcpu, &sizes, 1),
				    "%u bits", bits);
	}
}

static void physical_width_is_36_where_not_said(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_EQ(test, 39, vcpu->maxphyaddr);
	KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, intel, 1));
	KUNIT_EXPECT_EQ(test, 36, vcpu->maxphyaddr);
}

static void physical_width_is_one_that_can_be(struct kunit *test)
{
	struct kvm_cpuid_entry2 sizes = { .function = 0x80000008 };
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u32 bits;

	for (bits = 0; bits < 256; bits++) {
		u32 want = bits ? clamp(bits, 32u, 52u) : 36;

		sizes.eax = 48 << 8 | bits;
		KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, &sizes, 1));
		KUNIT_EXPECT_EQ_MSG(test, want, vcpu->maxphyaddr, "%u bits",
				    bits);
	}
}

static void what_is_not_offered_cannot_be_used(struct kunit *test)
{
	static const struct kvm_cpuid_entry2 greedy[] = {
		{ .function = 1, .ecx = ~0U, .edx = ~0U },
		{ .function = 7, .flags = INDEXED, .ebx = ~0U, .ecx = ~0U,
		  .edx = ~0U },
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, greedy, ARRAY_SIZE(greedy)));
	KUNIT_EXPECT_FALSE(test, kiln_guest_has(vcpu, X86_FEATURE_VMX));
	KUNIT_EXPECT_FALSE(test, kiln_guest_has(vcpu, X86_FEATURE_PKU));
	KUNIT_EXPECT_FALSE(test, kiln_guest_has(vcpu, X86_FEATURE_LA57));
	KUNIT_EXPECT_TRUE(test, kiln_guest_has(vcpu, X86_FEATURE_X2APIC));
	KUNIT_EXPECT_TRUE(test, vcpu->cr4_reserved & X86_CR4_VMXE);
	KUNIT_EXPECT_TRUE(test, vcpu->cr4_reserved & X86_CR4_PKE);
}

static void what_is_not_given_cannot_be_used(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);

	KUNIT_EXPECT_FALSE(test, kiln_guest_has(vcpu, X86_FEATURE_X2APIC));
	KUNIT_EXPECT_TRUE(test, vcpu->cr4_reserved & X86_CR4_PCIDE);
	KUNIT_EXPECT_TRUE(test, vcpu->cr4_reserved & X86_CR4_SMEP);
}

static u32 offer(struct kunit *test, struct kvm_cpuid_entry2 **entries)
{
	*entries = kunit_kcalloc(test, KILN_MAX_CPUID_ENTRIES,
				 sizeof(**entries), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, *entries);
	return kiln_cpuid_list(*entries);
}

static void each_offered_entry_is_found_by_its_own_key(struct kunit *test)
{
	struct kvm_cpuid_entry2 *e;
	u32 nent = offer(test, &e);
	u32 i;

	KUNIT_ASSERT_GT(test, nent, 10);
	for (i = 0; i < nent; i++)
		KUNIT_EXPECT_PTR_EQ(test, &e[i],
				    (void *)kiln_cpuid_search(e, nent,
							      e[i].function,
							      e[i].index));
}

static void never_offered(struct kunit *test)
{
	static const struct {
		u32 function, index;
		struct regs bits;
	} never[] = {
		/* MONITOR, VMX, SMX, EST, PDCM, OSXSAVE; DS, ACPI, TM, PBE */
		{ 1, 0, { .ecx = BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(15) |
				 BIT(27),
			  .edx = BIT(21) | BIT(22) | BIT(29) | BIT(31) } },
		{ 6, 0, { ~4U, ~0, ~0, ~0 } },
		/* SGX, MPX, PT; PKU, OSPKE, WAITPKG, CET_SS, LA57, ENQCMD */
		{ 7, 0, { .ebx = BIT(2) | BIT(14) | BIT(25),
			  .ecx = BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) |
				 BIT(29),
			  /* AMX, IBT, L1D, ARCH_CAP, CORE_CAP */
			  .edx = BIT(20) | BIT(22) | BIT(24) | BIT(25) |
				 GENMASK(30, 28) } },
		{ 0xa, 0, { ~0, ~0, ~0, ~0 } },
		{ 0xd, 1, { .eax = BIT(4), .ecx = ~0, .edx = ~0 } },
		{ 0x80000001, 0, { .ecx = BIT(2) } },	/* SVM */
	};
	struct kvm_cpuid_entry2 *list;
	u32 nent = offer(test, &list);
	int i;

	for (i = 0; i < ARRAY_SIZE(never); i++) {
		const struct kvm_cpuid_entry2 *e;

		e = kiln_cpuid_search(list, nent, never[i].function,
				      never[i].index);
		if (!e)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    (e->eax & never[i].bits.eax) |
				    (e->ebx & never[i].bits.ebx) |
				    (e->ecx & never[i].bits.ecx) |
				    (e->edx & never[i].bits.edx),
				    "leaf %x.%x: %08x %08x %08x %08x",
				    never[i].function, never[i].index,
				    e->eax, e->ebx, e->ecx, e->edx);
	}
}

static void tsc_deadline_can_be_had_but_is_not_shown(struct kunit *test)
{
	const struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid_entry2 *list;
	u32 nent = offer(test, &list);

	e = kiln_cpuid_search(list, nent, 1, 0);
	KUNIT_ASSERT_NOT_NULL(test, e);
	KUNIT_EXPECT_FALSE(test, e->ecx & BIT(24));
	KUNIT_EXPECT_TRUE(test, kiln_cpu_offers(X86_FEATURE_TSC_DEADLINE_TIMER));
}

static void the_hypervisor_is_named(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	struct kvm_cpuid_entry2 *list;
	u32 nent = offer(test, &list);
	struct regs r;

	KUNIT_ASSERT_EQ(test, 0, give(test, vcpu, list, nent));
	r = execute(vcpu, 0x40000000, 0);
	KUNIT_EXPECT_EQ(test, 0x40000001, r.eax);
	KUNIT_EXPECT_EQ(test, 0, memcmp(&r.ebx, "KVMKVMKVM\0\0\0", 12));
	KUNIT_EXPECT_TRUE(test, execute(vcpu, 1, 0).ecx & BIT(31));
}

/* What is cached is what a search finds, in whatever order it is asked for. */
static void cached_answers_are_right(struct kunit *test)
{
	struct kiln_vcpu *vcpu = intel_vcpu(test);
	u32 seed = 1, i;

	for (i = 0; i < 20000; i++) {
		u32 function, index;
		struct regs cached, fresh;

		seed = seed * 1664525 + 1013904223;
		function = (seed >> 10) % 20 | (seed >> 28 & 0xc) << 28;
		index = (seed >> 16) % 5;
		cached = execute(vcpu, function, index);
		memset(vcpu->cpuid.cache, 0, i % 8 ? 0 :
		       sizeof(vcpu->cpuid.cache));
		fresh = execute(vcpu, function, index);
		KUNIT_ASSERT_EQ_MSG(test, 0,
				    memcmp(&cached, &fresh, sizeof(fresh)),
				    "leaf %x.%x", function, index);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(without_entries_all_is_zero),
	KUNIT_CASE(index_matters_only_where_it_says_so),
	KUNIT_CASE(beyond_the_last_leaf_is_the_last_basic_one),
	KUNIT_CASE(a_missing_leaf_in_range_is_zero),
	KUNIT_CASE(amd_answers_zero_beyond_the_last_leaf),
	KUNIT_CASE(missing_topology_levels_echo_level_and_id),
	KUNIT_CASE(osxsave_follows_cr4),
	KUNIT_CASE(apic_bit_follows_the_base_msr),
	KUNIT_CASE(xsave_size_follows_xcr0),
	KUNIT_CASE(after_a_run_only_the_same_is_accepted),
	KUNIT_CASE(bits_that_follow_state_do_not_make_a_difference),
	KUNIT_CASE(linear_addresses_have_48_or_57_bits),
	KUNIT_CASE(physical_width_is_36_where_not_said),
	KUNIT_CASE(physical_width_is_one_that_can_be),
	KUNIT_CASE(what_is_not_offered_cannot_be_used),
	KUNIT_CASE(what_is_not_given_cannot_be_used),
	KUNIT_CASE(each_offered_entry_is_found_by_its_own_key),
	KUNIT_CASE(never_offered),
	KUNIT_CASE(tsc_deadline_can_be_had_but_is_not_shown),
	KUNIT_CASE(the_hypervisor_is_named),
	KUNIT_CASE(cached_answers_are_right),
	{}
};

struct kunit_suite cpuid_suite = {
	.name = "kiln-cpuid",
	.test_cases = cases,
};
