// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: model-specific registers, those of them that are kept here. The vCPU
 * is no more than a struct: no case gets as far as the backend.
 */
#include <kunit/test.h>
#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>

#include "cpuid.h"
#include "irqchip/irqchip.h"
#include "kunit.h"
#include "msr.h"
#include "state.h"
#include "vcpu.h"

#define GUEST	false
#define HOST	true

#define POISON	0x5a5a5a5a5a5a5a5aULL

static void free_msrs(struct kunit_resource *res)
{
	kiln_msr_free(res->data);
}

static struct kiln_vcpu *new_vcpu(struct kunit *test)
{
	struct kiln_vcpu *vcpu;

	vcpu = kunit_kzalloc(test, sizeof(*vcpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	KUNIT_ASSERT_EQ(test, 0, kiln_msr_create(vcpu));
	KUNIT_ASSERT_NOT_NULL(test, kunit_alloc_resource(test, NULL, free_msrs,
							 GFP_KERNEL, vcpu));
	kiln_cpuid_create(vcpu);
	return vcpu;
}

static void allow(struct kiln_vcpu *vcpu, unsigned int feature)
{
	vcpu->cpuid.given = true;
	vcpu->cpuid.caps[feature / 32] |= BIT(feature % 32);
}

static u64 get(struct kunit *test, struct kiln_vcpu *vcpu, u32 index)
{
	u64 val = POISON;

	KUNIT_EXPECT_EQ_MSG(test, 0, kiln_msr_get(vcpu, index, &val, GUEST),
			    "RDMSR %x", index);
	return val;
}

/* A write that is refused changes nothing. */
static void refuses(struct kunit *test, struct kiln_vcpu *vcpu, u32 index,
		    u64 val, bool host)
{
	u64 before = get(test, vcpu, index);

	KUNIT_EXPECT_EQ_MSG(test, 1, kiln_msr_set(vcpu, index, val, host),
			    "WRMSR %x <- %llx", index, val);
	KUNIT_EXPECT_EQ(test, before, get(test, vcpu, index));
}

static void takes(struct kunit *test, struct kiln_vcpu *vcpu, u32 index,
		  u64 val, bool host)
{
	KUNIT_EXPECT_EQ_MSG(test, 0, kiln_msr_set(vcpu, index, val, host),
			    "WRMSR %x <- %llx", index, val);
	KUNIT_EXPECT_EQ(test, val, get(test, vcpu, index));
}

/* The fake's CPUID has none of the features that come with them. */
static void speculation_msrs_fault_for_a_guest_without_them(struct kunit *test)
{
	static const u32 msrs[] = {
		MSR_IA32_SPEC_CTRL, MSR_IA32_PRED_CMD, MSR_AMD64_VIRT_SPEC_CTRL,
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val = POISON;
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, msrs[i], &val,
						      GUEST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, msrs[i], 0, GUEST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, msrs[i], ~0ull,
						      HOST));
	}
	KUNIT_EXPECT_EQ(test, POISON, val);
}

static void the_table_is_sorted_without_overlap(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, kiln_msr_table_sorted());
}

static void unknown_msrs_fault_for_guest_and_user_space(struct kunit *test)
{
	static const u32 unknown[] = {
		0x2, 0xf, 0x13, 0x10a /* ARCH_CAPABILITIES */, 0x122 /* TSX_CTRL */,
		0x140 /* MISC_FEATURES_ENABLES */, 0x1ff, 0x210, 0x24f, 0x251,
		0x25a, 0x267, 0x270, 0x2fe, 0x300,
		0x400 + 4 * KILN_MCE_BANKS, 0x480 /* VMX_BASIC */, 0x7ff,
		0x900, 0x4b564cff, MSR_KVM_ASYNC_PF_EN, MSR_KVM_PV_EOI_EN,
		MSR_KVM_POLL_CONTROL, 0x4b564dff, 0xc000007f, 0xc0000104,
		0xffffffff,
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val = POISON;
	int i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		KUNIT_EXPECT_EQ_MSG(test, 1, kiln_msr_get(vcpu, unknown[i],
							  &val, GUEST),
				    "RDMSR %x", unknown[i]);
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, unknown[i], &val,
						      HOST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, unknown[i], 0,
						      GUEST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, unknown[i], 0,
						      HOST));
	}
	KUNIT_EXPECT_EQ(test, POISON, val);
}

/* The row used last is tried first: it must not answer for its neighbours. */
static void the_last_row_does_not_leak_into_the_next_lookup(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val;

	get(test, vcpu, MSR_IA32_MISC_ENABLE);
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, MSR_IA32_MISC_ENABLE + 1,
					      &val, GUEST));
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, MSR_IA32_MISC_ENABLE - 1,
					      &val, GUEST));
	KUNIT_EXPECT_EQ(test, 0x508, get(test, vcpu, 0xfe));
}

static void msrs_of_absent_features_fault_for_the_guest_only(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val;

	vcpu->cpuid.given = true;
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, MSR_IA32_TSC_ADJUST, &val,
					      GUEST));
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_get(vcpu, MSR_IA32_TSC_ADJUST, &val,
					      HOST));
	allow(vcpu, X86_FEATURE_TSC_ADJUST);
	KUNIT_EXPECT_EQ(test, 0, get(test, vcpu, MSR_IA32_TSC_ADJUST));

	KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_TSC_DEADLINE, 0,
					      GUEST));
	allow(vcpu, X86_FEATURE_TSC_DEADLINE_TIMER);
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_IA32_TSC_DEADLINE, 0,
					      GUEST));
}

static void linear_addresses_must_be_canonical(struct kunit *test)
{
	static const u64 bad[] = {
		0x0000800000000000, 0xffff7fffffffffff, 0x8000000000000000,
		0x0001000000000000,
	};
	static const u32 msrs[] = {
		MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_LSTAR,
		MSR_CSTAR, MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);
	int i, j;

	allow(vcpu, X86_FEATURE_LM);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		for (j = 0; j < ARRAY_SIZE(bad); j++) {
			KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, msrs[i],
							      bad[j], GUEST));
			KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, msrs[i],
							      bad[j], HOST));
		}
}

static void upper_halves_of_32_bit_msrs_are_reserved(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	allow(vcpu, X86_FEATURE_LM);
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_SYSCALL_MASK,
					      BIT_ULL(32), GUEST));
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_SYSENTER_CS,
					      BIT_ULL(32), GUEST));
}

static void pat_refuses_reserved_types(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 reset = vcpu->pat;
	int entry;

	for (entry = 0; entry < 64; entry += 8) {
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_CR_PAT,
						      2ULL << entry, GUEST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_CR_PAT,
						      3ULL << entry, GUEST));
		KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_CR_PAT,
						      8ULL << entry, GUEST));
	}
	KUNIT_EXPECT_EQ(test, reset, vcpu->pat);
}

static void efer_refuses_bits_cpuid_does_not_have(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	allow(vcpu, X86_FEATURE_LM);
	vcpu->cpuid.caps[CPUID_8000_0001_EDX] &= ~BIT(X86_FEATURE_NX % 32);
	kiln_control_refresh(vcpu);
	refuses(test, vcpu, MSR_EFER, EFER_NX, GUEST);
	refuses(test, vcpu, MSR_EFER, EFER_SVME, GUEST);
	refuses(test, vcpu, MSR_EFER, EFER_SVME, HOST);
	refuses(test, vcpu, MSR_EFER, BIT_ULL(63), HOST);
}

static void efer_lme_cannot_change_while_paging(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	allow(vcpu, X86_FEATURE_LM);
	kiln_control_refresh(vcpu);
	vcpu->cr0 = X86_CR0_PE | X86_CR0_PG;
	refuses(test, vcpu, MSR_EFER, EFER_LME, GUEST);
	vcpu->efer = EFER_LME | EFER_LMA;
	refuses(test, vcpu, MSR_EFER, 0, GUEST);
	/* LMA is not for software to write, but may be written back. */
	takes(test, vcpu, MSR_EFER, EFER_LME | EFER_LMA, GUEST);
}

static void fixed_mtrrs_are_kept_and_take_valid_types(struct kunit *test)
{
	static const u32 fixed[] = {
		0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
		0x26e, 0x26f,
	};
	/* UC- (7) is for the PAT only. */
	static const u64 bad[] = { 2, 3, 7, 8, 0x86, 0xff };
	struct kiln_vcpu *vcpu = new_vcpu(test);
	int i, j;

	for (i = 0; i < ARRAY_SIZE(fixed); i++)
		takes(test, vcpu, fixed[i], 0x0606050504010000 + (i % 2),
		      GUEST);
	for (i = 0; i < ARRAY_SIZE(fixed); i++) {
		KUNIT_EXPECT_EQ(test, 0x0606050504010000 + (i % 2),
				get(test, vcpu, fixed[i]));
		for (j = 0; j < ARRAY_SIZE(bad); j++)
			refuses(test, vcpu, fixed[i], bad[j] << 8 * (i % 8),
				GUEST);
	}
}

static void variable_mtrrs_check_type_and_width(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->maxphyaddr = 40;
	takes(test, vcpu, 0x200, 0xe0000000 | 1, GUEST);
	takes(test, vcpu, 0x201, 0xffe0000000 | BIT(11), GUEST);
	takes(test, vcpu, 0x20f, 0xfffffff000, GUEST);
	KUNIT_EXPECT_EQ(test, 0xe0000001, get(test, vcpu, 0x200));
	refuses(test, vcpu, 0x200, 2, GUEST);
	refuses(test, vcpu, 0x200, 7, GUEST);
	refuses(test, vcpu, 0x200, BIT(8) | 6, GUEST);
	refuses(test, vcpu, 0x200, BIT_ULL(40) | 6, GUEST);
	refuses(test, vcpu, 0x201, BIT(10), GUEST);
	refuses(test, vcpu, 0x201, BIT_ULL(40) | BIT(11), GUEST);
}

static void the_default_mtrr_type_has_two_enables(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	takes(test, vcpu, 0x2ff, BIT(11) | BIT(10) | 6, GUEST);
	refuses(test, vcpu, 0x2ff, BIT(11) | 2, GUEST);
	refuses(test, vcpu, 0x2ff, BIT(11) | 7, GUEST);
	refuses(test, vcpu, 0x2ff, BIT(9), GUEST);
	refuses(test, vcpu, 0x2ff, BIT(12), GUEST);
	refuses(test, vcpu, 0xfe, 0x508, GUEST);
}

static void feature_control_is_locked_without_vmx(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_EXPECT_EQ(test, FEAT_CTL_LOCKED,
			get(test, vcpu, MSR_IA32_FEAT_CTL));
	refuses(test, vcpu, MSR_IA32_FEAT_CTL, FEAT_CTL_LOCKED, GUEST);
	refuses(test, vcpu, MSR_IA32_FEAT_CTL, 0, GUEST);
	refuses(test, vcpu, MSR_IA32_FEAT_CTL,
		FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX, HOST);
	takes(test, vcpu, MSR_IA32_FEAT_CTL, 0, HOST);
	takes(test, vcpu, MSR_IA32_FEAT_CTL, FEAT_CTL_LOCKED, GUEST);
	refuses(test, vcpu, MSR_IA32_FEAT_CTL, 0, GUEST);
}

static void misc_enable_says_there_is_no_pmu(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val = get(test, vcpu, MSR_IA32_MISC_ENABLE);

	KUNIT_EXPECT_TRUE(test, val & MSR_IA32_MISC_ENABLE_FAST_STRING);
	KUNIT_EXPECT_TRUE(test, val & MSR_IA32_MISC_ENABLE_BTS_UNAVAIL);
	KUNIT_EXPECT_TRUE(test, val & MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL);
	refuses(test, vcpu, MSR_IA32_MISC_ENABLE,
		val & ~MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL, GUEST);
	takes(test, vcpu, MSR_IA32_MISC_ENABLE,
	      val & ~MSR_IA32_MISC_ENABLE_FAST_STRING, GUEST);
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_IA32_MISC_ENABLE,
					      val | MSR_IA32_MISC_ENABLE_EMON,
					      GUEST));
	KUNIT_EXPECT_EQ(test, val, get(test, vcpu, MSR_IA32_MISC_ENABLE));
}

static void the_microcode_revision_outlives_guest_writes(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 revision = get(test, vcpu, MSR_IA32_UCODE_REV), val;

	KUNIT_EXPECT_NE(test, 0, revision >> 32);
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_IA32_UCODE_REV, 0,
					      GUEST));
	KUNIT_EXPECT_EQ(test, revision, get(test, vcpu, MSR_IA32_UCODE_REV));
	takes(test, vcpu, MSR_IA32_UCODE_REV, 0x2aULL << 32, HOST);
	/* The trigger is write-only. */
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, MSR_IA32_UCODE_WRITE, &val,
					      GUEST));
}

static void machine_check_banks_start_without_errors(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u32 i;

	KUNIT_EXPECT_EQ(test, KILN_MCE_BANKS,
			get(test, vcpu, MSR_IA32_MCG_CAP) & 0xff);
	for (i = 0; i < 4 * KILN_MCE_BANKS; i++)
		KUNIT_EXPECT_EQ(test, 0, get(test, vcpu, MSR_IA32_MC0_CTL + i));
	refuses(test, vcpu, MSR_IA32_MCG_CAP, 0, GUEST);
}

static void machine_check_banks_take_what_the_manual_says(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u32 last = MSR_IA32_MC0_CTL + 4 * (KILN_MCE_BANKS - 1);

	takes(test, vcpu, last, ~0ULL, GUEST);
	takes(test, vcpu, last, ~0ULL & ~BIT_ULL(10), GUEST);
	takes(test, vcpu, last, 0, GUEST);
	refuses(test, vcpu, last, 2, GUEST);
	refuses(test, vcpu, last + 1, 1, GUEST);
	takes(test, vcpu, last + 1, BIT_ULL(63), HOST);
	takes(test, vcpu, last + 1, 0, GUEST);
	takes(test, vcpu, MSR_IA32_MCG_STATUS, 4, GUEST);
}

static void mcg_ctl_is_absent_where_mcg_cap_says_so(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val;

	KUNIT_EXPECT_EQ(test, 1, kiln_msr_get(vcpu, MSR_IA32_MCG_CTL, &val,
					      GUEST));
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_MCG_CTL, 0,
					      GUEST));
	KUNIT_EXPECT_EQ(test, 1, kiln_msr_set(vcpu, MSR_IA32_MCG_CTL, 1,
					      HOST));
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_IA32_MCG_CTL, 0,
					      HOST));
}

static void debugctl_drops_lbr_and_btf_and_refuses_the_rest(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_IA32_DEBUGCTLMSR,
					      DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF,
					      GUEST));
	KUNIT_EXPECT_EQ(test, 0, get(test, vcpu, MSR_IA32_DEBUGCTLMSR));
	refuses(test, vcpu, MSR_IA32_DEBUGCTLMSR, BIT(6), GUEST);
	refuses(test, vcpu, MSR_IA32_DEBUGCTLMSR, BIT_ULL(63), HOST);
}

/* Without an APIC in the kernel the MSR is kept for user space's. */
static void the_apic_base_refuses_reserved_bits_and_states(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 base = KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EN;

	vcpu->maxphyaddr = 40;
	takes(test, vcpu, MSR_IA32_APICBASE, base, GUEST);
	refuses(test, vcpu, MSR_IA32_APICBASE, base | 1, GUEST);
	refuses(test, vcpu, MSR_IA32_APICBASE, base | BIT(9), GUEST);
	refuses(test, vcpu, MSR_IA32_APICBASE, base | BIT_ULL(40), GUEST);
	refuses(test, vcpu, MSR_IA32_APICBASE,
		KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EXTD, HOST);
	vcpu->cpuid.given = true;
	refuses(test, vcpu, MSR_IA32_APICBASE, base | KILN_APIC_BASE_EXTD,
		HOST);
	allow(vcpu, X86_FEATURE_X2APIC);
	takes(test, vcpu, MSR_IA32_APICBASE, base | KILN_APIC_BASE_EXTD, GUEST);
}

static void steal_time_refuses_reserved_bits(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	refuses(test, vcpu, MSR_KVM_STEAL_TIME, 0x1000 | 2, GUEST);
	refuses(test, vcpu, MSR_KVM_STEAL_TIME, 0x1000 | BIT(5), GUEST);
	if (sched_info_on())
		takes(test, vcpu, MSR_KVM_STEAL_TIME, 0x1000, GUEST);
	else
		refuses(test, vcpu, MSR_KVM_STEAL_TIME, 0x1000, GUEST);
}

static void both_numbers_of_the_system_time_msr_are_one(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	takes(test, vcpu, MSR_KVM_SYSTEM_TIME, 0x2000, GUEST);
	KUNIT_EXPECT_EQ(test, 0x2000,
			get(test, vcpu, MSR_KVM_SYSTEM_TIME_NEW));
}

/* What Linux looks at on any AMD CPU: nothing is set, and SYSCFG stays so. */
static void amds_configuration_msrs_are_there(struct kunit *test)
{
	static const u32 there[] = {
		MSR_AMD64_SYSCFG, MSR_K7_HWCR, MSR_AMD64_NB_CFG,
		MSR_K8_INT_PENDING_MSG,
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(there); i++)
		KUNIT_EXPECT_EQ_MSG(test, 0, get(test, vcpu, there[i]), "%x",
				    there[i]);
	refuses(test, vcpu, MSR_AMD64_SYSCFG, BIT(19), GUEST);
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(vcpu, MSR_AMD64_NB_CFG,
					      BIT_ULL(46), GUEST));
	KUNIT_EXPECT_EQ(test, 0, get(test, vcpu, MSR_AMD64_NB_CFG));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(the_table_is_sorted_without_overlap),
	KUNIT_CASE(speculation_msrs_fault_for_a_guest_without_them),
	KUNIT_CASE(unknown_msrs_fault_for_guest_and_user_space),
	KUNIT_CASE(the_last_row_does_not_leak_into_the_next_lookup),
	KUNIT_CASE(msrs_of_absent_features_fault_for_the_guest_only),
	KUNIT_CASE(linear_addresses_must_be_canonical),
	KUNIT_CASE(upper_halves_of_32_bit_msrs_are_reserved),
	KUNIT_CASE(pat_refuses_reserved_types),
	KUNIT_CASE(efer_refuses_bits_cpuid_does_not_have),
	KUNIT_CASE(efer_lme_cannot_change_while_paging),
	KUNIT_CASE(fixed_mtrrs_are_kept_and_take_valid_types),
	KUNIT_CASE(variable_mtrrs_check_type_and_width),
	KUNIT_CASE(the_default_mtrr_type_has_two_enables),
	KUNIT_CASE(feature_control_is_locked_without_vmx),
	KUNIT_CASE(misc_enable_says_there_is_no_pmu),
	KUNIT_CASE(the_microcode_revision_outlives_guest_writes),
	KUNIT_CASE(machine_check_banks_start_without_errors),
	KUNIT_CASE(machine_check_banks_take_what_the_manual_says),
	KUNIT_CASE(mcg_ctl_is_absent_where_mcg_cap_says_so),
	KUNIT_CASE(debugctl_drops_lbr_and_btf_and_refuses_the_rest),
	KUNIT_CASE(the_apic_base_refuses_reserved_bits_and_states),
	KUNIT_CASE(steal_time_refuses_reserved_bits),
	KUNIT_CASE(both_numbers_of_the_system_time_msr_are_one),
	KUNIT_CASE(amds_configuration_msrs_are_there),
	{}
};

struct kunit_suite msr_suite = {
	.name = "kiln-msr",
	.test_cases = cases,
};
